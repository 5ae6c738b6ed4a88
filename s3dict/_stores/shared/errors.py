"""The errors for responses other than 2xx, for every driver."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..._retry import RequestTimeoutError, ThrottledError, UnexpectedResponseError
from ...errors import Error, InvalidError, NotFoundError, UnavailableError, UnsupportedStoreError
from .messages import ExpectedFailure, S3Request
from .validation import zone_of

if TYPE_CHECKING:
    from .connection import Connection

MAX_CODE_LENGTH = 48

_NO_BUCKET_CODES = frozenset(
    {"NoSuchBucket", "NoSuchAccessPoint", "NoSuchMultiRegionAccessPoint", "BucketNotFound", "ContainerNotFound"}
)
_CONFLICT_CODES = frozenset({"ConditionalRequestConflict", "OperationAborted"})
WRONG_ENDPOINT = "IllegalLocationConstraintException"
"""The error of AWS for a request to another region's endpoint, where one of the two regions has to be enabled first."""
_LASTING_CONFLICT_CODES = frozenset({"InvalidBucketState"})
_OBJECT_WRITES = frozenset({"put_object", "copy_object", "delete_object"})
_LOCKED = r"(?i)object lock|\bWORM\b|\bimmutable\b"
_STATUS_OF_CODE = {"PreconditionFailed": 412, **dict.fromkeys(_CONFLICT_CODES, 409)}
_THROTTLING_CODES = frozenset(
    {"SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException", "ThrottledException"}
    | {"RequestThrottled", "RequestThrottledException", "RequestLimitExceeded", "BandwidthLimitExceeded"}
    | {"TooManyRequests", "TooManyRequestsException"}
)
"""Such an S3 error document says that nothing was applied; any other 5xx, with or without Retry-After, does not."""
_TRUST_HINT = "set AWS_CA_BUNDLE or Client(verify=...) to the file of its certificate authority"
_TLS_REASONS = (
    (
        r"(?i:wrong.version.number)|InvalidContentType|corrupt message|record layer",
        "the server does not speak TLS: try http instead of https",
    ),
    (
        r"CaUsedAsEndEntity",
        "the server's certificate is a certificate authority itself (CA:TRUE), which the driver obstore does not "
        "accept: use driver='boto3', or issue a certificate with CA:FALSE",
    ),
    (r"[Ee]xpired", "the server's certificate has expired"),
    (
        r"NotValidForName|[Hh]ostname mismatch|IP address mismatch|doesn't match",
        "the server's certificate is for another host name",
    ),
    (
        r"UnknownIssuer|self.signed|unable to get local issuer|CERTIFICATE_VERIFY_FAILED",
        f"the server's certificate is not trusted: {_TRUST_HINT}",
    ),
)
_IDLE_HINT = ". A directory bucket without a request for 90 days responds 503 for some minutes to the first"
_REASONS_403 = {
    "InvalidObjectState": "the object is archived: restore it, and exclude the prefix from the transition to an "
    "archive (lifecycle rule or Intelligent-Tiering configuration)",
    "QuotaExceeded": "the storage quota is exceeded",
    "XMinioStorageFull": "the store is full",
}
_LOOPBACK_HINT = ". `s3dict dev` starts a local store"
_INCOMPLETE_REQUEST_CODES = frozenset({"RequestTimeout", "IncompleteBody", "BadDigest"})


def classify_status(
    status: int, code: str, message: str, request: S3Request, *, retry_after: float | None = None
) -> ExpectedFailure | Error:
    """Return what a response other than 2xx means: a failure that the protocol expects, or an error."""
    code = safe_error_code(code)
    if status in (404, 405, 501) and not _is_s3_error(code, request):
        return not_s3_error(request, f"it responded {status} without an error of S3")
    if status == 407:
        return UnavailableError(f"{request}: the proxy requires authentication (407)", maybe_applied=False)
    if status == 500 and code in _STATUS_OF_CODE:
        # The status of an error document in a response with status 200, as to a copy.
        status = _STATUS_OF_CODE[code]
    missing = status == 404 and code not in _NO_BUCKET_CODES
    if status in (304, 412, 416) or missing or (status == 409 and _is_conflict(code, message, request)):
        return ExpectedFailure(status, code)
    return error_for_status(status, code, message, request, retry_after=retry_after)


