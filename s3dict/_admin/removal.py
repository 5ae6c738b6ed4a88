"""Removing entries with a report of how many: what the commands ``clear`` and ``delete`` show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._client import Client
from .._core import catalog
from .._core.iteration import clear
from .._dict import Dict
from .._stores.shared.threads import run_blocking

__all__ = ["clear_dict", "delete_dict"]


def clear_dict(handle: Dict[Any, Any], on_deleted: Callable[[int], None]) -> int:
    """Remove all entries, as `Dict.clear` does, and return how many.

    Args:
        on_deleted: Called with the number of entries that one request has removed.
    """
    counter = _Counter(on_deleted)
    run_blocking(clear(run_blocking(handle._open()), on_deleted=counter.add))
    return counter.total


def delete_dict(client: Client, environment: str, name: str, on_deleted: Callable[[int], None]) -> int | None:
    """Delete a dict, as ``Dict.objects.delete`` does; return how many entries it had, or None if it does not exist."""
    counter = _Counter(on_deleted)
    store = client._store(aio=False)
    deleted = run_blocking(catalog.delete(store, client._layout, environment, name, on_deleted=counter.add))
    return counter.total if deleted else None


class _Counter:
    def __init__(self, on_deleted: Callable[[int], None]) -> None:
        self._on_deleted = on_deleted
        self.total = 0

    def add(self, number: int) -> None:
        self.total += number
        self._on_deleted(number)
