"""All dicts of an environment in one file: names, ttls and codecs, and each entry as it is stored, with its expiry.

Nothing is deserialized: keys and values are the bytes of the bucket, in base64. So every value can be written, whatever
its type, and reading a backup runs no code. The file is JSON Lines::

    {"s3dict": "backup 1", "environment": "main"}
    {"dict": "scores", "ttl_seconds": 604800.0, "codec": "cloudpickle"}
    {"key": "ZWFsaWNl", "inline": true, "segments": ["gAVLAy4="], "expires_at": 1767225600}
    {"end": true}

``inline`` says whether the object's name contains the key, which a pickled key never is part of. ``expires_at`` is in
seconds of Unix time, and missing for entries that expire by the ttl of the dict. The last line shows that the file is
complete.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, BinaryIO

from .._client import Client
from .._core.entries import Entries
from .._core.iteration import entry_bodies
from .._dict import Dict
from .._format.entry import EntryBody, EntryExpiry
from .._format.keys import EncodedKey
from .._format.values import Segment
from .._record import replace
from .._stores.shared.threads import iterate_blocking, run_blocking
from ..errors import IntegrityError, InvalidError, NotFoundError
from .transfer import deadline_of
from .usage import list_dicts

__all__ = ["Restored", "read_backup", "write_backup"]

HEADER = "backup 1"
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Restored:
    """Entries that are in a dict now; ``skipped`` of them existed. ``position`` is how far the file was read."""

    dict_name: str
    dict_id: str
    entries: int
    skipped: int
    position: int


@dataclass(frozen=True, slots=True)
class _Record:
    key: EncodedKey
    segments: list[bytes]
    expiry: EntryExpiry | None


class _StoredValues:
    """A codec whose values are the stored segments."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.uses_pickle = True

    def dumps(self, value: list[Segment]) -> list[Segment]:
        return value

    def loads(self, segments: Sequence[memoryview]) -> Any:
        return segments


class _StoredKeys:
    """A codec whose keys are encoded already."""

    uses_pickle = False

    def encode(self, key: EncodedKey) -> EncodedKey:
        return key


def write_backup(
    client: Client, environment: str, sink: BinaryIO, on_damaged: Callable[[IntegrityError], None]
) -> Iterator[tuple[str, int]]:
    """Write all dicts of the environment; yield the name of a dict and the number of its entries so far.

    A dict that another process deletes during the export is left out, or has the entries that were read until then.
    `on_damaged` is called with an error for each dict whose manifest is damaged, which is left out.

    Requests: those of `Dict.objects.list`, and for each dict a listing and 1 for each entry; 1 for a deleted dict.

    Raises:
        NotFoundError: The bucket does not exist, or was deleted during the export.
    """
    _write_line(sink, {"s3dict": HEADER, "environment": environment})
    for handle in list_dicts(client, environment, lambda _done, _total: None, on_damaged):
        try:
            yield from _write_dict(handle, sink)
        except NotFoundError:
            # If it is the bucket that is missing, and not the dict, this raises it again: the file is not complete.
            run_blocking(client._store(aio=False).list_page(client._layout.manifests(environment)))
    _write_line(sink, {"end": True})


def _write_dict(handle: Dict[Any, Any], sink: BinaryIO) -> Iterator[tuple[str, int]]:
    entries = run_blocking(handle._open()).paced()
    about = handle.info()
    name = about.name or ""
    ttl = None if about.ttl is None else about.ttl.total_seconds()
    _write_line(sink, {"dict": name, "ttl_seconds": ttl, "codec": about.codec})
    yield name, 0
    for number, (path, body) in enumerate(iterate_blocking(entry_bodies(entries)), start=1):
        _write_line(sink, _record_line(body, is_inline="." in entries.object_name(path)))
        yield name, number


