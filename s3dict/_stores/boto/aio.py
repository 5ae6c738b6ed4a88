"""Requests in asyncio with aioboto3."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from io import SEEK_CUR, SEEK_END, SEEK_SET, RawIOBase
from typing import TYPE_CHECKING, Any
from weakref import finalize

from ..._retry import DEFAULT_POLICIES, RetryPolicies
from ..base import Body
from ..shared.tasks import TaskRuntime
from ..shared.timeouts import TimeoutVariants
from .requests import (
    S3Request,
    S3Requests,
    S3Response,
    disable_expect_continue,
    options,
    region,
    speed_up,
)

if TYPE_CHECKING:
    import aioboto3
    import boto3
    from aiobotocore.httpsession import AIOHTTPSession
    from types_aiobotocore_s3.client import S3Client


CHUNK_BYTES = 1 << 20


class AioBotoStore(S3Requests):
    """One bucket through aioboto3, in one event loop, whose end closes its connections."""

    def __init__(
        self,
        bucket: str,
        *,
        endpoint_url: str | None,
        region_name: str | None,
        session: boto3.Session | None,
        concurrency: int,
        timeout: float,
        retries: RetryPolicies = DEFAULT_POLICIES,
    ) -> None:
        super().__init__(bucket, TaskRuntime(), timeout, retries)
        self._hurried = TimeoutVariants[AioBotoStore]()
        self._endpoint_url = endpoint_url
        self._region_name = region_name
        self._session = session
        self._aio_session: aioboto3.Session | None = None
        self._concurrency = concurrency
        self._connect_lock = asyncio.Lock()
        self._made_client: S3Client | None = None

    def with_timeout(self, seconds: float) -> AioBotoStore:
        return self if seconds >= self.timeout else self._hurried.of(seconds, self._with_timeout)

    def _with_timeout(self, timeout: float) -> AioBotoStore:
        with_timeout = AioBotoStore(
            self.bucket,
            endpoint_url=self._endpoint_url,
            region_name=self._region_name,
            session=self._session,
            concurrency=self._concurrency,
            timeout=timeout,
            retries=self.retries,
        )
        with_timeout._aio_session = self._get_session()
        return with_timeout

    async def _execute(self, call: S3Request) -> S3Response:
        client = await self._client()
        fields = await getattr(client, call.method)(**_with_chunked_body(call.parameters))
        return S3Response(fields, await _read(fields))

    async def _client(self) -> S3Client:
        if self._made_client is None:
            async with self._connect_lock:
                if self._made_client is None:
                    self._made_client = await self._connect()
        return self._made_client

    async def _connect(self) -> S3Client:
        """The client, which is closed when the event loop ends, or when this store is no longer needed.

        An event loop closes the asynchronous generators that are still open before it ends (`loop.shutdown_asyncgens`,
        which `asyncio.run` calls), and so what `_open` holds: nobody has to close a Dict, nothing stays open.
        The finalizer keeps the generator alive for that, and closes it in its loop when the store goes first.
        """
        session, custom = self._get_session(), self._endpoint_url is not None
        signing_region = region(self._region_name, session, custom_endpoint=custom)
        clients_generator = _open(
            session,
            {"endpoint_url": self._endpoint_url, "region_name": signing_region},
            {"custom_endpoint": custom, "concurrency": self._concurrency, "timeout": self.timeout},
        )
        client = await anext(clients_generator)
        finalize(self, _close, asyncio.get_running_loop(), clients_generator).atexit = False
        return client

    def _get_session(self) -> aioboto3.Session:
        """The session, which finds credentials once for this store and those in a hurry."""
        if self._aio_session is None:
            self._aio_session = _aio_session(self._session)
        return self._aio_session


async def _open(
    session: aioboto3.Session, where: dict[str, Any], how: dict[str, Any]
) -> AsyncGenerator[S3Client, None]:
    """A client that sends each request once, for as long as this generator lives."""
    from aiobotocore.config import AioConfig

    config = AioConfig(http_session_cls=_no_retry_session_class(), **options(**how))
    opening: Any = session.client("s3", config=config, **where)
    async with opening as client:
        disable_expect_continue(client)
        yield client


def _close(loop: asyncio.AbstractEventLoop, clients_generator: AsyncGenerator[Any, None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.create_task, clients_generator.aclose())


def _aio_session(boto_session: boto3.Session | None) -> aioboto3.Session:
    import aioboto3

    session = aioboto3.Session(region_name=boto_session.region_name if boto_session else None)
    speed_up(session._session)
    if boto_session is not None:
        session._session.register_component("credential_provider", BotoCredentialProvider(boto_session))
    return session


def _no_retry_session_class() -> type[AIOHTTPSession]:
    """A session that sends a request once: also below botocore's retries, aiohttp sends a PUT or DELETE again.

    When a kept-alive connection breaks before the answer, aiohttp takes the request for idempotent (RFC 9112, section
    9.3.1) and repeats it without a word. A conditional request is not: its second sending is refused because the first
    took effect, and we would believe that we had lost. There is no public switch (aiohttp issue 10790).
    """
    from aiobotocore.httpsession import AIOHTTPSession

    class NoRetrySession(AIOHTTPSession):
        async def _get_session(self, proxy_url: Any) -> Any:
            session = await super()._get_session(proxy_url)  # type: ignore[misc] # the stubs leave it out
            session._retry_connection = False
            return session

    return NoRetrySession


class BotoCredentialProvider:
    """Lets an asyncio session ask a boto3 one for its credentials at every request, so that refreshed ones count."""

    def __init__(self, session: boto3.Session) -> None:
        self._session = session

    async def load_credentials(self) -> Any:
        from aiobotocore.credentials import AioCredentials

        lent: Any = self._session.get_credentials()
        if lent is None:
            return None

        class SharedCredentials(AioCredentials):
            async def get_frozen_credentials(self) -> Any:  # type: ignore[override] # that of aiobotocore is async
                return lent.get_frozen_credentials()

        return SharedCredentials(*lent.get_frozen_credentials())


class _ChunkedBody(RawIOBase):
    """A large body that is sent piece by piece, and never copied as a whole.

    The event loop's transport copies whatever the socket does not take at once; aiohttp reads all of a file whose
    length it knows, and makes a copy of what a BytesIO holds.
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
        wanted = len(self._body) if size is None or size < 0 else min(size, CHUNK_BYTES)
        piece = bytes(self._body[self._position : self._position + wanted])
        self._position += len(piece)
        return piece


def _with_chunked_body(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    body = parameters.get("Body", b"")
    return {**parameters, "Body": _ChunkedBody(body)} if len(body) > CHUNK_BYTES else parameters


async def _read(fields: Any) -> bytes:
    if "Body" not in fields:
        return b""
    async with fields["Body"] as stream:
        body: bytes = await stream.read()
        return body
