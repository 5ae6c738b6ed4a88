"""Puts that are damaged on their way, to see what a store makes of them. Blocking, and with boto3 alone."""

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
"""How long to wait for what a server does with half a request."""
_WRONG_MD5 = "AAAAAAAAAAAAAAAAAAAAAA=="
_WRONG_SHA256 = "A" * 43 + "="


class _RefusedError(Exception):
    """The store says that what came is not what was announced."""


class _CutOffError(Exception):
    """Half of the request was sent, as was intended."""


class CorruptPuts(BotoStore):
    """Puts that no store should accept, each one request without retries.

    Raises UnavailableError where the store did not judge what it received.
    """

    @classmethod
    def of(cls, client: Client) -> CorruptPuts | None:
        """Return those for the client's bucket; None in memory, where nothing is sent."""
        if client.driver == "memory":
            return None
        return cls(client._connection())

    async def put_with_wrong_md5(self, path: str, body: bytes) -> bool:
        """Whether the store took a body with the digest of another."""
        return await self._is_taken(path, body, ContentMD5=_WRONG_MD5)

    async def put_with_wrong_sha256(self, path: str, body: bytes) -> bool:
        """As with MD5, but as newer clients send it."""
        return await self._is_taken(path, body, ChecksumSHA256=_WRONG_SHA256)

    def why_not_truncated(self) -> str:
        """What keeps `put_truncated` from being sent; empty where nothing does."""
        return "the store is reached through a proxy" if self._connection.settings.proxy else ""

    async def put_truncated(self, path: str, body: bytes) -> None:
        """Sends half of the body, and then ends the connection as the sender's death would. Not through a proxy."""
        events, send_half = self._client().meta.events, _sender(self._connection.settings.trust.bundle)
        events.register("before-send.s3.PutObject", send_half)
        try:
            with suppress(_CutOffError):
                await self.send(self._call(path, body))
        finally:
            events.unregister("before-send.s3.PutObject", send_half)

    async def _execute(self, request: S3Request) -> S3Response:
        from botocore.exceptions import ClientError

        try:
            return await super()._execute(request)
        except ClientError as error:
            # To others a reason to send the same again.
            if error.response.get("Error", {}).get("Code") == "BadDigest":
                raise _RefusedError from error
            raise

    async def _is_taken(self, path: str, body: bytes, **digest: str) -> bool:
        try:
            return isinstance(await self.send(self._call(path, body, **digest)), S3Response)
        except UnavailableError:
            raise
        except (_RefusedError, Error):
            return False

    def _call(self, path: str, body: bytes, **digest: str) -> S3Request:
        return S3Request(
            "put_object", self.bucket, path, {"Bucket": self.bucket, "Key": path, "Body": body, **digest}, True
        )


def _sender(ca_bundle: str | None) -> Callable[..., None]:
    """Sends half of the request, which botocore has signed, in its place; what it raises ends the call."""

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
        raise _CutOffError

    return send_half


def _half_close(sender: socket.socket) -> None:
    """What the server does with it, it has done when it answers or hangs up."""
    with suppress(OSError):
        sender.shutdown(socket.SHUT_WR)
        while sender.recv(4096):
            pass
