"""For pickles of 0.1: see `s3dict._legacy`."""

from __future__ import annotations

from dataclasses import dataclass

from s3dict._format import layout


@dataclass(frozen=True, slots=True)
class DictId:
    """The id of a dict."""

    ulid: str
    environment: str | None = None
    name: str | None = None

    def ref(self) -> tuple[str, str]:
        """Return the reference to the dict as pickles of today contain it."""
        return "id", str(layout.DictId(self.ulid, self.environment, self.name))
