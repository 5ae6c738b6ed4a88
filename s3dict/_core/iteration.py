"""All entries: keys, values, items, their number, and clearing the dict."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from .._format.entry import MAX_PRELUDE_BYTES, TOMBSTONE_BYTES, EntryBody, EntryExpiry, read_header, read_prelude
from .._format.keys import KeyCodec, claimed_key, is_object_name, key_bytes_in, match_object_name
from .._nested import aclosing
from .._record import replace
from .._stores.base import ObjectMeta, Page, StoredObject
from ..errors import Error, IntegrityError, UncertainOutcomeError
from .conditional import get_object
from .entries import Entries
from .listing import MAX_RANGES, delete_all, scan
from .removal import Removal, RemovalState

T = TypeVar("T")
HEADER_READ_BYTES = 16 * 1024
"""How much of an entry is read for a key that its object name does not contain: enough for nearly all of them."""
PREFETCH_PAGES = 3
"""How many pages of a listing are held while their entries are read, which takes longer than listing them."""


async def iterate_keys(entries: Entries) -> AsyncGenerator[list[Any], None]:
    """Yield the keys, as a rule a page of a listing at a time: a million of them pass through one generator less.

    Requests: a listing, and 1 for each key that is too long for an object name.
    """
    # Any process that may write to the bucket can choose object names, and no signature covers them: nothing is
    # unpickled.
    plain = replace(entries.codec.keys, uses_pickle=False)
    object_name = entries.paths.object_name
    async with aclosing(entry_pages(entries)) as pages:
        async for page in pages:
            with entries.error_context():
                named = [key_bytes_in(object_name(line.path)) for line in page]
                keys = [None if data is None else plain.decode(data) for data in named]
            if None not in named:
                yield keys
                continue
            async with aclosing(_keys_in_place(entries, page, named, keys)) as read:
                async for key in read:
                    yield [key]


async def _keys_in_place(
    entries: Entries, page: list[ObjectMeta], named: list[bytes | None], keys: list[Any]
) -> AsyncGenerator[Any, None]:
    """Yield the keys of a page in its order; those that the names do not contain are read from their entries."""

    async def read_key(line: ObjectMeta) -> bytes | None:
        return await _read_key(entries, line)

    unnamed = [line for line, data in zip(page, named, strict=True) if data is None]
    async with aclosing(entries.store.runtime.map(read_key, unnamed, entries.concurrency, ordered=True)) as reads:
        for key, data in zip(keys, named, strict=True):
            if data is not None:
                yield key
                continue
            read = await anext(reads)
            if read is not None:
                yield _key(entries, entries.codec.keys, read)


async def keys_of_one_page(entries: Entries) -> list[Any]:
    """Return the keys that the names of the objects contain; nothing where they do not fit in a page. 1 request."""
    page = await entries.store.list_page(entries.paths.entries)
    if page.is_truncated:
        return []
    plain = replace(entries.codec.keys, uses_pickle=False)
    lines = (line for line in _unexpired(entries, page) if _is_entry_object(entries, line))
    named = (key_bytes_in(entries.object_name(line.path)) for line in lines)
    return [plain.decode(data) for data in named if data is not None]


async def iterate_items(entries: Entries) -> AsyncGenerator[tuple[Any, Any], None]:
    """Yield the keys with their values, in the order of `iterate_keys`. Requests: a listing, and 1 each."""
    async with aclosing(entry_bodies(entries.paced())) as bodies:
        async for _, body in bodies:
            key = _key(entries, entries.codec.keys, body.header.key)
            yield key, entries.codec.deserialize(body, key)


async def iterate_entries(entries: Entries) -> AsyncGenerator[tuple[Any, Any, EntryExpiry | None], None]:
    """`iterate_items`, with the entry's own expiry as a deadline."""
    async with aclosing(entry_bodies(entries.paced())) as bodies:
        async for _, body in bodies:
            key = _key(entries, entries.codec.keys, body.header.key)
            yield key, entries.codec.deserialize(body, key), body.expiry


async def iterate_values(entries: Entries) -> AsyncGenerator[Any, None]:
    """Yield the values, in the order of `iterate_keys`, also of keys that cannot be read here.

    Requests: a listing, and 1 each.
    """
    async with aclosing(entry_bodies(entries.paced())) as bodies:
        async for _, body in bodies:
            yield entries.codec.deserialize(body)


