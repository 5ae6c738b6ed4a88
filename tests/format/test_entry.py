"""Entries: what was packed comes back, and anything else is an IntegrityError."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zlib import crc32

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3dict._format.entry import (
    MAX_DEADLINE,
    MAX_PRELUDE_BYTES,
    MAX_TTL_SECONDS,
    PRELUDE_BYTES,
    TOMBSTONE_BYTES,
    VERSION_WITH_EXPIRY,
    WRITE_ID_BYTES,
    EntryBody,
    EntryExpiry,
    EntrySigner,
    ExpiryKind,
    Header,
    Prelude,
    pack,
    pack_tombstone,
    read_header,
    read_prelude,
    unpack,
    with_new_etag,
)
from s3dict._format.values import get_codec
from s3dict.errors import IntegrityError

from .conftest import PeakOf

WRITE_ID = bytes(range(WRITE_ID_BYTES))
KEY = b"\x65alice"
OPEN = EntrySigner("di-1")
OLD_KEY, NEW_KEY = b"old-secret-of-16", b"new-secret-of-16"
SIGNED = EntrySigner("di-1", (NEW_KEY,))

GOLDEN = bytes.fromhex(
    "93533344 01 00 000102030405060708090a0b0c0d0e0f 00000039"  # magic, version, renewals, write id, header length
    "625c7d89"  # CRC-32 of the bytes before it
    "82 5835 a5"  # [header, signature], of which the header is a map in a byte string
    "636b6579 4665616c696365"
    "65636f646563 646a736f6e"
    "687365676d656e7473 8102"
    "656372633332 1a3224b088"
    "66646967657374 40"
    "40"
    "3432"
)
CRC32 = 0x3224B088


TTL, DEADLINE = EntryExpiry(ExpiryKind.TTL, 90), EntryExpiry(ExpiryKind.DEADLINE, 1_800_000_000)
GOLDEN_WITH_TTL = (
    bytes.fromhex(
        "93533344 02 00 000102030405060708090a0b0c0d0e0f 00000039"
        "01 000000000000005a"  # kind and seconds of the expiry
        "350e9eb3"
    )
    + GOLDEN[PRELUDE_BYTES:]
)

signers = pytest.mark.parametrize("signer", [OPEN, SIGNED], ids=["unsigned", "signed"])
expiries = pytest.mark.parametrize("expiry", [None, TTL, DEADLINE], ids=["version 1", "ttl", "deadline"])


def packed(
    *segments: bytes,
    key: bytes = KEY,
    codec: str = "json",
    signer: EntrySigner = OPEN,
    expiry: EntryExpiry | None = None,
) -> bytes:
    return pack(WRITE_ID, key, codec, segments, signer, expiry)


def framed(block: bytes, payload: bytes = b"", length: int | None = None) -> bytes:
    """An entry with any header block, and any length for it."""
    size = len(block) if length is None else length
    return Prelude(0, WRITE_ID, size).encode() + block + payload


def read(data: bytes, signer: EntrySigner, key: bytes = KEY, codec: str = "json") -> EntryBody:
    """As a reader does that knows which key it asked for and which codec the dict has."""
    body = unpack(data, signer, (key, codec))
    assert body is not None
    if (body.header.key, body.header.codec) != (key, codec):
        raise IntegrityError("the entry is that of another key or codec")
    return body


def flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The data with each of its bits flipped, and in which byte."""
    for place in range(len(data)):
        for bit in range(8):
            yield place, data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def accepted(data: bytes, signer: EntrySigner) -> bool:
    try:
        read(data, signer)
    except IntegrityError:
        return False
    return True


@given(
    st.binary(max_size=50),
    st.sampled_from(["cloudpickle", "json", "bytes"]),
    st.lists(st.binary(max_size=50), min_size=1, max_size=4),
    st.sampled_from([OPEN, SIGNED]),
    st.binary(min_size=WRITE_ID_BYTES, max_size=WRITE_ID_BYTES),
)
@example(b"", "bytes", [b""], OPEN, WRITE_ID)
@example(b"", "bytes", [b"", b"x", b""], SIGNED, WRITE_ID)
def test_entry_comes_back(key: bytes, codec: str, segments: list[bytes], signer: EntrySigner, write_id: bytes) -> None:
    body = unpack(pack(write_id, key, codec, segments, signer), signer)
    assert body is not None
    assert (body.write_id, body.header.key, body.header.codec) == (write_id, key, codec)
    assert [bytes(segment) for segment in body.segments] == segments


