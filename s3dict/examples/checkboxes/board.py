"""The boxes as one server sees them.

The Dict has the truth. A server has what it saw last, to draw pages from, and makes two kinds of requests:

- **A click** is one `Dict.modify` of the chunk, 2 requests. It sets the box to what the visitor wants and does not
  toggle it, so it may be repeated whenever its outcome is uncertain. While one modify of a chunk is under way, further
  clicks on that chunk gather and go together into the next: at most one writer of each server contends for a chunk,
  however many visitors click.
- **A look**, twice a second while anybody has a page open, is one `Dict.get_many` of the chunks that open pages show,
  and of the one chunk that was not seen for longest, for the total. That is mostly two or three GETs of some 1300
  bytes, for any number of visitors. With no page open there are none.

Other ways cost more. An entry "what has changed" would be a second write for each click, on which all servers contend,
a PUT costs as much as 12 GETs, and a server that dies between its two writes would leave a change that nobody hears of.
A listing, which has the ETags of all chunks, costs as much as 12 GETs too, and pages show one or two chunks. A cache in
the client would have unchanged chunks answered without their body, which is no cheaper for bodies as small as these.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from s3dict import ConflictError, Dict, Error, UncertainOutcomeError

from .bitmaps import BOXES_PER_CHUNK, EMPTY, count_checked, with_boxes

__all__ = ["Board", "Watcher", "shared_boxes"]

LOOK_SECONDS = 0.5
_ATTEMPTS = 5


def shared_boxes() -> Dict[int, bytes]:
    """The Dict of the bitmaps, by number of the chunk. They are kept for ever, and nothing in it is unpickled."""
    return Dict.from_name("checkboxes", create_if_missing=True, ttl=None, codec="bytes")


class Watcher:
    """An open page: the chunks that it shows, and what it has not been told yet.

    News are what is the case now, not a queue of what happened, so those of a slow page do not pile up.
    """

    def __init__(self) -> None:
        self.shows: frozenset[int] = frozenset()
        self._changed: set[int] = set()
        self._woken = asyncio.Event()

    def notify(self, *chunks: int) -> None:
        self._changed.update(chunks)
        self._woken.set()

    async def changed_chunks(self, timeout: float) -> set[int]:
        """Waits for news, for so many seconds at most; gives those of the shown chunks that have changed."""
        try:
            await asyncio.wait_for(self._woken.wait(), timeout)
        except TimeoutError:
            return set()
        self._woken.clear()
        changed, self._changed = self._changed, set()
        return changed & self.shows


@dataclass(frozen=True, slots=True)
class _Seen:
    """A chunk as it was seen, with the number of the look, or of the write, that saw it."""

    bitmap: bytes
    moment: int


@dataclass(slots=True, eq=False)
class _Batch:
    """Clicks on one chunk that are written together."""

    writing: asyncio.Task[None] = field(init=False)
    wanted: dict[int, bool] = field(default_factory=dict)


class Board:
    """All boxes, a multiple of ``BOXES_PER_CHUNK``. It belongs to the event loop in which it is used."""

    def __init__(self, shared: Dict[int, bytes], boxes: int) -> None:
        self.boxes = boxes
        self.watchers: set[Watcher] = set()
        self.in_trouble = False
        self.checked = 0
        self._shared = shared
        self._chunks = range(boxes // BOXES_PER_CHUNK)
        self._seen = dict.fromkeys(self._chunks, _Seen(EMPTY, -1))
        self._moments = itertools.count()
        self._gathering: dict[int, _Batch] = {}
        self._writers: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._writes: set[asyncio.Task[None]] = set()

    def bitmap(self, chunk: int) -> bytes:
        return self._seen[chunk].bitmap

    def set(self, box: int, checked: bool) -> asyncio.Task[None]:
        """Sets a box; the task is done when that is stored, and has the ``s3dict.Error`` if it could not be."""
        chunk, place = divmod(box, BOXES_PER_CHUNK)
        batch = self._gathering.get(chunk)
        if batch is None:
            self._gathering[chunk] = batch = _Batch()
            batch.writing = asyncio.create_task(self._write(chunk, batch))
            self._writes.add(batch.writing)
            batch.writing.add_done_callback(self._writes.discard)
        batch.wanted[place] = checked
        return batch.writing

    async def show(self, watcher: Watcher, chunks: Collection[int]) -> None:
        """Notes what a page shows now. What no other page shows is read at once; after a time without pages, all is."""
        fresh = self._shown()
        watcher.shows = frozenset(chunks) & frozenset(self._chunks)
        if watcher.shows:
            await self.look(watcher.shows - fresh if fresh else self._chunks)
        watcher.notify(*watcher.shows)

    async def follow(self) -> None:
        """Looks at what the pages show, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            shown = self._shown()
            if shown:
                await self.look(shown | {min(self._chunks, key=lambda chunk: self._seen[chunk].moment)})

    async def look(self, chunks: Collection[int]) -> None:
        """Reads these chunks, and tells the pages that show them if they have changed."""
        moment = next(self._moments)
        try:
            found = await self._shared.get_many.aio(chunks)
        except Error as error:
            self._report(error)
            return
        self._report(None)
        for chunk in chunks:
            self._see(chunk, _Seen(found.get(chunk, EMPTY), moment))

    async def _write(self, chunk: int, batch: _Batch) -> None:
        try:
            async with self._writers[chunk]:
                del self._gathering[chunk]  # clicks from here on wait for the next write
                bitmap = await self._modify(chunk, batch.wanted)
        except Error as error:
            self._report(error)
            raise
        self._report(None)
        self._see(chunk, _Seen(bitmap, next(self._moments)))

    async def _modify(self, chunk: int, wanted: dict[int, bool]) -> bytes:
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._shared.modify.aio(chunk, lambda bitmap: with_boxes(bitmap, wanted), EMPTY)
            except (ConflictError, UncertainOutcomeError):
                continue
        return await self._shared.modify.aio(chunk, lambda bitmap: with_boxes(bitmap, wanted), EMPTY)

    def _see(self, chunk: int, seen: _Seen) -> None:
        before = self._seen[chunk]
        # A look that began before our own write ended may have missed it: pages would see their click undone.
        if seen.moment < before.moment:
            return
        self._seen[chunk] = seen
        if seen.bitmap != before.bitmap:
            self.checked += count_checked(seen.bitmap) - count_checked(before.bitmap)
            for watcher in self.watchers:
                watcher.notify(chunk)

    def _report(self, error: Error | None) -> None:
        if self.in_trouble == (error is not None):
            return
        self.in_trouble = error is not None
        print("The bucket answers again." if error is None else f"Trouble: {error}", file=sys.stderr, flush=True)
        for watcher in self.watchers:
            watcher.notify()

    def _shown(self) -> frozenset[int]:
        return frozenset().union(*(watcher.shows for watcher in self.watchers))
