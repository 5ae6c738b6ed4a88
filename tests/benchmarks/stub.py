"""An S3 server that answers from memory and does next to nothing for it: what is measured against it is the client.

    python -m tests.benchmarks.stub --delay 0.02

It listens on two ports of 127.0.0.1, which it prints as JSON: one answers at once, the other after the delay. Both
serve the same objects. It ends when its input does.

``POST /bucket?fill=N&prefix=P`` makes entries of s3dict there.

It knows what the peers ask for: PUT, GET with Range, HEAD and DELETE with their conditions, ListObjectsV2,
DeleteObjects and multipart uploads. It checks no signature, and keys hold nothing that XML must escape.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import re
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import cast
from urllib.parse import parse_qsl, unquote

__all__ = ["main"]

_HEADERS = re.compile(rb"\r\n(content-length|expect|if-match|if-none-match|range|x-amz-copy-source): *([^\r]*)", re.I)
_KEYS = re.compile(rb"<Key>([^<]*)</Key>")
_PAGE_SIZE = 1000
_SMALL = 64 * 1024
"""Up to this size, head and body are copied together to be sent in one call."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object. What an answer says of it is put together when it is written, not each time it is read."""

    body: bytes
    etag: bytes
    fields: bytes
    listed: bytes


@dataclass(frozen=True, slots=True)
class Request:
    method: bytes
    key: str
    query: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    status: bytes
    fields: bytes = b""
    body: bytes = b""
    length: int | None = None
    """The length to announce, where it is not that of the body: the answer to HEAD."""


@dataclass(slots=True)
class Bucket:
    """The objects of the one bucket there is, whatever name it is called by."""

    objects: dict[str, Stored] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    serial: int = 0
    ordered: list[str] | None = None
    """The keys in order; None when they are not those of the objects any more."""

    def put(self, key: str, body: bytes) -> Stored:
        self.serial += 1
        now = time.time()
        etag = b'"%032x"' % self.serial
        modified = formatdate(now, usegmt=True).encode()
        listed = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(now)).encode()
        if key not in self.objects:
            self.ordered = None
        stored = self.objects[key] = Stored(
            body,
            etag,
            b"ETag: %s\r\nLast-Modified: %s\r\nAccept-Ranges: bytes\r\n" % (etag, modified),
            b"<Contents><Key>%s</Key><LastModified>%s</LastModified><ETag>%s</ETag><Size>%d</Size>"
            b"<StorageClass>STANDARD</StorageClass></Contents>" % (key.encode(), listed, etag, len(body)),
        )
        return stored

    def delete(self, key: str) -> None:
        if self.objects.pop(key, None) is not None:
            self.ordered = None

    def keys_under(self, prefix: str, after: str, limit: int) -> tuple[list[str], bool]:
        """The first keys under the prefix that come after one, and whether others follow."""
        if self.ordered is None:
            self.ordered = sorted(self.objects)
        start = max(bisect_left(self.ordered, prefix), bisect_right(self.ordered, after))
        end = bisect_left(self.ordered, prefix + "\U0010ffff")
        return self.ordered[start : min(end, start + limit)], start + limit < end


def fill(bucket: Bucket, prefix: str, n: int) -> None:
    """Put n entries of s3dict: text as keys, and small numbers as values."""
    import pickle

    from s3dict._format.entry import WRITE_ID_BYTES, EntrySigner, pack
    from s3dict._format.keys import KeyCodec

    def no_handle(dict_id: str) -> str:
        raise NotImplementedError

    keys, signer = KeyCodec(True, no_handle), EntrySigner("")
    for number in range(n):
        key = keys.encode(f"key-{number:09d}")
        body = pack(number.to_bytes(WRITE_ID_BYTES), key.data, "cloudpickle", [pickle.dumps(number)], signer)
        bucket.put(prefix + key.object_name, body)


