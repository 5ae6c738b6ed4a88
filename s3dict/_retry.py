"""The one place that counts attempts: how often, how fast and for how long requests are retried.

A `RetryPolicy` holds the numbers. A `RetryState` runs the attempts of one call by them, and knows in the end which
error says what became of it:

    retry = RetryState(policy, runtime)
    while await retry.next_attempt():
        try:
            return await request()
        except UnavailableError as error:
            retry.record(error)
    raise retry.final_error()
"""

from __future__ import annotations

import math
from typing import Protocol

from ._record import Record, replace
from .errors import ConflictError, Error, UnavailableError, UncertainOutcomeError

UNLIMITED = math.inf
MIN_THROTTLE_WAIT = 0.05
MIN_PACED_BUDGET = 2.0


class RequestTimeoutError(UnavailableError):
    """No response, or no further part of it, arrived within the timeout."""


class UnexpectedResponseError(UnavailableError):
    """Not an S3 response: a proxy or gateway may be in between, or the store implements the request incompletely."""


class ThrottledError(UnavailableError):
    """The store refused the request because of its rate: 429, or an S3 error document with a throttling code.

    Nothing was applied. `retry_after` is the response's Retry-After in seconds, where there is one. `progress_at` is
    when the store last accepted a request of the same bulk operation, whose requests wait for each other.
    """

    progress_at: float = -math.inf

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message, maybe_applied=False)
        self.retry_after = retry_after


class RetryPolicy(Record):
    """How often, how fast and for how long a request is retried.

    Args:
        max_attempts: How often it is sent.
        initial_backoff: Half of the longest wait before the second attempt, in seconds. The longest wait doubles with
            each further attempt.
        max_backoff: The longest wait between two attempts, in seconds.
        max_timeouts: How many attempts may time out: each takes a timeout, whereas other failures arrive at once.
        throttle_budget: For how many seconds a throttled request is repeated; None for the client's timeout. Throttled
            attempts do not count towards `max_attempts`.
        throttle_backoff: The longest wait after the first throttled attempt, in seconds; it grows to twice that. A
            second is what stores need that accept one write per second and object (Cloudflare R2, Google Cloud
            Storage).
    """

    max_attempts: int
    initial_backoff: float
    max_backoff: float
    max_timeouts: int
    throttle_budget: float | None = None
    throttle_backoff: float = 1.5

    def within(self, timeout: float) -> RetryPolicy:
        """Return the policy for requests with that timeout, which limits the budget for throttling too."""
        budget = timeout if self.throttle_budget is None else min(timeout, self.throttle_budget)
        return replace(self, throttle_budget=budget)

    def paced(self) -> RetryPolicy:
        """Return the policy for requests that a rate controller paces, which waits in place of the backoff.

        Where a store counts by the second, nothing is accepted until the second is over, whatever the timeout.
        """
        budget = None if self.throttle_budget is None else max(MIN_PACED_BUDGET, self.throttle_budget)
        return replace(self, throttle_backoff=0.0, throttle_budget=budget)

    def backoff_seconds(self, attempt: int) -> float:
        """Return how many seconds to wait before the attempt of that number, from 1; the first attempt is number 0.

        Full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog): contenders spread out.
        """
        import random

        return random.uniform(0, min(self.max_backoff, self.initial_backoff * 2.0 ** min(attempt, 16)))

    def throttle_backoff_seconds(self, throttled: int) -> float:
        """Return how many seconds to wait after so many throttled attempts, where the store did not say.

        It hardly grows: of several writers of one object, those that came first must not be the last to try again.
        """
        import random

        return random.uniform(0.5, 1.0) * self.throttle_backoff * min(2.0, 1.25 ** (min(throttled, 9) - 1))


SINGLE_ATTEMPT = RetryPolicy(
    max_attempts=1, initial_backoff=0.0, max_backoff=0.0, max_timeouts=1, throttle_budget=0.0, throttle_backoff=0.0
)
"""For requests that the caller repeats."""


class RetryPolicies(Record):
    """The policies of one client.

    Args:
        requests: For requests that the store repeats by itself, because that does no harm: reads, listings, deletions.
        writes: For puts and conditional requests, which only the operation may repeat: it knows what an earlier
            attempt may have done.
    """

    requests: RetryPolicy = RetryPolicy(max_attempts=4, initial_backoff=0.25, max_backoff=2.0, max_timeouts=4)
    writes: RetryPolicy = RetryPolicy(max_attempts=8, initial_backoff=0.05, max_backoff=2.0, max_timeouts=4)

    def within(self, timeout: float) -> RetryPolicies:
        """Return the policies for a store with that timeout."""
        return RetryPolicies(self.requests.within(timeout), self.writes.within(timeout))

    def paced(self) -> RetryPolicies:
        """Return the policies for requests that a rate controller paces."""
        return RetryPolicies(self.requests.paced(), self.writes.paced())


DEFAULT_POLICIES = RetryPolicies()


class Waiter(Protocol):
    """What a retry needs of a runtime."""

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...

    def interrupted(self) -> bool: ...


