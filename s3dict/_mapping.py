"""DictMapping: a Dict for code that takes a dict."""

from __future__ import annotations

import random
from collections.abc import ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from _typeshed import SupportsKeysAndGetItem

    from ._dict import Dict

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

_MISSING: Any = object()
POPITEM_SAMPLE = 64
"""Among how many keys `popitem` picks one, so that callers who race seldom go for the same."""


class DictMapping(MutableMapping[K, V]):
    """The entries of a Dict as a `collections.abc.MutableMapping`: what `Dict.as_mapping` gives.

    It keeps nothing itself: each call asks the store, and blocks. `setdefault`, `pop` and `popitem` are atomic, as
    those of the Dict are; `update`, `items`, `values`, `copy` and ``==`` move many entries at a time.

    It differs from a ``dict`` where a store must: keys come in no order, a value is a copy of what was put, keys and
    values are of the types that the Dict takes, and to change it while iterating is no error. There is no
    ``fromkeys``, and ``repr`` does not show the entries.

    ``dict(mapping)`` and ``{**mapping}`` ask for one value after the other: Python takes that way with whatever is no
    ``dict``. `copy` gives the same many at a time. ``list`` and ``sorted`` ask for the length first: one listing more.
    """

    __slots__ = ("_dict",)

    def __init__(self, d: Dict[K, V]) -> None:
        self._dict = d

    def __getitem__(self, key: K) -> V:
        """1 request."""
        return self._dict[key]

    def __setitem__(self, key: K, value: V) -> None:
        """1 request."""
        self._dict[key] = value

    def __delitem__(self, key: K) -> None:
        """2 requests."""
        del self._dict[key]

    def __contains__(self, key: object) -> bool:
        """1 request, which carries no value."""
        asked: Any = key
        return asked in self._dict

    def __iter__(self) -> Iterator[K]:
        """The keys, in no order. A listing, as of `Dict.keys`."""
        return self._dict.keys()

    def __len__(self) -> int:
        """How many entries there are, exactly. A listing, as of `Dict.len`."""
        return self._dict.len()

    def __bool__(self) -> bool:
        """Whether there is any entry. 1 request, as a rule."""
        return any(True for _ in self)

    def __eq__(self, other: object) -> bool:
        """Whether the other is a mapping with equal keys and values. One pass over the items, up to a difference."""
        if not isinstance(other, Mapping):
            return NotImplemented
        # One of ours, or another mapping that is slow for single keys, is read once.
        theirs: Mapping[Any, Any] = other if isinstance(other, dict) else dict(other.items())
        count = 0
        for key, value in self._dict.items():
            if key not in theirs or theirs[key] != value:
                return False
            count += 1
        return count == len(theirs)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{self._dict!r}.as_mapping()"

    def items(self) -> ItemsView[K, V]:
        """A view, which is iterated over many entries at a time: see `Dict.items`."""
        return _Items(self)

    def values(self) -> ValuesView[V]:
        """A view, which is iterated over many entries at a time: see `Dict.values`."""
        return _Values(self)

    @overload
    def pop(self, key: K, /) -> V: ...
    @overload
    def pop(self, key: K, /, default: V) -> V: ...
    @overload
    def pop(self, key: K, /, default: T) -> V | T: ...
    def pop(self, key: K, /, default: Any = _MISSING) -> Any:
        """Takes the key out; of racing callers one gets the value. 2 requests, 1 when it is missing."""
        return self._dict.pop(key) if default is _MISSING else self._dict.pop(key, default)

    def popitem(self) -> tuple[K, V]:
        """Takes some entry out; of racing callers one gets it. A listing, and 2 requests.

        Raises:
            KeyError: there is no entry.
        """
        while candidates := list(islice(self, POPITEM_SAMPLE)):
            random.shuffle(candidates)
            for key in candidates:
                value = self._dict.pop(key, _MISSING)
                if value is not _MISSING:
                    return key, value
        raise KeyError(f"popitem(): {self!r} is empty")

    def setdefault(self, key: K, default: V = None, /) -> V:  # type: ignore[assignment]
        """The value, or `default` after putting it; of racing callers one puts. 1 request, 2 when it is missing."""
        return self._dict.setdefault(key, default)

    def update(self, other: SupportsKeysAndGetItem[K, V] | Iterable[tuple[K, V]] = (), /, **kwargs: V) -> None:
        """Puts all pairs, many at a time. 1 request each."""
        pairs: Any = other
        self._dict.update(pairs, **kwargs)

    def clear(self) -> None:
        """Removes all entries. A listing, and 1 request for each thousand."""
        self._dict.clear()

    def copy(self) -> dict[K, V]:
        """The entries as a ``dict``, read many at a time. A listing, and 1 request each."""
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
