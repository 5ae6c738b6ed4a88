"""Client: which bucket, through which driver, with which settings."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache, partial
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
    headers_from_env,
    is_installed,
    require_installed,
    settings_from_env,
    signing_keys_from_env,
    validate_headers,
    validate_signing_keys,
)
from ._core.read_cache import ReadCache
from ._duration import Duration, to_seconds
from ._format.layout import Layout
from ._format.values import Codec, Segment
from ._pickle import restore
from ._preload import load_for_signal_handlers
from ._record import as_dict, replace
from ._retry import DEFAULT_POLICIES
from ._stores.base import ObjectStore
from ._stores.shared.connection import Connection, ConnectionArguments
from ._stores.shared.rate_control import RateController
from ._stores.shared.threads import run_blocking
from ._stores.shared.timeouts import HasTimeoutVariants
from .errors import Error, InvalidError

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    import boto3

    from ._stores.boto.blocking import BotoStore
    from ._stores.obstore.clients import ObstoreClients
    from ._stores.shared.events import OnRequest, RequestObserver


class Client:
    """Where dicts are stored: a bucket, a prefix in it, and how it is reached.

    Args:
        bucket: The bucket's name. It must exist; ``s3dict dev`` makes a local one to try.
        prefix: The beginning of all object names; many clients with different prefixes can share a bucket.
        endpoint_url: The store's URL; None for AWS.
        region_name: The region to sign for; None for boto3's own chain (``AWS_*``, profiles).
        session: A boto3 session whose credentials are used; None for boto3's own chain.
        environment_name: The environment of dicts that are named without one.
        driver: ``"obstore"``, which is written in Rust and by far the fastest; ``"boto3"``, which uses aioboto3 in
            asyncio if that is installed, and threads of the client otherwise; ``"memory"`` for tests; or ``"auto"``:
            obstore if it is installed, otherwise boto3.
        max_value_bytes: The largest serialised value, in bytes; a larger one is ``RequestSizeError``.
        concurrency: The most requests of one bulk operation that are in flight at a time.
        cache: In seconds or as a timedelta: how old a value that `get`, ``d[k]`` and `get_many` return may be. Within
            that time a value that this client has read before costs no request; after it, a request whose response has
            no body if the value has not changed. Writes of other clients become visible that much later; writes of this
            client, at once. No atomic operation uses the cache. None, the default, disables it. It takes at most 64 MiB
            of memory.
        timeout: The read timeout, as seconds or a timedelta: how long a request waits for a response, and for each
            further part of it. The connect timeout is the same, but at most 5 seconds. A request that timed out is
            retried when that is safe, up to four attempts; so a call fails after four timeouts for each of its
            requests, and a few seconds of backoff.
        on_request: Called with a `RequestEvent` after each attempt of a request, in the thread or event loop that made
            it; it must be quick. An exception of it is logged once, and fails no request.
        addressing_style: Whether the bucket's name is in the URL's host (``"virtual"``) or path (``"path"``); None for
            the path on other stores than AWS, unless boto3's configuration says otherwise.
        verify: False disables the verification of certificates, and a path names a file of certificates to trust, as in
            boto3; None for ``AWS_CA_BUNDLE`` and the rest of boto3's rules.
        checksums: Whether checksum headers are sent where they are optional (``"when_supported"``) or not
            (``"when_required"``); None for boto3's rules on AWS, and what most other stores support elsewhere.
        sse: The server-side encryption of new objects; None for the bucket's default.
        kms_key_id: The KMS key for `sse` ``"aws:kms"`` and ``"aws:kms:dsse"``.
        headers: Further headers of every request, such as ``{"X-Tigris-Consistent": "true"}``.
        requester_pays: Whether to access a bucket whose requester pays.
        expected_bucket_owner: The id of the account that owns the bucket; requests to another's bucket fail.
        signing_keys: Secrets of at least 16 bytes. The first signs every entry, each of them verifies; with them, an
            entry that none of them signed is ``IntegrityError`` before any part of it is unpickled.

    Making a client sends no request and imports no driver. Threads, event loops and forked processes can share it.
    A pickled client contains none of `session`, `signing_keys`, `headers` and `on_request`.

    Raises:
        InvalidError: A setting is invalid.
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
        cache: Duration | None = None,
        timeout: Duration = DEFAULT_TIMEOUT,
        signing_keys: Iterable[str | bytes] = (),
        on_request: OnRequest | None = None,
        addressing_style: Literal["auto", "path", "virtual"] | None = None,
        verify: bool | str | None = None,
        checksums: Literal["when_supported", "when_required"] | None = None,
        sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None,
        kms_key_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        requester_pays: bool = False,
        expected_bucket_owner: str | None = None,
    ) -> None:
        settings = Settings(
            *(bucket, prefix, endpoint_url, region_name, environment_name, driver, max_value_bytes, concurrency),
            cache_seconds=None if cache is None else to_seconds(cache, "cache"),
            timeout_seconds=to_seconds(timeout, "timeout"),
            addressing_style=addressing_style,
            verify=verify,
            checksums=checksums,
            sse=sse,
            kms_key_id=kms_key_id,
            requester_pays=requester_pays,
            expected_bucket_owner=expected_bucket_owner,
        )
        self._init(
            settings.validated(), validate_signing_keys(signing_keys), session, validate_headers(headers), on_request
        )

    def _init(
        self,
        settings: Settings,
        signing_keys: tuple[bytes, ...],
        session: boto3.Session | None,
        headers: tuple[tuple[str, str], ...],
        on_request: OnRequest | None = None,
        endpoint_source: str = "Client(endpoint_url=...)",
    ) -> None:
        if not (on_request is None or callable(on_request)):
            raise InvalidError(f"Invalid on_request: {on_request!r}. It is a callable, or None")
        if not (session is None or _is_boto3_session(session)):
            raise InvalidError(f"Invalid session: {session!r}. It is a boto3.Session, also for asyncio, or None")
        self._settings = settings
        self._session = session
        self._on_request = on_request
        self._signing_keys = signing_keys
        self._headers = headers
        self._endpoint_source = endpoint_source
        self._layout = Layout(settings.prefix)
        self._observer = None if on_request is None else _observer(on_request, self._layout)
        self._retries = DEFAULT_POLICIES
        """Not a setting: tests shorten the backoff and the number of attempts here, before the first request."""
        self._stores = _ProcessResources()
        self._env_handles: WeakSet[Any] = WeakSet()
        """The states of the handles that use this client because the environment describes it."""

    def _with_environment(self, name: str) -> Client:
        """Return this client, or an equal one with `name` as its default environment."""
        if name == self._settings.environment_name:
            return self
        client = Client.__new__(Client)
        settings = replace(self._settings, environment_name=name)
        client._init(
            settings, self._signing_keys, self._session, self._headers, self._on_request, self._endpoint_source
        )
        client._retries = self._retries
        return client

    @classmethod
    def from_env(cls) -> Client:
        """Return the client that the environment describes; the same one while the environment stays the same.

        It reads ``S3DICT_BUCKET``, ``S3DICT_PREFIX``, ``S3DICT_ENDPOINT_URL``, ``S3DICT_ENVIRONMENT``,
        ``S3DICT_DRIVER``, ``S3DICT_TIMEOUT``, ``S3DICT_SIGNING_KEYS``, and the settings of the connection:
        ``S3DICT_REGION``, ``_ADDRESSING_STYLE``, ``_VERIFY``, ``_CHECKSUMS``, ``_SSE``, ``_KMS_KEY_ID``, ``_HEADERS``,
        ``_REQUESTER_PAYS`` and ``_EXPECTED_BUCKET_OWNER``. Region, profile and credentials are otherwise boto3's
        (``AWS_*``). Sends no request.

        Raises:
            InvalidError: No bucket is set, or a setting is invalid.
        """
        return _cached_env_client(env_fingerprint())

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._settings.bucket

    @property
    def prefix(self) -> str:
        """The beginning of all object names."""
        return self._settings.prefix

    @property
    def endpoint_url(self) -> str | None:
        """The URL that was passed, or that ``S3DICT_ENDPOINT_URL`` contains; None if boto3's rules decide."""
        return self._settings.endpoint_url

    @property
    def environment_name(self) -> str:
        """The environment of dicts that are named without one."""
        return self._settings.environment_name

    @property
    def driver(self) -> Literal["boto3", "obstore", "memory"]:
        """The driver in use, which ``"auto"`` has chosen.

        In a child that was forked after its parent had used obstore it is ``"boto3"``: obstore does not support fork.
        """
        return _resolve_driver(self._settings.driver)

    def __repr__(self) -> str:
        endpoint = f", endpoint_url={self.endpoint_url!r}" if self.endpoint_url else ""
        return f"Client({self.bucket!r}, prefix={self.prefix!r}{endpoint}, driver={self.driver!r})"

    def close(self) -> None:
        """Close the connections of blocking calls in this process.

        It is not necessary: connections are closed when the client is garbage collected, and at the end of the process.
        A client may be used again after it, and opens new connections then. ``with client:`` closes it at the end.
        """
        resources = self._resources()
        with resources.lock:
            store, resources.blocking = resources.blocking, None
        run_blocking(_close_store(store))

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and those of blocking calls.

        It is not necessary where the loop ends as `asyncio.run` ends it. ``async with client:`` does it at the end.
        """
        from asyncio import get_running_loop

        self.close()
        resources = self._resources()
        with resources.lock:
            store = resources.by_loop.pop(get_running_loop(), None)
        await _close_store(store)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __copy__(self) -> Client:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Client:
        # A copy would lack the session and the signing keys, as a pickle does.
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return restore, ("Client", as_dict(self._settings))

    def _store(self, *, aio: bool) -> ObjectStore:
        """Return the store for blocking calls, or the running event loop's."""
        stores = self._resources()
        if aio:
            return self._asyncio_store(stores)
        # As a rule without the lock: each call asks for it.
        store = stores.blocking
        return store if store is not None else self._blocking_store(stores)

    def _cache(self) -> ReadCache | None:
        """Return the cache of this client in this process; None if it has none."""
        stores, max_age = self._resources(), self._settings.cache_seconds
        with stores.lock:
            if stores.cache is None and max_age is not None:
                stores.cache = ReadCache(max_age, threading.RLock())
            return stores.cache

    def _resources(self) -> _ProcessResources:
        if self._stores.pid != os.getpid():
            # A forked child shares its parent's sockets and lacks its threads: it needs stores of its own.
            self._stores = _ProcessResources()
        return self._stores

    def _blocking_store(self, stores: _ProcessResources) -> ObjectStore:
        load_for_signal_handlers(self.driver)
        with stores.lock:
            if stores.blocking is None:
                stores.blocking = self._make_blocking_store(stores)
            return stores.blocking

    def _asyncio_store(self, stores: _ProcessResources) -> ObjectStore:
        from asyncio import get_running_loop

        try:
            loop = get_running_loop()
        except RuntimeError:
            raise InvalidError(
                "The `.aio` methods, `async with` and `async for` need a running asyncio event loop. Elsewhere call "
                "the blocking methods; under trio, in a thread: `await trio.to_thread.run_sync(d.get, key)`"
            ) from None
        with stores.lock:
            if loop not in stores.by_loop:
                for closed in [other for other in stores.by_loop if other.is_closed()]:
                    del stores.by_loop[closed]
                stores.by_loop[loop] = self._make_asyncio_store(stores)
            return stores.by_loop[loop]

    def _make_blocking_store(self, stores: _ProcessResources) -> ObjectStore:
        driver = self.driver
        if driver == "memory":
            from ._stores.memory import MemoryStore, memory_bucket

            return MemoryStore(
                memory_bucket(self.bucket), self._settings.concurrency, retries=self._retries, observer=self._observer
            )
        if driver == "obstore" and self._obstore_accepts_server():
            from ._stores.obstore.blocking import ObstoreStore

            return ObstoreStore(self._obstore_clients(stores), partial(self._boto_store, stores))
        return self._boto_store(stores)

    def _make_asyncio_store(self, stores: _ProcessResources) -> ObjectStore:
        driver = self.driver
        if driver == "memory":
            from ._stores.memory import AsyncMemoryStore, memory_bucket

            return AsyncMemoryStore(memory_bucket(self.bucket), retries=self._retries, observer=self._observer)
        if driver == "obstore" and self._obstore_accepts_server():
            from ._stores.obstore.aio import AsyncObstoreStore

            return AsyncObstoreStore(self._obstore_clients(stores), partial(self._threaded_boto_store, stores))
        if is_installed("aioboto3"):
            from ._stores.boto.aio import AioBotoStore

            return AioBotoStore(self._connection())
        return self._threaded_boto_store(stores)

    def _obstore_accepts_server(self) -> bool:
        """Return False, and log it, where obstore could not authenticate the server, or itself to it."""
        try:
            settings = self._connection().settings
        except Error:
            # The first request reports it.
            return True
        if settings.trust.holds_certificate_of(settings.bucket_url):
            reason = "its certificate is a certificate authority itself (CA:TRUE), which obstore does not accept"
        elif settings.client_cert is not None:
            reason = "the session's Config has a client_cert, which obstore does not support"
        else:
            return True
        from ._stores.shared.request_log import logger

        logger().warning("boto3 is used for %s instead of obstore: %s", settings.where, reason)
        return False

    def _obstore_clients(self, stores: _ProcessResources) -> ObstoreClients:
        if stores.obstore_clients is None:
            from ._stores.obstore.clients import ObstoreClients

            stores.obstore_clients = ObstoreClients(self._connection())
        return stores.obstore_clients

    def _boto_store(self, stores: _ProcessResources) -> BotoStore:
        from ._stores.boto.blocking import BotoStore

        with stores.lock:
            if stores.boto is None:
                stores.boto = BotoStore(self._connection())
            return stores.boto

    def _threaded_boto_store(self, stores: _ProcessResources) -> ObjectStore:
        from ._stores.boto.threaded import ThreadedBotoStore, new_threads

        with stores.lock:
            if stores.boto_threads is None:
                stores.boto_threads = new_threads(self._settings.concurrency)
            return ThreadedBotoStore(self._connection(), self._boto_store(stores), stores.boto_threads)

    def _connection(self) -> Connection:
        """Return the connection of this process, which all stores of this client share."""
        stores = self._resources()
        if stores.connection is None:
            stores.connection = Connection(self._connection_arguments(), stores.rates, self._observer)
        return stores.connection

    def _connection_arguments(self) -> ConnectionArguments:
        settings = self._settings
        return ConnectionArguments(
            bucket=settings.bucket,
            endpoint_url=settings.endpoint_url,
            endpoint_source=self._endpoint_source,
            region_name=settings.region_name,
            session=self._session,
            addressing_style=settings.addressing_style,
            verify=settings.verify,
            checksums=settings.checksums,
            sse=settings.sse,
            kms_key_id=settings.kms_key_id,
            headers=self._headers,
            request_payer=settings.requester_pays,
            expected_bucket_owner=settings.expected_bucket_owner,
            concurrency=settings.concurrency,
            timeout=settings.timeout_seconds,
            retries=self._retries,
        )

    def _bind(self, codec: Codec) -> Codec:
        return _ClientBindingCodec(codec, self)


