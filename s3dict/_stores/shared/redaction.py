"""Texts of stores and drivers, redacted so that they can be shown.

Stores, and proxies in front of them, repeat in their errors what they received: AWS returns an expired session token
in full, and the headers of a request whose signature is wrong; a proxy may return the whole request. Drivers pass that
on. So their texts are shown only after `redacted`, and their exceptions become the cause of an `Error` only after
`sanitised`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

MAX_LENGTH = 500
MASK = "[...]"

_URL = re.compile(r"(https?://)([\w.:\[\]-]{1,100})?[^\s\"'<>]*")
_AUTHORIZATION = re.compile(r"\b(Basic|Bearer) [^\s<>\"',;]+", re.IGNORECASE)
_WORD = re.compile(r"[^\s<>\"'(),;=\\]{16,}")
_LETTERS = re.compile(r"[A-Za-z._:/-]{1,64}")
_CAMEL_HUMP = re.compile(r"[a-z][A-Z]")
MAX_CAMEL_HUMPS = 6
_ARN = re.compile(r"arn:aws[a-z-]*:(?:(?:iam|sts)::\d{12}:[\w+@./-]{1,128}|kms:[\w-]+:\d{12}:key/[\w-]{1,40})")


def redacted(text: str) -> str:
    """Return the text without what may be a credential, and cut to `MAX_LENGTH`.

    Access keys, signatures and tokens have 16 characters or more, with digits among them: such words are masked, and
    all of a URL but its host. ARNs of callers and of KMS keys stay.
    """
    masked = _masked(text)
    return masked if len(masked) <= MAX_LENGTH else masked[:MAX_LENGTH] + MASK


def _masked(text: str) -> str:
    without = _AUTHORIZATION.sub(rf"\1 {MASK}", _URL.sub(_host, text))
    return _WORD.sub(lambda word: word[0] if _is_safe(word[0]) else MASK, without)


def _host(url: re.Match[str]) -> str:
    # A password may contain any character, so no part of a URL with one can be distinguished from it.
    return f"{url[1]}{MASK}" if "@" in url[0] else f"{url[1]}{url[2] or ''}"


def _is_safe(word: str) -> bool:
    if _LETTERS.fullmatch(word):
        return len(_CAMEL_HUMP.findall(word)) <= MAX_CAMEL_HUMPS
    return (_ARN.fullmatch(word) or _URL.fullmatch(word)) is not None


def sanitised(error: BaseException, text: str | None = None) -> BaseException | None:
    """Return the exception redacted, as the cause of an `Error`; None if it cannot be redacted.

    Its message is replaced by `text`, if given. Its traceback is removed: tools that collect local variables would find
    the signed request in it. An exception that the caller of the request was handling belongs to the caller, and stays
    as it is: call this outside of the handler of `error`.
    """
    if text is not None:
        error.args = (text,)
    chain = tuple(_chain(error))
    for link in chain:
        _sanitise_in_place(link)
    texts = (text for link in chain for text in (str(link), repr(link)))
    return error if all(_masked(text) == text for text in texts) else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    handled = sys.exception()
    seen = set() if handled is None or handled is error else {id(handled)}
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _sanitise_in_place(error: BaseException) -> None:
    error.__traceback__ = None
    error.args = tuple(redacted(part) if isinstance(part, str) else part for part in error.args)
    response = getattr(error, "response", None)
    if isinstance(response, dict) and isinstance(response.get("Error"), dict):
        # AWS adds fields such as the expired token; and a proxy's headers may contain anything.
        response.get("ResponseMetadata", {}).pop("HTTPHeaders", None)
        details = response["Error"]
        response["Error"] = {name: redacted(str(details[name])) for name in ("Code", "Message") if name in details}
