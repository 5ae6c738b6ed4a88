"""Bodies that obstore delivers in parts."""

from __future__ import annotations

import pytest

from s3dict._stores.obstore import requests
from s3dict._stores.obstore.requests import LargeBody


def _read(span: tuple[int, int], *parts: bytes) -> bytes | bytearray:
    body = LargeBody(span)
    for part in parts:
        body.append(part)
    return body.finish()


def test_beginning_of_an_object_is_immutable_for_the_read_cache() -> None:
    body = _read((0, 4), b"ab", b"cd")
    assert type(body) is bytes
    assert body == b"abcd"


def test_later_range_is_memory_that_an_array_may_keep() -> None:
    body = _read((4, 8), b"ab", b"cd")
    assert type(body) is bytearray
    assert body == b"abcd"


@pytest.mark.parametrize("claimed", [1, 6, 7, 8, 1 << 60])
def test_length_is_what_was_received_and_not_what_was_claimed(monkeypatch: pytest.MonkeyPatch, claimed: int) -> None:
    monkeypatch.setattr(requests, "MAX_PREALLOCATED", 8)
    assert _read((1, 1 + claimed), b"abc", b"defg") == b"abcdefg"
