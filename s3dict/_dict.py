"""Dict: the handle that everybody imports.

What a first `get` or `put` does not need is imported by the methods that need it: a function that starts cold waits for
every module.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ._aio import get_method, iterator, method, pop_method
from ._client import Client
from ._config import DEFAULT_LEASE, current_user
from ._core.catalog import (
    REVALIDATE_AFTER,
    DictOptions,
    LoadedManifest,
    ephemeral,
    open_by_id,
    open_by_name,
    open_or_create,
    revalidate,
)
from ._core.entries import Entries, Version
from ._core.entry_codec import EntryCodec, key_repr
from ._core.expiry import Expiry, Ttl
from ._format.entry import EntrySigner
from ._format.keys import KeyCodec
from ._format.layout import DictId, validate_name, validate_ttl
from ._format.manifest import Manifest
from ._format.values import get_codec
from ._manager import DictManager
from ._stores.base import ObjectStore
from ._stores.shared.threads import run_blocking
from .errors import InvalidError, NotFoundError

if TYPE_CHECKING:
    from ._core.locks import LockTarget
    from ._lock import Lock
    from ._mapping import DictMapping

K = TypeVar("K")
V = TypeVar("V")


class _Unset:
    """A default that shows as ``...`` in signatures: nothing was passed."""

    def __repr__(self) -> str:
        return "..."


_UNSET: Any = _Unset()


@dataclass(frozen=True, slots=True)
class DictInfo:
    """What ``Dict.info`` tells. ``ttl`` is None when entries live for ever."""

    name: str | None
    created_at: datetime
    created_by: str | None
    ttl: timedelta | None
    codec: str


@dataclass(frozen=True, slots=True)
class Entry(Generic[K, V]):
    """An entry as `Dict.entry` saw it.

    ``version`` is opaque, and changes with every write of the entry. ``last_modified`` is when it was last written, or
    renewed by an earlier read. ``expires_at`` is the end of its own ttl; None when it has none, and expires by the
    dict's ttl alone.
    """

    key: K
    value: V
    version: str
    last_modified: datetime
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _NameRef:
    """A handle that goes by name."""

    name: str
    environment: str | None
    create_if_missing: bool


class _HandleState:
    """What a handle and its asyncio twin know together."""

    __slots__ = ("__weakref__", "client", "loaded", "options")

    def __init__(self, client: Client | None, options: DictOptions, loaded: LoadedManifest | None = None) -> None:
        self.client = client
        self.options = options
        self.loaded = loaded


class Dict(Generic[K, V]):
    """A dict in an S3 bucket, shared by every process that can reach the bucket.

    Make one with `Dict.from_name`, `Dict.from_id` or `Dict.ephemeral`. A handle is cheap and lazy: the first use
    looks the dict up (1 request, 3 when it has to be created), and looks again when 60 seconds have passed since, so
    that a dict that somebody deleted raises ``NotFoundError`` instead of being written into nowhere. It may be shared
    between threads, event loops and forked processes, pickled, and put into a Dict as a key or a value.

    An entry that nobody reads or writes for the dict's ttl is gone. A read of one that is older than a seventh of that
    keeps it alive with 1 request more.

    Every method can be called in two ways: ``d.get("k")`` blocks, ``await d.get.aio("k")`` does not. The operators
    block.

    Keys are equal as they are in Python (``1``, ``1.0`` and ``True`` are one key); values are whatever the dict's
    codec takes, with cloudpickle nearly everything.

    Example::

        d: Dict[str, int] = Dict.from_name("scores", create_if_missing=True)
        d["alice"] = 3
        d.put("alice", 4, skip_if_exists=True)      # False
        await d.get.aio("alice")                    # 3
    """

    __slots__ = ("__weakref__", "_aio", "_async_handle", "_entries", "_ref", "_state")

    _ref: _NameRef | DictId
    _state: _HandleState
    _aio: bool
    _async_handle: Dict[K, V] | None
    _entries: tuple[Manifest, Entries] | None

    def __init__(self) -> None:
        raise RuntimeError("`Dict(...)` is not allowed: use `Dict.from_name`, `Dict.from_id` or `Dict.ephemeral`")

    objects: ClassVar[DictManager] = DictManager(lambda *found: _from_loaded(*found))  # noqa: PLW0108 (it stands further down)
    """Creates, lists and deletes named dicts: `DictManager`."""

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: Client | None = None,
        ttl: timedelta | None = _UNSET,
        codec: str | None = None,
    ) -> Dict[Any, Any]:
        """A handle of the dict with this name. No request until it is used.

        Args:
            name: 1 to 64 of ``A-Z a-z 0-9 - _ .``
            environment_name: A namespace of names; None is the client's.
            create_if_missing: Create the dict at first use if there is none; otherwise that is ``NotFoundError``.
            client: Where; None is ``Client.from_env()`` at first use.
            ttl: How long an entry lives after it was last read or written: from a minute to 367 days, None for ever.
                It is chosen at creation (7 days if it is left out) and kept; asking for another later is
                ``InvalidError`` at first use.
            codec: ``"cloudpickle"`` (the default), ``"json"`` or ``"bytes"``; chosen at creation, like ``ttl``. Dicts
                of the latter two never unpickle anything.

        Raises:
            InvalidError: no valid name, environment, ttl or codec.
        """
        validate_name(name)
        if environment_name is not None:
            validate_name(environment_name, "environment")
        target = _NameRef(name, environment_name or None, create_if_missing)
        return _new_handle(target, _HandleState(client, _options(ttl, codec)))

    @staticmethod
    def from_id(dict_id: str, client: Client | None = None) -> Dict[Any, Any]:
        """A handle of the dict with this id (`object_id`). No request until it is used.

        A dict that was deleted and made again under the same name has another id.

        Raises:
            InvalidError: no valid id.
        """
        return _new_handle(DictId.parse(dict_id), _HandleState(client, DictOptions()))

    @staticmethod
    def ephemeral(*, client: Client | None = None, environment_name: str | None = None) -> EphemeralDict:
        """A nameless dict that exists for the duration of a ``with`` or ``async with``.

        Other processes reach it with `from_id`. It is deleted at the end; if this process dies before, the lifecycle
        rules sweep it. Requests: 2 to open it, one every 5 minutes while it is open, and to close it 1, two listings
        and one for each thousand entries.

        Args:
            client: Where; None is ``Client.from_env()``.
            environment_name: Accepted for the sake of code that passes it; an ephemeral dict belongs to no environment.
        """
        if environment_name is not None:
            validate_name(environment_name, "environment")
        return EphemeralDict(client)

    @property
    def name(self) -> str | None:
        """The name; None for an ephemeral dict."""
        return self._ref.name

    @property
    def object_id(self) -> str:
        """The id that `from_id` takes.

        Raises:
            InvalidError: the handle was made from a name and has not been used yet: call `hydrate` first.
        """
        if isinstance(self._ref, DictId):
            return str(self._ref)
        if self._state.loaded is None:
            raise InvalidError(f"{self!r} has not been looked up yet, so its id is not known: call hydrate() first")
        return str(self._state.loaded.manifest.dict_id)

    @property
    def client(self) -> Client:
        """The client in use."""
        state = self._state
        if state.client is None:
            state.client = Client.from_env()
            state.client._env_handles.add(state)
        return state.client

    @method
    async def hydrate(self, client: Client | None = None) -> Dict[K, V]:
        """Looks the dict up now, and gives the handle itself. 1 request, 3 when the dict has to be created.

        A handle that was looked up in the last minute sends none.

        Args:
            client: Use this client from now on.

        Raises:
            NotFoundError: no such dict or bucket.
        """
        state = self._state
        if client is not None and client is not state.client:
            state.client, state.loaded = client, None
        await self._hydrated(self._store())
        return self._sync_handle

    @method
    async def info(self) -> DictInfo:
        """The dict's name, when, by whom and with what it was created. No request on a hydrated handle."""
        manifest = (await self._hydrated(self._store())).manifest
        return DictInfo(
            name=manifest.dict_id.name,
            created_at=manifest.created_at.astimezone(),
            created_by=manifest.created_by,
            ttl=manifest.ttl,
            codec=manifest.codec,
        )

    @get_method
    async def get(self, key: K, default: Any = None) -> V | None:
        """The value of the key, or `default`. 1 request, and 1 for each further 8 MiB of a value over 16 MiB.

        A stored None cannot be told from a missing key without a default of one's own, or `contains`.

        Raises:
            DeserializationError: the value cannot be read here, because a module is missing, say.
            IntegrityError: what lies there is not what was written.
        """
        live = await (await self._open(key)).read(key, allow_cached=True)
        value: V | None = default if live is None else live.value
        return value

    @method
    async def contains(self, key: K) -> bool:
        """Return whether the key exists. 1 request, of the first bytes of the entry."""
        return await (await self._open(key)).contains(key)

    @method
    async def len(self) -> int:
        """How many entries there are, exactly. ⌈n/1000⌉ + 16 requests at most."""
        from ._core.iteration import count

        return await count(await self._open())

    @method
    async def entry(self, key: K) -> Entry[K, V] | None:
        """The entry with its version, for `put` with `if_version`; None when the key is missing. 1 request."""
        live = await (await self._open(key)).read(key)
        if live is None:
            return None
        return Entry(key, live.value, str(live.version), live.last_modified, live.expires_at)

    @method
    async def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """The values of those of the keys that are there. 1 request each, up to the client's ``concurrency`` at a time.

        Raises:
            Error: the first failure, with the keys that failed as ``failed_keys`` and what had been read as ``done``.
        """
        from ._core.bulk import read_many

        keys = list(keys)
        return await read_many(await self._open(*keys), keys)

    @method
    async def put(
        self,
        key: K,
        value: V,
        *,
        skip_if_exists: bool = False,
        if_version: str | None = None,
        ttl: Ttl | None = None,
    ) -> bool:
        """Puts the value. 1 request; with a condition 1 when it holds, 2 when it does not.

        A put without a condition may be sent again when its answer is lost, and then take effect twice while the call
        runs. One with a condition takes effect once at most.

        Args:
            skip_if_exists: Put it only if the key is not there. Of any number of racing callers one wins.
            if_version: Put it only over the entry of this version, which `entry` gave (compare-and-set), however old
                that is by now.
            ttl: Seconds or timedelta after which the entry expires, read or not: at most the dict's ttl. None is an
                entry that expires by the dict's ttl alone, also where it replaces one with a ttl.

        Returns:
            Whether it was put: always True without a condition.

        Raises:
            InvalidError: no valid ttl.
            SerializationError, RequestSizeError: nothing was sent.
            UncertainOutcomeError: with a condition, an answer was lost and nothing can tell whether it was put.
        """
        entries = await self._open(key)
        expiry = entries.expiry.of_entry(ttl)
        if if_version is not None:
            if skip_if_exists:
                raise InvalidError("skip_if_exists and if_version exclude each other: a version is that of an entry")
            return await entries.replace(key, value, Version.parse(if_version), expiry)
        if skip_if_exists:
            return await entries.create(key, value, expiry)
        await entries.put(entries.codec.keys.encode(key), key, value, expiry)
        return True

    @method
    async def setdefault(self, key: K, value: V, *, ttl: Ttl | None = None) -> V:
        """The value of the key; where there is none, `value`, after putting it. Of racing callers one puts.

        1 request when the key is there, 2 when it is not.

        Args:
            ttl: As of `put`, for the value that is put; an existing entry keeps its own.
        """
        from ._core.compute import set_default

        entries = await self._open(key)
        chosen: V = await set_default(entries, key, value, entries.expiry.of_entry(ttl))
        return chosen

    @method
    async def modify(
        self,
        key: K,
        function: Callable[[V], V | Awaitable[V]],
        default: V = _UNSET,
        *,
        ttl: Ttl | None = _UNSET,
    ) -> V:
        """Puts what `function` makes of the value, atomically, and gives it. 2 requests when nobody interferes.

        When another changes the entry meanwhile, the function is called again with what is there then; so it must have
        no effects of its own. With ``.aio`` it may be a coroutine function.

        Args:
            default: What the function gets when the key is missing.
            ttl: As of `put`, counted from this write. Left out, an entry keeps the time at which it expires, and a new
                one has none; None removes it.

        Raises:
            KeyError: the key is missing, and no default was passed.
            InvalidError: no valid ttl.
            ConflictError: others kept changing the entry.
            UncertainOutcomeError: an answer was lost and nothing can tell whether the new value was put.
        """
        from ._core.compute import MISSING, modify

        entries = await self._open(key)
        keep_expiry = ttl is _UNSET
        value: V = await modify(
            entries,
            key,
            function,
            MISSING if default is _UNSET else default,
            expiry=None if keep_expiry else entries.expiry.of_entry(ttl),
            keep_expiry=keep_expiry,
        )
        return value

    @method
    async def get_or_compute(
        self,
        key: K,
        function: Callable[[], V | Awaitable[V]],
        lease: float = DEFAULT_LEASE,
        *,
        ttl: Ttl | None = None,
    ) -> V:
        """The value of the key; where there is none, what `function` gives, after putting it.

        Of all callers in all processes one calls the function, and the others wait for its value. If the process that
        computes dies, another begins when its lease is over; if the function raises, its caller gets the exception, and
        another caller tries. 1 request when the key is there, 6 for the caller that computes, 2 each time another
        looks.

        Args:
            function: Without arguments; with ``.aio`` it may be a coroutine function.
            lease: Seconds after which a caller that has stopped answering is given up: 2 or more.
            ttl: As of `put`, for the computed value, from when it is stored.
        """
        from ._core.compute import get_or_compute

        entries = await self._open(key)
        expiry = entries.expiry.of_entry(ttl)
        place = self._lock_target(
            entries, "compute", entries.codec.keys.encode(key).data, f"The computation of {key_repr(key)}"
        )
        value: V = await get_or_compute(entries, place, key, function, lease, expiry)
        return value

    @method
    async def update(
        self, other: Mapping[K, V] | Iterable[tuple[K, V]] | Dict[K, V] | None = None, /, **kwargs: V
    ) -> None:
        """Puts all pairs of a mapping, or of an iterable of pairs of any length, and the keyword arguments.

        n requests, up to the client's ``concurrency`` at a time. Pairs are taken only as fast as they are written. Each
        entry is written atomically, all of them are not.

        Raises:
            Error: the first failure, with the keys that failed as ``failed_keys``. Later pairs were not tried; it may
                be repeated.
        """
        await self._put_all(other, kwargs, None)

    @method
    async def put_many(
        self, pairs: Mapping[K, V] | Iterable[tuple[K, V]] | Dict[K, V], *, ttl: Ttl | None = None
    ) -> None:
        """Put all pairs of a mapping, of a Dict, or of an iterable of pairs of any length, as `update` does.

        n requests, up to the client's ``concurrency`` at a time.

        Args:
            ttl: As of `put`, for each of the entries.

        Raises:
            InvalidError: no valid ttl; nothing was put.
            Error: the first failure, with the keys that failed as ``failed_keys``. Later pairs were not tried; it may
                be repeated.
        """
        await self._put_all(pairs, {}, ttl)

    async def _put_all(self, source: Any, more: Mapping[str, Any], ttl: Ttl | None) -> None:
        from ._core.bulk import batched, pairs_of, write_many
        from ._core.iteration import iterate_items

        entries = await self._open()
        expiry = entries.expiry.of_entry(ttl)
        if self._aio and isinstance(source, Dict):
            # An event loop must not wait for the blocking iterator, and `write_many` takes no other.
            async with aclosing(iterate_items(await source._async_view._open())) as items:
                async for batch in batched(items):
                    await write_many(entries, batch, expiry)
            source = None
        await write_many(entries, pairs_of(source, more), expiry)

    @method
    async def touch(self, key: K, ttl: Ttl | None) -> bool:
        """Give the entry another ttl, counted from now; return whether the key exists.

        The entry is written again, whole, and has another version. Its value need not be readable here. Requests: 2, or
        1 when the key is missing.

        Args:
            ttl: As of `put`; None removes the entry's own ttl.

        Raises:
            InvalidError: no valid ttl.
            ConflictError: other clients kept changing the entry.
            UncertainOutcomeError: a response was lost, and whether the entry was written is unknown.
        """
        entries = await self._open(key)
        return await entries.touch(key, entries.expiry.of_entry(ttl))

    @pop_method
    async def pop(self, key: K, default: Any = _UNSET) -> V:
        """Takes the key out and gives its value, or `default` if one is passed. 2 requests, 1 when the key is missing.

        Of any number of racing callers one gets the value.

        Raises:
            KeyError: the key is not there, and no default was passed.
            UncertainOutcomeError: an answer was lost and nothing can tell who took it; its ``value`` holds the value.
        """
        live = await (await self._open(key)).remove(key)
        if live is None and default is _UNSET:
            raise KeyError(f"{key_repr(key)} not in {self._label}")
        value: V = default if live is None else live.value
        return value

    @method
    async def pop_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Takes those of the keys out that are there, and gives their values. 2 requests each, or 1 for a missing key.

        Of any number of racing callers one gets a value.

        Raises:
            Error: the first failure, with the keys that failed as ``failed_keys``, and what had been taken out as
                ``done``.
        """
        from ._core.bulk import remove_many

        keys = list(keys)
        return await remove_many(await self._open(*keys), keys)

    @method
    async def clear(self) -> None:
        """Removes all entries. The listing (⌈n/1000⌉ + 16 requests at most) and ⌈n/1000⌉ requests."""
        from ._core.iteration import clear

        await clear(await self._open())

    @iterator
    async def keys(self) -> AsyncGenerator[K, None]:
        """Iterates over the keys, in no order.

        ⌈n/1000⌉ + 16 requests at most, and one for each key that its object's name cannot carry: one of over 160 bytes
        or so, or of a type that has to be pickled (two for a key of over 16 KB).

        What is put or removed meanwhile may or may not be seen.
        """
        from ._core.iteration import iterate_keys

        async with aclosing(iterate_keys(await self._open())) as keys:
            async for key in keys:
                yield key

    @iterator
    async def values(self) -> AsyncGenerator[V, None]:
        """Iterates over the values, in no order.

        ⌈n/1000⌉ + 16 requests at most, and one for each entry, up to the client's ``concurrency`` at a time.
        """
        from ._core.iteration import iterate_values

        async with aclosing(iterate_values(await self._open())) as values:
            async for value in values:
                yield value

    @iterator
    async def items(self) -> AsyncGenerator[tuple[K, V], None]:
        """Iterates over the keys with their values, in no order.

        ⌈n/1000⌉ + 16 requests at most, and one for each entry, up to the client's ``concurrency`` at a time. Values are
        read ahead, so one that is taken late may have changed or expired since.
        """
        from ._core.iteration import iterate_items

        async with aclosing(iterate_items(await self._open())) as items:
            async for item in items:
                yield item

    def as_mapping(self) -> DictMapping[K, V]:
        """The entries as a `collections.abc.MutableMapping`, for code that takes a dict. No request.

        It has ``len``, ``==``, `popitem` and all; it blocks. See `DictMapping`.
        """
        from ._mapping import DictMapping

        return DictMapping(self._sync_handle)

    def lock(self, name: str, lease: float = DEFAULT_LEASE, timeout: float | None = None) -> Lock:
        """A lock of that name beside the entries, for ``with`` and ``async with``: see `Lock`.

        No request until it is entered.

        Args:
            name: Any text.
            lease: Seconds for which a holder that has stopped answering keeps it: 2 or more. A heartbeat renews it.
            timeout: Seconds to wait for it, 0 to try once; None waits for ever.

        Raises:
            InvalidError: the name is no text.
        """
        from ._lock import Lock

        if not isinstance(name, str):
            raise InvalidError(f"Invalid lock name: {name!r}. It is a string")

        async def place(aio: bool) -> LockTarget:
            handle = self._async_view if aio else self
            # Text that came from bytes may hold surrogates, which have no bytes of their own in UTF-8.
            encoded = name.encode(errors="surrogatepass")
            return handle._lock_target(await handle._open(), "lock", encoded, f"The lock {name!r}")

        return Lock(place, lease, timeout)

    @method
    async def _discard(self, key: K) -> bool:
        return await (await self._open(key)).discard(key)

    def __getitem__(self, key: K) -> V:
        """`get`, with ``KeyError`` for a missing key. Blocks."""
        missing = object()
        value = self.get(key, missing)
        if value is missing:
            raise KeyError(f"{key_repr(key)} not in {self._label}")
        return value  # type: ignore[return-value]

    def __setitem__(self, key: K, value: V) -> None:
        """`put`. Blocks."""
        self.put(key, value)

    def __delitem__(self, key: K) -> None:
        """`pop` without the value, which need not be readable here. ``KeyError`` for a missing key. Blocks."""
        if not self._discard(key):
            raise KeyError(f"{key_repr(key)} not in {self._label}")

    def __contains__(self, key: K) -> bool:
        """`contains`. Blocks."""
        return self.contains(key)

    def __iter__(self) -> Iterator[K]:
        """`keys`. Blocks."""
        return self.keys()

    def __repr__(self) -> str:
        if isinstance(self._ref, DictId):
            return f"Dict.from_id({str(self._ref)!r})"
        within = f", environment_name={self._ref.environment!r}" if self._ref.environment else ""
        return f"Dict.from_name({self._ref.name!r}{within})"

    def __reduce__(self) -> tuple[Any, ...]:
        # By its id once that is known: on the other side it must be the same dict, not one that has its name by then.
        state = self._state
        target = self._ref if state.loaded is None else state.loaded.manifest.dict_id
        return _unpickle, (target, state.client, state.options)

    def __s3dict_id__(self) -> str:
        return self.object_id

    @property
    def _async_view(self) -> Dict[K, V]:
        """The handle for asyncio: all the same but the store."""
        if self._async_handle is None:
            self._async_handle = _new_handle(self._ref, self._state, aio=True)
            self._async_handle._async_handle = self
        return self._async_handle

    @property
    def _sync_handle(self) -> Dict[K, V]:
        return self._async_handle if self._aio and self._async_handle is not None else self

    @property
    def _label(self) -> str:
        return f"Dict {self.name!r}" if self.name else f"ephemeral Dict {self.object_id}"

    def _store(self) -> ObjectStore:
        return self.client._store(aio=self._aio)

    async def _open(self, *keys: Any) -> Entries:
        """The entries, through the store that this call has to use; handles among the keys are looked up."""
        for key in keys:
            if isinstance(key, Dict) and key._state is not self._state:
                handle = key._async_view if self._aio else key
                await handle._hydrated(handle._store())
        store = self._store()
        loaded, made = await self._hydrated(store), self._entries
        if made is None or made[0] is not loaded.manifest or made[1].store is not store:
            self._entries = made = loaded.manifest, self._make_entries(store, loaded.manifest)
        return made[1]

    async def _hydrated(self, store: ObjectStore) -> LoadedManifest:
        """The manifest, looked up once and trusted for a minute."""
        loaded = self._state.loaded
        if loaded is not None and store.runtime.monotonic() - loaded.checked_at < REVALIDATE_AFTER:
            return loaded
        # Many calls may come at once to a fresh handle: one of them asks, and the others wait for its answer.
        async with store.runtime.lock_for(self._state):
            loaded = self._state.loaded
            if loaded is not None and store.runtime.monotonic() - loaded.checked_at < REVALIDATE_AFTER:
                return loaded
            return await self._refresh_manifest(store, loaded)

    async def _refresh_manifest(self, store: ObjectStore, loaded: LoadedManifest | None) -> LoadedManifest:
        layout = self.client._layout
        try:
            seen = await (self._load_manifest(store) if loaded is None else revalidate(store, layout, loaded))
        except NotFoundError:
            # This call must not write into nowhere. The next begins again from the name, which another dict may have.
            self._state.loaded = None
            raise
        self._state.loaded = seen
        return seen

    async def _load_manifest(self, store: ObjectStore) -> LoadedManifest:
        target, layout, options = self._ref, self.client._layout, self._state.options
        if isinstance(target, DictId):
            return await open_by_id(store, layout, target, options)
        environment = target.environment or self.client.environment_name
        if target.create_if_missing:
            return await open_or_create(store, layout, environment, target.name, options, current_user())
        return await open_by_name(store, layout, environment, target.name, options)

    def _lock_target(self, entries: Entries, kind: str, name: bytes, label: str) -> LockTarget:
        from ._core.locks import LockTarget
        from ._format.lock import lock_segment

        path = entries.paths.locks + lock_segment(kind, name)
        return LockTarget(entries.store, entries.capabilities, path, f"{label} of {self._label}")

    def _make_entries(self, store: ObjectStore, manifest: Manifest) -> Entries:
        client, values = self.client, get_codec(manifest.codec)
        codec = EntryCodec(
            keys=KeyCodec(values.uses_pickle, lambda dict_id: Dict.from_id(dict_id, client)),
            values=client._bind(values),
            signer=EntrySigner(str(manifest.dict_id), client._signing_keys),
            label=self._label,
            max_value_bytes=client._settings.max_value_bytes,
        )
        return Entries(
            store=store,
            paths=client._layout.data(manifest.dict_id, manifest.ttl),
            capabilities=manifest.capabilities,
            expiry=Expiry(store, manifest.capabilities, manifest.ttl),
            codec=codec,
            label=self._label,
            concurrency=client._settings.concurrency,
            cache=client._cache(),
        )


class EphemeralDict:
    """The context of `Dict.ephemeral`, for ``with`` and for ``async with``."""

    def __init__(self, client: Client | None) -> None:
        self._client = client
        self._context: AbstractAsyncContextManager[Dict[Any, Any]] | None = None

    def __enter__(self) -> Dict[Any, Any]:
        self._context = self._enter_once(aio=False)
        return run_blocking(self._context.__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._context is not None
        run_blocking(self._context.__aexit__(kind, error, traceback))

    async def __aenter__(self) -> Dict[Any, Any]:
        self._context = self._enter_once(aio=True)
        return await self._context.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._context is not None
        await self._context.__aexit__(kind, error, traceback)

    def _enter_once(self, *, aio: bool) -> AbstractAsyncContextManager[Dict[Any, Any]]:
        if self._context is not None:
            raise InvalidError("This ephemeral Dict was entered before: call Dict.ephemeral() for another")
        return self._session(aio=aio)

    @asynccontextmanager
    async def _session(self, *, aio: bool) -> AsyncIterator[Dict[Any, Any]]:
        client = self._client or Client.from_env()
        async with ephemeral(client._store(aio=aio), client._layout, DictOptions(), current_user()) as loaded:
            handle = _from_loaded(client, loaded)
            try:
                yield handle
            finally:
                # The dict is about to go: a late use of the handle has to look, and will not find it.
                handle._state.loaded = None


def detach_env_handles(client: Client) -> None:
    """Has all handles that took this client from the environment look there again, at their next use."""
    for state in list(client._env_handles):
        state.client = state.loaded = None
    client._env_handles.clear()


def _options(ttl: timedelta | None, codec: str | None) -> DictOptions:
    if codec is not None:
        get_codec(codec)
    return DictOptions(None if ttl is _UNSET else (validate_ttl(ttl),), codec)


def _unpickle(target: _NameRef | DictId, client: Client | None, options: DictOptions) -> Dict[Any, Any]:
    return _new_handle(target, _HandleState(client, options))


def _from_loaded(client: Client, loaded: LoadedManifest) -> Dict[Any, Any]:
    """A handle that needs no look-up."""
    return _new_handle(loaded.manifest.dict_id, _HandleState(client, DictOptions(), loaded))


def _new_handle(target: _NameRef | DictId, state: _HandleState, *, aio: bool = False) -> Dict[Any, Any]:
    handle: Dict[Any, Any] = Dict.__new__(Dict)
    handle._ref = target
    handle._state = state
    handle._aio = aio
    handle._async_handle = None
    handle._entries = None
    return handle
