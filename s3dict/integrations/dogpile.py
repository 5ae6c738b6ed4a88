"""A backend for dogpile.cache, registered as ``s3dict``.

::

    region = make_region().configure(
        "s3dict",
        expiration_time=3600,
        arguments={"name": "my-cache", "bucket": "my-bucket", "distributed_lock": True},
    )
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from dogpile.cache.api import NO_VALUE, BytesBackend, CacheMutex, SerializedReturnType

from .. import Client, InvalidError, Lock, LockLostError
from ._options import DEFAULT_TTL, as_ttl, open_dict

__all__ = ["S3DictBackend"]


class S3DictBackend(BytesBackend):
    """A dogpile.cache backend in a Dict of bytes; the region's serializer makes them.

    Args:
        arguments: `name` of the Dict; `entry_ttl`, seconds or a timedelta after which an entry expires in the store,
            which should be more than the region's `expiration_time` (dogpile returns old values while a new one is
            computed), and 0 for never; `ttl` of the Dict, also seconds or a timedelta; `distributed_lock`, whether one
            process at a time creates a value, and `lock_lease`, the seconds for which a holder that has died keeps the
            lock (30); and arguments of `s3dict.Client`. Others are ignored, as dogpile expects.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        options = {"name": "dogpile", "ttl": DEFAULT_TTL, **arguments}
        self._distributed_lock = options.pop("distributed_lock", False)
        self._lease = options.pop("lock_lease", 30)
        entry_ttl = options.pop("entry_ttl", None)
        if not isinstance(entry_ttl, (int, float, timedelta, type(None))):
            raise InvalidError(f"Invalid entry_ttl: {entry_ttl!r}. It is a number of seconds or a timedelta")
        self._ttl = as_ttl(entry_ttl or None, options["ttl"])
        # dogpile passes on all arguments of an application's configuration; backends take theirs.
        known = {"ttl", "client", "environment_name", *inspect.signature(Client).parameters}
        self._dict = open_dict(
            options["name"], codec="bytes", **{name: value for name, value in options.items() if name in known}
        )

    def get_mutex(self, key: str) -> CacheMutex | None:
        if not self._distributed_lock:
            return None
        return _Mutex(self._dict.lock(f"dogpile {key}", lease=self._lease))

    def get_serialized(self, key: str) -> SerializedReturnType:
        value: SerializedReturnType = self._dict.get(key, NO_VALUE)
        return value

    def get_serialized_multi(self, keys: Iterable[str]) -> Sequence[SerializedReturnType]:
        wanted = list(keys)
        found = self._dict.get_many(wanted)
        return [found.get(key, NO_VALUE) for key in wanted]

    def set_serialized(self, key: str, value: bytes) -> None:
        self._dict.put(key, value, ttl=self._ttl)

    def set_serialized_multi(self, mapping: Mapping[str, bytes]) -> None:
        self._dict.put_many(mapping.items(), ttl=self._ttl)

    def delete(self, key: str) -> None:
        self._dict.discard(key)

    def delete_multi(self, keys: Iterable[str]) -> None:
        self._dict.discard_many(keys)


class _Mutex(CacheMutex):
    """A Lock as dogpile uses it: it may be released by another thread than acquired it."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    def acquire(self, wait: bool = True) -> bool:
        return self._lock.acquire(blocking=wait) is not None

    def release(self) -> None:
        # The value has been created and stored: a lock that was lost meant that another caller may create it too.
        with suppress(LockLostError):
            self._lock.release()

    def locked(self) -> bool:
        return self._lock.locked()
