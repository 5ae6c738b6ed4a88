"""DictMapping: a Dict for code that takes a dict."""

from __future__ import annotations

import random
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from ._pickle import restore
from ._sentinel import UNSET

if TYPE_CHECKING:
    from typing import Self

    from _typeshed import SupportsKeysAndGetItem

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
K2 = TypeVar("K2")
V2 = TypeVar("V2")

POPITEM_SAMPLE = 64
"""From how many keys `popitem` picks one, so that concurrent callers seldom pick the same."""


class SharedDict(Protocol[K, V]):
    """What DictMapping needs of a Dict."""

    def __getitem__(self, key: K) -> V: ...
    def __setitem__(self, key: K, value: V) -> None: ...
    def __delitem__(self, key: K) -> None: ...
    def __contains__(self, key: K) -> bool: ...
    @property
    def pop(self) -> Callable[..., Any]: ...
    @property
    def setdefault(self) -> Callable[[K, V], V]: ...
    @property
    def update(self) -> Callable[..., None]: ...
    @property
    def clear(self) -> Callable[[], None]: ...
    @property
    def len(self) -> Callable[[], int]: ...
    @property
    def keys(self) -> Callable[[], Iterator[K]]: ...
    @property
    def values(self) -> Callable[[], Iterator[V]]: ...
    @property
    def items(self) -> Callable[[], Iterator[tuple[K, V]]]: ...
    def _ipython_key_completions_(self) -> list[K]: ...


class DictMapping(MutableMapping[K, V]):
    """The entries of a Dict as a `collections.abc.MutableMapping`: what `Dict.as_mapping` returns.

    It keeps no entries itself: each call makes requests, and blocks. `setdefault`, `pop` and `popitem` are atomic, as
    those of the Dict are; `update`, `items`, `values`, `copy`, ``==`` and ``|`` move many entries at a time.

    It differs from a ``dict`` where a store must: keys are not in the order of insertion, a value is a copy of what was
    put, keys and values are of the types that the Dict takes, and it may change during an iteration. There is no
    ``fromkeys``, and ``repr`` does not show the entries.

    ``dict(mapping)`` and ``{**mapping}`` read one value after the other, since Python does so with every mapping that
    is not a ``dict``. `copy` returns the same, and reads many at a time. ``list`` and ``sorted`` call ``len`` first:
    one listing more.
    """

    __slots__ = ("_dict",)

    def __init__(self, d: SharedDict[K, V]) -> None:
        self._dict = d

    def __getitem__(self, key: K) -> V:
        """Return the value of a key. 1 request."""
        return self._dict[key]

    def __setitem__(self, key: K, value: V) -> None:
        """Store a value. 1 request."""
        self._dict[key] = value

    def __delitem__(self, key: K) -> None:
        """Remove a key. 2 requests."""
        del self._dict[key]

    def __contains__(self, key: object) -> bool:
        """Return whether the key exists. 1 request, which does not transfer the value."""
        checked: Any = key
        return checked in self._dict

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys, in the order of `Dict.keys`. A listing."""
        return self._dict.keys()

    def __len__(self) -> int:
        """Return the exact number of entries. A listing, as of `Dict.len`."""
        return self._dict.len()

    def __bool__(self) -> bool:
        """Return whether there is any entry. 1 request, as a rule."""
        return any(True for _ in self)

    def __eq__(self, other: object) -> bool:
        """Return whether `other` is a mapping with equal keys and values. Reads the items up to a difference."""
        if not isinstance(other, Mapping):
            return NotImplemented
        # Another DictMapping, or any mapping that is slow for single keys, is read once.
        expected: Mapping[Any, Any] = other if isinstance(other, dict) else dict(other.items())
        count = 0
        for key, value in self._dict.items():
            if key not in expected or expected[key] != value:
                return False
            count += 1
        return count == len(expected)

    __hash__ = None  # type: ignore[assignment]

    def _ipython_key_completions_(self) -> list[K]:
        return self._dict._ipython_key_completions_()

    def __or__(self, other: Mapping[K2, V2]) -> dict[K | K2, V | V2]:
        """Return a ``dict`` of the entries and those of `other`, which take precedence. Stores nothing."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**dict(self.items()), **dict(other.items())}

    def __ror__(self, other: Mapping[K2, V2]) -> dict[K | K2, V | V2]:
        """Return a ``dict`` of `other` and the entries, which take precedence. Stores nothing."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return {**dict(other.items()), **dict(self.items())}

    def __ior__(  # type: ignore[misc]
        self, other: SupportsKeysAndGetItem[K, V] | Iterable[tuple[K, V]]
    ) -> Self:
        """`update`."""
        self.update(other)
        return self

    def __repr__(self) -> str:
        return f"{self._dict!r}.as_mapping()"

    def __reduce__(self) -> tuple[Any, ...]:
        return restore, ("DictMapping", self._dict)

    def items(self) -> ItemsView[K, V]:
        """Return a view, which reads many entries at a time: see `Dict.items`."""
        return _Items(self)

    def values(self) -> ValuesView[V]:
        """Return a view, which reads many entries at a time: see `Dict.values`."""
        return _Values(self)

    @overload
    def pop(self, key: K, /) -> V: ...
    @overload
    def pop(self, key: K, /, default: V) -> V: ...
    @overload
    def pop(self, key: K, /, default: T) -> V | T: ...
    def pop(self, key: K, /, default: Any = UNSET) -> Any:
        """Remove a key and return its value. Exactly one of concurrent callers gets it. 2 requests, 1 if missing."""
        return self._dict.pop(key, default)

    def popitem(self) -> tuple[K, V]:
        """Remove some entry and return it. Exactly one of concurrent callers gets it. A listing, and 2 requests.

        Raises:
            KeyError: There is no entry: a listing may still show those whose own ttl has passed.
        """
        keys = self._keys_until_none_is_new()
        while candidates := list(islice(keys, POPITEM_SAMPLE)):
            random.shuffle(candidates)
            for key in candidates:
                with suppress(KeyError):
                    return key, self._dict.pop(key)
        raise KeyError(f"popitem(): {self!r} is empty")

    def _keys_until_none_is_new(self) -> Iterator[K]:
        """Yield each key once, and list again after those: other callers may have taken all, and put others."""
        seen, listed = set[K](), -1
        while len(seen) > listed:
            listed = len(seen)
            for key in self:
                if key not in seen:
                    seen.add(key)
                    yield key

    def setdefault(self, key: K, default: V = None, /) -> V:  # type: ignore[assignment]
        """Return the value; store `default` when the key is missing. 1 request, 2 when it is missing."""
        return self._dict.setdefault(key, default)

    def update(self, other: SupportsKeysAndGetItem[K, V] | Iterable[tuple[K, V]] = (), /, **kwargs: V) -> None:
        """Store all pairs, many at a time. 1 request each."""
        self._dict.update(other, **kwargs)

    def clear(self) -> None:
        """Remove all entries. A listing, and 1 request for each thousand."""
        self._dict.clear()

    def copy(self) -> dict[K, V]:
        """Return the entries as a ``dict``, read many at a time. A listing, and 1 request each."""
        return dict(self._dict.items())


class _Items(ItemsView[K, V]):
    _mapping: DictMapping[K, V]

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping._dict.items()


class _Values(ValuesView[V]):
    _mapping: DictMapping[Any, V]

    def __iter__(self) -> Iterator[V]:
        return self._mapping._dict.values()

    def __contains__(self, value: object) -> bool:
        return any(found is value or found == value for found in self)
