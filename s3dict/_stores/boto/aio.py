"""Requests in asyncio with aioboto3."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import partial
from io import SEEK_CUR, SEEK_END, SEEK_SET, RawIOBase
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import finalize

from ..base import Body
from ..shared.connection import Connection
from ..shared.messages import S3Request, S3Response
from ..shared.proxies import address_of, proxy_headers
from ..shared.tasks import TaskRuntime
from .requests import S3Requests
from .session import (
    client_arguments,
    client_config,
    prepare_client,
    speed_up,
    trust_system_store,
    use_identity_cache,
)

if TYPE_CHECKING:
    from aiobotocore.httpsession import AIOHTTPSession
    from aiohttp.client_proto import ResponseHandler
    from types_aiobotocore_s3.client import S3Client

    from .credentials import BotoCredentials

R = TypeVar("R")

CHUNK_BYTES = 1 << 20


class AioBotoStore(S3Requests):
    """One bucket through aioboto3, in one event loop. Its connections are closed when the loop ends."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, TaskRuntime())
        self._connect_lock = asyncio.Lock()
        self._connected = _Connected()

    def _with_timeout(self, timeout: float) -> AioBotoStore:
        return AioBotoStore(self._connection.with_timeout(timeout))

    async def _run(self, function: Callable[[], R]) -> R:
        return await asyncio.to_thread(function)

    async def _execute(self, request: S3Request) -> S3Response:
        client = await self._client()
        fields = await getattr(client, request.method)(**_with_chunked_body(request.parameters))
        return S3Response(fields, await _read(fields), self._connection.where)

    async def _client(self) -> S3Client:
        generation, connected = self._connection.generation, self._connected
        if connected.client is None or connected.generation != generation:
            async with self._connect_lock:
                if connected.client is None or connected.generation != generation:
                    await self._connect()
                    connected.generation = generation
        return cast("S3Client", connected.client)

    async def _connect(self) -> None:
        """Make a client that is closed when the event loop ends, or when this store is no longer needed.

        An event loop closes the asynchronous generators that are still open before it ends (`loop.shutdown_asyncgens`,
        which `asyncio.run` calls), and so the client of `_open`: callers need not close anything.
        The finalizer keeps the generator alive for that, and closes it in its loop when the store goes first. Where the
        loop was closed without that, it closes the sockets, when the store goes or at exit.
        """
        # Finding credentials may block: on a metadata service, a program, a prompt.
        credentials = await asyncio.to_thread(self._connection.boto_credentials)
        client_generator = _open(self._connection, credentials)
        client = await anext(client_generator)
        finalize(self._connected, _close, asyncio.get_running_loop(), client_generator, client)
        self._connected.client, self._connected.generator = client, client_generator

    async def _close(self) -> None:
        async with self._connect_lock:
            generator, self._connected.client = self._connected.generator, None
            if generator is not None:
                await generator.aclose()


class _Connected:
    """The client of a store, which its paced view shares."""

    def __init__(self) -> None:
        self.client: S3Client | None = None
        self.generation = 0
        self.generator: AsyncGenerator[S3Client, None] | None = None


async def _open(connection: Connection, credentials: BotoCredentials) -> AsyncGenerator[S3Client, None]:
    """Yield a client that sends each request once, and close it when this generator is closed."""
    import aioboto3
    from aiobotocore.config import AioConfig

    session = aioboto3.Session()
    speed_up(session._session)
    session._session.register_component("credential_provider", BotoCredentialProvider(credentials))
    config = AioConfig(http_session_cls=_http_session_class(connection), **client_config(connection))
    opening: Any = session.client("s3", config=config, **client_arguments(connection))
    async with opening as client:
        prepare_client(client, connection)
        if connection.zone is not None:
            use_identity_cache(client, _AioIdentityCache(connection))
        yield client


def _close(loop: asyncio.AbstractEventLoop, client_generator: AsyncGenerator[Any, None], client: S3Client) -> None:
    if loop.is_closed():
        _close_sockets(client)
    else:
        loop.call_soon_threadsafe(loop.create_task, client_generator.aclose())


def _close_sockets(client: Any) -> None:
    """Close the sockets of a client whose event loop is closed, in which aiohttp cannot close them.

    aiohttp reports every session and connector that is open when it is garbage collected, and asyncio every transport.
    """
    http_session = client._endpoint.http_session
    for session in getattr(http_session, "_sessions", {}).values():
        connector = session.connector
        session.detach()
        if connector is None or connector.closed:
            continue
        connector._closed = True
        connector._conns.clear()
    for transport in http_session.open_transports.values():
        # Beneath TLS, and beneath the event loop.
        raw = getattr(getattr(transport, "_ssl_protocol", None), "_transport", transport)
        sock = getattr(raw, "_sock", None)
        if sock is not None:
            raw._sock = None
            sock.close()
    http_session.open_transports.clear()
    for connection in http_session.used_connections:
        connection._protocol = None
    http_session.used_connections.clear()


