"""Client: which bucket, through which driver, with which settings."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet

from ._config import (
    DEFAULT_CONCURRENCY,
    DEFAULT_ENVIRONMENT,
    DEFAULT_MAX_VALUE_BYTES,
    DEFAULT_PREFIX,
    DEFAULT_TIMEOUT,
    Settings,
    check_endpoint,
    check_installed,
    check_signing_keys,
    fingerprint_of_env,
    is_installed,
    settings_from_env,
    signing_keys_from_env,
)
from ._core.read_cache import ReadCache
from ._format.layout import Layout
from ._format.values import Codec, Segment
from ._stores.base import Store
from .errors import InvalidError

if TYPE_CHECKING:
    import asyncio

    import boto3

    from ._admin.bucket_admin import BucketAdmin
    from ._admin.conformance.corrupt_puts import DamagedPuts
    from ._stores.obstore.clients import Connection


class Client:
    """Where dicts live: a bucket, a prefix in it, and the way there.

    Args:
        bucket: The bucket's name. It must exist; ``s3dict dev`` makes a local one to try.
        prefix: What all object names begin with; many clients with different prefixes can share a bucket.
        endpoint_url: The store's URL; None for AWS.
        region_name: None leaves it to boto3's own chain (``AWS_*``, profiles).
        session: A boto3 session to take credentials from; None leaves them to boto3's own chain.
        environment_name: The environment of dicts that are named without one.
        driver: ``"obstore"``, which is written in Rust and much the quicker (the extra ``fast``); ``"boto3"`` (aioboto3
            for asyncio); ``"memory"`` for tests; or ``"auto"``: obstore where it is installed, otherwise boto3.
        max_value_bytes: The largest serialised value, in bytes; a larger one is ``RequestSizeError``.
        concurrency: How many requests of one bulk operation are under way at most.
        cache: For how long `get`, ``d[k]`` and `get_many` may give what this client has read before, without asking
            the store: no request within that time, and after it one whose answer has no body if nothing has changed.
            What others write shows up that much later; what this client writes, at once. Nothing atomic uses it. None,
            the default, asks the store each time. It takes 64 MiB of memory at most.
        timeout: For how long a request waits while the store says nothing: for a connection (5 seconds at most), for an
            answer, and for each next part of it. A request that got none is sent again, but at most four times; so a
            call gives up after four timeouts for each of its requests, and a few seconds of pauses.
        signing_keys: Secrets of 16 bytes or more. The first signs every entry, each of them verifies; with them, an
            entry that none of them signed is ``IntegrityError`` before anything of it is unpickled.

    Making one sends no request and imports no driver. It may be shared between threads, event loops and forked
    processes. Pickling leaves ``session`` and ``signing_keys`` behind.

    Raises:
        InvalidError: a setting that cannot work.
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = DEFAULT_PREFIX,
        endpoint_url: str | None = None,
        region_name: str | None = None,
        session: boto3.Session | None = None,
        environment_name: str = DEFAULT_ENVIRONMENT,
        driver: Literal["auto", "boto3", "obstore", "memory"] = "auto",
        max_value_bytes: int = DEFAULT_MAX_VALUE_BYTES,
        concurrency: int = DEFAULT_CONCURRENCY,
        cache: timedelta | None = None,
        timeout: timedelta = DEFAULT_TIMEOUT,
        signing_keys: Iterable[str | bytes] = (),
    ) -> None:
        if not (cache is None or isinstance(cache, timedelta)):
            raise InvalidError(f"Invalid cache: {cache!r}. It is a timedelta, or None for no cache")
        if not isinstance(timeout, timedelta):
            raise InvalidError(f"Invalid timeout: {timeout!r}. It is a timedelta, such as timedelta(seconds=10)")
        settings = Settings(
            bucket,
            prefix,
            endpoint_url,
            region_name,
            environment_name,
            driver,
            max_value_bytes,
            concurrency,
            None if cache is None else cache.total_seconds(),
            timeout.total_seconds(),
        )
        self._set_up(settings.checked(), check_signing_keys(signing_keys), session)

    def _set_up(self, settings: Settings, signing_keys: tuple[bytes, ...], session: boto3.Session | None) -> None:
        self._settings = settings
        self._session = session
        self._signing_keys = signing_keys
        self._layout = Layout(settings.prefix)
        self._stores = _Stores()
        self._lent_to: WeakSet[Any] = WeakSet()
        """The states of the handles that came here by the environment."""

    def _in_environment(self, name: str) -> Client:
        """This client, or one like it whose dicts without an environment are in that one."""
        if name == self._settings.environment_name:
            return self
        client = Client.__new__(Client)
        client._set_up(replace(self._settings, environment_name=name), self._signing_keys, self._session)
        return client

    @classmethod
    def from_env(cls) -> Client:
        """The client that the environment describes; the same one while the environment stays the same.

        ``S3DICT_BUCKET``, ``S3DICT_PREFIX``, ``S3DICT_ENDPOINT_URL``, ``S3DICT_ENVIRONMENT``, ``S3DICT_DRIVER``,
        ``S3DICT_TIMEOUT`` and ``S3DICT_SIGNING_KEYS`` are ours; region, profile and credentials are boto3's
        (``AWS_*``). No request.

        Raises:
            InvalidError: no bucket is set, or a setting cannot work.
        """
        return _client_of_env(fingerprint_of_env())

    @property
    def bucket(self) -> str:
        return self._settings.bucket

    @property
    def prefix(self) -> str:
        return self._settings.prefix

    @property
    def endpoint_url(self) -> str | None:
        return self._settings.endpoint_url

    @property
    def environment_name(self) -> str:
        return self._settings.environment_name

    @property
    def driver(self) -> Literal["boto3", "obstore", "memory"]:
        """The driver in use: what ``"auto"`` has chosen.

        In a child that was forked after its parent had used obstore it is ``"boto3"``: obstore does not survive that.
        """
        return _driver_here(self._settings.driver)

    def __repr__(self) -> str:
        where = f", endpoint_url={self.endpoint_url!r}" if self.endpoint_url else ""
        return f"Client({self.bucket!r}, prefix={self.prefix!r}{where}, driver={self.driver!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _client_here, (self._settings,)

    def _store(self, *, aio: bool) -> Store:
        """The store for blocking calls, or the running event loop's."""
        stores = self._of_this_process()
        return self._asyncio_store(stores) if aio else self._blocking_store(stores)

    def _cache(self) -> ReadCache | None:
        """What this client has read in this process; None when it caches nothing."""
        stores, window = self._of_this_process(), self._settings.cache_seconds
        with stores.guard:
            if stores.cache is None and window is not None:
                stores.cache = ReadCache(window, threading.Lock())
            return stores.cache

    def _of_this_process(self) -> _Stores:
        if self._stores.pid != os.getpid():
            # A forked child shares its parent's sockets and lacks its threads: it starts anew.
            self._stores = _Stores()
        return self._stores

    def _blocking_store(self, stores: _Stores) -> Store:
        with stores.guard:
            if stores.blocking is None:
                stores.blocking = self._make_blocking_store(stores)
            return stores.blocking

    def _asyncio_store(self, stores: _Stores) -> Store:
        from asyncio import get_running_loop

        loop = get_running_loop()
        with stores.guard:
            if loop not in stores.of_loops:
                for ended in [other for other in stores.of_loops if other.is_closed()]:
                    del stores.of_loops[ended]
                stores.of_loops[loop] = self._make_asyncio_store(stores)
            return stores.of_loops[loop]

    def _make_blocking_store(self, stores: _Stores) -> Store:
        driver, concurrency = self.driver, self._settings.concurrency
        if driver == "memory":
            from ._stores.memory import MemoryStore, memory_bucket

            return MemoryStore(memory_bucket(self.bucket), concurrency)
        if driver == "obstore":
            from ._stores.obstore.requests import RustStore

            return RustStore(self._connection(stores), self._boto_store, concurrency=concurrency)
        return self._boto_store()

    def _make_asyncio_store(self, stores: _Stores) -> Store:
        driver = self.driver
        if driver == "memory":
            from ._stores.memory import AsyncMemoryStore, memory_bucket

            return AsyncMemoryStore(memory_bucket(self.bucket))
        if driver == "obstore":
            from ._stores.obstore.aio import AsyncRustStore

            return AsyncRustStore(self._connection(stores), self._aioboto_store)
        return self._aioboto_store()

    def _connection(self, stores: _Stores) -> Connection:
        if stores.connection is None:
            from ._stores.obstore.clients import Connection

            stores.connection = Connection(self.bucket, **self._way_there())
        return stores.connection

    def _boto_store(self) -> Store:
        from ._stores.boto.blocking import BotoStore

        return BotoStore(self.bucket, concurrency=self._settings.concurrency, **self._way_there())

    def _aioboto_store(self) -> Store:
        from ._stores.boto.aio import AioBotoStore

        return AioBotoStore(self.bucket, concurrency=self._settings.concurrency, **self._way_there())

    def _bucket_admin(self) -> BucketAdmin:
        """The bucket itself, for those who set it up. Raises InvalidError for one in memory, which has no settings."""
        from ._admin.bucket_admin import BucketAdmin

        if self.driver == "memory":
            raise InvalidError("With the driver 'memory' there is no bucket to look at: unset S3DICT_DRIVER")
        return BucketAdmin(self.bucket, concurrency=self._settings.concurrency, **self._way_there())

    def _damaged_puts(self) -> DamagedPuts | None:
        """Puts that no store should take; None in memory, where nothing is sent."""
        if self.driver == "memory":
            return None
        from ._admin.conformance.corrupt_puts import DamagedPuts

        return DamagedPuts(self.bucket, concurrency=self._settings.concurrency, **self._way_there())

    def _way_there(self) -> dict[str, Any]:
        from_env = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return {
            "endpoint_url": self.endpoint_url or check_endpoint(from_env),
            "region_name": self._settings.region_name,
            "session": self._session,
            "timeout": self._settings.timeout_seconds,
        }

    def _codec(self, codec: Codec) -> Codec:
        return _HandingOver(codec, self)