def _is_conflict(code: str, message: str, request: S3Request) -> bool:
    """Return whether a 409 means that another write of the object is in flight, so that this one was not applied.

    Each store has a code of its own for that, and some have none. They also send it where one object is written more
    often than they accept (DataCore Swarm), or where it cannot be written again at all (Hitachi Content Platform).
    """
    if code in _CONFLICT_CODES:
        return True
    is_lasting = code in _LASTING_CONFLICT_CODES or re.search(_LOCKED, message) is not None
    return request.method in _OBJECT_WRITES and not is_lasting


def _is_s3_error(code: str, request: S3Request) -> bool:
    """Return whether the response has an error code of S3. Responses to HEAD have none."""
    return request.operation.startswith("Head") or (bool(code) and not code.isdigit())


def not_s3_error(request: S3Request, reason: str) -> UnexpectedResponseError:
    """Return the error for a response that is not from an S3 server."""
    return UnexpectedResponseError(
        f"{request}: the server at {request.endpoint or 'the endpoint'} does not respond like S3: {reason}. "
        "Is the endpoint right, and is a proxy or gateway in between?"
    )


def connect_error(request: S3Request, reason: str, *, timed_out: bool = False) -> UnavailableError:
    """Return the error for a request that was never sent."""
    error_class = RequestTimeoutError if timed_out else UnavailableError
    # A server that is there but does not answer, or speaks TLS, is not that of `s3dict dev`; nor is a proxy.
    is_local = re.match(r"http://(localhost|127\.|\[::1\])[^ ]* (?!.*\bproxy\b)", f"{request.endpoint} {reason}")
    hint = _LOOPBACK_HINT if is_local and not timed_out and not reason.startswith("TLS: ") else ""
    return error_class(
        f"{request}: cannot connect to the store at {request.endpoint}: {reason}{hint}", maybe_applied=False
    )


def tls_error(request: S3Request, reason: str) -> UnavailableError:
    """Return the error for a failed TLS handshake, after which nothing was sent."""
    from .redaction import redacted

    return connect_error(request, f"TLS: {redacted(tls_reason(reason))}")


def tls_reason(reason: str) -> str:
    """Return what went wrong in a TLS handshake and what to do, from the words of OpenSSL or rustls."""
    for pattern, explanation in _TLS_REASONS:
        if re.search(pattern, reason):
            return explanation
    return reason


def safe_error_code(code: str) -> str:
    """Return an error code of S3's form, such as NoSuchKey; an empty string for anything else."""
    is_valid_name = code[:1].isupper() and not code.isupper() and code.replace(".", "").isalnum()
    return code if (is_valid_name and len(code) <= MAX_CODE_LENGTH) or (code.isdigit() and len(code) == 3) else ""


