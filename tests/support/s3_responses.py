"""Responses of S3 in XML, for the servers that the tests implement."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from wsgiref.handlers import format_date_time

from werkzeug.wrappers import Response

__all__ = [
    "RefusedError",
    "StoredObject",
    "byte_range",
    "element",
    "last_modified",
    "no_such_key",
    "precondition_failed",
    "xml",
]


class RefusedError(Exception):
    """The request is rejected with an error, and not applied."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def response(self) -> Response:
        return xml("Error", element("Code", self.code), element("Message", str(self)), status=self.status)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of a server that the tests implement; its ETag has quotes."""

    body: bytes
    etag: str
    modified: float

    def matches(self, etag: str) -> bool:
        return etag.strip('"') == self.etag.strip('"')

    def headers(self) -> dict[str, str]:
        return {"ETag": self.etag, "Last-Modified": format_date_time(self.modified), "Accept-Ranges": "bytes"}


def no_such_key() -> RefusedError:
    return RefusedError(404, "NoSuchKey", "The specified key does not exist")


def precondition_failed() -> RefusedError:
    return RefusedError(412, "PreconditionFailed", "At least one of the pre-conditions did not hold")


def byte_range(header: str, size: int) -> tuple[int, int]:
    """Return where the range of bytes starts, and before which byte it ends."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    first, last = match.groups() if match else ("", "")
    start = int(first) if first else max(0, size - int(last or 0))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        raise RefusedError(416, "InvalidRange", "The requested range is not satisfiable")
    return start, end


def last_modified(moment: float) -> str:
    return element("LastModified", f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S.000Z}")


def element(name: str, *content: str) -> str:
    return f"<{name}>{''.join(content)}</{name}>"


def xml(name: str, *content: str, status: int = 200) -> Response:
    text = '<?xml version="1.0" encoding="UTF-8"?>\n' + element(name, *content)
    return Response(text, status, content_type="application/xml")
