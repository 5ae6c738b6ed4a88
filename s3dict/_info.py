"""What the methods of a Dict return about a dict, its entries and an entry. Loaded by the methods that return it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic

from ._pickle import restore

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    K = TypeVar("K", default=Any)
    V = TypeVar("V", default=Any)
else:
    from typing import TypeVar

    K = TypeVar("K")
    V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class DictInfo:
    """What `Dict.info` returns. ``created_at`` is in UTC; ``ttl`` is None when entries never expire."""

    name: str | None
    created_at: datetime
    created_by: str | None
    ttl: timedelta | None
    codec: str

    def __reduce__(self) -> tuple[Any, ...]:
        return restore, ("DictInfo", self.name, self.created_at, self.created_by, self.ttl, self.codec)


@dataclass(frozen=True, slots=True)
class DictStats:
    """What `Dict.stats` returns.

    ``bytes`` is the size of the entries as they are stored, with headers. ``oldest`` and ``newest`` are when an entry
    was last written or renewed by a read, by the store's clock; None for a dict without entries.
    """

    entries: int
    bytes: int
    oldest: datetime | None
    newest: datetime | None

    def __reduce__(self) -> tuple[Any, ...]:
        return restore, ("DictStats", self.entries, self.bytes, self.oldest, self.newest)


@dataclass(frozen=True, slots=True)
class Entry(Generic[K, V]):
    """An entry, as `Dict.entry` returns it.

    ``version`` is opaque, and changes with every write of the entry. ``last_modified`` is when it was last written or
    renewed by a read. ``expires_at`` is the end of its own ttl; None when it has none, and expires by the dict's ttl
    alone.
    """

    key: K
    value: V
    version: str
    last_modified: datetime
    expires_at: datetime | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return restore, ("Entry", self.key, self.value, self.version, self.last_modified, self.expires_at)

    def __setstate__(self, state: list[Any]) -> None:
        # A pickle of 0.1 contains the values of the fields of then, to which some have been added.
        Entry.__init__(self, *state)


# Pickled, and shown, as what users import.
for _public in (DictInfo, DictStats, Entry):
    _public.__module__ = "s3dict"
