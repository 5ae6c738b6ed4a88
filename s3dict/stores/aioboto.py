"""Requests in asyncio with aioboto3."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from .s3 import SENDINGS, Answer, Call, Declined, S3Requests, decline, options, share_models
from .tasks import Tasks

if TYPE_CHECKING:
    import aioboto3
    import boto3
    from aiobotocore.httpsession import AIOHTTPSession
    from types_aiobotocore_s3.client import S3Client


class AioBotoStore(S3Requests, Tasks):
    """One bucket through aioboto3, in one event loop, whose end closes its connections."""

    def __init__(
        self,
        bucket: str,
        *,
        endpoint_url: str | None,
        region_name: str | None,
        session: boto3.Session | None,
        concurrency: int,
    ) -> None:
        super().__init__()
        self.bucket = bucket
        self._endpoint_url = endpoint_url
        self._region_name = region_name
        self._session = session
        self._concurrency = concurrency
        self._opening = asyncio.Lock()
        self._lifetime: AsyncGenerator[dict[bool, S3Client], None] | None = None
        self._clients: dict[bool, S3Client] = {}

    async def send(self, call: Call) -> Answer | Declined:
        for sending in range(1, SENDINGS + 1):
            try:
                fields = await getattr(await self._client(call.once), call.method)(**call.parameters)
            except Exception as error:
                return decline(error, call)
            try:
                return Answer(fields, await _read(fields))
            except Exception as error:
                # botocore retries until the headers are there; a body that breaks off after them is ours to fetch
                # again.
                if sending == SENDINGS:
                    return decline(error, call)
        raise AssertionError("unreachable")

    async def _client(self, once: bool) -> S3Client:
        if not self._clients:
            async with self._opening:
                if self._lifetime is None:
                    self._lifetime = self._connect()
                    self._clients = await anext(self._lifetime)
        return self._clients[once]

    async def _connect(self) -> AsyncGenerator[dict[bool, S3Client], None]:
        """Both clients, for as long as this generator lives.

        An event loop closes the asynchronous generators that are still open before it ends (`loop.shutdown_asyncgens`,
        which `asyncio.run` calls), and so the connections: nobody has to close a Dict, and no session stays unclosed.
        """
        from aiobotocore.config import AioConfig
        from aiobotocore.httpsession import AIOHTTPSession

        session = self._aio_session()
        custom = self._endpoint_url is not None
        async with AsyncExitStack() as stack:
            clients: dict[bool, S3Client] = {}
            for once in (False, True):
                config = AioConfig(
                    http_session_cls=_once_session() if once else AIOHTTPSession,
                    **options(custom_endpoint=custom, concurrency=self._concurrency, once=once),
                )
                opening: Any = session.client(
                    "s3", endpoint_url=self._endpoint_url, region_name=self._region_name, config=config
                )
                clients[once] = await stack.enter_async_context(opening)
            yield clients

    def _aio_session(self) -> aioboto3.Session:
        import aioboto3

        lender = self._session
        session = aioboto3.Session(region_name=lender.region_name if lender else None)
        share_models(session._session)
        if lender is not None:
            session._session.register_component("credential_provider", _Credentials(lender))
        return session


def _once_session() -> type[AIOHTTPSession]:
    """A session that sends a request once: also below botocore's retries, aiohttp sends a PUT or DELETE again.

    When a kept-alive connection breaks before the answer, aiohttp takes the request for idempotent (RFC 9112, section
    9.3.1) and repeats it without a word. A conditional request is not: its second sending is refused because the first
    took effect, and we would believe that we had lost. There is no public switch (aiohttp issue 10790).
    """
    from aiobotocore.httpsession import AIOHTTPSession

    class OnceSession(AIOHTTPSession):
        async def _get_session(self, proxy_url: Any) -> Any:
            session = await super()._get_session(proxy_url)  # type: ignore[misc] # the stubs leave it out
            session._retry_connection = False
            return session

    return OnceSession


class _Credentials:
    """Lets an asyncio session ask a boto3 one for its credentials at every request, so that refreshed ones count."""

    def __init__(self, session: boto3.Session) -> None:
        self._session = session

    async def load_credentials(self) -> Any:
        from aiobotocore.credentials import AioCredentials

        lent: Any = self._session.get_credentials()
        if lent is None:
            return None

        class Lent(AioCredentials):
            async def get_frozen_credentials(self) -> Any:  # type: ignore[override] # that of aiobotocore is async
                return lent.get_frozen_credentials()

        return Lent(*lent.get_frozen_credentials())


async def _read(fields: Any) -> bytes:
    if "Body" not in fields:
        return b""
    async with fields["Body"] as stream:
        body: bytes = await stream.read()
        return body
