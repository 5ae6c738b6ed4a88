"""A client for the time of one test, in the place of what the environment describes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from .._client import Client
from .._handle import detach_env_handles
from .._stores.memory import forget_memory_bucket

if TYPE_CHECKING:
    from .seaweedfs import LocalServer

# These would go with the server's credentials, or in their place.
CONFLICTING_VARIABLES = ("AWS_SESSION_TOKEN", "AWS_PROFILE")


@contextmanager
def memory_client() -> Iterator[Client]:
    """An empty client in memory, which is what ``Client.from_env()`` gives meanwhile."""
    bucket = f"test-{uuid4()}"
    try:
        with _environment({"S3DICT_DRIVER": "memory", "S3DICT_BUCKET": bucket}) as client:
            yield client
    finally:
        forget_memory_bucket(bucket)


@contextmanager
def local_client(server: LocalServer) -> Iterator[Client]:
    """A client with a prefix of its own on the server, which is what ``Client.from_env()`` gives meanwhile."""
    with _environment({**server.environment(), "S3DICT_PREFIX": f"test-{uuid4()}"}) as client:
        yield client


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[Client]:
    strange = [name for name in os.environ if name.startswith("S3DICT_") or name in CONFLICTING_VARIABLES]
    with pytest.MonkeyPatch.context() as patch:
        for name in strange:
            patch.delenv(name)
        for name, value in settings.items():
            patch.setenv(name, value)
        client = Client.from_env()
        try:
            yield client
        finally:
            # A handle at module level outlives the test: the next must not find the last one's dict.
            detach_env_handles(client)
