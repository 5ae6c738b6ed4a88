"""What the conformance checks share: a folder for the objects of each check, and the requests that they send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from ..._core.listing import read_folder
from ..._format.capabilities import Capabilities
from ..._retry import RetryState, ThrottledError
from ..._stores.base import (
    Body,
    Conflict,
    DeleteResult,
    NotModified,
    ObjectMeta,
    ObjectStore,
    PreconditionFailed,
    PutResult,
    Refusal,
    StoredObject,
)
from ...errors import UnavailableError

T = TypeVar("T")

IMPACT = "no operation would be atomic: the store cannot be used"
"""Of a feature without which no condition holds."""
MISMATCHED_ETAG = '"00000000000000000000000000000000"'
"""An ETag that no object of the checks has."""


class CorruptPuts(Protocol):
    """Puts that no store should accept.

    The first two methods return whether it did; the last one breaks the connection.
    """

    async def put_with_wrong_md5(self, path: str, body: bytes) -> bool: ...

    async def put_with_wrong_sha256(self, path: str, body: bytes) -> bool: ...

    def why_not_truncated(self) -> str: ...

    async def put_truncated(self, path: str, body: bytes) -> None: ...


class ConformanceError(Exception):
    """The store deviates from S3; the message says how."""


class SkippedError(Exception):
    """The feature cannot be checked from here; the message says why."""


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ConformanceError(otherwise)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The objects of one check, which are stored under `path`; it ends with a slash."""

    store: ObjectStore
    path: str
    rounds: int
    """How often a check that depends on timing is repeated."""
    corrupt_puts: CorruptPuts | None
    etags: Capabilities
    """In which form the store compares ETags."""
    is_patient: bool = True
    """Whether a request that the store throttles is repeated."""

    @property
    def impatient(self) -> Sandbox:
        """The sandbox for concurrent requests, which must not wait for each other."""
        return replace(self, is_patient=False)

    def format_etag(self, etag: str) -> str:
        """Return the ETag as this store compares it: with or without quotes."""
        return self.etags.if_match(etag)

    async def put(self, name: str, body: Body) -> str:
        """Write the object unconditionally; return its ETag."""
        written = await self._unthrottled(lambda: self.store.put(self.path + name, body))
        if isinstance(written, (PreconditionFailed, Conflict)):
            raise UnavailableError("The store responded to a PUT without a condition with 409")
        return self.format_etag(written.etag)

    async def put_if_match(self, name: str, body: Body, etag: str | None) -> bool:
        """Return whether the store reports that it replaced that ETag, or created the object if it is None."""
        path, creates = self.path + name, etag is None
        return await self._accepted(lambda: self.store.put(path, body, if_match=etag, if_none_match=creates))

    async def is_throttled(self, name: str, body: Body) -> bool:
        """Write the object with one request; return whether the store throttled it."""
        try:
            await self.impatient.put(name, body)
        except ThrottledError:
            return True
        return False

    async def delete_if_match(self, name: str, etag: str) -> bool:
        """Return whether the store reports that it deleted the object with that ETag."""
        return await self._accepted(lambda: self.store.delete(self.path + name, if_match=etag))

    async def copy_if_match(self, name: str, source: str, target: str) -> bool:
        """Return whether the store reports that it copied the object onto itself, under both conditions."""
        path = self.path + name
        return await self._accepted(lambda: self.store.copy(path, source_if_match=source, if_match=target))

    async def get(self, name: str, byte_range: tuple[int, int] | None = None) -> StoredObject | None:
        found = await self.store.get(self.path + name, byte_range=byte_range)
        if isinstance(found, NotModified):
            raise ConformanceError("responded to a GET without a condition with 304")
        return found

    async def found(self, name: str, byte_range: tuple[int, int] | None = None) -> StoredObject:
        """Return the object. Raises ConformanceError if the store has none."""
        found = await self.get(name, byte_range)
        if found is None:
            raise ConformanceError("what was put is not found")
        return found

    async def body(self, name: str) -> bytes | None:
        found = await self.get(name)
        return None if found is None else bytes(found.body)

    async def list_names(self, under: str = "", start_after: str = "") -> list[str]:
        """Return the names on the first page."""
        page = await self.store.list_page(self.path + under, start_after=start_after and self.path + start_after)
        return self.names(page.objects)

    async def list_folder(self, under: str = "") -> tuple[list[str], list[str]]:
        """Return the names of the objects and folders directly under a name."""
        folder = await read_folder(self.store, self.path + under)
        return sorted(self.names(folder.objects)), sorted(path.removeprefix(self.path) for path in folder.folders)

    def names(self, listed: Iterable[ObjectMeta]) -> list[str]:
        return [each.path.removeprefix(self.path) for each in listed]

    async def _accepted(self, request: Callable[[], Awaitable[PutResult | DeleteResult | Refusal]]) -> bool:
        """Return whether the condition held. A 409 does not show that, so the request is repeated."""
        attempts = RetryState(self.store.retries.writes, self.store.runtime)
        while await attempts.next_attempt():
            result = await self._unthrottled(request)
            if not isinstance(result, Conflict):
                return not isinstance(result, PreconditionFailed)
        raise UnavailableError("The store responded to all conditional requests for one object with 409")

    async def _unthrottled(self, request: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the first attempt that is not throttled; a throttled one was not applied."""
        attempts = RetryState(self.store.retries.writes, self.store.runtime)
        while await attempts.next_attempt():
            try:
                return await request()
            except ThrottledError as error:
                if not self.is_patient:
                    raise
                attempts.record(error)
        raise attempts.final_error()


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of a store, and the check that it has it.

    Args:
        required: Whether a dict needs it.
        impact: What a dict does without it, for messages.
        check: Returns details, mostly none. Raises ConformanceError if the store lacks the feature.
        depends_on: Another feature, without which the check is skipped.
        needs_corrupt_puts: Whether the check is skipped for the in-memory store.
    """

    name: str
    required: bool
    impact: str
    check: Callable[[Sandbox], Awaitable[str]]
    depends_on: str | None = None
    needs_corrupt_puts: bool = False
