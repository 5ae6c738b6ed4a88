"""Values: each codec gives back what it took, and those that never unpickle never do."""

# Classes of exceptions are called by what distinguishes them.
# ruff: noqa: N818

from __future__ import annotations

import json
import math
import pickle
import sys
from collections.abc import Iterator
from enum import Enum, Flag
from functools import cached_property, lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3dict._format.main_objects import load_main_object
from s3dict._format.values import Codec, get_codec
from s3dict.errors import InvalidError

CLOUDPICKLE, JSON, BYTES = (get_codec(name) for name in ("cloudpickle", "json", "bytes"))

heard: list[str] = []


class Loud:
    """Loading its pickle is noticed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _hear, ("loaded",)


def _hear(text: str) -> None:
    heard.append(text)


class WithCode(Exception):
    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class WithoutArguments(Exception):
    def __init__(self) -> None:
        super().__init__("a text of its own", 3)


class WithKeyword(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class WithNew(Exception):
    code: int

    def __new__(cls, message: str, code: int) -> WithNew:
        error = super().__new__(cls, message)
        error.code = code
        return error

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)


class WithExit(SystemExit):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status)
        self.reason = reason


class WithDecode(UnicodeDecodeError):
    def __init__(self, data: bytes) -> None:
        super().__init__("utf-8", data, 0, 1, "invalid")


class WithErrno(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "missing", path)


class WithPrefix(Exception):
    def __init__(self, code: Any) -> None:
        super().__init__(f"code {code}")


class WithSlots(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class WithReduce(Exception):
    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return WithReduce, (self.args[0], self.code), vars(self)


def there_and_back(codec: Codec, value: Any) -> Any:
    """As an entry does it: what is read are views of one answer's bytes, which are read-only."""
    return codec.loads([memoryview(bytes(segment)) for segment in codec.dumps(value)])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=10,
)
picklable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.dates(),
    lambda values: (
        st.lists(values, max_size=4)
        | st.lists(values, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), values, max_size=4)
        | st.sets(st.integers(), max_size=4)
    ),
    max_leaves=10,
)


@given(picklable)
def test_cloudpickle_round_trips(value: Any) -> None:
    back = there_and_back(CLOUDPICKLE, value)
    assert (type(back), back) == (type(value), value)


@given(json_values)
def test_json_round_trips(value: Any) -> None:
    assert there_and_back(JSON, value) == value


@given(st.binary())
def test_bytes_round_trip(value: bytes) -> None:
    assert BYTES.dumps(value) == [value]
    assert there_and_back(BYTES, value) == value


@pytest.mark.parametrize("value", [bytearray(b"ab"), memoryview(b"ab"), memoryview(b"axbx")[::2]])
def test_bytes_like_values_are_returned_as_bytes(value: Any) -> None:
    assert there_and_back(BYTES, value) == b"ab"


def test_json_is_compact_text_that_others_can_read() -> None:
    assert JSON.dumps({"a": ["é", 1.5, None]}) == ['{"a":["é",1.5,null]}'.encode()]


def test_json_turns_tuples_into_lists_and_inner_keys_into_text() -> None:
    assert there_and_back(JSON, {1: (1, 2)}) == {"1": [1, 2]}