@pytest.mark.parametrize(
    ("codec", "value"), [("cloudpickle", {"a": (1, {2})}), ("json", {"a": [1, None]}), ("bytes", b"\x00\xff")]
)
@signers
def test_value_of_every_codec_comes_back_through_an_entry(codec: str, value: Any, signer: EntrySigner) -> None:
    body = unpack(pack(WRITE_ID, KEY, codec, get_codec(codec).dumps(value), signer), signer)
    assert body is not None
    assert get_codec(codec).loads(body.segments) == value


def test_bytes_of_a_known_entry_never_change() -> None:
    assert packed(b"42") == GOLDEN
    assert [bytes(segment) for segment in read(GOLDEN, OPEN).segments] == [b"42"]


def test_bytes_of_a_known_tombstone_never_change() -> None:
    known = bytes.fromhex("93533344 01 00 000102030405060708090a0b0c0d0e0f 00000000 3d59f581")
    assert pack_tombstone(WRITE_ID) == known


def test_known_signature_never_changes() -> None:
    assert SIGNED.sign(WRITE_ID, b"header").hex() == "1ee8868ed38a2befa10e8f805fbc40f6e014b52714f71bdf37737b46e0ff3d45"


@signers
def test_first_bytes_tell_the_write_and_where_the_payload_begins(signer: EntrySigner) -> None:
    entry = packed(b"payload", signer=signer)
    prelude = read_prelude(entry[:PRELUDE_BYTES])
    assert prelude.write_id == WRITE_ID
    assert not prelude.is_tombstone
    assert entry[PRELUDE_BYTES + prelude.header_length :] == b"payload"


def test_header_is_read_without_the_payload() -> None:
    entry = packed(b"x" * 1000, signer=SIGNED)
    prelude = read_prelude(entry)
    header = read_header(entry[: PRELUDE_BYTES + prelude.header_length], prelude, SIGNED)
    assert (header.key, header.segments) == (KEY, (1000,))


def test_tombstone_is_no_entry_and_tells_its_write() -> None:
    tombstone = pack_tombstone(WRITE_ID)
    assert len(tombstone) == TOMBSTONE_BYTES
    assert read_prelude(tombstone).is_tombstone
    assert read_prelude(tombstone).write_id == WRITE_ID
    assert unpack(tombstone, OPEN) is None


def test_tombstone_is_smaller_than_the_smallest_entry() -> None:
    assert len(packed(b"", key=b"", codec="")) > TOMBSTONE_BYTES


@pytest.mark.parametrize("tail", [b"\0", b"junk", packed(b"42")[PRELUDE_BYTES:]])
def test_longer_object_is_not_a_tombstone(tail: bytes) -> None:
    with pytest.raises(IntegrityError):
        unpack(pack_tombstone(WRITE_ID) + tail, OPEN)


@signers
@expiries
@pytest.mark.parametrize("segments", [(b"42",), (b"head", b"", b"buffer")], ids=["one segment", "three segments"])
def test_every_truncation_is_an_integrity_error(
    signer: EntrySigner, expiry: EntryExpiry | None, segments: tuple[bytes, ...]
) -> None:
    entry = packed(*segments, signer=signer, expiry=expiry)
    assert [size for size in range(len(entry)) if accepted(entry[:size], signer)] == []


@signers
@expiries
def test_more_bytes_than_were_packed_are_an_integrity_error(signer: EntrySigner, expiry: EntryExpiry | None) -> None:
    assert not accepted(packed(b"42", signer=signer, expiry=expiry) + b"\0", signer)


@signers
@expiries
def test_no_bit_of_an_entry_may_flip(signer: EntrySigner, expiry: EntryExpiry | None) -> None:
    entry = packed(b"42", signer=signer, expiry=expiry)
    assert [place for place, flipped in flips(entry) if accepted(flipped, signer)] == []


