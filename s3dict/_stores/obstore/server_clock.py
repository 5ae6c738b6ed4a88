"""The store's clock, for a driver that does not return response headers, and so no Date.

One unsigned HEAD of the bucket reads the time: a rejection carries a Date too, so it needs no credentials, no policy
and no object. If it gets no response, a signed one is sent. From then on the monotonic clock here counts; a wall clock
that is wrong does no harm.

The time returned is never ahead of the store's clock: the Date is taken as that of the moment its response arrived, and
the time since then is counted a little short, for clocks that run at different speeds. Every caller (has a lease or an
entry expired, is an object older than a request) acts only when enough time has passed, so a clock that is behind makes
it wait, or report an uncertain outcome, and never act too early. It lags by a second and a round trip at most.

Where a second matters, for an entry that is just about to expire, it is read again, so that the answer is that of a
driver which returns the Date of each response.

It is read again after a minute, in case the store's clock was set, and when the wall clock and the monotonic one here
have diverged: then this machine was suspended, or its clock was set, and the monotonic clock may have stopped.

Most comparisons need no request. S3 rejects a signature whose time is off by more than 15 minutes; so after a response,
a time that is further ahead than that by the wall clock here is certainly in the future of the store's clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..._record import Record, replace
from ...errors import UnavailableError, UnsupportedStoreError
from ..base import monotonic_seconds, stopped_seconds
from ..shared import request_log as log
from ..shared.messages import parse_date
from ..shared.proxies import proxy_headers
from ..shared.trust import Trust

if TYPE_CHECKING:
    from http.client import HTTPMessage

    from ..shared.events import RequestObserver

MAX_SIGNATURE_SKEW = timedelta(minutes=15)
RESYNC_AFTER = 60.0
MAX_DIVERGENCE = 1.0
DRIFT = 0.0005
"""How much faster or slower one clock may run than another: the most that NTP slews."""
MAX_LAG = timedelta(seconds=1.5)
"""How far a reading is behind the store's clock: up to a second that its Date omits, and the time of the response."""
REREAD_AFTER = 0.2
"""A reading that is younger, in seconds, is not repeated: many reads of an entry that expires share one."""
PROXY_AUTHENTICATION_REQUIRED = 407
"""It is the proxy's response, with the time of the proxy."""
TIMEOUT = 2.0
"""The longest wait for a response, in seconds: an event loop is blocked for so long."""


class _Sample(Record):
    """The store's clock showed at least `date` when the clocks here showed `monotonic` and `wall`."""

    date: datetime
    monotonic: float
    wall: float
    stopped: float

    def is_current(self) -> bool:
        passed = monotonic_seconds() - self.monotonic
        if self.stopped != stopped_seconds():
            # The machine was stopped, or its wall clock set forward: what has passed is only the longest possible.
            return False
        return 0 <= passed < RESYNC_AFTER and abs(time.time() - self.wall - passed) < MAX_DIVERGENCE

    def at(self, moment: float) -> datetime:
        passed = moment - self.monotonic
        return self.date + timedelta(seconds=passed - DRIFT * abs(passed))


