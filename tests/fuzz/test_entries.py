"""Entries of every codec, signed and not: whatever of them is cut off or flipped, none of it is taken for a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from s3dict import IntegrityError
from s3dict._core.entries import Entries

from .fuzz_targets import SECRET, entries_of, found

KEYS = {"key in the name": "k", "hashed key": "k" * 250}
VALUES: dict[str, tuple[str, Any]] = {
    "cloudpickle": ("cloudpickle", {"a": (1, None)}),
    "cloudpickle, out of band": ("cloudpickle", [np.arange(3, dtype="u1"), np.zeros(0), np.arange(2, dtype="u1")]),
    "json": ("json", {"a": [1, None, "é"]}),
    "bytes": ("bytes", b"\x00\xff"),
}


def packed(entries: Entries, key: str, value: Any) -> bytes:
    body, _ = entries.codec.pack(entries.codec.keys.encode(key), entries.codec.values.dumps(value))
    return body


def is_refused(entries: Entries, key: str, body: bytes) -> bool:
    try:
        entries.decode_live(found(body), entries.codec.keys.encode(key), key)
    except IntegrityError:
        return True
    return False


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("signing_keys", [(), (SECRET,)], ids=["unsigned", "signed"])
@pytest.mark.parametrize(("codec", "value"), VALUES.values(), ids=VALUES)
def test_no_truncation_and_no_flipped_bit_is_a_value(
    key: str, signing_keys: tuple[str, ...], codec: str, value: Any
) -> None:
    entries = entries_of(codec, *signing_keys)
    body = packed(entries, key, value)
    assert not is_refused(entries, key, body)
    assert [size for size in range(len(body)) if not is_refused(entries, key, body[:size])] == []
    flips = ((place, bit) for place in range(len(body)) for bit in range(8))
    assert [flip for flip in flips if not is_refused(entries, key, flipped(body, *flip))] == []


def flipped(body: bytes, place: int, bit: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 1 << bit]) + body[place + 1 :]


def test_single_segment_codecs_reject_other_segment_counts() -> None:
    for codec in ("json", "bytes"):
        entries = entries_of(codec)
        body, _ = entries.codec.pack(entries.codec.keys.encode("k"), [b"1", b"2"])
        assert is_refused(entries, "k", body)
