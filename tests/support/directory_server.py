"""A directory bucket (S3 Express One Zone) in memory, as AWS documents it.

    with DirectoryServer() as server:
        server.create_bucket("tests--use1-az4--x-s3")
        client = boto3.client("s3", endpoint_url=server.url, ...)

It checks signatures, gives out sessions that expire, lists without order, and refuses what directory buckets refuse.
Each refusal names its source: a page of the Amazon S3 API Reference (API_*) or User Guide, or a public report. What no
source says is a choice of this server, and its comment says so. One address stands for the Zonal and the Regional
endpoint; behind `ZonalFront` they have the names of AWS.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, quote, unquote
from wsgiref.handlers import format_date_time
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from werkzeug.wrappers import Request, Response

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
from .sigv4 import check_signature, parse_authorization
from .wsgi_server import AtomicServer

if TYPE_CHECKING:
    from typing import Self

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = ["DirectoryServer", "Principal"]

SessionMode = Literal["ReadWrite", "ReadOnly"]
_SESSION_SECONDS = 300.0  # API_CreateSession: "expire after 5 minutes"
_PAGE = 1000
_ZONAL_HOST = re.compile(r"(?P<bucket>[a-z0-9.-]+)\.s3express-(?P<zone>[a-z0-9-]+)\.[a-z0-9-]+\.amazonaws\.com(:443)?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]*--(?P<zone>[a-z0-9]+(-[a-z0-9]+)+)--xa?-s3")
_CHUNK = re.compile(rb"([0-9a-f]+)(?:;[^\r]*)?\r\n")

_UNSUPPORTED_HEADERS = re.compile(
    # API_PutObject, API_CopyObject: "This functionality is not supported for directory buckets."
    "x-amz-(acl|grant-.*|tagging|object-lock-.*|website-redirect-location|mfa|bypass-governance-retention"
    "|server-side-encryption-customer-.*|copy-source-server-side-encryption-customer-.*"
    # API_ListObjectsV2: likewise.
    "|request-payer|optional-object-attributes)"
)
_REGIONAL_ONLY = frozenset({"lifecycle", "policy", "encryption"})
_UNSUPPORTED_OPERATIONS = frozenset(
    # API_GetBucketVersioning and the pages of the others: "This operation is not supported for directory buckets."
    {"accelerate", "acl", "analytics", "cors", "inventory", "intelligent-tiering", "legal-hold", "location", "logging"}
    | {"metrics", "notification", "object-lock", "ownershipControls", "policyStatus", "publicAccessBlock"}
    | {"replication", "requestPayment", "restore", "retention", "select", "tagging", "torrent", "versioning"}
    | {"versions", "website"}
)
_ETAG_CHECK = ("If-Match", "x-amz-copy-source-if-match")


@dataclass(frozen=True, slots=True)
class Principal:
    """Long-term credentials, and the sessions that their policy allows; None for none."""

    access_key: str = "tests-access-key"
    secret_key: str = "tests-secret-key"
    mode: SessionMode | None = "ReadWrite"
    token: str | None = None


@dataclass(frozen=True, slots=True)
class _Session:
    bucket: str
    secret_key: str
    access_key: str
    mode: SessionMode
    expires: float


class _Object(StoredObject):
    __slots__ = ()

    def headers(self) -> dict[str, str]:
        # API_GetObject: "Directory buckets only support EXPRESS_ONEZONE … in Availability Zones".
        return {**StoredObject.headers(self), "x-amz-storage-class": "EXPRESS_ONEZONE"}


@dataclass(slots=True)
class _Bucket:
    objects: dict[str, _Object] = field(default_factory=dict)
    lifecycle: str | None = None
    policy: str | None = None
    encryption: str = "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>" + (
        "</ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled>"
    )


class DirectoryServer(AtomicServer):
    """The server, on a free port of 127.0.0.1. Its attributes may be changed while it runs.

    Args:
        session_seconds: How long a session lasts.
        principals: Whose long-term credentials are known.
    """

    def __init__(
        self, *, session_seconds: float = _SESSION_SECONDS, principals: Iterable[Principal] = (Principal(),)
    ) -> None:
        self.session_seconds = session_seconds
        self.principals = {principal.access_key: principal for principal in principals}
        self.clock = 0.0
        """How many seconds the server's clock, in Date and Last-Modified, is ahead of this machine's."""
        self.buckets: dict[str, _Bucket] = {}
        self.sessions: dict[str, _Session] = {}
        """All sessions that were created, by their tokens."""
        self.before: Callable[[_Call], None] = lambda _: None
        """Called with each request, before it is checked; may raise `RefusedError`."""
        super().__init__(self._serve)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def create_bucket(self, name: str) -> None:
        self.buckets[name] = _Bucket()

    def put(self, bucket: str, key: str, body: bytes) -> str:
        """Write an object without a request, and return its ETag."""
        # User Guide, s3-express-differences: "Entity tags (ETags) for directory buckets are random alphanumeric strings
        # unique to the object and not MD5 checksums."
        written = _Object(body, f'"{secrets.token_hex(16)}"', self.now())
        self.buckets[bucket].objects[key] = written
        return written.etag

    def now(self) -> float:
        return time.time() + self.clock

    def expire_sessions(self) -> None:
        """Expire all sessions."""
        self.sessions = {token: replace(session, expires=0.0) for token, session in self.sessions.items()}

    def forget_sessions(self) -> None:
        self.sessions = {}

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            response = self._respond(_call_of(self, environ))
        except RefusedError as refusal:
            response = refusal.response()
        response.headers["Date"] = format_date_time(self.now())
        return response(environ, start_response)

    def _respond(self, call: _Call) -> Response:
        self.before(call)
        respond = _operation(call)
        _authenticate(call, respond)
        _refuse_headers(call)
        return respond(replace(call, body=_decoded_body(call)))


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, and the object that it addresses."""

    server: DirectoryServer
    method: str
    target: str
    bucket_name: str
    key: str
    is_zonal_host: bool
    headers: dict[str, str]
    """Names are in lower case."""
    query: dict[str, str]
    body: bytes

    @property
    def bucket(self) -> _Bucket:
        if self.bucket_name not in self.server.buckets:
            raise RefusedError(404, "NoSuchBucket", "The specified bucket does not exist")
        return self.server.buckets[self.bucket_name]

    @property
    def objects(self) -> dict[str, _Object]:
        return self.bucket.objects

    @property
    def found(self) -> _Object | None:
        return self.objects.get(self.key)

    def require_match(self, etag: str) -> None:
        if self.found is None:
            raise no_such_key()
        if not self.found.matches(etag):
            raise precondition_failed()

    def write(self, body: bytes) -> _Object:
        assert self.bucket is not None
        self.server.put(self.bucket_name, self.key, body)
        return self.objects[self.key]


