"""Records behave as frozen dataclasses do."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any

import pytest

from s3dict._record import Record, as_dict, field, replace


class Point(Record):
    x: int
    y: int = 0
    hidden: str = field(default="h", repr=False)
    tags: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.x + self.y


class Small(Record):
    """So few fields that it has an initializer of its own."""

    x: int
    y: int = 0
    hidden: str = field(default="h", repr=False)


class Other(Record):
    x: int
    y: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Model:
    """The same as a dataclass."""

    x: int
    y: int = 0
    hidden: str = dataclasses.field(default="h", repr=False)
    tags: list[str] = dataclasses.field(default_factory=list)


def test_record_has_the_fields_and_defaults_of_a_dataclass() -> None:
    for values, named in (((1,), {}), ((1, 2), {"tags": ["a"]}), ((), {"y": 3, "x": 4}), ((1, 2, "3", []), {})):
        arguments: Any = values
        assert as_dict(Point(*arguments, **named)) == dataclasses.asdict(Model(*arguments, **named))
    assert Point(1).tags is not Point(1).tags
    assert Point(1, 2).total == 3


def test_record_is_shown_as_a_dataclass_is() -> None:
    assert repr(Point(1, tags=["a"])) == repr(Model(1, tags=["a"])).replace("Model", "Point")


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1,), {"x": 1}), ((1,), {"z": 1}), ((1, 2, "3", [], 5), {}), ((), {"y": 1})]
)
def test_record_rejects_the_arguments_that_a_dataclass_rejects(values: Any, named: Any) -> None:
    for kind in (Model, Point, Small):
        with pytest.raises(TypeError):
            kind(*values, **named)


def test_initializer_has_the_signature_of_the_fields() -> None:
    assert as_dict(Small(1)) == {"x": 1, "y": 0, "hidden": "h"}
    assert str(inspect.signature(Small)) == "(x, y=0, hidden='h')"
    assert as_dict(Small(y=2, x=1)) == {"x": 1, "y": 2, "hidden": "h"}
    with pytest.raises(TypeError, match=r"Small\.__init__\(\) missing 1 required positional argument: 'x'"):
        Small(y=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_records_are_equal_by_class_and_fields() -> None:
    assert Other(1, 2) == Other(1, 2)
    assert Other(1, 2) != Other(1, 3)
    assert Other(1, 2) != dataclasses.replace(Point(1, 2), tags=[])
    assert hash(Other(1, 2)) == hash(Other(1, 2))
    assert {Other(1, 2): "found"}[Other(1, 2)] == "found"


def test_records_are_immutable_and_have_no_dict() -> None:
    point: Any = Point(1)
    for name in ("x", "new"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(point, name, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.x
    assert not hasattr(point, "__dict__")


def test_records_are_copied_and_pickled() -> None:
    point = Point(1, 2, "h", ["a"])
    assert pickle.loads(pickle.dumps(point)) == point
    assert copy.copy(point) == point
    assert copy.deepcopy(point).tags is not point.tags


def test_record_matches_by_position() -> None:
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)


@pytest.mark.parametrize("change", [replace, dataclasses.replace])
def test_replace_changes_fields_alone(change: Any) -> None:
    assert change(Point(1, 2), x=3) == Point(3, 2)
    with pytest.raises(TypeError):
        change(Point(1, 2), z=3)


def test_dataclasses_take_a_record_for_one_of_theirs() -> None:
    record: Any = Point(1, 2)
    assert dataclasses.is_dataclass(record)
    assert [(each.name, each.repr) for each in dataclasses.fields(record)] == [
        (each.name, each.repr) for each in dataclasses.fields(Model)
    ]
    assert dataclasses.asdict(Point(1, 2)) == as_dict(Point(1, 2))