def respond(bucket: Bucket, request: Request) -> Response:
    if not request.key:
        return _respond_bucket(bucket, request)
    if "uploads" in request.query or "uploadId" in request.query:
        return _respond_upload(bucket, request)
    stored = bucket.objects.get(request.key)
    if request.method == b"GET":
        return _read(request, stored)
    if request.method == b"HEAD":
        found = _read(request, stored)
        return Response(found.status, found.fields, b"", len(found.body))
    if b"x-amz-copy-source" in request.headers:
        return _error(b"501 Not Implemented", b"NotImplemented")
    if _is_refused(request, stored):
        return _error(b"412 Precondition Failed", b"PreconditionFailed")
    if request.method == b"PUT":
        return Response(b"200 OK", bucket.put(request.key, request.body).fields)
    bucket.delete(request.key)
    return Response(b"204 No Content")


def _read(request: Request, stored: Stored | None) -> Response:
    if stored is None:
        return _error(b"404 Not Found", b"NoSuchKey")
    if request.headers.get(b"if-none-match") == stored.etag:
        return Response(b"304 Not Modified", stored.fields)
    if b"range" not in request.headers:
        return Response(b"200 OK", stored.fields, stored.body)
    size = len(stored.body)
    first, _, last = request.headers[b"range"].removeprefix(b"bytes=").partition(b"-")
    start, end = int(first), min(int(last or size), size - 1) + 1
    if start >= size:
        return _error(b"416 Range Not Satisfiable", b"InvalidRange")
    fields = stored.fields + b"Content-Range: bytes %d-%d/%d\r\n" % (start, end - 1, size)
    return Response(b"206 Partial Content", fields, stored.body[start:end])


def _is_refused(request: Request, stored: Stored | None) -> bool:
    if request.headers.get(b"if-none-match") == b"*":
        return stored is not None
    expected = request.headers.get(b"if-match")
    return expected is not None and (stored is None or stored.etag != expected)


def _respond_bucket(bucket: Bucket, request: Request) -> Response:
    if "fill" in request.query:
        fill(bucket, request.query["prefix"], int(request.query["fill"]))
        return Response(b"200 OK")
    if request.method == b"POST":
        keys = _KEYS.findall(request.body)
        for key in keys:
            bucket.delete(key.decode())
        # obstore rejects a result without elements.
        deleted = b"".join([b"<Deleted><Key>%s</Key></Deleted>" % key for key in keys])
        return _xml(b"<DeleteResult>%s</DeleteResult>" % deleted)
    return _list(bucket, request.query) if request.method == b"GET" else Response(b"200 OK")


def _list(bucket: Bucket, query: Mapping[str, str]) -> Response:
    after = query.get("continuation-token") or query.get("start-after", "")
    limit = min(int(query.get("max-keys", _PAGE_SIZE)), _PAGE_SIZE)
    keys, more = bucket.keys_under(query.get("prefix", ""), after, limit)
    token = b"<NextContinuationToken>%s</NextContinuationToken>" % keys[-1].encode() if more else b""
    head = b"<KeyCount>%d</KeyCount><IsTruncated>%s</IsTruncated>" % (len(keys), b"true" if more else b"false")
    lines = b"".join([bucket.objects[key].listed for key in keys])
    return _xml(b"<ListBucketResult>%s%s%s</ListBucketResult>" % (head, token, lines))


def _respond_upload(bucket: Bucket, request: Request) -> Response:
    if "uploads" in request.query:
        bucket.serial += 1
        name = str(bucket.serial)
        bucket.uploads[name] = {}
        return _upload_result(b"InitiateMultipartUpload", b"<UploadId>%s</UploadId>" % name.encode())
    name = request.query["uploadId"]
    if request.method == b"PUT":
        number = int(request.query["partNumber"])
        bucket.uploads[name][number] = request.body
        return Response(b"200 OK", b'ETag: "%d"\r\n' % number)
    parts = bucket.uploads.pop(name, {})
    if request.method == b"DELETE":
        return Response(b"204 No Content")
    stored = bucket.put(request.key, b"".join(parts[number] for number in sorted(parts)))
    return _upload_result(b"CompleteMultipartUpload", b"<Key>key</Key><ETag>%s</ETag>" % stored.etag)


