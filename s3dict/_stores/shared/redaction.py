"""What others say, fit to be shown.

Stores, and what stands before them, repeat in their errors what they were sent: AWS gives an expired session token back
in full, and the headers of a request whose signature is wrong; a proxy may show the whole request. Drivers pass that
on. So no text of theirs is shown unless it went through here, and neither is an exception that becomes the cause of one
of ours.
"""

from __future__ import annotations

import re
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
    """The text without what may be a credential, and no longer than a message should be.

    Access keys, signatures and tokens are 16 characters or more, with digits among them: words like that go, and so
    does all of a URL but its host. ARNs of those who ask, and of KMS keys, stay.
    """
    shown = _masked(text)
    return shown if len(shown) <= MAX_LENGTH else shown[:MAX_LENGTH] + MASK


def _masked(text: str) -> str:
    without = _AUTHORIZATION.sub(rf"\1 {MASK}", _URL.sub(_host, text))
    return _WORD.sub(lambda word: word[0] if _is_safe(word[0]) else MASK, without)


def _host(url: re.Match[str]) -> str:
    # A password may hold any character that it should not, so nothing of a URL with one can be told from it.
    return f"{url[1]}{MASK}" if "@" in url[0] else f"{url[1]}{url[2] or ''}"


def _is_safe(word: str) -> bool:
    if _LETTERS.fullmatch(word):
        return len(_CAMEL_HUMP.findall(word)) <= MAX_CAMEL_HUMPS
    return (_ARN.fullmatch(word) or _URL.fullmatch(word)) is not None


def sanitised(error: BaseException, text: str | None = None) -> BaseException | None:
    """The exception itself, fit to be the cause of one of ours; None if it cannot be made so.

    What it says is replaced by `text`, if there is one, and redacted. Its traceback goes: who collects local variables
    with a traceback would find the request in the driver's, signature and all.
    """
    if text is not None:
        error.args = (text,)
    chain = tuple(_chain(error))
    for link in chain:
        _sanitise_in_place(link)
    shown = (shown for link in chain for shown in (str(link), repr(link)))
    return error if all(_masked(text) == text for text in shown) else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _sanitise_in_place(error: BaseException) -> None:
    error.__traceback__ = None
    error.args = tuple(redacted(part) if isinstance(part, str) else part for part in error.args)
    response = getattr(error, "response", None)
    if isinstance(response, dict) and isinstance(response.get("Error"), dict):
        # AWS says more, such as the token that has expired; and a proxy's headers say what it likes.
        response.get("ResponseMetadata", {}).pop("HTTPHeaders", None)
        said = response["Error"]
        response["Error"] = {name: redacted(str(said[name])) for name in ("Code", "Message") if name in said}
