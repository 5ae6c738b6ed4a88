"""No header makes a reader take memory that it only claims."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import cbor2
import pytest
from hypothesis import given, settings

from s3dict import IntegrityError
from s3dict._core.iteration import HEADER_READ_BYTES, iterate_keys
from s3dict._format.entry import MAX_HEADER_BYTES, Prelude, pack, unpack
from s3dict._format.values import MAX_SEGMENTS
from s3dict._stores.base import NotModified, StoredObject
from s3dict._stores.memory import AsyncMemoryStore, MemoryBucket

from .fuzz_targets import OPEN, SIGNED, TARGETS, WRITE_ID, entries_of, framed
from .strategies import WHATEVER_THEY_TAKE, hostile

TIMES, BESIDES = 80, 64 << 10
"""What a reader may take: so many times the entry's own size, and so many bytes besides."""
FIELDS = {"key": b"\x61k", "codec": "json", "segments": [2], "crc32": 0, "digest": b""}


def peak_of(function: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def block(length: int, item: bytes = b"") -> bytes:
    return framed(b"\1" + item + b"\x5b" + length.to_bytes(8, "big"))


def header(**fields: object) -> bytes:
    return framed(b"\2\0" + cbor2.dumps(FIELDS | fields))


SIZE = 200_000
BOMBS = {
    "2^60 bytes": block(2**60, b"\x82"),
    "2^60 bytes of a header": framed(b"\2\0\xa1\x5b" + (2**60).to_bytes(8, "big")),
    "array of 2^60": framed(b"\1\x9b" + (2**60).to_bytes(8, "big")),
    "map of 2^60": framed(b"\2\0\xbb" + (2**60).to_bytes(8, "big")),
    "header of 4 GiB": Prelude(0, WRITE_ID, 2**32 - 1).encode(),
    "segment of 2^60": header(segments=[2**60]),
    "segment of 20,000 bits": header(segments=[2**20_000]),
    "many empty arrays": framed(b"\1\x82\x9a" + SIZE.to_bytes(4, "big") + b"\x80" * SIZE),
    "many empty maps": framed(b"\2\0" + b"\x9a" + SIZE.to_bytes(4, "big") + b"\xa0" * SIZE),
    "many floats": framed(b"\1\x9a" + SIZE.to_bytes(4, "big") + b"\xf9\x00\x00" * SIZE),
    "many segments of nothing": header(segments=[0] * SIZE),
    "keys with one hash": framed(b"\2\0" + cbor2.dumps({n * (2**61 - 1): 0 for n in range(8)})),
    "nesting": framed(b"\1" + b"\x81" * SIZE),
    "pattern": framed(b"\1\x82\xd8\x23" + cbor2.dumps("(?i)" + "[\0-\U0010ffff]" * 50)),
    "string of the whole entry": framed(b"\1\x82\x5a" + SIZE.to_bytes(4, "big") + bytes(SIZE) + b"\x40"),
}


@pytest.mark.parametrize("signer", [OPEN, SIGNED], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_reader_takes_little_more_memory_than_what_it_reads(bomb: bytes, signer: object) -> None:
    def read() -> None:
        with pytest.raises(IntegrityError):
            unpack(bomb, SIGNED if signer is SIGNED else OPEN)

    read()
    assert peak_of(read) <= TIMES * len(bomb) + BESIDES


@settings(max_examples=60, deadline=None, suppress_health_check=WHATEVER_THEY_TAKE)
@given(data=hostile(TARGETS["entry"]))
def test_no_hostile_entry_takes_more_memory_than_that(data: bytes) -> None:
    def read() -> None:
        with suppress(IntegrityError):
            unpack(framed(data), OPEN)

    assert peak_of(read) <= TIMES * len(data) + BESIDES


def test_as_many_segments_as_may_be_come_back_and_their_header_is_not_too_long() -> None:
    segments = [b"x" * 300] * (MAX_SEGMENTS // 64) + [b""] * (MAX_SEGMENTS - MAX_SEGMENTS // 64)
    entry = unpack(pack(WRITE_ID, b"k" * (1 << 20), "cloudpickle", segments, SIGNED), SIGNED)
    assert entry is not None
    assert [bytes(segment) for segment in entry.segments] == segments
    assert (1 << 20) + 9 * MAX_SEGMENTS < MAX_HEADER_BYTES


class Recording(AsyncMemoryStore):
    """Notes how much of the objects is asked for."""

    def __init__(self, bucket: MemoryBucket) -> None:
        super().__init__(bucket)
        self.ranges: list[tuple[int, int] | None] = []

    async def get(
        self, path: str, *, if_none_match: str | None = None, byte_range: tuple[int, int] | None = None
    ) -> StoredObject | NotModified | None:
        self.ranges.append(byte_range)
        return await super().get(path, if_none_match=if_none_match, byte_range=byte_range)


def test_listing_of_keys_reads_no_more_of_an_entry_than_a_header_may_take() -> None:
    async def keys() -> list[object]:
        return [key async for page in iterate_keys(entries) for key in page]

    bucket = MemoryBucket()
    store = Recording(bucket)
    entries = replace(entries_of("json"), store=store)
    claim = Prelude(0, WRITE_ID, MAX_HEADER_BYTES + 1).encode()
    bucket.write(entries.paths.entries + "0" * 32, claim + bytes(MAX_HEADER_BYTES + 1))
    with pytest.raises(IntegrityError, match="claims a header of 2097153 bytes"):
        asyncio.run(keys())
    assert store.ranges == [(0, HEADER_READ_BYTES - 1)]


LIMITED = """
import resource
from s3dict._format.entry import unpack
from tests.fuzz.test_memory import BOMBS, OPEN, IntegrityError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
for name, bomb in BOMBS.items():
    try:
        unpack(bomb, OPEN)
    except IntegrityError as error:
        assert not isinstance(error.__cause__, MemoryError), name
print("all refused")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what a process may map, and tells what it has")
def test_process_with_64_mebibytes_to_spare_refuses_them_all() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("all refused\n", "")
