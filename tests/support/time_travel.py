"""A server with a movable clock: a proxy that rewrites the times in responses.

    with Proxy(seaweedfs.url) as proxy:
        clock = TimeTravel(proxy)
        ...                                     # write through the proxy
        clock.advance(timedelta(days=6))        # everything in the bucket is six days older

Rewritten are Date, Last-Modified and the times of a listing. The server itself keeps its own time, so what it decides
by itself (its lifecycle) does not move. All traffic has to go through the one proxy, which remembers when each object
was written.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import unquote

from .http_wire import Headers, HttpResponse
from .proxy import Proxy, Request

__all__ = ["TimeTravel"]

_WRITES = frozenset({"PutObject", "CopyObject"})
_LINE = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)
_KEY = re.compile(rb"<Key>(.*?)</Key>")
_TIME = re.compile(rb"(?<=<LastModified>)[^<]*")


@dataclass(frozen=True, slots=True)
class _Write:
    real: datetime
    shown: datetime


class TimeTravel:
    """The clock that the proxy's clients see. `scale` makes it run so many times faster than the server's own."""

    def __init__(self, proxy: Proxy, *, scale: float = 1) -> None:
        self._began = datetime.now(UTC)
        self._scale = scale
        self._ahead = timedelta(0)
        self._guard = threading.Lock()
        self._writes: dict[str, _Write] = {}
        proxy.rewrite = self._rewrite

    def advance(self, time: timedelta) -> None:
        """Move the clock forward; all objects become that much older."""
        self._ahead += time

    def now(self) -> datetime:
        return self._shown(datetime.now(UTC))

    def _shown(self, real: datetime) -> datetime:
        return self._began + (real - self._began) * self._scale + self._ahead

    def _rewrite(self, request: Request, answer: HttpResponse) -> HttpResponse:
        if request.operation in _WRITES and answer.status == 200:
            real = datetime.now(UTC)
            with self._guard:
                self._writes[request.path] = _Write(real, self._shown(real))
        if request.operation == "ListObjectsV2":
            answer = replace(answer, body=_LINE.sub(lambda line: self._line(request, line[0]), answer.body))
        headers: Headers = tuple((name, self._header(request, name, value)) for name, value in answer.headers)
        return replace(answer, headers=headers)

    def _header(self, request: Request, name: str, value: str) -> str:
        if name.lower() == "date":
            return format_datetime(self.now(), usegmt=True)
        if name.lower() == "last-modified":
            return format_datetime(self._last_modified(request.path, parsedate_to_datetime(value)), usegmt=True)
        return value

    def _line(self, request: Request, line: bytes) -> bytes:
        key = _KEY.search(line)
        assert key is not None
        # Asked to encode keys, Ceph encodes their slashes too.
        path = f"{request.path.rstrip('/')}/{unquote(key[1].decode())}"

        def moved(time: re.Match[bytes]) -> bytes:
            real = datetime.fromisoformat(time[0].decode().replace("Z", "+00:00"))
            return self._last_modified(path, real).strftime("%Y-%m-%dT%H:%M:%S.000Z").encode()

        return _TIME.sub(moved, line)

    def _last_modified(self, path: str, real: datetime) -> datetime:
        """Return when the object was written, by this clock.

        What the server has just written and not yet answered is not among the writes: its own time tells.
        """
        with self._guard:
            write = self._writes.get(path)
        known = write is not None and real <= write.real + timedelta(seconds=1)
        return write.shown if write is not None and known else self._shown(real)
