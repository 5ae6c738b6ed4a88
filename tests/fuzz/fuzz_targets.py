"""What reads bytes that anybody may have written to the bucket, and what it must never make of them.

Each target takes any bytes at all. It raises `ViolationError`, or lets another exception through, where the library
does not keep its word: everything but the error that the design names, a value that no process put, a pickle without a
valid signature.
"""

from __future__ import annotations

import json
import pickle
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from unittest import mock

import cbor2

from s3dict import Client, DeserializationError, Dict, IntegrityError, InvalidError
from s3dict._core.entries import Entries
from s3dict._format.capabilities import Capabilities
from s3dict._format.entry import (
    PRELUDE_BYTES,
    TOMBSTONE_BYTES,
    WRITE_ID_BYTES,
    EntryBody,
    EntrySigner,
    Prelude,
    expected_size,
    pack,
    pack_tombstone,
    read_header,
    read_prelude,
    unpack,
    with_new_etag,
)
from s3dict._format.keys import KeyCodec, digest, key_bytes_in
from s3dict._format.layout import DictId, Layout
from s3dict._format.lock import LockRecord, decode_lock
from s3dict._format.manifest import Manifest, decode_manifest, decode_store, encode_deleted, encode_store_json
from s3dict._format.values import get_codec
from s3dict._stores.base import ServerTime, StoredObject

WRITE_ID = bytes(range(WRITE_ID_BYTES))
SECRET, OTHER_SECRET = "a-signing-key-of-the-tests", "a-signing-key-of-another"
ULID = "01HZX3V9J7Q8K4M2N6P0R5S1T3"
DICT_ID = DictId(ULID, "main", "scores")
OPEN, SIGNED = EntrySigner(str(DICT_ID)), EntrySigner(str(DICT_ID), (SECRET.encode(),))
ALL = Capabilities(quoted_etags=True, conditional_delete=True, conditional_copy=True)
LAYOUT = Layout("s3dict")
MANIFEST = LAYOUT.manifest_path(DICT_ID)

Form = Literal["binary", "json", "text"]


class ViolationError(AssertionError):
    """The library has made of the bytes what it must not."""


@dataclass(frozen=True, slots=True)
class Target:
    """``seeds`` are bytes that are as they should be, from which fuzzers begin."""

    name: str
    form: Form
    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def framed(data: bytes) -> bytes:
    """An entry of the data, of which the first byte says how: as it is, or as a part whose checksums are right."""
    how, rest = (data[0] % 5, data[1:]) if data else (0, b"")
    if how == 1:
        return Prelude(0, WRITE_ID, len(rest)).encode() + rest
    if how == 2:
        payload = rest[1 : 1 + rest[0]] if rest else b""
        block = cbor2.dumps([rest[1 + len(payload) :], b""])
        return Prelude(0, WRITE_ID, len(block)).encode() + block + payload
    if how in (3, 4):
        return pack(WRITE_ID, b"\x61k", "json" if how == 3 else "cloudpickle", [rest], OPEN)
    return rest


def sealed(codec: str, value: Any, signer: EntrySigner, key: bytes = b"\x61k") -> bytes:
    return pack(WRITE_ID, key, codec, get_codec(codec).dumps(value), signer)