def test_no_bit_of_a_tombstone_may_flip() -> None:
    assert [place for place, flipped in flips(pack_tombstone(WRITE_ID)) if accepted(flipped, OPEN)] == []


@pytest.mark.parametrize("expected", [(KEY, "json"), (b"other", "json"), (KEY, "bytes")])
@pytest.mark.parametrize("segments", [[b"42"], [b"4", b"2"], [b""], [bytes(1 << 17)]])
@signers
@expiries
def test_entry_is_the_same_whichever_was_expected(
    expected: tuple[bytes, str], segments: list[bytes], signer: EntrySigner, expiry: EntryExpiry | None
) -> None:
    entry = packed(*segments, signer=signer, expiry=expiry)
    assert unpack(entry, signer, expected) == unpack(entry, signer)


@signers
def test_renewed_entry_is_the_same_entry_in_other_bytes(signer: EntrySigner) -> None:
    entry = packed(b"4", b"2", signer=signer)
    again = with_new_etag(entry)
    assert entry != again
    assert read(entry, signer) == read(again, signer)
    assert [read_prelude(again).revision, read_prelude(with_new_etag(again)).revision] == [1, 2]


def test_revision_wraps_after_256() -> None:
    entry = again = packed(b"42")
    for _ in range(256):
        again = with_new_etag(again)
    assert entry == again


def test_no_flipped_length_turns_an_entry_into_a_tombstone() -> None:
    # A header of 64 bytes: its length is one bit away from that of a tombstone.
    entry = packed(b"42", key=b"k" * 13)
    assert read_prelude(entry).header_length == 64
    with pytest.raises(IntegrityError):
        unpack(pack_tombstone(WRITE_ID) + entry[PRELUDE_BYTES:], OPEN)


@given(st.binary(max_size=120))
def test_foreign_bytes_are_an_integrity_error(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        unpack(data, OPEN)


@given(st.binary(max_size=120), st.binary(max_size=20), st.sampled_from([OPEN, SIGNED]))
def test_foreign_header_is_an_integrity_error(block: bytes, payload: bytes, signer: EntrySigner) -> None:
    with pytest.raises(IntegrityError):
        unpack(framed(block or b"\0", payload), signer)


def test_newer_format_says_that_an_upgrade_helps() -> None:
    newer = GOLDEN[:4] + bytes([VERSION_WITH_EXPIRY + 1]) + GOLDEN[5:]
    with pytest.raises(IntegrityError, match="upgrade s3-shared-dict"):
        unpack(newer, OPEN)


FIELDS = {"key": KEY, "codec": "json", "segments": [2], "crc32": CRC32, "digest": b""}


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": "alice"},
        {"key": None},
        {"codec": b"json"},
        {"segments": []},
        {"segments": 2},
        {"segments": [-1, 3]},
        {"segments": [2.0]},
        {"segments": [True, 1]},
        {"segments": [1, 2]},
        {"segments": [2**63]},
        {"crc32": "0"},
        {"crc32": 0},
        {"digest": None},
        {"compute_ms": -1},
        {"compute_ms": 1.5},
        {"compute_ms": True},
        {"compute_ms": 2**53},
    ],
    ids=repr,
)
def test_header_field_that_is_wrong_is_an_integrity_error(wrong: dict[str, Any]) -> None:
    def entry(fields: dict[str, Any]) -> bytes:
        return framed(cbor2.dumps([cbor2.dumps(fields), b""]), b"42")

    assert accepted(entry(FIELDS), OPEN)
    assert not accepted(entry(FIELDS | wrong), OPEN)


@pytest.mark.parametrize("signer", [OPEN, SIGNED])
def test_duration_of_the_computation_is_in_the_header_and_signed(signer: EntrySigner) -> None:
    timed = replace(TTL, compute_ms=1500)
    entry = packed(b"42", signer=signer, expiry=timed)
    assert read(entry, signer).expiry == timed
    assert read_prelude(entry).expiry == TTL
    assert timed.fixed(datetime(2030, 1, 1, tzinfo=UTC)).compute_ms == 1500
    assert accepted(framed(cbor2.dumps([cbor2.dumps(FIELDS | {"compute_ms": 7, "unknown": 1}), b""]), b"42"), OPEN)
    assert packed(b"42", expiry=replace(TTL, compute_ms=0)) == packed(b"42", expiry=TTL)


