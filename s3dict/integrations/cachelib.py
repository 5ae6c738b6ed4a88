"""A cache for cachelib, and so for Flask-Caching and Flask-Session.

::

    cache = S3DictCache("my-cache", default_timeout=300, bucket="my-bucket")

    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=cache)                    # Flask-Session
    app.config.update(                                                                    # Flask-Caching
        CACHE_TYPE="s3dict.integrations.cachelib.S3DictCache",
        CACHE_ARGS=["my-cache"],
        CACHE_OPTIONS={"bucket": "my-bucket"},
    )
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cachelib import BaseCache

from ._options import DEFAULT_TTL, as_ttl, open_dict

__all__ = ["S3DictCache"]


class S3DictCache(BaseCache):
    """A cachelib cache in a Dict.

    Args:
        name: The Dict's name.
        default_timeout: Seconds or a timedelta; 0 means that an entry lives as long as it is read within `ttl`. What is
            set with a timeout below 0 has expired.
        key_prefix: What all keys begin with.
        ttl: The Dict's ttl.
        client_options: Arguments of `s3dict.Client`, or a `client`; without any, the environment names the client.
    """

    def __init__(
        self,
        name: str = "cachelib",
        default_timeout: int | timedelta = 300,
        *,
        key_prefix: str = "",
        ttl: float | timedelta | None = DEFAULT_TTL,
        ignore_delete_many_errors: bool = True,
        **client_options: Any,
    ) -> None:
        super().__init__(default_timeout, ignore_delete_many_errors)
        self.key_prefix = key_prefix
        self._max_ttl = ttl
        self._dict = open_dict(name, ttl=ttl, **client_options)

    def get(self, key: str) -> Any:
        return self._dict.get(self.key_prefix + key)

    def get_many(self, *keys: str) -> list[Any]:
        found = self._dict.get_many([self.key_prefix + key for key in keys])
        return [found.get(self.key_prefix + key) for key in keys]

    def set(self, key: str, value: Any, timeout: int | timedelta | None = None) -> bool:
        ttl = self._ttl(timeout)
        if ttl == 0:
            self.delete(key)
            return True
        return self._dict.put(self.key_prefix + key, value, ttl=ttl)

    def add(self, key: str, value: Any, timeout: int | timedelta | None = None) -> bool:
        ttl = self._ttl(timeout)
        if ttl == 0:
            return not self.has(key)
        return self._dict.put(self.key_prefix + key, value, skip_if_exists=True, ttl=ttl)

    def set_many(self, mapping: dict[str, Any], timeout: int | timedelta | None = None) -> list[Any]:
        ttl = self._ttl(timeout)
        if ttl == 0:
            return self.delete_many(*mapping)
        pairs = ((self.key_prefix + key, value) for key, value in mapping.items())
        self._dict.put_many(pairs, ttl=ttl)
        return list(mapping)

    def delete(self, key: str) -> bool:
        return self._dict.discard(self.key_prefix + key)

    def delete_many(self, *keys: str) -> list[Any]:
        self._dict.discard_many([self.key_prefix + key for key in keys])
        return list(keys)

    def has(self, key: str) -> bool:
        return self._dict.contains(self.key_prefix + key)

    def clear(self) -> bool:
        """Remove all entries; of a cache with a prefix those of the prefix, for which the keys are listed."""
        if self.key_prefix:
            self._dict.discard_many([key for key in self._dict if key.startswith(self.key_prefix)])
        else:
            self._dict.clear()
        return True

    def inc(self, key: str, delta: int = 1) -> int:
        """Add `delta`, atomically; a missing key counts as 0. The entry keeps its expiry."""
        changed: int = self._dict.modify(self.key_prefix + key, lambda value: (value or 0) + delta, 0)
        return changed

    def dec(self, key: str, delta: int = 1) -> int:
        return self.inc(key, -delta)

    def _ttl(self, timeout: int | timedelta | None) -> int | None:
        """Return the ttl of an entry; 0 where it has expired at once."""
        seconds = self._normalize_timeout(timeout)
        return 0 if seconds < 0 else as_ttl(seconds or None, self._max_ttl)