async def count(entries: Entries, on_counted: Callable[[int], None] = lambda _: None) -> int:
    """Return the number of entries. Requests: a listing.

    `on_counted` is called with the number on each page.
    """
    total, object_name = 0, entries.paths.object_name
    async with aclosing(entry_pages(entries)) as pages:
        async for page in pages:
            with entries.error_context():
                for line in page:
                    match_object_name(object_name(line.path))
            total += len(page)
            on_counted(len(page))
    return total


async def clear(entries: Entries, on_deleted: Callable[[int], None] = lambda _: None) -> None:
    """Delete the entries that a listing shows, expired or not. Requests: the listing, and 1 for each thousand.

    `on_deleted` is called after each request with the number of entries that it has deleted.

    Objects that s3dict did not write stay. So do tombstones: an unconditional deletion could remove a newer entry that
    has replaced one since.
    """
    with entries.error_context():
        try:
            await delete_all(
                entries.store,
                entries.paths.entries,
                ordered=entries.capabilities.ordered_listing,
                only=lambda line: _is_entry_object(entries, line),
                on_deleted=on_deleted,
            )
        finally:
            if entries.cache is not None:
                entries.cache.invalidate_prefix(entries.paths.entries)


async def remove_expired(
    entries: Entries, *, dry_run: bool = False, on_read: Callable[[int], None] = lambda _: None
) -> int:
    """Remove the expired entries that a listing still shows; return how many there are.

    `on_read` is called with 1 after each entry.

    Each is removed on the condition that it has not changed. Objects that s3dict did not write stay.

    Requests: a listing, 1 for each entry, of its first bytes, and 1 for each that is removed.
    """

    async def remove(line: ObjectMeta) -> bool:
        with entries.error_context(), suppress(IntegrityError):
            return await _remove_if_expired(entries, line.path, dry_run)
        return False

    entries, removed = entries.paced(), 0
    async with aclosing(_scan(entries, PREFETCH_PAGES)) as pages:
        async for page in pages:
            lines = [line for line in page.objects if _is_entry_object(entries, line)]
            async with aclosing(entries.store.runtime.map(remove, lines, entries.concurrency)) as outcomes:
                async for was_removed in outcomes:
                    removed += was_removed
                    on_read(1)
    return removed


async def _remove_if_expired(entries: Entries, path: str, dry_run: bool) -> bool:
    found = await get_object(entries.store, path, MAX_PRELUDE_BYTES)
    if found is None or read_prelude(found.body).is_tombstone or not entries.expiry.is_expired(found):
        return False
    if dry_run:
        return True
    removal = Removal(entries.store, entries.capabilities, path, found.etag, read_prelude(found.body).write_id)
    with entries.invalidating_cache(path), suppress(UncertainOutcomeError):
        # Where the outcome is unknown, the entry is gone: it counts with the client that removed it.
        await entries.store.runtime.shielded(removal.run)
    return removal.state is RemovalState.REMOVED


async def measure(
    entries: Entries, on_counted: Callable[[int], None] = lambda _: None
) -> tuple[int, int, datetime | None, datetime | None]:
    """Return the number of entries, their bytes, and the oldest and newest Last-Modified. Requests: a listing.

    `on_counted` is called with the number of entries on each page of the listing.
    """
    number = size = 0
    oldest = newest = None
    async with aclosing(entry_pages(entries)) as pages:
        async for page in pages:
            number += len(page)
            on_counted(len(page))
            size += sum(line.size for line in page)
            for line in page:
                oldest = line.last_modified if oldest is None else min(oldest, line.last_modified)
                newest = line.last_modified if newest is None else max(newest, line.last_modified)
    return number, size, oldest, newest


async def entry_pages(entries: Entries, at_once: int = MAX_RANGES) -> AsyncGenerator[list[ObjectMeta], None]:
    with entries.error_context():
        async with aclosing(_scan(entries, at_once)) as pages:
            async for page in pages:
                await entries.revalidate()
                yield _unexpired(entries, page)


def _scan(entries: Entries, at_once: int) -> AsyncGenerator[Page, None]:
    return scan(entries.store, entries.paths.entries, at_once, ordered=entries.capabilities.ordered_listing)