class _Buffer(bytearray):
    """Pickled out of band, as arrays are."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return bytearray, (pickle.PickleBuffer(self),)


VALUES: tuple[tuple[str, Any], ...] = (
    ("cloudpickle", {"a": (1, {2})}),
    ("cloudpickle", [_Buffer(b"an array's bytes"), _Buffer(b"")]),
    ("json", {"a": [1, None, "é"]}),
    ("bytes", b"\x00\xff"),
)
OPEN_ENTRIES = tuple(sealed(codec, value, OPEN) for codec, value in VALUES)
SIGNED_ENTRIES = tuple(sealed(codec, value, SIGNED) for codec, value in VALUES)
LONG_KEY_ENTRY = sealed("json", 1, OPEN, b"\x78\xc8" + b"x" * 200)
_RAW, _BLOCK, _HEADER, _PICKLE = b"\0", b"\1", b"\2", b"\4"


def check_entry(data: bytes) -> None:
    """Without signing keys: what is accepted has its checksum, computed here, and ends where its bytes end."""
    body = framed(data)
    try:
        entry = unpack(body, OPEN)
    except IntegrityError:
        return
    if entry is None:
        require(len(body) == TOMBSTONE_BYTES, "a tombstone of another size")
        return
    checksum = 0
    for segment in entry.segments:
        checksum = zlib.crc32(segment, checksum)
    require(checksum == entry.header.crc32, "an entry whose checksum is wrong")
    require(expected_size(body, OPEN) == len(body), "an entry of another size than it says")
    require(unpack(with_new_etag(body), OPEN) == entry, "an entry that changes when it is renewed")


def _contents(entry: EntryBody) -> tuple[Any, ...]:
    return entry.write_id, entry.header.key, entry.header.codec, tuple(map(bytes, entry.segments))


_SIGNED_CONTENTS = {_contents(entry) for entry in (unpack(data, SIGNED) for data in SIGNED_ENTRIES) if entry}


def check_signed_entry(data: bytes) -> None:
    """With signing keys: what is accepted is what was signed, whole."""
    with suppress(IntegrityError):
        entry = unpack(framed(data), SIGNED)
        require(entry is None or _contents(entry) in _SIGNED_CONTENTS, "an entry without a valid signature")


def check_beginning(data: bytes) -> None:
    """Its header alone, as a listing reads it for a key that its name does not carry."""
    body = framed(data)
    with suppress(IntegrityError):
        prelude = read_prelude(body)
        if not prelude.is_tombstone:
            header = read_header(body, prelude, SIGNED)
            signed = {content[1] for content in _SIGNED_CONTENTS}
            require(header.key in signed, "a key without a valid signature")


def entries_of(codec: str, *signing_keys: str) -> Entries:
    """The entries of a dict in memory, whose id is that which the seeds were signed for."""
    client = Client("hostile-bytes", driver="memory", signing_keys=signing_keys)
    handle: Dict[Any, Any] = Dict.from_name("scores", client=client)
    manifest = Manifest(DICT_ID, datetime.now(UTC), None, timedelta(days=7), codec, ALL)
    return replace(handle._make_entries(client, client._store(aio=False), manifest), revalidate=_exists)


async def _exists() -> None:
    """The bucket has no manifest that could be read again."""


_LIVE = {signed: entries_of("cloudpickle", *([SECRET] if signed else [])) for signed in (True, False)}
_KEY = _LIVE[True].codec.keys.encode("k")
_PICKLES = {bytes(get_codec("cloudpickle").dumps(value)[0]) for codec, value in VALUES if codec == "cloudpickle"}


def found(body: bytes) -> StoredObject:
    now = datetime.now(UTC)
    return StoredObject(body, '"etag"', len(body), now, ServerTime(now))


def check_signed_value(data: bytes) -> None:
    """A reader with signing keys: nothing is unpickled but what was signed."""
    unpickled: list[bytes] = []

    def loads(pickled: Any, **_: Any) -> None:
        unpickled.append(bytes(pickled))

    with mock.patch("pickle.loads", loads), suppress(IntegrityError):
        _LIVE[True].decode_live(found(framed(data)), _KEY, "k")
    require(_PICKLES.issuperset(unpickled), "a pickle without a valid signature was loaded")


_JSON = entries_of("json")


def check_json_value(data: bytes) -> None:
    """A payload whose checksum is right, in a dict that never unpickles."""

    def loads(*_: Any, **__: Any) -> None:
        raise ViolationError("a pickle was loaded")

    with mock.patch("pickle.loads", loads), suppress(DeserializationError, IntegrityError):
        _JSON.decode_live(found(pack(WRITE_ID, _KEY.data, "json", [data], OPEN)), _KEY, "k")


_CLIENT = Client("hostile-bytes", driver="memory")
_PLAIN = KeyCodec(False, lambda dict_id: Dict.from_id(dict_id, _CLIENT))


def check_key(data: bytes) -> None:
    """A key in a name, which is not signed: nothing is unpickled, and only its one spelling is accepted."""
    try:
        key = _PLAIN.decode(data)
    except IntegrityError:
        return
    require(_PLAIN.encode(key).data == data, "a key in another spelling")


def verify_path(data: bytes) -> None:
    """A path in a listing. What is taken for ours is spelled as we spell it."""
    path = data.decode("utf-8", "replace")
    segment = path.rpartition("/")[2]
    with suppress(IntegrityError):
        key = key_bytes_in(segment)
        require(key is None or segment.startswith(digest(key) + "."), "a name that does not agree with its key")
    owner = LAYOUT.parse_data_path(path)
    if owner is not None:
        require(DictId.parse(str(owner[0])) == owner[0], "the data of a dict that cannot be")
        require(path.startswith(owner[1].root), "data outside of its folder")
    name = LAYOUT.dict_name_from_path(path, "main")
    require(name is None or LAYOUT.manifest("main", name) == path, "a manifest elsewhere")


def check_manifest(data: bytes) -> None:
    with suppress(IntegrityError):
        manifest = decode_manifest(data, MANIFEST)
        require(manifest is None or decode_manifest(manifest.encode(), MANIFEST) == manifest, "another manifest")


def check_store(data: bytes) -> None:
    with suppress(IntegrityError):
        seen = decode_store(data, LAYOUT.store)
        require(decode_store(encode_store_json(seen), LAYOUT.store) == seen, "other capabilities")


def check_lock(data: bytes) -> None:
    """What is accepted can be taken over: its next holder has a greater token, which can be written."""
    with suppress(IntegrityError):
        record = decode_lock(data)
        following = replace(record, token=record.token + 1)
        require(decode_lock(following.encode()) == following, "a lock that cannot be taken over")


def check_id(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    with suppress(InvalidError):
        require(str(DictId.parse(text)) == text, "an id in another spelling")


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ViolationError(f"The library accepted {otherwise}")


_MANIFESTS = tuple(
    Manifest(dict_id, datetime(2026, 1, 2, tzinfo=UTC), "alice@host", ttl, codec, ALL).encode()
    for dict_id, ttl, codec in ((DICT_ID, timedelta(days=7), "cloudpickle"), (DictId(ULID), None, "json"))
)
_KEYS: tuple[Any, ...] = (
    *(
        "k",
        b"k",
        7,
        2**70,
        1.5,
        None,
        ("a", ("b", 2)),
        frozenset({1, 2}),
        "\ud800",
        Dict.from_id(str(DICT_ID), _CLIENT),
    ),
    *(datetime(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2).date()),  # noqa: DTZ001
)
_ENCODED = tuple(_PLAIN.encode(key) for key in _KEYS)
_DATA = LAYOUT.data(DICT_ID, timedelta(days=7))

_FRAMED = (
    *(_RAW + entry for entry in (*OPEN_ENTRIES, *SIGNED_ENTRIES, LONG_KEY_ENTRY, pack_tombstone(WRITE_ID))),
    *(_BLOCK + entry[PRELUDE_BYTES:] for entry in SIGNED_ENTRIES),
    _HEADER + b"\x02" + b"42" + cbor2.loads(sealed("json", 42, OPEN)[PRELUDE_BYTES:])[0],
    _PICKLE + pickle.dumps("not signed"),
)

TARGETS = {
    target.name: target
    for target in (
        Target("entry", "binary", check_entry, _FRAMED),
        Target("signed entry", "binary", check_signed_entry, _FRAMED),
        Target("beginning of a signed entry", "binary", check_beginning, _FRAMED),
        Target("value with signing keys", "binary", check_signed_value, _FRAMED),
        Target("value of a json dict", "json", check_json_value, (b'{"a": [1, null, "x"]}', pickle.dumps({"a": 1}))),
        Target("key", "binary", check_key, tuple(encoded.data for encoded in _ENCODED)),
        Target(
            "name in a listing",
            "text",
            verify_path,
            (MANIFEST.encode(), *(f"{_DATA.entries}{encoded.object_name}".encode() for encoded in _ENCODED)),
        ),
        Target("manifest", "json", check_manifest, (*_MANIFESTS, encode_deleted("0123"))),
        Target("store.json", "json", check_store, (encode_store_json(ALL),)),
        Target("lock", "json", check_lock, (LockRecord("f" * 32, "e" * 32, 30.0, 1790000000000).encode(),)),
        Target("id", "text", check_id, (str(DICT_ID).encode(), str(DictId(ULID)).encode())),
    )
}


def json_fields(seed: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(seed)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
