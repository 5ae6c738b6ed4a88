"""What obstore's exceptions say, as answers and errors of ours.

obstore has an exception for some statuses and one for everything else, and none of them has a field: what happened is
in the message, which holds the status and the body of the answer, or, after "Debug source", the broken connection.
"""

from __future__ import annotations

import re

from obstore.exceptions import BaseError, InvalidPathError, UnauthenticatedError

from ..._retry import RequestTimeoutError
from ...errors import Error, InvalidError, UnavailableError
from ..boto.requests import ExpectedFailure, S3Request, classify_status, timeout_error, translate_exception
from ..shared import request_log as log

_STATUS = re.compile(r"Server returned non-2xx status code: (\d{3}) [^:]*: ?(.*)", re.DOTALL)
_DETAILS = "\n\nDebug source:"
_ERROR_IN_200 = "Server returned error response: "
_BARE_REDIRECT = "Received redirect without LOCATION"
_NEVER_CONNECTED = re.compile(r"client::legacy::Error\(\s*Connect,")
_CREDENTIALS = "External AWS credential provider: "


class UnrecognisedResponseError(UnavailableError):
    """An answer that obstore could not make sense of, and tells little about."""


def translate_obstore_exception(error: Exception, call: S3Request) -> ExpectedFailure:
    """What the exception says where it is no failure. Raises one of ours, from it, for everything else."""
    if isinstance(error, Error):
        raise error
    if not isinstance(error, (BaseError, FileNotFoundError)):
        # Of boto3, which was asked for credentials.
        return translate_exception(error, call)
    verdict = _verdict(error, call)
    if isinstance(verdict, ExpectedFailure):
        return verdict
    from ..shared.redaction import sanitised

    # Of what obstore says, the rest repeats the answer's body, in which AWS repeats the session token.
    raise verdict from sanitised(error, text=_summary_without_body(error))


def log_status(error: Exception) -> log.Status:
    """For the log: the status of the answer, or what came in its place."""
    said, _, details = str(error).partition(_DETAILS)
    answered = _STATUS.search(said)
    if answered is not None:
        return int(answered[1])
    if isinstance(error, Error):
        return log.UNKNOWN
    if not isinstance(error, BaseError) or isinstance(error, UnauthenticatedError):
        # Of the credentials' provider.
        return log.NOT_SENT
    return log.NO_ANSWER if _NEVER_CONNECTED.search(details) or "HTTP error: " in said else log.UNKNOWN


def _verdict(error: Exception, call: S3Request) -> ExpectedFailure | Error:
    said, _, details = str(error).partition(_DETAILS)
    answered = _STATUS.search(said)
    if answered is not None:
        return _answer(int(answered[1]), answered[2], call)
    return _failure(error, said, details, call)


def _failure(error: Exception, said: str, details: str, call: S3Request) -> ExpectedFailure | Error:
    """What is no answer of the store, or none that obstore understands."""
    from ..shared.access_denied import missing_credentials_error
    from ..shared.redaction import redacted

    if isinstance(error, InvalidPathError):
        return InvalidError(f"{call}: obstore cannot address it: {redacted(said)}")
    if isinstance(error, UnauthenticatedError) and _CREDENTIALS in said:
        return missing_credentials_error(call, said.partition(_CREDENTIALS)[2])
    if _BARE_REDIRECT in said:
        return classify_status(301, "", said, call)
    if _ERROR_IN_200 in said:
        return _answer(500, said.partition(_ERROR_IN_200)[2], call)
    if _NEVER_CONNECTED.search(details):
        failed = RequestTimeoutError if "TimedOut" in details else UnavailableError
        return failed(f"{call}: the store cannot be reached: {_transport_reason(details)}", maybe_applied=False)
    if "HTTP error: " in said and "TimedOut" in details:
        return timeout_error(call)
    if "HTTP error: " in said:
        return UnavailableError(f"{call}: the connection broke: {_transport_reason(details)}")
    return UnrecognisedResponseError(f"{call}: an answer that is not one of S3: what stands between? {redacted(said)}")


def _answer(status: int, body: str, call: S3Request) -> ExpectedFailure | Error:
    return classify_status(status, _xml_text("Code", body), _xml_text("Message", body), call)


def _summary_without_body(error: Exception) -> str:
    """What the exception says, to the status of the answer."""
    said = str(error).partition(_DETAILS)[0]
    answered = _STATUS.search(said)
    return said if answered is None else said[: answered.start(2)].rstrip(" :")


def _xml_text(name: str, body: str) -> str:
    found = re.search(f"<{name}>([^<]*)</{name}>", body)
    return found[1] if found else ""


def _transport_reason(details: str) -> str:
    from ..shared.redaction import redacted

    server_time = re.search(r'(?:message|error): "([^"]*)"', details)
    return redacted(server_time[1]) if server_time else "it was closed before the answer was complete"
