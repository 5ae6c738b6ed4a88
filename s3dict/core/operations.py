"""What one does with the entries of a dict, over any store.

Every method says how many requests it makes when nothing goes wrong; the tests count them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Generic, TypeVar

from ..errors import (
    ConflictError,
    DeserializationError,
    Error,
    IntegrityError,
    RequestSizeError,
    SerializationError,
    UncertainOutcomeError,
)
from ..format.capabilities import Capabilities
from ..format.entry import (
    PRELUDE_BYTES,
    TOMBSTONE_BYTES,
    WRITE_ID_BYTES,
    EntryBody,
    Header,
    Seal,
    pack,
    pack_tombstone,
    read_header,
    read_prelude,
    unpack,
)
from ..format.keys import EncodedKey, KeyCodec, digest, key_bytes_in
from ..format.layout import DataPaths
from ..format.values import Codec
from ..stores.base import Found, Listed, Store
from .conditional import Lost, Removal, Won, delete_if, pauses, put_if, read
from .listing import delete_all, scan

K = TypeVar("K")
V = TypeVar("V")

HEADER_GUESS = 16 * 1024
"""How much of an entry is read to learn a key that its name does not carry: enough for nearly all of them."""
_POP_ATTEMPTS = 100
_SHOWN_CHARACTERS = 200
_SHOWN_KEYS = 10


@dataclass(frozen=True, slots=True)
class Live(Generic[V]):
    """An entry that is there."""

    value: V
    etag: str
    write_id: bytes


@dataclass(frozen=True, slots=True)
class _Pair:
    encoded: EncodedKey
    key: Any
    value: Any


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of one hydrated dict.

    ``label`` names the dict in messages. Nothing here keeps state between calls.
    """

    store: Store
    paths: DataPaths
    capabilities: Capabilities
    keys: KeyCodec
    codec: Codec
    seal: Seal
    label: str
    max_value_bytes: int
    concurrency: int

    async def read(self, key: Any) -> Live[Any] | None:
        """The live entry; None when there is none. 1 request."""
        encoded = self.keys.encode(key)
        with self._about(key):
            found = await read(self.store, self._path(encoded))
            body = None if found is None else self._check(found, encoded.data)
        if found is None or body is None:
            return None
        return Live(self._value(body, key), found.etag, body.write_id)

    async def contains(self, key: Any) -> bool:
        """Whether there is a live entry. 1 request, without a body."""
        encoded = self.keys.encode(key)
        with self._about(key):
            found = await self.store.head(self._path(encoded))
        return found is not None and found.size > TOMBSTONE_BYTES

    async def write(self, key: Any, value: Any) -> None:
        """Puts the entry, whatever is there. 1 request; it may be sent again when its answer is lost."""
        await self._write(self.keys.encode(key), key, value)

    async def create(self, key: Any, value: Any) -> bool:
        """Puts the entry only where there is none; whether it did. 1 request when it wins, 2 when it loses.

        A tombstone is no entry: it is written over, on the condition that it is still the same.
        """
        encoded = self.keys.encode(key)
        body, write_id = self._pack(encoded, key, value)
        path, over = self._path(encoded), None
        with self._about(key):
            while True:
                outcome = await put_if(self.store, path, body, mark=write_id, over=over, peek=PRELUDE_BYTES)
                if isinstance(outcome, Won):
                    return True
                if outcome.found is None or not read_prelude(outcome.found.body).is_tombstone:
                    # Also when it has vanished since: at the time of our request there was one.
                    return False
                over = self.capabilities.if_match(outcome.found.etag)

    async def remove(self, key: Any) -> Live[Any] | None:
        """Takes the entry out and gives it, to one caller only; None when there is none. 2 requests, or 1."""
        encoded = self.keys.encode(key)
        path = self._path(encoded)
        with self._about(key):
            async for _ in pauses(self.store, _POP_ATTEMPTS):
                found = await read(self.store, path)
                body = None if found is None else self._check(found, encoded.data)
                if found is None or body is None:
                    return None
                # The value is decoded first: an entry that cannot be read here must not be lost here.
                live = Live(self._value(body, key), found.etag, body.write_id)
                if await self._removed(path, live):
                    return live
        raise ConflictError(f"{self.label}: {_shown(key)} kept changing while it was being removed")

    async def write_many(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Puts all pairs, of which the last with an equal key counts; `concurrency` at a time. 1 request each.

        Raises the first failure, with `failed_keys`; nothing after it is begun.
        """
        writing: set[bytes] = set()
        later: dict[bytes, _Pair] = {}

        def in_order() -> Iterator[_Pair]:
            # Two writes of one key must not be under way together, or the earlier could come last.
            for key, value in pairs:
                pair = _Pair(self.keys.encode(key), key, value)
                data = pair.encoded.data
                if data in writing or data in later:
                    later[data] = pair
                else:
                    writing.add(data)
                    yield pair

        async def write(pair: _Pair) -> tuple[Any, Exception | None]:
            try:
                await self._write(pair.encoded, pair.key, pair.value)
            except Exception as error:
                return pair.key, error
            finally:
                writing.discard(pair.encoded.data)
            return pair.key, None

        await self._run_all(write, in_order())
        await self._run_all(write, later.values())

    async def iterate_keys(self) -> AsyncGenerator[Any, None]:
        """The keys, in no order: a listing, and 1 request for each key that is too long for an object name."""
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                unnamed = []
                for line in page:
                    data = self._key_in_name(line)
                    if data is None:
                        unnamed.append(line)
                    else:
                        yield self.keys.decode(data)
                async with aclosing(self.store.map(self._key_inside, unnamed, self.concurrency)) as found:
                    async for data in found:
                        if data is not None:
                            yield self.keys.decode(data)

    async def iterate_items(self) -> AsyncGenerator[tuple[Any, Any], None]:
        """The keys with their values, in no order: a listing, and 1 request each."""
        async with aclosing(self._bodies()) as bodies:
            async for body in bodies:
                key = self.keys.decode(body.header.key)
                yield key, self._value(body, key)

    async def iterate_values(self) -> AsyncGenerator[Any, None]:
        """The values, in no order: a listing, and 1 request each. Keys that cannot be read here do no harm."""
        async with aclosing(self._bodies()) as bodies:
            async for body in bodies:
                yield self._value(body)

    async def count(self) -> int:
        """How many entries there are. A listing."""
        count = 0
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                for line in page:
                    self._key_in_name(line)
                count += len(page)
        return count

    async def clear(self) -> None:
        """Deletes what a listing shows. The listing, and a request for each thousand.

        Tombstones stay: a deletion cannot be undone for the newer entry that might have taken one's place by then.
        """
        with self._about():
            await delete_all(self.store, self.paths.entries, larger_than=TOMBSTONE_BYTES)

    async def _removed(self, path: str, live: Live[Any]) -> bool:
        over = self.capabilities.if_match(live.etag)
        if not self.capabilities.conditional_delete:
            write_id = os.urandom(WRITE_ID_BYTES)
            tombstone = pack_tombstone(write_id)
            try:
                outcome = await put_if(self.store, path, tombstone, mark=write_id, over=over, peek=PRELUDE_BYTES)
            except UncertainOutcomeError as error:
                error.value = live.value
                raise
            return not isinstance(outcome, Lost)
        removal = await delete_if(self.store, path, over)
        if removal is Removal.UNKNOWN:
            await self._settle_removal(path, live)
        return removal is Removal.DELETED

    async def _settle_removal(self, path: str, live: Live[Any]) -> None:
        """Returns when the entry is still there, so that nobody can have removed it; raises otherwise.

        The request whose answer was lost may have removed it, or another's may have: both look the same from here.
        """
        found = await read(self.store, path, PRELUDE_BYTES)
        if found is None or read_prelude(found.body).write_id != live.write_id:
            raise UncertainOutcomeError(
                "The answer to a removal was lost and the entry is gone: this call took it out, or another did. "
                "Its value is the error's `value`",
                value=live.value,
            )

    async def _write(self, encoded: EncodedKey, key: Any, value: Any) -> None:
        body, _ = self._pack(encoded, key, value)
        with self._about(key):
            await self.store.put(self._path(encoded), body)

    async def _run_all(
        self, write: Callable[[_Pair], Awaitable[tuple[Any, Exception | None]]], pairs: Iterable[_Pair]
    ) -> None:
        """Writes until the first failure, then waits for what is under way and raises."""
        done = 0
        failed: list[tuple[Any, Exception]] = []
        async with aclosing(self.store.map(write, takewhile(lambda _: not failed, pairs), self.concurrency)) as results:
            async for key, failure in results:
                if failure is None:
                    done += 1
                else:
                    failed.append((key, failure))
        if failed:
            raise self._bulk_failure(done, failed)

    def _bulk_failure(self, done: int, failed: list[tuple[Any, Exception]]) -> Exception:
        first = failed[0][1]
        if not isinstance(first, Error):
            return first
        names = ", ".join(_shown(key) for key, _ in failed[:_SHOWN_KEYS])
        more = f" and {len(failed) - _SHOWN_KEYS} more" if len(failed) > _SHOWN_KEYS else ""
        error = type(first)(
            f"{done} entries are written, these are not: {names}{more}; nothing after them was tried. {first}"
        )
        error.failed_keys = tuple(key for key, _ in failed)
        error.__cause__ = first
        return error

    async def _pages(self) -> AsyncGenerator[list[Listed], None]:
        with self._about():
            async with aclosing(scan(self.store, self.paths.entries)) as pages:
                async for page in pages:
                    yield [line for line in page if line.size != TOMBSTONE_BYTES and line.path != self.paths.entries]

    async def _bodies(self) -> AsyncGenerator[EntryBody, None]:
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                async with aclosing(self.store.map(self._body_of, page, self.concurrency)) as bodies:
                    async for body in bodies:
                        if body is not None:
                            yield body

    async def _body_of(self, line: Listed) -> EntryBody | None:
        with self._about():
            found = await read(self.store, line.path)
            return None if found is None else self._check(found, self._key_in_name(line), line.path)

    async def _key_inside(self, line: Listed) -> bytes | None:
        """The key bytes in an entry's header; None when the entry has vanished since the listing."""
        with self._about():
            found = await read(self.store, line.path, HEADER_GUESS)
            if found is None or read_prelude(found.body).is_tombstone:
                return None
            prelude = read_prelude(found.body)
            needed = PRELUDE_BYTES + prelude.header_length
            if len(found.body) < needed <= found.size:
                found = await read(self.store, line.path, needed)
                if found is None or read_prelude(found.body) != prelude:
                    # Written anew between the two requests: begin again with what is there now.
                    return await self._key_inside(line)
            header = read_header(found.body, prelude, self.seal)
            self._check_name(header, line.path)
            return header.key

    def _check(self, found: Found, key: bytes | None, path: str | None = None) -> EntryBody | None:
        """The body, if it is that of this key's entry in this dict; None for a tombstone."""
        body = unpack(found.body, self.seal)
        if body is None:
            return None
        if key is not None and body.header.key != key:
            raise IntegrityError("The entry is that of another key: it was copied or moved here")
        if path is not None:
            self._check_name(body.header, path)
        if body.header.codec != self.codec.name:
            raise IntegrityError(
                f"The entry was written with codec {body.header.codec!r}, the Dict has {self.codec.name!r}"
            )
        return body

    def _check_name(self, header: Header, path: str) -> None:
        if not self._segment(path).startswith(digest(header.key)):
            raise IntegrityError(f"The entry at {path!r} is that of another key: it was copied or moved there")

    def _pack(self, encoded: EncodedKey, key: Any, value: Any) -> tuple[bytes, bytes]:
        """The body of a new entry, and its write id."""
        try:
            segments = self.codec.dumps(value)
        except Exception as error:
            raise SerializationError(
                f"Failed to serialize the value for key {_shown(key)} of {self.label}: {error}"
            ) from error
        size = sum(memoryview(segment).nbytes for segment in segments)
        if size > self.max_value_bytes:
            raise RequestSizeError(
                f"The value for key {_shown(key)} of {self.label} takes {size} bytes; "
                f"max_value_bytes is {self.max_value_bytes}"
            )
        write_id = os.urandom(WRITE_ID_BYTES)
        return pack(write_id, encoded.data, self.codec.name, segments, self.seal), write_id

    def _value(self, body: EntryBody, *key: Any) -> Any:
        try:
            return self.codec.loads(body.segments)
        except Exception as error:
            named = "".join(f" for key {_shown(k)}" for k in key)
            raise DeserializationError(f"Failed to deserialize value{named} from {self.label}: {error}") from error

    def _key_in_name(self, line: Listed) -> bytes | None:
        with self._about():
            return key_bytes_in(self._segment(line.path))

    def _path(self, encoded: EncodedKey) -> str:
        return self.paths.entries + encoded.segment

    def _segment(self, path: str) -> str:
        return path[len(self.paths.entries) :]

    @contextmanager
    def _about(self, *key: Any) -> Iterator[None]:
        """Says in every error of ours which dict and key it is about."""
        try:
            yield
        except DeserializationError:
            raise
        except Error as error:
            error.place = error.place or ", ".join([self.label, *(f"key {_shown(k)}" for k in key)])
            raise


def _shown(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def pairs_of(other: Any, more: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The pairs that ``dict.update(other, **more)`` would take."""
    if other is not None:
        if hasattr(other, "keys"):
            yield from ((key, other[key]) for key in other.keys())  # noqa: SIM118 (it may have nothing else of a mapping)
        else:
            yield from other
    yield from more.items()