class RetryState:
    """The attempts of one call, and what became of them.

    Args:
        policy: The limits.
        waiter: How to wait, and the clock of `deadline`.
        max_attempts: Another limit than the policy's: compare-and-set loops, which repeat more than a request, have one
            of their own, and waiting for a lock has none.
        deadline: No attempt begins later than this, by the waiter's `monotonic`.
    """

    __slots__ = (
        "_attempt",
        "_conflict",
        "_deadline",
        "_max_attempts",
        "_policy",
        "_throttle_waited",
        "_throttled",
        "_throttled_since",
        "_waiter",
        "ambiguous_error",
        "last_error",
        "timeouts",
    )

    def __init__(
        self, policy: RetryPolicy, waiter: Waiter, *, max_attempts: float | None = None, deadline: float = math.inf
    ) -> None:
        self.last_error: Error | None = None
        """How the last attempt failed; None where it was refused with a 409, or where nothing was recorded."""
        self.ambiguous_error: Error | None = None
        """How the last attempt failed that may have taken effect."""
        self.timeouts = 0
        self._policy = policy
        self._waiter = waiter
        self._max_attempts = policy.max_attempts if max_attempts is None else max_attempts
        self._deadline = deadline
        self._attempt = 0
        self._conflict = ""
        self._throttled = 0
        self._throttled_since = math.inf
        self._throttle_waited = 0.0

    @property
    def retries(self) -> int:
        """How many attempts have been made after the first."""
        return max(0, self._attempt - 1)

    async def next_attempt(self) -> bool:
        """Wait for the backoff, and return True; return False when there is to be no further attempt.

        The first attempt begins at once. There is no limit of time but the deadline and, while the store throttles, its
        budget: a large body on a slow link takes many timeouts, and makes progress all the while.
        """
        if self._attempt and not await self._wait():
            return False
        self._attempt += 1
        return True

    def shorten_backoff(self) -> None:
        """Wait as before the second attempt again, because what is waited for has moved on."""
        self._attempt = min(self._attempt, self._throttled + 2)

    async def backoff(self) -> None:
        """Wait as before another attempt, without making one."""
        await self._waiter.sleep(self._policy.backoff_seconds(max(1, self._attempt)))

    def record(self, error: Error | None, conflict: str = "") -> None:
        """Note how an attempt failed; None is a 409, with its code, which is neither a failure nor ambiguous."""
        self._conflict = conflict or self._conflict
        if error is not None:
            # It refers to the caller's frame, which refers to this: the cycle would keep the request's body.
            error.__traceback__ = None
        self.last_error = error
        if isinstance(error, UnavailableError) and error.maybe_applied:
            self.ambiguous_error = error
        self.timeouts += isinstance(error, RequestTimeoutError)
        if isinstance(error, ThrottledError):
            self._throttled += 1
            self._throttled_since = min(self._throttled_since, self._waiter.monotonic())
            if error.progress_at > self._throttled_since:
                self._throttled_since, self._throttle_waited = error.progress_at, 0.0
        else:
            self._throttled_since, self._throttle_waited = math.inf, 0.0

    def final_error(self, *, conditional: bool = False) -> Error:
        """Return the error to raise after the last attempt: nothing is said to have failed that may have taken effect.

        It is not kept here.

        Args:
            conditional: Whether the request has a condition, so that "it may have been applied" is all that is known.
                Any other write leads to the same state when the caller repeats it.
        """
        last, ambiguous = self.last_error, self.ambiguous_error
        self.last_error = self.ambiguous_error = None
        if ambiguous is None:
            conflict = self._conflict or "conflict"
            return last or ConflictError(
                f"The store kept responding with 409 ({conflict}) to this request: retry later"
            )
        why = last or ambiguous
        if conditional:
            uncertain = UncertainOutcomeError(
                f"The outcome is unknown: a response was lost, so the request may or may not have been applied. {why}"
            )
            uncertain.__cause__ = why
            return uncertain
        if isinstance(last, UnavailableError) and last.maybe_applied:
            return last
        return UnavailableError(f"{why} (an earlier attempt may have been applied: {ambiguous})")

    async def _wait(self) -> bool:
        now = self._waiter.monotonic()
        left = self._deadline - now
        if isinstance(self.last_error, ThrottledError):
            seconds = self._throttle_wait(self.last_error, now, left)
        elif self._attempt - self._throttled >= self._max_attempts or self.timeouts >= self._policy.max_timeouts:
            return False
        else:
            seconds = min(left, self._policy.backoff_seconds(self._attempt - self._throttled))
        if left <= 0 or seconds is None:
            return False
        await self._waiter.sleep(seconds)
        return not self._waiter.interrupted()

    def _throttle_wait(self, error: ThrottledError, now: float, left: float) -> float | None:
        """Return how long to wait after a throttled attempt; None when its budget or the deadline would be exceeded."""
        budget = math.inf if self._policy.throttle_budget is None else self._policy.throttle_budget
        # Waits count as requested: a test may shorten them.
        left = min(left, budget - max(now - self._throttled_since, self._throttle_waited))
        wait = error.retry_after or 0.0
        if left <= MIN_THROTTLE_WAIT or wait > left:
            return None
        # Half of what is left at most: the last attempts are to be made before the end.
        backoff = self._policy.throttle_backoff_seconds(self._throttled)
        wait = max(wait, min(backoff, max(MIN_THROTTLE_WAIT, left / 2)))
        self._throttle_waited += wait
        return wait
