"""Policies and attempts by themselves: budgets, deadlines, which error is raised in the end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import pytest

from s3dict import ConflictError, UnavailableError, UncertainOutcomeError
from s3dict._retry import (
    DEFAULT_POLICIES,
    SINGLE_ATTEMPT,
    RequestTimeoutError,
    RetryPolicy,
    RetryState,
    ThrottledError,
)

POLICY = RetryPolicy(max_attempts=3, initial_backoff=0.1, max_backoff=1.0, max_timeouts=2, throttle_budget=10.0)


@dataclass(slots=True)
class FakeTime:
    """A clock that only sleeping moves."""

    now: float = 100.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def interrupted(self) -> bool:
        return False


async def attempts(retry: RetryState, error: UnavailableError | None) -> int:
    """Return how many attempts are made when each fails in the same way."""
    made = 0
    while await retry.next_attempt():
        made += 1
        retry.record(error)
    return made


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UnavailableError("500"), 3),
        (None, 3),
        (RequestTimeoutError("no response"), 2),
    ],
)
async def test_attempts_are_limited_by_number_and_timeouts(error: UnavailableError | None, expected: int) -> None:
    assert await attempts(RetryState(POLICY, FakeTime()), error) == expected


async def test_throttled_attempts_are_limited_by_time_and_not_by_number() -> None:
    time = FakeTime()
    made = await attempts(RetryState(POLICY, time), ThrottledError("429"))
    assert made > POLICY.max_attempts
    assert 9.0 < time.now - 100.0 <= 10.0
    assert all(0.7 <= seconds <= 3.0 for seconds in time.slept[:4])


async def test_throttled_attempts_stop_before_the_deadline() -> None:
    time = FakeTime()
    await attempts(RetryState(POLICY, time, deadline=time.now + 2.0), ThrottledError("429"))
    assert 1.0 < time.now - 100.0 <= 2.0


async def test_retry_after_is_waited_for() -> None:
    time = FakeTime()
    await attempts(RetryState(POLICY, time), ThrottledError("429", retry_after=4.0))
    assert time.slept == [4.0, 4.0]


@pytest.mark.parametrize("retry_after", [11.0, 3600.0])
async def test_retry_after_beyond_the_budget_ends_the_attempts(retry_after: float) -> None:
    time = FakeTime()
    assert await attempts(RetryState(POLICY, time), ThrottledError("429", retry_after=retry_after)) == 1
    assert time.slept == []


async def test_a_single_attempt_is_not_repeated_when_throttled() -> None:
    assert await attempts(RetryState(SINGLE_ATTEMPT, FakeTime()), ThrottledError("429")) == 1


@pytest.mark.parametrize("conditional", [True, False])
async def test_an_ambiguous_attempt_stays_ambiguous_while_later_ones_are_throttled(conditional: bool) -> None:
    retry = RetryState(POLICY, FakeTime())
    await retry.next_attempt()
    retry.record(UnavailableError("500"))
    while await retry.next_attempt():
        retry.record(ThrottledError("429"))
    error = retry.final_error(conditional=conditional)
    assert isinstance(error, UncertainOutcomeError if conditional else UnavailableError)
    assert conditional or getattr(error, "maybe_applied", False)


async def test_only_throttled_attempts_are_certain_not_to_be_applied() -> None:
    retry = RetryState(POLICY, FakeTime())
    await attempts(retry, ThrottledError("429"))
    final = retry.final_error(conditional=True)
    assert isinstance(final, UnavailableError)
    assert not final.maybe_applied


async def test_conflicts_alone_end_in_a_conflict_error() -> None:
    retry = RetryState(POLICY, FakeTime())
    await attempts(retry, None)
    assert isinstance(retry.final_error(conditional=True), ConflictError)


def test_the_throttle_budget_is_the_timeout_and_never_more() -> None:
    assert DEFAULT_POLICIES.within(60.0).writes.throttle_budget == 60.0
    assert DEFAULT_POLICIES.within(60.0).within(2.0).writes.throttle_budget == 2.0
    assert replace(POLICY, throttle_budget=1.0).within(math.inf).throttle_budget == 1.0


async def test_the_throttle_budget_of_a_bulk_request_begins_again_with_each_accepted_one() -> None:
    time = FakeTime()
    retry = RetryState(replace(POLICY, throttle_backoff=1.0), time)
    while await retry.next_attempt() and time.now < 200.0:
        error = ThrottledError("429")
        error.progress_at = time.now
        retry.record(error)
    assert time.now >= 200.0


def test_backoff_has_a_limit_however_often_a_request_was_throttled() -> None:
    policy = DEFAULT_POLICIES.writes
    assert policy.throttle_backoff_seconds(10_000) <= 2 * policy.throttle_backoff
