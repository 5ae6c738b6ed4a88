"""Whole objects, large ones in parts side by side: one connection seldom fills the way to a store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from .._stores.base import Found, NotModified, Store
from ..errors import ConflictError
from .conditional import before, read

FIRST_BYTES = 16 << 20
"""Up to here an object is read in one piece, and a larger one begins with that."""
PART_BYTES = 8 << 20
PARTS_AT_ONCE = 4
_BEGINNINGS = 20


async def fetch(store: Store, path: str, check: Callable[[Found], None]) -> Found | None:
    """The object. 1 request up to 16 MiB, and 1 more for each further 8 MiB.

    `check` raises for the beginning of an object that is not worth its memory.

    Must not be called inside of the store's `map`, which it uses itself.
    """
    for attempt in range(_BEGINNINGS):
        await before(store, attempt)
        first = await read(store, path, FIRST_BYTES)
        if first is None or len(first.body) >= first.size:
            return first
        check(first)
        whole = await _completed(store, path, first)
        if whole is not None:
            return replace(first, body=whole)
    raise ConflictError(f"The object {path!r} kept changing while it was being read in parts")


async def _completed(store: Store, path: str, first: Found) -> bytearray | None:
    """The body that begins with this part; None when the object is no longer the same."""

    async def part(start: int) -> tuple[int, Found | NotModified | None]:
        return start, await store.get(path, byte_range=(start, min(start + PART_BYTES, first.size) - 1))

    body = bytearray(first.size)
    body[: len(first.body)] = first.body
    async with aclosing(store.map(part, range(len(first.body), first.size, PART_BYTES), PARTS_AT_ONCE)) as parts:
        async for start, found in parts:
            # A write in between may have the same size, but never the same ETag.
            if not isinstance(found, Found) or found.etag != first.etag:
                return None
            body[start : start + len(found.body)] = found.body
    return body
