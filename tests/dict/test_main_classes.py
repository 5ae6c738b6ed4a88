"""Values and keys of the classes of a script, which every program imports as its own ``__main__``."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import uuid4

import pytest

from s3dict import Client, DeserializationError, Dict

pytestmark = pytest.mark.slow  # most tests start processes
DEFINITIONS = """
import abc, base64, dataclasses, enum, functools, pickle, sys, typing

import attrs, pydantic

class State(enum.Enum):
    OPEN = "open"
    DONE = "done"

    def after(self):
        return State.DONE

class Permission(enum.Flag):
    READ = 1
    WRITE = 2

@dataclasses.dataclass(frozen=True)
class Job:
    id: int
    state: State = State.OPEN

@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Point:
    x: int
    y: "float" = 0.5

class Base(abc.ABC):
    @abc.abstractmethod
    def size(self): ...

class Cached(Base):
    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return type(other) is type(self) and other.number == self.number

    def size(self):
        return {"a", "b", "c"} and [self.number for _ in range(2)]

    @functools.cached_property
    def double(self):
        return self.number * 2

    @classmethod
    def make(cls):
        return cls(1)

class Row(typing.NamedTuple):
    a: int
    b: str = "x"

class Model(pydantic.BaseModel):
    a: int = 3
    b: list[int] = pydantic.Field(default_factory=list)

    @pydantic.field_validator("a")
    @classmethod
    def check(cls, value):
        return value

@attrs.define
class Record:
    x: int = attrs.field(default=1)

    def more(self):
        return self.x + 1

class Outer:
    class Kind(enum.Enum):
        A = 1

class Node:
    def __init__(self):
        self.self = self

def function(x, point=Point(3)):
    return x, point

UserId = typing.NewType("UserId", int)
Parameters = typing.ParamSpec("Parameters")

@dataclasses.dataclass
class User:
    id: UserId

def call(*args: Parameters.args, **kwargs: Parameters.kwargs):
    return args

T = typing.TypeVar("T", bound=Base)

class Planet(enum.Enum):
    EARTH = (6.0, 6.4)
    MARS = (0.6, 3.4)
    RED = (0.6, 3.4)

    def __init__(self, mass, radius):
        self.mass = mass
        self.radius = radius

    def gravity(self):
        return self.mass / self.radius

class Word(str, enum.Enum):
    A = ("a", "the first")

    def __new__(cls, value, described):
        word = str.__new__(cls, value)
        word._value_ = value
        word.described = described
        return word

class Access(enum.IntFlag):
    NONE = 0
    READ = 1
    WRITE = 2
    BOTH = 3

class Rank(enum.IntFlag):
    LOW = 11
    HIGH = 37

@functools.lru_cache(maxsize=3)
def cached(x):
    return x + 1

class Caching:
    @functools.lru_cache
    def double(self, x):
        return 2 * x

    def __eq__(self, other):
        return type(other) is type(self)

    __hash__ = object.__hash__

class Operation(enum.Enum):
    NOTHING = 0

    @enum.member
    def DOUBLE(self):
        return 2

X = typing.TypeVar("X")

class Pair(pydantic.BaseModel, typing.Generic[X]):
    items: tuple[X, X]
"""
OBJECTS = """
OBJECTS = [
    State.DONE, Permission.READ | Permission.WRITE, Job(1), Point(1), Cached(2), Row(1), Model(), Record(),
    Outer.Kind.A, function, Cached, [Job(1, State.DONE), {State.OPEN: Point(2)}],
    UserId, User(UserId(3)), Parameters, call,
    T, Planet.MARS, Word.A, Access.BOTH, Access.NONE, Rank.HIGH, cached, Caching(), Pair[int](items=(1, 2)),
    Operation.NOTHING,
]
KEYS = [State.DONE, Permission.READ | Permission.WRITE, Job(1), (Point(1), "a"), Outer.Kind.A, frozenset({State.DONE})]
from s3dict._format.keys import KeyCodec
from s3dict._format.values import get_codec
CODEC, KEY_CODEC = get_codec("cloudpickle"), KeyCodec(True, str)

def write(value):
    print(base64.b64encode(CODEC.dumps(value)[0]).decode())

