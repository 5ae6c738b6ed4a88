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
    env_fingerprint,
    is_installed,
    require_installed,
    settings_from_env,
    signing_keys_from_env,
    validate_endpoint,
    validate_signing_keys,
)
from ._core.read_cache import ReadCache
from ._format.layout import Layout
from ._format.values import Codec, Segment
from ._retry import DEFAULT_POLICIES
from ._stores.base import ObjectStore
from .errors import InvalidError

if TYPE_CHECKING:
    import asyncio

    import boto3

    from ._stores.obstore.clients import ObstoreClients


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
        self._init(settings.validated(), validate_signing_keys(signing_keys), session)

    def _init(self, settings: Settings, signing_keys: tuple[bytes, ...], session: boto3.Session | None) -> None:
        self._settings = settings
        self._session = session
        self._signing_keys = signing_keys
        self._layout = Layout(settings.prefix)
        self._retries = DEFAULT_POLICIES
        """Not a setting: tests shorten the backoff and the number of attempts here, before the first request."""
        self._stores = _ProcessResources()
        self._env_handles: WeakSet[Any] = WeakSet()
        """The states of the handles that came here by the environment."""

    def _with_environment(self, name: str) -> Client:
        """This client, or one like it whose dicts without an environment are in that one."""
        if name == self._settings.environment_name:
            return self
        client = Client.__new__(Client)
        client._init(replace(self._settings, environment_name=name), self._signing_keys, self._session)
        client._retries = self._retries
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
        return _cached_env_client(env_fingerprint())

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
        return _resolve_driver(self._settings.driver)

    def __repr__(self) -> str:
        where = f", endpoint_url={self.endpoint_url!r}" if self.endpoint_url else ""
        return f"Client({self.bucket!r}, prefix={self.prefix!r}{where}, driver={self.driver!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle_client, (self._settings,)

    def _store(self, *, aio: bool) -> ObjectStore:
        """The store for blocking calls, or the running event loop's."""
        stores = self._resources()
        return self._asyncio_store(stores) if aio else self._blocking_store(stores)

    def _cache(self) -> ReadCache | None:
        """What this client has read in this process; None when it caches nothing."""
        stores, max_age = self._resources(), self._settings.cache_seconds
        with stores.lock:
            if stores.cache is None and max_age is not None:
                stores.cache = ReadCache(max_age, threading.Lock())
            return stores.cache

    def _resources(self) -> _ProcessResources:
        if self._stores.pid != os.getpid():
            # A forked child shares its parent's sockets and lacks its threads: it starts anew.
            self._stores = _ProcessResources()
        return self._stores

    def _blocking_store(self, stores: _ProcessResources) -> ObjectStore:
        with stores.lock:
            if stores.blocking is None:
                stores.blocking = self._make_blocking_store(stores)
            return stores.blocking

    def _asyncio_store(self, stores: _ProcessResources) -> ObjectStore:
        from asyncio import get_running_loop

        loop = get_running_loop()
        with stores.lock:
            if loop not in stores.by_loop:
                for ended in [other for other in stores.by_loop if other.is_closed()]:
                    del stores.by_loop[ended]
                stores.by_loop[loop] = self._make_asyncio_store(stores)
            return stores.by_loop[loop]

    def _make_blocking_store(self, stores: _ProcessResources) -> ObjectStore:
        driver, concurrency = self.driver, self._settings.concurrency
        if driver == "memory":
            from ._stores.memory import MemoryStore, memory_bucket

            return MemoryStore(memory_bucket(self.bucket), concurrency, retries=self._retries)
        if driver == "obstore":
            from ._stores.obstore.requests import ObstoreStore

            return ObstoreStore(
                self._connection(stores), self._boto_store, concurrency=concurrency, retries=self._retries
            )
        return self._boto_store()

    def _make_asyncio_store(self, stores: _ProcessResources) -> ObjectStore:
        driver = self.driver
        if driver == "memory":
            from ._stores.memory import AsyncMemoryStore, memory_bucket

            return AsyncMemoryStore(memory_bucket(self.bucket), retries=self._retries)
        if driver == "obstore":
            from ._stores.obstore.aio import AsyncObstoreStore

            return AsyncObstoreStore(self._connection(stores), self._aioboto_store, retries=self._retries)
        return self._aioboto_store()

    def _connection(self, stores: _ProcessResources) -> ObstoreClients:
        if stores.connection is None:
            from ._stores.obstore.clients import ObstoreClients

            stores.connection = ObstoreClients(self.bucket, **self._connection_options())
        return stores.connection

    def _boto_store(self) -> ObjectStore:
        from ._stores.boto.blocking import BotoStore

        return BotoStore(
            self.bucket,
            concurrency=self._settings.concurrency,
            retries=self._retries,
            **self._connection_options(),
        )

    def _aioboto_store(self) -> ObjectStore:
        from ._stores.boto.aio import AioBotoStore

        return AioBotoStore(
            self.bucket,
            concurrency=self._settings.concurrency,
            retries=self._retries,
            **self._connection_options(),
        )

    def _connection_options(self) -> dict[str, Any]:
        from_env = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return {
            "endpoint_url": self.endpoint_url or validate_endpoint(from_env),
            "region_name": self._settings.region_name,
            "session": self._session,
            "timeout": self._settings.timeout_seconds,
        }

    def _codec(self, codec: Codec) -> Codec:
        return _ClientBindingCodec(codec, self)


