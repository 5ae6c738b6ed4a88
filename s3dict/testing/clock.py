"""Clock: moves the time of a client in memory."""

from __future__ import annotations

from datetime import datetime, timedelta

from .._client import Client
from ..errors import InvalidError
from .memory import memory_bucket_of


class Clock:
    """The time of all clients of one bucket in memory.

    ::

        def test_cart_expires_after_a_month(s3dict_memory_client):
            carts = Dict.from_name("carts", create_if_missing=True, ttl=timedelta(days=30))
            carts["alice"] = ["tea"]
            Clock(s3dict_memory_client).advance(timedelta(days=35))
            assert "alice" not in carts

    It moves the clock of the store and of its clients: stored objects become that much older, entries and leases
    expire, and handles revalidate their dict. The effect is that of this process having been suspended: the heartbeat
    of a held lock runs in real time, so the lock is lost if the time is longer than its lease.

    Raises:
        InvalidError: The client is not in memory. The clock of a real S3, a local one included, cannot be moved.
    """

    def __init__(self, client: Client) -> None:
        self._bucket = memory_bucket_of(client, "Clock")

    def advance(self, time: timedelta) -> None:
        """Move the time forward.

        Raises:
            InvalidError: The time is negative.
        """
        if time < timedelta(0):
            raise InvalidError(f"The clock cannot be moved by {time}: it does not go back")
        self._bucket.advance(time)

    def now(self) -> datetime:
        """Return the store's time in UTC and in whole seconds, as S3 reports it."""
        return self._bucket.date()
