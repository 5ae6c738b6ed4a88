"""dogpile.cache's suites for backends over S3DictBackend."""

import os

from dogpile.cache import register_backend
from dogpile.testing.fixtures import (
    _GenericBackendTestSuite,
    _GenericMutexTestSuite,
    _GenericSerializerTestSuite,
)

# The distribution registers it by an entry point, which a checkout on the path does not have.
register_backend("s3dict-peer", "s3dict.integrations.dogpile", "S3DictBackend")


def arguments(**extra):
    return {"arguments": {"name": f"dogpile-{os.getpid()}", **extra}}


class TestBackend(_GenericBackendTestSuite):
    backend = "s3dict-peer"
    config_args = arguments()


class TestDistributedBackend(_GenericBackendTestSuite):
    backend = "s3dict-peer"
    config_args = arguments(distributed_lock=True)


class TestExpiringBackend(_GenericBackendTestSuite):
    backend = "s3dict-peer"
    config_args = arguments(entry_ttl=60)


class TestMutex(_GenericMutexTestSuite):
    backend = "s3dict-peer"
    config_args = arguments(distributed_lock=True)


class TestSerializer(_GenericSerializerTestSuite, _GenericBackendTestSuite):
    backend = "s3dict-peer"
    config_args = arguments()