def _is_boto3_session(session: object) -> bool:
    """Return False for a session of aioboto3 too, whose credentials are coroutines."""
    core = getattr(session, "_session", None)
    return core is not None and not type(core).__module__.startswith("aiobotocore")


def check_client(client: Client) -> Client:
    """Return the client. Raises InvalidError for anything else, such as a client of boto3."""
    if not isinstance(client, Client):
        raise InvalidError(f"Invalid client: {client!r}. It is an s3dict.Client")
    return client


class _ProcessResources:
    """The stores of one process, and the cache of what they read."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.RLock()
        self.blocking: ObjectStore | None = None
        self.by_loop: dict[asyncio.AbstractEventLoop, ObjectStore] = {}
        self.cache: ReadCache | None = None
        self.obstore_clients: ObstoreClients | None = None
        self.rates = RateController()
        self.boto: BotoStore | None = None
        self.boto_threads: ThreadPoolExecutor | None = None
        """For boto3 in asyncio, shared by all event loops."""
        self.connection: Connection | None = None


async def _close_store(store: object) -> None:
    # That in memory has nothing to close.
    if isinstance(store, HasTimeoutVariants):
        await store.close()


def _gevent_is_patched() -> bool:
    """Return whether gevent has replaced the socket module, which obstore does not use: it blocks all greenlets."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def _resolve_driver(configured: str) -> Literal["boto3", "obstore", "memory"]:
    if configured == "memory":
        return "memory"
    if configured == "boto3" or (configured == "auto" and (not is_installed("obstore") or _gevent_is_patched())):
        return "boto3"
    require_installed("obstore")
    if "s3dict._stores.obstore.clients" in sys.modules:
        from ._stores.obstore.clients import usable_in_this_process

        if not usable_in_this_process():
            _warn_of_fork()
            return "boto3"
    return "obstore"