class _ProcessResources:
    """The stores of one process, and what was read through them."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.blocking: ObjectStore | None = None
        self.by_loop: dict[asyncio.AbstractEventLoop, ObjectStore] = {}
        self.cache: ReadCache | None = None
        self.connection: ObstoreClients | None = None


def _resolve_driver(chosen: str) -> Literal["boto3", "obstore", "memory"]:
    if chosen == "memory":
        return "memory"
    if chosen == "boto3" or (chosen == "auto" and not is_installed("obstore")):
        return "boto3"
    require_installed("obstore")
    if "s3dict._stores.obstore.clients" in sys.modules:
        from ._stores.obstore.clients import usable_in_this_process

        return "obstore" if usable_in_this_process() else "boto3"
    return "obstore"


_unpickling_client: ContextVar[Client | None] = ContextVar("s3dict_reader", default=None)


class _ClientBindingCodec:
    """A codec that lends the client which reads a value to the handles inside it: session, keys, connections."""

    __slots__ = ("_client", "_codec", "name", "uses_pickle")

    def __init__(self, codec: Codec, client: Client) -> None:
        self._codec = codec
        self._client = client
        self.name = codec.name
        self.uses_pickle = codec.uses_pickle

    def dumps(self, value: Any) -> list[Segment]:
        return self._codec.dumps(value)

    def loads(self, segments: Sequence[memoryview]) -> Any:
        token = _unpickling_client.set(self._client)
        try:
            return self._codec.loads(segments)
        finally:
            _unpickling_client.reset(token)


def _unpickle_client(settings: Settings) -> Client:
    """What an unpickled client is here: the one that is reading it, if it is for the same place, or one of this
    process's own.

    How the writer was tuned does not matter: with a client of another tuning, what is read through a handle inside a
    value would not be verified with the keys that the value was verified with.
    """
    reader = _unpickling_client.get()
    if reader is None or reader._settings.location != settings.location:
        return _cached_client(settings, env_fingerprint())
    return reader._with_environment(settings.environment_name)


@lru_cache(maxsize=64)
def _cached_client(settings: Settings, _fingerprint: int) -> Client:
    client = Client.__new__(Client)
    client._init(settings, signing_keys_from_env(), None)
    return client


@lru_cache(maxsize=8)
def _cached_env_client(_fingerprint: int) -> Client:
    client = Client.__new__(Client)
    client._init(settings_from_env(), signing_keys_from_env(), None)
    return client
