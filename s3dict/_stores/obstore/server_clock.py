"""The store's clock, for a driver that gives no response headers, and so no Date.

One unsigned HEAD of the bucket tells the time: a refusal carries a Date too, so it needs no credentials, no policy and
no object. Where such a request gets no answer, a signed one is sent. From then on the clock here counts, one that never
goes back; a wall clock that is off does no harm.

What this gives is never ahead of the store's clock: the Date is taken as that of the moment its answer arrived, and the
time since then is counted a little short, for clocks that run at different speeds. Everything that asks (is a lease
over, has an entry expired, did an object stand before a request was sent) acts only when enough time has passed, so a
clock that is behind makes it wait, or doubt, and never act too early. It lags by a second and a round trip at most.

The store is asked again after a minute, lest its clock was set meanwhile, and when the wall clock and the steady one
here have parted: then this machine was suspended, or set right, and the steady clock may have stood still.

Most answers need no asking. S3 refuses a signature whose time is off by more than a quarter of an hour; so after an
answer it is known that a time which is further ahead than that by the wall clock here has not come there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ...errors import UnavailableError
from ..base import monotonic_seconds, stopped_seconds
from ..boto import requests as s3
from ..shared import request_log as log

if TYPE_CHECKING:
    from http.client import HTTPMessage, HTTPResponse
    from urllib.request import Request

MAX_SIGNATURE_SKEW = timedelta(minutes=15)
RESYNC_AFTER = 60.0
MAX_DIVERGENCE = 1.0
DRIFT = 0.0005
"""How much faster or slower one clock may run than another: what NTP slews at most."""
TIMEOUT = 2.0
"""How long its answer is waited for, at most: an event loop stands still meanwhile."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """The store's clock showed at least `date` when the clocks here showed `steady` and `wall`."""

    date: datetime
    steady: float
    wall: float
    stopped: float

    def is_current(self) -> bool:
        passed = monotonic_seconds() - self.steady
        if self.stopped != stopped_seconds():
            # The machine was stopped, or its wall clock set forward: what has passed is only the longest possible.
            return False
        return 0 <= passed < RESYNC_AFTER and abs(time.time() - self.wall - passed) < MAX_DIVERGENCE

    def at(self, moment: float) -> datetime:
        passed = moment - self.steady
        return self.date + timedelta(seconds=passed - DRIFT * abs(passed))


class ServerClock:
    """The clock of the store that serves the bucket at `url`. It is asked when somebody wants to know the time."""

    def __init__(
        self,
        url: str,
        signed_url: Callable[[], str],
        *,
        ca_bundle: str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._url = url
        self._signed_url = signed_url
        self._ca_bundle = ca_bundle
        self._timeout = min(TIMEOUT, timeout)
        self._sync_lock = threading.Lock()
        self._sample: _Sample | None = None

    def time_at(self, moment: float) -> datetime:
        """Return what the store's clock showed, at least, at `moment` of `monotonic_seconds`. May take a request.

        Raises UnavailableError, and UnsupportedStoreError for a store that tells no time.
        """
        sample = self._sample
        if sample is None or not sample.is_current():
            with self._sync_lock:
                sample = self._sample
                if sample is None or not sample.is_current():
                    sample = self._sample = self._sync()
        return sample.at(moment)

    def latest_at(self, moment: float) -> datetime:
        """Return a time that the store's clock cannot have passed at `moment`: S3 refuses signatures that are off."""
        wall = time.time() - monotonic_seconds() + moment
        return datetime.fromtimestamp(wall, UTC) + MAX_SIGNATURE_SKEW

    def _sync(self) -> _Sample:
        headers = self._head()
        # After the answer: the store's clock showed its Date before.
        return _Sample(s3.parse_date(headers.get("Date")), monotonic_seconds(), time.time(), stopped_seconds())

    def _head(self) -> HTTPMessage:
        from http.client import HTTPException
        from urllib.request import Request

        from ..shared.redaction import redacted

        opened, failure = _opener(self._ca_bundle, self._timeout), ""
        attempts: tuple[tuple[str, Callable[[], str]], ...]
        attempts = (("HeadBucket", lambda: self._url), ("HeadObject", self._signed_url))
        for operation, address in attempts:
            began, status = log.start(), log.NO_ANSWER
            try:
                with opened(Request(address(), method="HEAD")) as answer:  # noqa: S310 (http or https, as was checked)
                    status = answer.status
                    if status < 500:
                        return answer.headers
                    failure = f"{status}"
            except (OSError, HTTPException) as error:
                failure = redacted(f"{error}")
            finally:
                if began:
                    log.write(operation, self._url, began, status, 0)
        raise UnavailableError(
            f"The store's clock cannot be read with HEAD {self._url}: {failure}", maybe_applied=False
        )


def _opener(ca_bundle: str | None, timeout: float) -> Callable[[Request], HTTPResponse]:
    """Opens requests as other clients do here (proxies, certificates), and takes any answer for an answer."""
    from ssl import create_default_context
    from urllib.request import HTTPErrorProcessor, HTTPSHandler, build_opener

    class AcceptAnyStatus(HTTPErrorProcessor):
        def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:  # noqa: ARG002 (its name)
            return response

        https_response = http_response

    opener = build_opener(AcceptAnyStatus, HTTPSHandler(context=create_default_context(cafile=ca_bundle)))
    return lambda request: opener.open(request, timeout=timeout)
