"""One entry at a time: read, put, create, replace, remove.

Each docstring states the number of requests when nothing fails; the tests count them on the wire.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime
from functools import partial
from typing import Any

from .._format.capabilities import Capabilities
from .._format.entry import MAX_PRELUDE_BYTES, WRITE_ID_BYTES, EntryBody, EntryExpiry, read_prelude
from .._format.keys import EncodedKey
from .._format.layout import DataPaths
from .._format.values import Segment
from .._record import Record, replace
from .._retry import RetryState
from .._stores.base import Conflict, ObjectStore, PutResult, ServerTime, StoredObject
from ..errors import ConflictError, Error, InvalidError, UnavailableError, UncertainOutcomeError
from .conditional import Applied, DeleteOutcome, Rejected, WriteIds, cas_attempts, conditional_put, get_object
from .entry_codec import EntryCodec, key_repr
from .expiry import Expiry
from .ranged_get import parallel_get
from .read_cache import ReadCache, get_cached
from .removal import Removal, RemovalState, removal_attempts


class Version(Record):
    """Which write an entry is the result of: identified by its write id, and by its ETag in requests to the store."""

    write_id: bytes
    etag: str

    def __str__(self) -> str:
        return f"{self.write_id.hex()}.{self.etag}"

    @classmethod
    def parse(cls, text: str) -> Version:
        """Return the version that `str` wrote.

        Raises:
            InvalidError: The text is not a version.
        """
        write_id, _, etag = text.partition(".") if isinstance(text, str) else ("", "", "")
        try:
            version = cls(bytes.fromhex(write_id), etag)
        except ValueError:
            version = cls(b"", "")
        if len(version.write_id) != WRITE_ID_BYTES or not etag:
            raise InvalidError(f"Invalid version: {text!r}. A version is the `version` of what `entry` returns")
        return version


class LiveEntry(Record):
    """An entry that exists and has not expired.

    `expiry` is its own, as a deadline.
    """

    value: Any
    version: Version
    last_modified: datetime
    server_time: ServerTime
    expiry: EntryExpiry | None

    @property
    def expires_at(self) -> datetime | None:
        return None if self.expiry is None else self.expiry.deadline(self.last_modified)


class RemovedEntry(Record):
    """An entry that was removed, with what it takes to put it back."""

    live: LiveEntry
    key: EncodedKey
    segments: Sequence[Segment]
    removal: Removal


def carry(interruption: BaseException, name: str, value: Any) -> None:
    """Set an attribute of the exception that interrupts a call: what was removed must not be lost with it."""
    setattr(interruption, name, value)
    interruption.add_note(f"s3dict: what was removed and could not be put back is this exception's `{name}`")


class Entries(Record):
    """The entries of one dict.

    No state is kept between calls.
    """

    store: ObjectStore
    paths: DataPaths
    capabilities: Capabilities
    expiry: Expiry
    codec: EntryCodec
    concurrency: int
    revalidate: Callable[[], Awaitable[None]]
    """Checks, once a minute, that the dict still exists; raises NotFoundError when it does not."""
    cache: ReadCache | None = None

    def paced(self) -> Entries:
        """Return the same entries for a bulk operation, whose requests the client's rate controller paces."""
        return replace(self, store=self.store.paced())

    async def read(self, key: Any, *, parallel: bool = True, allow_cached: bool = False) -> LiveEntry | None:
        """Return the live entry, or None; renew it if that is due.

        Args:
            parallel: False inside the runtime's `map`: large values are then read in one request.
            allow_cached: Accept what the client's read cache holds.

        Requests: 1, and 1 for a renewal.
        """
        encoded = self.codec.keys.encode(key)
        path, started_at = self.path(encoded), self.store.runtime.monotonic()
        with self.error_context(key):
            found = await self._fetch(path, parallel, allow_cached)
            body = None if found is None else self._decode_for_key(found, encoded)
            if found is None or body is None:
                return None
            # Before the value is made: the arrays of a large one use these very bytes, and its class may change them.
            etag = await self.expiry.renew_if_due(path, found, started_at)
            return self._live(body, found, etag, key)

    async def read_for_update(self, key: Any) -> LiveEntry | None:
        """Return the live entry to a caller that is about to overwrite it, so without renewing it. Requests: 1."""
        encoded = self.codec.keys.encode(key)
        with self.error_context(key):
            found = await get_object(self.store, self.path(encoded))
            return None if found is None else self.decode_live(found, encoded, key)

    async def contains(self, key: Any) -> bool:
        """Return whether there is a live entry; renew it if that is due. Requests: 1, of the entry's first bytes."""
        path, started_at = self.path(self.codec.keys.encode(key)), self.store.runtime.monotonic()
        with self.error_context(key):
            found = await get_object(self.store, path, MAX_PRELUDE_BYTES)
            if found is None or self._is_expired_or_tombstone(found):
                return False
            await self.expiry.renew_if_due(path, found, started_at)
        return True

    async def put(self, encoded: EncodedKey, key: Any, value: Any, expiry: EntryExpiry | None = None) -> None:
        """Put the entry unconditionally. Requests: 1; it is retried when its response is lost."""
        segments, path = self.codec.serialize(key, value), self.path(encoded)
        retry = RetryState(self.store.retries.writes, self.store.runtime)
        with self.error_context(key), self.invalidating_cache(path):
            while await retry.next_attempt():
                # Each attempt has a write id of its own: with the same bytes, a second effect would bring back an ETag
                # on which other clients may have acted since.
                body, _ = self.codec.pack(encoded, segments, expiry)
                try:
                    response = await self.store.put(path, body)
                except UnavailableError as error:
                    retry.record(error)
                    continue
                if isinstance(response, PutResult):
                    return
                retry.record(None, response.code if isinstance(response, Conflict) else "")
            raise retry.final_error()

    async def create(
        self, key: Any, value: Any, expiry: EntryExpiry | None = None, *, leave_busy: bool = False
    ) -> bool:
        """Put the entry only where there is no live one; return whether it was put.

        A tombstone or an expired entry is overwritten, on the condition that it is still the same object. A concurrent
        renewal of an expired entry changes its ETag, or its age is another when it is read again.

        Requests: 1 when it is put, 2 when it is not.
        """
        encoded = self.codec.keys.encode(key)
        body, write_id = self.codec.pack(encoded, self.codec.serialize(key, value), expiry)
        write_ids = WriteIds(write_id, prefix_bytes=MAX_PRELUDE_BYTES)
        path = self.path(encoded)
        if_match: str | None = None
        rejections = cas_attempts(self.store)
        with self.error_context(key), self.invalidating_cache(path):
            while True:
                outcome = await conditional_put(
                    self.store, path, body, write_ids, if_match=if_match, may_be_deleted=True, leave_busy=leave_busy
                )
                if isinstance(outcome, Applied):
                    return True
                if outcome.current is None:
                    # An expired entry was there, and the lifecycle deleted it before it was read or overwritten.
                    if_match = None
                elif self._is_expired_or_tombstone(outcome.current):
                    if_match = self.capabilities.if_match(outcome.current.etag)
                else:
                    return False
                # After the first one, what was found is overwritten at once.
                if not await rejections.next_attempt():
                    raise ConflictError(f"{self.label}: {key_repr(key)} kept appearing and vanishing")

    async def replace(
        self, key: Any, value: Any, version: Version, expiry: EntryExpiry | None = None, *, leave_busy: bool = False
    ) -> bool:
        """Put the entry only over that version; return whether it was put.

        Requests: 1 when it is put, 2 when it is not.
        """
        outcome = await self.compare_and_set(
            key, value, version, expiry, prefix_bytes=MAX_PRELUDE_BYTES, leave_busy=leave_busy
        )
        return isinstance(outcome, Applied)

    async def compare_and_set(
        self,
        key: Any,
        value: Any,
        version: Version,
        expiry: EntryExpiry | None,
        *,
        prefix_bytes: int | None = None,
        leave_busy: bool = False,
    ) -> Applied | Rejected:
        """`replace`; if it was rejected, return the current object: all of it, or its first `prefix_bytes` bytes."""
        encoded = self.codec.keys.encode(key)
        body, write_id = self.codec.pack(encoded, self.codec.serialize(key, value), expiry)
        path, write_ids, etag = self.path(encoded), WriteIds(write_id, version.write_id, prefix_bytes), version.etag
        with self.error_context(key), self.invalidating_cache(path):
            attempts = cas_attempts(self.store)
            while await attempts.next_attempt():
                if_match = self.capabilities.if_match(etag)
                outcome = await conditional_put(
                    self.store, path, body, write_ids, if_match=if_match, leave_busy=leave_busy
                )
                if not self._only_renewed(outcome, version):
                    return outcome
                assert isinstance(outcome, Rejected)
                assert outcome.current is not None
                etag = outcome.current.etag
        raise ConflictError(f"{self.label}: {key_repr(key)} kept being renewed while it was being replaced")

    async def touch(self, key: Any, expiry: EntryExpiry | None) -> bool:
        """Write the live entry again with another expiry, without deserializing its value; return whether there is one.

        It is a write with a new write id, so no ETag comes back.

        Requests: 2, with the whole body, or 1 when there is none.
        """
        encoded = self.codec.keys.encode(key)
        path = self.path(encoded)
        with self.error_context(key), self.invalidating_cache(path):
            attempts = cas_attempts(self.store)
            while await attempts.next_attempt():
                found = await get_object(self.store, path)
                current = None if found is None else self._decode_for_key(found, encoded)
                if found is None or current is None:
                    return False
                body, write_id = self.codec.pack(encoded, current.segments, expiry)
                write_ids = WriteIds(write_id, current.write_id, MAX_PRELUDE_BYTES)
                if_match = self.capabilities.if_match(found.etag)
                if isinstance(await conditional_put(self.store, path, body, write_ids, if_match=if_match), Applied):
                    return True
        raise ConflictError(f"{self.label}: {key_repr(key)} kept changing while it was being touched")

    async def remove(self, key: Any, version: Version | None = None) -> RemovedEntry | None:
        """Remove the entry and return it, to one caller only; None when there is none.

        With a version, an entry of another version is left alone, and None is returned.

        A caller that is interrupted gets that exception when the outcome is known. The entry has been put back then, or
        the exception carries the value as its attribute `value`.

        Requests: 2, or 1 when there is none.
        """
        encoded = self.codec.keys.encode(key)
        path = self.path(encoded)
        with self.error_context(key), self.invalidating_cache(path):
            attempts = removal_attempts(self.store)
            while await attempts.next_attempt():
                found = await get_object(self.store, path)
                body = None if found is None else self._decode_for_key(found, encoded)
                if found is None or body is None or (version is not None and body.write_id != version.write_id):
                    return None
                # The value is decoded first: an entry that cannot be read here must not be lost here.
                live = self._live(body, found, found.etag, key)
                removal = Removal(self.store, self.capabilities, path, found.etag, body.write_id)
                removed = RemovedEntry(live, encoded, body.segments, removal)
                if await self._remove_or_put_back(removed):
                    return removed
        raise ConflictError(f"{self.label}: {key_repr(key)} kept changing while it was being removed")

    async def discard(self, key: Any) -> bool:
        """Remove the entry without reading its value; return whether there was one.

        Requests: 2, or 1 when there is none.
        """
        encoded = self.codec.keys.encode(key)
        path = self.path(encoded)
        with self.error_context(key), self.invalidating_cache(path):
            attempts = removal_attempts(self.store)
            while await attempts.next_attempt():
                found = await get_object(self.store, path, MAX_PRELUDE_BYTES)
                if found is None or self._is_expired_or_tombstone(found):
                    return False
                removal = Removal(self.store, self.capabilities, path, found.etag, read_prelude(found.body).write_id)
                await self.store.runtime.shielded(removal.run)
                if removal.state is RemovalState.REMOVED:
                    return True
        raise ConflictError(f"{self.label}: {key_repr(key)} kept changing while it was being removed")

    async def peek(self, key: Any) -> Version | None:
        """Return the version of the live entry, or None. Requests: 1, of the entry's first bytes."""
        path = self.path(self.codec.keys.encode(key))
        with self.error_context(key):
            found = await get_object(self.store, path, MAX_PRELUDE_BYTES)
            if found is None or self._is_expired_or_tombstone(found):
                return None
            return Version(read_prelude(found.body).write_id, found.etag)

    async def discard_versions(self, versions: Mapping[Any, Version]) -> dict[Any, DeleteOutcome]:
        """Remove those versions of up to a thousand keys, where the store supports conditional bulk deletion.

        What was rejected, or failed without effect, has the outcome REJECTED. Requests: 1, none without keys.
        """
        if not versions:
            return {}
        keys = {self.path(self.codec.keys.encode(key)): key for key in versions}
        etags = [self.capabilities.if_match(version.etag) for version in versions.values()]
        with ExitStack() as stack:
            for path in keys:
                stack.enter_context(self.invalidating_cache(path))
            try:
                failures = await self.store.runtime.shielded(
                    partial(self.store.delete_many, list(keys), if_match=etags)
                )
            except Error as error:
                return dict.fromkeys(versions, _outcome_of_failure(error))
        outcomes = dict.fromkeys(versions, DeleteOutcome.APPLIED)
        for failure in failures:
            outcomes[keys[failure.path]] = _outcome_of_failure(failure.error)
        return outcomes

    async def settle_discard(self, key: Any, version: Version) -> bool:
        """Complete the removal of a version whose outcome is unknown; return whether the entry was removed.

        Raises:
            UncertainOutcomeError: The version is gone, and it is unknown which client removed it.
        """
        path = self.path(self.codec.keys.encode(key))
        with self.error_context(key):
            found = await get_object(self.store, path, MAX_PRELUDE_BYTES)
            if found is None or read_prelude(found.body).write_id != version.write_id:
                raise UncertainOutcomeError(
                    "The response to a removal was lost and the entry is gone: this call removed it, or another client"
                )
            return await self.discard(key)

    async def put_back(self, removed: RemovedEntry) -> None:
        """Put back what an interrupted call has removed, if nothing was written since; the removal's `state` says so.

        As a write of its own: the version that was removed does not come back. 1 attempt.
        """
        removal = removed.removal
        if removal.state is not RemovalState.REMOVED:
            # Where the outcome is unknown, another client may have removed it, and has the value then.
            return
        body, write_id = self.codec.pack(removed.key, removed.segments, removed.live.expiry)
        tombstone = removal.tombstone_etag
        if_match = None if tombstone is None else self.capabilities.if_match(tombstone)
        write_ids = WriteIds(write_id, prefix_bytes=MAX_PRELUDE_BYTES)
        try:
            outcome = await conditional_put(
                self.store, removal.path, body, write_ids, if_match=if_match, may_be_deleted=True, timeout=0
            )
        except Error:
            return
        if isinstance(outcome, Applied):
            removal.state = RemovalState.PUT_BACK

    async def _remove_or_put_back(self, removed: RemovedEntry) -> bool:
        """Remove that version; return whether this call removed it. False when the entry has changed."""
        runtime, value = self.store.runtime, removed.live.value
        try:
            await runtime.shielded(removed.removal.run)
        except UncertainOutcomeError as error:
            error.value = value
            raise
        except Error:
            raise
        except BaseException as interruption:
            # A further interruption is raised as this one: what this one carries must not be lost.
            with suppress(BaseException):
                await runtime.shielded(partial(self.put_back, removed))
            if removed.removal.is_value_missing:
                carry(interruption, "value", value)
            raise
        return removed.removal.state is RemovalState.REMOVED

    def decode_live(self, found: StoredObject, encoded: EncodedKey, key: Any) -> LiveEntry | None:
        """Return the entry of this key in the object; None for a tombstone and for an expired entry."""
        body = self._decode_for_key(found, encoded)
        return None if body is None else self._live(body, found, found.etag, key)

    def decode(self, found: StoredObject, expected_key: bytes | None = None) -> EntryBody | None:
        """Return the checked entry in the object; None for a tombstone and for an expired entry."""
        if self.expiry.is_past_dict_ttl(found.last_modified, found.server_time):
            return None
        body = self.codec.decode(found.body, expected_key)
        # After the checks: the signature covers the entry's own expiry.
        return None if body is None or self.expiry.is_past_own_ttl(found, body.expiry) else body

    def _decode_for_key(self, found: StoredObject, encoded: EncodedKey) -> EntryBody | None:
        body = self.decode(found, encoded.data)
        if body is not None:
            self.codec.verify_key(body.header, encoded)
        return body

    def _live(self, body: EntryBody, found: StoredObject, etag: str, key: Any) -> LiveEntry:
        expiry = None if body.expiry is None else body.expiry.fixed(found.last_modified)
        value = self.codec.deserialize(body, key)
        return LiveEntry(value, Version(body.write_id, etag), found.last_modified, found.server_time, expiry)

    @property
    def label(self) -> str:
        """How messages refer to the dict."""
        return self.codec.label

    def missing_key(self, key: Any) -> KeyError:
        """Return the error for a key that is missing: it carries the key, as that of any dict does."""
        error = KeyError(key)
        error.add_note(f"{key_repr(key)} not in {self.label}")
        return error

    def path(self, encoded: EncodedKey) -> str:
        return self.paths.entry(encoded.object_name)

    def object_name(self, path: str) -> str:
        return self.paths.object_name(path)

    def error_context(self, *key: Any) -> AbstractContextManager[None]:
        """Set the dict and the key in every s3dict error raised inside."""
        return ErrorContext(self.codec.dict_name, key)

    def invalidating_cache(self, path: str) -> AbstractContextManager[None]:
        """Wrap a write: whatever its outcome, this client must not go on reading the cached object."""
        return _UNCACHED if self.cache is None else _invalidating(self.cache, path)

    async def _fetch(self, path: str, parallel: bool, allow_cached: bool) -> StoredObject | None:
        async def fetch_whole() -> StoredObject | None:
            if parallel:
                return await parallel_get(self.store, path, self.codec.verify_size)
            return await get_object(self.store, path)

        if self.cache is None or not allow_cached:
            return await fetch_whole()
        return await get_cached(self.cache, self.store, path, fetch_whole, self.expiry.must_revalidate)

    def _is_expired_or_tombstone(self, found: StoredObject) -> bool:
        """Return whether the object, of which the first bytes suffice, is not a live entry."""
        return self.expiry.is_expired(found) or read_prelude(found.body).is_tombstone

    def _only_renewed(self, outcome: Applied | Rejected, version: Version) -> bool:
        """Return whether a write was rejected by a renewal alone, which changes the ETag on stores that encrypt."""
        if isinstance(outcome, Applied) or outcome.current is None:
            return False
        return read_prelude(outcome.current.body).write_id == version.write_id


class ErrorContext:
    """Sets the dict, and the key if there is one, in every s3dict error raised inside.

    As a class of its own, since it is entered for each request: that of `contextmanager` takes twice as long.
    """

    __slots__ = ("_dict_name", "_key")

    def __init__(self, dict_name: str | None, key: tuple[Any, ...] = ()) -> None:
        self._dict_name = dict_name
        self._key = key

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Error):
            error.dict_name = self._dict_name
            if self._key:
                error.key_repr = key_repr(*self._key)


_UNCACHED = nullcontext()


@contextmanager
def _invalidating(cache: ReadCache, path: str) -> Iterator[None]:
    try:
        yield
    finally:
        cache.invalidate(path)


def _outcome_of_failure(error: Error) -> DeleteOutcome:
    ambiguous = isinstance(error, UnavailableError) and error.maybe_applied
    return DeleteOutcome.UNKNOWN if ambiguous else DeleteOutcome.REJECTED