def _call_of(server: DirectoryServer, environ: WSGIEnvironment) -> _Call:
    request = Request(environ)
    target = environ["RAW_URI"]
    path, _, query = target.partition("?")
    host = request.headers.get("Host", "")
    zonal = _ZONAL_HOST.fullmatch(host)
    if zonal is not None:
        bucket, key = zonal["bucket"], path[1:]
        if _zone(bucket) != zonal["zone"]:
            # API_CreateSession: "The HTTP Host header syntax is Bucket-name.s3express-zone-id.region-code…".
            raise RefusedError(404, "NoSuchBucket", "The specified bucket does not exist")
    else:
        bucket, _, key = path[1:].partition("/")
    headers = {name.lower(): value for name, value in request.headers.items()}
    arguments = dict(parse_qsl(query, keep_blank_values=True))
    return _Call(
        server, request.method, target, bucket, unquote(key), zonal is not None, headers, arguments, request.get_data()
    )


def _zone(bucket: str) -> str | None:
    # User Guide, directory-bucket-naming-rules: base name, zone id, "--x-s3"; access points end with "--xa-s3".
    match = _BUCKET.fullmatch(bucket)
    return None if match is None else match["zone"]


def _operation(call: _Call) -> Callable[[_Call], Response]:
    for name in call.query.keys() & _UNSUPPORTED_OPERATIONS:
        # That the status is 501 is a choice: the pages say only that the operation is not supported.
        raise _not_implemented(f"The operation {call.method} ?{name} is not supported for directory buckets")
    for name in call.query.keys() & _REGIONAL_ONLY:
        if call.is_zonal_host:
            # API_PutBucketPolicy: "you must make requests for this API operation to the Regional endpoint".
            raise RefusedError(400, "InvalidRequest", f"?{name} belongs to the Regional endpoint")
        return _REGIONAL[call.method, name]
    if call.key:
        if "x-amz-copy-source" in call.headers:
            return _copy
        return _OBJECT.get(call.method, _refuse)
    if "session" in call.query:
        return _create_session
    if call.method == "POST":
        return _delete_many if "delete" in call.query else _refuse
    return _ON_BUCKET.get(call.method, _refuse)


