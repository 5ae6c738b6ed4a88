"""All entries: keys, values, items, how many there are, and clearing them away."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from .._format.entry import PRELUDE_BYTES, TOMBSTONE_BYTES, EntryBody, read_header, read_prelude
from .._format.keys import KeyCodec, check_segment, is_segment, key_bytes_in
from .._stores.base import Listed, Page
from .conditional import read
from .entries import Entries
from .listing import MAX_RANGES, delete_all, scan

HEADER_GUESS = 16 * 1024
"""How much of an entry is read to learn a key that its name does not carry: enough for nearly all of them."""
PAGES_AHEAD = 3
"""How many pages of a listing are held while their entries are read, which takes longer than to list them."""


async def iterate_keys(entries: Entries) -> AsyncGenerator[Any, None]:
    """The keys, in no order: a listing, and 1 request for each key that is too long for an object name."""

    async def key_inside(line: Listed) -> bytes | None:
        return await _key_inside(entries, line)

    # Names can be written by whoever may write to the bucket, and no signature vouches for them: nothing is unpickled.
    plain = replace(entries.keys, pickles=False)
    async with aclosing(_pages(entries)) as pages:
        async for page in pages:
            with entries.about():
                named = [(line, key_bytes_in(entries.segment(line.path))) for line in page]
                keys = [plain.decode(data) for _, data in named if data is not None]
            for key in keys:
                yield key
            unnamed = [line for line, data in named if data is None]
            async with aclosing(entries.store.map(key_inside, unnamed, entries.concurrency)) as found:
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
            with entries.about():
                for line in page:
                    check_segment(entries.segment(line.path))
            total += len(page)
    return total


async def clear(entries: Entries) -> None:
    """Deletes the entries that a listing shows, over or not. The listing, and a request for each thousand.

    What has no name of ours stays. So do tombstones: a deletion cannot be undone for the newer entry that might have
    taken one's place by then.
    """
    with entries.about():
        try:
            await delete_all(entries.store, entries.paths.entries, only=lambda line: _is_ours(entries, line))
        finally:
            if entries.cache is not None:
                entries.cache.forget_all(entries.paths.entries)


async def _pages(entries: Entries, at_once: int = MAX_RANGES) -> AsyncGenerator[list[Listed], None]:
    with entries.about():
        async with aclosing(scan(entries.store, entries.paths.entries, at_once)) as pages:
            async for page in pages:
                yield _living(entries, page)


def _living(entries: Entries, page: Page) -> list[Listed]:
    lines = [line for line in page.objects if _is_entry(entries, line)]
    # As a rule the oldest is not over, and then none of a thousand is.
    if not lines or not entries.expiry.is_over(min(line.last_modified for line in lines), page.told):
        return lines
    return [line for line in lines if not entries.expiry.is_over(line.last_modified, page.told)]


def _is_entry(entries: Entries, line: Listed) -> bool:
    """Neither a tombstone nor the empty object that consoles make in a folder's name."""
    return line.size != TOMBSTONE_BYTES and line.path != entries.paths.entries


def _is_ours(entries: Entries, line: Listed) -> bool:
    return _is_entry(entries, line) and is_segment(entries.segment(line.path))


async def _bodies(entries: Entries) -> AsyncGenerator[EntryBody, None]:
    async def body_of(line: Listed) -> EntryBody | None:
        return await _body_of(entries, line)

    async with aclosing(_pages(entries, PAGES_AHEAD)) as pages:
        async for page in pages:
            async with aclosing(entries.store.map(body_of, page, entries.concurrency)) as bodies:
                async for body in bodies:
                    if body is not None:
                        yield body


async def _body_of(entries: Entries, line: Listed) -> EntryBody | None:
    """The entry, which is renewed when that is due; None when it has been removed since the listing."""
    began = entries.store.now()
    with entries.about():
        check_segment(entries.segment(line.path))
        found = await read(entries.store, line.path)
        body = None if found is None else entries.checked(found)
        if found is not None and body is not None:
            entries.check_name(body.header, line.path)
            await entries.expiry.renew(line.path, found, began)
        return body


async def _key_inside(entries: Entries, line: Listed) -> bytes | None:
    """The key bytes in an entry's header; None when it has been removed since the listing."""
    with entries.about():
        found = await read(entries.store, line.path, HEADER_GUESS)
        if found is None or read_prelude(found.body).is_tombstone:
            return None
        prelude = read_prelude(found.body)
        needed = PRELUDE_BYTES + prelude.header_length
        if len(found.body) < needed <= found.size:
            found = await read(entries.store, line.path, needed)
            if found is None or read_prelude(found.body) != prelude:
                # Written anew between the two requests: begin again with what is there now.
                return await _key_inside(entries, line)
        header = read_header(found.body, prelude, entries.seal)
        entries.check_name(header, line.path)
        return header.key


def _key(entries: Entries, codec: KeyCodec, data: bytes) -> Any:
    with entries.about():
        return codec.decode(data)
