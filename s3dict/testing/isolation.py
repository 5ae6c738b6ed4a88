"""A client for one test, in place of the one that the environment describes."""

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
from .variables import CONFLICTING_VARIABLES

if TYPE_CHECKING:
    from .seaweedfs import LocalServer


@contextmanager
def memory_client() -> Iterator[Client]:
    """Yield an empty client in memory; ``Client.from_env()`` returns it inside of the context."""
    bucket = f"test-{uuid4()}"
    try:
        with _environment({"S3DICT_DRIVER": "memory", "S3DICT_BUCKET": bucket}) as client:
            yield client
    finally:
        forget_memory_bucket(bucket)


@contextmanager
def local_client(server: LocalServer) -> Iterator[Client]:
    """Yield a client with its own prefix on the server; ``Client.from_env()`` returns it inside of the context."""
    with _environment({**server.environment(), "S3DICT_PREFIX": f"test-{uuid4()}"}) as client:
        yield client


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[Client]:
    inherited = [name for name in os.environ if name.startswith("S3DICT_") or name in CONFLICTING_VARIABLES]
    with pytest.MonkeyPatch.context() as patch:
        for name in inherited:
            patch.delenv(name)
        for name, value in settings.items():
            patch.setenv(name, value)
        client = Client.from_env()
        try:
            yield client
        finally:
            # A handle at module level outlives the test: the next test must not find this one's dict.
            detach_env_handles(client)