def _authenticate(call: _Call, respond: Callable[[_Call], Response]) -> None:
    """Check who signed the request, and that the kind of credentials is the one that the operation takes."""
    signed = parse_authorization(call.headers.get("authorization"))
    token = call.headers.get("x-amz-s3session-token")
    # API_CopyObject, API_HeadBucket, API_CreateSession: "You must use the IAM credentials"; the Regional endpoint knows
    # no sessions. botocore signs HeadBucket, and on custom endpoints all that is Regional, with a session nevertheless.
    takes_session = respond in _WITH_SESSION
    if token is None:
        if takes_session:
            # API_PutObject recommends sessions; that nothing else is accepted is a choice.
            raise RefusedError(403, "AccessDenied", "Access Denied: this request takes the credentials of a session")
        secret = _check_principal(call, signed.access_key, respond)
    elif takes_session or respond in _WITH_EITHER:
        secret = _check_session(call, token, signed.access_key, respond)
    else:
        raise RefusedError(403, "AccessDenied", "Access Denied: this request takes IAM credentials")
    if signed.service != "s3express" and not (token and signed.service == "s3"):
        # botocore signs for the service s3express; object_store, which works on AWS too (apache/arrow-rs#5268), signs
        # requests of a session for s3.
        raise RefusedError(400, "AuthorizationHeaderMalformed", f"incorrect service {signed.service!r}")
    check_signature(signed, secret, call.method, call.target, call.headers, call.body, call.server.now())