class _Stores:
    """The stores of one process, and what was read through them."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.guard = threading.Lock()
        self.blocking: Store | None = None
        self.of_loops: dict[asyncio.AbstractEventLoop, Store] = {}
        self.cache: ReadCache | None = None
        self.connection: Connection | None = None


def _driver_here(chosen: str) -> Literal["boto3", "obstore", "memory"]:
    if chosen == "memory":
        return "memory"
    if chosen == "boto3" or (chosen == "auto" and not is_installed("obstore")):
        return "boto3"
    check_installed("obstore")
    if "s3dict._stores.obstore.clients" in sys.modules:
        from ._stores.obstore.clients import works_here

        return "obstore" if works_here() else "boto3"
    return "obstore"


_reader: ContextVar[Client | None] = ContextVar("s3dict_reader", default=None)


class _HandingOver:
    """A codec that lends the client which reads a value to the handles inside it: session, keys, connections."""

    __slots__ = ("_client", "_codec", "name", "pickles")

    def __init__(self, codec: Codec, client: Client) -> None:
        self._codec = codec
        self._client = client
        self.name = codec.name
        self.pickles = codec.pickles

    def dumps(self, value: Any) -> list[Segment]:
        return self._codec.dumps(value)

    def loads(self, segments: Sequence[memoryview]) -> Any:
        token = _reader.set(self._client)
        try:
            return self._codec.loads(segments)
        finally:
            _reader.reset(token)


def _client_here(settings: Settings) -> Client:
    """What an unpickled client is here: the one that is reading it, if it is for the same place, or one of this
    process's own.

    How the writer was tuned does not matter: with a client of another tuning, what is read through a handle inside a
    value would not be verified with the keys that the value was verified with.
    """
    reader = _reader.get()
    if reader is None or reader._settings.place != settings.place:
        return _client_of(settings, fingerprint_of_env())
    return reader._in_environment(settings.environment_name)


@lru_cache(maxsize=64)
def _client_of(settings: Settings, _fingerprint: int) -> Client:
    client = Client.__new__(Client)
    client._set_up(settings, signing_keys_from_env(), None)
    return client


@lru_cache(maxsize=8)
def _client_of_env(_fingerprint: int) -> Client:
    client = Client.__new__(Client)
    client._set_up(settings_from_env(), signing_keys_from_env(), None)
    return client
