"""joblib's tests of Memory and of its stores, with the backend s3dict in place of folders."""

import hashlib

import joblib
from joblib.test import test_memory, test_store_backends

from s3dict.integrations.joblib import S3DictStoreBackend, register

register()


class Memory(joblib.Memory):
    def __init__(self, location=None, backend="s3dict", **options):
        if location is not None and backend == "s3dict":
            location = _name(location)
        super().__init__(location=location, backend=backend, **options)


class Backend(S3DictStoreBackend):
    def configure(self, location, verbose=0, backend_options=None):
        super().configure(f"{_name(location)}/joblib", verbose, backend_options)


def _name(location):
    """The folder of a test as the name of a Dict."""
    return "j" + hashlib.sha256(str(location).encode()).hexdigest()[:30]


test_memory.Memory = Memory
test_store_backends.FileSystemStoreBackend = Backend

from joblib.test.test_memory import *  # noqa: E402, F403
from joblib.test.test_store_backends import *  # noqa: E402, F403
