"""Whole objects, large ones in parallel parts: one connection seldom uses all of the bandwidth."""

from __future__ import annotations

from collections.abc import Callable

from .._nested import aclosing
from .._record import replace
from .._retry import RetryState
from .._stores.base import NotModified, ObjectStore, StoredObject
from ..errors import ConflictError
from .conditional import get_object

FIRST_RANGE_BYTES = 16 << 20
"""Up to this size an object is read in one request; a larger one begins with a range of this size."""
PART_BYTES = 8 << 20
PART_CONCURRENCY = 4
MAX_RESTARTS = 20


async def parallel_get(store: ObjectStore, path: str, verify: Callable[[StoredObject], None]) -> StoredObject | None:
    """Return the object, or None.

    Must not be called inside the runtime's `map`, which it uses itself.

    Args:
        verify: Raises for the beginning of an object that must not be read whole.

    Requests: 1 up to 16 MiB, and 1 for each further 8 MiB.
    """
    restarts: RetryState | None = None  # for a large object alone
    while restarts is None or await restarts.next_attempt():
        first = await get_object(store, path, FIRST_RANGE_BYTES)
        if first is None or len(first.body) >= first.size:
            return first
        if restarts is None:
            restarts = RetryState(store.retries.writes, store.runtime, max_attempts=MAX_RESTARTS)
            await restarts.next_attempt()
        verify(first)
        start, whole = len(first.body), _with_room(first)
        # Its part is in `whole` too, and is not held twice.
        del first
        if await _get_remaining_parts(store, path, whole, start):
            return whole
    raise ConflictError(f"The object {path!r} kept changing while it was being read in parts")


def _with_room(first: StoredObject) -> StoredObject:
    """Return the object with a body of its full size, of which only the part that `first` has is filled."""
    body = bytearray(first.size)
    memoryview(body)[: len(first.body)] = first.body
    return replace(first, body=body)


async def _get_remaining_parts(store: ObjectStore, path: str, whole: StoredObject, begin: int) -> bool:
    """Fill the body from `begin` on; return False when the object has changed since its beginning was read."""

    async def get_part(start: int) -> tuple[int, StoredObject | NotModified | None]:
        return start, await store.get(path, byte_range=(start, min(start + PART_BYTES, whole.size) - 1))

    starts = range(begin, whole.size, PART_BYTES)
    with memoryview(whole.body) as body:
        async with aclosing(store.runtime.map(get_part, starts, PART_CONCURRENCY)) as parts:
            async for start, found in parts:
                # A write in between may have the same size, but never the same ETag.
                if not isinstance(found, StoredObject) or found.etag != whole.etag:
                    return False
                # Through a view: the slice of a bytearray would be assigned a copy. What is longer than the rest, or
                # leaves a gap, does not match the entry's checksum.
                part = memoryview(found.body)[: whole.size - start]
                body[start : start + len(part)] = part
    return True
