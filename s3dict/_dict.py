"""Dict: the handle that users import.

What a first `get` or `put` does not need is imported by the methods that need it: every module delays a cold start.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, cast

from ._aio import DualIterator, dual_iterator, dual_method, get_method, pop_method
from ._client import Client
from ._config import DEFAULT_LEASE, current_user
from ._core.catalog import DictOptions, LoadedManifest
from ._core.entries import Entries, Version
from ._core.entry_codec import EntryCodec, key_repr
from ._core.expiry import Expiry, Ttl
from ._duration import Duration, to_seconds
from ._format.entry import EntrySigner
from ._format.keys import KeyCodec
from ._format.layout import DictId, validate_name
from ._format.manifest import Manifest
from ._format.values import get_codec
from ._handle import HandleState, IdRef, parse_id, pickled_state, unpickled_state, validate_options, validate_ref
from ._manager import DictManager
from ._nested import aclosing
from ._pickle import restore
from ._record import replace
from ._sentinel import UNSET, Unset
from ._stores.base import ObjectStore
from .errors import Error, InvalidError, NotHydratedError, shorten_traceback

if TYPE_CHECKING:
    from ._core.compute import Refresh
    from ._core.locks import LockTarget
    from ._counter import Counter
    from ._ephemeral import EphemeralDict
    from ._info import DictInfo, DictStats, Entry
    from ._lock import Lock, LockOptions, Semaphore
    from ._mapping import DictMapping

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    # Where a handle is made without types, as in `Dict.from_name("d")`, they are Any.
    K = TypeVar("K", default=Any)
    V = TypeVar("V", default=Any)
else:
    from typing import TypeVar

    K = TypeVar("K")
    V = TypeVar("V")

MAX_PERMITS = 1000
MAX_SHARDS = 1000


class Dict(Generic[K, V]):
    """A dict in an S3 bucket, shared by every process that can reach the bucket.

    Make one with `Dict.from_name`, `Dict.from_id` or `Dict.ephemeral`. A handle is cheap and lazy: the first use loads
    the dict's manifest (1 request, 3 when the dict has to be created), and a use more than 60 seconds later revalidates
    it, so that a dict that was deleted raises ``NotFoundError``. A handle may be shared between threads, event loops
    and forked processes, pickled, and stored in a Dict as a key or a value.

    An entry expires when it has not been read or written for the dict's ttl. A read of one that is older than a seventh
    of that renews it with 1 request more.

    Every method has an async variant: ``d.get("k")`` blocks, and ``await d.get.aio("k")`` does not. The operators
    block.

    Keys are equal as they are in Python (``1``, ``1.0`` and ``True`` are one key); values are what the dict's codec
    can serialise, which is nearly everything with cloudpickle.

    Example::

        d: Dict[str, int] = Dict.from_name("scores", create_if_missing=True)
        d["alice"] = 3
        d.put("alice", 4, skip_if_exists=True)      # False
        await d.get.aio("alice")                    # 3
    """

    __slots__ = ("__weakref__", "_aio", "_counterpart", "_entries", "_state")

    def __init_subclass__(cls, **_: object) -> None:
        raise TypeError(
            "Dict cannot be subclassed: its handles are made by from_name, from_id and ephemeral, and would not be of "
            "the subclass. Keep a handle in an attribute of your class"
        )

    _state: HandleState
    _aio: bool
    _counterpart: Dict[K, V] | None
    """The async view of a handle; the handle of an async view."""
    _entries: tuple[Manifest, Entries] | None

    if TYPE_CHECKING:

        def __init__(self) -> None: ...
    else:

        def __init__(self, *args: object, **_: object) -> None:
            name = args[0] if args and isinstance(args[0], str) else "my-dict"
            raise RuntimeError(
                f"`Dict(...)` is not allowed: use `Dict.from_name({name!r}, create_if_missing=True)`, `Dict.from_id` "
                "or `Dict.ephemeral`"
            )

        def __len__(self) -> int:
            raise TypeError("A Dict has no len(), which would hide a listing: call `d.len()` or `await d.len.aio()`")

        def __bool__(self) -> bool:
            # Python would ask for the length.
            return True

        def __or__(self, other: object) -> Any:
            if isinstance(other, (Mapping, Dict)):
                raise TypeError(
                    "A Dict has no |, which would hide requests: call `d.update(...)` to store entries, or "
                    "`d.as_mapping() | ...` for a dict of all"
                )
            return NotImplemented

        __ror__ = __ior__ = __or__

    objects: ClassVar[DictManager[Dict[Any, Any]]]
    """Creates, lists and deletes named dicts: `DictManager`."""

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        client: Client | None = None,
        ttl: Duration | Unset | None = UNSET,
        codec: str | None = None,
    ) -> Dict[K, V]:
        """Return a handle of the dict with this name. No request until it is used.

        Args:
            name: 1 to 64 of ``A-Z a-z 0-9 - _ .``
            environment_name: A namespace of names; None is the client's.
            create_if_missing: Create the dict at first use if it does not exist; otherwise that is ``NotFoundError``.
            client: The bucket and how to reach it; None is ``Client.from_env()`` at first use.
            ttl: Seconds or timedelta for which an entry lives after it was last read or written: from a minute to 367
                days, or None for entries that never expire. It is chosen at creation (7 days if it is left out) and
                never changes; another one later is ``InvalidError`` at first use.
            codec: ``"cloudpickle"`` (the default), ``"json"`` or ``"bytes"``; chosen at creation, like ``ttl``. Dicts
                of the latter two never unpickle anything.

        Raises:
            InvalidError: The name, environment, client, ttl or codec is not valid.
        """
        ref = validate_ref(name, environment_name, create_if_missing)
        return _new_handle(HandleState(ref, client, validate_options(ttl, codec)))

    @staticmethod
    def from_id(dict_id: str, client: Client | None = None) -> Dict[K, V]:
        """Return a handle of the dict with this id (`object_id`). No request until it is used.

        A dict that was deleted and created again under the same name has another id. A text that is not the id of any
        dict is ``NotFoundError`` at first use.

        Raises:
            InvalidError: The id is not a string, or the client is not a `Client`.
        """
        return _new_handle(HandleState(parse_id(dict_id), client, DictOptions()))

    @staticmethod
    def ephemeral(*, client: Client | None = None, environment_name: str | None = None) -> EphemeralDict[Dict[K, V]]:
        """Return a context manager of a dict without a name, which exists for the duration of ``with``.

        Other processes reach it with `from_id`. It is deleted at the end; if this process dies before, the lifecycle
        expiration rules delete it. Requests: 2 to open it, one every 5 minutes while it is open, and to close it 1, two
        listings and one for each thousand entries.

        Args:
            client: The bucket and how to reach it; None is ``Client.from_env()``.
            environment_name: Accepted for compatibility: an ephemeral dict belongs to no environment.
        """
        if environment_name is not None:
            validate_name(environment_name, "environment")
        return unpickle_ephemeral(client)

    @property
    def name(self) -> str | None:
        """The name; None for an ephemeral dict."""
        return self._state.ref.name

    @property
    def object_id(self) -> str:
        """The id that `from_id` takes.

        Raises:
            NotHydratedError: The handle was made from a name and has not been used yet: call `hydrate` first.
        """
        ref, dict_id = self._state.ref, self._state.dict_id
        if isinstance(ref, IdRef):
            return ref.text
        if dict_id is None:
            raise NotHydratedError(f"{self!r} has not been looked up yet, so its id is not known: call hydrate() first")
        return str(dict_id)

    @property
    def client(self) -> Client:
        """The client in use.

        Raises:
            NotHydratedError: It is to come from the environment, which does not describe one.
        """
        try:
            return self._state.client
        except InvalidError as error:
            raise NotHydratedError(str(error)) from error

    @dual_method
    async def hydrate(self, client: Client | None = None) -> Dict[K, V]:
        """Load the manifest now, and return the handle itself.

        Args:
            client: Use this client from now on.

        Raises:
            InvalidError: The client is not a `Client`; or the dict was created with another ttl or codec.
            NotFoundError: The dict or the bucket does not exist.

        Requests:
            1, or 3 when the dict has to be created; none when the manifest was loaded in the last minute.
        """
        if client is not None:
            self._state.bind(client)
        await self._load()
        return self._sync_handle

    @dual_method
    async def info(self) -> DictInfo:
        """Return the name of the dict, and when, by whom and with which options it was created.

        Requests:
            None on a hydrated handle.
        """
        from ._info import DictInfo

        _, _, loaded = await self._load()
        manifest = loaded.manifest
        return DictInfo(
            name=manifest.dict_id.name,
            created_at=manifest.created_at,
            created_by=manifest.created_by,
            ttl=manifest.ttl,
            codec=manifest.codec,
        )

    @dual_method
    async def stats(self) -> DictStats:
        """Return how many entries there are, their size, and when the oldest and the newest was written or renewed.

        Only listings are read: an entry whose own ttl has passed is counted until it is deleted.

        Requests:
            The listing: at most ⌈n/1000⌉ + 16.
        """
        from ._core.iteration import measure
        from ._info import DictStats

        return DictStats(*await measure(await self._open()))

    @get_method
    async def get(self, key: K, default: Any = None) -> V | None:
        """Return the value of a key, or `default` when the key is missing.

        Use `contains` or a sentinel default to distinguish a stored None.

        Raises:
            DeserializationError: The value cannot be deserialised here, because a module is missing, for example.
            IntegrityError: The stored object is not what s3dict wrote.

        Requests:
            1, and 1 for each further 8 MiB of a value over 16 MiB.
        """
        live = await (await self._open(key)).read(key, allow_cached=True)
        value: V | None = default if live is None else live.value
        return value

    @dual_method
    async def contains(self, key: K) -> bool:
        """Return whether the key exists.

        Requests:
            1, of the first bytes of the entry.
        """
        return await (await self._open(key)).contains(key)

    @dual_method
    async def len(self) -> int:
        """Return the exact number of entries.

        Requests:
            At most ⌈n/1000⌉ + 16.
        """
        from ._core.iteration import count

        return await count(await self._open())

    @dual_method
    async def entry(self, key: K) -> Entry[K, V] | None:
        """Return the entry with its version, for `put` with `if_version`; None when the key is missing.

        Requests:
            1.
        """
        from ._info import Entry

        live = await (await self._open(key)).read(key)
        if live is None:
            return None
        return Entry(key, live.value, str(live.version), live.last_modified, live.expires_at)

    @dual_method
    async def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Return the values of those keys that exist.

        Raises:
            InvalidError: `keys` is a string or bytes, which is one key and not several.
            Error: The first failure, with ``failed_keys``, and the values that had been read as ``completed``.

        Requests:
            1 each, at most the client's ``concurrency`` at a time.
        """
        from ._core.bulk import read_many

        keys = _key_list(keys, "get_many")
        return await read_many(await self._open(*keys), keys)

    @dual_method
    async def put(
        self,
        key: K,
        value: V,
        *,
        skip_if_exists: bool = False,
        if_version: str | None = None,
        ttl: Ttl | None = None,
    ) -> bool:
        """Store a value.

        A put without a condition may be retried when its response is lost, and then be applied twice during the call.
        One with a condition is applied at most once.

        Args:
            skip_if_exists: Store it only if the key is missing. Exactly one of concurrent callers succeeds.
            if_version: Store it only over the entry of this version, as `entry` returned it (compare-and-set). It also
                succeeds on an entry that has expired but is not deleted yet.
            ttl: Seconds or timedelta after which the entry expires, read or not: at most the dict's ttl. None is an
                entry that expires by the dict's ttl alone, also where it replaces one with a ttl.

        Returns:
            Whether it was stored: always True without a condition.

        Raises:
            ConflictError: With a condition: the store neither accepted the entry nor showed another one.
            InvalidError: The ttl or version is not valid, or both conditions were passed.
            SerializationError, RequestSizeError: No request was made.
            UncertainOutcomeError: With a condition: a response was lost, and it is unknown whether it was applied.

        Requests:
            1; with a condition 1 when it holds, and 2 when it does not.
        """
        entries = await self._open(key)
        expiry = entries.expiry.of_entry(ttl)
        if if_version is not None:
            if skip_if_exists:
                raise InvalidError(
                    "skip_if_exists and if_version are mutually exclusive: a version is that of an entry"
                )
            return await entries.replace(key, value, Version.parse(if_version), expiry)
        if skip_if_exists:
            return await entries.create(key, value, expiry)
        await entries.put(entries.codec.keys.encode(key), key, value, expiry)
        return True

    @dual_method
    async def setdefault(self, key: K, value: V, *, ttl: Ttl | None = None) -> V:
        """Return the value of a key; store and return `value` when the key is missing.

        Exactly one of concurrent callers stores its value, and all of them return that one.

        Args:
            ttl: As of `put`, for the value that is stored; an existing entry keeps its own.

        Raises:
            ConflictError, InvalidError, SerializationError, RequestSizeError, UncertainOutcomeError: As of `put`.

        Requests:
            1 when the key exists, 2 when it does not.
        """
        from ._core.compute import set_default

        entries = await self._open(key)
        chosen: V = await set_default(entries, key, value, entries.expiry.of_entry(ttl))
        return chosen

    @dual_method
    async def modify(
        self,
        key: K,
        function: Callable[[V], V | Awaitable[V]],
        default: V | Unset = UNSET,
        *,
        ttl: Ttl | Unset | None = UNSET,
    ) -> V:
        """Replace the value atomically by what `function` returns for it, and return the new value.

        After a concurrent write, the function is called again with the new value; so it must have no side effects.
        With ``.aio`` it may be a coroutine function.

        Args:
            default: What the function is called with when the key is missing.
            ttl: As of `put`, counted from this write. Left out, an entry keeps the time at which it expires, and a new
                one has none; None removes it.

        Raises:
            KeyError: The key is missing, and no default was passed.
            InvalidError: The ttl is not valid; or `function` is a coroutine function, and the call is not
                ``modify.aio``.
            ConflictError: Concurrent writers kept changing the entry.
            UncertainOutcomeError: A response was lost, and it is unknown whether the new value was stored.

        Requests:
            2 without concurrent writes.
        """
        from ._core.compute import modify

        function = self._callable(function, "modify")
        entries = await self._open(key)
        expiry = None if ttl is UNSET else entries.expiry.of_entry(ttl)
        value: V = await modify(entries, key, function, default, expiry=expiry, keep_expiry=ttl is UNSET)
        return value

    @dual_method
    async def get_or_compute(
        self,
        key: K,
        function: Callable[[], V | Awaitable[V]],
        lease: Duration = DEFAULT_LEASE,
        *,
        ttl: Ttl | None = None,
        stale: Duration = 0,
        early: float = 0,
        refresh: bool = False,
    ) -> V:
        """Return the value of a key; when the key is missing, store and return what `function` returns.

        One of all callers in all processes calls the function, and the others wait for its value. If the process that
        computes dies, another caller computes once the lease has expired; if the function raises, its caller gets the
        exception, and another caller tries.

        Args:
            function: Without arguments; with ``.aio`` it may be a coroutine function.
            lease: Seconds or timedelta after which a caller that has stopped renewing the lease is replaced: 2 seconds
                or more.
            ttl: As of `put`, for the computed value, from when it is stored.
            stale: Seconds or timedelta for which a value is still returned when its ttl has passed, while one caller
                computes it again and waits for that. If the function raises, the exception is logged, that caller gets
                the stale value as well, and the next caller tries again.
            early: Compute the value again before its ttl has passed, with a probability that grows towards that
                moment, as by the algorithm XFetch; the other callers get the stored value. 1 is the best choice as a
                rule, and more is earlier.
            refresh: Compute the value although there is one. The function is called when every earlier call of it in
                any process has ended; so no later caller gets a value that was computed before this call.

        Raises:
            InvalidError: `function` is a coroutine function, and the call is not ``get_or_compute.aio``; or the lease
                or the ttl is not valid; or `stale` or `early` without a `ttl`.

        Requests:
            1 when the key exists, 6 for the caller that computes, 2 for each poll of the other callers, and 2 for a
            caller that gets a stored value while another caller computes it again. With `refresh` 5, and 1 for each
            poll.
        """
        from ._core.compute import get_or_compute

        function, seconds = self._callable(function, "get_or_compute"), to_seconds(lease, "lease")
        policy, lifetime = to_refresh(ttl, stale, early, force=refresh)
        entries = await self._open(key)
        expiry = entries.expiry.of_entry(lifetime)
        shown_key = key_repr(key)
        lock_target = self._lock_target(
            entries, "compute", entries.codec.keys.encode(key).data, f"computation of {shown_key}", shown_key
        )
        with self._state.naming_dict():
            value: V = await get_or_compute(entries, lock_target, key, function, seconds, expiry, policy)
        return value

    @dual_method
    async def update(
        self, other: Mapping[K, V] | Iterable[tuple[K, V]] | Dict[K, V] | None = None, /, **kwargs: V
    ) -> None:
        """Store all pairs of a mapping, or of an iterable of pairs of any length, and the keyword arguments.

        Pairs are taken from the iterable only as fast as they are written. Each entry is written atomically, all of
        them together are not.

        Raises:
            Error: The first failure, with ``failed_keys``. Later pairs were not tried; the call may be repeated.
            Exception: What the iterable raises, when the pairs before it have been stored.

        Requests:
            1 each, at most the client's ``concurrency`` at a time.
        """
        await self._put_all("update", other, kwargs, None)

    @dual_method
    async def put_many(
        self, pairs: Mapping[K, V] | Iterable[tuple[K, V]] | Dict[K, V], *, ttl: Ttl | None = None
    ) -> None:
        """Store all pairs of a mapping, of a Dict, or of an iterable of pairs of any length, as `update` does.

        Args:
            ttl: As of `put`, for each of the entries.

        Raises:
            TypeError, ValueError: `pairs` is not iterable, or contains something else than pairs.
            InvalidError: The ttl is not valid. Nothing was stored.
            Error: The first failure, with ``failed_keys``. Later pairs were not tried; the call may be repeated.

        Requests:
            1 each, at most the client's ``concurrency`` at a time.
        """
        if pairs is None:
            # `update` takes None, for keyword arguments alone.
            raise TypeError("'NoneType' object is not iterable")
        await self._put_all("put_many", pairs, {}, ttl)

    async def _put_all(self, method: str, source: Any, more: Mapping[str, Any], ttl: Ttl | None) -> None:
        from ._core.bulk import batched, pairs_of, write_many
        from ._core.iteration import iterate_items

        _check_iterable(source, method)
        entries = await self._open()
        expiry = entries.expiry.of_entry(ttl)
        if self._aio and isinstance(source, Dict):
            # The blocking iterator would stop the event loop, and `write_many` takes no other.
            async with aclosing(iterate_items(await source._async_view._open())) as items:
                async for batch in batched(items):
                    await write_many(entries, batch, expiry)
            source = None
        await write_many(entries, pairs_of(source, more), expiry)

    @dual_method
    async def touch(self, key: K, ttl: Ttl | None) -> bool:
        """Set the ttl of an entry, counted from now; return whether the key exists.

        The whole entry is written again, and has another version. Its value need not be readable here.

        Args:
            ttl: As of `put`; None removes the entry's own ttl.

        Raises:
            InvalidError: The ttl is not valid.
            ConflictError: Concurrent writers kept changing the entry.
            UncertainOutcomeError: A response was lost, and it is unknown whether the entry was written.

        Requests:
            2, or 1 when the key is missing.
        """
        entries = await self._open(key)
        return await entries.touch(key, entries.expiry.of_entry(ttl))

    @pop_method
    async def pop(self, key: K, default: Any = UNSET, *, if_version: str | None = None) -> V:
        """Remove a key and return its value, or `default` if one is passed and the key is missing.

        Exactly one of concurrent callers gets the value.

        Args:
            default: What to return when the key is missing.
            if_version: Remove the entry only if it has this version, which `entry` returned. An entry of another
                version stays, and the key counts as missing.

        Raises:
            KeyError: The key is missing or has another version, and no default was passed.
            InvalidError: `if_version` is not a version.
            UncertainOutcomeError: A response was lost, and it is unknown which caller removed the entry; ``value`` of
                the error is the value.

        Requests:
            2, or 1 when the key is missing.
        """
        entries = await self._open(key)
        removed = await entries.remove(key, None if if_version is None else Version.parse(if_version))
        if removed is None and default is UNSET:
            raise entries.missing_key(key)
        value: V = default if removed is None else removed.live.value
        return value

    @dual_method
    async def pop_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Remove those keys that exist, and return their values.

        Exactly one of concurrent callers gets the value of a key.

        Raises:
            InvalidError: `keys` is a string or bytes, which is one key and not several.
            Error: The first failure, with ``failed_keys``, and the values that had been popped as ``completed``.

        Requests:
            2 each, or 1 for a missing key, at most the client's ``concurrency`` at a time.
        """
        from ._core.bulk import remove_many

        keys = _key_list(keys, "pop_many")
        return await remove_many(await self._open(*keys), keys)

    @dual_method
    async def discard(self, key: K) -> bool:
        """Remove a key without deserialising its value; return whether it existed.

        Exactly one of concurrent callers gets True.

        Raises:
            UncertainOutcomeError: A response was lost, and it is unknown which caller removed the entry.

        Requests:
            2, or 1 when the key is missing.
        """
        return await (await self._open(key)).discard(key)

    @dual_method
    async def discard_many(self, keys: Iterable[K]) -> list[K]:
        """Remove those of the keys that exist without deserialising their values; return them, in the order of `keys`.

        Raises:
            Error: The first failure, with the keys that failed as ``failed_keys``, and those that were removed as the
                keys of ``completed``.

        Requests:
            1 for each key and 1 for each that exists, at most the client's ``concurrency`` at a time. On a store that
            supports conditional bulk deletion, 1 for each key and 1 for each thousand that exist.
        """
        from ._core.bulk import discard_many

        keys = _key_list(keys, "discard_many")
        return await discard_many(await self._open(*keys), keys)

    @dual_method
    async def clear(self) -> None:
        """Remove all entries.

        Requests:
            The listing (at most ⌈n/1000⌉ + 16) and ⌈n/1000⌉.
        """
        from ._core.iteration import clear

        await clear(await self._open())

    if TYPE_CHECKING:
        # A declared attribute: pyright takes no descriptor for the method of a mapping, as in `dict(d)` and `f(**d)`.
        keys: DualIterator[[], K]
    else:

        @dual_iterator
        async def keys(self) -> AsyncGenerator[K, None]:
            """Iterate over the keys.

            `keys`, `values` and `items` have the same order, which stays the same while the dict does not change.

            An entry that is put or removed during the iteration may or may not be included.

            Requests:
                At most ⌈n/1000⌉ + 16, and one for each key that its object's name cannot contain: one of over some 160
                bytes, or of a type that has to be pickled (two for a key of over 16 KB).
            """
            from ._core.iteration import iterate_keys

            async with aclosing(iterate_keys(await self._open())) as pages:
                async for page in pages:
                    for key in page:
                        yield key

    @dual_iterator
    async def values(self) -> AsyncGenerator[V, None]:
        """Iterate over the values, in the order of `keys`.

        Raises:
            DeserializationError, IntegrityError: As `get`, at the first such entry.

        Requests:
            At most ⌈n/1000⌉ + 16, and one for each entry, at most the client's ``concurrency`` at a time.
        """
        from ._core.iteration import iterate_values

        async with aclosing(iterate_values(await self._open())) as values:
            async for value in values:
                yield value

    @dual_iterator
    async def items(self) -> AsyncGenerator[tuple[K, V], None]:
        """Iterate over the keys with their values, in the order of `keys`.

        Values are prefetched, so an entry may have changed or expired before it is returned.

        Raises:
            DeserializationError, IntegrityError: As `get`, at the first such entry; `keys` reads no values.

        Requests:
            At most ⌈n/1000⌉ + 16, and one for each entry, at most the client's ``concurrency`` at a time.
        """
        from ._core.iteration import iterate_items

        async with aclosing(iterate_items(await self._open())) as items:
            async for item in items:
                yield item

    def as_mapping(self) -> DictMapping[K, V]:
        """Return the entries as a `collections.abc.MutableMapping`, for code that takes a dict. No request.

        It has ``len``, ``==``, ``|``, `popitem` and all else; it blocks. See `DictMapping`.
        """
        from ._mapping import DictMapping, SharedDict

        # pyright does not see that a descriptor gives a method.
        return DictMapping(cast("SharedDict[K, V]", self._sync_handle))

    def lock(
        self,
        name: str,
        lease: Duration = DEFAULT_LEASE,
        timeout: Duration | None = None,
        *,
        reentrant: bool = False,
        owner: str | None = None,
    ) -> Lock:
        """Return the lock of that name, for ``with`` and ``async with``: see `Lock`. No request until it is entered.

        Args:
            name: Any text. Locks are stored apart from the entries.
            lease: Seconds or timedelta after which a holder that has stopped renewing it loses the lock: 2 seconds or
                more.
            timeout: Seconds or timedelta to wait for it, 0 to try once; None waits indefinitely. The request that
                acquires a lock that was found free is retried for up to 2 seconds, also if the timeout is shorter: one
                lost response must not make a free lock look held.
            reentrant: Whether the thread or task that holds the lock may acquire it again, and releases it as often.
            owner: How `Lock.holder` and ``s3dict locks`` show this holder; None is user and host.

        Raises:
            InvalidError: The name or owner is not a string, or the lease or timeout is not valid.
        """
        from ._lock import Lock

        return Lock(self._sync_handle, _lock_options(name, lease, timeout, owner, reentrant=reentrant))

    def semaphore(
        self,
        name: str,
        permits: int,
        lease: Duration = DEFAULT_LEASE,
        timeout: Duration | None = None,
        *,
        owner: str | None = None,
    ) -> Semaphore:
        """Return the semaphore of that name, for ``with`` and ``async with``. No request until it is entered.

        Args:
            name: Any text. Semaphores are stored apart from the entries and the locks.
            permits: How many callers may be inside at a time: 1 to 1000, and the same number everywhere.
            lease: As of `lock`, for each permit.
            timeout: Seconds or timedelta to wait for a permit, 0 to try once; None waits indefinitely.
            owner: As of `lock`.

        Raises:
            InvalidError: An argument is not valid.
        """
        from ._lock import Semaphore

        if type(permits) is not int or not 1 <= permits <= MAX_PERMITS:
            raise InvalidError(f"Invalid number of permits: {permits!r}. It is from 1 to {MAX_PERMITS}")
        return Semaphore(self._sync_handle, _lock_options(name, lease, timeout, owner, permits=permits))

    def counter(self, name: str, shards: int = 16) -> Counter:
        """Return a counter that many processes may add to at a time: see `Counter`. No request until it is used.

        Its shards are entries of this dict, with keys of their own: each expires when it is not read or written for the
        dict's ttl, so a counter belongs in a dict with ``ttl=None``, or one whose ttl is longer than from one
        `Counter.value` to the next.

        Args:
            name: Any text.
            shards: Over how many entries it is spread, 1 to 1000: the same number everywhere.

        Raises:
            InvalidError: An argument is not valid.
        """
        from ._counter import Counter

        if not isinstance(name, str):
            raise InvalidError(f"Invalid counter name: {name!r}. It is a string")
        if type(shards) is not int or not 1 <= shards <= MAX_SHARDS:
            raise InvalidError(f"Invalid number of shards: {shards!r}. It is from 1 to {MAX_SHARDS}")
        return Counter(self._sync_handle, name, shards)

    @dual_method
    async def _getitem(self, key: K) -> V:
        entries = await self._open(key)
        live = await entries.read(key, allow_cached=True)
        if live is None:
            raise entries.missing_key(key)
        value: V = live.value
        return value

    @dual_method
    async def _delitem(self, key: K) -> None:
        entries = await self._open(key)
        if not await entries.discard(key):
            raise entries.missing_key(key)

    def __getitem__(self, key: K) -> V:
        """`get`, with ``KeyError`` for a missing key. Blocks."""
        try:
            return self._getitem(key)
        except (Error, KeyError) as error:
            shorten_traceback(error)
            raise

    def __setitem__(self, key: K, value: V) -> None:
        """`put`. Blocks."""
        try:
            self.put(key, value)
        except Error as error:
            shorten_traceback(error)
            raise

    def __delitem__(self, key: K) -> None:
        """`pop` without deserialising the value. ``KeyError`` for a missing key. Blocks."""
        try:
            self._delitem(key)
        except (Error, KeyError) as error:
            shorten_traceback(error)
            raise

    def __contains__(self, key: K) -> bool:
        """`contains`. Blocks."""
        try:
            return self.contains(key)
        except Error as error:
            shorten_traceback(error)
            raise

    def __iter__(self) -> Iterator[K]:
        """`keys`. Blocks."""
        return self.keys()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Mapping):
            import warnings

            warnings.warn(
                "A Dict never equals a dict: compare `d.as_mapping() == {...}`, which reads the entries, or "
                "`d.object_id` of two handles",
                stacklevel=2,
            )
        return NotImplemented

    __hash__ = object.__hash__

    def _ipython_key_completions_(self) -> list[K]:
        """Return the keys that notebooks complete after ``d["``: none of a dict of more than a thousand. 1 request."""
        try:
            return self._short_keys()
        except Error:
            # It is called while the user types.
            return []

    @dual_method
    async def _short_keys(self) -> list[K]:
        from ._core.iteration import keys_of_one_page

        return await keys_of_one_page(await self._open())

    def __repr__(self) -> str:
        ref = self._state.ref
        if isinstance(ref, IdRef):
            return f"Dict.from_id({ref.text!r})"
        environment = f", environment_name={ref.environment!r}" if ref.environment else ""
        return f"Dict.from_name({ref.name!r}{environment})"

    def _repr_html_(self) -> str:
        """Return what notebooks show: what the handle knows, without a request."""
        from html import escape

        state, client = self._state, self._state.chosen_client
        rows = {
            "name": self.name,
            "id": None if state.dict_id is None else str(state.dict_id),
            "bucket": None if client is None else f"{client.bucket}/{client.prefix}",
            "endpoint": None if client is None else client.endpoint_url,
        }
        cells = "".join(f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in rows.items() if text)
        return f"<table><caption><code>{escape(repr(self))}</code></caption>{cells}</table>"

    def __reduce__(self) -> tuple[Any, ...]:
        return restore, ("AsyncDict" if self._aio else "Dict", *pickled_state(self._state))

    def __s3dict_id__(self) -> str:
        return self.object_id

    @property
    def _async_view(self) -> Dict[K, V]:
        """The same handle with a store for asyncio."""
        if self._aio:
            return self
        if self._counterpart is None:
            view = _new_handle(self._state, aio=True)
            view._counterpart = self
            self._counterpart = view
        return self._counterpart

    @property
    def _sync_handle(self) -> Dict[K, V]:
        return self._counterpart if self._aio and self._counterpart is not None else self

    async def _load(self) -> tuple[Client, ObjectStore, LoadedManifest]:
        """Return the client and the store that this call uses, and the manifest."""
        client = self._state.client
        store = client._store(aio=self._aio)
        return client, store, await self._state.manifest(client, store)

    async def _open(self, *keys: Any) -> Entries:
        """Return the entries, over the store that this call uses. Handles among the keys are hydrated for their ids."""
        for key in keys:
            if isinstance(key, Dict) and key._state is not self._state:
                await (key._async_view if self._aio else key._sync_handle)._load()
        # Another thread may give the handle another client: this call uses the keys of the one whose store it uses.
        client, store, loaded = await self._load()
        cached = self._entries
        if cached is None or cached[0] is not loaded.manifest or cached[1].store is not store:
            self._entries = cached = loaded.manifest, self._make_entries(client, store, loaded.manifest)
        return cached[1]

    def _callable(self, function: Callable[..., Any], method: str) -> Callable[..., Any]:
        if not callable(function):
            raise InvalidError(f"{method} takes a function, not {function!r}")
        if self._aio:
            return function
        from ._aio import require_plain

        return require_plain(function, method)

    def _lock_store(self, client: Client | None, *, aio: bool) -> ObjectStore:
        return (self.client if client is None else client)._store(aio=aio)

    async def _locate_lock(
        self, kind: str, name: str, owner: str | None, *, aio: bool, permit: int = 0, permits: int = 0
    ) -> LockTarget:
        handle = self._async_view if aio else self._sync_handle
        # Text that came from bytes may contain surrogates, which UTF-8 cannot encode.
        encoded = (f"{permit} {name}" if permits else name).encode(errors="surrogatepass")
        client, store, loaded = await handle._load()
        entries = handle._make_entries(client, store, loaded.manifest)
        target = handle._lock_target(entries, kind, encoded, f"{kind} {name!r}", name, owner, permits)
        return replace(target, client=client)

    def _lock_target(
        self,
        entries: Entries,
        kind: str,
        name: bytes,
        label: str,
        shown_name: str,
        owner: str | None = None,
        permits: int = 0,
    ) -> LockTarget:
        from ._core.locks import LockTarget
        from ._format.lock import LockDetails, lock_segment

        return LockTarget(
            entries.store,
            entries.capabilities,
            entries.paths.locks + lock_segment(kind, name),
            f"The {label} of {self._state.label}",
            entries.revalidate,
            lambda: LockDetails(kind, shown_name, owner or current_user(), permits=permits),
            self._state.dict_name,
        )

    def _make_entries(self, client: Client, store: ObjectStore, manifest: Manifest) -> Entries:
        values = get_codec(manifest.codec)
        codec = EntryCodec(
            keys=KeyCodec(values.uses_pickle, lambda dict_id: _from_dict_id(DictId.parse(dict_id), client)),
            values=client._bind(values),
            signer=EntrySigner(str(manifest.dict_id), client._signing_keys),
            dict_name=self._state.dict_name,
            max_value_bytes=client._settings.max_value_bytes,
        )
        return Entries(
            store=store,
            paths=client._layout.data(manifest.dict_id, manifest.ttl, manifest.fanout),
            capabilities=manifest.capabilities,
            expiry=Expiry(store, manifest.capabilities, manifest.ttl),
            codec=codec,
            concurrency=client._settings.concurrency,
            revalidate=partial(self._state.check_exists, client, store, manifest.dict_id),
            cache=client._cache(),
        )


def _key_list(keys: Iterable[K], method: str) -> list[K]:
    if isinstance(keys, (str, bytes)):
        raise InvalidError(f"{method} takes an iterable of keys, and {keys!r} is one key: pass [{keys!r}]")
    _check_iterable(keys, method)
    return list(keys)


def _check_iterable(given: object, method: str) -> None:
    # An iterable may be asynchronous too, as those of tqdm are.
    if hasattr(given, "__aiter__") and not hasattr(given, "__iter__"):
        raise InvalidError(
            f"{method} takes no asynchronous iterator, also with .aio: pass [item async for item in ...]"
        )


def to_refresh(ttl: Ttl | None, stale: Duration, early: float, *, force: bool = False) -> tuple[Refresh, Ttl | None]:
    """Return when a value is computed again, and for how long it is stored.

    Raises:
        InvalidError: `stale` or `early` is not valid, or there is no ttl.
    """
    from ._core.compute import Refresh

    seconds = to_seconds(stale, "stale")
    if not 0 <= seconds < math.inf:
        raise InvalidError(f"Invalid stale: {stale!r}. It is 0 seconds or more")
    if isinstance(early, bool) or not isinstance(early, (int, float)) or not 0 <= early < math.inf:
        raise InvalidError(f"Invalid early: {early!r}. It is a number, 0 or more: 1 is the best choice as a rule")
    if ttl is None and (seconds or early):
        raise InvalidError("stale and early concern the end of a ttl: pass a ttl as well")
    lifetime = to_seconds(ttl, "ttl") + seconds if ttl is not None and seconds else ttl
    return Refresh(seconds, early, force), lifetime


def _lock_options(
    name: str,
    lease: Duration,
    timeout: Duration | None,
    owner: str | None,
    *,
    reentrant: bool = False,
    permits: int = 0,
) -> LockOptions:
    from ._lock import LockOptions, to_lease

    if not isinstance(name, str):
        raise InvalidError(f"Invalid lock name: {name!r}. It is a string")
    if not isinstance(owner, (str, type(None))):
        raise InvalidError(f"Invalid owner: {owner!r}. It is a string")
    seconds = None if timeout is None else to_seconds(timeout, "timeout")
    if seconds is not None and seconds < 0:
        raise InvalidError(f"Invalid timeout: {timeout!r}. It is 0 or more, and None to wait indefinitely")
    return LockOptions(name, to_lease(lease), seconds, reentrant, owner, permits)


def _new_handle(state: HandleState, *, aio: bool = False) -> Dict[Any, Any]:
    handle: Dict[Any, Any] = Dict.__new__(Dict)
    handle._state = state
    handle._aio = aio
    handle._counterpart = None
    handle._entries = None
    return handle


def _from_dict_id(dict_id: DictId, client: Client) -> Dict[Any, Any]:
    return _new_handle(HandleState(IdRef.of(dict_id), client, DictOptions()))


def unpickle_dict(ref: tuple[Any, ...], client: Client | None, options: dict[str, Any]) -> Dict[Any, Any]:
    return _new_handle(unpickled_state(ref, client, options))


def unpickle_async_dict(ref: tuple[Any, ...], client: Client | None, options: dict[str, Any]) -> Dict[Any, Any]:
    """Return the object that a pickled ``d.get.aio`` is a method of."""
    return unpickle_dict(ref, client, options)._async_view


def unpickle_ephemeral(client: Client | None) -> EphemeralDict[Dict[Any, Any]]:
    from ._ephemeral import EphemeralDict

    return EphemeralDict(client, _new_handle)


Dict.objects = DictManager(_new_handle)

# Pickled, and shown, as what users import.
for _public in (Dict, Dict.from_name, Dict.from_id):
    _public.__module__ = "s3dict"
