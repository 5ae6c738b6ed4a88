"""A proxy between an S3 client and a server: it records requests, and injects faults.

    with Proxy("http://127.0.0.1:8333", seed=7) as proxy:
        client = boto3.client("s3", endpoint_url=proxy.url, ...)
        proxy.faults = [Fault("lost-response", operation="PutObject", probability=0.1)]
        with proxy.recording() as requests:
            client.put_object(Bucket="b", Key="k", Body=b"v")
        assert ["PutObject"] == [request.operation for request in requests]

The Host header is passed on as it came, so signatures stay valid. Buckets are addressed by path. Each client
connection has one connection to the server, and both are kept alive. Bodies are held in memory, whole.
"""

from __future__ import annotations

import asyncio
import threading
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from random import Random
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from .http_wire import HttpRequest, HttpResponse, read_request, read_response, write_message, write_part
from .limiter import Limiter
from .stream_server import STREAM_LIMIT, StreamServer

__all__ = ["Fault", "FaultKind", "Proxy", "Request"]

FaultKind = Literal[
    "lost-request",  # the connection drops before the server has seen the request
    "lost-response",  # the server does what it was asked, then the connection drops
    "delay",  # the request reaches the server late, even when its client has given up
    "cut-request",  # the server gets the request's first bytes, then the connection drops
    "cut-response",  # the server does what it was asked, and the client gets the answer's first bytes
    "stalled-response",  # likewise, and the connection stays open and silent, for `seconds`
    "internal-error",  # 500, and the server has not seen the request
    "internal-error-after",  # 500, although the server has done what it was asked
    "denied",  # 403 AccessDenied, and the server has not seen the request
    "slow-down",  # 503, and the server has not seen the request
    "too-many-requests",  # 429, and the server has not seen the request
    "repeated",  # the server gets the request twice, and the client the second response
    "conflict",  # 409 ConditionalRequestConflict, and the server has not seen the request
]