def read_backup(
    client: Client, environment: str, source: BinaryIO, *, skip_existing: bool, start: tuple[int, str] = (0, "")
) -> Iterator[Restored]:
    """Write the dicts of a backup into the environment; yield after each batch of entries, and after an empty dict.

    Dicts that do not exist are created. Entries are signed with the keys of this client. Deadlines are kept, so entries
    that have expired since stay absent. Requests: 1 for each entry, and a few for each dict.

    Args:
        client: Where to write.
        environment: Which environment to write to, whatever the file names.
        source: The backup.
        skip_existing: Keep entries that exist.
        start: The position and the dict's id of the last `Restored` of an interrupted call, to continue after it.

    Raises:
        InvalidError: The file is not a backup, or is damaged or cut off; or a dict exists with another ttl or codec; or
            the dict at `start` was replaced since.
    """
    header = source.readline()
    if not _is_header(header):
        raise InvalidError(
            "The file does not begin as a backup does: `s3dict export --all` writes one. An export of one dict is "
            "imported without --all"
        )
    lines = _read_lines(source, len(header))
    target: _Target | None = None
    batch = list[_Record]()
    is_complete = False
    for is_dict, position, fields in _after(lines, start[0]):
        if "end" in fields:
            is_complete = True
        elif is_dict:
            if target is not None:
                yield _restore(target, batch, skip_existing, target.end)
            target, batch = _open(client, environment, fields, position), []
            if position <= start[0] and target.dict_id != start[1]:
                raise InvalidError(
                    f"Dict {target.name!r} was deleted since the import was interrupted: import the whole backup"
                )
        elif target is None:
            raise InvalidError(f"The line before byte {position} has an entry of no dict")
        else:
            batch.append(_record(fields, position))
            target = replace(target, end=position)
            if len(batch) == BATCH:
                yield _restore(target, batch, skip_existing, position)
                batch = []
    if target is not None:
        yield _restore(target, batch, skip_existing, target.end)
    if not is_complete:
        raise InvalidError("The file is cut off: its last line is missing. What it contains was imported")


def _after(lines: Iterator[tuple[int, dict[str, Any]]], start: int) -> Iterator[tuple[bool, int, dict[str, Any]]]:
    """Yield the lines after that position, and before them the last dict up to it; and whether each is a dict."""
    current: tuple[bool, int, dict[str, Any]] | None = None
    for position, fields in lines:
        is_dict = "dict" in fields
        if position <= start:
            current = (True, position, fields) if is_dict else current
            continue
        if current is not None:
            yield current
            current = None
        yield is_dict, position, fields
    if current is not None:
        yield current


@dataclass(frozen=True, slots=True)
class _Target:
    """The dict that is being restored; ``end`` is where its last entry so far ends in the file."""

    name: str
    dict_id: str
    entries: Entries
    end: int


def _open(client: Client, environment: str, fields: dict[str, Any], position: int) -> _Target:
    try:
        name, seconds, codec = fields["dict"], fields["ttl_seconds"], fields["codec"]
        ttl = None if seconds is None else timedelta(seconds=seconds)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidError(f"The line before byte {position} is not a dict of a backup") from error
    handle: Dict[Any, Any] = Dict.from_name(
        name,
        environment_name=environment,
        client=client,
        create_if_missing=True,
        ttl=ttl,
        codec=codec,
    )
    entries = run_blocking(handle._open()).paced()
    keys: Any = _StoredKeys()
    entries = replace(entries, codec=replace(entries.codec, keys=keys, values=_StoredValues(codec)))
    return _Target(name, handle.object_id, entries, position)


def _restore(target: _Target, batch: list[_Record], skip_existing: bool, position: int) -> Restored:
    written = run_blocking(_write(target.entries, batch, skip_existing))
    return Restored(target.name, target.dict_id, len(batch), len(batch) - written, position)


async def _write(entries: Entries, batch: list[_Record], skip_existing: bool) -> int:
    async def write(record: _Record) -> bool:
        if skip_existing:
            return await entries.create(record.key, record.segments, record.expiry)
        await entries.put(record.key, record.key, record.segments, record.expiry)
        return True

    async with aclosing(entries.store.runtime.map(write, batch, entries.concurrency)) as done:
        return sum([is_written async for is_written in done])


def _record_line(body: EntryBody, *, is_inline: bool) -> dict[str, Any]:
    key = body.header.key
    line: dict[str, Any] = {
        "key": b64encode(key).decode(),
        "inline": is_inline,
        "segments": [b64encode(segment).decode() for segment in body.segments],
    }
    if body.expiry is not None:
        line["expires_at"] = body.expiry.seconds
    return line


def _record(fields: dict[str, Any], position: int) -> _Record:
    try:
        return _Record(
            EncodedKey(b64decode(fields["key"], validate=True), pickled=not fields["inline"]),
            [b64decode(segment, validate=True) for segment in fields["segments"]],
            deadline_of(fields.get("expires_at")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidError(f"The line before byte {position} is not an entry of a backup") from error


def _write_line(sink: BinaryIO, fields: dict[str, Any]) -> None:
    sink.write(json.dumps(fields).encode() + b"\n")


def _is_header(line: bytes) -> bool:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(fields, dict) and fields.get("s3dict") == HEADER


def _read_lines(source: BinaryIO, position: int) -> Iterator[tuple[int, dict[str, Any]]]:
    for line in source:
        position += len(line)
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidError(f"The line before byte {position} is not JSON: the file is damaged") from error
        if not isinstance(fields, dict):
            raise InvalidError(f"The line before byte {position} is not a JSON object: the file is damaged")
        yield position, fields
