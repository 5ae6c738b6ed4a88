"""HTTP/1.1 messages over asyncio streams, for proxies: read as a whole, sent with a length."""

from __future__ import annotations

from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

__all__ = ["Headers", "HttpRequest", "HttpResponse", "read_request", "read_response", "write_message", "write_part"]

Headers = tuple[tuple[str, str], ...]

_BODILESS_STATUSES = frozenset({204, 304})
_SLICE = 1 << 20


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    target: str
    headers: Headers
    body: bytes

    @property
    def start(self) -> str:
        return f"{self.method} {self.target} HTTP/1.1"

    def header(self, name: str) -> str | None:
        return _header(self.headers, name)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    status: int
    reason: str
    headers: Headers
    body: bytes

    @property
    def start(self) -> str:
        return f"HTTP/1.1 {self.status} {self.reason}"

    def with_body(self, body: bytes) -> HttpResponse:
        return replace(self, headers=_with_length(self.headers, body), body=body)

    def without_body(self) -> HttpResponse:
        """The response to HEAD: its headers contain the length of a body that is not sent."""
        return replace(self, body=b"")


async def read_request(reader: StreamReader, writer: StreamWriter) -> HttpRequest:
    """Return the next request; send 100 Continue to a client that waits for it."""
    start, headers = await _read_head(reader)
    method, target, _ = start.split(" ", 2)
    if (_header(headers, "expect") or "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        headers = _without(headers, "expect")
    body, headers = await _read_body(reader, headers)
    return HttpRequest(method, target, headers, body)


async def read_response(reader: StreamReader, method: str) -> tuple[HttpResponse, bool]:
    """Return the response to a request of this method, and whether its connection can be reused."""
    start, headers = await _read_head(reader)
    while start.split(" ")[1].startswith("1"):
        start, headers = await _read_head(reader)
    version, status, reason = f"{start} ".split(" ", 2)
    if method == "HEAD" or int(status) in _BODILESS_STATUSES:
        framed, body = True, b""
    elif framed := _is_chunked(headers) or _header(headers, "content-length") is not None:
        body, headers = await _read_body(reader, headers)
    else:
        body = await reader.read()
        headers = _with_length(headers, body)
    reusable = framed and version == "HTTP/1.1" and (_header(headers, "connection") or "").lower() != "close"
    return HttpResponse(int(status), reason.strip(), _without(headers, "connection"), body), reusable


async def write_message(writer: StreamWriter, message: HttpRequest | HttpResponse) -> None:
    body = memoryview(message.body)
    # Joined here: asyncio's own `writelines` never comes to an end with an empty body in Python 3.12 and 3.13.
    writer.write(b"".join((_head(message), body[:_SLICE])))
    await writer.drain()
    for offset in range(_SLICE, len(body), _SLICE):  # a large body shall not hold up the other connections
        writer.write(body[offset : offset + _SLICE])
        await writer.drain()


async def write_part(writer: StreamWriter, message: HttpRequest | HttpResponse, fraction: float) -> None:
    """Write the first bytes of the message, and never all of it."""
    whole = _head(message) + message.body
    writer.write(whole[: min(int(len(whole) * fraction), len(whole) - 1)])
    await writer.drain()


def _head(message: HttpRequest | HttpResponse) -> bytes:
    lines = (message.start, *(f"{name}: {value}" for name, value in message.headers), "", "")
    return "\r\n".join(lines).encode("latin-1")


async def _read_head(reader: StreamReader) -> tuple[str, Headers]:
    head = await reader.readuntil(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    fields = (line.partition(":") for line in lines)
    return start, tuple((name, value.strip()) for name, _, value in fields)


async def _read_body(reader: StreamReader, headers: Headers) -> tuple[bytes, Headers]:
    """Return the body, and the headers with its length instead of Transfer-Encoding."""
    if not _is_chunked(headers):
        return await reader.readexactly(int(_header(headers, "content-length") or 0)), headers
    body = b"".join([chunk async for chunk in _chunks(reader)])
    return body, _with_length(headers, body)


async def _chunks(reader: StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readline()).partition(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readline()
    while (await reader.readline()).strip():
        pass  # trailers


def _header(headers: Headers, name: str) -> str | None:
    return next((value for key, value in headers if key.lower() == name), None)


def _without(headers: Headers, *names: str) -> Headers:
    return tuple(header for header in headers if header[0].lower() not in names)


def _with_length(headers: Headers, body: bytes) -> Headers:
    rest = _without(headers, "transfer-encoding", "content-length")
    return (*rest, ("Content-Length", str(len(body))))


def _is_chunked(headers: Headers) -> bool:
    return "chunked" in (_header(headers, "transfer-encoding") or "").lower()
