"""A small in-memory S3 server with selectable deviations from S3, which real servers have.

    with MisbehavingServer(Flaw.PUT_IGNORES_IF_MATCH) as server:
        client = boto3.client("s3", endpoint_url=server.url, ...)
        server.flaws.add(Flaw.COPY_REFUSED)

Without flaws it honours every condition, atomically. It speaks what a dict needs of S3, path-style, and
does not check signatures.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote
from wsgiref.handlers import format_date_time
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from werkzeug.wrappers import Request, Response

from .limiter import Limiter
from .s3_responses import (
    RefusedError,
    StoredObject,
    byte_range,
    element,
    last_modified,
    no_such_key,
    precondition_failed,
    xml,
)
from .wsgi_server import AtomicServer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["Deviation", "MisbehavingServer"]

_LARGEST_PAGE = 1000
_CONTENT_TYPE = "binary/octet-stream"


class Deviation(Enum):
    """A deviation from S3."""

    PUT_IGNORES_IF_NONE_MATCH = "PUT If-None-Match: * overwrites"
    PUT_IGNORES_IF_MATCH = "PUT If-Match overwrites whatever is there"
    PUT_WANTS_BARE_ETAG = "PUT If-Match matches an ETag without its quotes only (Ceph 16)"
    ETAGS_LACK_QUOTES = "the header ETag has no quotes, although conditions match an ETag in quotes only"
    PUT_LOSER_GETS_500 = "every other PUT that should be answered 412 is answered 500 (Ceph)"
    PUT_CHANGES_ETAG = "the same bytes get a new ETag with every write (KMS)"
    MISSING_IS_412 = "If-Match on a missing key is answered 412 instead of 404"
    DELETE_IGNORES_IF_MATCH = "DELETE If-Match deletes whatever is there (Ceph)"
    DELETE_REFUSES_IF_MATCH = "DELETE If-Match is answered 501 (LocalStack)"
    DELETE_MISSING_IS_204 = "DELETE If-Match of a missing key is answered 204"
    COPY_IGNORES_SOURCE_IF_MATCH = "CopyObject ignores the condition on its source (moto, Ceph)"
    COPY_IGNORES_IF_MATCH = "CopyObject ignores the conditions on its destination (moto, Ceph, MiniStack)"
    COPY_REFUSED = "CopyObject is answered 501"
    COPY_WITHOUT_ETAG = "CopyObject is answered without an ETag (rclone serve s3)"
    THROTTLED_IS_APPLIED = "every other PUT is answered 429, and applied"
    PUT_REFUSES_CONDITIONS = "PUT with a condition is answered 501 (Backblaze B2)"
    LIST_HAS_NO_ORDER = "listings are not in the order of the names, although StartAfter is heeded (Storj)"
    LIST_IGNORES_START_AFTER = "a listing begins with the first name whatever StartAfter says"
    LIST_REFUSES_START_AFTER = "a listing with StartAfter is answered 501"


class MisbehavingServer(AtomicServer):
    """The server, on a free port of 127.0.0.1; `flaws` and `clock` may be changed while it runs."""

    def __init__(self, *flaws: Deviation, limiter: Limiter | None = None) -> None:
        self._store = _Store(set(flaws))
        self.limiter = limiter
        super().__init__(self._serve)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def flaws(self) -> set[Deviation]:
        return self._store.flaws

    def create_bucket(self, name: str) -> None:
        self._store.buckets.setdefault(name, {})

    @property
    def clock(self) -> float:
        """How many seconds the server's clock, in Date and Last-Modified, is ahead of this machine's."""
        return self._store.clock

    @clock.setter
    def clock(self, seconds: float) -> None:
        self._store.clock = seconds

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        try:
            if self.limiter is not None and not self.limiter(request.method, request.path):
                raise RefusedError(429, "TooManyRequests", "Reduce your concurrent request rate for the same object")
            response = self._respond(request)
        except RefusedError as refusal:
            response = refusal.response()
        response.headers["Date"] = format_date_time(self._store.now())
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        bucket, _, key = request.path.removeprefix("/").partition("/")
        respond = (_OBJECT_CALLS if key else _BUCKET_CALLS).get(request.method, _refuse)
        if Deviation.ETAGS_LACK_QUOTES not in self.flaws:
            return respond(_Call(self._store, request, bucket, key))
        conditions = map(request.headers.get, ("If-Match", "x-amz-copy-source-if-match"))
        if any(etag is not None and not etag.startswith('"') for etag in conditions):
            raise precondition_failed()
        response = respond(_Call(self._store, request, bucket, key))
        if "ETag" in response.headers:
            response.headers["ETag"] = response.headers["ETag"].strip('"')
        return response


_Bucket = dict[str, StoredObject]


@dataclass(slots=True)
class _Store:
    """The buckets, and the state of the deviations."""

    flaws: set[Deviation]
    clock: float = 0.0
    buckets: dict[str, _Bucket] = field(default_factory=dict)
    writes: count[int] = field(default_factory=count)
    losers: count[int] = field(default_factory=count)

    def now(self) -> float:
        return time.time() + self.clock

    def bucket(self, name: str) -> _Bucket:
        if name not in self.buckets:
            raise RefusedError(404, "NoSuchBucket", "The specified bucket does not exist")
        return self.buckets[name]


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, and the object that it addresses."""

    store: _Store
    request: Request
    bucket: str
    key: str

    @property
    def objects(self) -> _Bucket:
        return self.store.bucket(self.bucket)

    @property
    def found(self) -> StoredObject | None:
        return self.objects.get(self.key)

    def suffers(self, flaw: Deviation) -> bool:
        return flaw in self.store.flaws

    def condition(self, header: str, ignored_by: Deviation) -> str | None:
        return None if self.suffers(ignored_by) else self.request.headers.get(header)

    def require_match(self, etag: str) -> None:
        if self.found is None and not self.suffers(Deviation.MISSING_IS_412):
            raise no_such_key()
        if self.found is None or not self.found.matches(etag):
            raise precondition_failed()

    def write(self, body: bytes) -> StoredObject:
        salt = str(next(self.store.writes)).encode() if self.suffers(Deviation.PUT_CHANGES_ETAG) else b""
        etag = hashlib.md5(body + salt, usedforsecurity=False).hexdigest()
        written = self.objects[self.key] = StoredObject(body, f'"{etag}"', self.store.now())
        return written


