"""One entry at a time: read, write, create, replace, remove.

Every method says how many requests it makes when nothing goes wrong; the tests count them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .._format.capabilities import Capabilities
from .._format.entry import (
    PRELUDE_BYTES,
    TOMBSTONE_BYTES,
    WRITE_ID_BYTES,
    EntryBody,
    EntrySigner,
    Header,
    expected_size,
    pack,
    pack_tombstone,
    read_prelude,
    unpack,
)
from .._format.keys import EncodedKey, KeyCodec, digest
from .._format.layout import DataPaths
from .._format.values import Codec, Segment
from .._stores.base import ObjectStore, PutResult, RequestTimeoutError, StoredObject
from ..errors import (
    ConflictError,
    DeserializationError,
    Error,
    IntegrityError,
    InvalidError,
    RequestSizeError,
    SerializationError,
    UnavailableError,
    UncertainOutcomeError,
)
from .conditional import (
    SENDINGS,
    Applied,
    DeleteOutcome,
    Rejected,
    WriteIds,
    before,
    conditional_delete,
    conditional_put,
    get_object,
    may_send,
)
from .expiry import Expiry
from .ranged_get import parallel_get
from .read_cache import ReadCache
from .read_cache import get_cached as read_recently

MAX_CAS_RETRIES = 200
"""How often an entry may change under a read-and-write before that gives up."""
MAX_KEY_REPR = 200


@dataclass(frozen=True, slots=True)
class Version:
    """Which write an entry is: the write's id says it, the ETag is how the store is asked about it."""

    write_id: bytes
    etag: str

    def __str__(self) -> str:
        return f"{self.write_id.hex()}.{self.etag}"

    @classmethod
    def parse(cls, text: str) -> Version:
        """Raises InvalidError for what is no version."""
        write_id, _, etag = text.partition(".") if isinstance(text, str) else ("", "", "")
        try:
            version = cls(bytes.fromhex(write_id), etag)
        except ValueError:
            version = cls(b"", "")
        if len(version.write_id) != WRITE_ID_BYTES or not etag:
            raise InvalidError(f"Invalid version: {text!r}. A version is what `entry` gives")
        return version


