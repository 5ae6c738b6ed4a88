"""All entries: keys, values, items, how many there are, and clearing them away."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from .._format.entry import PRELUDE_BYTES, TOMBSTONE_BYTES, EntryBody, read_header, read_prelude
from .._format.keys import KeyCodec, check_segment, is_object_name, key_bytes_in
from .._stores.base import ObjectMeta, Page
from .conditional import get_object
from .entries import Entries
from .listing import MAX_RANGES, delete_all, scan

HEADER_READ_BYTES = 16 * 1024
"""How much of an entry is read to learn a key that its name does not carry: enough for nearly all of them."""
PREFETCH_PAGES = 3
"""How many pages of a listing are held while their entries are read, which takes longer than to list them."""


async def iterate_keys(entries: Entries) -> AsyncGenerator[Any, None]:
    """The keys, in no order: a listing, and 1 request for each key that is too long for an object name."""

    async def key_inside(line: ObjectMeta) -> bytes | None:
        return await _read_key(entries, line)

    # Names can be written by whoever may write to the bucket, and no signature vouches for them: nothing is unpickled.
    plain = replace(entries.keys, uses_pickle=False)
    async with aclosing(_pages(entries)) as pages:
        async for page in pages:
            with entries.error_context():
                named = [(line, key_bytes_in(entries.object_name(line.path))) for line in page]
                keys = [plain.decode(data) for _, data in named if data is not None]
            for key in keys:
                yield key
            unnamed = [line for line, data in named if data is None]
            async with aclosing(entries.store.runtime.map(key_inside, unnamed, entries.concurrency)) as found:
                async for data in found:
                    if data is not None:
                        yield _key(entries, entries.keys, data)


async def iterate_items(entries: Entries) -> AsyncGenerator[tuple[Any, Any], None]:
    """The keys with their values, in no order: a listing, and 1 request each."""
    async with aclosing(_bodies(entries)) as bodies:
        async for body in bodies:
            key = _key(entries, entries.keys, body.header.key)
            yield key, entries.value(body, key)


async def iterate_values(entries: Entries) -> AsyncGenerator[Any, None]:
    """The values, in no order: a listing, and 1 request each. Keys that cannot be read here do no harm."""
    async with aclosing(_bodies(entries)) as bodies:
        async for body in bodies:
            yield entries.value(body)


async def count(entries: Entries) -> int:
    """How many entries there are. A listing."""
    total = 0
    async with aclosing(_pages(entries)) as pages:
        async for page in pages:
            with entries.error_context():
                for line in page:
                    check_segment(entries.object_name(line.path))
            total += len(page)
    return total


async def clear(entries: Entries) -> None:
    """Deletes the entries that a listing shows, over or not. The listing, and a request for each thousand.

    What has no name of ours stays. So do tombstones: a deletion cannot be undone for the newer entry that might have
    taken one's place by then.
    """
    with entries.error_context():
        try:
            await delete_all(entries.store, entries.paths.entries, only=lambda line: _is_ours(entries, line))
        finally:
            if entries.cache is not None:
                entries.cache.invalidate_prefix(entries.paths.entries)


async def _pages(entries: Entries, at_once: int = MAX_RANGES) -> AsyncGenerator[list[ObjectMeta], None]:
    with entries.error_context():
        async with aclosing(scan(entries.store, entries.paths.entries, at_once)) as pages:
            async for page in pages:
                yield _unexpired(entries, page)


def _unexpired(entries: Entries, page: Page) -> list[ObjectMeta]:
    lines = [line for line in page.objects if _is_entry(entries, line)]
    # As a rule the oldest is not over, and then none of a thousand is.
    if not lines or not entries.expiry.is_expired(min(line.last_modified for line in lines), page.server_time):
        return lines
    return [line for line in lines if not entries.expiry.is_expired(line.last_modified, page.server_time)]


def _is_entry(entries: Entries, line: ObjectMeta) -> bool:
    """Neither a tombstone nor the empty object that consoles make in a folder's name."""
    return line.size != TOMBSTONE_BYTES and line.path != entries.paths.entries


def _is_ours(entries: Entries, line: ObjectMeta) -> bool:
    return _is_entry(entries, line) and is_object_name(entries.object_name(line.path))


async def _bodies(entries: Entries) -> AsyncGenerator[EntryBody, None]:
    async def body_of(line: ObjectMeta) -> EntryBody | None:
        return await _body_of(entries, line)

    async with aclosing(_pages(entries, PREFETCH_PAGES)) as pages:
        async for page in pages:
            async with aclosing(entries.store.runtime.map(body_of, page, entries.concurrency)) as bodies:
                async for body in bodies:
                    if body is not None:
                        yield body


async def _body_of(entries: Entries, line: ObjectMeta) -> EntryBody | None:
    """The entry, which is renewed when that is due; None when it has been removed since the listing."""
    began = entries.store.runtime.monotonic()
    with entries.error_context():
        check_segment(entries.object_name(line.path))
        found = await get_object(entries.store, line.path)
        body = None if found is None else entries.checked(found)
        if found is not None and body is not None:
            entries.verify_path(body.header, line.path)
            await entries.expiry.renew(line.path, found, began)
        return body


async def _read_key(entries: Entries, line: ObjectMeta) -> bytes | None:
    """The key bytes in an entry's header; None when it has been removed since the listing."""
    with entries.error_context():
        found = await get_object(entries.store, line.path, HEADER_READ_BYTES)
        if found is None or read_prelude(found.body).is_tombstone:
            return None
        prelude = read_prelude(found.body)
        needed = PRELUDE_BYTES + prelude.header_length
        if len(found.body) < needed <= found.size:
            found = await get_object(entries.store, line.path, needed)
            if found is None or read_prelude(found.body) != prelude:
                # Written anew between the two requests: begin again with what is there now.
                return await _read_key(entries, line)
        header = read_header(found.body, prelude, entries.signer)
        entries.verify_path(header, line.path)
        return header.key


def _key(entries: Entries, codec: KeyCodec, data: bytes) -> Any:
    with entries.error_context():
        return codec.decode(data)
