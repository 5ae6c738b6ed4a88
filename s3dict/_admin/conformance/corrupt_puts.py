"""PUT requests with a wrong digest or half a body, which a store has to reject. Blocking; uses boto3."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from ..._client import Client
from ..._stores.boto.blocking import BotoStore
from ..._stores.shared.messages import S3Request, S3Response
from ...errors import Error, UnavailableError

MAX_SECONDS = 5.0
"""How long to wait for the response to half a request."""
_WRONG_MD5 = "AAAAAAAAAAAAAAAAAAAAAA=="
_WRONG_SHA256 = "A" * 43 + "="


class _RejectedError(Exception):
    """The store rejected the body: its digest is another."""


class _TruncatedError(Exception):
    """Half of the request was sent, as intended."""


class CorruptPuts(BotoStore):
    """Puts that no store should accept, each one request without retries.

    Raises UnavailableError if the store neither accepted nor rejected the request.
    """

    @classmethod
    def of(cls, client: Client) -> CorruptPuts | None:
        """Return the requests for the client's bucket; None for the in-memory store, to which nothing is sent."""
        if client.driver == "memory":
            return None
        return cls(client._connection())

    async def put_with_wrong_md5(self, path: str, body: bytes) -> bool:
        """Return whether the store accepted a body with the digest of another."""
        return await self._is_accepted(path, body, ContentMD5=_WRONG_MD5)

    async def put_with_wrong_sha256(self, path: str, body: bytes) -> bool:
        """Return whether the store accepted a body with the SHA-256 of another, which newer clients send."""
        return await self._is_accepted(path, body, ChecksumSHA256=_WRONG_SHA256)

    def why_not_truncated(self) -> str:
        """Return why `put_truncated` cannot be sent; empty if it can."""
        return "the store is reached through a proxy" if self._connection.settings.proxy else ""

    async def put_truncated(self, path: str, body: bytes) -> None:
        """Send half of the body, and end the connection as a killed process would. Not through a proxy."""
        events, send_half = self._client().meta.events, _half_sender(self._connection.settings.trust.bundle)
        events.register("before-send.s3.PutObject", send_half)
        try:
            with suppress(_TruncatedError):
                await self.send(self._call(path, body))
        finally:
            events.unregister("before-send.s3.PutObject", send_half)

    async def _execute(self, request: S3Request) -> S3Response:
        from botocore.exceptions import ClientError

        try:
            return await super()._execute(request)
        except ClientError as error:
            # The usual translation makes it a temporary error, which is retried.
            if error.response.get("Error", {}).get("Code") == "BadDigest":
                raise _RejectedError from error
            raise

    async def _is_accepted(self, path: str, body: bytes, **digest: str) -> bool:
        try:
            return isinstance(await self.send(self._call(path, body, **digest)), S3Response)
        except UnavailableError:
            raise
        except (_RejectedError, Error):
            return False

    def _call(self, path: str, body: bytes, **digest: str) -> S3Request:
        return S3Request(
            "put_object", self.bucket, path, {"Bucket": self.bucket, "Key": path, "Body": body, **digest}, True
        )


def _half_sender(ca_bundle: str | None) -> Callable[..., None]:
    """Return a handler that sends half of the signed request instead of botocore, and raises to end the call."""

    def connected(scheme: str, host: str, port: int | None) -> HTTPConnection:
        if scheme != "https":
            return HTTPConnection(host, port, timeout=MAX_SECONDS)
        trusting = ssl.create_default_context(cafile=ca_bundle)
        return HTTPSConnection(host, port, timeout=MAX_SECONDS, context=trusting)

    def send_half(request: Any, **_: Any) -> None:
        url, body = urlsplit(request.url), request.body if isinstance(request.body, bytes) else request.body.read()
        connection = connected(url.scheme, url.hostname or "", url.port)
        try:
            connection.putrequest("PUT", f"{url.path}?{url.query}".rstrip("?"), skip_accept_encoding=True)
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body[: len(body) // 2])
            _half_close(connection.sock)
        finally:
            connection.close()
        raise _TruncatedError

    return send_half


def _half_close(sender: socket.socket) -> None:
    """End the request, and wait until the server has responded or closed the connection."""
    with suppress(OSError):
        sender.shutdown(socket.SHUT_WR)
        while sender.recv(4096):
            pass