@pytest.mark.parametrize("missing", sorted(FIELDS))
def test_header_field_that_is_missing_is_an_integrity_error(missing: str) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != missing}
    assert not accepted(framed(cbor2.dumps([cbor2.dumps(fields), b""]), b"42"), OPEN)


@signers
@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda: framed(b"", length=2**32 - 1), id="length"),
        pytest.param(lambda: framed(bytes.fromhex("825bffffffffffffffff")), id="bytes"),
        pytest.param(lambda: framed(bytes.fromhex("9bffffffffffffffff")), id="array"),
        pytest.param(lambda: framed(cbor2.dumps([2**28, b""])), id="integer for a header"),
        pytest.param(lambda: framed(cbor2.dumps([b"", 2**28])), id="integer for a signature"),
        pytest.param(lambda: framed(cbor2.dumps([cbor2.dumps(FIELDS | {"segments": [2**40]}), b""])), id="segment"),
    ],
)
def test_length_that_is_only_claimed_takes_no_memory(
    signer: EntrySigner, forge: Callable[[], bytes], peak_of: PeakOf
) -> None:
    data = forge()
    assert not accepted(data, signer)
    assert peak_of(lambda: accepted(data, signer)) < 1 << 20


def test_header_with_references_is_an_integrity_error() -> None:
    header = Header(KEY, "json", (2,), CRC32, b"").encode()
    shared = b"\x82\xd8\x1c" + cbor2.dumps(header) + cbor2.dumps(b"")
    assert not accepted(framed(shared, b"42"), OPEN)


def test_unsigned_entry_is_rejected_where_keys_are_configured() -> None:
    with pytest.raises(IntegrityError, match="unsigned"):
        unpack(packed(b"42"), SIGNED)


def test_entry_signed_with_an_unknown_key_is_rejected() -> None:
    with pytest.raises(IntegrityError, match="none of the signing keys"):
        unpack(packed(b"42", signer=EntrySigner("di-1", (OLD_KEY,))), SIGNED)


def test_entry_moved_to_another_dict_is_rejected() -> None:
    with pytest.raises(IntegrityError, match="moved"):
        unpack(packed(b"42", signer=SIGNED), EntrySigner("di-2", (NEW_KEY,)))


def test_signed_entry_says_of_which_key_it_is() -> None:
    entry = packed(b"42", signer=SIGNED)
    other = entry.replace(KEY, b"\x65bobby")
    assert other != entry
    with pytest.raises(IntegrityError, match="altered"):
        unpack(other, SIGNED)


def test_payload_of_equal_checksum_is_rejected_where_it_is_signed() -> None:
    payload, collision = bytes(8), b"forgM\xcb\x19\x93"
    assert crc32(payload) == crc32(collision)
    forged = packed(payload, signer=SIGNED)[: -len(payload)] + collision
    with pytest.raises(IntegrityError, match="not the one that was signed"):
        unpack(forged, SIGNED)


def test_first_key_signs_and_each_of_them_verifies() -> None:
    rotated = EntrySigner("di-1", (NEW_KEY, OLD_KEY))
    assert packed(b"42", signer=SIGNED) == packed(b"42", signer=rotated)
    for entry in (packed(b"42", signer=rotated), packed(b"42", signer=EntrySigner("di-1", (OLD_KEY,)))):
        assert [bytes(segment) for segment in read(entry, rotated).segments] == [b"42"]


def test_reader_without_keys_takes_signed_entries() -> None:
    assert accepted(packed(b"42", signer=SIGNED), OPEN)


def test_signing_key_may_be_longer_than_the_hash_takes() -> None:
    long, other = EntrySigner("di-1", (b"k" * 65,)), EntrySigner("di-1", (b"k" * 66,))
    assert accepted(packed(b"42", signer=long), long)
    assert not accepted(packed(b"42", signer=long), other)


