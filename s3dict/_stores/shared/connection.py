"""What every store of a client is built from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..._retry import DEFAULT_POLICIES, RetryPolicies
from .rate_control import RateController

if TYPE_CHECKING:
    import boto3

    from .events import RequestObserver


@dataclass(frozen=True, slots=True)
class Connection:
    """A bucket, how it is reached, and how patiently.

    Args:
        bucket: The bucket's name.
        endpoint_url: The URL of a store other than AWS; None for AWS.
        region_name: The region to sign for; None where boto3's configuration decides.
        session: The boto3 session whose credentials are used; None for boto3's own chain.
        concurrency: The number of connections, and of threads for blocking calls.
        timeout: Seconds that a request waits without receiving anything.
        retries: The limits of retries.
        rates: The rate controller, which all stores of a client in one process share.
        observer: What each request is reported to; None for nothing.
    """

    bucket: str
    endpoint_url: str | None = None
    region_name: str | None = None
    session: boto3.Session | None = field(default=None, repr=False)
    concurrency: int = 64
    timeout: float = 60.0
    retries: RetryPolicies = DEFAULT_POLICIES
    rates: RateController = field(default_factory=RateController, repr=False)
    observer: RequestObserver | None = field(default=None, repr=False)

    def with_timeout(self, timeout: float) -> Connection:
        return replace(self, timeout=timeout)
