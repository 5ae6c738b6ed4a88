"""A store for py-key-value, and so for FastMCP.

::

    store = S3DictStore(bucket="my-bucket")
    await store.put("alice", {"score": 3}, collection="scores", ttl=3600)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from key_value.aio._utils.managed_entry import ManagedEntry
from key_value.aio._utils.sanitization import HybridSanitizationStrategy
from key_value.aio.stores.base import (
    BaseContextManagerStore,
    BaseDestroyCollectionStore,
    BaseEnumerateCollectionsStore,
    BaseEnumerateKeysStore,
    BaseStore,
)

from .. import Dict, NotFoundError
from ._options import DEFAULT_TTL, as_ttl, open_dict

__all__ = ["S3DictStore"]

_MAX_NAME_LENGTH = 64
_HASH_DIGITS = 24


class _CollectionNames(HybridSanitizationStrategy):
    """Names of Dicts for collections. No two collections have one, as long ones have in the base class."""

    def sanitize(self, value: str) -> str:
        if len(value) <= self.max_length and not _NOT_IN_NAMES.search(value):
            return value
        digest = hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()[:_HASH_DIGITS]
        start = _NOT_IN_NAMES.sub("_", value)[: self.max_length - len("S_-") - _HASH_DIGITS]
        return f"S_{start}-{digest}"


_NOT_IN_NAMES = re.compile("[^A-Za-z0-9_-]+")


class S3DictStore(
    BaseEnumerateKeysStore,
    BaseEnumerateCollectionsStore,
    BaseDestroyCollectionStore,
    BaseContextManagerStore,
    BaseStore,
):
    """A py-key-value store: each collection is a Dict, created at first use, of the JSON that py-key-value makes.

    It may be used in ``async with``, as the stores of servers are, and has nothing to close: stores with equal options
    share a Client.

    Args:
        name_prefix: What the names of the Dicts begin with.
        default_collection: The collection of calls that name none.
        ttl: The ttl of the Dicts. An entry without a ttl lives as long as it is read within it.
        client_options: Arguments of `s3dict.Client`, or a `client`; without any, the environment names the client.
    """

    def __init__(
        self,
        *,
        name_prefix: str = "kv-",
        default_collection: str | None = None,
        ttl: float | timedelta | None = DEFAULT_TTL,
        **client_options: Any,
    ) -> None:
        self._name_prefix = name_prefix
        self._max_ttl = ttl
        self._client_options = client_options
        self._dicts: dict[str, Dict[str, bytes]] = {}
        super().__init__(
            default_collection=default_collection,
            collection_sanitization_strategy=_CollectionNames(_MAX_NAME_LENGTH - len(name_prefix)),
            stable_api=True,
        )

    async def _get_managed_entry(self, *, collection: str, key: str) -> ManagedEntry | None:
        stored = await self._dict(collection).get.aio(key)
        return None if stored is None else self._load(stored)

    async def _get_managed_entries(self, *, collection: str, keys: Sequence[str]) -> list[ManagedEntry | None]:
        stored = await self._dict(collection).get_many.aio(keys)
        return [self._load(stored[key]) if key in stored else None for key in keys]

    async def _put_managed_entry(self, *, collection: str, key: str, managed_entry: ManagedEntry) -> None:
        stored = self._dump(managed_entry, key, collection)
        await self._dict(collection).put.aio(key, stored, ttl=as_ttl(managed_entry.ttl, self._max_ttl))

    async def _put_managed_entries(
        self,
        *,
        collection: str,
        keys: Sequence[str],
        managed_entries: Sequence[ManagedEntry],
        ttl: float | None,
        created_at: datetime,
        expires_at: datetime | None,
    ) -> None:
        pairs = [(key, self._dump(entry, key, collection)) for key, entry in zip(keys, managed_entries, strict=True)]
        await self._dict(collection).put_many.aio(pairs, ttl=as_ttl(ttl, self._max_ttl))

    async def _delete_managed_entry(self, *, key: str, collection: str) -> bool:
        return await self._dict(collection).discard.aio(key)

    async def _delete_managed_entries(self, *, keys: Sequence[str], collection: str) -> int:
        return len(await self._dict(collection).discard_many.aio(keys))

    async def _get_collection_keys(self, *, collection: str, limit: int | None = None) -> list[str]:
        """Read the entries too: what has expired is in listings until it is overwritten or deleted."""
        found: list[str] = []
        async for key, stored in self._dict(collection).items.aio():
            if limit is not None and len(found) >= limit:
                break
            if not self._load(stored).is_expired:
                found.append(key)
        return found

    async def _get_collection_names(self, *, limit: int | None = None) -> list[str]:
        client = self._dict(self.default_collection).client
        names = [found.name or "" for found in await Dict.objects.list.aio(client=client)]
        start = len(self._name_prefix)
        found = [name[start:] for name in names if name.startswith(self._name_prefix)][:limit]
        return [await self._collection_of(name) for name in found]

    async def _collection_of(self, name: str) -> str:
        """Return the collection whose Dict has this name. Where they differ, the entries know it."""
        if not name.startswith("S_"):
            return name
        handle = self._open(name)
        async for key in handle.keys.aio():
            stored = await handle.get.aio(key)
            if stored is not None:
                return str(json.loads(stored)["collection"])
        return name

    async def _delete_collection(self, *, collection: str) -> bool:
        name, client = self._sanitize_collection(collection), self._dict(collection).client
        try:
            await Dict.objects.delete.aio(self._name_prefix + name, client=client)
        except NotFoundError:
            return False
        finally:
            # What is put from now on belongs to a new Dict of this name.
            self._dicts.pop(name, None)
        return True

    def _dump(self, entry: ManagedEntry, key: str, collection: str) -> bytes:
        return self._serialization_adapter.dump_json(entry=entry, key=key, collection=collection).encode()

    def _load(self, stored: bytes) -> ManagedEntry:
        return self._serialization_adapter.load_json(json_str=stored.decode())

    def _dict(self, collection: str) -> Dict[str, bytes]:
        return self._open(self._sanitize_collection(collection))

    def _open(self, name: str) -> Dict[str, bytes]:
        if name not in self._dicts:
            self._dicts[name] = open_dict(
                self._name_prefix + name, ttl=self._max_ttl, codec="bytes", **self._client_options
            )
        return self._dicts[name]
