"""A cache backend for Django.

::

    CACHES = {
        "default": {
            "BACKEND": "s3dict.integrations.django.S3DictCache",
            "LOCATION": "my-cache",                      # the name of the Dict; "django" by default
            "OPTIONS": {"bucket": "my-bucket"},          # arguments of s3dict.Client; without any, the environment
        }
    }

`OPTIONS` takes `ttl` (seconds or a timedelta) too, that of the Dict: an entry with ``timeout=None`` lives as long as it
is read within it. With ``"ttl": None`` nothing deletes what has expired but ``s3dict gc --expired``.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from ._options import DEFAULT_TTL, as_ttl, open_dict

__all__ = ["S3DictCache"]


class S3DictCache(BaseCache):
    """A Django cache in a Dict. Its asyncio methods are native.

    `add` and `incr` are atomic among all processes. There is no limit to the number of entries, and so no culling.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        options = {"ttl": DEFAULT_TTL, **params.get("OPTIONS", {})}
        for name in ("MAX_ENTRIES", "CULL_FREQUENCY"):  # BaseCache's own; nothing is culled here
            options.pop(name, None)
        self._max_ttl = options["ttl"]
        self._dict = open_dict(location or "django", codec="bytes", **options)

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> int | None:
        """Return the timeout in whole seconds: None for none, 0 or less for an entry that expires at once."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return as_ttl(timeout, self._max_ttl) if timeout is None or timeout > 0 else 0

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        stored = self._dict.get(self.make_and_validate_key(key, version=version))
        return default if stored is None else pickle.loads(stored)

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        stored = await self._dict.get.aio(self.make_and_validate_key(key, version=version))
        return default if stored is None else pickle.loads(stored)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        self.set_many({key: value}, timeout, version)

    async def aset(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        await self.aset_many({key: value}, timeout, version)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
        if ttl == 0:
            return not self._dict.contains(name)
        return self._dict.put(name, _pickled(value), skip_if_exists=True, ttl=ttl)

    async def aadd(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
        if ttl == 0:
            return not await self._dict.contains.aio(name)
        return await self._dict.put.aio(name, _pickled(value), skip_if_exists=True, ttl=ttl)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
        return self._dict.discard(name) if ttl == 0 else self._dict.touch(name, ttl=ttl)

    async def atouch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        name, ttl = self.make_and_validate_key(key, version=version), self.get_backend_timeout(timeout)
        return await (self._dict.discard.aio(name) if ttl == 0 else self._dict.touch.aio(name, ttl=ttl))

    def delete(self, key: Any, version: int | None = None) -> bool:
        return self._dict.discard(self.make_and_validate_key(key, version=version))

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        return await self._dict.discard.aio(self.make_and_validate_key(key, version=version))

    def has_key(self, key: Any, version: int | None = None) -> bool:
        return self._dict.contains(self.make_and_validate_key(key, version=version))

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        return await self._dict.contains.aio(self.make_and_validate_key(key, version=version))

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> Any:
        name = self.make_and_validate_key(key, version=version)
        try:
            changed = self._dict.modify(name, _adding(delta))
        except KeyError:
            raise ValueError(f"Key {key!r} not found") from None
        return pickle.loads(changed)

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> Any:
        name = self.make_and_validate_key(key, version=version)
        try:
            changed = await self._dict.modify.aio(name, _adding(delta))
        except KeyError:
            raise ValueError(f"Key {key!r} not found") from None
        return pickle.loads(changed)

    async def adecr(self, key: Any, delta: int = 1, version: int | None = None) -> Any:
        return await self.aincr(key, -delta, version)

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        names = self._names(keys, version)
        return {names[name]: pickle.loads(stored) for name, stored in self._dict.get_many(names).items()}

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        names = self._names(keys, version)
        found = await self._dict.get_many.aio(names)
        return {names[name]: pickle.loads(stored) for name, stored in found.items()}

    def set_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        names, ttl = self._names(data, version), self.get_backend_timeout(timeout)
        if ttl == 0:
            self._dict.discard_many(names)
        else:
            self._dict.put_many(((name, _pickled(data[key])) for name, key in names.items()), ttl=ttl)
        return []

    async def aset_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        names, ttl = self._names(data, version), self.get_backend_timeout(timeout)
        if ttl == 0:
            await self._dict.discard_many.aio(names)
        else:
            await self._dict.put_many.aio(((name, _pickled(data[key])) for name, key in names.items()), ttl=ttl)
        return []

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        self._dict.discard_many(self._names(keys, version))

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        await self._dict.discard_many.aio(self._names(keys, version))

    def clear(self) -> None:
        self._dict.clear()

    async def aclear(self) -> None:
        await self._dict.clear.aio()

    def _names(self, keys: Iterable[Any], version: int | None) -> dict[Any, Any]:
        """Return the keys under the names that they are stored by, in their order."""
        return {self.make_and_validate_key(key, version=version): key for key in keys}


def _pickled(value: Any) -> bytes:
    """Pickle as Django's own backends do, so that its models and errors are treated the same."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def _adding(delta: int) -> Callable[[bytes], bytes]:
    def add(stored: bytes) -> bytes:
        return _pickled(pickle.loads(stored) + delta)

    return add
