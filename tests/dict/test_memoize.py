"""memoize, and values that `get_or_compute` computes again: keys, methods, counts, refreshes and what interferes."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import logging
import math
import pickle
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import cloudpickle
import pytest

from s3dict import CacheInfo, Client, Dict, InvalidError, SerializationError, code_hash, memoize
from s3dict._core.compute import Refresh
from s3dict._core.entries import LiveEntry, Version
from s3dict._core.locks import try_acquire
from s3dict._format.entry import EntryExpiry, ExpiryKind
from s3dict._stores.base import ServerTime
from s3dict._stores.shared.threads import run_blocking
from s3dict.testing import Clock

from ..support.modes import Harness, Mode

TTL = timedelta(minutes=10)
STALE = timedelta(minutes=5)
in_memory = pytest.mark.backends("memory")


@pytest.fixture
def results() -> Dict[Any, Any]:
    """A Dict in a bucket of its own."""
    return Dict.from_name("results", create_if_missing=True, client=Client(f"memoize-{uuid4()}", driver="memory"))


@pytest.fixture
def clock(results: Dict[Any, Any]) -> Clock:
    return Clock(results.client)


@pytest.fixture
def advance(clock: Clock) -> Callable[[timedelta], None]:
    return clock.advance


class TestMethods:
    def test_instance_is_part_of_the_key(self, results: Dict[Any, Any]) -> None:
        class Scorer:
            calls: list[int] = []  # noqa: RUF012 (shared by the instances)

            def __init__(self, factor: int) -> None:
                self.factor = factor

            def __hash__(self) -> int:
                return hash(self.factor)

            def __eq__(self, other: object) -> bool:
                return isinstance(other, Scorer) and self.factor == other.factor

            def __reduce__(self) -> Any:
                return int, (self.factor,)

            @memoize(results)
            def score(self, n: int) -> int:
                self.calls.append(n)
                return n * self.factor

        double, triple = Scorer(2), Scorer(3)
        assert [double.score(5), triple.score(5), Scorer(2).score(n=5)] == [10, 15, 10]
        assert Scorer.score(double, 5) == 10
        assert Scorer.calls == [5, 5]
        assert double.score.key(5) == Scorer.score.key(double, 5)
        assert double.score.forget(5) is True
        assert double.score.refresh(5) == 10
        assert double.score.cache_info() == Scorer.score.cache_info() == CacheInfo(2, 3)
        assert str(inspect.signature(double.score)) == "(n: 'int') -> 'int'"
        assert double.score == double.score != triple.score
        assert len({double.score, double.score, triple.score}) == 2

    def test_instance_can_be_ignored(self, results: Dict[Any, Any]) -> None:
        class Connection:
            @memoize(results, ignore=["self"])
            def fetch(self, url: str) -> str:
                return url.upper()

        assert [Connection().fetch("a"), Connection().fetch("a")] == ["A", "A"]
        assert Connection.fetch.cache_info() == CacheInfo(1, 1)

    def test_unhashable_instance_is_named(self, results: Dict[Any, Any]) -> None:
        class Rows(list[int]):
            @memoize(results)
            def total(self) -> int:
                return sum(self)

        with pytest.raises(TypeError, match=r"Rows\.total: the argument 'self' cannot be part of a key"):
            Rows([1]).total()

    def test_class_and_static_methods(self, results: Dict[Any, Any]) -> None:
        class Shape:
            sides = 3

            @memoize(results, key=lambda cls, scale: (cls.__name__, scale))
            @classmethod
            def outline(cls, scale: int) -> int:
                return cls.sides * scale

            @classmethod
            @memoize(results, key=lambda cls, more: (cls.__name__, more))
            def corners(cls, more: int) -> int:
                return cls.sides + more

            @memoize(results)
            @staticmethod
            def area(width: int) -> int:
                return width * width

            @staticmethod
            @memoize(results)
            def volume(width: int) -> int:
                return width**3

        class Square(Shape):
            sides = 4

        # mypy takes what is memoized above these decorators for an ordinary method.
        shape: Any = Shape
        square: Any = Square
        assert [shape.outline(2), square.outline(2), square().outline(2)] == [6, 8, 8]
        assert shape.outline.forget(2) is True
        assert [shape.corners(1), square().corners(1)] == [4, 5]
        assert [shape.area(3), shape().area(3), shape.volume(2), shape().volume(2)] == [9, 9, 8, 8]
        assert shape().area.key(3) == shape.area.key(3)
        assert shape().volume.cache_info() == CacheInfo(1, 1)

    def test_bound_methods_of_two_instances_do_not_share_results(self, results: Dict[Any, Any]) -> None:
        assert [memoize(results)(text.upper)() for text in ("a", "b", "a")] == ["A", "B", "A"]
        assert results.len() == 2

    async def test_coroutine_methods(self, results: Dict[Any, Any]) -> None:
        class Scorer:
            @memoize(results, ignore=["self"])
            async def score(self, n: int) -> int:
                return n + 1

        scorer = Scorer()
        assert inspect.iscoroutinefunction(scorer.score)
        assert [await scorer.score(1), await scorer.score.aio(1), await scorer.score.refresh(1)] == [2, 2, 2]
        assert await scorer.score.forget(1) is True


class TestKeys:
    def test_key_takes_the_place_of_the_arguments(self, results: Dict[Any, Any]) -> None:
        @memoize(results, key=lambda rows, factor: (sum(rows), factor))
        def total(rows: list[int], factor: int = 1) -> int:
            return sum(rows) * factor

        assert [total([1, 2]), total(rows=[3]), total([3], 1), total([3], factor=2)] == [3, 3, 3, 6]
        assert total.cache_info() == CacheInfo(2, 2)
        assert total.key([1, 2]) == total.key([3])

    def test_key_is_no_key_of_a_call_without_it(self, results: Dict[Any, Any]) -> None:
        def same(n: int) -> int:
            return n

        assert memoize(results)(same).key(1) != memoize(results, key=lambda n: n)(same).key(1)

    def test_what_key_returns_must_be_a_key(self, results: Dict[Any, Any]) -> None:
        @memoize(results, key=lambda rows: [rows])
        def total(rows: list[int]) -> int:
            return sum(rows)

        with pytest.raises(TypeError, match="what key= returned cannot be part of a key"):
            total([1])

    def test_ignored_arguments_of_every_kind(self, results: Dict[Any, Any]) -> None:
        @memoize(results, ignore=["session", "rest", "timeout", "verbose"])
        def fetch(session: object, url: str, *rest: object, timeout: float = 1, **options: object) -> str:
            return url

        keys = {
            fetch.key([], "a"),
            fetch.key({}, "a", [], timeout=5),
            fetch.key(session=None, url="a", verbose=[]),
        }
        assert len(keys) == 1
        assert fetch.key([], "a", quiet=True) not in keys

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"ignore": "self"}, r"pass \['self'\]"),
            ({"ignore": ["n"], "key": str}, "mutually exclusive"),
            ({"ignore": ["m"]}, r"no argument 'm' to ignore\. It has: n$"),
            ({"version": 2}, "Invalid version"),
            ({"version": lambda function: None}, "Invalid version"),
            ({"stale": 5}, "pass a ttl"),
            ({"early": 1}, "pass a ttl"),
            ({"ttl": 60, "stale": -1}, "Invalid stale"),
            ({"ttl": 60, "stale": "5"}, "number of seconds or a timedelta"),
            ({"ttl": 60, "early": True}, "Invalid early"),
            ({"ttl": 60, "early": math.inf}, "Invalid early"),
        ],
    )
    def test_wrong_options_are_rejected(self, results: Dict[Any, Any], options: Any, message: str) -> None:
        def same(n: int) -> int:
            return n

        with pytest.raises(InvalidError, match=message):
            memoize(results, **options)(same)

    def test_version_is_part_of_the_key(self, results: Dict[Any, Any]) -> None:
        def same(n: int) -> int:
            return n

        keys = {memoize(results, version=version)(same).key(1) for version in (None, "1", "2")}
        assert len(keys) == 3
        assert memoize(results, version="1", key=str)(same).key(1) not in keys

    def test_version_of_changed_code(self, results: Dict[Any, Any]) -> None:
        def defined(source: str) -> Callable[[int], int]:
            names: dict[str, Any] = {"__name__": "model"}
            exec(source, names)
            function: Callable[[int], int] = names["predict"]
            return function

        first = memoize(results, version=code_hash)(defined("def predict(n): return n + 1"))
        assert first(1) == 2
        del first
        assert memoize(results, version=code_hash)(defined("def predict(n): return n + 2"))(1) == 3
        gc.collect()
        again = memoize(results, version=code_hash)(defined("\n\ndef predict(n):\n    # a comment\n    return n + 2"))
        assert again(1) == 3
        assert again.cache_info() == CacheInfo(1, 0)
        assert code_hash(again) == code_hash(defined("def predict(n): return n + 2"))
        with pytest.raises(InvalidError, match="has no code to hash"):
            code_hash(len)

    def test_function_without_a_signature_is_rejected(self, results: Dict[Any, Any]) -> None:
        with pytest.raises(InvalidError, match="Python does not know its arguments"):
            memoize(results)(max)

    async def test_argument_that_cannot_be_stored_in_a_key_is_named(self, results: Dict[Any, Any]) -> None:
        @memoize(results)
        def call(url: str, guard: object = None, **options: object) -> str:
            return url

        lock = threading.Lock()
        for made in (lambda: call("a", lock), lambda: call(guard=lock, url="a")):
            with pytest.raises((InvalidError, SerializationError), match="call: the argument 'guard' cannot be part"):
                await asyncio.to_thread(made)
        with pytest.raises((InvalidError, SerializationError), match="the argument 'options' cannot be part"):
            await call.aio("a", lock=lock)
        assert call.cache_info() == CacheInfo(0, 0)

    def test_errors_of_the_function_are_its_own(self, results: Dict[Any, Any]) -> None:
        @memoize(results)
        def fail(n: int) -> int:
            raise InvalidError("mine")

        with pytest.raises(InvalidError, match=r"^mine"):
            fail(1)
        assert fail.cache_info() == CacheInfo(0, 1)

    def test_stop_iteration_of_the_function_is_raised_as_it_is(self, results: Dict[Any, Any]) -> None:
        """Not as the RuntimeError that Python makes of it where a coroutine raises it."""

        @memoize(results)
        def first(numbers: tuple[int, ...]) -> int:
            return next(iter(numbers))

        with pytest.raises(StopIteration):
            first(())
        with pytest.raises(StopIteration):
            results.modify("k", lambda _: next(iter(())), 0)
        assert first((3, 4)) == 3

    def test_script_and_its_child_processes_share_results(self, results: Dict[Any, Any]) -> None:
        def named(module: str) -> Any:
            def square(n: int) -> int:
                return n * n

            square.__module__ = module
            return memoize(results)(square)

        assert named("__main__").key(1) == named("__mp_main__").key(1)


class TestMemoizedFunction:
    async def test_methods_block_and_have_aio(self, results: Dict[Any, Any]) -> None:
        @memoize(results)
        def square(n: int) -> int:
            """Square a number."""
            return n * n

        def blocking() -> list[Any]:
            return [square(3), square.refresh(3), square.forget(3), square.forget(3), square.cache_info()]

        assert await asyncio.to_thread(blocking) == [9, 9, True, False, CacheInfo(0, 2)]
        assert [await square.aio(3), await square.refresh.aio(3), await square.forget.aio(3)] == [9, 9, True]
        for coroutine_function in (square.aio, square.refresh.aio, square.forget.aio):
            assert inspect.iscoroutinefunction(coroutine_function)
        assert not inspect.iscoroutinefunction(square)
        assert square.__doc__ == "Square a number."
        assert repr(square).startswith("<memoized tests.dict.test_memoize.")
        with pytest.raises(TypeError, match=r"^tests\.dict\.test_memoize\..*square: missing a required argument: 'n'"):
            square()  # type: ignore[call-arg]

    async def test_coroutine_function_stays_one(self, results: Dict[Any, Any]) -> None:
        @memoize(results)
        async def square(n: int) -> int:
            return n * n

        assert inspect.iscoroutinefunction(square)
        assert [await square(3), await square.aio(3), await square.refresh(3), await square.refresh.aio(3)] == [9] * 4
        assert await square.forget(3) is True
        assert square.cache_info() == CacheInfo(1, 3)

    async def test_many_calls_at_a_time_compute_once(self, results: Dict[Any, Any]) -> None:
        calls: list[int] = []

        @memoize(results)
        async def square(n: int) -> int:
            calls.append(n)
            await asyncio.sleep(0.01)
            return n * n

        assert await asyncio.gather(*(square(3) for _ in range(8))) == [9] * 8
        assert (calls, square.cache_info()) == ([3], CacheInfo(7, 1))

    def test_module_level_function_is_pickled_by_its_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for dumps in (pickle.dumps, cloudpickle.dumps):
            assert pickle.loads(dumps(cubed)) is cubed
        pickled = pickle.loads(pickle.dumps(Cuber().cube))
        assert pickled.key(2)[1][1:] == (2,)

    def test_function_of_a_script_is_pickled_with_its_code(self, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text(
            textwrap.dedent("""
            import pickle, sys
            import cloudpickle
            from s3dict import Client, Dict, memoize
            results = Dict.from_name("r", create_if_missing=True, client=Client("b", driver="memory"))

            @memoize(results, version="1", ignore=["m"])
            def square(n, m=0):
                return square(n - 1) + 2 * n - 1 if n else 0

            assert pickle.loads(pickle.dumps(square)) is square
            sys.stdout.buffer.write(cloudpickle.dumps(square))
            """)
        )
        written = subprocess.run([sys.executable, script], check=True, capture_output=True).stdout
        square = pickle.loads(written)
        assert (square(4), square.key(4, m=5)) == (16, ("__main__.square", (4, None), (), (), "1"))

    def test_decorators_recognise_it(self, results: Dict[Any, Any]) -> None:
        class Owner:
            @property
            @memoize(results, ignore=["self"])
            def size(self) -> int:
                return 3

        @functools.wraps(cubed)
        def wrapper(n: int) -> int:
            return cubed(n)

        assert Owner().size == 3
        assert inspect.unwrap(wrapper)(2) == 8 == functools.partial(memoize(results)(pow), 2)(3)


@pytest.mark.backends("memory", "moto")
class TestReportsAboutOtherLibraries:
    """What users of other caches have reported, over the memory store and a driver."""

    @pytest.fixture
    def stored(self, client: Client) -> Dict[Any, Any]:
        return Dict.from_name("reports", create_if_missing=True, client=client)

    def test_spellings_of_a_call_share_a_result(self, stored: Dict[Any, Any]) -> None:
        """tkem/cachetools#339, grantjenks/python-diskcache#264, lonelyenvoy/python-memoization#6."""

        @memoize(stored)
        def area(width: int, *, height: int = 2, **options: int) -> int:
            return width * height

        calls = [
            area(3),
            area(width=3),
            area(3, height=2),
            area(height=2, width=3),
            area(3, b=1, a=2),
            area(3, a=2, b=1),
        ]
        assert (calls, area.cache_info()) == ([6] * 6, CacheInfo(4, 2))

    def test_names_and_values_of_keywords_are_not_mixed_up(self, stored: Dict[Any, Any]) -> None:
        """peterbe/django-cache-memoize#50."""

        @memoize(stored)
        def shown(*args: str, **kwargs: str) -> str:
            return f"{args} {kwargs}"

        assert shown(a="b=1") != shown(**{"a=b": "1"})
        assert shown("a", "b") != shown("b", "a") != shown("a", b="b") != shown("ab")

    def test_keys_of_results_can_be_iterated_over_and_used(self, stored: Dict[Any, Any]) -> None:
        """grantjenks/python-diskcache#195."""
        memoize(stored, version="1", key=lambda n, m: (n, m))(named_sum)(1, m=2)
        memoize(stored)(named_sum)(3)
        assert sorted(stored[key] for key in stored.keys()) == [3, 5]  # noqa: SIM118 (it is not a dict)

    def test_callable_instance_is_memoized_by_its_fields(self, stored: Dict[Any, Any]) -> None:
        """joblib/joblib#981."""
        call = memoize(stored)(Parabola.__call__)
        assert [call(Parabola(1, 2), 3), call(Parabola(1, 2), 3), call(Parabola(2, 2), 3)] == [11, 11, 20]
        assert call.cache_info() == CacheInfo(1, 2)

    def test_result_that_is_changed_by_its_caller_stays(self, stored: Dict[Any, Any]) -> None:
        """praekeltfoundation/vumi#192: a store in memory that returns what it holds."""

        @memoize(stored)
        def rows() -> list[int]:
            return made

        made = [1]
        rows().append(2)
        rows().append(3)
        made.append(4)
        assert (rows(), made) == ([1], [1, 2, 4])

    def test_none_is_a_result(self, stored: Dict[Any, Any]) -> None:
        @memoize(stored)
        def nothing(n: int) -> None:
            return None

        assert (nothing(1), nothing(1), nothing.cache_info()) == (None, None, CacheInfo(1, 1))

    def test_exception_is_not_stored(self, stored: Dict[Any, Any]) -> None:
        @memoize(stored)
        def divide(n: int) -> float:
            return 1 / n

        for _ in range(2):
            with pytest.raises(ZeroDivisionError) as caught:
                divide(0)
            assert caught.value.__cause__ is caught.value.__context__ is None
        assert divide.cache_info() == CacheInfo(0, 2)

    def test_two_notebooks_with_one_function_name(self, stored: Dict[Any, Any]) -> None:
        """joblib/joblib#1096."""

        def cell(source: str) -> Any:
            names: dict[str, Any] = {"__name__": "__main__"}
            exec(source, names)
            return memoize(stored, version=code_hash)(names["f"])

        assert [cell("def f(): return 'A'")(), cell("def f(): return 'B'")()] == ["A", "B"]


