"""Variables of the shell that a local server's own would not replace."""

from __future__ import annotations

CONFLICTING_VARIABLES = ("AWS_SESSION_TOKEN", "AWS_PROFILE")
"""Left over from other work, these would be used with the server's credentials, or instead of them."""
