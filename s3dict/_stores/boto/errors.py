"""botocore's and aiobotocore's exceptions, translated into the errors of this package."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..._retry import UnexpectedResponseError
from ...errors import Error, InvalidError
from ..shared import request_log as log
from ..shared.errors import (
    broken_connection_error,
    classify_status,
    connect_error,
    not_s3_error,
    timeout_error,
    tls_error,
)
from ..shared.messages import ExpectedFailure, S3Request, parse_retry_after

# Exceptions are recognised by name: their modules need not be imported for those that never occur.
_CREDENTIAL_EXCEPTIONS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"}
    | {"SSOError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "LoginRefreshRequired", "NoAuthTokenError"}
)
_CONNECT_EXCEPTIONS = frozenset({"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError"})
_TIMEOUT_EXCEPTIONS = frozenset(
    {"ReadTimeoutError", "AioReadTimeoutError", "SocketTimeoutError", "ServerTimeoutError", "TimeoutError"}
)
_MALFORMED_RESPONSE_EXCEPTIONS = frozenset({"ResponseParserError", "FlexibleChecksumError"})


def translate_exception(error: Exception, request: S3Request) -> ExpectedFailure:
    """Return what the exception means if the protocol expects that; otherwise raise an `Error` from it."""
    if isinstance(error, Error):
        raise error
    result = _classify_exception(error, request)
    if result is None:
        raise error
    if isinstance(result, ExpectedFailure):
        return result
    from ..shared.redaction import sanitised

    raise result from sanitised(error)


def log_status_of_error(error: Exception) -> log.Status:
    """Return, for the log, the status in the exception, or what is known in its place."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return log_status(response)
    return log.NOT_SENT if type(error).__name__ in _CREDENTIAL_EXCEPTIONS else log.NO_RESPONSE


def log_status(fields: Mapping[str, Any]) -> log.Status:
    """Return, for the log, the status of a response."""
    status: log.Status = fields.get("ResponseMetadata", {}).get("HTTPStatusCode", log.UNKNOWN)
    return status


def _classify_exception(error: Exception, request: S3Request) -> ExpectedFailure | Error | None:
    """Return None for an exception that is not a vendor's: it shows a bug."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict) or "Error" not in response:
        return _transport_error(error, request)
    if getattr(error, "operation_name", request.operation) not in (request.operation, "CreateSession", "HeadBucket"):
        # A credential provider (SSO, STS) sent a request to a service of its own: its 404 is not the store's.
        from ..shared.access_denied import missing_credentials_error

        return missing_credentials_error(request, str(error))
    metadata = response.get("ResponseMetadata", {})
    status, headers = int(metadata.get("HTTPStatusCode", 0)), metadata.get("HTTPHeaders", {})
    code, message = (_error_field(response, name) for name in ("Code", "Message"))
    return classify_status(status, code, message, request, retry_after=parse_retry_after(headers.get("retry-after")))


def _error_field(response: Mapping[str, Any], name: str) -> str:
    """Return a field of the error document. If that has a namespace, botocore leaves its fields beside the error."""
    return str(response["Error"].get(name) or response.get(name) or "").strip()


def _transport_error(error: Exception, request: S3Request) -> Error | None:
    """Return the error for a request without a response; None for an exception that is not a vendor's."""
    from ..shared.access_denied import missing_credentials_error
    from ..shared.redaction import redacted

    kind = type(error).__name__
    if kind in _CREDENTIAL_EXCEPTIONS:
        return missing_credentials_error(request, str(error))
    if kind in _TIMEOUT_EXCEPTIONS:
        return timeout_error(request)
    if kind == "SSLError" or "ClientConnectorCertificateError" in repr(error):
        return tls_error(request, str(error))
    if kind in _CONNECT_EXCEPTIONS and _never_connected(error):
        if re.search(r"ssl:|\[SSL", str(error)):
            return tls_error(request, str(error))
        return connect_error(request, _connect_reason(error), timed_out=kind == "ConnectTimeoutError")
    if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in ("aiohttp", "urllib3"):
        return broken_connection_error(request, redacted(str(error)) or kind)
    if type(error).__module__.startswith(("botocore.", "boto3.", "aiobotocore.")):
        return _botocore_error(error, request)
    if isinstance(error, (ValueError, OverflowError)) or _raised_in_parser(error):
        message = redacted(str(error))
        if message.startswith("Invalid endpoint"):
            # botocore accepts fewer host names than others do: none with an underscore.
            return InvalidError(f"{request}: {message}")
        # botocore raises this for a malformed number or time in a response, and others for repeated elements.
        return not_s3_error(request, message)
    return None


def _raised_in_parser(error: Exception) -> bool:
    """Return whether botocore raised the exception while it parsed a response."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_globals.get("__name__") == "botocore.parsers"


def _connect_reason(error: Exception) -> str:
    from ..shared.redaction import redacted

    cause = getattr(error, "kwargs", {}).get("error")
    if "407" in f"{cause}{getattr(cause, 'status', '')}":
        return "the proxy requires authentication (407)"
    return redacted(str(error))


def _never_connected(error: Exception) -> bool:
    """Return whether the request was certainly not sent.

    aiobotocore raises EndpointConnectionError for a connection that broke later too; the cause shows the difference.
    """
    cause = getattr(error, "kwargs", {}).get("error")
    if type(error).__name__ != "EndpointConnectionError" or not type(cause).__module__.startswith("aiohttp"):
        return True
    from aiohttp import ClientConnectorError

    return isinstance(cause, ClientConnectorError)


def _botocore_error(error: Exception, request: S3Request) -> Error:
    from botocore.exceptions import ConnectionError as BotoConnectionError
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    from ..shared.redaction import redacted

    connection_broke = isinstance(error, (HTTPClientError, BotoConnectionError, IncompleteReadError))
    if type(error).__name__ == "ResponseParserError":
        return not_s3_error(request, redacted(str(error)))
    if type(error).__name__ in _MALFORMED_RESPONSE_EXCEPTIONS:
        return UnexpectedResponseError(f"{request}: unexpected response: {redacted(str(error))}")
    if connection_broke:
        return broken_connection_error(request, redacted(str(error)))
    return InvalidError(f"{request}: {redacted(str(error))}")
