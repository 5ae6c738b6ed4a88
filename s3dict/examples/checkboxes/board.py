"""The boxes as one server sees them.

The Dict holds the authoritative state. A server caches the chunks it read last, to render pages from, and makes two
kinds of requests:

- **A click** is one `Dict.modify` of the chunk, 2 requests. It sets the box to the requested state instead of toggling
  it, so it can be retried when its outcome is uncertain. While a modify of a chunk is in flight, further clicks on that
  chunk are batched into the next one: each server is at most one concurrent writer of a chunk, for any number of
  visitors.
- **A poll**, twice a second while any page is open, is one `Dict.get_many` of the chunks that open pages show, and of
  the least recently read chunk, for the total. That is two or three GETs of about 1,300 bytes, for any number of
  visitors. While no page is open there are no requests.

The alternatives cost more. An entry with the latest changes would be a second write for each click, on which all
servers contend; a PUT costs as much as 12 GETs; and a server that dies between its two writes would leave a change that
no other server detects. A listing, which returns the ETags of all chunks, costs as much as 12 GETs too, and pages show
one or two chunks. The client's read cache would save the bodies of unchanged chunks, which are too small to matter.
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

POLL_SECONDS = 0.5
_ATTEMPTS = 5


def shared_boxes() -> Dict[int, bytes]:
    """Return the Dict of bitmaps by chunk number. Entries never expire, and reading them unpickles nothing."""
    return Dict.from_name("checkboxes", create_if_missing=True, ttl=None, codec="bytes")


class Watcher:
    """An open page: the chunks that it shows, and the changes that were not sent to it yet.

    Changes are a set of chunks, not a queue of events, so they do not accumulate for a slow page.
    """

    def __init__(self) -> None:
        self.shown: frozenset[int] = frozenset()
        self._changed: set[int] = set()
        self._notified = asyncio.Event()

    def notify(self, *chunks: int) -> None:
        self._changed.update(chunks)
        self._notified.set()

    async def changed_chunks(self, timeout: float) -> set[int]:
        """Return the shown chunks that have changed, after waiting for a notification for `timeout` seconds at most."""
        try:
            await asyncio.wait_for(self._notified.wait(), timeout)
        except TimeoutError:
            return set()
        self._notified.clear()
        changed, self._changed = self._changed, set()
        return changed & self.shown


@dataclass(frozen=True, slots=True)
class _CachedChunk:
    """A cached chunk, with the sequence number of the poll or write that returned it."""

    bitmap: bytes
    sequence: int


@dataclass(slots=True, eq=False)
class _Batch:
    """Clicks on one chunk that are written by one modify."""

    task: asyncio.Task[None] = field(init=False)
    wanted: dict[int, bool] = field(default_factory=dict)


class Board:
    """All boxes, a multiple of ``BOXES_PER_CHUNK``. It belongs to the event loop in which it is used."""

    def __init__(self, shared: Dict[int, bytes], boxes: int) -> None:
        self.boxes = boxes
        self.watchers: set[Watcher] = set()
        self.is_failing = False
        self.checked = 0
        self._shared = shared
        self._chunks = range(boxes // BOXES_PER_CHUNK)
        self._cached = dict.fromkeys(self._chunks, _CachedChunk(EMPTY, -1))
        self._sequence = itertools.count()
        self._pending: dict[int, _Batch] = {}
        self._write_locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._writes: set[asyncio.Task[None]] = set()

    def bitmap(self, chunk: int) -> bytes:
        return self._cached[chunk].bitmap

    def set(self, box: int, checked: bool) -> asyncio.Task[None]:
        """Set a box. The returned task finishes when the change is stored, or fails with an ``s3dict.Error``."""
        chunk, index = divmod(box, BOXES_PER_CHUNK)
        batch = self._pending.get(chunk)
        if batch is None:
            self._pending[chunk] = batch = _Batch()
            batch.task = asyncio.create_task(self._write(chunk, batch))
            self._writes.add(batch.task)
            batch.task.add_done_callback(self._writes.discard)
        batch.wanted[index] = checked
        return batch.task

    async def show(self, watcher: Watcher, chunks: Collection[int]) -> None:
        """Register the chunks that a page shows. Those not polled already are read now; if none are, all chunks are."""
        polled = self._shown()
        watcher.shown = frozenset(chunks) & frozenset(self._chunks)
        if watcher.shown:
            await self.refresh(watcher.shown - polled if polled else self._chunks)
        watcher.notify(*watcher.shown)

    async def poll(self) -> None:
        """Refresh the shown chunks periodically, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            shown = self._shown()
            if shown:
                await self.refresh(shown | {min(self._chunks, key=lambda chunk: self._cached[chunk].sequence)})

    async def refresh(self, chunks: Collection[int]) -> None:
        """Read these chunks, and notify the pages that show them if they have changed."""
        sequence = next(self._sequence)
        try:
            found = await self._shared.get_many.aio(chunks)
        except Error as error:
            self._report(error)
            return
        self._report(None)
        for chunk in chunks:
            self._update(chunk, _CachedChunk(found.get(chunk, EMPTY), sequence))

    async def _write(self, chunk: int, batch: _Batch) -> None:
        try:
            async with self._write_locks[chunk]:
                del self._pending[chunk]  # later clicks start the next batch
                bitmap = await self._modify(chunk, batch.wanted)
        except Error as error:
            self._report(error)
            raise
        self._report(None)
        self._update(chunk, _CachedChunk(bitmap, next(self._sequence)))

    async def _modify(self, chunk: int, wanted: dict[int, bool]) -> bytes:
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._shared.modify.aio(chunk, lambda bitmap: with_boxes(bitmap, wanted), EMPTY)
            except (ConflictError, UncertainOutcomeError):
                continue
        return await self._shared.modify.aio(chunk, lambda bitmap: with_boxes(bitmap, wanted), EMPTY)

    def _update(self, chunk: int, new: _CachedChunk) -> None:
        old = self._cached[chunk]
        # A poll that started before our own write finished may have read the old value: the page's click would appear
        # to be undone.
        if new.sequence < old.sequence:
            return
        self._cached[chunk] = new
        if new.bitmap != old.bitmap:
            self.checked += count_checked(new.bitmap) - count_checked(old.bitmap)
            for watcher in self.watchers:
                watcher.notify(chunk)

    def _report(self, error: Error | None) -> None:
        if self.is_failing == (error is not None):
            return
        self.is_failing = error is not None
        print(
            "The bucket is reachable again." if error is None else f"Request failed: {error}",
            file=sys.stderr,
            flush=True,
        )
        for watcher in self.watchers:
            watcher.notify()

    def _shown(self) -> frozenset[int]:
        return frozenset().union(*(watcher.shown for watcher in self.watchers))
