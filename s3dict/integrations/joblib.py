"""A store backend for `joblib.Memory`.

::

    register()
    memory = joblib.Memory("my-cache", backend="s3dict", backend_options={"bucket": "my-bucket"})

Results live as long as they are read within the Dict's ttl; joblib's `reduce_size` has nothing to do.
"""

# joblib's base class has neither types nor results.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from typing import Any

from joblib import register_store_backend
from joblib._store_backends import StoreBackendBase, StoreBackendMixin

from .. import InvalidError
from ._options import DEFAULT_TTL, open_dict

__all__ = ["S3DictStoreBackend", "register"]


class S3DictStoreBackend(StoreBackendBase, StoreBackendMixin):  # type: ignore[misc]
    """Files of joblib's cache as entries of a Dict of bytes, named by their paths."""

    def configure(self, location: str, verbose: int = 0, backend_options: dict[str, Any] | None = None) -> None:
        options: dict[str, Any] = dict(backend_options or {})
        self.verbose = verbose
        self.compress = options.pop("compress", False)
        if options.pop("mmap_mode", None) is not None:
            raise InvalidError("mmap_mode needs files: leave it out with the backend 's3dict'")
        self.mmap_mode = None
        self.location = location
        ttl: float | timedelta | None = options.pop("ttl", DEFAULT_TTL)
        # Memory adds a folder of its own to the location that it is given, unless that is a Path.
        parent, folder = os.path.split(location)
        self._dict = open_dict(parent if folder == "joblib" else location, ttl=ttl, codec="bytes", **options)

    def _open_item(self, path: str, mode: str) -> BytesIO:
        key = _key(path)
        if mode == "rb":
            stored = self._dict.get(key)
            if stored is None:
                raise FileNotFoundError(path)
            return BytesIO(stored)
        return _Upload(lambda body: self._dict.put(key, body))

    def _item_exists(self, location: str) -> bool:
        """Return whether a file exists; folders always do."""
        return not _is_file(location) or self._dict.contains(_key(location))

    object_exists = _item_exists

    def _move_item(self, src: str, dst: str) -> None:
        # In this order: an interruption leaves it under both names.
        self._dict.put(_key(dst), self._open_item(src, "rb").getvalue())
        self._dict.discard(_key(src))

    def _concurrency_safe_write(self, item: Any, path: str, write: Callable[[Any, str], None]) -> None:
        """Write the file in one step: a put is atomic, so that no temporary file is needed."""
        write(item, path)

    def create_location(self, location: str) -> None:
        """Do nothing: folders exist with their files."""

    def clear_location(self, location: str) -> None:
        """Delete a folder; the keys are listed for it."""
        folder = _key(location) + "/"
        self._dict.discard_many([path for path in self._dict if path.startswith(folder)])

    def get_items(self) -> list[Any]:
        raise InvalidError(
            "Results in a Dict are deleted by its ttl, not by reduce_size(): choose backend_options={'ttl': ...}"
        )


class _Upload(BytesIO):
    """A file that is put when it is closed; not if an exception ends the `with` block."""

    def __init__(self, upload: Callable[[bytes], object]) -> None:
        super().__init__()
        self._upload = upload

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None:
            self._upload(self.getvalue())
        self.close()


def _key(path: str) -> str:
    """Return the key of a file, which is the same on Windows."""
    return path.replace(os.sep, "/")


def _is_file(path: str) -> bool:
    return path.endswith((".pkl", ".json", ".py"))


def register() -> None:
    """Make the backend known to joblib as "s3dict"."""
    register_store_backend("s3dict", S3DictStoreBackend)
