"""Puts that are damaged on their way, to see what a store makes of them. Blocking, and with boto3 alone."""

from __future__ import annotations

import socket
from contextlib import suppress
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from ..errors import Error
from .boto import BotoStore
from .s3 import Answer, Call

_PATIENCE_SECONDS = 5.0
"""How long to wait for what a server does with half a request."""
_WRONG_MD5 = "AAAAAAAAAAAAAAAAAAAAAA=="
_WRONG_SHA256 = "A" * 43 + "="


class DamagedPuts(BotoStore):
    """No retries: each is one request."""

    async def put_with_wrong_md5(self, path: str, body: bytes) -> bool:
        """Whether the store took a body with the digest of another."""
        return await self._is_taken(path, body, ContentMD5=_WRONG_MD5)

    async def put_with_wrong_sha256(self, path: str, body: bytes) -> bool:
        """As with MD5, but as newer clients send it."""
        return await self._is_taken(path, body, ChecksumSHA256=_WRONG_SHA256)

    async def put_cut_off(self, path: str, body: bytes) -> None:
        """Sends half of the body, and then ends the connection as the sender's death would."""
        events = self._client(once=True).meta.events
        events.register("before-send.s3.PutObject", _send_half)
        try:
            await self._is_taken(path, body)
        finally:
            events.unregister("before-send.s3.PutObject", _send_half)

    async def _is_taken(self, path: str, body: bytes, **digest: str) -> bool:
        parameters = {"Bucket": self.bucket, "Key": path, "Body": body, **digest}
        with suppress(Error):
            return isinstance(await self.send(Call("put_object", self.bucket, path, parameters, once=True)), Answer)
        return False


def _send_half(request: Any, **_: Any) -> None:
    """Sends the request, which botocore has signed, in its place; what it raises ends the call."""
    url, body = urlsplit(request.url), request.body if isinstance(request.body, bytes) else request.body.read()
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=_PATIENCE_SECONDS)
    try:
        connection.putrequest("PUT", f"{url.path}?{url.query}".rstrip("?"), skip_accept_encoding=True)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body[: len(body) // 2])
        _end(connection.sock)
    finally:
        connection.close()
    raise ConnectionResetError("cut off on purpose")


def _end(sending: socket.socket) -> None:
    """What the server does with it, it has done when it answers or hangs up."""
    with suppress(OSError):
        sending.shutdown(socket.SHUT_WR)
        while sending.recv(4096):
            pass
