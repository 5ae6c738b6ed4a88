"""Listings of one prefix, split into ranges of the hash space that are read side by side.

Entries are named by a hash, so they are distributed evenly: where a first page of a thousand ends shows how many there
are in all, and the rest can be split into equal ranges. n entries cost at most ⌈n/1000⌉ + 16 requests: each range may
end in a page that is not full.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from .._stores.base import PAGE_SIZE, DeleteFailure, ObjectMeta, ObjectStore, Page
from ..errors import UnavailableError

MAX_RANGES = 16
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Paths greater than `start_after` and less than `end_before`."""

    start_after: str
    end_before: str | None


async def scan(store: ObjectStore, prefix: str, concurrency: int = MAX_RANGES) -> AsyncGenerator[Page, None]:
    """Yield all objects under `prefix`, page by page, in no order. At most `concurrency` pages are in memory."""
    store = store.paced()

    async def read(part: KeyRange) -> tuple[KeyRange, Page]:
        return part, await store.list_page(prefix, start_after=part.start_after, end_before=part.end_before)

    first = await store.list_page(prefix)
    yield first
    ranges = split(prefix, first) if first.is_truncated else []
    seen_cursors = {part.start_after for part in ranges}
    while ranges:
        # The round ends before its pages are yielded: what the caller does with them runs beside no request of this.
        pages = [page async for page in store.runtime.map(read, ranges[:concurrency], concurrency)]
        ranges = ranges[concurrency:]
        while pages:
            part, page = pages.pop()
            if page.is_truncated:
                ranges.append(KeyRange(check_progress(page.objects[-1].path, seen_cursors), part.end_before))
            yield page


def check_progress(start_after: str, seen_cursors: set[str]) -> str:
    """Return where a listing continues.

    Raises:
        UnavailableError: it has continued from there before, and so would never end.
    """
    if start_after in seen_cursors:
        raise UnavailableError(
            f"A listing reached {start_after!r} twice. Unexpected response: a proxy or gateway may be in between"
        )
    seen_cursors.add(start_after)
    return start_after


def split(prefix: str, first: Page) -> list[KeyRange]:
    """Return what follows the first page, in as many equal ranges as it probably has pages, and 16 at most."""
    last = first.objects[-1].path
    digits = last[len(prefix) : len(prefix) + _DIGITS]
    if not re.fullmatch(f"[0-9a-f]{{{_DIGITS}}}", digits):
        # Not named by a hash: their distribution is unknown.
        return [KeyRange(last, None)]
    done = int(digits, 16) + 1
    space = 16**_DIGITS
    count = min(MAX_RANGES, max(1, math.ceil((space - done) / done)))
    bounds = [f"{prefix}{done + (space - done) * i // count:0{_DIGITS}x}" for i in range(1, count)]
    return [
        KeyRange(start_after, end_before)
        for start_after, end_before in zip([last, *bounds], [*bounds, None], strict=True)
    ]


async def delete_all(
    store: ObjectStore,
    prefix: str,
    *,
    only: Callable[[ObjectMeta], bool] = lambda _: True,
    on_deleted: Callable[[int], None] = lambda _: None,
) -> None:
    """Delete the objects under `prefix` for which `only` holds.

    Requests: the listing, and 1 for each thousand objects.

    Args:
        store: Where to list and delete.
        prefix: Of the objects.
        only: Which of them.
        on_deleted: Called after each request with the number of objects that it has deleted.

    Raises:
        PermissionDeniedError: deleting is forbidden.
        Error: the store could not delete some of them.
    """
    pending: list[str] = []
    failures: list[DeleteFailure] = []
    store = store.paced()

    async def delete_batch() -> None:
        batch = pending[:PAGE_SIZE]
        del pending[:PAGE_SIZE]
        failed = await store.delete_many(batch)
        failures.extend(failed)
        on_deleted(len(batch) - len(failed))

    async for page in scan(store, prefix):
        pending += (line.path for line in page.objects if only(line))
        while len(pending) >= PAGE_SIZE:
            await delete_batch()
    if pending:
        await delete_batch()
    if failures:
        error = failures[0].error
        raise error._for_many(
            f"{len(failures)} objects could not be deleted, {failures[0].path!r} among them: {error}"
        ) from error
