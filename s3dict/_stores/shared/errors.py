"""The errors for responses other than 2xx, for every driver."""

from __future__ import annotations

from ..._retry import RequestTimeoutError, ThrottledError
from ...errors import Error, InvalidError, NotFoundError, UnavailableError, UnsupportedStoreError
from .messages import ExpectedFailure, S3Request

MAX_CODE_LENGTH = 48

_CONFLICT_CODES = frozenset({"ConditionalRequestConflict", "OperationAborted"})
_THROTTLING_CODES = frozenset(
    {"SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException", "ThrottledException"}
    | {"RequestThrottled", "RequestThrottledException", "RequestLimitExceeded", "BandwidthLimitExceeded"}
    | {"TooManyRequests", "TooManyRequestsException"}
)
"""Such an S3 error document says that nothing was applied; any other 5xx, with or without Retry-After, does not."""
_INCOMPLETE_REQUEST_CODES = frozenset({"RequestTimeout", "IncompleteBody", "BadDigest"})


def classify_status(
    status: int, code: str, message: str, request: S3Request, *, retry_after: float | None = None
) -> ExpectedFailure | Error:
    """Return what a response other than 2xx means: a failure that the protocol expects, or an error."""
    code = safe_error_code(code)
    missing = status == 404 and code != "NoSuchBucket"
    if status in (304, 412, 416) or missing or (status == 409 and code in _CONFLICT_CODES):
        return ExpectedFailure(status, code)
    return error_for_status(status, code, message, request, retry_after=retry_after)


def safe_error_code(code: str) -> str:
    """Return an error code of S3's form, such as NoSuchKey; an empty string for anything else."""
    is_valid_name = code[:1].isupper() and not code.isupper() and code.replace(".", "").isalnum()
    return code if (is_valid_name and len(code) <= MAX_CODE_LENGTH) or (code.isdigit() and len(code) == 3) else ""


def error_for_status(
    status: int, code: str, message: str, request: S3Request, *, retry_after: float | None = None
) -> Error:
    """Return the error for a failed request."""
    from .access_denied import CREDENTIAL_ERRORS, access_denied_error
    from .redaction import redacted

    if status in (401, 403) or code in CREDENTIAL_ERRORS:
        return access_denied_error(request, status, code, message)
    response_text = f"{request}: {status} {code} {redacted(message)}".rstrip()
    if code == "NoSuchBucket":
        return NotFoundError(
            f"The bucket {request.bucket!r} does not exist at this endpoint: create it, or fix S3DICT_BUCKET. "
            f"{response_text}"
        )
    if status in (405, 501) or code == "NotImplemented":
        return UnsupportedStoreError(f"The store does not support {_unsupported(request)}. {response_text}")
    if status in (301, 307):
        return InvalidError(
            f"The bucket {request.bucket!r} is in another region or behind another endpoint. {response_text}"
        )
    if status == 429 or code in _THROTTLING_CODES:
        return ThrottledError(f"The store throttled the request. {response_text}", retry_after=retry_after)
    if status >= 500 or status == 408 or code in _INCOMPLETE_REQUEST_CODES:
        return UnavailableError(f"The store failed to respond. {response_text}")
    return Error(f"The store rejected the request. {response_text}")


def _unsupported(request: S3Request) -> str:
    conditions = {"IfMatch", "IfNoneMatch", "CopySourceIfMatch"} & request.parameters.keys()
    writes = request.method in ("put_object", "delete_object", "copy_object")
    return f"conditional writes ({', '.join(sorted(conditions))})" if writes and conditions else "this request"


def timeout_error(request: S3Request) -> RequestTimeoutError:
    """Return the error for a request that was sent and got no response, or no further part of it, in time."""
    return RequestTimeoutError(f"{request} timed out. Client(timeout=...) or S3DICT_TIMEOUT sets the read timeout")
