"""Listings of one flat "folder", cut into ranges of the hash space that are read side by side.

Entries are named by a hash, so they lie evenly: where a first page of a thousand ends tells how many there are in
all, and the rest can be cut into equal ranges. n entries cost at most ⌈n/1000⌉ + 16 requests: each range may end in
one page that is not full.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from .._stores.base import PAGE_SIZE, Listed, NotDeleted, Page, Store
from ..errors import UnavailableError

MAX_RANGES = 16
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Range:
    """Paths greater than `after` and less than `until`."""

    after: str
    until: str | None


async def scan(store: Store, prefix: str, at_once: int = MAX_RANGES) -> AsyncGenerator[Page, None]:
    """Everything under `prefix`, page by page, in no order. At most `at_once` pages are in memory."""

    async def read(part: Range) -> tuple[Range, Page]:
        return part, await store.list_page(prefix, after=part.after, until=part.until)

    first = await store.list_page(prefix)
    yield first
    ranges = cut(prefix, first) if first.more else []
    begun = {part.after for part in ranges}
    while ranges:
        # The round ends before its pages are handed out: what the caller does with them adds to no requests of ours.
        pages = [answered async for answered in store.map(read, ranges[:at_once], at_once)]
        ranges = ranges[at_once:]
        while pages:
            part, page = pages.pop()
            if page.more:
                ranges.append(Range(advanced(page.objects[-1].path, begun), part.until))
            yield page


def advanced(after: str, begun: set[str]) -> str:
    """Where a listing goes on. Raises UnavailableError when it has been there before, and so would never end."""
    if after in begun:
        raise UnavailableError(f"A listing came to {after!r} for the second time: what stands between is not S3")
    begun.add(after)
    return after


def cut(prefix: str, first: Page) -> list[Range]:
    """What follows the first page, in as many equal ranges as it probably has pages, and 16 at most."""
    last = first.objects[-1].path
    digits = last[len(prefix) : len(prefix) + _DIGITS]
    if not re.fullmatch(f"[0-9a-f]{{{_DIGITS}}}", digits):
        # Not named by a hash: who knows how these lie.
        return [Range(last, None)]
    done = int(digits, 16) + 1
    space = 16**_DIGITS
    count = min(MAX_RANGES, max(1, math.ceil((space - done) / done)))
    bounds = [f"{prefix}{done + (space - done) * i // count:0{_DIGITS}x}" for i in range(1, count)]
    return [Range(after, until) for after, until in zip([last, *bounds], [*bounds, None], strict=True)]


async def delete_all(store: Store, prefix: str, *, only: Callable[[Listed], bool] = lambda _: True) -> None:
    """Deletes what lies under `prefix`, or of that what `only` says: the listing and ⌈n/1000⌉ requests.

    Raises Error when the store could not delete some of it, PermissionDeniedError when that is forbidden.
    """
    waiting: list[str] = []
    kept: list[NotDeleted] = []
    async for page in scan(store, prefix):
        waiting += (line.path for line in page.objects if only(line))
        while len(waiting) >= PAGE_SIZE:
            kept += await store.delete_many(waiting[:PAGE_SIZE])
            del waiting[:PAGE_SIZE]
    if waiting:
        kept += await store.delete_many(waiting)
    if kept:
        why = kept[0].why
        raise why.about_many(f"{len(kept)} objects could not be deleted, {kept[0].path!r} among them: {why}") from why