def named_sum(n: int, m: int = 2) -> int:
    return n + m


@dataclass(frozen=True)
class Parabola:
    a: int
    b: int

    def __call__(self, x: int) -> int:
        return self.a * x**2 + self.b


shared: Dict[Any, Any] = Dict.from_name("shared", create_if_missing=True, client=Client("memoize", driver="memory"))


@memoize(shared)
def cubed(n: int) -> int:
    return n**3


class Cuber:
    @memoize(shared)
    def cube(self, n: int) -> int:
        return n**3


class TestRefresh:
    """`refresh` and what comes between."""

    @in_memory
    async def test_replaces_whatever_there_is(self, d: Any) -> None:
        assert await d.get_or_compute("k", lambda: 1, refresh=True) == 1
        assert await d.get_or_compute("k", lambda: 2, refresh=True) == 2
        assert await d.get_or_compute("k", lambda: 3) == 2

    @in_memory
    async def test_replaces_what_was_put_during_the_computation(self, harness: Harness, d: Any) -> None:
        other: Dict[Any, Any] = Dict.from_name("d", client=harness.client)
        await d.put("k", 1)

        async def compute() -> int:
            await other.put.aio("k", 2)
            return 3

        function = compute if harness.mode is Mode.ASYNCIO else lambda: other.put("k", 2) and 3
        assert await d.get_or_compute("k", function, refresh=True) == 3
        assert await d.get("k") == 3

    def test_waits_for_a_computation_that_may_have_begun_with_older_data(self, results: Dict[Any, Any]) -> None:
        source, begun, changed = ["old"], threading.Event(), threading.Event()

        @memoize(results)
        def read() -> str:
            found = source[0]
            begun.set()
            changed.wait()
            return found

        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(read)
            begun.wait()
            source[0] = "new"
            refreshed = pool.submit(read.refresh)
            changed.set()
            assert (first.result(), refreshed.result()) == ("old", "new")
        assert read() == "new"

    def test_entry_that_cannot_be_read_is_replaced(self, results: Dict[Any, Any]) -> None:
        @memoize(results)
        def square(n: int) -> int:
            return n * n

        results[square.key(2)] = Vanishing()
        with pytest.raises(Exception, match="vanished"):
            square(2)
        assert square.refresh(2) == square(2) == 4

    def test_lost_lock_leaves_what_was_computed_later(
        self, results: Dict[Any, Any], advance: Callable[[timedelta], None]
    ) -> None:
        with ThreadPoolExecutor(1) as pool:

            def paused() -> int:
                advance(timedelta(minutes=1))
                assert pool.submit(results.get_or_compute, "k", lambda: 2, refresh=True).result() == 2
                return 1

            assert results.get_or_compute("k", paused, refresh=True) == 2
        assert results["k"] == 2