def _check_principal(call: _Call, access_key: str, respond: Callable[[_Call], Response]) -> str:
    principal = call.server.principals.get(access_key)
    if principal is None:
        raise RefusedError(403, "InvalidAccessKeyId", "The AWS access key Id you provided does not exist")
    if principal.token != call.headers.get("x-amz-security-token"):
        raise RefusedError(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
    if principal.mode is None or (principal.mode == "ReadOnly" and respond is _copy):
        # API_CopyObject: the copy's destination takes s3express:CreateSession without the condition ReadOnly.
        raise _denied(call)
    return principal.secret_key


def _denied(call: _Call) -> RefusedError:
    return RefusedError(
        403,
        "AccessDenied",
        "User: arn:aws:iam::123456789012:user/tests is not authorized to perform: s3express:CreateSession on resource: "
        f"arn:aws:s3express:us-east-1:123456789012:bucket/{call.bucket_name} because no identity-based policy allows "
        "the s3express:CreateSession action",
    )


def _check_session(call: _Call, token: str, access_key: str, respond: Callable[[_Call], Response]) -> str:
    session = call.server.sessions.get(token)
    if session is None or session.bucket != call.bucket_name or session.access_key != access_key:
        # User Guide, ErrorResponses: InvalidToken is 400.
        raise RefusedError(400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
    if session.expires <= call.server.now():
        # Likewise ExpiredToken, 400.
        raise RefusedError(400, "ExpiredToken", "The provided token has expired.")
    if session.mode == "ReadOnly" and respond not in (_get, _list, _head_bucket):
        # API_CreateSession: "A ReadOnly session is constrained to … GetObject, HeadObject, ListObjectsV2, …".
        raise RefusedError(403, "AccessDenied", "Access Denied")
    return session.secret_key


def _refuse_headers(call: _Call) -> None:
    for name, value in call.headers.items():
        if _UNSUPPORTED_HEADERS.fullmatch(name) and value:
            # The pages of other parameters, "the request fails with the HTTP status code 501 Not Implemented", and
            # API_CopyObject on tags.
            raise _not_implemented(f"{name} implies functionality that is not supported for directory buckets")
    if "content-md5" in call.headers and "delete" not in call.query:
        # API_PutObject; ByConity/ByConity#1798, TileDB-Inc/TileDB#5226, archiecobbs/s3backer#231. API_DeleteObjects
        # alone accepts it.
        raise _not_implemented("This bucket does not support Content Md5 header")
    if call.headers.get("x-amz-storage-class", "EXPRESS_ONEZONE") != "EXPRESS_ONEZONE":
        # API_PutObject. The code of the error is a choice.
        raise RefusedError(400, "InvalidStorageClass", "Directory buckets only support EXPRESS_ONEZONE")
    if call.query.keys() & _REGIONAL_ONLY and "x-amz-expected-bucket-owner" in call.headers:
        # API_PutBucketPolicy: "If you specify this header, the request fails with the HTTP status code 501".
        raise _not_implemented("x-amz-expected-bucket-owner is not supported in this API operation")
    encryption = call.headers.get("x-amz-server-side-encryption")
    if encryption is not None and call.method == "PUT" and "x-amz-copy-source" not in call.headers:
        # API_CreateSession: requests cannot override the encryption of the session.
        raise RefusedError(400, "InvalidRequest", "The encryption of the session cannot be overridden")


def _decoded_body(call: _Call) -> bytes:
    """Return the body, without the frames of aws-chunked, after a check of its checksums."""
    body, checks = call.body, dict(call.headers)
    if "aws-chunked" in call.headers.get("content-encoding", ""):
        body, trailer = _unchunked(call.body)
        checks.update(trailer)
    for name, digest in (
        ("x-amz-checksum-crc32", zlib.crc32(body).to_bytes(4, "big")),
        ("x-amz-checksum-sha256", hashlib.sha256(body).digest()),
        ("content-md5", hashlib.md5(body, usedforsecurity=False).digest()),
    ):
        if name in checks and base64.b64decode(checks[name]) != digest:
            raise RefusedError(400, "BadDigest", f"The {name} you specified did not match what we received")
    return body


def _unchunked(framed: bytes) -> tuple[bytes, dict[str, str]]:
    parts, position = [], 0
    while (match := _CHUNK.match(framed, position)) is not None:
        size = int(match[1], 16)
        parts.append(framed[match.end() : match.end() + size])
        if not size:
            break
        position = match.end() + size + 2
    lines = framed[match.end() if match else len(framed) :].decode().split("\r\n")
    return b"".join(parts), {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _create_session(call: _Call) -> Response:
    bucket, server = call.bucket_name, call.server
    assert call.bucket is not None
    principal = server.principals[parse_authorization(call.headers["authorization"]).access_key]
    assert principal.mode is not None
    # API_CreateSession: "By default, a ReadWrite session is created", also for those who may only read
    # (awslabs/mountpoint-s3#1076).
    mode = call.headers.get("x-amz-create-session-mode", "ReadWrite")
    if mode == "ReadWrite" and principal.mode == "ReadOnly":
        raise _denied(call)
    token = secrets.token_urlsafe(48)
    access_key, secret_key = f"ASIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30)
    expires = server.now() + server.session_seconds
    kind: SessionMode = "ReadOnly" if mode == "ReadOnly" else "ReadWrite"
    server.sessions[token] = _Session(bucket, secret_key, access_key, kind, expires)
    return xml(
        "CreateSessionResult",
        element(
            "Credentials",
            element("SessionToken", token),
            element("SecretAccessKey", secret_key),
            element("AccessKeyId", access_key),
            element("Expiration", f"{datetime.fromtimestamp(expires, UTC):%Y-%m-%dT%H:%M:%SZ}"),
        ),
    )


def _get(call: _Call) -> Response:
    found = call.found
    if found is None:
        raise no_such_key()
    if "if-match" in call.headers and not found.matches(call.headers["if-match"]):
        raise precondition_failed()
    if found.matches(call.headers.get("if-none-match", "")):
        return Response(status=304, headers=found.headers())
    if "range" not in call.headers:
        return Response(found.body, headers=found.headers(), content_type="binary/octet-stream")
    start, end = byte_range(call.headers["range"], len(found.body))
    headers = {**found.headers(), "Content-Range": f"bytes {start}-{end - 1}/{len(found.body)}"}
    return Response(found.body[start:end], 206, headers, content_type="binary/octet-stream")


def _put(call: _Call) -> Response:
    _check_conditions(call)
    return Response(headers={"ETag": call.write(call.body).etag})


def _check_conditions(call: _Call) -> None:
    if call.headers.get("if-none-match", "*") != "*":
        # API_PutObject: "Expects the '*' (asterisk) character."
        raise _not_implemented("If-None-Match accepts * alone")
    if "if-none-match" in call.headers and call.found is not None:
        raise precondition_failed()
    if "if-match" in call.headers:
        call.require_match(call.headers["if-match"])


def _copy(call: _Call) -> Response:
    if call.body:
        raise RefusedError(400, "InvalidRequest", "A copy has no body")
    bucket, _, key = unquote(call.headers["x-amz-copy-source"]).removeprefix("/").partition("/")
    source = replace(call, bucket_name=bucket, key=key)
    if "x-amz-copy-source-if-match" in call.headers:
        source.require_match(call.headers["x-amz-copy-source-if-match"])
    _check_conditions(call)
    if (bucket, key) == (call.bucket_name, call.key) and call.headers.get("x-amz-metadata-directive") != "REPLACE":
        raise RefusedError(400, "InvalidRequest", "This copy request is illegal: it changes nothing")
    if source.found is None:
        raise no_such_key()
    written = call.write(source.found.body)
    return xml("CopyObjectResult", element("ETag", written.etag), last_modified(written.modified))


def _delete(call: _Call) -> Response:
    if "if-match" in call.headers:
        call.require_match(call.headers["if-match"])
    call.objects.pop(call.key, None)
    return Response(status=204)


def _delete_many(call: _Call) -> Response:
    if not any(name == "content-md5" or name.startswith("x-amz-checksum-") for name in call.headers):
        # API_DeleteObjects: "The Content-MD5 request header or a additional checksum request header … is required".
        raise RefusedError(400, "InvalidRequest", "Missing required header for this request: Content-MD5")
    document = ElementTree.fromstring(call.body)
    is_quiet = document.findtext("{*}Quiet") == "true"
    results = [_delete_one(call, item) for item in document.iterfind("{*}Object")]
    return xml("DeleteResult", *(text for text, failed in results if failed or not is_quiet))


def _delete_one(call: _Call, item: ElementTree.Element) -> tuple[str, bool]:
    key, etag = item.findtext("{*}Key") or "", item.findtext("{*}ETag")
    found = call.objects.get(key)
    named = element("Key", escape(key))
    if etag is not None and (found is None or not found.matches(etag)):
        # ministackorg/ministack#1501 measured "412 Precondition Failed" on AWS, where other buckets have a code.
        code = "NoSuchKey" if found is None else "412 Precondition Failed"
        return element("Error", named, element("Code", code), element("Message", "")), True
    call.objects.pop(key, None)
    return element("Deleted", named), False


def _list(call: _Call) -> Response:
    query = call.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    if query.get("list-type") != "2":
        # API_ListObjects: "This operation is not supported for directory buckets."
        raise _not_implemented("ListObjects is not supported for directory buckets")
    if delimiter not in ("", "/"):
        # API_ListObjectsV2: "/ is the only supported delimiter."
        raise RefusedError(400, "InvalidRequest", "This bucket supports the delimiter / only")
    if prefix and not prefix.endswith("/"):
        # The text is that of awslabs/aws-s3-transfer-manager-rs#112.
        raise RefusedError(
            400,
            "InvalidRequest",
            "This bucket does not support a prefix that does not end in a delimiter. Specify a prefix path ending with "
            "a delimiter and try again.",
        )
    if "start-after" in query:
        # API_ListObjectsV2: "This functionality is not supported for directory buckets." The status is a choice.
        raise _not_implemented("start-after is not supported for directory buckets")
    limit = min(_PAGE, int(query.get("max-keys", _PAGE)))
    items = list(islice(_listed(call, prefix, delimiter, query.get("continuation-token", "")), limit + 1))
    page, is_encoded = items[:limit], query.get("encoding-type") == "url"
    # Tokens are opaque: the position in this server's order, with what they were given for.
    more = len(items) > limit
    return xml(
        "ListBucketResult",
        element("IsTruncated", "true" if more else "false"),
        element("KeyCount", str(len(page))),
        element("EncodingType", "url") if is_encoded else "",
        element("NextContinuationToken", _token(prefix, page[-1][0])) if more and page else "",
        *(_listed_item(call, name, is_encoded) for _, name in page),
    )


def _listed(call: _Call, prefix: str, delimiter: str, token: str) -> Iterator[tuple[str, str]]:
    """Yield positions and names of what is listed after the token, without lexicographical order.

    API_ListObjectsV2: "For directory buckets, ListObjectsV2 does not return objects in lexicographical order."
    """
    names = set()
    for key in call.objects:
        if key.startswith(prefix):
            head, found, _ = key[len(prefix) :].partition("/")
            names.add(f"{prefix}{head}/" if delimiter and found else key)
    after = _position_of(prefix, token) if token else ""
    positions = sorted((hashlib.sha256(name.encode()).hexdigest(), name) for name in names)
    return (item for item in positions if item[0] > after)


def _token(prefix: str, position: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([prefix, position]).encode()).decode()


def _position_of(prefix: str, token: str) -> str:
    with suppress(ValueError):
        given_for, position = json.loads(base64.urlsafe_b64decode(token))
        if given_for == prefix:
            return str(position)
    raise RefusedError(400, "InvalidArgument", "The continuation token provided is incorrect")


def _listed_item(call: _Call, name: str, is_encoded: bool) -> str:
    written = quote(name) if is_encoded else escape(name)
    if name.endswith("/"):
        return element("CommonPrefixes", element("Prefix", written))
    listed = call.objects[name]
    about = element("ETag", listed.etag), element("Size", str(len(listed.body)))
    return element(
        "Contents",
        element("Key", written),
        last_modified(listed.modified),
        *about,
        element("StorageClass", "EXPRESS_ONEZONE"),
    )


def _head_bucket(call: _Call) -> Response:
    assert call.bucket is not None
    zone = _zone(call.bucket_name)
    # API_HeadBucket: the response headers of directory buckets.
    return Response(
        headers={
            "x-amz-bucket-arn": f"arn:aws:s3express:us-east-1:123456789012:bucket/{call.bucket_name}",
            "x-amz-bucket-location-type": "AvailabilityZone",
            "x-amz-bucket-location-name": zone or "",
        }
    )


def _create_bucket(call: _Call) -> Response:
    document = ElementTree.fromstring(call.body) if call.body else ElementTree.Element("none")
    wanted = {
        "{*}Location/{*}Name": _zone(call.bucket_name),
        "{*}Location/{*}Type": "AvailabilityZone",
        "{*}Bucket/{*}DataRedundancy": "SingleAvailabilityZone",
        "{*}Bucket/{*}Type": "Directory",
    }
    if any(document.findtext(path) != value for path, value in wanted.items()):
        # API_CreateBucket; without them: aws-controllers-k8s/community#2658.
        raise RefusedError(
            400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our schema"
        )
    if call.bucket_name in call.server.buckets:
        raise RefusedError(409, "BucketAlreadyOwnedByYou", "Your previous request to create the bucket succeeded")
    call.server.create_bucket(call.bucket_name)
    return Response(headers={"Location": f"/{call.bucket_name}"})


def _get_lifecycle(call: _Call) -> Response:
    if call.bucket.lifecycle is None:
        raise RefusedError(404, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
    return xml("LifecycleConfiguration", call.bucket.lifecycle)


_RULE_ELEMENTS = frozenset(
    # User Guide, directory-buckets-objects-lifecycle: expiration by days and the abortion of multipart uploads, for a
    # prefix and sizes. Neither transitions nor versions, dates and tags.
    {"Rule", "ID", "Status", "Filter", "And", "Prefix", "ObjectSizeGreaterThan", "ObjectSizeLessThan", "Expiration"}
    | {"Days", "AbortIncompleteMultipartUpload", "DaysAfterInitiation"}
)


def _put_lifecycle(call: _Call) -> Response:
    document = ElementTree.fromstring(call.body)
    for item in document.iter():
        name = item.tag.rpartition("}")[2]
        if name not in _RULE_ELEMENTS and item is not document:
            # API_PutBucketLifecycleConfiguration: "only support expiring objects and cancelling multipart uploads".
            # The status is a choice.
            raise _not_implemented(f"{name} is not supported in lifecycle configurations of directory buckets")
    if "x-amz-transition-default-minimum-object-size" in call.headers:
        # API_PutBucketLifecycleConfiguration: "not supported for directory bucket lifecycle configurations".
        raise _not_implemented("x-amz-transition-default-minimum-object-size")
    for item in document.iter():
        item.tag = item.tag.rpartition("}")[2]
    call.bucket.lifecycle = "".join(ElementTree.tostring(rule, encoding="unicode") for rule in document)
    return Response()


def _delete_lifecycle(call: _Call) -> Response:
    call.bucket.lifecycle = None
    return Response(status=204)


def _get_policy(call: _Call) -> Response:
    if call.bucket.policy is None:
        raise RefusedError(404, "NoSuchBucketPolicy", "The bucket policy does not exist")
    return Response(call.bucket.policy, content_type="application/json")


def _put_policy(call: _Call) -> Response:
    statements = json.loads(call.body)["Statement"]
    actions = [statement["Action"] for statement in statements]
    if any(action not in ("s3express:CreateSession", ["s3express:CreateSession"]) for action in actions):
        # API_PutBucketPolicy: "the only IAM action supported in the bucket policy is s3express:CreateSession".
        raise RefusedError(400, "MalformedPolicy", "Policy has invalid action")
    call.bucket.policy = call.body.decode()
    return Response(status=204)


def _delete_policy(call: _Call) -> Response:
    call.bucket.policy = None
    return Response(status=204)


def _get_encryption(call: _Call) -> Response:
    return xml("ServerSideEncryptionConfiguration", element("Rule", call.bucket.encryption))


def _put_encryption(call: _Call) -> Response:
    algorithm = ElementTree.fromstring(call.body).findtext(".//{*}SSEAlgorithm")
    if algorithm not in ("AES256", "aws:kms"):
        # API_PutBucketEncryption: SSE-S3 and SSE-KMS alone.
        raise RefusedError(400, "InvalidRequest", f"{algorithm} is not supported for directory buckets")
    default = element("ApplyServerSideEncryptionByDefault", element("SSEAlgorithm", algorithm))
    call.bucket.encryption = default + element("BucketKeyEnabled", "true")
    return Response()


def _not_implemented(message: str) -> RefusedError:
    return RefusedError(501, "NotImplemented", message)


def _refuse(call: _Call) -> Response:
    # Multipart uploads and RenameObject exist on AWS; this server leaves them out.
    raise _not_implemented(f"{call.method} {call.target} is not implemented")


_OBJECT = {"GET": _get, "HEAD": _get, "PUT": _put, "DELETE": _delete}
_ON_BUCKET = {"GET": _list, "HEAD": _head_bucket, "PUT": _create_bucket}
_REGIONAL = {
    ("GET", "lifecycle"): _get_lifecycle,
    ("PUT", "lifecycle"): _put_lifecycle,
    ("DELETE", "lifecycle"): _delete_lifecycle,
    ("GET", "policy"): _get_policy,
    ("PUT", "policy"): _put_policy,
    ("DELETE", "policy"): _delete_policy,
    ("GET", "encryption"): _get_encryption,
    ("PUT", "encryption"): _put_encryption,
}
_WITH_SESSION = frozenset({_get, _put, _delete, _delete_many, _list})
_WITH_EITHER = frozenset({_head_bucket, *_REGIONAL.values()})
