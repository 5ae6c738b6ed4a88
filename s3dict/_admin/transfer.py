"""Export and import of the entries of a dict.

``jsonl`` has an object ``{"key": …, "value": …}`` on each line; a key that is a tuple is an array. Only what survives a
JSON round trip is written. ``pickle`` is a line that names the format, a pickle of the settings, then one of each
``(key, value)``.

An entry with a ttl of its own is written with the time at which it expires, in seconds of Unix time: as the field
``expires_at``, or as a third member. The first line of ``jsonl`` has the settings of the dict as the field ``dict``.
Files of 0.1 lack both; as ``jsonl``, it can read the newer ones, and ignores them.

Only the entries in flight are in memory, whatever their number.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import Enum
from io import BufferedReader
from itertools import chain, count, islice
from math import isfinite
from typing import Any, BinaryIO

from .._core.bulk import create_many, write_entries
from .._core.entry_codec import key_repr
from .._core.iteration import iterate_entries
from .._dict import Dict
from .._format.entry import MAX_DEADLINE, EntryExpiry, ExpiryKind
from .._stores.shared.threads import iterate_blocking, run_blocking
from ..errors import DeserializationError, InvalidError, SerializationError

__all__ = [
    "DictSettings",
    "Format",
    "Record",
    "deadline_of",
    "export_items",
    "is_pickle",
    "key_from_json",
    "key_repr",
    "put_records",
    "read_records",
    "read_settings",
    "settings_of",
    "write_records",
]

BATCH = 1000
"""How many entries are put at a time, and at most put again when an import is resumed."""

_MAGIC = b"s3dict pickle 2\n"
_MAGIC_OF_0_1 = b"s3dict pickle 1\n"

Item = tuple[Any, Any, EntryExpiry | None]
"""A key, its value, and when it expires by itself."""


@dataclass(frozen=True, slots=True)
class DictSettings:
    """The options of a dict. ``ttl_seconds`` is None if entries never expire."""

    name: str | None
    ttl_seconds: float | None
    codec: str

    @property
    def ttl(self) -> timedelta | None:
        return None if self.ttl_seconds is None else timedelta(seconds=self.ttl_seconds)


class Format(Enum):
    JSONL = "jsonl"
    PICKLE = "pickle"


@dataclass(frozen=True, slots=True)
class Record:
    """An entry in a file; ``end`` is the offset of the byte after it."""

    key: Any
    value: Any
    end: int
    expiry: EntryExpiry | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that were put. ``skipped`` counts those whose key existed; ``end`` is that of the last entry."""

    entries: int
    skipped: int
    end: int


def settings_of(d: Dict[Any, Any]) -> DictSettings:
    """Return the settings of a dict. No request on a hydrated handle."""
    info = d.info()
    return DictSettings(info.name, None if info.ttl is None else info.ttl.total_seconds(), info.codec)


def export_items(d: Dict[Any, Any]) -> Iterator[Item]:
    """Yield all entries of a dict. Requests: a listing, and 1 each."""
    return iterate_blocking(iterate_entries(run_blocking(d._open())))


def write_records(items: Iterable[Item], sink: BinaryIO, file_format: Format, settings: DictSettings) -> Iterator[None]:
    """Write each of the items, flush it, and then yield.

    Raises:
        SerializationError: A key or a value is not JSON-serializable, or cannot be pickled; the message names the key.
    """
    described: dict[str, Any] | None = asdict(settings)
    if file_format is Format.PICKLE:
        sink.write(_MAGIC + pickle.dumps(described, protocol=5))
    for item in items:
        sink.write(_encode_pickle(item) if file_format is Format.PICKLE else _encode_jsonl(item, described))
        described = None
        sink.flush()
        yield
    if described is not None and file_format is Format.JSONL:
        sink.write(json.dumps({"dict": described}).encode() + b"\n")
        sink.flush()


def is_pickle(head: bytes) -> bool:
    """Return whether a file with these first 16 bytes has the format ``pickle``."""
    return head.startswith((_MAGIC, _MAGIC_OF_0_1))


def read_settings(source: BufferedReader, file_format: Format) -> DictSettings | None:
    """Return the settings of the dict that a file was exported from; None for a file of 0.1, which lacks them.

    Raises:
        InvalidError: The file begins with something else.
    """
    try:
        if file_format is Format.JSONL:
            fields = json.loads(source.readline() or b"{}").get("dict")
        else:
            fields = pickle.load(source) if source.readline() == _MAGIC else None
        return None if fields is None else DictSettings(**fields)
    except (ValueError, TypeError, AttributeError, EOFError, RecursionError, pickle.UnpicklingError) as error:
        raise InvalidError(f"The file does not begin as an export does: {error}") from error


def read_records(source: BufferedReader, file_format: Format, start: int = 0) -> Iterator[Record]:
    """Yield the records of a file that `write_records` wrote, from the offset `start`, where a record begins.

    Reading a pickle runs the code that it contains.

    Raises:
        InvalidError: The file has another format, or is truncated; the message contains the position.
        DeserializationError: A pickle cannot be read, because a module is missing, for example.
    """
    if start:
        source.seek(start)
    return _read_pickles(source, start) if file_format is Format.PICKLE else _read_jsonl(source, start)


