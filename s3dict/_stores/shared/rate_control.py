"""The rate of bulk operations against a store that throttles.

Bulk operations send as fast as their concurrency allows until the store throttles them. From then on each attempt of
theirs reserves the next free slot of a `RateLimit`, at a rate that the store admits. One controller serves all threads
and event loops of a client in one process: a slot is reserved under a lock, and waited for outside of it.

Reads and writes have rates of their own, as stores limit them apart. Locks, renewals and single-key operations neither
wait here nor report: a 429 of one object does not concern the others.
"""

from __future__ import annotations

import math
import os
from copy import copy
from typing import TYPE_CHECKING, Self

from ..._retry import RetryPolicies, ThrottledError
from ...errors import Error
from ..base import Runtime, monotonic_seconds
from .forks import check_process

if TYPE_CHECKING:
    from .rate_limit import RateLimit


class RateController:
    """The limits of one client in one process."""

    def __init__(self) -> None:
        self._limits: dict[str, RateLimit] = {}

    @property
    def reads(self) -> RateLimit:
        return self._limit("reads")

    @property
    def writes(self) -> RateLimit:
        return self._limit("writes")

    def _limit(self, kind: str) -> RateLimit:
        limit = self._limits.get(kind)
        if limit is not None:
            return limit
        # Loaded for the first bulk operation: many processes make none, and pay for what they load.
        from .rate_limit import RateLimit

        # Threads that are here at once get the same one.
        return self._limits.setdefault(kind, RateLimit())


class Slot:
    """A request's place in the rate of its kind; that of a request that is not paced has no limit."""

    __slots__ = ("_limit", "_sent_at")

    def __init__(self, limit: RateLimit | None, sent_at: float) -> None:
        self._limit = limit
        self._sent_at = sent_at

    def accepted(self) -> None:
        """Note that the store did not throttle the request."""
        if self._limit is not None:
            self._limit.accepted(self._sent_at)

    def failed(self, error: Error) -> None:
        """Note how the request failed. Only throttling counts: other failures have other causes."""
        if self._limit is not None and isinstance(error, ThrottledError):
            error.progress_at = self._limit.last_accepted_at
            self._limit.throttled(self._sent_at)


_UNPACED = Slot(None, 0.0)
_READS = frozenset({"get_object", "head_object", "list_objects_v2"})


class HasPacedView:
    """Gives a store `paced`, and the slots of its requests, in the process that made it."""

    runtime: Runtime

    def __init__(self, rates: RateController, retries: RetryPolicies) -> None:
        self.retries = retries
        self.is_paced = False
        self._rates = rates
        self._pid = os.getpid()

    def paced(self) -> Self:
        """Return this store, with the same connections, for requests that the rate controller paces."""
        if self.is_paced:
            return self
        view = copy(self)
        view.is_paced, view.retries = True, self.retries.paced()
        return view

    async def reserve_slot(self, method: str) -> Slot:
        """Wait for the next slot for a request of that botocore method, unless this store is not paced.

        Raises:
            InvalidError: This is a forked child, which shares the connections of the store with its parent.
        """
        check_process(self._pid)
        if not self.is_paced:
            return _UNPACED
        limit = self._rates.reads if method in _READS else self._rates.writes
        if limit.is_unlimited:
            # Sent before any decrease, whenever that is.
            return Slot(limit, -math.inf)
        number = limit.reserve()
        while (seconds := limit.seconds_until(number)) > 0:
            await self.runtime.sleep(seconds)
        return Slot(limit, monotonic_seconds())