def _get(call: _Call) -> Response:
    found, headers = call.found, call.request.headers
    if found is None:
        raise no_such_key()
    if found.matches(headers.get("If-None-Match", "")):
        return Response(status=304, headers=found.headers())
    if "Range" not in headers:
        return Response(found.body, headers=found.headers(), content_type=_CONTENT_TYPE)
    start, end = byte_range(headers["Range"], len(found.body))
    ranged = {**found.headers(), "Content-Range": f"bytes {start}-{end - 1}/{len(found.body)}"}
    return Response(found.body[start:end], 206, ranged, content_type=_CONTENT_TYPE)


def _put(call: _Call) -> Response:
    if "x-amz-copy-source" in call.request.headers:
        return _copy(call)
    if call.suffers(Deviation.PUT_REFUSES_CONDITIONS) and {"If-Match", "If-None-Match"} & set(
        call.request.headers.keys()
    ):
        return _refuse(call)
    try:
        _require_for_put(call)
    except RefusedError as refusal:
        if refusal.status == 412 and _gets_500(call):
            raise RefusedError(500, "InternalError", "We encountered an internal error") from refusal
        raise
    written = call.write(call.request.get_data())
    if call.suffers(Deviation.THROTTLED_IS_APPLIED) and next(call.store.losers) % 2:
        raise RefusedError(429, "TooManyRequests", "Reduce your request rate")
    return Response(headers={"ETag": written.etag})


def _gets_500(call: _Call) -> bool:
    return call.suffers(Deviation.PUT_LOSER_GETS_500) and next(call.store.losers) % 2 == 0


def _require_for_put(call: _Call) -> None:
    if call.found and call.condition("If-None-Match", Deviation.PUT_IGNORES_IF_NONE_MATCH):
        raise precondition_failed()
    if etag := call.condition("If-Match", Deviation.PUT_IGNORES_IF_MATCH):
        call.require_match(etag)
        if '"' in etag and call.suffers(Deviation.PUT_WANTS_BARE_ETAG):
            raise precondition_failed()


def _copy(call: _Call) -> Response:
    if call.suffers(Deviation.COPY_REFUSED):
        return _refuse(call)
    _require_for_copy(call)
    source = _source(call)
    replaces = call.request.headers.get("x-amz-metadata-directive") == "REPLACE"
    if (source.bucket, source.key) == (call.bucket, call.key) and not replaces:
        raise RefusedError(400, "InvalidRequest", "A copy of an object onto itself must change something")
    if source.found is None:
        raise no_such_key()
    written = call.write(source.found.body)
    if call.suffers(Deviation.COPY_WITHOUT_ETAG):
        return xml("CopyObjectResult")
    return xml("CopyObjectResult", element("ETag", written.etag), last_modified(written.modified))