@dataclass(frozen=True, slots=True)
class LiveEntry:
    """An entry that is there."""

    value: Any
    version: Version
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of one hydrated dict.

    ``label`` names the dict in messages. Nothing here keeps state between calls.
    """

    store: ObjectStore
    paths: DataPaths
    capabilities: Capabilities
    expiry: Expiry
    keys: KeyCodec
    codec: Codec
    signer: EntrySigner
    label: str
    max_value_bytes: int
    concurrency: int
    cache: ReadCache | None = None

    async def read(self, key: Any, *, parallel: bool = True, allow_cached: bool = False) -> LiveEntry | None:
        """The live entry, which is renewed when that is due; None when there is none. 1 request, and 1 to renew it.

        `parallel` is False inside the store's `map`: large values are then read in one piece. `allow_cached` allows
        what the client's cache holds.
        """
        encoded = self.keys.encode(key)
        path, began = self.path(encoded), self.store.runtime.monotonic()
        with self.error_context(key):
            found = await self._fetch(path, parallel, allow_cached)
            body = None if found is None else self._body(found, encoded)
            if found is None or body is None:
                return None
            # Before the value is made: arrays of a large one lie over these very bytes, and its class may change them.
            etag = await self.expiry.renew(path, found, began)
            return LiveEntry(self.value(body, key), Version(body.write_id, etag), found.last_modified)

    async def read_for_update(self, key: Any) -> LiveEntry | None:
        """The live entry for a caller who will write over it, so that it need not be renewed. 1 request."""
        encoded = self.keys.encode(key)
        with self.error_context(key):
            found = await get_object(self.store, self.path(encoded))
            return None if found is None else self.live(found, encoded, key)

    async def contains(self, key: Any) -> bool:
        """Whether there is a live entry, which is renewed when that is due. 1 request, without a body."""
        path, began = self.path(self.keys.encode(key)), self.store.runtime.monotonic()
        with self.error_context(key):
            found = await self.store.head(path)
            if found is None or found.size == TOMBSTONE_BYTES or self._is_expired(found):
                return False
            await self.expiry.renew(path, found, began)
        return True

    async def write(self, encoded: EncodedKey, key: Any, value: Any) -> None:
        """Puts the entry, whatever is there. 1 request; it is sent again when its answer is lost."""
        segments, path, silent = self._serialise(key, value), self.path(encoded), 0
        failure: Error | None = None
        with self.error_context(key), self.invalidating_cache(path):
            for attempt in range(SENDINGS):
                if not await may_send(self.store, attempt, silent):
                    break
                # Each sending is a write of its own: under the same write id, a second effect would bring an ETag back
                # on which others may have acted since.
                body, _ = self._pack(encoded, segments)
                try:
                    answer = await self.store.put(path, body)
                except UnavailableError as error:
                    failure = error
                    silent += isinstance(error, RequestTimeoutError)
                    continue
                if isinstance(answer, PutResult):
                    return
                failure = None
            raise failure or ConflictError("The store kept answering 409 to a put: try again later")

    async def create(self, key: Any, value: Any) -> bool:
        """Puts the entry only where there is none; whether it did. 1 request when it wins, 2 when it loses.

        A tombstone is no entry, and neither is one that is over: it is written over, on the condition that it is still
        the same. Whoever keeps it alive at that moment changes its ETag, or has changed its age when we look again.
        """
        encoded = self.keys.encode(key)
        body, write_id = self._pack(encoded, self._serialise(key, value))
        write_ids = WriteIds(write_id, prefix_bytes=PRELUDE_BYTES)
        path = self.path(encoded)
        over: str | None = None
        with self.error_context(key), self.invalidating_cache(path):
            while True:
                outcome = await conditional_put(self.store, path, body, write_ids, over=over, removable=True)
                if isinstance(outcome, Applied):
                    return True
                if outcome.found is None:
                    # What was there may have been over, and has been swept before we could look or write over it.
                    over = None
                elif self._is_expired_or_tombstone(outcome.found):
                    over = self.capabilities.if_match(outcome.found.etag)
                else:
                    return False

    async def replace(self, key: Any, value: Any, version: Version) -> bool:
        """Puts the entry only over that version; whether it did. 1 request when it wins, 2 when it loses."""
        outcome = await self.compare_and_set(key, value, version, prefix_bytes=PRELUDE_BYTES)
        return isinstance(outcome, Applied)

    async def compare_and_set(
        self, key: Any, value: Any, version: Version, *, prefix_bytes: int | None = None
    ) -> Applied | Rejected:
        """`replace`, and when it lost, what was there instead: all of it, or its first `prefix_bytes` bytes."""
        encoded = self.keys.encode(key)
        body, write_id = self._pack(encoded, self._serialise(key, value))
        path, write_ids, etag = self.path(encoded), WriteIds(write_id, version.write_id, prefix_bytes), version.etag
        with self.error_context(key), self.invalidating_cache(path):
            for attempt in range(MAX_CAS_RETRIES):
                await before(self.store, attempt)
                over = self.capabilities.if_match(etag)
                outcome = await conditional_put(self.store, path, body, write_ids, over=over)
                if not self._only_renewed(outcome, version):
                    return outcome
                assert isinstance(outcome, Rejected)
                assert outcome.found is not None
                etag = outcome.found.etag
        raise ConflictError(f"{self.label}: {key_repr(key)} kept being refreshed while it was being replaced")

    async def remove(self, key: Any) -> LiveEntry | None:
        """Takes the entry out and gives it, to one caller only; None when there is none. 2 requests, or 1."""
        encoded = self.keys.encode(key)
        path = self.path(encoded)
        with self.error_context(key), self.invalidating_cache(path):
            for attempt in range(MAX_CAS_RETRIES):
                await before(self.store, attempt)
                found = await get_object(self.store, path)
                # The value is decoded first: an entry that cannot be read here must not be lost here.
                live = None if found is None else self.live(found, encoded, key)
                if live is None or await self._try_remove(path, live.version, live.value):
                    return live
        raise ConflictError(f"{self.label}: {key_repr(key)} kept changing while it was being removed")

    async def discard(self, key: Any) -> bool:
        """`remove` without the value, which need not be readable here; whether there was one. 2 requests, or 1."""
        encoded = self.keys.encode(key)
        path = self.path(encoded)
        with self.error_context(key), self.invalidating_cache(path):
            for attempt in range(MAX_CAS_RETRIES):
                await before(self.store, attempt)
                found = await get_object(self.store, path, PRELUDE_BYTES)
                if found is None or self._is_expired_or_tombstone(found):
                    return False
                if await self._try_remove(path, Version(read_prelude(found.body).write_id, found.etag), None):
                    return True
        raise ConflictError(f"{self.label}: {key_repr(key)} kept changing while it was being removed")

    def live(self, found: StoredObject, encoded: EncodedKey, key: Any) -> LiveEntry | None:
        """The entry of this key in what was found; None for a tombstone and for an entry that is over."""
        body = self._body(found, encoded)
        if body is None:
            return None
        return LiveEntry(self.value(body, key), Version(body.write_id, found.etag), found.last_modified)

    def _body(self, found: StoredObject, encoded: EncodedKey) -> EntryBody | None:
        """`checked`, for the entry of this key."""
        body = self.checked(found)
        if body is not None and body.header.key != encoded.data:
            raise IntegrityError("The entry is that of another key: it was copied or moved here")
        return body

    def checked(self, found: StoredObject) -> EntryBody | None:
        """The body, if it is that of an entry of this dict; None for a tombstone and for an entry that is over."""
        if self._is_expired(found):
            return None
        body = unpack(found.body, self.signer)
        if body is None:
            return None
        if body.header.codec != self.codec.name:
            raise IntegrityError(
                f"The entry was written with codec {body.header.codec!r}, the Dict has {self.codec.name!r}"
            )
        if len(body.segments) > 1 and not self.codec.uses_pickle:
            raise IntegrityError(
                f"The entry has {len(body.segments)} segments, and codec {self.codec.name!r} makes one"
            )
        return body

    def verify_path(self, header: Header, path: str) -> None:
        """Raises IntegrityError unless the entry at that path is the one that belongs there."""
        if not self.object_name(path).startswith(digest(header.key)):
            raise IntegrityError(f"The entry at {path!r} is that of another key: it was copied or moved there")

    def value(self, body: EntryBody, *key: Any) -> Any:
        """The value; the key, where it is known, is for the error."""
        try:
            return self.codec.loads(body.segments)
        except Exception as error:
            named = "".join(f" for key {key_repr(k)}" for k in key)
            raise DeserializationError(f"Failed to deserialize value{named} from {self.label}: {error}") from error

    def path(self, encoded: EncodedKey) -> str:
        return self.paths.entries + encoded.object_name

    def object_name(self, path: str) -> str:
        return path[len(self.paths.entries) :]

    @contextmanager
    def error_context(self, *key: Any) -> Iterator[None]:
        """Says in every error of ours which dict and key it is about."""
        try:
            yield
        except Error as error:
            if self.label not in str(error):
                error.place = ", ".join([self.label, *(f"key {key_repr(k)}" for k in key)])
            raise

    @contextmanager
    def invalidating_cache(self, path: str) -> Iterator[None]:
        """Around a write: whatever becomes of it, this client must not go on reading what was there before."""
        try:
            yield
        finally:
            if self.cache is not None:
                self.cache.invalidate(path)

    async def _fetch(self, path: str, parallel: bool, allow_cached: bool) -> StoredObject | None:
        async def fetch_whole() -> StoredObject | None:
            return await (
                parallel_get(self.store, path, self._check_size) if parallel else get_object(self.store, path)
            )

        if self.cache is None or not allow_cached:
            return await fetch_whole()
        return await read_recently(self.cache, self.store, path, fetch_whole, self.expiry.must_revalidate)

    def _check_size(self, first: StoredObject) -> None:
        """Raises IntegrityError unless what begins so, and is to be read whole, has the size that it says it has."""
        expected = expected_size(first.body, self.signer)
        if expected != first.size:
            raise IntegrityError(f"The entry should have {expected} bytes and has {first.size}")

    def _is_expired_or_tombstone(self, found: StoredObject) -> bool:
        """Whether what was found, of which the first bytes are enough, is no live entry."""
        return self._is_expired(found) or read_prelude(found.body).is_tombstone

    def _is_expired(self, found: StoredObject) -> bool:
        return self.expiry.is_expired(found.last_modified, found.server_time)

    async def _try_remove(self, path: str, version: Version, value: Any) -> bool:
        """Whether that very version is removed now, by us; False when it has changed."""
        over = self.capabilities.if_match(version.etag)
        remove = self._conditional_delete if self.capabilities.conditional_delete else self._write_tombstone
        try:
            return await remove(path, over, version)
        except UncertainOutcomeError as error:
            error.value = value
            raise

    async def _write_tombstone(self, path: str, over: str, version: Version) -> bool:
        """A removal that is a write: unlike a deletion, it can be recognised afterwards as one's own."""
        write_id = os.urandom(WRITE_ID_BYTES)
        write_ids = WriteIds(write_id, version.write_id, PRELUDE_BYTES)
        return isinstance(
            await conditional_put(self.store, path, pack_tombstone(write_id), write_ids, over=over), Applied
        )

    async def _conditional_delete(self, path: str, over: str, version: Version) -> bool:
        removal = await conditional_delete(self.store, path, over)
        if removal is not DeleteOutcome.UNKNOWN:
            return removal is DeleteOutcome.APPLIED
        # If the entry is still there, under a new ETag, nobody has removed it. Otherwise the request whose answer was
        # lost may have, or another's may: both look the same from here.
        uncertain = UncertainOutcomeError(
            "The answer to a removal was lost and the entry is gone: this call took it out, or another did. "
            "Its value is the error's `value`"
        )
        try:
            found = await get_object(self.store, path, PRELUDE_BYTES)
        except Error as error:
            raise uncertain from error
        if found is not None and read_prelude(found.body).write_id == version.write_id:
            return False
        raise uncertain

    def _only_renewed(self, outcome: Applied | Rejected, version: Version) -> bool:
        """The same write under a new ETag, as stores that encrypt give to a refresh: that is no change."""
        if isinstance(outcome, Applied) or outcome.found is None:
            return False
        return read_prelude(outcome.found.body).write_id == version.write_id

    def _pack(self, encoded: EncodedKey, segments: list[Segment]) -> tuple[bytes, bytes]:
        """The body of a new entry, and its write id."""
        write_id = os.urandom(WRITE_ID_BYTES)
        return pack(write_id, encoded.data, self.codec.name, segments, self.signer), write_id

    def _serialise(self, key: Any, value: Any) -> list[Segment]:
        try:
            segments = self.codec.dumps(value)
        except Exception as error:
            raise SerializationError(
                f"Failed to serialize the value for key {key_repr(key)} of {self.label}: {error}"
            ) from error
        size = sum(memoryview(segment).nbytes for segment in segments)
        if size > self.max_value_bytes:
            raise RequestSizeError(
                f"The value for key {key_repr(key)} of {self.label} takes {size} bytes; "
                f"max_value_bytes is {self.max_value_bytes}"
            )
        return segments


def key_repr(key: Any) -> str:
    """The key as messages show it."""
    try:
        text = repr(key)
    except Exception:
        # An int of thousands of digits has no repr, and classes may have a broken one.
        text = f"a {type(key).__name__}"
    return text if len(text) <= MAX_KEY_REPR else text[:MAX_KEY_REPR] + "…"