def put_records(target: Dict[Any, Any], records: Iterable[Record], *, skip_existing: bool) -> Iterator[Batch]:
    """Put the entries, many at a time, and report after each thousand. 1 request each.

    Args:
        skip_existing: Leave what is in the dict as it is: 2 requests for each such key.

    Raises:
        Error: The first failure. Some entries of the batch in flight may have been put.
    """
    remaining = iter(records)
    for first in remaining:
        batch = _Items(chain([first], islice(remaining, BATCH - 1)))
        # The handle opens for each batch: it must notice that the dict was deleted.
        entries = run_blocking(target._open())
        if skip_existing:
            created = run_blocking(create_many(entries, batch))
            yield Batch(batch.count, batch.count - created, batch.end)
        else:
            run_blocking(write_entries(entries, batch))
            yield Batch(batch.count, 0, batch.end)


def key_from_json(item: Any) -> Any:
    """Return the key that a JSON value represents: an array, which is not hashable, represents a tuple.

    Raises:
        InvalidError: The value contains an object.
    """
    if isinstance(item, dict):
        raise InvalidError("A JSON object cannot be a key: in Python it is a dict, which is not hashable")
    return tuple(key_from_json(member) for member in item) if isinstance(item, list) else item


class _Items:
    """Records as items; counts those that were read, and knows where the last one ends."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = records
        self.count = 0
        self.end = 0

    def __iter__(self) -> Iterator[Item]:
        for record in self._records:
            self.count += 1
            self.end = record.end
            yield record.key, record.value, record.expiry


def _encode_jsonl(item: Item, described: dict[str, Any] | None) -> bytes:
    key, value, expiry = item
    fields: dict[str, Any] = {} if expiry is None else {"expires_at": expiry.seconds}
    if described is not None:
        fields |= {"dict": described}
    try:
        _check_key(key)
        _check_value(value)
        return json.dumps({"key": key, "value": value, **fields}, ensure_ascii=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise SerializationError(
            f"The entry with key {key_repr(key)} does not survive a JSON round trip: {error}. "
            "The format 'pickle' takes it (--format pickle)"
        ) from error


def _check_key(key: Any) -> None:
    if type(key) is tuple:
        for member in key:
            _check_key(member)
    else:
        _check_scalar(key)


def _check_value(value: Any) -> None:
    # Types, not isinstance: an enum, a named tuple or a number of NumPy's would be read as another type.
    if type(value) is list:
        for member in value:
            _check_value(member)
    elif type(value) is dict:
        for key, member in value.items():
            if type(key) is not str:
                raise TypeError(f"it holds a dict with a key of type {type(key).__name__}")
            _check_value(member)
    else:
        _check_scalar(value)


def _check_scalar(value: Any) -> None:
    if type(value) not in (str, int, float, bool, type(None)):
        raise TypeError(f"it holds something of type {type(value).__name__}")
    if type(value) is float and not isfinite(value):
        raise ValueError(f"it contains {value}, which is not a JSON number")


def _read_jsonl(source: BinaryIO, start: int) -> Iterator[Record]:
    end = start
    for line in source:
        begin, end = end, end + len(line)
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            if begin == 0 and fields.keys() == {"dict"}:
                continue
            record = Record(key_from_json(fields["key"]), fields["value"], end, deadline_of(fields.get("expires_at")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if begin == 0 and line.startswith(b'{"s3dict": '):
                raise InvalidError("The file is a backup of several dicts: import it with --all") from error
            shown = line[:80].decode(errors="backslashreplace").rstrip()
            raise InvalidError(
                f'The line at byte {begin} is not of the form {{"key": ..., "value": ...}}: {shown}'
            ) from error
        yield record


def deadline_of(seconds: Any) -> EntryExpiry | None:
    """Return the expiry in a file. Raises ValueError where no entry can have it."""
    if seconds is None:
        return None
    if type(seconds) is not int or not 0 < seconds <= MAX_DEADLINE:
        raise ValueError(f"expires_at is {seconds!r}, and not seconds of Unix time")
    return EntryExpiry(ExpiryKind.DEADLINE, seconds)


def _encode_pickle(item: Item) -> bytes:
    import cloudpickle

    key, value, expiry = item
    try:
        data: bytes = cloudpickle.dumps((key, value) if expiry is None else (key, value, expiry.seconds), protocol=5)
    except Exception as error:
        raise SerializationError(f"The entry with key {key_repr(key)} cannot be pickled: {error}") from error
    return data


def _skip_settings(source: BufferedReader) -> None:
    try:
        pickle.load(source)
    except (EOFError, pickle.UnpicklingError) as error:
        raise InvalidError(f"The file is cut off or damaged before its first entry: {error}") from error


def _read_pickles(source: BufferedReader, start: int) -> Iterator[Record]:
    if not start:
        magic = source.read(len(_MAGIC))
        if not is_pickle(magic):
            raise InvalidError("This does not begin as an export in the format 'pickle' does")
        if magic == _MAGIC:
            _skip_settings(source)
    for number in count(1):
        if not source.peek(1):
            return
        try:
            key, value, *expires_at = pickle.load(source)
            expiry = deadline_of(*expires_at) if expires_at else None
        except (EOFError, pickle.UnpicklingError) as error:
            raise InvalidError(
                f"The file is cut off or damaged in pickle number {number} from here: {error}"
            ) from error
        except Exception as error:
            raise DeserializationError(f"Pickle number {number} cannot be read here: {error!r}") from error
        yield Record(key, value, source.tell() if source.seekable() else 0, expiry)
