"""obstore's exceptions, translated into the errors of this package.

obstore has an exception for some statuses and one for everything else, and none has fields: the message holds the
status and the body of the response or, after "Debug source", the transport error.
"""

from __future__ import annotations

import re

from obstore.exceptions import BaseError, InvalidPathError, UnauthenticatedError

from ..._retry import UnexpectedResponseError
from ...errors import Error, InvalidError, UnavailableError
from ..shared import request_log as log
from ..shared.errors import (
    WRONG_ENDPOINT,
    broken_connection_error,
    classify_status,
    connect_error,
    timeout_error,
    tls_error,
)
from ..shared.messages import ExpectedFailure, S3Request, xml_text

# Text, and not compiled here: `re` compiles each when it is first needed, which a cold start does not pay for.
_STATUS = r"(?s:Server returned non-2xx status code: (\d{3}) [^:]*: ?(.*))"
_DETAILS = "\n\nDebug source:"
_ERROR_IN_200 = "Server returned error response: "
_BARE_REDIRECT = "Received redirect without LOCATION"
_NEVER_CONNECTED = r"client::legacy::Error\(\s*Connect,"
_TLS = r"InvalidCertificate\(\s*\w+|InvalidContentType|InvalidMessage|AlertReceived|PeerIncompatible"
_PROXY_REASONS = {
    "ProxyAuthRequired": "the proxy requires authentication (407)",
    "TunnelUnsuccessful": "the proxy refused the connection (CONNECT)",
}
_CREDENTIALS = "External AWS credential provider: "


class UnrecognisedResponseError(UnexpectedResponseError):
    """A response that obstore could not parse, and reports little about."""


class BareRedirectError(InvalidError):
    """A redirect without Location, or an error in its place: on AWS, the bucket is in another region."""


def translate_obstore_exception(error: Exception, request: S3Request) -> ExpectedFailure:
    """Return what the exception means if the protocol expects that; otherwise raise an `Error` from it."""
    if isinstance(error, Error):
        raise error
    if is_panic(error):
        raise panic_error(error, request)
    if not isinstance(error, (BaseError, FileNotFoundError)):
        # From boto3, which provides credentials.
        from ..boto.errors import translate_exception

        return translate_exception(error, request)
    result = _classify_exception(error, request)
    if isinstance(result, ExpectedFailure):
        return result
    from ..shared.redaction import sanitised

    # The rest of the message repeats the body of the response, in which AWS repeats the session token.
    raise result from sanitised(error, text=_summary_without_body(error))


def is_panic(error: BaseException) -> bool:
    """Return whether the exception stands for a panic in Rust: a bug of obstore, or an input that it does not check."""
    return type(error).__name__ in ("PanicException", "RustPanic")


def panic_error(error: BaseException, request: S3Request) -> UnavailableError:
    """Return the error for a panic. Nothing says whether the request was sent before."""
    from ..shared.redaction import redacted

    return UnavailableError(f"{request}: obstore failed: {redacted(str(error))}: use driver='boto3', or report it")


def log_status(error: Exception) -> log.Status:
    """Return, for the log, the status of the response, or what is known in its place."""
    message, _, details = str(error).partition(_DETAILS)
    response = re.search(_STATUS, message)
    if response is not None:
        return int(response[1])
    if isinstance(error, Error):
        return log.UNKNOWN
    if not isinstance(error, BaseError) or isinstance(error, UnauthenticatedError):
        # From the credential provider.
        return log.NOT_SENT
    return log.NO_RESPONSE if re.search(_NEVER_CONNECTED, details) or "HTTP error: " in message else log.UNKNOWN


def _classify_exception(error: Exception, request: S3Request) -> ExpectedFailure | Error:
    message, _, details = str(error).partition(_DETAILS)
    response = re.search(_STATUS, message)
    if response is not None:
        return _classify_response(int(response[1]), response[2], request)
    return _classify_failure(error, message, details, request)


def _classify_failure(error: Exception, message: str, details: str, request: S3Request) -> ExpectedFailure | Error:
    """Return the meaning of an exception without a status: there was no response, or obstore could not parse it."""
    from ..shared.access_denied import missing_credentials_error
    from ..shared.redaction import redacted

    if isinstance(error, InvalidPathError):
        return InvalidError(f"{request}: obstore does not accept the name: {redacted(message)}")
    if isinstance(error, UnauthenticatedError) and _CREDENTIALS in message:
        return missing_credentials_error(request, message.partition(_CREDENTIALS)[2])
    if _BARE_REDIRECT in message:
        return BareRedirectError(f"{request}: the endpoint {request.endpoint} responded with a redirect to nowhere")
    if _ERROR_IN_200 in message and "DeleteResult" not in message:
        return _classify_response(500, message.partition(_ERROR_IN_200)[2], request)
    if re.search(_NEVER_CONNECTED, details):
        tls = re.search(_TLS, details)
        if tls is not None:
            return tls_error(request, " ".join(details[tls.start() : tls.start() + 400].split()))
        return connect_error(request, _transport_reason(details), timed_out="TimedOut" in details)
    if "HTTP error: " in message and "TimedOut" in details:
        return timeout_error(request)
    if "HTTP error: " in message:
        return broken_connection_error(request, _transport_reason(details))
    return UnrecognisedResponseError(
        f"{request}: the server at {request.endpoint} does not respond like S3: a proxy or gateway may be in between: "
        f"{redacted(message)}"
    )


def _classify_response(status: int, body: str, request: S3Request) -> ExpectedFailure | Error:
    code = xml_text("Code", body)
    meaning = classify_status(status, code, xml_text("Message", body), request)
    return BareRedirectError(str(meaning)) if code == WRONG_ENDPOINT else meaning


def _summary_without_body(error: Exception) -> str:
    """Return the exception's message up to the status of the response."""
    message = str(error).partition(_DETAILS)[0]
    response = re.search(_STATUS, message)
    return message if response is None else message[: response.start(2)].rstrip(" :")


def _transport_reason(details: str) -> str:
    from ..shared.redaction import redacted

    for name, text in _PROXY_REASONS.items():
        if name in details:
            return text
    reason = re.search(r'(?:message|error): "([^"]*)"', details)
    return redacted(reason[1]) if reason else "it was closed before the response was complete"