@pytest.mark.parametrize(
    "value",
    [math.nan, -math.inf, {1, 2}, b"x", object(), {(1, 2): 3}, "\ud800"],
    ids=lambda value: type(value).__name__,
)
def test_json_rejects_unserialisable_values(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        JSON.dumps(value)


@pytest.mark.parametrize("value", ["text", 1, None, [1], {}], ids=repr)
def test_bytes_refuses_everything_else(value: Any) -> None:
    with pytest.raises(TypeError, match="holds bytes"):
        BYTES.dumps(value)


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(12.0).reshape(3, 4), id="C order"),
        pytest.param(np.asfortranarray(np.arange(12).reshape(3, 4)), id="Fortran order"),
        pytest.param(np.arange(24).reshape(4, 6)[::2, ::-3], id="non-contiguous"),
        pytest.param(np.zeros((0, 3)), id="zero-size"),
        pytest.param(np.array(7), id="zero-dimensional"),
        pytest.param(np.array([(1, "a"), (2, "b")], dtype=[("n", "i4"), ("s", "U3")]), id="structured"),
        pytest.param(np.array(["2024-02-29"], dtype="datetime64[ns]"), id="instants"),
        pytest.param(np.array([1, "two", None], dtype=object), id="objects"),
        pytest.param(np.broadcast_to(np.arange(3), (2, 3)), id="broadcast"),
        pytest.param(np.frombuffer(b"\x01\x02", dtype="u1"), id="read-only"),
        pytest.param(np.arange(4, dtype=">i8"), id="big-endian"),
    ],
)
def test_array_comes_back_equal_of_its_type_and_as_writable_as_it_was(array: Any) -> None:
    back = there_and_back(CLOUDPICKLE, array)
    assert (array.dtype, array.shape) == (back.dtype, back.shape)
    assert np.array_equal(array, back)
    assert back.flags.writeable >= array.flags.writeable


def test_fortran_order_is_kept() -> None:
    assert there_and_back(CLOUDPICKLE, np.asfortranarray(np.zeros((3, 4)))).flags.f_contiguous


def test_array_is_a_segment_of_its_own_that_is_not_copied() -> None:
    array = np.arange(1000)
    head, buffer = CLOUDPICKLE.dumps({"weights": array})
    assert len(head) < 1000
    assert memoryview(buffer).nbytes == array.nbytes
    assert np.shares_memory(array, np.frombuffer(buffer, dtype=array.dtype))


def test_two_arrays_come_back_as_two() -> None:
    first, second = there_and_back(CLOUDPICKLE, [np.arange(3), np.arange(3)])
    first[0] = 9
    assert second[0] == 0


def test_lambdas_and_closures_come_back() -> None:
    offset = 2
    assert there_and_back(CLOUDPICKLE, lambda x: x + offset)(40) == 42