def error_for_status(
    status: int, code: str, message: str, request: S3Request, *, retry_after: float | None = None
) -> Error:
    """Return the error for a failed request."""
    from .access_denied import CLOCK_ERROR, CREDENTIAL_ERRORS, access_denied_error
    from .redaction import redacted

    if code in _REASONS_403:
        return Error(f"{request}: {status} {code}: {_REASONS_403[code]}")
    response_text = f"{request}: {status} {code} {redacted(message)}".rstrip()
    if status == 429 or _is_throttling_code(code):
        advice = "Retry later, or make fewer requests at a time: all in all, or of this key"
        return ThrottledError(
            f"The store throttled the request. {response_text.removesuffix('.')}. {advice}", retry_after=retry_after
        )
    if re.search(_LOCKED, message):
        return Error(f"{response_text}: Object Lock retains objects in this bucket: use one without default retention")
    if status in (401, 403) or code in CREDENTIAL_ERRORS or code == CLOCK_ERROR:
        return access_denied_error(request, status, code, message)
    if code in _NO_BUCKET_CODES:
        return NotFoundError(
            f"The bucket {request.bucket!r} does not exist at the endpoint {request.endpoint}: create it, or fix "
            f"S3DICT_BUCKET. "
            f"{response_text}"
        )
    if status in (405, 501) or code == "NotImplemented":
        return UnsupportedStoreError(f"The store does not support {_unsupported(request)}. {response_text}")
    if status in (301, 307) or code == WRONG_ENDPOINT:
        return InvalidError(
            f"The bucket {request.bucket!r} is in another region or behind another endpoint than {request.endpoint}: "
            f"set S3DICT_REGION or the endpoint. {response_text}"
        )
    if status >= 500 or status == 408 or code in _INCOMPLETE_REQUEST_CODES:
        is_idle = status == 503 and zone_of(request.bucket) is not None
        return UnavailableError(
            f"The store{request.at_endpoint} failed to respond. {response_text}{_IDLE_HINT if is_idle else ''}"
        )
    return Error(f"The store rejected the request. {response_text}")


def _is_throttling_code(code: str) -> bool:
    """Return whether the code says that a rate is exceeded: SlowDown, or Alibaba's TotalQpsLimitExceeded."""
    is_rate = re.search(r"(?:Qps|Rate|ActiveRequest)LimitExceeded$", code) is not None
    return is_rate or code.rpartition(".")[2] in _THROTTLING_CODES


def _unsupported(request: S3Request) -> str:
    conditions = {"IfMatch", "IfNoneMatch", "CopySourceIfMatch"} & request.parameters.keys()
    writes = request.method in ("put_object", "delete_object", "copy_object")
    return f"conditional writes ({', '.join(sorted(conditions))})" if writes and conditions else "this request"


def listing_error(request: S3Request, failure: ExpectedFailure, endpoint: str) -> Error:
    """Return the error for a listing that was answered as if it were a request of another kind."""
    if failure.status == 404:
        return InvalidError(
            f"{request} failed: {failure}, as a read of an object fails: does the endpoint {endpoint} contain the "
            f"bucket's name? Leave {request.bucket!r} out of its host name and path"
        )
    return UnavailableError(f"{request} failed: {failure}")


def redirect_error(
    connection: Connection, status: int, location: str | None, region: str | None = None
) -> InvalidError:
    """Return the error for a redirect, which is never followed: the other host would receive the credentials."""
    where = connection.settings.where
    if region and region != connection.settings.region:
        return InvalidError(
            f"The bucket {connection.arguments.bucket!r} is in the region {region}, not {connection.settings.region}: "
            f"set S3DICT_REGION={region} or Client(region_name={region!r}). The endpoint is {where}"
        )
    target = re.match(r"https?://[\w.:\[\]-]{1,100}", location or "")
    if target is None:
        return InvalidError(f"The endpoint {where} responded with a redirect ({status}), which is not followed")
    return InvalidError(
        f"The endpoint {where} redirects to {target[0]} ({status}), which is not followed: is that the right endpoint?"
    )


def broken_connection_error(request: S3Request, reason: str) -> UnavailableError:
    """Return the error for a connection that was lost when the request may have been sent."""
    return UnavailableError(f"{request}{request.at_endpoint}: the connection broke: {reason}")


def timeout_error(request: S3Request) -> RequestTimeoutError:
    """Return the error for a request that was sent and got no response, or no further part of it, in time."""
    return RequestTimeoutError(
        f"{request}{request.at_endpoint} timed out. Client(timeout=...) or S3DICT_TIMEOUT sets the read timeout"
    )
