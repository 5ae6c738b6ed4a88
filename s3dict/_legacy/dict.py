"""For pickles of 0.1: see `s3dict._legacy`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from s3dict._client import Client
from s3dict._dict import Dict
from s3dict._ephemeral import EphemeralDict
from s3dict._info import DictInfo, Entry
from s3dict._pickle import restore

from .core.hydration import Choice
from .format.layout import DictId

__all__ = ["Dict", "DictInfo", "Entry", "EphemeralDict", "_Named", "_restore"]


@dataclass(frozen=True, slots=True)
class _Named:
    """A handle by name."""

    name: str
    environment: str | None
    create_if_missing: bool

    def ref(self) -> tuple[Any, ...]:
        """Return the reference to the dict as pickles of today contain it."""
        return "name", self.name, self.environment, self.create_if_missing


def _restore(target: _Named | DictId, client: Client | None, choice: Choice) -> Dict[Any, Any]:
    handle: Dict[Any, Any] = restore("Dict", target.ref(), client, choice.options())
    return handle