def _source(call: _Call) -> _Call:
    bucket, _, key = unquote(call.request.headers["x-amz-copy-source"]).removeprefix("/").partition("/")
    return replace(call, bucket=bucket, key=key)


def _require_for_copy(call: _Call) -> None:
    if etag := call.condition("x-amz-copy-source-if-match", Deviation.COPY_IGNORES_SOURCE_IF_MATCH):
        _source(call).require_match(etag)
    if call.found and call.condition("If-None-Match", Deviation.COPY_IGNORES_IF_MATCH):
        raise precondition_failed()
    if etag := call.condition("If-Match", Deviation.COPY_IGNORES_IF_MATCH):
        call.require_match(etag)


def _delete(call: _Call) -> Response:
    if "If-Match" in call.request.headers and call.suffers(Deviation.DELETE_REFUSES_IF_MATCH):
        return _refuse(call)
    excused = call.found is None and call.suffers(Deviation.DELETE_MISSING_IS_204)
    if not excused and (etag := call.condition("If-Match", Deviation.DELETE_IGNORES_IF_MATCH)):
        call.require_match(etag)
    call.objects.pop(call.key, None)
    return Response(status=204)


def _delete_many(call: _Call) -> Response:
    if "delete" not in call.request.args:
        return _refuse(call)
    named = ElementTree.fromstring(call.request.get_data()).iterfind("{*}Object/{*}Key")
    keys = [element.text or "" for element in named]
    for key in keys:
        call.objects.pop(key, None)
    return xml("DeleteResult", *(element("Deleted", element("Key", escape(key))) for key in keys))


def _list(call: _Call) -> Response:
    parameters = call.request.args
    if parameters.get("list-type") != "2":
        return _refuse(call)
    if "start-after" in parameters and call.suffers(Deviation.LIST_REFUSES_START_AFTER):
        return _refuse(call)
    keys = _listed_names(call)
    page = keys[: min(_LARGEST_PAGE, int(parameters.get("max-keys", _LARGEST_PAGE)))]
    more = page and len(page) < len(keys)
    return xml(
        "ListBucketResult",
        element("IsTruncated", "true" if more else "false"),
        element("KeyCount", str(len(page))),
        element("EncodingType", "url") if _is_encoded(call) else "",
        element("NextContinuationToken", quote(page[-1], safe="")) if more else "",
        *(_contents(call, key) if key in call.objects else _common_prefix(call, key) for key in page),
    )


def _is_encoded(call: _Call) -> bool:
    return call.request.args.get("encoding-type") == "url"


def _listed_names(call: _Call) -> list[str]:
    """The names of objects, and with a delimiter the common prefixes of what is deeper."""
    parameters = call.request.args
    prefix, token = parameters.get("prefix", ""), unquote(parameters.get("continuation-token", ""))
    after = "" if call.suffers(Deviation.LIST_IGNORES_START_AFTER) else parameters.get("start-after", "")
    names = {key for key in call.objects if key.startswith(prefix) and key > after}
    if delimiter := parameters.get("delimiter", ""):
        cuts = ((name, name.find(delimiter, len(prefix))) for name in names)
        names = {name if cut < 0 else name[: cut + len(delimiter)] for name, cut in cuts}
    return sorted(
        (name for name in names if not token or _place(call, name) > _place(call, token)),
        key=lambda name: _place(call, name),
    )


def _place(call: _Call, name: str) -> str:
    shuffled = call.suffers(Deviation.LIST_HAS_NO_ORDER)
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest() if shuffled else name


def _written(call: _Call, name: str) -> str:
    return quote(name) if _is_encoded(call) else escape(name)


def _common_prefix(call: _Call, name: str) -> str:
    return element("CommonPrefixes", element("Prefix", _written(call, name)))


def _contents(call: _Call, key: str) -> str:
    listed = call.objects[key]
    written = _written(call, key)
    about = (last_modified(listed.modified), element("ETag", listed.etag), element("Size", str(len(listed.body))))
    return element("Contents", element("Key", written), *about)


def _create_bucket(call: _Call) -> Response:
    call.store.buckets.setdefault(call.bucket, {})
    return Response()


def _head_bucket(call: _Call) -> Response:
    call.store.bucket(call.bucket)
    return Response()


def _refuse(call: _Call) -> Response:
    raise RefusedError(501, "NotImplemented", f"{call.request.method} with these headers is not implemented")


_OBJECT_CALLS = {"GET": _get, "HEAD": _get, "PUT": _put, "DELETE": _delete}
_BUCKET_CALLS = {"GET": _list, "HEAD": _head_bucket, "PUT": _create_bucket, "POST": _delete_many}