_FORWARDED = frozenset(
    {"lost-response", "delay", "repeated", "internal-error-after", "cut-response", "stalled-response"}
)
_IN_PART = frozenset({"cut-response", "stalled-response"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request and, once recorded, its response."""

    operation: str
    """The operation's name in the S3 API, as in "PutObject"."""
    method: str
    path: str
    query: str
    if_match: str | None = None
    if_none_match: str | None = None
    byte_range: str | None = None
    copy_source: str | None = None
    copy_source_if_match: str | None = None
    status: int | None = None
    """None for a request whose connection was dropped."""
    fault: FaultKind | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, and the requests that it concerns.

    It concerns requests of the `operation` that satisfy `when`, and strikes the fraction `probability` of
    them. Any fault may first keep the request waiting, for `seconds`; a lost request is silence then. A message is
    cut after the fraction `cut` of it, or anywhere.
    """

    kind: FaultKind
    operation: str | None = None
    when: Callable[[Request], bool] | None = None
    probability: float = 1.0
    seconds: float = 0.0
    cut: float | None = None

    def concerns(self, request: Request) -> bool:
        if self.operation not in (None, request.operation):
            return False
        return self.when is None or self.when(request)


class Proxy(StreamServer):
    """Passes requests on to a server, and injects faults.

    Which of the requests that concern a fault are struck depends on `seed` and their order alone. `rewrite`
    may replace any answer of the server.
    """

    def __init__(self, target: str, *, seed: int = 0) -> None:
        self.limiter: Limiter | None = None
        """Refuses requests with 429 by their rate."""
        self.rewrite: Callable[[Request, HttpResponse], HttpResponse] = _unchanged
        self._target = urlsplit(target)
        self._seed = seed
        self._lock = threading.Lock()
        self._cuts = Random(f"{seed}/cuts")
        self._faults: tuple[tuple[Fault, Random], ...] = ()
        self._script: list[Fault] = []
        self._recordings: dict[int, list[Request]] = {}
        super().__init__(f"proxy of {target}")

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults; of several that concern a request, the first one is injected."""
        return tuple(fault for fault, _ in self._faults)

    @faults.setter
    def faults(self, faults: Iterable[Fault]) -> None:
        self._faults = tuple((fault, Random(f"{self._seed}/{n}")) for n, fault in enumerate(faults))

    def script(self, fault: Fault, *, times: int = 1) -> None:
        """Let `fault` strike the next `times` requests it concerns, before any of `faults` is considered."""
        with self._lock:
            self._script.extend([fault] * times)

    @contextmanager
    def recording(self) -> Iterator[list[Request]]:
        """Record the requests that are answered or dropped inside the block, in order.

        A request is recorded before its client can see the answer, so all that a finished call sent is there.
        """
        requests: list[Request] = []
        with self._lock:
            self._recordings[id(requests)] = requests
        try:
            yield requests
        finally:
            with self._lock:
                del self._recordings[id(requests)]

    def _record(self, request: Request) -> None:
        if request.operation == "CreateSession":
            # The session of a directory bucket is opened every few minutes, by whatever happens to come then.
            return
        with self._lock:
            for recording in self._recordings.values():
                recording.append(request)

    def _choose(self, request: Request) -> Fault | None:
        return self._next_scripted(request) or self._limited(request) or self._draw(request)

    def _limited(self, request: Request) -> Fault | None:
        limiter = self.limiter
        admitted = limiter is None or limiter(request.method, request.path)
        return None if admitted else Fault("too-many-requests")

    def _next_scripted(self, request: Request) -> Fault | None:
        with self._lock:
            for position, fault in enumerate(self._script):
                if fault.concerns(request):
                    return self._script.pop(position)
        return None

    def _draw(self, request: Request) -> Fault | None:
        for fault, random in self._faults:
            if fault.concerns(request) and random.random() < fault.probability:
                return fault
        return None

    async def _converse(self, reader: StreamReader, writer: StreamWriter) -> None:
        upstream = _Upstream(self._target.hostname or "127.0.0.1", self._target.port or 80)
        try:
            while await self._exchange(reader, writer, upstream):
                pass
        except (ConnectionError, IncompleteReadError):
            pass  # the client hung up
        finally:
            upstream.close()
            _hang_up(writer)

    async def _exchange(self, reader: StreamReader, writer: StreamWriter, upstream: _Upstream) -> bool:
        """Respond to one request; return False if the connection is to be dropped after it."""
        call = await read_request(reader, writer)
        request = _describe(call)
        fault = self._choose(request)
        answer = await self._answer(call, request, fault, upstream)
        status, kind = answer.status if answer else None, fault.kind if fault else None
        self._record(replace(request, status=status, fault=kind))
        if answer is None:
            return False
        if fault and fault.kind in _IN_PART:
            await write_part(writer, answer.without_body() if call.method == "HEAD" else answer, self._cut(fault))
            await asyncio.sleep(fault.seconds if fault.kind == "stalled-response" else 0)
            return False
        await write_message(writer, answer.without_body() if call.method == "HEAD" else answer)
        return (call.header("connection") or "").lower() != "close"

    async def _answer(
        self, call: HttpRequest, request: Request, fault: Fault | None, upstream: _Upstream
    ) -> HttpResponse | None:
        """Return the response of the server, or of the fault; None for a dropped connection."""
        if fault is None:
            return await self._forward(call, request, upstream)
        await asyncio.sleep(fault.seconds if fault.kind != "stalled-response" else 0)
        if fault.kind == "cut-request":
            await upstream.exchange_in_part(call, self._cut(fault))
        if fault.kind == "repeated":
            await self._forward(call, request, upstream)
        forwarded = fault.kind in _FORWARDED and await self._forward(call, request, upstream)
        return (forwarded or None) if fault.kind in ("delay", "repeated", *_IN_PART) else _ERRORS.get(fault.kind)

    def _cut(self, fault: Fault) -> float:
        return self._cuts.random() if fault.cut is None else fault.cut

    async def _forward(self, call: HttpRequest, request: Request, upstream: _Upstream) -> HttpResponse | None:
        try:
            answer = await upstream.exchange(call)
        except (OSError, IncompleteReadError):
            return None  # the server hung up; it may have done its work, so nothing is repeated from here
        rewritten = self.rewrite(request, answer)
        return rewritten if rewritten.body == answer.body else rewritten.with_body(rewritten.body)


class _Upstream:
    """The connection to the server: opened on demand, and again after the server closed it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[StreamReader, StreamWriter] | None = None

    async def exchange(self, call: HttpRequest) -> HttpResponse:
        reader, writer = await self._connect()
        await write_message(writer, call)
        answer, reusable = await read_response(reader, call.method)
        if not reusable:
            self.close()
        return answer

    async def exchange_in_part(self, call: HttpRequest, cut: float) -> None:
        """Send the first bytes of the request, and close the connection."""
        with suppress(OSError):  # the server is gone
            _, writer = await self._connect()
            await write_part(writer, call, cut)
            _hang_up(writer)
        self._streams = None

    async def _connect(self) -> tuple[StreamReader, StreamWriter]:
        if self._streams and self._streams[0].at_eof():
            self.close()
        if not self._streams:
            self._streams = await asyncio.open_connection(*self._address, limit=STREAM_LIMIT)
        return self._streams

    def close(self) -> None:
        if self._streams:
            self._streams[1].transport.abort()
        self._streams = None


def _hang_up(writer: StreamWriter) -> None:
    """Shut the connection down: a forked child may have inherited the socket, so that closing it is not enough."""
    with suppress(OSError):  # the client was faster
        writer.write_eof()
    writer.close()


def _unchanged(request: Request, answer: HttpResponse) -> HttpResponse:
    return answer


def _describe(call: HttpRequest) -> Request:
    target = urlsplit(f"http://server{call.target}")
    parameters = parse_qs(target.query, keep_blank_values=True)
    return Request(
        operation=_operation(call, target.path, frozenset(parameters)),
        method=call.method,
        path=unquote(target.path),
        query=target.query,
        if_match=call.header("if-match"),
        if_none_match=call.header("if-none-match"),
        byte_range=call.header("range"),
        copy_source=call.header("x-amz-copy-source"),
        copy_source_if_match=call.header("x-amz-copy-source-if-match"),
    )


def _operation(call: HttpRequest, path: str, parameters: frozenset[str]) -> str:
    """Return the operation's name, by the method, the addressed resource and the query parameters."""
    bucket, _, key = path.strip("/").partition("/")
    level = "object" if key else "bucket" if bucket else "service"
    if call.header("x-amz-copy-source"):
        return "UploadPartCopy" if "partNumber" in parameters else "CopyObject"
    marked = (_MARKED.get((call.method, level, parameter)) for parameter in sorted(parameters))
    return next(filter(None, marked), None) or _PLAIN.get((call.method, level), f"{call.method} {level}")


_PLAIN = {
    ("GET", "service"): "ListBuckets",
    ("GET", "bucket"): "ListObjects",
    ("HEAD", "bucket"): "HeadBucket",
    ("PUT", "bucket"): "CreateBucket",
    ("DELETE", "bucket"): "DeleteBucket",
    ("GET", "object"): "GetObject",
    ("HEAD", "object"): "HeadObject",
    ("PUT", "object"): "PutObject",
    ("DELETE", "object"): "DeleteObject",
}
_MARKED = {
    ("GET", "bucket", "list-type"): "ListObjectsV2",
    ("GET", "bucket", "session"): "CreateSession",
    ("GET", "bucket", "policy"): "GetBucketPolicy",
    ("PUT", "bucket", "policy"): "PutBucketPolicy",
    ("GET", "bucket", "versions"): "ListObjectVersions",
    ("GET", "bucket", "location"): "GetBucketLocation",
    ("GET", "bucket", "lifecycle"): "GetBucketLifecycleConfiguration",
    ("PUT", "bucket", "lifecycle"): "PutBucketLifecycleConfiguration",
    ("DELETE", "bucket", "lifecycle"): "DeleteBucketLifecycle",
    ("GET", "bucket", "versioning"): "GetBucketVersioning",
    ("PUT", "bucket", "versioning"): "PutBucketVersioning",
    ("POST", "bucket", "delete"): "DeleteObjects",
    ("POST", "object", "uploads"): "CreateMultipartUpload",
    ("PUT", "object", "partNumber"): "UploadPart",
    ("POST", "object", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "object", "uploadId"): "AbortMultipartUpload",
}


def _error(status: int, reason: str, code: str, message: str) -> HttpResponse:
    xml = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{xml}'
    return HttpResponse(status, reason, (("Content-Type", "application/xml"),), b"").with_body(body.encode())


_INTERNAL_ERROR = _error(500, "Internal Server Error", "InternalError", "We encountered an internal error.")
_ERRORS = {
    "internal-error": _INTERNAL_ERROR,
    "internal-error-after": _INTERNAL_ERROR,
    "denied": _error(403, "Forbidden", "AccessDenied", "Access Denied."),
    "too-many-requests": _error(429, "Too Many Requests", "TooManyRequests", "Reduce your concurrent request rate."),
    "slow-down": _error(503, "Slow Down", "SlowDown", "Please reduce your request rate."),
    "conflict": _error(409, "Conflict", "ConditionalRequestConflict", "A conflicting write is in flight."),
}
