"""Entries as a file: out of a dict, and into one.

``jsonl`` has an object ``{"key": …, "value": …}`` on each line; a tuple as a key is an array. Only what comes back from
JSON as it was is written. ``pickle`` is a line that names the format, then a pickle of each ``(key, value)``.

Only the entries in flight are in memory, whatever their number.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from io import BufferedReader
from itertools import chain, count, islice
from math import isfinite
from typing import Any, BinaryIO

from .._core.bulk import create_many
from .._core.entry_codec import key_repr
from .._dict import Dict
from .._stores.shared.threads import run_blocking
from ..errors import DeserializationError, InvalidError, SerializationError

BATCH = 1000
"""How many entries may be put again when an import is resumed."""

_MAGIC = b"s3dict pickle 1\n"


class Format(Enum):
    JSONL = "jsonl"
    PICKLE = "pickle"


@dataclass(frozen=True, slots=True)
class Record:
    """An entry in a file; ``end`` is the offset of the byte after it."""

    key: Any
    value: Any
    end: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that are in the dict now. ``skipped`` counts those whose key was there; ``end`` is the last one's."""

    entries: int
    skipped: int
    end: int


def write_records(items: Iterable[tuple[Any, Any]], sink: BinaryIO, form: Format) -> Iterator[None]:
    """Writes each of the items, flushes it, and then gives control back.

    Raises:
        SerializationError: a key or a value is not JSON-serializable, or cannot be pickled; the message names the key.
    """
    if form is Format.PICKLE:
        sink.write(_MAGIC)
    encode = _to_pickle if form is Format.PICKLE else _to_line
    for key, value in items:
        sink.write(encode(key, value))
        sink.flush()
        yield


def is_pickle(head: bytes) -> bool:
    """Whether a file that begins so has the format ``pickle``. 16 bytes are enough."""
    return head.startswith(_MAGIC)


def read_records(source: BufferedReader, form: Format, start: int = 0) -> Iterator[Record]:
    """What `write_records` wrote, from the offset `start`, where a record begins.

    Reading a pickle runs whatever code it holds.

    Raises:
        InvalidError: not of that format, or cut off; the message says where.
        DeserializationError: a pickle cannot be read here, because a module is missing, say.
    """
    if start:
        source.seek(start)
    return _pickles(source, start) if form is Format.PICKLE else _lines(source, start)


def put_records(target: Dict[Any, Any], records: Iterable[Record], *, skip_existing: bool) -> Iterator[Batch]:
    """Put the entries, many at a time, and report after each thousand. 1 request each.

    Args:
        skip_existing: Leave what is in the dict as it is: 2 requests for each such key.

    Raises:
        Error: the first failure. Some entries of the batch in flight may have been put.
    """
    remaining = iter(records)
    for first in remaining:
        batch = _Pairs(chain([first], islice(remaining, BATCH - 1)))
        # The handle opens for each batch: it must notice that the dict was deleted.
        if skip_existing:
            created = run_blocking(create_many(run_blocking(target._open()), batch))
            yield Batch(batch.taken, batch.taken - created, batch.end)
        else:
            target.update(batch)
            yield Batch(batch.taken, 0, batch.end)


def key_from_json(item: Any) -> Any:
    """The key that a JSON value stands for: an array, which cannot be one, stands for a tuple.

    Raises:
        InvalidError: there is an object in it.
    """
    if isinstance(item, dict):
        raise InvalidError("A JSON object cannot be a key: in Python it is a dict, which is not hashable")
    return tuple(key_from_json(member) for member in item) if isinstance(item, list) else item


class _Pairs:
    """Records as pairs, and how far they have been taken."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = records
        self.taken = 0
        self.end = 0

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for record in self._records:
            self.taken += 1
            self.end = record.end
            yield record.key, record.value


def _to_line(key: Any, value: Any) -> bytes:
    try:
        _check_key(key)
        _check_value(value)
        return json.dumps({"key": key, "value": value}, ensure_ascii=False).encode() + b"\n"
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
    # Types, not isinstance: an enum, a named tuple or a number of NumPy's would come back as something else.
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


def _lines(source: BinaryIO, start: int) -> Iterator[Record]:
    end = start
    for line in source:
        begin, end = end, end + len(line)
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            record = Record(key_from_json(fields["key"]), fields["value"], end)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidError(
                f'The line at byte {begin} is not of the form {{"key": ..., "value": ...}}: {line[:80]!r}'
            ) from error
        yield record


def _to_pickle(key: Any, value: Any) -> bytes:
    import cloudpickle

    try:
        data: bytes = cloudpickle.dumps((key, value), protocol=5)
    except Exception as error:
        raise SerializationError(f"The entry with key {key_repr(key)} cannot be pickled: {error}") from error
    return data


def _pickles(source: BufferedReader, start: int) -> Iterator[Record]:
    if not start and not is_pickle(source.read(len(_MAGIC))):
        raise InvalidError("This does not begin as an export in the format 'pickle' does")
    for number in count(1):
        if not source.peek(1):
            return
        try:
            key, value = pickle.load(source)
        except (EOFError, pickle.UnpicklingError) as error:
            raise InvalidError(
                f"The file is cut off or damaged in pickle number {number} from here: {error}"
            ) from error
        except Exception as error:
            raise DeserializationError(f"Pickle number {number} cannot be read here: {error!r}") from error
        yield Record(key, value, source.tell() if source.seekable() else 0)
