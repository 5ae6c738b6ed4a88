"""cachelib's suites for caches over S3DictCache."""

import uuid

import pytest
from clear import ClearTests
from common import CommonTests
from delete_many_with_prefix import DeleteManyWithPrefixTests
from has import HasTests

from s3dict.integrations.cachelib import S3DictCache


class TestS3DictCache(CommonTests, ClearTests, HasTests, DeleteManyWithPrefixTests):
    @pytest.fixture(autouse=True)
    def cache_factory(self, request, key_prefix):
        def factory(self, *args, **options):
            options.setdefault("key_prefix", key_prefix or "")
            return S3DictCache(f"cachelib-{uuid.uuid4().hex}", *args, **options)

        request.cls.cache_factory = factory
