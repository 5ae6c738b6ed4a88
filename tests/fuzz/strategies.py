"""Hypothesis strategies of hostile bytes: from nothing, or from what is as it should be and then is not."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck
from hypothesis import strategies as st

from .fuzz_targets import Target, json_fields

WHATEVER_THEY_TAKE = [
    *(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much),
    HealthCheck.function_scoped_fixture,
]
"""What Hypothesis need not mind about these strategies: some inputs are large, which is what they are for."""
_CLAIMS = [bytes([major << 5 | 27]) + b"\xff" * 8 for major in range(8)]
"""Of 2⁶⁴ - 1 bytes, members or pairs that do not follow."""
CBOR = [
    *_CLAIMS,
    *(bytes([major << 5 | 31]) for major in range(8)),
    *(head * 500 for head in (b"\x81", b"\xa1\x00", b"\xc6", b"\xd9\x01\x02\x81", b"\x9f", b"\xd8\x1c")),
    *(b"\xc0", b"\xc1", b"\xc2\x42\xff\xff", b"\xc4\x82", b"\xd8\x1e\x82\x01\x00", b"\xd8\x1d\x00", b"\xd9\x01\x00"),
    *(b"\xd8\x23\x63[a-", b"\xd8\x24\x60", b"\xd9\xd9\xf7", b"\xda\x53\x33\x00\x01\x40", b"\xda\x53\x33\x00\x02\x60"),
    *(b"\xf9\x7e\x00", b"\xf9\x7c\x00", b"\xf7", b"\xf8\xff", b"\xa2\x00\x00\x00\x00", b"\x80", b"\xa0", b"\x40"),
]
JSON = [
    *(b"[" * 100_000, b'{"a":' * 100_000, b"[" * 300 + b"]" * 300, b'"' + b"x" * 5000 + b'"'),
    *(b"9" * 4300, b"9" * 5000, b"-1", b"0", b"1.0", b"1e999", b"1e308", b"31708800000", b"NaN", b"-Infinity"),
    *(b'"\\ud800"', b'"\\u0000"', b'"\\n"', b"true", b"null", b"{}", b"[]", b'{"a":1,"a":2}', b"\xef\xbb\xbf"),
    *(b'"9999-12-31T23:59:59-14:00"', b'"0001-01-01T00:00:00+14:00"', b'"di-"', b"\x80\x05N.", b"\xff\xfe"),
]
TEXT = [
    *(b"%", b"%2F", b"%00", b"//", b"/../", b"/./", b"/", b"\n", b"\x00", b" ", b"+", b"&amp;", b"<", b":", b"."),
    *(b"..", b"\xc3\xa9", b"e\xcc\x81", b"\xf0\x9f\x90\x8d", b"\xe2\x80\xae", b"x" * 1024, b"di-"),
]
_CHUNKS = {"binary": CBOR, "json": JSON, "text": TEXT}


def hostile(target: Target) -> st.SearchStrategy[bytes]:
    chunks = _CHUNKS[target.form]
    anything = st.binary(max_size=300) | st.lists(st.sampled_from(chunks), max_size=4).map(b"".join)
    strategies = [anything, flipped(target.seeds), mutated(target.seeds, chunks), spliced(target.seeds)]
    if any(map(json_fields, target.seeds)):
        strategies.append(with_other_fields(target.seeds))
    return st.one_of(strategies)


@st.composite
def flipped(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    data = draw(st.sampled_from(seeds))
    place, bit = draw(st.integers(0, len(data) - 1)), draw(st.integers(0, 7))
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


@st.composite
def mutated(draw: st.DrawFn, seeds: tuple[bytes, ...], chunks: list[bytes]) -> bytes:
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 16)))
        instead = draw(st.just(b"") | st.binary(max_size=9) | st.sampled_from(chunks) | st.just(2 * data[start:end]))
        data = data[:start] + instead + data[end:]
    return data


@st.composite
def spliced(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """The beginning of one, and the end of another."""
    one, other = draw(st.sampled_from(seeds)), draw(st.sampled_from(seeds))
    return one[: draw(st.integers(0, len(one)))] + other[draw(st.integers(0, len(other))) :]


@st.composite
def with_other_fields(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """JSON with a field of anything, or twice; the rest is as it should be."""
    fields = draw(st.sampled_from([fields for fields in map(json_fields, seeds) if fields]))
    pairs = [(name, json.dumps(value).encode()) for name, value in fields.items()]
    place = draw(st.integers(0, len(pairs) - 1))
    instead = draw(st.sampled_from(JSON) | _values.map(lambda value: json.dumps(value).encode()))
    pairs[place : place + draw(st.integers(0, 1))] = [(pairs[place][0], instead)]
    return b"{" + b",".join(json.dumps(name).encode() + b":" + value for name, value in pairs) + b"}"


_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=9), values, max_size=3),
    max_leaves=6,
)
