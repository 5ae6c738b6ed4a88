"""Where a feature of a store is tried, and what a trial may do there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from ..._core.listing import read_folder
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

MISMATCHED_ETAG = '"00000000000000000000000000000000"'
"""An ETag that no object of the trials has."""


class CorruptPuts(Protocol):
    """Puts that no store should accept. The first two return whether it did; the third breaks the connection, unless
    there is a reason why it cannot.
    """

    async def put_with_wrong_md5(self, path: str, body: bytes) -> bool: ...

    async def put_with_wrong_sha256(self, path: str, body: bytes) -> bool: ...

    def why_not_truncated(self) -> str: ...

    async def put_truncated(self, path: str, body: bytes) -> None: ...


class ConformanceError(Exception):
    """The store did what it should not; the message says what."""


class SkippedError(Exception):
    """The feature cannot be tried from here; the message says why."""


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ConformanceError(otherwise)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A place of its own for one trial: all its objects are stored under `path`, which ends with a slash."""

    store: ObjectStore
    path: str
    rounds: int
    """How often what depends on timing is tried."""
    corrupt_puts: CorruptPuts | None
    quoted_etags: bool
    is_patient: bool = True
    """Whether a request that the store throttles is repeated."""

    @property
    def impatient(self) -> Sandbox:
        """This place for contenders, whose requests must not come one after the other."""
        return replace(self, is_patient=False)

    def format_etag(self, etag: str) -> str:
        """The ETag in the spelling that this store compares."""
        return etag if self.quoted_etags else etag.strip('"')

    async def put(self, name: str, body: Body) -> str:
        """Writes the object, whatever is there; its ETag."""
        written = await self._answer(lambda: self.store.put(self.path + name, body))
        if isinstance(written, (PreconditionFailed, Conflict)):
            raise UnavailableError("The store answered 409 to a PUT without a condition")
        return self.format_etag(written.etag)

    async def put_if_match(self, name: str, body: Body, etag: str | None) -> bool:
        """Whether the store says that it wrote over that ETag, or over nothing where it is None."""
        path, creates = self.path + name, etag is None
        return await self._accepted(lambda: self.store.put(path, body, if_match=etag, if_none_match=creates))

    async def is_throttled(self, name: str, body: Body) -> bool:
        """Writes the object once. Whether the store throttled that."""
        try:
            await self.impatient.put(name, body)
        except ThrottledError:
            return True
        return False

    async def delete_if_match(self, name: str, etag: str) -> bool:
        """Whether the store says that it deleted the object with that ETag."""
        return await self._accepted(lambda: self.store.delete(self.path + name, if_match=etag))

    async def copy_if_match(self, name: str, source: str, target: str) -> bool:
        """Whether the store says that it copied the object onto itself, under both conditions."""
        path = self.path + name
        return await self._accepted(lambda: self.store.copy(path, source_if_match=source, if_match=target))

    async def get(self, name: str, byte_range: tuple[int, int] | None = None) -> StoredObject | None:
        found = await self.store.get(self.path + name, byte_range=byte_range)
        if isinstance(found, NotModified):
            raise ConformanceError("answered 304 to a GET without a condition")
        return found

    async def found(self, name: str, byte_range: tuple[int, int] | None = None) -> StoredObject:
        """The object that was put there. Raises FlawError where the store shows none."""
        found = await self.get(name, byte_range)
        if found is None:
            raise ConformanceError("what was put is not found")
        return found

    async def body(self, name: str) -> bytes | None:
        found = await self.get(name)
        return None if found is None else bytes(found.body)

    async def list_names(self, under: str = "", start_after: str = "") -> list[str]:
        """The names of the first page."""
        page = await self.store.list_page(self.path + under, start_after=start_after and self.path + start_after)
        return self.names(page.objects)

    async def list_folder(self, under: str = "") -> tuple[list[str], list[str]]:
        """The names of the objects directly under a name, and of the folders there."""
        folder = await read_folder(self.store, self.path + under)
        return sorted(self.names(folder.objects)), sorted(path.removeprefix(self.path) for path in folder.folders)

    def names(self, listed: Iterable[ObjectMeta]) -> list[str]:
        return [line.path.removeprefix(self.path) for line in listed]

    async def _accepted(self, ask: Callable[[], Awaitable[PutResult | DeleteResult | Refusal]]) -> bool:
        """A 409 does not show whether the condition is enforced, so the request is repeated."""
        attempts = RetryState(self.store.retries.writes, self.store.runtime)
        while await attempts.next_attempt():
            answer = await self._answer(ask)
            if not (isinstance(answer, Conflict)):
                return not isinstance(answer, (PreconditionFailed, Conflict))
        raise UnavailableError("The store kept answering 409 to conditional requests for one object")

    async def _answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What the store answers once it does not throttle the request; what it throttled was not applied."""
        attempts = RetryState(self.store.retries.writes, self.store.runtime)
        while await attempts.next_attempt():
            try:
                return await ask()
            except ThrottledError as error:
                if not self.is_patient:
                    raise
                attempts.record(error)
        raise attempts.final_error()


@dataclass(frozen=True, slots=True)
class Feature:
    """What a store may honour, and how that is tried.

    ``impact`` says what it means for a dict where it is missing. What is ``expectd`` decides whether the store will do.
    """

    name: str
    required: bool
    impact: str
    check: Callable[[Sandbox], Awaitable[str]]
    """Gives what else is to be said of it, mostly nothing. Raises FlawError when the feature is not there."""
    depends_on: str | None = None
    """Another feature, without which there is nothing to try."""
    needs_corrupt_puts: bool = False