def _http_session_class(connection: Connection) -> type[AIOHTTPSession]:
    """Return a session class that sends a request once, to one host, and always verifies certificates.

    When a kept-alive connection breaks before the response, aiohttp silently repeats the request because it is
    idempotent (RFC 9112, section 9.3.1). A conditional request is not: its second attempt fails because the first took
    effect, and would be reported as lost. There is no public switch (aiohttp issue 10790).
    aiohttp follows redirects, with all headers but Authorization; and aiobotocore does not verify certificates of a
    server behind a proxy.
    """
    from aiobotocore.httpsession import AIOHTTPSession
    from aiohttp import TCPConnector

    new_protocol = _protocol_class()

    class HttpSession(AIOHTTPSession):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.open_transports: dict[ResponseHandler, Any] = {}
            self.used_connections: set[Any] = set()

        def _get_ssl_context(self) -> Any:
            return trust_system_store(super()._get_ssl_context(), connection)  # type: ignore[misc]

        def _setup_proxy_ssl_context(self, proxy_url: Any) -> Any:
            context = super()._setup_proxy_ssl_context(proxy_url)  # type: ignore[misc] # the stubs leave it out
            return context or self._get_ssl_context()

        def _create_connector(self, proxy_url: Any) -> Any:
            if connection.settings.uses_tls:
                connector = super()._create_connector(proxy_url)  # type: ignore[misc] # the stubs leave it out
            else:
                # aiobotocore would load its certificates, which takes longer than all else that a client is made of.
                connector = TCPConnector(limit=self._max_pool_connections, **self._connector_args)  # type: ignore[attr-defined]
            connector._factory = partial(new_protocol, self.open_transports, asyncio.get_running_loop())
            connector.connect = partial(_connect, connector.connect, self.used_connections)
            return connector

        async def _get_session(self, proxy_url: Any) -> Any:
            session = await super()._get_session(proxy_url)  # type: ignore[misc] # the stubs leave it out
            session._retry_connection = False
            return _DirectSession(session)

    return HttpSession


def _protocol_class() -> Callable[[dict[ResponseHandler, Any], asyncio.AbstractEventLoop], ResponseHandler]:
    """Return a class of aiohttp's protocols that register their transports while these are open.

    The connector forgets the transport of a request that was left unfinished.
    """
    from aiohttp.client_proto import ResponseHandler

    class Protocol(ResponseHandler):
        def __init__(self, open_transports: dict[ResponseHandler, Any], loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(loop)
            self._open_transports = open_transports

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._open_transports[self] = transport
            super().connection_made(transport)

        def connection_lost(self, exc: BaseException | None) -> None:
            self._open_transports.pop(self, None)
            super().connection_lost(exc)

    return Protocol


async def _connect(connect: Callable[..., Awaitable[Any]], used: set[Any], *args: Any, **kwargs: Any) -> Any:
    """Return a connection that is registered until it is released: aiohttp reports others when the loop is closed."""
    connection, loop = await connect(*args, **kwargs), asyncio.get_running_loop()
    used.add(connection)
    # In a closed loop, its release fails.
    connection.add_callback(lambda: None if loop.is_closed() else used.discard(connection))
    return connection


class _DirectSession:
    """Sends requests through a session of aiohttp, without following redirects.

    aiohttp would encode the user and password of a proxy in Latin-1, unlike other clients.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def request(self, *arguments: Any, **options: Any) -> Any:
        proxy = options.get("proxy") or ""
        if "@" in proxy:
            # aiohttp sends it to the proxy, as Proxy-Authorization.
            authorization = {"Authorization": proxy_headers(proxy)["Proxy-Authorization"]}
            options |= {"proxy": address_of(proxy), "proxy_headers": authorization}
        return self._session.request(*arguments, allow_redirects=False, **options)


class BotoCredentialProvider:
    """Lets an asyncio session use the credentials of a boto3 session, which renews them."""

    def __init__(self, credentials: BotoCredentials) -> None:
        self._credentials = credentials

    async def load_credentials(self) -> Any:
        from aiobotocore.credentials import AioCredentials

        credentials = self._credentials
        frozen = await asyncio.to_thread(credentials.get_frozen_credentials)

        class SharedCredentials(AioCredentials):
            async def get_frozen_credentials(self) -> Any:  # type: ignore[override] # that of aiobotocore is async
                if not credentials.refresh_needed():
                    return credentials.get_frozen_credentials()
                return await asyncio.to_thread(credentials.get_frozen_credentials)

        return SharedCredentials(*frozen[:3])


class _AioIdentityCache:
    """What aiobotocore asks for the session of a directory bucket."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get_credentials(self, bucket: str) -> Any:  # noqa: ARG002 (its signature)
        from aiobotocore.credentials import AioCredentials

        connection = self._connection
        session = connection.current_session()
        if session is None:
            session = await asyncio.to_thread(connection.session_credentials)
        return AioCredentials(session.access_key, session.secret_key, session.token)


class _ChunkedBody(RawIOBase):
    """A large body that is sent in chunks, and never copied as a whole.

    The event loop's transport copies what the socket does not accept at once; aiohttp reads all of a file whose length
    it knows, and copies the contents of a BytesIO.
    """

    def __init__(self, body: Body) -> None:
        self.whole = body
        self._body = memoryview(body)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = SEEK_SET, /) -> int:
        self._position = offset + {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: len(self._body)}[whence]
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        length = len(self._body) if size is None or size < 0 else min(size, CHUNK_BYTES)
        chunk = bytes(self._body[self._position : self._position + length])
        self._position += len(chunk)
        return chunk


def _with_chunked_body(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    body = parameters.get("Body", b"")
    return {**parameters, "Body": _ChunkedBody(body)} if len(body) > CHUNK_BYTES else parameters


async def _read(fields: Any) -> bytes:
    if "Body" not in fields:
        return b""
    async with fields["Body"] as stream:
        body: bytes = await stream.read()
        return body
