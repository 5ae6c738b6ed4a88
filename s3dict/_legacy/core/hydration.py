"""For pickles of 0.1: see `s3dict._legacy`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Choice:
    """The options of a handle. ``ttl`` is None where none was asked for, and otherwise a tuple with the ttl."""

    ttl: tuple[timedelta | None] | None = None
    codec: str | None = None

    def options(self) -> dict[str, Any]:
        """Return the options as pickles of today contain them."""
        ttl = {} if self.ttl is None else {"ttl": self.ttl[0]}
        return ttl if self.codec is None else {**ttl, "codec": self.codec}