def _observer(on_request: OnRequest, layout: Layout) -> RequestObserver:
    from ._stores.shared.events import RequestObserver

    return RequestObserver(on_request, layout.dict_of_path)


_warned_pid: int | None = None


def _warn_of_fork() -> None:
    """Log, once in each process, that obstore is installed and not used."""
    global _warned_pid  # noqa: PLW0603 (a state of the process)
    if _warned_pid != os.getpid():
        _warned_pid = os.getpid()
        from ._stores.shared.request_log import logger

        logger().warning(
            "This process was forked after its parent had used obstore, which does not support that: s3dict uses boto3 "
            "here. Make the first request after the fork, or start processes by spawn"
        )


_unpickling_client: ContextVar[Client | None] = ContextVar("s3dict_unpickling_client", default=None)


class _ClientBindingCodec:
    """A codec that gives the handles inside a value the client that reads it: its session, keys and connections."""

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


def unpickle_client(fields: dict[str, Any]) -> Client:
    """Return the client that is reading the value, if it is for the same location, or one of this process.

    The other settings of the writer do not matter: with a client made from them, entries that are read through a handle
    inside a value would not be verified with the keys that the value was verified with.
    """
    settings = Settings.from_fields(fields)
    current = _unpickling_client.get()
    if current is None or current._settings.location != settings.location:
        return _cached_client(settings, env_fingerprint())
    return current._with_environment(settings.environment_name)


@lru_cache(maxsize=64)
def _cached_client(settings: Settings, _fingerprint: int) -> Client:
    client = Client.__new__(Client)
    client._init(settings, signing_keys_from_env(), None, headers_from_env(), None, "the pickled Client")
    return client


@lru_cache(maxsize=8)
def _cached_env_client(_fingerprint: int) -> Client:
    return env_client(settings_from_env())


def env_client(settings: Settings) -> Client:
    """Return a client with these settings, and the signing keys and headers of the environment."""
    client = Client.__new__(Client)
    client._init(settings, signing_keys_from_env(), None, headers_from_env(), None, "S3DICT_ENDPOINT_URL")
    return client


# Pickled, and shown, as what users import.
Client.__module__ = "s3dict"
