"""Keys: equal keys have equal bytes, every key comes back, and no bytes do harm."""

# Naive datetimes are keys, too.
# ruff: noqa: DTZ001

from __future__ import annotations

import math
import pickle
import re
import sys
import threading
from collections import namedtuple
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path, PurePath
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import cbor2
import cloudpickle
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from s3dict._format import cbor, numeric_keys
from s3dict._format.cbor import MAX_DECIMAL_PLACES, MAX_RATIONAL_BITS
from s3dict._format.keys import (
    MAX_DEPTH,
    MAX_HASH_COLLISIONS,
    MAX_KEY_BYTES,
    MAX_SEGMENT_BYTES,
    EncodedKey,
    KeyCodec,
    digest,
    key_bytes_in,
)
from s3dict._format.layout import MAX_PREFIX_BYTES, DictId, Layout, new_ulid, validate_name, validate_prefix
from s3dict.errors import DeserializationError, IntegrityError, InvalidError, RequestSizeError, SerializationError

from .conftest import PeakOf

OBJECT_NAME = re.compile(r"[A-Za-z0-9\-_./]{1,1024}")
PICKLE_TAG, HANDLE_TAG, NAIVE_TAG, SURROGATES_TAG = 0x53330001, 0x53330002, 0x53330003, 0x53330004


@dataclass(frozen=True)
class Handle:
    """Stands for a Dict, of which keys know nothing but its id."""

    dict_id: str

    def __s3dict_id__(self) -> str:
        return self.dict_id


KEYS = KeyCodec(uses_pickle=True, handle=Handle)
PLAIN_KEYS = KeyCodec(uses_pickle=False, handle=Handle)


class Point(NamedTuple):
    x: int
    y: int


Size = namedtuple("Size", "width height")


class Row(Sequence[Any]):
    """As a row of SQLAlchemy: equal to a tuple, and not derived from it."""

    def __init__(self, *fields: Any) -> None:
        self._fields = fields

    def __getitem__(self, index: Any) -> Any:
        return self._fields[index]

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return tuple(self) == other

    def __hash__(self) -> int:
        return hash(self._fields)


class Text(str):
    __slots__ = ()


class Raw(bytes):
    __slots__ = ()


class Number(int):
    pass


class Real(float):
    pass


class Triple(tuple[Any, ...]):
    __slots__ = ()


class Bag(frozenset[Any]):
    pass


class Moment(datetime):
    pass


class Day(date):
    pass


class Word(StrEnum):
    """What a StrEnum is, in every Python."""

    A = "a"


class Small(IntEnum):
    ONE = 1


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Loud:
    """Loading its pickle is noticed."""

    heard: str

    def __reduce__(self) -> tuple[Any, ...]:
        return _hear, (self.heard,)


@dataclass(frozen=True)
class Edge:
    """Its fields may be the same object, equal to a name of theirs, or computed."""

    start: Any
    end: Any = "start"

    @cached_property
    def ends(self) -> tuple[Any, Any]:
        return self.start, self.end


class Job(BaseModel, frozen=True):
    name: str
    tags: frozenset[str] = frozenset()
    width: int = 1
    height: int = 2

    @cached_property
    def area(self) -> int:
        return self.width * self.height


T = TypeVar("T")


class Page(BaseModel, Generic[T], frozen=True):
    items: tuple[T, ...] = ()


@dataclass(frozen=True)
class Members:
    names: frozenset[Any]


class FrozenItems(dict[Any, Any]):
    """Equal whatever the order in which its items were put."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class FrozenCopy(FrozenItems):
    """Reduced as the packages do that have such a type."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


class Box:
    """Anything may be put into it; it is equal to itself alone."""

    content: object = None


class Names(frozenset[Any]):
    """A set that is not reduced to its members in any order of theirs, unless it is inside of an object."""


heard: list[str] = []


def _hear(text: str) -> str:
    heard.append(text)
    return text


