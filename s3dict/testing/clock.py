"""Clock: moves the time of a client in memory."""

from __future__ import annotations

from datetime import datetime, timedelta

from .._client import Client
from ..errors import InvalidError
from .memory import memory_bucket_of


class Clock:
    """The time of all clients of one bucket in memory.

    ::

        def test_a_cart_is_kept_for_a_month(s3dict_memory_client):
            carts = Dict.from_name("carts", create_if_missing=True, ttl=timedelta(days=30))
            carts["alice"] = ["tea"]
            Clock(s3dict_memory_client).advance(timedelta(days=35))
            assert "alice" not in carts

    It moves the store's clock and that of its clients: what has been written is so much older, entries and leases run
    out, and handles ask again whether their dict is there. It is as if this process had been stopped for so long: the
    heartbeat of a lock that is held runs in real time, so the lock is lost if the time is longer than its lease.

    Raises:
        InvalidError: the client is not in memory. Nobody can move the clock of a real S3, a local one included.
    """

    def __init__(self, client: Client) -> None:
        self._bucket = memory_bucket_of(client, "Clock")

    def advance(self, time: timedelta) -> None:
        """Moves the time forward.

        Raises:
            InvalidError: the time is negative. A store's clock does not go back.
        """
        if time < timedelta(0):
            raise InvalidError(f"The clock cannot be moved by {time}: it does not go back")
        self._bucket.advance(time)

    def now(self) -> datetime:
        """The store's time, in UTC and in whole seconds, as S3 tells it."""
        return self._bucket.date()
