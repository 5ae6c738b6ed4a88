"""py-key-value's suite for stores over S3DictStore."""

import uuid

import pytest

from s3dict.integrations.py_key_value import S3DictStore

from .base import BaseStoreTests


class TestS3DictStore(BaseStoreTests):
    @pytest.fixture
    async def store(self):
        store = S3DictStore(name_prefix=f"kv{uuid.uuid4().hex[:6]}-")
        await store.put("warm", {"up": True}, collection="warm-up")
        return store