def _upload_result(name: bytes, content: bytes) -> Response:
    return _xml(b"<%sResult>%s</%sResult>" % (name, content, name))


def _xml(content: bytes) -> Response:
    declaration = b'<?xml version="1.0" encoding="UTF-8"?>\n'
    return Response(b"200 OK", b"Content-Type: application/xml\r\n", declaration + content)


def _error(status: bytes, code: bytes) -> Response:
    body = b"<Error><Code>%s</Code><Message>%s</Message></Error>" % (code, code)
    return Response(status, b"Content-Type: application/xml\r\n", body)


class Connection(asyncio.Protocol):
    """One client's connection, on which requests follow one another."""

    def __init__(self, respond: Callable[[Request], Response], delay: float) -> None:
        self._respond = respond
        self._delay = delay
        self._head = b""
        self._body: bytearray | None = None
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        if self._body is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            data, self._head = self._head[end + 4 :], self._head[: end + 2]
            self._begin()
        self._take(data)

    def _begin(self) -> None:
        self._headers = {name.lower(): value for name, value in _HEADERS.findall(self._head)}
        self._body = bytearray(int(self._headers.get(b"content-length", 0)))
        self._received = 0
        if b"expect" in self._headers:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _take(self, data: bytes) -> None:
        assert self._body is not None
        self._body[self._received : self._received + len(data)] = data
        self._received += len(data)
        if self._received < len(self._body):
            return
        request = _request(self._head, self._headers, bytes(self._body))
        self._head, self._body = b"", None
        response = self._respond(request)
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._answer, response)
        else:
            self._answer(response)

    def _answer(self, response: Response) -> None:
        length = len(response.body) if response.length is None else response.length
        date = formatdate(usegmt=True).encode()
        head = b"HTTP/1.1 %s\r\nDate: %s\r\n%s" % (response.status, date, response.fields)
        head += b"\r\n" if response.status[:3] in (b"204", b"304") else b"Content-Length: %d\r\n\r\n" % length
        if len(response.body) <= _SMALL:
            self._transport.write(head + response.body)
        else:
            self._transport.write(head)
            self._transport.write(response.body)


def _request(head: bytes, headers: Mapping[bytes, bytes], body: bytes) -> Request:
    method, target, _ = head[: head.index(b"\r\n")].split(b" ")
    path, _, query = target.decode("latin-1").partition("?")
    key = path[1:].partition("/")[2]
    fields = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
    return Request(method, unquote(key) if "%" in key else key, fields, headers, body)


async def _serve(delay: float) -> None:
    bucket, loop = Bucket(), asyncio.get_running_loop()

    def answer(request: Request) -> Response:
        return respond(bucket, request)

    at_once = await loop.create_server(lambda: Connection(answer, 0), "127.0.0.1", 0, backlog=1024)
    delayed = await loop.create_server(lambda: Connection(answer, delay), "127.0.0.1", 0, backlog=1024)
    ports = [server.sockets[0].getsockname()[1] for server in (at_once, delayed)]
    print(json.dumps({"at_once": ports[0], "delayed": ports[1]}), flush=True)
    # The process that started this holds its input open: it ends when they do, in whatever way.
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(description="An S3 server in memory, for benchmarks.")
    parser.add_argument("--delay", type=float, default=0.02, help="seconds that the second port waits with an answer")
    arguments = parser.parse_args()
    # Half a million objects live for the whole run and there are no cycles: a collection would only be a pause.
    gc.disable()
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(arguments.delay))
    else:
        uvloop.run(_serve(arguments.delay))


if __name__ == "__main__":
    main()
