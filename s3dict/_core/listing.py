"""Listings of one prefix, split into parts that are read side by side.

Entries are named by a hash, so they are distributed evenly. Where a listing is in the order of the paths, the end of a
first page of a thousand shows how many there are in all, and the rest can be split into equal ranges. n entries cost at
most ⌈n/1000⌉ + 16 requests: each range may end in a page that is not full.

Where it has no order (S3 Express), there are no ranges, and what is delivered while more is listed has no order that a
second listing would repeat. So a listing that does not fit in a page is read folder by folder, each completely before
it is sorted and delivered: 1 request for the first page, 1 for each thousand folders and objects of each folder.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import TypeVar

from .._nested import aclosing
from .._record import replace
from .._retry import RetryState
from .._stores.base import PAGE_SIZE, DeleteFailure, ObjectMeta, ObjectStore, Page, ServerTime
from ..errors import UnavailableError, UnsupportedStoreError, plural

T = TypeVar("T")

MAX_RANGES = 16
_DIGITS = 8
_HASH = re.compile(rf"(?P<folder>[0-9a-f]{{2}}/)?(?P<hash>[0-9a-f]{{{_DIGITS}}})")


class _Range:
    """The paths greater than `start_after` and less than `end_before`, listed page by page.

    A page may be short although more follows. It is filled up before it is delivered, so that the pages depend on the
    stored objects alone, and what was listed beyond it is kept for the next.
    """

    __slots__ = ("_listed", "_server_time", "end_before", "exhausted", "start_after")

    def __init__(self, start_after: str, end_before: str | None) -> None:
        self.start_after = start_after
        self.end_before = end_before
        self.exhausted = False
        self._listed: list[ObjectMeta] = []
        self._server_time: ServerTime | None = None

    def end_at(self, path: str) -> None:
        """Leave that path and what follows it to another range."""
        self.end_before = path
        self._listed = [listed for listed in self._listed if listed.path < path]
        self.exhausted = self.start_after >= path

    async def fill(self, store: ObjectStore, prefix: str, seen_cursors: set[str]) -> None:
        """List until a whole page is there, or the range is exhausted."""
        while not self.exhausted and len(self._listed) < PAGE_SIZE:
            start_after = self.start_after
            page = await store.list_page(prefix, start_after=start_after, end_before=self.end_before)
            # Some releases of SeaweedFS list that path too, in a bucket with versioning.
            following = page.objects[bool(page.objects and page.objects[0].path == start_after) :]
            self._listed += following
            self._server_time = page.server_time
            self.exhausted = not page.is_truncated
            if page.is_truncated:
                self.start_after = check_progress(_last_path(page, prefix), seen_cursors)
            if start_after and not is_ordered(following, start_after):
                raise UnsupportedStoreError(
                    f"A listing of {prefix!r} is not in the order of the paths, as the store's record says: "
                    "`s3dict doctor` corrects the record, and dicts that are created after that need no order"
                )

    def take(self) -> Page:
        """Remove the next page from what has been listed."""
        assert self._server_time is not None
        objects, self._listed = tuple(self._listed[:PAGE_SIZE]), self._listed[PAGE_SIZE:]
        return Page(objects, not self.exhausted or bool(self._listed), self._server_time)


async def scan(
    store: ObjectStore, prefix: str, concurrency: int = MAX_RANGES, *, ordered: bool = True
) -> AsyncGenerator[Page, None]:
    """Yield all objects under `prefix`, each once, page by page. About `concurrency` pages are in memory.

    The order depends on the stored objects alone, not on `concurrency` or on the timing of responses.

    Args:
        store: Where to list.
        prefix: Of the objects; it ends in a slash.
        concurrency: How many pages to hold.
        ordered: Whether the store is known to list in the order of the paths. A first page that is not in order is
            believed rather than this.

    Raises:
        UnsupportedStoreError: The first page was in order, and a later one is not.
    """
    store, seen_cursors = store.paced(), set[str]()
    first = _Range("", None)
    if ordered:
        await first.fill(store, prefix, seen_cursors)
    page = first.take() if ordered else await store.list_page(prefix)
    if not page.is_truncated:
        yield replace(page, objects=tuple(sorted(page.objects, key=_path)))
        return
    if ordered and is_ordered(page.objects):
        following = _scan_ranges(store, prefix, concurrency, first, page, seen_cursors)
    else:
        following = _scan_folders(store, prefix, concurrency)
    async with aclosing(following) as pages:
        async for page in pages:
            yield page


async def _scan_ranges(
    store: ObjectStore, prefix: str, concurrency: int, first: _Range, page: Page, seen_cursors: set[str]
) -> AsyncGenerator[Page, None]:
    """Yield the first page and what follows it, in ranges.

    Ranges wait in a queue, their pages are requested side by side and yielded in the order of the queue, and a range
    with more pages goes to its end. It is not the order of the paths, which would take many more rounds or more memory.
    """

    async def fill(part: _Range) -> None:
        await part.fill(store, prefix, seen_cursors)

    yield page
    queue = deque(_split(prefix, first, page))
    while queue:
        batch = [queue.popleft() for _ in range(min(concurrency, len(queue)))]
        # The round ends before its pages are yielded: what the caller does with them runs beside no request of this.
        async with aclosing(store.runtime.map(fill, batch, concurrency)) as filled:
            async for _ in filled:
                pass
        for part in batch:
            page = part.take()
            if page.is_truncated:
                queue.append(part)
            yield page


async def _scan_folders(store: ObjectStore, prefix: str, concurrency: int) -> AsyncGenerator[Page, None]:
    """Yield all objects, those of each folder sorted, and folders that are deeper after those that are not.

    An entry that is present throughout is in one folder throughout, and so is listed once: nothing that was listed
    before is continued from, and each folder is complete before any of it is delivered.
    """

    async def read(folder: str) -> Page:
        return await read_folder(store, folder)

    folders, listed, largest = deque([prefix]), list[ObjectMeta](), 0
    while folders:
        # All folders of entries are of about the same size, which the first one shows.
        count = min(MAX_RANGES, max(1, concurrency * PAGE_SIZE // largest)) if largest else 1
        batch = [folders.popleft() for _ in range(min(count, len(folders)))]
        async with aclosing(store.runtime.map(read, batch, len(batch), ordered=True)) as results:
            pages = [page async for page in results]
        for page in pages:
            listed += sorted(page.objects, key=_path)
            folders += sorted(page.folders)
            largest = max(largest, len(page.objects))
        while len(listed) >= PAGE_SIZE or (listed and not folders):
            yield Page(tuple(listed[:PAGE_SIZE]), True, pages[-1].server_time)
            del listed[:PAGE_SIZE]


async def read_folder(store: ObjectStore, prefix: str) -> Page:
    """Return all objects and folders directly under a prefix, whether or not listings have an order.

    Requests: 1 for each thousand of them.

    Raises:
        UnavailableError: An object was listed twice, in each attempt: others may have been left out.
    """
    retry = RetryState(store.retries.requests, store.runtime)
    while await retry.next_attempt():
        page, seen_tokens = await store.list_page(prefix, folders=True), set[object]()
        objects, folders = list(page.objects), list(page.folders)
        while page.is_truncated:
            page = await store.list_page(prefix, check_progress(page.token, seen_tokens), folders=True)
            objects += page.objects
            folders += page.folders
        if len({listed.path for listed in objects}) == len(objects):
            deeper = tuple(folder for folder in dict.fromkeys(folders) if folder != prefix)
            return Page(tuple(objects), False, page.server_time, folders=deeper)
        retry.record(UnavailableError(f"A listing of {prefix!r} contains an object twice"))
    raise retry.final_error()


def is_ordered(listed: Sequence[ObjectMeta], start_after: str = "") -> bool:
    """Return whether objects are in the order of their paths, after that path."""
    return all(path < following for path, following in pairwise([start_after, *map(_path, listed)]))


_path = attrgetter("path")


def _last_path(page: Page, prefix: str) -> str:
    if not page.objects:
        raise UnavailableError(f"A listing of {prefix!r} is truncated, but empty")
    return page.objects[-1].path


def check_progress(start_after: T, seen_cursors: set[T]) -> T:
    """Return where a listing continues.

    Raises:
        UnavailableError: It has continued from there before, and so would never end.
    """
    if start_after in seen_cursors:
        raise UnavailableError(
            f"A listing reached {start_after!r} twice. Unexpected response: a proxy or gateway may be in between"
        )
    seen_cursors.add(start_after)
    return start_after


def _split(prefix: str, first: _Range, page: Page) -> list[_Range]:
    """Return what follows the first page, in as many equal ranges as it probably has pages, and 16 at most."""
    bounds = [] if first.exhausted else split_points(prefix, page.objects[-1].path)
    if not bounds:
        return [first]
    first.end_at(bounds[0])
    return [first, *(_Range(start, end) for start, end in zip(bounds, [*bounds[1:], None], strict=True))]


def split_points(prefix: str, last: str) -> list[str]:
    """Return the paths that split what follows the path `last`, the end of a full page, into equal ranges.

    There are none where objects are not named by a hash, so that their distribution is unknown.
    """
    match = _HASH.match(last, len(prefix))
    if match is None:
        return []
    done, space = int(match["hash"], 16) + 1, 16**_DIGITS
    count = min(MAX_RANGES, max(1, math.ceil((space - done) / done)))
    hashes = (f"{done + (space - done) * i // count:0{_DIGITS}x}" for i in range(1, count))
    # Where entries are one folder deeper, it is named by the first digits of the hash.
    folder = len((match["folder"] or "").removesuffix("/"))
    return [f"{prefix}{hashed[:folder]}/{hashed}" if folder else f"{prefix}{hashed}" for hashed in hashes]


async def delete_all(
    store: ObjectStore,
    prefix: str,
    *,
    ordered: bool = True,
    only: Callable[[ObjectMeta], bool] = lambda _: True,
    on_deleted: Callable[[int], None] = lambda _: None,
) -> None:
    """Delete the objects under `prefix` for which `only` holds.

    Requests: the listing, and 1 for each thousand objects.

    Args:
        store: Where to list and delete.
        prefix: Of the objects.
        ordered: Whether the store is known to list in the order of the paths.
        only: Which of them.
        on_deleted: Called after each request with the number of objects that it has deleted.

    Raises:
        PermissionDeniedError: Deleting is forbidden.
        Error: The store could not delete some of them.
    """
    pending: list[str] = []
    failures: list[DeleteFailure] = []
    retries, store = store.retries.requests, store.paced()

    async def delete_batch() -> None:
        batch = pending[:PAGE_SIZE]
        del pending[:PAGE_SIZE]
        failed = await _delete_many(store, batch, RetryState(retries, store.runtime))
        failures.extend(failed)
        on_deleted(len(batch) - len(failed))

    async with aclosing(scan(store, prefix, ordered=ordered)) as pages:
        async for page in pages:
            pending += (line.path for line in page.objects if only(line))
            while len(pending) >= PAGE_SIZE:
                await delete_batch()
    if pending:
        await delete_batch()
    if failures:
        error = failures[0].error
        raise error._for_many(
            f"{plural(len(failures), 'object')} could not be deleted, {failures[0].path!r} among them: {error}"
        ) from error


async def _delete_many(store: ObjectStore, paths: Sequence[str], retry: RetryState) -> list[DeleteFailure]:
    """Delete the objects, and return those that could not be deleted.

    A response may say of single objects that they were throttled, or could not be deleted just now: they are deleted
    again.
    """
    final: list[DeleteFailure] = []
    repeatable: list[DeleteFailure] = []
    while await retry.next_attempt():
        failed = await store.delete_many(paths)
        repeatable = [failure for failure in failed if isinstance(failure.error, UnavailableError)]
        final += [failure for failure in failed if not isinstance(failure.error, UnavailableError)]
        if not repeatable:
            break
        retry.record(repeatable[0].error)
        paths = [failure.path for failure in repeatable]
    return final + repeatable
