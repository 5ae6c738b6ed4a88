"""aiocache's acceptance tests over S3DictCache."""

import os

import pytest

from s3dict.integrations.aiocache import S3DictCache

from .test_base import TestCache
from .test_lock import TestOptimisticLock, TestRedLock
from .test_lock import lock as _lock

__all__ = ["TestCache", "TestOptimisticLock", "TestRedLock"]

lock = _lock


@pytest.fixture
async def cache():
    async with S3DictCache(f"aiocache-{os.getpid()}", namespace="test", timeout=60) as cache:
        yield cache
        await cache.clear()