def with_expiry(kind: int, seconds: int, header: bytes = GOLDEN[PRELUDE_BYTES:-2], payload: bytes = b"42") -> bytes:
    """An entry of version 2 with any expiry and a matching checksum."""
    fields = GOLDEN[:4] + bytes([VERSION_WITH_EXPIRY, 0]) + WRITE_ID + len(header).to_bytes(4, "big")
    fields += bytes([kind]) + seconds.to_bytes(8, "big")
    return fields + crc32(fields).to_bytes(4, "big") + header + payload


def test_the_bytes_of_a_known_entry_with_a_ttl_never_change() -> None:
    assert packed(b"42", expiry=TTL) == GOLDEN_WITH_TTL
    assert with_expiry(1, 90) == GOLDEN_WITH_TTL


def test_a_known_signature_of_a_ttl_never_changes() -> None:
    signature = SIGNED.sign(WRITE_ID, b"header", TTL)
    assert signature.hex() == "e02d589557ae7de7a1ce8886ac1f5e89ab0edbb50f20c030db9f80095934a4f2"
    assert signature != SIGNED.sign(WRITE_ID, b"header")


@given(
    st.one_of(
        st.builds(EntryExpiry, st.just(ExpiryKind.TTL), st.integers(1, MAX_TTL_SECONDS)),
        st.builds(EntryExpiry, st.just(ExpiryKind.DEADLINE), st.integers(1, MAX_DEADLINE)),
    ),
    st.lists(st.binary(max_size=50), min_size=1, max_size=4),
    st.sampled_from([OPEN, SIGNED]),
)
def test_an_expiry_comes_back_with_its_entry(expiry: EntryExpiry, segments: list[bytes], signer: EntrySigner) -> None:
    entry = pack(WRITE_ID, KEY, "json", segments, signer, expiry)
    body = unpack(entry, signer)
    assert body is not None
    assert body.expiry == read_prelude(entry[:MAX_PRELUDE_BYTES]).expiry == expiry
    assert [bytes(segment) for segment in body.segments] == segments


def test_only_an_entry_with_an_expiry_has_version_2() -> None:
    assert [packed(b"42", expiry=expiry)[4] for expiry in (None, TTL, DEADLINE)] == [1, 2, 2]
    assert pack_tombstone(WRITE_ID)[4] == 1


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [(0, 90), (3, 90), (255, 90), (1, 0), (2, 0), (1, MAX_TTL_SECONDS + 1), (2, MAX_DEADLINE + 1), (2, 2**64 - 1)],
)
def test_an_invalid_expiry_is_an_integrity_error(kind: int, seconds: int) -> None:
    with pytest.raises(IntegrityError, match="expiry"):
        unpack(with_expiry(kind, seconds), OPEN)


def test_a_tombstone_has_no_expiry() -> None:
    with pytest.raises(IntegrityError):
        unpack(with_expiry(1, 90, b"", b""), OPEN)


def test_a_signature_covers_the_expiry_and_the_version() -> None:
    entry = packed(b"42", signer=SIGNED, expiry=TTL)
    prelude = read_prelude(entry)
    rest = entry[prelude.size :]
    for forged in (replace(prelude, expiry=EntryExpiry(ExpiryKind.TTL, 91)), replace(prelude, expiry=DEADLINE)):
        assert not accepted(forged.encode() + rest, SIGNED)
    assert not accepted(replace(prelude, expiry=None).encode() + rest, SIGNED)
    version_1 = packed(b"42", signer=SIGNED)
    assert not accepted(replace(read_prelude(version_1), expiry=TTL).encode() + version_1[PRELUDE_BYTES:], SIGNED)


def test_the_latest_deadline_can_be_compared_in_every_time_zone() -> None:
    latest = EntryExpiry(ExpiryKind.DEADLINE, MAX_DEADLINE)
    for hours in (-14, 0, 14):
        zone = timezone(timedelta(hours=hours))
        assert latest.deadline(datetime.now(zone)) + timedelta(seconds=1) > datetime.now(zone)


def test_a_fixed_ttl_expires_when_the_ttl_does() -> None:
    written = datetime(2026, 1, 1, tzinfo=UTC)
    assert TTL.fixed(written).deadline(written + timedelta(hours=1)) == TTL.deadline(written)
    assert DEADLINE.fixed(written) == DEADLINE