def _unexpired(entries: Entries, page: Page) -> list[ObjectMeta]:
    lines = [line for line in page.objects if _is_entry(line)]
    # As a rule the oldest has not expired, and then none of a thousand has.
    if not lines or not entries.expiry.is_past_dict_ttl(min(line.last_modified for line in lines), page.server_time):
        return lines
    return [line for line in lines if not entries.expiry.is_past_dict_ttl(line.last_modified, page.server_time)]


def _is_entry(line: ObjectMeta) -> bool:
    """Return False for a tombstone, and for the empty object that consoles create in a folder's name."""
    return line.size != TOMBSTONE_BYTES and not line.path.endswith("/")


def _is_entry_object(entries: Entries, line: ObjectMeta) -> bool:
    return _is_entry(line) and is_object_name(entries.object_name(line.path))


def entry_bodies(entries: Entries) -> AsyncGenerator[tuple[str, EntryBody], None]:
    """Yield the paths of the entries and what is stored there; an expiry of their own is a deadline.

    Requests: a listing, and 1 each.
    """

    async def read_body(line: ObjectMeta) -> tuple[str, EntryBody] | None:
        body = await _read_body(entries, line)
        return None if body is None else (line.path, body)

    return map_entries(entries, read_body, PREFETCH_PAGES, ordered=True)


async def map_entries(
    entries: Entries,
    function: Callable[[ObjectMeta], Awaitable[T | None]],
    at_once: int = MAX_RANGES,
    *,
    ordered: bool = False,
) -> AsyncGenerator[T, None]:
    """Yield what the function returns for each entry of a listing, called for many side by side; leave out None."""
    concurrency, map_ = entries.concurrency, entries.store.runtime.map
    async with aclosing(entry_pages(entries, at_once)) as pages:
        async for page in pages:
            async with aclosing(map_(function, page, concurrency, ordered=ordered)) as results:
                async for result in results:
                    if result is not None:
                        yield result


async def _read_body(entries: Entries, line: ObjectMeta) -> EntryBody | None:
    """Return the entry, renewed if that is due; None when it has been removed since the listing."""
    started_at = entries.store.runtime.monotonic()
    with entries.error_context():
        object_name = entries.object_name(line.path)
        match_object_name(object_name)
        found = await get_object(entries.store, line.path)
        body = None if found is None else _decode(entries, found, object_name)
        if found is not None and body is not None:
            await entries.expiry.renew_if_due(line.path, found, started_at)
            if body.expiry is not None:
                return replace(body, expiry=body.expiry.fixed(found.last_modified))
        return body


def _decode(entries: Entries, found: StoredObject, object_name: str) -> EntryBody | None:
    try:
        body = entries.decode(found, claimed_key(object_name))
        if body is not None:
            entries.codec.verify_name(body.header, object_name)
        return body
    except IntegrityError as error:
        error.key_repr = shown_key(entries, object_name)
        raise


def shown_key(entries: Entries, object_name: str) -> str:
    """Return the key in an object's name as a Python literal, or ``#<hash>`` where the name does not contain it.

    Nothing is unpickled.
    """
    with suppress(IntegrityError):
        data = key_bytes_in(object_name)
        if data is not None:
            return repr(replace(entries.codec.keys, uses_pickle=False).decode(data))
    return f"#{object_name}"


async def _read_key(entries: Entries, line: ObjectMeta) -> bytes | None:
    """Return the key bytes in an entry's header; None when it has been removed since the listing."""
    with entries.error_context():
        found = await get_object(entries.store, line.path, HEADER_READ_BYTES)
        if found is None or read_prelude(found.body).is_tombstone or entries.expiry.is_expired(found):
            return None
        prelude = read_prelude(found.body)
        needed = prelude.size + prelude.header_length
        if len(found.body) < needed <= found.size:
            found = await get_object(entries.store, line.path, needed)
            if found is None or read_prelude(found.body) != prelude:
                # Overwritten between the two requests: start again with the current object.
                return await _read_key(entries, line)
        header = read_header(found.body, prelude, entries.codec.signer)
        entries.codec.verify_name(header, entries.object_name(line.path))
        return header.key


def _key(entries: Entries, codec: KeyCodec, data: bytes) -> Any:
    try:
        return codec.decode(data)
    except Error:
        # Entered for errors alone: this is called for each entry.
        with entries.error_context():
            raise
