"""Requests in asyncio with aioboto3."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from io import SEEK_CUR, SEEK_END, SEEK_SET, RawIOBase
from typing import TYPE_CHECKING, Any, cast
from weakref import finalize

from ..base import Body
from ..shared.connection import Connection
from ..shared.messages import S3Request, S3Response
from ..shared.tasks import TaskRuntime
from .requests import S3Requests
from .session import client_config, prepare_client, signing_region, speed_up

if TYPE_CHECKING:
    import aioboto3
    import boto3
    from aiobotocore.httpsession import AIOHTTPSession
    from types_aiobotocore_s3.client import S3Client


CHUNK_BYTES = 1 << 20


class AioBotoStore(S3Requests):
    """One bucket through aioboto3, in one event loop. Its connections are closed when the loop ends."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, TaskRuntime())
        self._session: aioboto3.Session | None = None
        self._connect_lock = asyncio.Lock()
        self._connected = _Connected()

    def _with_timeout(self, timeout: float) -> AioBotoStore:
        variant = AioBotoStore(self._connection.with_timeout(timeout))
        variant._session = self._get_session()
        return variant

    async def _execute(self, request: S3Request) -> S3Response:
        client = await self._client()
        fields = await getattr(client, request.method)(**_with_chunked_body(request.parameters))
        return S3Response(fields, await _read(fields))

    async def _client(self) -> S3Client:
        if self._connected.client is None:
            async with self._connect_lock:
                if self._connected.client is None:
                    await self._connect()
        return cast("S3Client", self._connected.client)

    async def _connect(self) -> None:
        """Make a client that is closed when the event loop ends, or when this store is no longer needed.

        An event loop closes the asynchronous generators that are still open before it ends (`loop.shutdown_asyncgens`,
        which `asyncio.run` calls), and so the client of `_open`: callers need not close anything.
        The finalizer keeps the generator alive for that, and closes it in its loop when the store goes first. Where the
        loop was closed without that, it closes the sockets, when the store goes or at exit.
        """
        client_generator = _open(self._get_session(), self._connection)
        client = await anext(client_generator)
        finalize(self._connected, _close, asyncio.get_running_loop(), client_generator, client)
        self._connected.client, self._connected.generator = client, client_generator

    async def _close(self) -> None:
        async with self._connect_lock:
            generator, self._connected.client = self._connected.generator, None
            if generator is not None:
                await generator.aclose()

    def _get_session(self) -> aioboto3.Session:
        """Return the session, which resolves credentials once for all timeouts."""
        if self._session is None:
            self._session = _new_session(self._connection.session)
        return self._session


class _Connected:
    """The client of a store, which its paced view shares."""

    def __init__(self) -> None:
        self.client: S3Client | None = None
        self.generator: AsyncGenerator[S3Client, None] | None = None


async def _open(session: aioboto3.Session, connection: Connection) -> AsyncGenerator[S3Client, None]:
    """Yield a client that sends each request once, and close it when this generator is closed."""
    from aiobotocore.config import AioConfig

    custom = connection.endpoint_url is not None
    config = client_config(custom_endpoint=custom, concurrency=connection.concurrency, timeout=connection.timeout)
    opening: Any = session.client(
        "s3",
        endpoint_url=connection.endpoint_url,
        region_name=signing_region(connection.region_name, session, custom_endpoint=custom),
        config=AioConfig(http_session_cls=_no_retry_session_class(), **config),
    )
    async with opening as client:
        prepare_client(client)
        yield client


def _close(loop: asyncio.AbstractEventLoop, client_generator: AsyncGenerator[Any, None], client: S3Client) -> None:
    if loop.is_closed():
        _close_sockets(client)
    else:
        loop.call_soon_threadsafe(loop.create_task, client_generator.aclose())


def _close_sockets(client: Any) -> None:
    """Close the sockets of a client whose event loop is closed, in which aiohttp cannot close them.

    aiohttp reports every session and connector that is open when it is garbage collected.
    """
    for session in getattr(client._endpoint.http_session, "_sessions", {}).values():
        connector = session.connector
        session.detach()
        if connector is None or connector.closed:
            continue
        connector._closed = True
        for protocol, _ in [pair for pairs in connector._conns.values() for pair in pairs]:
            transport = protocol.transport
            # Beneath TLS, and beneath the event loop.
            transport = getattr(getattr(transport, "_ssl_protocol", None), "_transport", transport)
            sock = getattr(transport, "_sock", None)
            if sock is not None:
                transport._sock = None
                sock.close()
        connector._conns.clear()


def _new_session(boto_session: boto3.Session | None) -> aioboto3.Session:
    import aioboto3

    session = aioboto3.Session(region_name=boto_session.region_name if boto_session else None)
    speed_up(session._session)
    if boto_session is not None:
        session._session.register_component("credential_provider", BotoCredentialProvider(boto_session))
    return session


def _no_retry_session_class() -> type[AIOHTTPSession]:
    """Return a session class that sends a request once: below botocore's retries, aiohttp retries a PUT or DELETE.

    When a kept-alive connection breaks before the response, aiohttp silently repeats the request because it is
    idempotent (RFC 9112, section 9.3.1). A conditional request is not: its second attempt fails because the first took
    effect, and would be reported as lost. There is no public switch (aiohttp issue 10790).
    """
    from aiobotocore.httpsession import AIOHTTPSession

    class NoRetrySession(AIOHTTPSession):
        async def _get_session(self, proxy_url: Any) -> Any:
            session = await super()._get_session(proxy_url)  # type: ignore[misc] # the stubs leave it out
            session._retry_connection = False
            return session

    return NoRetrySession


class BotoCredentialProvider:
    """Lets an asyncio session use a boto3 session's credentials, which are read at every request: they are renewed."""

    def __init__(self, session: boto3.Session) -> None:
        self._session = session

    async def load_credentials(self) -> Any:
        from aiobotocore.credentials import AioCredentials

        credentials: Any = self._session.get_credentials()
        if credentials is None:
            return None

        class SharedCredentials(AioCredentials):
            async def get_frozen_credentials(self) -> Any:  # type: ignore[override] # that of aiobotocore is async
                return credentials.get_frozen_credentials()

        return SharedCredentials(*credentials.get_frozen_credentials())


class _ChunkedBody(RawIOBase):
    """A large body that is sent in chunks, and never copied as a whole.

    The event loop's transport copies what the socket does not accept at once; aiohttp reads all of a file whose length
    it knows, and copies the contents of a BytesIO.
    """

    def __init__(self, body: Body) -> None:
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