class ServerClock:
    """The clock of the store that serves the bucket at `url`, read when its time is needed.

    Args:
        url: The bucket's URL.
        signed_url: Returns the signed URL of an object, for stores that do not respond to the unsigned request.
        trust: The certificates to trust.
        proxy: The URL of the proxy; None for a direct connection.
        headers: Further headers.
        timeout: The longest wait for a response, in seconds.
        observer: What each request is reported to; None for nothing.
    """

    def __init__(
        self,
        url: str,
        signed_url: Callable[[], str],
        *,
        trust: Trust | None = None,
        proxy: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
        observer: RequestObserver | None = None,
    ) -> None:
        self._url = url
        self._signed_url = signed_url
        self._trust = trust or Trust()
        self._proxy = proxy
        self._more_headers = {**(headers or {}), **(proxy_headers(proxy) if proxy is not None else {})}
        self._timeout = min(TIMEOUT, timeout)
        self._observer = observer
        self._sync_lock = threading.RLock()
        self._sample: _Sample | None = None
        self._status = 0

    def time_at(self, moment: float) -> datetime:
        """Return what the store's clock showed, at least, at `moment` of `monotonic_seconds`. May take a request.

        Raises:
            UnavailableError: The store does not respond.
            UnsupportedStoreError: The response lacks a Date.
        """
        sample = self._sample
        if sample is None or not sample.is_current():
            with self._sync_lock:
                sample = self._sample
                if sample is None or not sample.is_current():
                    sample = self._sample = self._sync()
        return sample.at(moment)

    def latest_at(self, moment: float) -> datetime:
        """Return a time that the store's clock cannot have passed at `moment`: S3 checks the time of signatures."""
        wall = time.time() - monotonic_seconds() + moment
        return datetime.fromtimestamp(wall, UTC) + MAX_SIGNATURE_SKEW

    def has_passed(self, deadline: datetime, moment: float) -> bool:
        """Return whether the store's clock certainly showed `deadline` at `moment`, or shows it now.

        Takes a request more only if the deadline is closer than the error of the last reading.

        Raises as `time_at` does.
        """
        earliest = self.time_at(moment)
        if earliest >= deadline or earliest + MAX_LAG < deadline:
            return earliest >= deadline
        with self._sync_lock:
            sample = self._sample
            assert sample is not None
            if monotonic_seconds() - sample.monotonic > REREAD_AFTER:
                with suppress(UnavailableError, UnsupportedStoreError):
                    read = self._sync()
                    self._sample = sample = replace(read, date=max(read.date, sample.at(read.monotonic)))
        return sample.date >= deadline

    def _sync(self) -> _Sample:
        try:
            return self._sample_of(self._head())
        except UnsupportedStoreError:
            # http.client takes a response that was cut off within its headers for a whole one with fewer headers.
            return self._sample_of(self._head())

    def _sample_of(self, headers: HTTPMessage) -> _Sample:
        # After the response: the store's clock showed its Date before.
        return _Sample(parse_date(headers.get("Date")), monotonic_seconds(), time.time(), stopped_seconds())

    def check(self) -> tuple[int, HTTPMessage] | None:
        """Return the status and headers of the unsigned HEAD, whose Date counts as a reading.

        Raises:
            UnavailableError: The store does not respond.
        """
        with self._sync_lock:
            headers = self._head()
            if headers.get("Date"):
                with suppress(UnsupportedStoreError):
                    self._sample = self._sample_of(headers)
            return self._status, headers

    def _head(self) -> HTTPMessage:
        from http.client import HTTPException
        from urllib.request import Request

        from ..shared.http import opener

        open_url, failure = opener(self._url, self._trust, self._proxy, self._timeout), ""
        attempts: tuple[tuple[str, Callable[[], str]], ...]
        attempts = (("HeadBucket", lambda: self._url), ("HeadObject", self._signed_url))
        for operation, make_url in attempts:
            started, status, begin = log.start_timer(), log.NO_RESPONSE, time.perf_counter()
            try:
                with open_url(Request(make_url(), headers=self._more_headers, method="HEAD")) as response:  # noqa: S310 (http or https: validated)
                    status = response.status
                    if status < 500 and status != PROXY_AUTHENTICATION_REQUIRED:
                        self._status = response.status
                        return response.headers
                    failure = f"{status}"
            except (OSError, HTTPException) as error:
                from ..shared.redaction import redacted

                failure = redacted(f"{error}")
            finally:
                if started:
                    log.log_request(operation, self._url, started, status, 0)
                if self._observer is not None:
                    self._observer.report(operation, "", status, time.perf_counter() - begin)
        raise UnavailableError(
            f"The store's clock cannot be read with HEAD {self._url}: {failure}", maybe_applied=False
        )
