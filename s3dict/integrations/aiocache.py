"""A cache for aiocache.

::

    cache = S3DictCache("my-cache", bucket="my-bucket", namespace="main")
    caches.set_config({"default": {"cache": "s3dict.integrations.aiocache.S3DictCache", "name": "my-cache"}})
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from aiocache.base import BaseCache
from aiocache.serializers import NullSerializer

from ._options import DEFAULT_TTL, as_ttl, open_dict

__all__ = ["S3DictCache"]

_BASE_ARGUMENTS = ("plugins", "namespace", "key_builder", "timeout", "ttl")

_Stored = tuple[float | None, Any]
"""When an entry expires, by the clock of who wrote it, and the value.

An entry's ttl counts whole seconds and never ends early, but aiocache's users expect an entry of half a second to be
gone after half a second. The ttl stays what bounds the lifetime however wrong the clocks are.
"""


class S3DictCache(BaseCache):  # type: ignore[misc]
    """An aiocache cache in a Dict. Compare-and-set tokens are versions of the entries.

    Args:
        name: The Dict's name.
        serializer: Values are pickled by the Dict; None leaves them as they are.
        max_ttl: The ttl of the Dict. An entry without a ttl lives as long as it is read within it.
        kwargs: Arguments of aiocache's BaseCache (`namespace`, `ttl`, `timeout`, `plugins`, `key_builder`); all others
            are those of `s3dict.Client`, or a `client`. Without any, the environment names the client.
    """

    NAME = "s3dict"

    def __init__(
        self,
        name: str = "aiocache",
        serializer: Any = None,
        *,
        max_ttl: float | timedelta | None = DEFAULT_TTL,
        **kwargs: Any,
    ) -> None:
        base = {name: kwargs.pop(name) for name in _BASE_ARGUMENTS if name in kwargs}
        super().__init__(serializer=serializer or NullSerializer(), **base)
        self._max_ttl = max_ttl
        self._dict = open_dict(name, ttl=max_ttl, **kwargs)

    def _build_key(self, key: Any, namespace: str | None = None) -> str:
        """Return the namespace and the key, with a colon between: one namespace may begin as another does."""
        space = self.namespace if namespace is None else namespace
        return str(super()._build_key(key, f"{space}:" if space else ""))

    async def _get(self, key: str, encoding: str | None = "utf-8", _conn: Any = None) -> Any:
        return _live(await self._dict.get.aio(key))

    async def _gets(self, key: str, encoding: str | None = "utf-8", _conn: Any = None) -> str | None:
        entry = await self._dict.entry.aio(key)
        return None if entry is None or _has_expired(entry.value) else entry.version

    async def _multi_get(self, keys: Sequence[str], encoding: str | None = "utf-8", _conn: Any = None) -> list[Any]:
        found = await self._dict.get_many.aio(keys)
        return [_live(found.get(key)) for key in keys]

    async def _set(
        self, key: str, value: Any, ttl: float | None = None, _cas_token: str | None = None, _conn: Any = None
    ) -> bool:
        return await self._dict.put.aio(key, _stored(value, ttl), if_version=_cas_token, ttl=self._seconds(ttl))

    async def _multi_set(self, pairs: Iterable[tuple[str, Any]], ttl: float | None = None, _conn: Any = None) -> bool:
        await self._dict.put_many.aio(((key, _stored(value, ttl)) for key, value in pairs), ttl=self._seconds(ttl))
        return True

    async def _add(self, key: str, value: Any, ttl: float | None = None, _conn: Any = None) -> bool:
        stored, seconds = _stored(value, ttl), self._seconds(ttl)
        while not await self._dict.put.aio(key, stored, skip_if_exists=True, ttl=seconds):
            entry = await self._dict.entry.aio(key)
            if entry is not None and not _has_expired(entry.value):
                raise ValueError(f"Key {key} already exists, use .set to update the value")
            if entry is not None and await self._dict.put.aio(key, stored, if_version=entry.version, ttl=seconds):
                break
        return True

    async def _exists(self, key: str, _conn: Any = None) -> bool:
        return not _is_absent(await self._dict.get.aio(key))

    async def _increment(self, key: str, delta: int, _conn: Any = None) -> Any:
        def add(stored: _Stored) -> _Stored:
            if _has_expired(stored):
                raise _ExpiredError
            try:
                return stored[0], int(stored[1]) + delta
            except (TypeError, ValueError):
                raise TypeError("Value is not an integer") from None

        while True:
            try:
                return (await self._dict.modify.aio(key, add, (None, 0)))[1]
            except _ExpiredError:
                # A counter that begins again does not keep the expiry of the one before.
                await self._remove_expired(key)

    async def _expire(self, key: str, ttl: float, _conn: Any = None) -> bool:
        """Set when the entry expires; 0 means never."""

        def expire(stored: _Stored) -> _Stored:
            if _has_expired(stored):
                raise _ExpiredError
            return _stored(stored[1], ttl)

        try:
            await self._dict.modify.aio(key, expire, ttl=self._seconds(ttl))
        except (KeyError, _ExpiredError):
            return False
        return True

    async def _delete(self, key: str, _conn: Any = None) -> int:
        """Remove the entry; return whether it was one that had not expired."""
        return int(not _is_absent(await self._dict.pop.aio(key, None)))

    async def _clear(self, namespace: str | None = None, _conn: Any = None) -> bool:
        """Remove all entries, or those of the namespace, for which the keys are listed."""
        space = self.namespace if namespace is None else namespace
        if space:
            start = self.build_key("", namespace=space)
            await self._dict.discard_many.aio([key async for key in self._dict.keys.aio() if key.startswith(start)])
        else:
            await self._dict.clear.aio()
        return True

    async def _raw(
        self, command: str, *args: Any, encoding: str | None = "utf-8", _conn: Any = None, **kwargs: Any
    ) -> Any:
        return await getattr(self._dict, command).aio(*args, **kwargs)

    async def _redlock_release(self, key: str, value: Any) -> int:
        """Delete the key of aiocache's own lock if it still holds that value."""
        entry = await self._dict.entry.aio(key)
        if entry is None or entry.value[1] != value:
            return 0
        return int(await self._dict.pop.aio(key, None, if_version=entry.version) is not None)

    async def _remove_expired(self, key: str) -> None:
        entry = await self._dict.entry.aio(key)
        if entry is not None and _has_expired(entry.value):
            await self._dict.pop.aio(key, None, if_version=entry.version)

    def _seconds(self, ttl: float | None) -> int | None:
        return as_ttl(ttl or None, self._max_ttl)


class _ExpiredError(Exception):
    """The entry has expired by the clock here."""


def _stored(value: Any, ttl: float | None) -> _Stored:
    """Return the value with its expiry; a ttl of 0 is none, as in aiocache's caches in memory and memcached."""
    return time.time() + ttl if ttl else None, value


def _has_expired(stored: _Stored) -> bool:
    return stored[0] is not None and stored[0] <= time.time()


def _is_absent(stored: _Stored | None) -> bool:
    return stored is None or _has_expired(stored)


def _live(stored: _Stored | None) -> Any:
    return None if stored is None or _has_expired(stored) else stored[1]
