"""Retry policies with short backoffs for the tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from s3dict import Client
from s3dict._retry import DEFAULT_POLICIES, RetryPolicies

QUICK: Any = {"initial_backoff": 0.001, "throttle_backoff": 0.001}


def quick_policies(*, writes: int | None = None, requests: int | None = None) -> RetryPolicies:
    """Return the default policies with short backoffs and, if given, another number of attempts."""
    return RetryPolicies(
        requests=replace(
            DEFAULT_POLICIES.requests,
            **QUICK,
            max_attempts=requests or DEFAULT_POLICIES.requests.max_attempts,
        ),
        writes=replace(DEFAULT_POLICIES.writes, **QUICK, max_attempts=writes or DEFAULT_POLICIES.writes.max_attempts),
    )


def throttled_policies() -> RetryPolicies:
    """Return the usual policies for the back end `limited`, whose seconds are shorter."""
    backoff: Any = {"throttle_backoff": 0.04}
    return RetryPolicies(
        requests=replace(DEFAULT_POLICIES.requests, **backoff), writes=replace(DEFAULT_POLICIES.writes, **backoff)
    )


def with_retries(client: Client, policies: RetryPolicies) -> Client:
    """Return the client, which has sent no request yet and now retries by those policies."""
    client._retries = policies
    return client


def quick(client: Client, *, writes: int | None = None, requests: int | None = None) -> Client:
    """Return the client with `quick_policies`."""
    return with_retries(client, quick_policies(writes=writes, requests=requests))


def soon_giving_up(client: Client) -> Client:
    """Return the client, which has sent no request yet and gives up after a tenth of a second of throttling.

    Only for a store that throttles to the end: a busy machine may take longer than that for any number of attempts.
    """
    return with_retries(client, client._retries.within(0.1))
