"""The bucket behind a client in memory."""

from __future__ import annotations

from .._client import Client
from .._stores.memory import MemoryBucket, memory_bucket
from ..errors import InvalidError


def memory_bucket_of(client: Client, purpose: str) -> MemoryBucket:
    """Return the client's bucket. Raises InvalidError for the client of a real store."""
    if client.driver != "memory":
        raise InvalidError(
            f"{purpose} requires a client in memory, not {client!r}: use the fixture s3dict_memory_client, or "
            "Client(..., driver='memory')"
        )
    return memory_bucket(client.bucket)