def read():
    return [CODEC.loads([memoryview(base64.b64decode(line))]) for line in sys.stdin]
"""


def run(script: str, *, stdin: str = "", path: Path | None = None, hash_seed: str = "random") -> str:
    """Return what a program prints that begins with the definitions: a file, or the text of ``python -c``."""
    text = DEFINITIONS + OBJECTS + dedent(script)
    if path is not None:
        path.write_text(text, encoding="utf-8")
    arguments = ["-c", text] if path is None else [str(path)]
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The pickles of all objects, as another program wrote them."""
    return run("for value in OBJECTS: write(value)", path=tmp_path_factory.mktemp("writer") / "writer.py")


def test_values_are_of_the_readers_own_classes(written: str, tmp_path: Path) -> None:
    script = """
        for value, expected in zip(read(), OBJECTS, strict=True):
            assert value == expected, (value, expected)
            assert type(value) is type(expected), (value, expected)
        print("read")
    """
    assert run(script, stdin=written, path=tmp_path / "reader.py") == "read\n"
    assert run(script, stdin=written) == "read\n"


def test_class_with_a_cached_property_works(written: str, tmp_path: Path) -> None:
    script = """
        cached = read()[4]
        print(cached.double, cached.size(), "double" in vars(cached), isinstance(cached, Cached))
    """
    assert run(script, stdin=written, path=tmp_path / "reader.py") == "4 [2, 2] True True\n"


