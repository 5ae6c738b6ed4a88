"""What a dict holds at a moment: entries, bytes, and the locks that are held."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from .._core.conditional import get_object
from .._core.entries import Entries
from .._core.iteration import entry_pages
from .._core.listing import scan
from .._dict import Dict
from .._format.keys import key_bytes_in
from .._format.lock import decode_lock
from .._nested import aclosing
from .._stores.base import ObjectMeta
from .._stores.shared.threads import run_blocking
from ..errors import IntegrityError

__all__ = ["EntryState", "LockUsage", "Usage", "list_entries", "measure", "shown_key"]


@dataclass(frozen=True, slots=True)
class LockUsage:
    """A lock that is held.

    Args:
        name_hash: The hash of its name, which the object is called by; the name itself is not stored.
        owner: Random, and another one for each acquisition.
        lease_seconds: How long the lock lasts after a renewal.
        renewed_at: When it was acquired or last renewed, by the store's clock.
    """

    name_hash: str
    owner: str
    lease_seconds: float
    renewed_at: datetime


@dataclass(frozen=True, slots=True)
class Usage:
    """Entries that have not expired, their size in bytes (with headers), and the locks that are held."""

    entries: int
    size: int
    locks: tuple[LockUsage, ...] = ()


@dataclass(frozen=True, slots=True)
class EntryState:
    """An entry as a listing shows it."""

    path: str
    etag: str
    size: int
    last_modified: datetime


def measure(handle: Dict[Any, Any], *, with_locks: bool = False) -> Usage:
    """Return what the dict holds.

    Requests: a listing of the entries; `with_locks` one of the locks, and 1 for each lock that exists.
    """
    return run_blocking(_measure(run_blocking(handle._open()), with_locks))


def list_entries(handle: Dict[Any, Any]) -> dict[str, EntryState]:
    """Return the entries that have not expired, by path.

    Requests: a listing of the entries.
    """
    return run_blocking(_list_entries(run_blocking(handle._open())))


def shown_key(handle: Dict[Any, Any], path: str) -> str:
    """Return the key in an object's name as a Python literal, or ``#<hash>`` where the name does not contain it.

    No request, and nothing is unpickled.
    """
    entries = run_blocking(handle._open())
    name = entries.object_name(path)
    try:
        data = key_bytes_in(name)
        if data is not None:
            return repr(replace(entries.codec.keys, uses_pickle=False).decode(data))
    except IntegrityError:
        pass
    return f"#{name}"


async def _measure(entries: Entries, with_locks: bool) -> Usage:
    number = size = 0
    async with aclosing(entry_pages(entries)) as pages:
        async for page in pages:
            number += len(page)
            size += sum(line.size for line in page)
    return Usage(number, size, await _locks(entries) if with_locks else ())


async def _list_entries(entries: Entries) -> dict[str, EntryState]:
    found: dict[str, EntryState] = {}
    async with aclosing(entry_pages(entries)) as pages:
        async for page in pages:
            found.update((line.path, EntryState(line.path, line.etag, line.size, line.last_modified)) for line in page)
    return found


async def _locks(entries: Entries) -> tuple[LockUsage, ...]:
    held = []
    async for page in scan(entries.store, entries.paths.locks):
        for line in page.objects:
            lock = await _lock(entries, line)
            if lock is not None:
                held.append(lock)
    return tuple(sorted(held, key=lambda lock: lock.renewed_at))


async def _lock(entries: Entries, line: ObjectMeta) -> LockUsage | None:
    """Return the lock, or None where it was released, has expired or cannot be read."""
    found = await get_object(entries.store, line.path)
    if found is None:
        return None
    try:
        record = decode_lock(found.body)
    except IntegrityError:
        return None
    if record.owner is None or found.server_time.is_older_than(found.last_modified, timedelta(seconds=record.lease)):
        return None
    return LockUsage(line.path.rpartition("/")[2], record.owner, record.lease, found.last_modified)
