"""A Dict in memory, in a bucket of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from s3dict import Client, Dict
from s3dict._stores.memory import forget_memory_bucket


@pytest.fixture
def client() -> Iterator[Client]:
    bucket = f"interruption-{uuid4().hex}"
    yield Client(bucket, driver="memory")
    forget_memory_bucket(bucket)


@pytest.fixture
def handle(client: Client) -> Dict[Any, Any]:
    """A Dict that has been looked up."""
    handle: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    handle.hydrate()
    return handle