@pytest.mark.parametrize(
    "error",
    [
        WithCode("lost", 3),
        WithoutArguments(),
        WithKeyword(code=4),
        WithNew("lost", 3),
        WithExit(3, "done"),
        WithDecode(b"\xff"),
        WithErrno("a file"),
        WithReduce("lost", 3),
        WithPrefix(3),
        WithSlots(3),
        ExceptionGroup("several", [WithCode("lost", 3)]),
        KeyError("key"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exception_comes_back_whatever_its_constructor_accepts(error: Any) -> None:
    error.add_note("a note")
    back = there_and_back(CLOUDPICKLE, error)
    assert type(back) is type(error)
    assert (str(back), repr(back.args), repr(vars(back))) == (str(error), repr(error.args), repr(vars(error)))
    for attribute in ("code", "reason", "filename", "object"):
        assert getattr(back, attribute, None) == getattr(error, attribute, None)


def local_classes() -> dict[str, Any]:
    """Objects of classes that are stored by value."""

    class Kind(Enum):
        FIRST = 1
        ALIAS = 1  # noqa: PIE796

    class Access(Flag):
        READ = 1
        WRITE = 2
        BOTH = 3

    class Caching:
        @cached_property
        def once(self) -> int:
            return 1

        @lru_cache  # noqa: B019
        def double(self, x: int) -> int:
            return 2 * x

        def __eq__(self, other: object) -> bool:
            return type(other) is type(self) and other.double(2) == 4 and other.once == 1

        __hash__ = object.__hash__

    return {"alias": Kind.ALIAS, "composite": Access.BOTH, "caches": Caching()}


@pytest.mark.parametrize("name", ["alias", "composite", "caches"])
def test_object_of_a_local_class_comes_back(name: str) -> None:
    value = local_classes()[name]
    assert there_and_back(CLOUDPICKLE, value) == value
    again = there_and_back(CLOUDPICKLE, [value, type(value)])
    assert again == [value, type(value)]


def test_class_that_cannot_be_copied_is_rejected_when_it_is_put() -> None:
    with pytest.raises(pickle.PicklingError, match=r"sys\.version_info.* no copy of it can be made"):
        CLOUDPICKLE.dumps({"python": sys.version_info})
    # As a Struct of msgspec has them.
    struct = type("Struct", (), {"__struct_fields__": ("a",)})
    with pytest.raises(pickle.PicklingError, match=r"Struct.* no copy of it can be made"):
        CLOUDPICKLE.dumps(struct())


def test_definition_of_another_python_names_both_versions() -> None:
    for_other = b"cdataclasses\nof_another_python\n."
    with pytest.raises(pickle.UnpicklingError, match=r"'Job' for cpython 3\.99, and this is"):
        load_main_object("Job", "", for_other, "cpython 3.99")
    with pytest.raises(AttributeError, match="of_another_python"):
        load_main_object("Job", "", for_other)


def test_path_is_read_by_every_python(monkeypatch: pytest.MonkeyPatch) -> None:
    value = [Path("/folder/file"), Path]
    with monkeypatch.context() as patched:
        # As in Python 3.13.
        for kind in (Path, type(value[0])):
            patched.setattr(kind, "__module__", "pathlib._local")
        patched.setitem(sys.modules, "pathlib._local", sys.modules["pathlib"])
        segments = [memoryview(bytes(segment)) for segment in CLOUDPICKLE.dumps(value)]
    assert CLOUDPICKLE.loads(segments) == value


def test_modules_come_back_as_themselves() -> None:
    assert json is there_and_back(CLOUDPICKLE, json)


@pytest.fixture
def script() -> Iterator[ModuleType]:
    """A module as a script or notebook is one: a reader has another of that name, without its classes."""
    real = sys.modules["__main__"]
    module = ModuleType("__main__")
    code = (
        "class Box:\n    def __init__(self, n):\n        self.n = n\n    def twice(self):\n        return 2 * self.n\n"
    )
    exec(code, module.__dict__)
    sys.modules["__main__"] = module
    yield module
    sys.modules["__main__"] = real


def test_object_of_a_scripts_own_class_comes_back_where_the_class_is_unknown(script: ModuleType) -> None:
    segments = [memoryview(bytes(segment)) for segment in CLOUDPICKLE.dumps(script.Box(21))]
    vars(script).pop("Box")
    assert CLOUDPICKLE.loads(segments).twice() == 42


def test_object_of_a_module_that_is_run_is_of_the_class_that_readers_import(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.__spec__ = ModuleSpec("app.worker", None)
    own, shared = script.Box, ModuleType("app.worker")
    segments = [memoryview(bytes(segment)) for segment in CLOUDPICKLE.dumps(own(21))]
    exec("class Box:\n    pass", shared.__dict__)
    monkeypatch.setitem(sys.modules, "app.worker", shared)
    assert type(CLOUDPICKLE.loads(segments)) is own
    vars(script).pop("Box")
    assert type(CLOUDPICKLE.loads(segments)) is shared.Box
    # Imported from yet another module: not what the writer had.
    shared.Box.__module__ = "app.other"
    assert CLOUDPICKLE.loads(segments).twice() == 42


def test_planted_pickle_is_never_loaded_by_json_and_bytes() -> None:
    planted = pickle.dumps(Loud())
    heard.clear()
    with pytest.raises(ValueError, match=r"codec can't decode|Expecting value"):
        JSON.loads([memoryview(planted)])
    assert BYTES.loads([memoryview(planted)]) == planted
    assert heard == []
    CLOUDPICKLE.loads([memoryview(planted)])
    assert heard == ["loaded"]


def test_only_cloudpickle_unpickles() -> None:
    assert [codec.uses_pickle for codec in (CLOUDPICKLE, JSON, BYTES)] == [True, False, False]


@pytest.mark.parametrize("name", ["pickle", "", "JSON", "yaml"])
def test_unknown_codec_is_invalid_and_the_message_names_those_there_are(name: str) -> None:
    with pytest.raises(InvalidError, match="bytes, cloudpickle, json"):
        get_codec(name)
