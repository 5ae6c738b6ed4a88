"""The one place that counts attempts: how often, how fast and for how long anything here is retried.

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
from dataclasses import dataclass
from typing import Protocol

from .errors import ConflictError, Error, UnavailableError, UncertainOutcomeError

UNLIMITED = math.inf


class RequestTimeoutError(UnavailableError):
    """No response, or no further part of it, arrived within the timeout."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, how fast and for how long a request is retried.

    Args:
        max_attempts: How often it is sent.
        initial_backoff: The longest wait before the second attempt, in seconds, doubled; it doubles with each further.
        max_backoff: The longest wait between two attempts, in seconds.
        max_timeouts: How many attempts may time out: each takes a timeout, whereas other failures arrive at once.
    """

    max_attempts: int
    initial_backoff: float
    max_backoff: float
    max_timeouts: int

    def backoff_seconds(self, attempt: int) -> float:
        """Return how many seconds to wait before the attempt of that number, from 1; the first attempt is number 0.

        Full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog): contenders spread out.
        """
        import random

        return random.uniform(0, min(self.max_backoff, self.initial_backoff * 2.0 ** min(attempt, 16)))


@dataclass(frozen=True, slots=True)
class RetryPolicies:
    """The policies of one client.

    Args:
        requests: For requests that the store repeats by itself, because that does no harm: reads, listings, deletions.
        writes: For puts and conditional requests, which only the operation may repeat: it knows what an earlier
            attempt may have done.
    """

    requests: RetryPolicy = RetryPolicy(max_attempts=4, initial_backoff=0.25, max_backoff=2.0, max_timeouts=4)
    writes: RetryPolicy = RetryPolicy(max_attempts=8, initial_backoff=0.05, max_backoff=2.0, max_timeouts=4)


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
        "_deadline",
        "_max_attempts",
        "_policy",
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

    @property
    def retries(self) -> int:
        """How many attempts have been made after the first."""
        return max(0, self._attempt - 1)

    async def next_attempt(self) -> bool:
        """Wait for the backoff, and return True; return False when there is to be no further attempt.

        The first attempt begins at once. There is no limit of time but the deadline: a large body on a slow link takes
        many timeouts, and makes progress all the while.
        """
        if self._attempt and not await self._wait():
            return False
        self._attempt += 1
        return True

    async def backoff(self) -> None:
        """Wait as before another attempt, without making one."""
        await self._waiter.sleep(self._policy.backoff_seconds(max(1, self._attempt)))

    def record(self, error: Error | None) -> None:
        """Note how an attempt failed; None is a 409, which is neither a failure nor ambiguous."""
        self.last_error = error
        if isinstance(error, UnavailableError) and error.maybe_applied:
            self.ambiguous_error = error
        self.timeouts += isinstance(error, RequestTimeoutError)

    def final_error(self, *, conditional: bool = False) -> Error:
        """Return the error to raise after the last attempt: nothing is said to have failed that may have taken effect.

        Args:
            conditional: Whether the request has a condition, so that "it may have been applied" is all that is known.
                Any other write leads to the same state when the caller repeats it.
        """
        last, ambiguous = self.last_error, self.ambiguous_error
        if ambiguous is None:
            return last or ConflictError("The store kept responding with 409 (conflict) to this request: retry later")
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
        left = self._deadline - self._waiter.monotonic()
        if self._attempt >= self._max_attempts or self.timeouts >= self._policy.max_timeouts or left <= 0:
            return False
        await self._waiter.sleep(min(left, self._policy.backoff_seconds(self._attempt)))
        return not self._waiter.interrupted()
