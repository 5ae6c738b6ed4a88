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
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from ...errors import UnavailableError
from ..base import steady_seconds
from ..boto import requests as s3
from ..shared import request_log as log

if TYPE_CHECKING:
    from http.client import HTTPMessage, HTTPResponse
    from urllib.request import Request

SIGNED_WITHIN = timedelta(minutes=15)
TRUSTED_SECONDS = 60.0
PARTED_SECONDS = 1.0
DRIFT = 0.0005
"""How much faster or slower one clock may run than another: what NTP slews at most."""
PATIENCE_SECONDS = 2.0
"""How long its answer is waited for, at most: an event loop stands still meanwhile."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The store's clock when an answer of it arrived, which was at `steady` here."""

    clock: StoreClock
    steady: float

    def date(self) -> datetime:
        return self.clock.at(self.steady)

    def has_reached(self, moment: datetime) -> bool:
        wall = datetime.fromtimestamp(time.time() - steady_seconds() + self.steady, timezone.utc)
        return wall + SIGNED_WITHIN >= moment and self.date() >= moment

    def __add__(self, later: timedelta, /) -> Answered:
        return Answered(self.clock, self.steady + later.total_seconds())


@dataclass(frozen=True, slots=True)
class _Reading:
    """The store's clock showed at least `date` when the clocks here showed `steady` and `wall`."""

    date: datetime
    steady: float
    wall: float

    def is_current(self) -> bool:
        passed = steady_seconds() - self.steady
        return 0 <= passed < TRUSTED_SECONDS and abs(time.time() - self.wall - passed) < PARTED_SECONDS

    def at(self, moment: float) -> datetime:
        passed = moment - self.steady
        return self.date + timedelta(seconds=passed - DRIFT * abs(passed))


class StoreClock:
    """The clock of the store that serves the bucket at `url`. It is asked when somebody wants to know the time."""

    def __init__(
        self,
        url: str,
        signed_url: Callable[[], str],
        *,
        ca_bundle: str | None = None,
        timeout: float = PATIENCE_SECONDS,
    ) -> None:
        self._url = url
        self._signed_url = signed_url
        self._ca_bundle = ca_bundle
        self._timeout = min(PATIENCE_SECONDS, timeout)
        self._asking = threading.Lock()
        self._reading: _Reading | None = None

    def at(self, moment: float) -> datetime:
        """What the store's clock showed, at least, when `steady_seconds` gave `moment`. At times this takes a request.

        Raises UnavailableError, and UnsupportedStoreError for a store that tells no time.
        """
        reading = self._reading
        if reading is None or not reading.is_current():
            with self._asking:
                reading = self._reading
                if reading is None or not reading.is_current():
                    reading = self._reading = self._ask()
        return reading.at(moment)

    def _ask(self) -> _Reading:
        headers = self._head()
        # After the answer: the store's clock showed its Date before.
        return _Reading(s3.parse_date(headers.get("Date")), steady_seconds(), time.time())

    def _head(self) -> HTTPMessage:
        from http.client import HTTPException
        from urllib.request import Request

        from ..shared.redaction import redacted

        opened, failure = _opener(self._ca_bundle, self._timeout), ""
        ways: tuple[tuple[str, Callable[[], str]], ...]
        ways = (("HeadBucket", lambda: self._url), ("HeadObject", self._signed_url))
        for operation, address in ways:
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
        raise UnavailableError(f"The store's clock cannot be read with HEAD {self._url}: {failure}", sent=False)


def _opener(ca_bundle: str | None, timeout: float) -> Callable[[Request], HTTPResponse]:
    """Opens requests as other clients do here (proxies, certificates), and takes any answer for an answer."""
    from ssl import create_default_context
    from urllib.request import HTTPErrorProcessor, HTTPSHandler, build_opener

    class AsItComes(HTTPErrorProcessor):
        def http_response(self, request: Request, response: HTTPResponse) -> HTTPResponse:  # noqa: ARG002 (its name)
            return response

        https_response = http_response

    opener = build_opener(AsItComes, HTTPSHandler(context=create_default_context(cafile=ca_bundle)))
    return lambda request: opener.open(request, timeout=timeout)