class Vanishing:
    """It can be pickled, and not unpickled."""

    def __reduce__(self) -> Any:
        return vanish, ()


def vanish() -> None:
    raise LookupError("it has vanished")


class TestStale:
    """A value past its ttl, which one caller computes again."""

    @pytest.fixture
    def compute(self, results: Dict[Any, Any]) -> Callable[[Callable[[], Any]], Any]:
        return lambda function: results.get_or_compute("k", function, ttl=TTL, stale=STALE)

    def test_fresh_value_is_returned_and_an_expired_one_is_computed(
        self, compute: Any, advance: Callable[[timedelta], None]
    ) -> None:
        assert [compute(lambda: 1), compute(lambda: 2)] == [1, 1]
        advance(TTL + STALE + timedelta(seconds=2))
        assert compute(lambda: 3) == 3

    def test_others_are_returned_the_stale_value_meanwhile(
        self, compute: Any, advance: Callable[[timedelta], None]
    ) -> None:
        compute(lambda: 1)
        advance(TTL + timedelta(seconds=2))
        with ThreadPoolExecutor(1) as pool:

            def function() -> int:
                assert pool.submit(compute, lambda: 3).result() == 1
                return 2

            assert compute(function) == 2
        assert compute(lambda: 3) == 2

    def test_failure_returns_the_stale_value_and_is_logged(
        self, compute: Any, advance: Callable[[timedelta], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail() -> int:
            raise OSError("the source is down")

        compute(lambda: 1)
        advance(TTL + timedelta(seconds=2))
        with caplog.at_level(logging.WARNING, "s3dict"):
            assert compute(fail) == 1
        assert "Dict 'results': computing the value for 'k' again failed" in caplog.text
        assert "the source is down" in caplog.text
        assert compute(lambda: 2) == 2
        with pytest.raises(KeyboardInterrupt):
            advance(TTL + timedelta(seconds=2))
            compute(interrupt)

    def test_process_that_died_is_replaced_after_its_lease(
        self, results: Dict[Any, Any], compute: Any, advance: Callable[[timedelta], None]
    ) -> None:
        compute(lambda: 1)
        advance(TTL + timedelta(seconds=2))
        entries: Any = run_blocking(results._open())
        lock = results._lock_target(entries, "compute", entries.codec.keys.encode("k").data, "", "k")
        assert run_blocking(try_acquire(lock, 30)) is not None
        assert compute(lambda: 2) == 1
        advance(timedelta(seconds=32))
        assert compute(lambda: 3) == 3

    @pytest.mark.parametrize(("interfere", "expected"), [("put", 5), ("discard", None)])
    def test_what_was_put_or_removed_meanwhile_stays(
        self,
        results: Dict[Any, Any],
        compute: Any,
        advance: Callable[[timedelta], None],
        interfere: str,
        expected: int | None,
    ) -> None:
        compute(lambda: 1)
        advance(TTL + timedelta(seconds=2))

        def function() -> int:
            results.put("k", 5) if interfere == "put" else results.discard("k")
            return 2

        assert compute(function) == (expected or 2)
        assert results.get("k") == expected

    def test_value_that_was_computed_between_read_and_lock_is_returned(
        self, results: Dict[Any, Any], compute: Any, advance: Callable[[timedelta], None], monkeypatch: Any
    ) -> None:
        compute(lambda: 1)
        advance(TTL + timedelta(seconds=2))

        async def late(*args: Any) -> Any:
            results.put("k", 2, ttl=TTL + STALE)
            return await try_acquire(*args)

        monkeypatch.setattr("s3dict._core.compute.try_acquire", late)
        assert compute(lambda: 3) == 2

    def test_reader_that_cannot_lock_is_returned_the_stale_value(
        self, compute: Any, advance: Callable[[timedelta], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from s3dict import PermissionDeniedError

        async def denied(*args: Any) -> Any:
            raise PermissionDeniedError("read only")

        compute(lambda: 1)
        advance(TTL + timedelta(seconds=2))
        monkeypatch.setattr("s3dict._core.compute.try_acquire", denied)
        assert compute(lambda: 2) == 1

    def test_total_must_not_exceed_the_ttl_of_the_dict(self, results: Dict[Any, Any]) -> None:
        with pytest.raises(InvalidError, match="Invalid ttl of an entry"):
            results.get_or_compute("k", lambda: 1, ttl=timedelta(days=6), stale=timedelta(days=2))


def interrupt() -> None:
    raise KeyboardInterrupt


class TestEarly:
    """XFetch: the draw is injected, so the moment is known."""

    @pytest.fixture
    def draw(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
        return lambda number: monkeypatch.setattr("s3dict._core.compute.random.random", lambda: number)

    def test_margin_is_that_of_the_paper(self, draw: Callable[[float], None]) -> None:
        written = datetime(2030, 1, 1, tzinfo=UTC)

        def is_needed(seconds: float, compute_ms: int = 10_000, **options: Any) -> bool:
            now = ServerTime(written + timedelta(seconds=seconds))
            expiry = EntryExpiry(ExpiryKind.DEADLINE, int(written.timestamp()) + 100, compute_ms)
            return Refresh(**options).is_needed(LiveEntry(1, Version(b"", ""), written, now, expiry))

        draw(1 - math.exp(-2))
        # 10 s x beta x 2 before it expires.
        assert [is_needed(79, early=1), is_needed(80, early=1), is_needed(59, early=2), is_needed(60, early=2)] == [
            *(False, True, False, True)
        ]
        assert [is_needed(69, early=1, stale=10), is_needed(70, early=1, stale=10)] == [False, True]
        assert [is_needed(0, early=5), is_needed(99, compute_ms=0, early=1), is_needed(99)] == [True, False, False]
        draw(0.0)
        assert is_needed(99, early=1) is False

    def test_is_computed_again_before_it_expires(
        self, results: Dict[Any, Any], advance: Callable[[timedelta], None], draw: Callable[[float], None]
    ) -> None:
        def compute(value: int) -> Any:
            def slow() -> int:
                # By the clock of the process, as a computation of two seconds.
                advance(timedelta(seconds=2))
                return value

            return results.get_or_compute("k", slow, ttl=100, early=1)

        draw(1 - math.exp(-20))
        assert compute(1) == 1
        assert 2000 <= self.compute_ms(results) < 60_000
        assert compute(2) == 1
        advance(timedelta(seconds=65))
        assert [compute(3), compute(4)] == [3, 3]

    def test_duration_stays_with_the_entry(self, results: Dict[Any, Any]) -> None:
        results.get_or_compute("k", lambda: threading.Event().wait(0.002), ttl=100, early=1)
        duration = self.compute_ms(results)
        assert duration >= 2
        results.modify("k", lambda value: value)
        assert self.compute_ms(results) == duration
        results.put("k", 1, ttl=100)
        assert self.compute_ms(results) == 0

    def test_duration_is_stored_only_where_it_is_used(self, results: Dict[Any, Any]) -> None:
        for options in ({}, {"ttl": 100}, {"ttl": 100, "stale": 10}):
            results.get_or_compute(str(options), lambda: threading.Event().wait(0.002), **options)  # type: ignore[arg-type]
            assert self.compute_ms(results, str(options)) == 0

    @staticmethod
    def compute_ms(results: Dict[Any, Any], key: str = "k") -> int:
        entries: Any = run_blocking(results._open())
        live = run_blocking(entries.read(key))
        return 0 if live.expiry is None else int(live.expiry.compute_ms)


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    yield
    shared.clear()


@in_memory
def test_memoized_function_does_not_outlive_its_use_by_its_client() -> None:
    def define() -> weakref.ref[Client]:
        client = Client("forgotten", driver="memory")

        @memoize(Dict.from_name("d", create_if_missing=True, client=client))
        def double(number: int) -> int:
            return number * 2

        assert double(2) == 4
        return weakref.ref(client)

    client = define()
    gc.collect()
    assert client() is None