@dataclass(frozen=True)
class Refusing:
    """Its pickling fails in a way that no pickler foresees."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise RuntimeError("I stay here")


def encoded(key: object) -> bytes:
    return KEYS.encode(key).data


def there_and_back(key: object) -> Any:
    return KEYS.decode(encoded(key))


def same_key(a: Any, b: Any) -> bool:
    """Return whether a Python dict takes both for one key."""
    return hash(a) == hash(b) and bool(a == b)


def nested(levels: int) -> Any:
    key: Any = "core"
    for _ in range(levels):
        key = (key,)
    return key


any_text = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=40)
offsets = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)).map(timezone)
instants = st.one_of(st.datetimes(), st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=offsets))
folded = st.builds(lambda moment, fold: moment.replace(fold=fold), instants, st.integers(0, 1))
numbers = st.one_of(
    st.integers(),
    st.integers(-(2**600), 2**600),
    st.booleans(),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.decimals(allow_nan=False),
    st.fractions(),
)
scalars = st.one_of(
    *(any_text, st.binary(max_size=40), numbers, st.none(), st.dates(), folded, st.uuids()),
    *(any_text.map(Text), st.binary(max_size=9).map(Raw), st.just(Word.A)),
    *(st.integers().map(Number), st.floats(allow_nan=False).map(Real), st.just(Small.ONE)),
    st.builds(Point, st.integers(), st.integers()),
)
numpy_scalars = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(np.int64),
    st.floats(allow_nan=False).map(np.float64),
    st.floats(width=32, allow_nan=False).map(np.float32),
    st.booleans().map(np.bool_),
    st.text(max_size=9).map(np.str_),
)


@st.composite
def scalar_keys(draw: st.DrawFn) -> Any:
    """Composite so that its name is short: Hypothesis spells out other strategies in full."""
    return draw(scalars)


def containers(members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(members, max_size=4).map(tuple),
        st.frozensets(members, max_size=4),
        st.lists(members, max_size=4).map(Triple),
        st.frozensets(members, max_size=4).map(Bag),
        st.builds(Size, members, members),
    )


plain_keys = st.recursive(scalar_keys(), containers, max_leaves=12)
# Not in sets of others: NumPy raises at some comparisons, as at `np.int64(0) == b""`.
canonical_keys = st.one_of(plain_keys, numpy_scalars, st.tuples(plain_keys, numpy_scalars))


@st.composite
def spelled_numbers(draw: st.DrawFn) -> Any:
    """A number of few values and many types, so that two of them are likely to be equal."""
    value = Fraction(
        draw(st.sampled_from([0, 1, -1, 2, 3, 10**20, 2**53 + 1, 2**1100])), draw(st.sampled_from([1, 2, 3, 10]))
    )
    spellings: list[Any] = [value]
    if value.denominator == 1:
        spellings += [int(value), Number(value)]
    if value in (0, 1):
        spellings += [bool(value), np.bool_(value)]
    if value.denominator in (1, 2, 5, 10):
        spellings += [
            Decimal(value.numerator) / Decimal(value.denominator),
            Decimal(f"{float(value) if value < 1e9 else 1:.3f}"),
        ]
    if value < 2**1000:
        spellings += [
            float(value),
            -float(value),
            complex(value),
            complex(float(value), -0.0),
            complex(0, value),
            Real(value),
        ]
    return draw(st.sampled_from(spellings))


likely_equal_scalars: st.SearchStrategy[Any] = st.one_of(
    spelled_numbers(),
    st.sampled_from(["a", Word.A, Text("a"), b"a", Raw(b"a"), np.str_("a"), None, "", b"", (), frozenset()]),
    st.sampled_from(
        [
            datetime(2024, 5, 1, 12),
            datetime(2024, 5, 1, 12, fold=1),
            datetime(2024, 5, 1, 12, tzinfo=UTC),
            datetime(2024, 5, 1, 12, tzinfo=ZoneInfo("UTC")),
            datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))),
            datetime(2024, 5, 1, 14, tzinfo=ZoneInfo("Europe/Berlin")),
            date(2024, 5, 1),
        ]
    ),
)
likely_equal_keys = st.recursive(
    likely_equal_scalars,
    lambda members: st.one_of(
        st.lists(members, min_size=1, max_size=2).map(tuple),
        st.tuples(members, members).map(Size._make),
        st.frozensets(members, max_size=2),
        st.frozensets(members, max_size=2).map(Bag),
    ),
    max_leaves=3,
)


@given(canonical_keys)
@example("\ud800")
@example(frozenset({"\ud800", datetime(2024, 1, 1), (frozenset({date(2024, 1, 1)}),)}))
@example(-0.0)
@example(complex(-0.0, -0.0))
@example(5e-324)
@example(math.inf)
@example(Decimal("-Infinity"))
@example(Fraction(1, 3))
@example(Decimal("0." + "1" * 60))
@example(2**64)
@example(-(2**64) - 1)
@example(UUID(int=7))
@example(datetime(1, 1, 1))
@example(datetime(9999, 12, 31, 23, 59, 59, 999999, UTC))
def test_key_comes_back_equal_and_hashes_alike(key: Hashable) -> None:
    assert same_key(key, there_and_back(key))


@given(canonical_keys)
def test_decoded_key_encodes_to_the_same_bytes(key: Hashable) -> None:
    assert encoded(key) == encoded(there_and_back(key))


@given(likely_equal_keys, likely_equal_keys)
@example(1, True)
@example(0.1, Fraction(1, 10))
@example(0.1, Decimal("0.1"))
@example(Fraction(1, 10), Decimal("0.10"))
@example(2**53, 2.0**53)
@example(2**53 + 1, 2.0**53)
@example(1e300, int(1e300))
@example(math.inf, Decimal("Infinity"))
@example(math.inf, complex(math.inf, 0))
@example(complex(0.0, 1), complex(-0.0, 1))
@example(-1, -2)
@example(Small.ONE, True)
@example("1", 1)
@example(datetime(2024, 5, 1), date(2024, 5, 1))
def test_two_keys_have_equal_bytes_exactly_when_a_python_dict_takes_them_for_one(a: Any, b: Any) -> None:
    assert same_key(a, b) == (encoded(a) == encoded(b))


@given(st.lists(likely_equal_keys, max_size=12))
def test_python_dict_of_many_keys_has_as_many_as_there_are_different_bytes(keys: list[Any]) -> None:
    assert len({encoded(key) for key in keys}) == len(dict.fromkeys(keys))


@given(canonical_keys)
def test_keys_of_known_types_are_never_pickled(key: Hashable) -> None:
    assert not PLAIN_KEYS.encode(key).pickled


@pytest.mark.parametrize(
    ("scalar", "plain"),
    [
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float16(0.5), 0.5),
        (np.float32(math.inf), math.inf),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.float64(0.1), 0.1),
        (np.complex64(1 + 2j), 1 + 2j),
        (np.bool_(True), 1),
        (np.str_("é"), "é"),
        (np.bytes_(b"\0x"), b"\0x"),
        (Moment(2024, 5, 1, 12), datetime(2024, 5, 1, 12)),
        (Moment(2024, 5, 1, 12, tzinfo=UTC), datetime(2024, 5, 1, 12, tzinfo=UTC)),
        (Day(2024, 5, 1), date(2024, 5, 1)),
        (pd.Timedelta(hours=1), timedelta(hours=1)),
        (memoryview(b"ab"), b"ab"),
        (Row(1, "a"), (1, "a")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_scalar_that_equals_a_plain_value_is_the_same_key(scalar: Any, plain: Any) -> None:
    assert same_key(scalar, plain)
    assert encoded(plain) == encoded(scalar)


def test_repeated_hour_of_one_zone_is_one_key_as_in_a_python_dict() -> None:
    first = datetime(2021, 10, 31, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    second = first.replace(fold=1)
    assert same_key(first, second)
    assert encoded(first) == encoded(second)


@pytest.mark.parametrize(
    "key",
    [
        Colour.RED,
        range(3),
        timedelta(hours=1),
        int,
        Loud("x"),
        (1, range(3)),
        frozenset({range(3), timedelta(1)}),
        np.timedelta64(1, "s"),
        np.datetime64("2024-05-01"),
    ],
    ids=repr,
)
def test_key_of_any_other_type_is_pickled_and_comes_back(key: Hashable) -> None:
    key_bytes = KEYS.encode(key)
    assert key_bytes.pickled
    assert KEYS.decode(key_bytes.data) == ("x" if key == Loud("x") else key)


def copy_of(text: str) -> str:
    """Return an equal string that is another object."""
    return text.encode().decode()


def with_area(job: Job) -> Job:
    assert job.area
    return job


def with_ends(edge: Edge) -> Edge:
    assert edge.ends == (edge.start, edge.end)
    return edge


@pytest.mark.parametrize(
    ("key", "equal"),
    [
        (Edge("n1", "n1"), Edge(copy_of("n1"), copy_of("n1"))),
        (Edge("start", "end"), Edge(copy_of("start"), copy_of("end"))),
        (Edge("datetime", datetime(2024, 5, 1)), Edge(copy_of("datetime"), datetime(2024, 5, 1))),
        (Edge(*[(1, 2)] * 2), Edge(tuple(Point(1, 2)), tuple(Point(1, 2)))),
        (Edge(*[Edge(1)] * 2), Edge(Edge(1), Edge(1))),
        (Edge(b"a", b"a"), Edge(b"a", bytes(bytearray(b"a")))),
        (Edge(1, 2), with_ends(Edge(1, 2))),
        (Job(name="a"), Job(name="a", height=2, width=1)),
        (Job(name="a", height=2, width=1), Job(name="a", width=1, height=2)),
        (Job(name="a"), with_area(Job(name="a"))),
        (Job(name="a", tags=frozenset("ab")), Job(name="a", tags=frozenset("ba"))),
        (Page[int](items=(1, 2)), Page[int](items=(1, 2))),
        (Members(frozenset([0, 8, 16, "a"])), Members(frozenset([16, "a", 8, 0]))),
        (FrozenItems(a=1, b=2), FrozenItems(b=2, a=1)),
        (Edge(FrozenCopy(a=1, b=2)), Edge(FrozenCopy(b=2, a=1))),
    ],
    ids=[
        *("strings", "names of fields", "name of a module", "tuples", "objects", "bytes", "cached property"),
        *("defaults", "order of fields", "cached property of a model", "set in a model", "generic model", "set"),
        *("dict", "copied dict"),
    ],
)
def test_equal_objects_are_one_key_whatever_they_share_or_have_computed(key: Any, equal: Any) -> None:
    assert same_key(key, equal)
    assert encoded(key) == encoded(equal)
    back = there_and_back(key)
    assert same_key(back, key)
    assert type(back) is type(key)
    assert encoded(back) == encoded(key)


@pytest.mark.parametrize(
    "key",
    [
        Colour.RED,
        timedelta(hours=1),
        IPv4Address("10.0.0.1"),
        Edge(1),
        Edge(Edge(2, "end"), Colour.RED),
        Edge(datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 2, tzinfo=UTC)),
        Edge((Decimal("0.5"), UUID(int=3), -1.5, 2**70, None, True), b"x" * 300),
        Edge("x" * 70_000, tuple(range(2_000))),
        Path("/folder/file"),
        list[int],
        type(None),
    ],
    ids=lambda key: type(key).__name__,
)
def test_pickled_keys_have_the_bytes_that_earlier_releases_gave_them(key: Any) -> None:
    assert encoded(key) == cbor2.dumps(cbor2.CBORTag(PICKLE_TAG, cloudpickle.dumps(key, protocol=5)))


def test_path_is_one_key_whatever_python_writes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [Path("/folder/file"), (Edge(Path("file")), Path)]
    expected = [encoded(key) for key in keys]
    # As in Python 3.13.
    monkeypatch.setattr(type(keys[0]), "__module__", "pathlib._local")
    monkeypatch.setattr(PurePath, "__reduce__", lambda path: (type(path), (str(path),)))
    monkeypatch.setitem(sys.modules, "pathlib._local", sys.modules["pathlib"])
    assert [encoded(key) for key in keys] == expected
    assert there_and_back(keys[0]) == keys[0]


@pytest.mark.parametrize("key", [Members(frozenset({frozenset({1})})), Members(Names({1}))])
def test_sets_whose_order_is_not_known_are_no_keys(key: Any) -> None:
    with pytest.raises(InvalidError, match="not stable"):
        encoded(key)


def test_object_that_contains_itself_is_a_key() -> None:
    key = Edge(1, Box())
    key.end.content = key
    assert encoded(key) == encoded(key)
    assert there_and_back(key).end.content.start == 1


def test_handle_key_equals_its_id() -> None:
    assert there_and_back(Handle("di-7")) == Handle("di-7")
    assert encoded(Handle("di-7")) != encoded("di-7")


def test_class_of_handles_is_no_handle() -> None:
    assert Handle is there_and_back(Handle)


def test_decoded_fraction_of_many_places_is_a_key_again() -> None:
    key = Fraction(1, 2 ** (MAX_DECIMAL_PLACES + 1))
    assert encoded(key) == encoded(there_and_back(key))


def test_long_doubles_that_differ_are_different_keys() -> None:
    one, more = np.longdouble(1), np.longdouble(1) + np.finfo(np.longdouble).eps
    assert one != more
    assert encoded(one) != encoded(more)


NANS = [
    math.nan,
    complex(0, math.nan),
    complex(math.nan, 1),
    Decimal("NaN"),
    np.float32("nan"),
    np.complex128(complex(0, math.nan)),
    np.datetime64("NaT", "s"),
    np.timedelta64("NaT", "s"),
]


@pytest.mark.parametrize("nan", NANS, ids=repr)
@pytest.mark.parametrize("wrap", [lambda nan: nan, lambda nan: ("a", (nan,)), lambda nan: frozenset({nan})])
def test_nan_anywhere_is_invalid(nan: Any, wrap: Any) -> None:
    with pytest.raises(InvalidError):
        KEYS.encode(wrap(nan))


@pytest.mark.parametrize("key", [[], {}, set(), bytearray(b"x"), ([],), (1, {2: 3}), np.zeros(1)], ids=repr)
def test_unhashable_key_is_a_type_error_as_in_a_dict(key: Any) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        KEYS.encode(key)


def test_keys_nest_a_hundred_levels_deep_and_no_deeper() -> None:
    assert nested(MAX_DEPTH) == there_and_back(nested(MAX_DEPTH))
    with pytest.raises(InvalidError, match="100 levels"):
        KEYS.encode(nested(MAX_DEPTH + 1))


def test_depth_is_counted_through_sets_and_derived_types() -> None:
    key: Any = 1
    for _ in range(MAX_DEPTH // 2 + 1):
        key = frozenset({Size(key, 0)})
    with pytest.raises(InvalidError, match="100 levels"):
        KEYS.encode(key)


def test_breadth_is_no_depth() -> None:
    key = tuple((i, (i,)) for i in range(3 * MAX_DEPTH))
    assert there_and_back(key) == key


def test_key_takes_a_mebibyte_and_no_more() -> None:
    longest = "x" * (MAX_KEY_BYTES - 5)
    assert len(encoded(longest)) == MAX_KEY_BYTES
    with pytest.raises(RequestSizeError, match="The key takes 1048577 bytes"):
        KEYS.encode(longest + "x")


@pytest.mark.parametrize(
    "decimal", [f"1E-{MAX_DECIMAL_PLACES}", f"1E+{MAX_DECIMAL_PLACES}", "1." + "1" * MAX_DECIMAL_PLACES]
)
def test_decimals_have_ten_thousand_places(decimal: str) -> None:
    key = Decimal(decimal)
    assert same_key(key, there_and_back(key))


@pytest.mark.parametrize(
    "decimal", [f"1E-{MAX_DECIMAL_PLACES + 1}", f"1E+{MAX_DECIMAL_PLACES + 1}", "1E+999999999", "0." + "1" * 10_001]
)
def test_decimal_of_more_places_is_invalid(decimal: str) -> None:
    with pytest.raises(InvalidError, match="10000 places"):
        KEYS.encode(Decimal(decimal))


def test_decimal_comes_back_without_a_fraction_of_a_thousand_times_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numeric_keys, "Fraction", None)
    key = (Decimal(f"1E-{MAX_DECIMAL_PLACES}"), Decimal("3E+7"), Decimal("-1.50") ** 99)
    assert same_key(key, there_and_back(key))


@pytest.mark.parametrize(
    ("exponent", "mantissa"), [(MAX_DECIMAL_PLACES, 3), (0, 3), (-MAX_DECIMAL_PLACES - 1, 3), (-(10**17), 3)]
)
def test_decimal_without_places_or_with_too_many_is_not_even_made(exponent: int, mantissa: int) -> None:
    with pytest.raises(cbor2.CBORDecodeError):
        cbor.loads(cbor2.dumps(cbor2.CBORTag(4, [exponent, mantissa])))


STREAM_ABOVE = 2**MAX_RATIONAL_BITS


@pytest.mark.parametrize(
    "key",
    [Fraction(1, STREAM_ABOVE), Fraction(STREAM_ABOVE, 3), Fraction(-STREAM_ABOVE, 3)],
    ids=["1/l", "l/3", "-l/3"],
)
def test_fraction_of_larger_numbers_is_no_key(key: Fraction) -> None:
    with pytest.raises(InvalidError, match="numbers over 70000 bits"):
        KEYS.encode(key)
    with pytest.raises(IntegrityError):
        KEYS.decode(cbor2.dumps(key))
    smaller = Fraction(key.numerator // 2 or 1, key.denominator // 2 or 1)
    assert same_key(smaller, there_and_back(smaller))


def test_int_may_be_larger_whatever_its_type() -> None:
    assert STREAM_ABOVE == there_and_back(Number(STREAM_ABOVE)) == there_and_back(Fraction(STREAM_ABOVE, 1))


@pytest.mark.parametrize("wrap", [lambda member: member, lambda member: (member,)], ids=["ints", "tuples"])
def test_set_of_members_that_were_chosen_to_collide_is_no_key(wrap: Any) -> None:
    colliding = [wrap(number * sys.hash_info.modulus) for number in range(MAX_HASH_COLLISIONS + 1)]
    with pytest.raises(InvalidError, match="the same hash"):
        KEYS.encode(frozenset(colliding))
    with pytest.raises(IntegrityError, match="The bytes are not a key"):
        KEYS.decode(cbor2.dumps(cbor2.CBORTag(258, colliding)))
    key = frozenset(colliding[1:] + [wrap(number) for number in range(1, 1000)])
    assert there_and_back(key) == key


def test_map_whose_keys_may_collide_is_not_even_made() -> None:
    for item in ({1: 2}, [{(1, 2): 3}], cbor2.CBORTag(258, [{None: 1}])):
        with pytest.raises(cbor2.CBORDecodeError):
            cbor.loads(cbor2.dumps(item))


def test_instant_outside_of_utc_is_invalid() -> None:
    with pytest.raises(InvalidError, match="UTC"):
        KEYS.encode(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))))


@pytest.mark.parametrize(
    "key",
    [threading.Lock(), (_ for _ in ""), sys.stdout, Refusing(), (1, Refusing())],
    ids=lambda key: type(key).__name__,
)
def test_unpicklable_key_is_a_serialization_error(key: Any) -> None:
    with pytest.raises(SerializationError, match="cannot be pickled"):
        KEYS.encode(key)


@pytest.mark.parametrize("wrap", [lambda key: key, lambda key: (1, key), lambda key: frozenset({key})])
def test_dict_without_pickles_neither_writes_nor_loads_one(wrap: Any) -> None:
    planted = encoded(wrap(Loud("planted")))
    heard.clear()
    with pytest.raises(SerializationError, match="Loud"):
        PLAIN_KEYS.encode(wrap(Loud("own")))
    with pytest.raises(IntegrityError, match="never unpickles"):
        PLAIN_KEYS.decode(planted)
    assert heard == []
    KEYS.decode(planted)
    assert heard == ["planted"]


def test_pickle_that_cannot_be_loaded_is_a_deserialization_error() -> None:
    unknown = pickle.dumps(Loud("x"), protocol=5).replace(b"_hear", b"_gone")
    with pytest.raises(DeserializationError, match="_gone"):
        KEYS.decode(cbor2.dumps(cbor2.CBORTag(PICKLE_TAG, unknown)))


def test_pickled_key_is_never_in_the_name() -> None:
    key = KEYS.encode((1, Colour.RED))
    assert key.digest == key.object_name
    assert key_bytes_in(key.object_name) is None


@given(canonical_keys | st.text(min_size=100, max_size=300))
@example("x" * 159)
@example("x" * 170)
def test_segment_is_short_plain_and_gives_the_key_back_or_nothing(key: Hashable) -> None:
    name = KEYS.encode(key)
    assert OBJECT_NAME.fullmatch(name.object_name)
    assert "/" not in name.object_name
    assert len(name.object_name) <= MAX_SEGMENT_BYTES
    assert name.object_name.startswith(digest(name.data))
    assert key_bytes_in(name.object_name) in (name.data, None)


def test_keys_of_a_hundred_and_sixty_bytes_are_in_the_name_and_longer_ones_are_not() -> None:
    sizes = {size: EncodedKey(b"k" * size, pickled=False).object_name for size in range(120, 200)}
    inlined = [size for size, segment in sizes.items() if key_bytes_in(segment) is not None]
    assert inlined == list(range(120, 163))


names = st.from_regex(r"[a-zA-Z0-9\-_.]{1,64}", fullmatch=True).filter(lambda name: name not in (".", ".."))
prefixes = st.lists(names, min_size=1, max_size=20).map("/".join).filter(lambda prefix: len(prefix) <= MAX_PREFIX_BYTES)


@given(prefixes, names, names, st.sampled_from([None, 1, 2, 7, 30, 90, 360]), canonical_keys)
@example("p" * 100 + "/" + "q" * 99, "e" * 64, "n" * 64, 360, "k" * 159)
def test_object_names_fit_every_store_whatever_they_are_made_of(
    prefix: str, environment: str, name: str, days: int | None, key: Hashable
) -> None:
    dict_id = DictId(new_ulid(datetime.now(UTC)), validate_name(environment, "environment"), validate_name(name))
    ttl = None if days is None else timedelta(days=days)
    path = Layout(validate_prefix(prefix)).data(dict_id, ttl).entries + KEYS.encode(key).object_name
    assert OBJECT_NAME.fullmatch(path)
    assert all(part not in ("", ".", "..") and len(part) <= MAX_SEGMENT_BYTES for part in path.split("/"))


HASHED, INLINED = KEYS.encode("key").object_name.split(".")


@pytest.mark.parametrize(
    "segment",
    [
        *("", ".", "README.md", HASHED[:-1], HASHED + "0", HASHED.upper(), "z" * 32, "٣" * 32, HASHED + "."),
        *(f"{HASHED}.{INLINED}=", f"{HASHED}.{INLINED}.", f"{HASHED}.{INLINED}\n", f"{HASHED}.{INLINED}/"),
        *(f"{HASHED}.{INLINED[:-1]}", f"{HASHED}.{INLINED[:-1]}B", f"{HASHED}.ä", f"{'0' * 32}.{INLINED}"),
    ],
)
def test_foreign_segment_is_an_integrity_error(segment: str) -> None:
    with pytest.raises(IntegrityError):
        key_bytes_in(segment)


@given(st.text(max_size=60))
def test_any_name_is_read_or_an_integrity_error(segment: str) -> None:
    try:
        data = key_bytes_in(segment)
    except IntegrityError:
        return
    assert data is None or digest(data) == segment[:32]


def harmless(data: bytes, codec: KeyCodec) -> None:
    try:
        key = codec.decode(data)
    except (IntegrityError, DeserializationError):
        return
    hash(key)


@given(st.binary(max_size=200), st.sampled_from([KEYS, PLAIN_KEYS]))
def test_any_bytes_are_a_hashable_key_or_an_error_of_ours(data: bytes, codec: KeyCodec) -> None:
    harmless(data, codec)


@given(canonical_keys, st.data())
def test_damaged_keys_are_a_hashable_key_or_an_error_of_ours(key: Hashable, data: st.DataObject) -> None:
    whole = encoded(key)
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, 255))
    harmless(whole[:place] + bytes([other]) + whole[place + 1 :], KEYS)
    harmless(whole[:place], KEYS)


@given(
    st.sampled_from([0, 1, 2, 3, 4, 5, 30, 35, 36, 37, 258, 1004, 43000, HANDLE_TAG, NAIVE_TAG, SURROGATES_TAG]),
    st.recursive(
        st.integers() | st.text(max_size=9) | st.binary(max_size=9) | st.floats() | st.none(),
        lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(max_size=3), items, max_size=2),
        max_leaves=5,
    ),
)
def test_any_tag_on_anything_is_a_hashable_key_or_an_error_of_ours(tag: int, content: Any) -> None:
    harmless(cbor2.dumps(cbor2.CBORTag(tag, content)), KEYS)


@given(st.binary(max_size=40) | canonical_keys.map(encoded).map(lambda data: data + b"\0"))
@example(b"\x18\x01")
@example(b"\x00\x00")
@example(cbor2.dumps(math.nan))
@example(cbor2.dumps(1.0))
@example(cbor2.dumps(cbor2.CBORTag(35, "a*")))
@example(cbor2.dumps(cbor2.CBORTag(NAIVE_TAG, "2024-05-01T12:00:00+02:00")))
@example(cbor2.dumps(cbor2.CBORTag(SURROGATES_TAG, b"plain")))
def test_non_canonical_bytes_are_rejected(data: bytes) -> None:
    try:
        key = PLAIN_KEYS.decode(data)
    except IntegrityError:
        return
    assert PLAIN_KEYS.encode(key).data == data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(bytes.fromhex("d81c01"), id="a shared value"),
        pytest.param(bytes.fromhex("d81c81d81d00"), id="an array that holds itself"),
        pytest.param(bytes.fromhex("82d81c8100d81d00"), id="an array twice"),
        pytest.param(bytes.fromhex("d901008263616161d81900"), id="a string twice"),
    ],
)
def test_cbor_references_are_rejected(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        KEYS.decode(data)


def doubling(levels: int) -> bytes:
    """An array whose every member holds the one before it twice, by reference: few bytes, and 2^levels leaves."""
    twice = [(b"\xd8\x1d" + cbor2.dumps(level)) * 2 for level in range(levels - 1)]
    members = [bytes.fromhex("d81c820000"), *(bytes.fromhex("d81c82") + references for references in twice)]
    return b"\x98" + bytes([levels]) + b"".join(members)


def test_few_bytes_do_not_grow_without_bounds() -> None:
    with pytest.raises(IntegrityError):
        KEYS.decode(doubling(16))


@pytest.mark.parametrize("head", ["5b", "7b", "9b", "bb", "d901029b", "c49b", "5f5b"])
def test_length_that_is_only_claimed_takes_no_memory(head: str, peak_of: PeakOf) -> None:
    data = bytes.fromhex(head + "0000000100000000")
    with pytest.raises(IntegrityError):
        KEYS.decode(data)
    assert peak_of(lambda: harmless(data, KEYS)) < 1 << 20


def test_deep_nesting_is_an_integrity_error() -> None:
    for data in (b"\x81" * 100_000 + b"\0", b"\xc4" * 100_000 + b"\0", b"\xd9\x01\x02\x81" * 100_000 + b"\0"):
        with pytest.raises(IntegrityError):
            KEYS.decode(data)


@given(plain_keys, plain_keys)
def test_different_keys_have_different_names(a: Any, b: Any) -> None:
    assume(not same_key(a, b))
    assert KEYS.encode(a).object_name != KEYS.encode(b).object_name