def read_without_the_classes(written: str, folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has the values as `values`, and the names that existed before them as `before`."""
    reader = folder / "reader.py"
    reader.write_text(
        "import base64, sys\n"
        "from s3dict._format.values import get_codec\n"
        "before = set(globals())\n"
        "values = [get_codec('cloudpickle').loads([memoryview(base64.b64decode(line))]) for line in sys.stdin]\n"
        f"{program}",
        encoding="utf-8",
    )
    return subprocess.run(
        [sys.executable, str(reader)], input=written, capture_output=True, text=True, check=False, cwd=folder
    )


def test_program_without_the_classes_reads_values_by_definition(written: str, tmp_path: Path) -> None:
    done = read_without_the_classes(
        written,
        tmp_path,
        "print(values[0].name, values[2].id, values[4].double, values[9](1)[0], values[11][0].state.after().name)\n"
        "print(values[12](2), values[13].id, values[14].__name__, values[15](1))\n"
        "print(sorted(set(globals()) - before))\n",
    )
    assert done.stdout.splitlines() == ["DONE 1 4 1 DONE", "2 3 Parameters (1,)", "['before', 'values']"], done.stderr


def test_definition_contains_all_of_an_enum_caches_and_generic_models(written: str, tmp_path: Path) -> None:
    done = read_without_the_classes(
        written,
        tmp_path,
        "variable, mars, word, both, none, high, cached, caching, pair, nothing = values[16:]\n"
        "planet = type(mars)\n"
        "assert (variable.__name__, variable.__bound__.__name__) == ('T', 'Base')\n"
        "assert (mars.gravity(), mars.mass) == (0.6 / 3.4, 0.6) and planet.RED is mars is planet((0.6, 3.4))\n"
        "assert list(planet.__members__) == ['EARTH', 'MARS', 'RED'] and planet.EARTH.radius == 6.4\n"
        "assert (word, word.described) == ('a', 'the first')\n"
        "assert [both.name, none.name, high.name] == ['BOTH', 'NONE', 'HIGH'] and type(both).READ | 2 is both\n"
        "assert (cached(1), cached(1), cached.cache_info()[:3]) == (2, 2, (1, 1, 3))\n"
        "assert caching.double(2) == 4\n"
        "assert pair == type(pair)(items=(1, 2)) and type(pair).__name__ == 'Pair[int]'\n"
        "assert list(type(nothing).__members__) == ['NOTHING', 'DOUBLE']\n"
        "codec = get_codec('cloudpickle')\n"
        "again = codec.loads([memoryview(codec.dumps([mars, both])[0])])\n"
        "assert again == [mars, both] and again[0].mass == 0.6\n"
        "print('read')\n",
    )
    assert done.stdout == "read\n", done.stderr


OTHER_PYTHON = """
    from s3dict._format import main_objects
    main_objects.PYTHON = "cpython 3.0"
    for value in OBJECTS: write(value)
    write(lambda x: x)
"""


def test_values_of_another_version_of_python_are_of_the_readers_own_classes_or_rejected(tmp_path: Path) -> None:
    """Its bytecode would crash the reader."""
    *with_own, function = run(OTHER_PYTHON, path=tmp_path / "writer.py").splitlines(keepends=True)
    script = """
        for value, expected in zip(read(), OBJECTS, strict=True):
            assert value == expected and type(value) is type(expected), (value, expected)
        print("read")
    """
    assert run(script, stdin="".join(with_own), path=tmp_path / "reader.py") == "read\n"

    script = """
        class State(enum.Enum):
            OPEN = "open"
            DONE = "done"

        Cached.more = lambda self: 0
        del Job

        from pickle import UnpicklingError
        for line in sys.stdin:
            try:
                print(CODEC.loads([memoryview(base64.b64decode(line))]))
            except UnpicklingError as error:
                print("code of" in str(error) and "for cpython 3.0, and this is cpython 3." in str(error))
    """
    lines = "".join([with_own[0], with_own[2], with_own[4], function])
    assert run(script, stdin=lines, path=tmp_path / "reader.py").split() == ["True"] * 4


@pytest.mark.parametrize(
    "change",
    [
        "class State(enum.Enum):\n    OPEN = 'open'\n    DONE = 'finished'\n",
        "class State(enum.Enum):\n    OPEN = 'open'\n    DONE = 'done'\n    LOST = 'lost'\n",
        "class State(enum.Enum):\n    OPEN = 'open'\n    DONE = 'done'\n",
        "class State:\n    DONE = 'done'\n",
        "State = None\n",
    ],
    ids=["another value", "another member", "no method", "no enum", "no class"],
)
def test_value_of_another_definition_is_read_by_value_and_changes_nothing(
    written: str, tmp_path: Path, change: str
) -> None:
    script = (
        change
        + "own = dict(vars(State)) if isinstance(State, type) else None\n"
        + "state = read()[0]\n"
        + "assert type(state) is not State and (state.name, state.value) == ('DONE', 'done')\n"
        + "assert own is None or dict(vars(State)) == own\n"
        + "print('read')"
    )
    assert run(script, stdin=written, path=tmp_path / "reader.py") == "read\n"


def test_reading_in_the_writers_program_changes_no_class(tmp_path: Path) -> None:
    script = """
        stored = CODEC.dumps(Cached(1))
        Cached.extra = "added later"
        before = dict(vars(Cached))
        assert type(CODEC.loads([memoryview(stored[0])])) is Cached
        assert dict(vars(Cached)) == before
        print("same")
    """
    assert run(script, path=tmp_path / "program.py") == "same\n"


def test_lambdas_and_closures_go_by_value_and_refer_to_the_readers_classes(tmp_path: Path) -> None:
    script = """
        def outer(n):
            return lambda: (Job(n), State.DONE)
        write(outer(7))
        write(lambda: Point(1))
    """
    written = run(script, path=tmp_path / "writer.py")
    reader = """
        first, second = read()
        print(first() == (Job(7), State.DONE), second() == Point(1))
    """
    assert run(reader, stdin=written, path=tmp_path / "reader.py") == "True True\n"


def test_cyclic_value_is_read(tmp_path: Path) -> None:
    written = run("write(Node())", path=tmp_path / "writer.py")
    reader = "node = read()[0]; print(type(node) is Node, node.self is node)"
    assert run(reader, stdin=written, path=tmp_path / "reader.py") == "True True\n"


def test_children_of_multiprocessing_and_their_parent_share_classes(tmp_path: Path) -> None:
    script = """
        import multiprocessing

        def child(pickled):
            value = CODEC.loads([memoryview(pickled)])
            assert value == [Job(1, State.DONE)] and type(value[0]) is Job, value
            assert Job.__module__ == "__mp_main__"
            return CODEC.dumps(value)[0], KEY_CODEC.encode(State.DONE).data

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                pickled, key = pool.apply(child, (bytes(CODEC.dumps([Job(1, State.DONE)])[0]),))
            print(CODEC.loads([memoryview(pickled)]) == [Job(1, State.DONE)], key == KEY_CODEC.encode(State.DONE).data)
    """
    assert run(script, path=tmp_path / "program.py") == "True True\n"


def test_keys_have_the_same_bytes_in_every_program_and_come_back(tmp_path: Path) -> None:
    script = """
        for key in KEYS:
            data = KEY_CODEC.encode(key).data
            decoded = KEY_CODEC.decode(data)
            assert decoded == key and hash(decoded) == hash(key), key
            print(data.hex())
    """
    in_a_file = run(script, path=tmp_path / "program.py", hash_seed="1")
    assert len(set(in_a_file.split())) == 6
    assert run(script, hash_seed="2") == in_a_file


def test_memoized_function_with_such_arguments_has_one_key_in_every_program(tmp_path: Path) -> None:
    script = """
        from s3dict import Client, Dict, memoize
        d = Dict.from_name("d", create_if_missing=True, client=Client("main", driver="memory"))

        @memoize(d)
        def work(state, job):
            return state.after(), job

        assert work(State.OPEN, job=Job(1)) == (State.DONE, Job(1))
        assert d[work.key(State.OPEN, Job(1))] == (State.DONE, Job(1))
        print(KEY_CODEC.encode(work.key(State.OPEN, Job(1))).data.hex())
    """
    in_a_file = run(script, path=tmp_path / "program.py", hash_seed="1")
    assert run(script, hash_seed="2") == in_a_file


def test_entries_with_such_keys_are_found_after_a_read_of_another(tmp_path: Path) -> None:
    script = """
        from s3dict import Client, Dict
        d = Dict.from_name("d", create_if_missing=True, client=Client("main", driver="memory"))
        for key in KEYS:
            d[key] = key
        print([d[key] == key for key in KEYS], d.len() == len(KEYS), set(d.keys()) == set(KEYS))
        print([d.put(key, 2, skip_if_exists=True) for key in KEYS])
    """
    assert run(script, path=tmp_path / "program.py").splitlines() == [str([True] * 6) + " True True", str([False] * 6)]


def test_other_classes_are_rejected_as_keys_with_the_remedy(tmp_path: Path) -> None:
    script = """
        from s3dict import InvalidError
        @dataclasses.dataclass(frozen=True)
        class Partly:
            x: int
            y: int = dataclasses.field(default=0, compare=False)
        class Plain:
            pass
        def local():
            @dataclasses.dataclass(frozen=True)
            class Local:
                x: int
            return Local(1)
        for key in (Partly(1), Plain(), local(), function, Plain, (1, Plain())):
            try:
                KEY_CODEC.encode(key)
            except InvalidError as error:
                print("into a module" in str(error))
    """
    assert run(script, path=tmp_path / "program.py").split() == ["True"] * 6


def test_key_whose_class_is_missing_is_a_deserialization_error(tmp_path: Path) -> None:
    key = run("print(KEY_CODEC.encode(Job(1)).data.hex())", path=tmp_path / "program.py").strip()
    script = f"""
        from s3dict import DeserializationError
        del Job
        try:
            KEY_CODEC.decode(bytes.fromhex({key!r}))
        except DeserializationError as error:
            print("Job" in str(error), "into a module" in str(error))
    """
    assert run(script, path=tmp_path / "program.py") == "True True\n"


async def test_error_of_values_names_key_and_dict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_that_goes.py").write_text("class Thing:\n    pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    thing = importlib.import_module("module_that_goes").Thing
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=Client(f"b-{uuid4()}", driver="memory"))
    await d.put.aio("foo", thing())
    del sys.modules["module_that_goes"]
    (tmp_path / "module_that_goes.py").unlink()
    importlib.invalidate_caches()
    for read in (d.values, d.items, lambda: d.get("foo"), lambda: d.get_many(["foo"]), lambda: d.pop("foo")):
        with pytest.raises(DeserializationError, match="'foo'") as caught:
            list(read() or ())
        assert caught.value.dict_name == "d"
    with pytest.raises(DeserializationError, match=r"'foo'.*Dict 'd'"):
        [value async for value in d.values.aio()]
