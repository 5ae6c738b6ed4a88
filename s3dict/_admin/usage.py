"""What a dict holds at a moment: entries, bytes, and the locks that are held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from .._client import Client
from .._core import iteration, locks
from .._core.catalog import combined, list_manifests
from .._core.conditional import get_object
from .._core.entries import Entries
from .._core.iteration import entry_pages
from .._core.listing import scan
from .._core.locks import LockTarget
from .._dict import Dict, _new_handle
from .._format.lock import LockDetails, decode_lock
from .._handle import HandleState
from .._nested import aclosing
from .._stores.base import ObjectMeta
from .._stores.shared.threads import run_blocking
from ..errors import IntegrityError

__all__ = [
    "EntryState",
    "LockUsage",
    "Usage",
    "combined",
    "count_entries",
    "held_locks",
    "list_dicts",
    "list_entries",
    "measure",
    "shown_key",
    "take_away",
]


@dataclass(frozen=True, slots=True)
class LockUsage:
    """A lock that is held.

    Args:
        name_hash: The hash of its name, which the object is called by.
        owner: Random, and another one for each acquisition.
        lease_seconds: How long the lock lasts after a renewal.
        renewed_at: When it was acquired or last renewed, by the store's clock.
        token: Its fencing token.
        details: Its kind and name, and who acquired it and when; empty where release 0.1 acquired it.
    """

    name_hash: str
    owner: str
    lease_seconds: float
    renewed_at: datetime
    token: int
    details: LockDetails

    @property
    def acquired_at(self) -> datetime | None:
        """When it was acquired, by its holder's clock."""
        seconds = self.details.acquired_at
        return datetime.fromtimestamp(seconds, UTC) if seconds else None

    @property
    def expires_at(self) -> datetime:
        """When it is free unless it is renewed, by the store's clock."""
        return self.renewed_at + timedelta(seconds=self.lease_seconds)


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


def list_dicts(
    client: Client,
    environment: str,
    on_loaded: Callable[[int, int], None],
    on_damaged: Callable[[IntegrityError], None],
) -> list[Dict[Any, Any]]:
    """Return the named dicts of an environment as hydrated handles, as `Dict.objects.list` does.

    Requests: a listing, and 1 for each dict.

    Args:
        client: Names the bucket and the prefix.
        environment: The name of the environment.
        on_loaded: Called after each request with how many dicts are loaded, and of how many.
        on_damaged: Called in the end with an error for each dict whose manifest is damaged, which is left out.
    """
    store, concurrency = client._store(aio=False), client._settings.concurrency
    found, damaged = run_blocking(list_manifests(store, client._layout, environment, concurrency, on_loaded))
    for error in damaged:
        on_damaged(error)
    return [_new_handle(HandleState.hydrated(client, loaded)) for loaded in found]


def measure(
    handle: Dict[Any, Any], *, with_locks: bool = False, on_counted: Callable[[int], None] = lambda _: None
) -> Usage:
    """Return what the dict holds.

    Requests: a listing of the entries; `with_locks` one of the locks, and 1 for each lock that exists.

    Args:
        handle: The dict.
        with_locks: Also return the locks that are held.
        on_counted: Called with the number of entries on each page of the listing.
    """
    return run_blocking(_measure(run_blocking(handle._open()), with_locks, on_counted))


def count_entries(handle: Dict[Any, Any], on_counted: Callable[[int], None]) -> int:
    """Return the number of entries, as `Dict.len` does.

    Args:
        on_counted: Called with the number of entries on each page of the listing.
    """
    return run_blocking(iteration.count(run_blocking(handle._open()), on_counted))


def held_locks(handle: Dict[Any, Any], on_read: Callable[[int], None] = lambda _: None) -> tuple[LockUsage, ...]:
    """Return the locks of a dict that are held, those of computations and semaphores included.

    `on_read` is called with 1 after each lock, held or not.

    Requests: a listing of the locks, and 1 for each that exists.
    """
    return run_blocking(_locks(run_blocking(handle._open()), on_read))


def take_away(handle: Dict[Any, Any], lock: LockUsage) -> bool:
    """Release a lock whatever its holder does; return False where it has been released or acquired again since.

    Requests: 2, or 1 for False.
    """
    entries = run_blocking(handle._open())
    label = f"The lock {lock.details.name or lock.name_hash!r} of Dict {handle.name!r}"
    path = entries.paths.locks + lock.name_hash
    target = LockTarget(
        entries.store, entries.capabilities, path, label, entries.revalidate, dict_name=entries.codec.dict_name
    )
    return run_blocking(locks.take_away(target, lock.owner)) is not None


def list_entries(handle: Dict[Any, Any], on_listed: Callable[[int], None] = lambda _: None) -> dict[str, EntryState]:
    """Return the entries that have not expired, by path.

    `on_listed` is called with the number of entries on each page of the listing.

    Requests: a listing of the entries.
    """
    return run_blocking(_list_entries(run_blocking(handle._open()), on_listed))


def shown_key(handle: Dict[Any, Any], path: str) -> str:
    """Return the key in an object's name as a Python literal, or ``#<hash>`` where the name does not contain it.

    No request, and nothing is unpickled.
    """
    entries = run_blocking(handle._open())
    return iteration.shown_key(entries, entries.object_name(path))


async def _measure(entries: Entries, with_locks: bool, on_counted: Callable[[int], None]) -> Usage:
    number, size, _, _ = await iteration.measure(entries, on_counted)
    return Usage(number, size, await _locks(entries) if with_locks else ())


async def _list_entries(entries: Entries, on_listed: Callable[[int], None]) -> dict[str, EntryState]:
    found: dict[str, EntryState] = {}
    async with aclosing(entry_pages(entries)) as pages:
        async for page in pages:
            found.update((line.path, EntryState(line.path, line.etag, line.size, line.last_modified)) for line in page)
            on_listed(len(page))
    return found


async def _locks(entries: Entries, on_read: Callable[[int], None] = lambda _: None) -> tuple[LockUsage, ...]:
    held: list[LockUsage] = []

    async def read(line: ObjectMeta) -> LockUsage | None:
        return await _lock(entries, line)

    async for page in scan(entries.store, entries.paths.locks, ordered=entries.capabilities.ordered_listing):
        async with aclosing(entries.store.runtime.map(read, page.objects, entries.concurrency)) as found:
            async for lock in found:
                if lock is not None:
                    held.append(lock)
                on_read(1)
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
    name_hash = line.path.rpartition("/")[2]
    return LockUsage(name_hash, record.owner, record.lease, found.last_modified, record.token, record.details)
