"""For pickles of 0.1: see `s3dict._legacy`."""

from __future__ import annotations

from s3dict._lock import Lock

__all__ = ["Lock"]
