"""A Dict behaves as Python programmers expect of any object: inspection, mocks, frameworks, mistakes, durations."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import pickle
import pydoc
import subprocess
import sys
import threading
import time
import traceback
import typing
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import AsyncMock, create_autospec, patch
from uuid import uuid4

import pytest

from s3dict import Client, Dict, Error, InvalidError, LockTimeoutError, NotFoundError, SerializationError, _aio, memoize
from s3dict.errors import BlockingCallWarning, NotHydratedError

from ..support.modes import Harness, Mode, client_at
from ..support.proxy import Proxy
from ..support.retries import quick

METHODS = ["get", "put", "pop", "contains", "len", "entry", "update", "modify", "get_or_compute", "hydrate", "clear"]
ITERATORS = ["keys", "values", "items"]


@pytest.fixture
def d() -> Dict[Any, Any]:
    return handle()


@pytest.fixture
def unwarned(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not warned of a blocking call yet."""
    monkeypatch.setattr(_aio, "_reported", threading.Lock())


class TestInspection:
    @pytest.mark.parametrize("name", METHODS)
    def test_aio_is_a_coroutine_function(self, d: Dict[Any, Any], name: str) -> None:
        method = getattr(d, name)
        assert inspect.iscoroutinefunction(method.aio)
        assert inspect.iscoroutinefunction(functools.partial(method.aio, "k"))
        assert inspect.iscoroutinefunction(getattr(Dict, name).aio)
        assert not inspect.iscoroutinefunction(method)
        assert not inspect.iscoroutinefunction(inspect.unwrap(method))

    @pytest.mark.parametrize("name", ITERATORS)
    def test_aio_of_an_iterator_is_an_asynchronous_generator_function(self, d: Dict[Any, Any], name: str) -> None:
        assert inspect.isasyncgenfunction(getattr(d, name).aio)
        assert inspect.isasyncgenfunction(getattr(Dict, name).aio)
        assert not inspect.isasyncgenfunction(getattr(d, name))

    @pytest.mark.parametrize("name", METHODS + ITERATORS)
    def test_signatures_have_no_star_arguments_and_the_body_documents_both(self, d: Dict[Any, Any], name: str) -> None:
        method, function = getattr(d, name), getattr(Dict, name)
        signature = inspect.signature(method)
        assert "args" not in signature.parameters
        assert signature.parameters == inspect.signature(method.aio).parameters
        assert list(inspect.signature(function).parameters) == ["self", *signature.parameters]
        for documented in (method, method.aio, function, function.aio):
            first_line = str(inspect.getdoc(documented)).splitlines()[0]
            assert first_line in pydoc.plain(pydoc.render_doc(documented))
            assert documented.__name__ == name

    @pytest.mark.parametrize("name", METHODS + ITERATORS)
    def test_names_of_annotations_are_found(self, d: Dict[Any, Any], name: str) -> None:
        method = getattr(d, name)
        for documented in (method, method.aio):
            assert {"K", "V", "Client"} <= documented.__globals__.keys()

    def test_iterators_return_iterators_and_aio_generators(self, d: Dict[Any, Any]) -> None:
        assert inspect.signature(d.items).return_annotation == "Iterator[tuple[K, V]]"
        assert inspect.signature(d.items.aio).return_annotation == "AsyncGenerator[tuple[K, V], None]"

    def test_class_is_documented_with_its_methods(self) -> None:
        text = pydoc.plain(pydoc.render_doc(Dict))
        assert " put(self, key" in text
        assert " items(self) -> 'Iterator[tuple[K, V]]'" in text
        assert "_BoundDual" not in text

    def test_functions_of_the_class_take_a_handle(self, d: Dict[Any, Any]) -> None:
        functions: Any = Dict
        functions.put(d, "k", 1)
        assert functions.get(d, "k", None) == 1
        assert list(functions.keys(d)) == ["k"]
        with pytest.raises(TypeError):
            functions.put(d)

    async def test_coroutine_functions_of_the_class_take_a_handle(self, d: Dict[Any, Any]) -> None:
        functions: Any = Dict
        await functions.put.aio(d, "k", 1)
        assert [key async for key in functions.keys.aio(d)] == ["k"]

    def test_bound_methods_compare_as_those_of_any_object(self, d: Dict[Any, Any]) -> None:
        other = Dict.from_name("d", client=d.client)
        assert d.put == d.put
        assert hash(d.put) == hash(d.put)
        assert len({d.put, d.get, other.put, d.put}) == 3
        assert d.put.__self__ is d

    def test_bound_method_is_one_for_inspect(self, d: Dict[Any, Any]) -> None:
        bound: Any = d.put
        assert inspect.ismethod(bound)

    def test_members_of_a_handle_are_listed_without_a_request(self) -> None:
        handle = Dict.from_name("nowhere", client=Client("nowhere", driver="boto3", endpoint_url="http://localhost:1"))
        members = dict(inspect.getmembers(handle))
        assert {"put", "keys", "name", "client"} <= members.keys()
        assert "object_id" not in members

    def test_unknown_attributes_are_missing_and_not_errors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("S3DICT_BUCKET", raising=False)
        handle = Dict.from_name("d")
        assert not hasattr(handle, "object_id")
        assert not hasattr(handle, "client")
        assert getattr(handle, "object_id", None) is None
        with pytest.raises(NotHydratedError, match="call hydrate"):
            handle.object_id  # noqa: B018 (it raises)
        with pytest.raises(InvalidError, match="S3DICT_BUCKET"):
            handle.client  # noqa: B018 (it raises)


class TestMocks:
    @pytest.mark.parametrize(
        "make",
        [lambda: create_autospec(Dict, instance=True), lambda: create_autospec(handle())],
        ids=["class", "handle"],
    )
    def test_autospec_has_the_methods_with_their_signatures(self, make: Callable[[], Any]) -> None:
        mock = make()
        mock.get.return_value = 3
        assert mock.get("k") == 3
        assert mock.get("k", default=None) == 3
        with pytest.raises(TypeError):
            mock.put("k")
        with pytest.raises(AttributeError):
            mock.fetch("k")

    async def test_autospec_of_the_class_awaits_aio(self) -> None:
        mock = create_autospec(Dict, instance=True)
        assert isinstance(mock.get.aio, AsyncMock)
        mock.get.aio.return_value = 3
        assert await mock.get.aio("k") == 3

    @pytest.mark.parametrize("name", ["get", "items"])
    def test_method_of_the_class_is_patched(self, d: Dict[Any, Any], name: str) -> None:
        with patch.object(Dict, name) as mock:
            mock.return_value = 3
            assert getattr(d, name)("k") == 3
        assert callable(getattr(d, name).aio)

    @pytest.mark.parametrize("name", ["get", "keys"])
    def test_method_of_the_class_is_patched_by_its_signature(self, d: Dict[Any, Any], name: str) -> None:
        with patch.object(Dict, name, autospec=True, return_value=3) as mock:
            arguments = ("k",) if name == "get" else ()
            assert getattr(d, name)(*arguments) == 3
            mock.assert_called_once_with(d, *arguments)
            with pytest.raises(TypeError):
                getattr(d, name)(1, 2, 3)
        assert vars(Dict)["contains"](d, "k") is False

    def test_autospec_of_the_class_makes_handles(self) -> None:
        mock = create_autospec(Dict)
        mock.from_name("d", create_if_missing=True)
        with pytest.raises(TypeError):
            mock.from_name()


def handle() -> Dict[Any, Any]:
    """Return a new Dict, in a bucket of its own."""
    return Dict.from_name("d", create_if_missing=True, client=Client(f"idioms-{uuid4()}", driver="memory"))


class TestFrameworks:
    async def test_background_task_of_starlette_writes(self, d: Dict[Any, Any]) -> None:
        background = pytest.importorskip("starlette.background")
        tasks = background.BackgroundTasks()
        tasks.add_task(d.put.aio, "a", 1)
        tasks.add_task(d.put, "b", 2)
        await tasks()
        assert await d.get_many.aio(["a", "b"]) == {"a": 1, "b": 2}

    def test_asyncio_methods_need_asyncio(self, d: Dict[Any, Any]) -> None:
        trio = pytest.importorskip("trio")

        async def call() -> None:
            await d.put.aio("a", 1)

        async def iterate() -> None:
            async for _ in d.keys.aio():
                pass

        async def hold() -> None:
            async with d.lock("a"):
                pass

        async def scratch() -> None:
            async with Dict.ephemeral(client=d.client):
                pass

        async def listed() -> None:
            await Dict.objects.list.aio(client=d.client)

        for used in (call, iterate, hold, scratch, listed):
            with pytest.raises(InvalidError, match="need a running asyncio event loop"):
                trio.run(used)
        with pytest.raises(InvalidError, match="need a running asyncio event loop"):
            d.put.aio("a", 1).send(None)

    @pytest.mark.parametrize(("patched", "driver"), [(True, "boto3"), (False, "obstore")])
    def test_driver_under_gevent(self, monkeypatch: pytest.MonkeyPatch, patched: bool, driver: str) -> None:
        pytest.importorskip("obstore")
        monkey = ModuleType("gevent.monkey")
        monkey.is_module_patched = lambda name: patched and name == "socket"  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
        assert Client("b").driver == driver
        assert Client("b", driver="obstore").driver == "obstore"


class TestCoroutineFunctionsInBlockingCalls:
    async def add(self, n: int) -> int:
        return n + 1

    @pytest.mark.parametrize(
        "call",
        [
            lambda d, f: d.modify("k", f, default=1),
            lambda d, f: d.modify("k", lambda n: f(n), default=1),  # noqa: PLW0108 (it is no coroutine function)
            lambda d, f: d.modify("k", functools.partial(f), default=1),
            lambda d, f: d.get_or_compute("m", functools.partial(f, 1)),
            lambda d, f: d.get_or_compute("m", lambda: f(1)),
            lambda d, f: memoize(d)(plain_wrapper(f))(1),
        ],
    )
    def test_coroutine_function_names_aio(self, d: Dict[Any, Any], call: Callable[..., Any]) -> None:
        with pytest.raises(InvalidError, match=r"(modify|get_or_compute|add)\.aio"):
            call(d, self.add)
        assert list(d.keys()) == []

    async def test_aio_takes_both_kinds(self, d: Dict[Any, Any]) -> None:
        assert await d.modify.aio("k", self.add, default=1) == 2
        assert await d.modify.aio("k", lambda n: n + 1) == 3


def plain_wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@pytest.mark.usefixtures("unwarned")
class TestBlockingCallInAnEventLoop:
    USES: tuple[Callable[[Dict[Any, Any]], Any], ...] = (
        lambda d: d.get("k"),
        lambda d: d.__setitem__("k", 1),
        lambda d: "k" in d,
        lambda d: list(d.items()),
        lambda d: d.lock("l").__enter__(),
        lambda d: Dict.objects.list(client=d.client),
        lambda d: Dict.ephemeral(client=d.client).__enter__(),
    )

    @pytest.mark.parametrize("use", USES)
    async def test_warns_once_at_the_line_of_the_caller(
        self, d: Dict[Any, Any], use: Callable[[Dict[Any, Any]], Any]
    ) -> None:
        with pytest.warns(BlockingCallWarning, match=r"\.aio") as caught:
            use(d)
        assert [warning.filename for warning in caught] == [__file__]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            use(Dict.from_name("other", create_if_missing=True, client=d.client))

    async def test_is_silent_under_ipython(self, d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        ipython = ModuleType("IPython")
        ipython.get_ipython = object  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            d.get("k")

    async def test_can_be_switched_off(self, d: Dict[Any, Any]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", BlockingCallWarning)
            d.get("k")

    async def test_calls_in_a_thread_are_silent(self, d: Dict[Any, Any]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert await asyncio.to_thread(d.get, "k") is None
            assert await d.get.aio("k") is None

    def test_calls_without_a_loop_are_silent(self, d: Dict[Any, Any]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert d.get("k") is None


class TestMistakes:
    def test_constructor_names_the_right_call(self) -> None:
        make: Any = Dict
        with pytest.raises(RuntimeError, match=r"Dict\.from_name\('scores', create_if_missing=True\)"):
            make("scores")

    def test_subclass_is_rejected_since_no_handle_would_be_of_it(self) -> None:
        with pytest.raises(TypeError, match="cannot be subclassed"):
            type("Scores", (Dict,), {"get": None})

    async def test_keyword_may_be_called_self(self, d: Dict[Any, Any]) -> None:
        d.update(self=1, other=2)
        await d.update.aio(self=3, args=4)
        assert d.get_many(["self", "other", "args"]) == {"self": 3, "other": 2, "args": 4}
        d.as_mapping().update(self=5)
        assert d["self"] == 5

    def test_len_names_the_right_call(self, d: Dict[Any, Any]) -> None:
        with pytest.raises(TypeError, match=r"d\.len\(\)"):
            len(d)  # type: ignore[arg-type]
        assert bool(d) is True
        assert list(d) == []

    @pytest.mark.parametrize("union", ["d | other", "other | d", "d | d", "d.__ior__(other)"])
    def test_union_names_the_right_calls(self, d: Dict[Any, Any], union: str) -> None:
        with pytest.raises(TypeError, match=r"d\.update\(\.\.\.\).*d\.as_mapping\(\) \| "):
            eval(union, {"d": d, "other": {"a": 1}})
        with pytest.raises(TypeError, match="unsupported operand"):
            eval("d | 1", {"d": d})

    def test_comparison_with_a_dict_names_the_right_call(self, d: Dict[Any, Any]) -> None:
        d["a"] = 1
        uses: list[Callable[[], bool]] = [lambda: d == {"a": 1}, lambda: d != {}, lambda: {"a": 1} in [d]]
        for compared in uses:
            with pytest.warns(UserWarning, match=r"d\.as_mapping\(\) == ") as caught:
                compared()
            assert caught[0].filename == __file__
        assert d.as_mapping() == {"a": 1}
        same = d
        assert (d == same, d == handle(), d == None, d == [("a", 1)], d in {d}) == (True, False, False, False, True)  # noqa: E711

    @pytest.mark.parametrize(
        "operation",
        [
            lambda d: d["missing"],
            lambda d: d.pop("missing"),
            lambda d: d.put("k", 1, ttl=-1),
            lambda d: d.put("k", threading.Lock()),
            lambda d: d.modify("missing", str),
            lambda d: d.lock("l").release(),
            lambda d: Dict.objects.delete("nowhere", client=d.client),
            lambda d: nowhere(d).get("k"),
            lambda d: nowhere(d).update({n: n for n in range(9)}),
            lambda d: list(nowhere(d)),
            lambda d: next(nowhere(d).items()),
            lambda d: list(nowhere(d).as_mapping().values()),
            lambda d: nowhere(d).lock("l").__enter__(),
            lambda d: nowhere(d).semaphore("s", 2).__enter__(),
            lambda d: nowhere(d).counter("c").add(),
            lambda d: memoize(nowhere(d))(str.upper)("a"),
            lambda d: leave_lost_lock(d),  # noqa: PLW0108 (it is defined below)
            lambda d: enter_twice(Dict.ephemeral(client=d.client)),
        ],
    )
    def test_traceback_begins_at_the_line_of_the_user(
        self, d: Dict[Any, Any], operation: Callable[[Dict[Any, Any]], Any]
    ) -> None:
        with pytest.raises((Error, KeyError)) as caught:
            operation(d)
        # What is written in Python of a mapping is a call of its own.
        assert len(frames_of_package(caught.value)) <= 2

    @pytest.mark.parametrize(
        "operation",
        [
            lambda d: d["missing"],
            lambda d: d.__delitem__("missing"),
            lambda d: d.__setitem__("k", threading.Lock()),
            lambda d: "k" in nowhere(d),
        ],
    )
    def test_traceback_of_an_operator_has_no_frame_of_the_package(
        self, d: Dict[Any, Any], operation: Callable[[Dict[Any, Any]], Any]
    ) -> None:
        with pytest.raises((Error, KeyError)) as caught:
            operation(d)
        assert frames_of_package(caught.value) == []

    @pytest.mark.parametrize(
        "operation",
        [
            lambda d: d.pop.aio("missing"),
            lambda d: d.put.aio("k", threading.Lock()),
            lambda d: d.modify.aio("missing", str),
            lambda d: Dict.objects.delete.aio("nowhere", client=d.client),
            lambda d: nowhere(d).get.aio("k"),
            lambda d: Dict.get.aio(nowhere(d), "k"),
            lambda d: pickle.loads(pickle.dumps(nowhere(d).get.aio))("k"),
            lambda d: nowhere(d).update.aio({n: n for n in range(9)}),
            lambda d: exhaust(nowhere(d).keys.aio()),
            lambda d: exhaust(nowhere(d).items.aio()),
            lambda d: exhaust(Dict.values.aio(nowhere(d))),
            lambda d: nowhere(d).lock("l").__aenter__(),
            lambda d: nowhere(d).semaphore("s", 2).__aenter__(),
            lambda d: nowhere(d).counter("c").add.aio(),
            lambda d: memoize(nowhere(d))(str.upper).aio("a"),
            lambda d: leave_lost_lock_in_asyncio(d),  # noqa: PLW0108 (it is defined below)
            lambda d: enter_twice_in_asyncio(Dict.ephemeral(client=d.client)),
        ],
    )
    async def test_traceback_of_asyncio_begins_at_the_line_of_the_user(
        self, d: Dict[Any, Any], operation: Callable[[Dict[Any, Any]], Any]
    ) -> None:
        with pytest.raises((Error, KeyError)) as caught:
            await operation(d)
        assert len(frames_of_package(caught.value)) <= 1

    async def test_traceback_keeps_the_frames_of_a_function_that_was_passed(self, d: Dict[Any, Any]) -> None:
        def fail(*_: Any) -> Any:
            raise KeyError("mine")

        uses: list[Callable[[], Any]] = [
            lambda: asyncio.to_thread(d.modify, "k", fail, 0),
            lambda: d.modify.aio("k", fail, 0),
            lambda: d.get_or_compute.aio("k", fail),
            lambda: memoize(d, key=fail)(str.upper).aio("a"),
            lambda: d.update.aio(map(fail, "ab")),
        ]
        for use in uses:
            with pytest.raises(KeyError) as caught:
                await use()
            assert caught.traceback[-1].name == "fail"

    def test_development_mode_keeps_all_frames(self, d: Dict[Any, Any]) -> None:
        program = (
            "import traceback; from s3dict import Client, Dict\n"
            "d = Dict.from_name('d', create_if_missing=True, client=Client('b', driver='memory'))\n"
            "try: d['missing']\nexcept KeyError as error: print(len(traceback.extract_tb(error.__traceback__)))\n"
        )
        frames = [
            int(subprocess.run([sys.executable, *mode, "-c", program], check=True, capture_output=True).stdout)
            for mode in ((), ("-X", "dev"))
        ]
        assert frames[0] == 1 < frames[1]

    @pytest.mark.parametrize("keys", ["alice", b"alice", ""])
    def test_one_key_in_place_of_several_is_rejected(self, d: Dict[Any, Any], keys: Any) -> None:
        for method in (d.get_many, d.pop_many):
            with pytest.raises(InvalidError, match=r"is one key: pass \["):
                method(keys)

    @pytest.mark.parametrize("name", ["update", "put_many", "get_many", "pop_many", "discard_many"])
    async def test_asynchronous_iterator_is_rejected_with_the_remedy(self, d: Dict[Any, Any], name: str) -> None:
        message = rf"{name} takes no asynchronous iterator, also with \.aio: pass \[item async for"
        with pytest.raises(InvalidError, match=message):
            await getattr(d, name).aio(d.items.aio())
        with pytest.raises(InvalidError, match=message):
            await asyncio.to_thread(getattr(d, name), d.keys.aio())

    async def test_what_is_not_a_function_is_rejected_at_the_call(self, d: Dict[Any, Any]) -> None:
        for name in ("modify", "get_or_compute"):
            with pytest.raises(InvalidError, match=f"{name} takes a function, not 5"):
                await asyncio.to_thread(getattr(d, name), "k", 5)
            with pytest.raises(InvalidError, match=f"{name} takes a function, not 5"):
                await getattr(d, name).aio("k", 5)
        assert await d.lock("k").locked.aio() is False

    @pytest.mark.parametrize("key", ["k", ("a", 1), None])
    def test_key_error_carries_the_key(self, d: Dict[Any, Any], key: Any) -> None:
        operations: list[Callable[[], Any]] = [
            lambda: d[key],
            lambda: d.pop(key),
            lambda: d.__delitem__(key),
            lambda: d.modify(key, str),
            lambda: d.as_mapping()[key],
        ]
        for operation in operations:
            with pytest.raises(KeyError) as caught:
                operation()
            assert caught.value.args == (key,)
            assert caught.value.__notes__ == [f"{key!r} not in Dict 'd'"]

    @pytest.mark.parametrize("text", ["di-unknown", "", "whatever", "di-" + "0" * 26, "di-" + "0" * 26 + ":main:d"])
    def test_id_that_names_nothing_is_reported_at_first_use(self, d: Dict[Any, Any], text: str) -> None:
        lazy = Dict.from_id(text, d.client)
        assert lazy.object_id == text
        with pytest.raises(NotFoundError):
            lazy.get("k")
        with pytest.raises(InvalidError, match="Invalid Dict id"):
            Dict.from_id(7)  # type: ignore[arg-type]

    def test_keys_without_a_boolean_comparison_are_rejected(self, d: Dict[Any, Any]) -> None:
        class Ambiguous:
            def __ne__(self, other: object) -> Any:
                raise TypeError("boolean value of NA is ambiguous")

            def __hash__(self) -> int:
                return 1

        with pytest.raises(InvalidError, match="cannot be a key: comparing it does not give True or False"):
            d.put(Ambiguous(), 1)


def frames_of_package(error: BaseException) -> list[str]:
    package = str(Path(_aio.__file__).parent)
    return [frame.name for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(package)]


def nowhere(d: Dict[Any, Any]) -> Dict[Any, Any]:
    return Dict.from_name("nowhere", client=d.client)


async def exhaust(iterator: AsyncIterator[Any]) -> None:
    async for _ in iterator:
        pass


def leave_lost_lock(d: Dict[Any, Any]) -> None:
    with d.lock("l"):
        d.lock("l").force_release()


async def leave_lost_lock_in_asyncio(d: Dict[Any, Any]) -> None:
    async with d.lock("l"):
        await d.lock("l").force_release.aio()


def enter_twice(context: Any) -> None:
    with context, context:
        pass


async def enter_twice_in_asyncio(context: Any) -> None:
    async with context, context:
        pass


class TestMemoizedFunctions:
    def test_variables_of_an_enclosing_function_are_part_of_the_key(self, d: Dict[Any, Any]) -> None:
        def times(n: int) -> Callable[[int], int]:
            @memoize(d)
            def product(x: int) -> int:
                return x * n

            return product

        assert [times(2)(3), times(5)(3), times(2)(3)] == [6, 15, 6]
        assert d.len() == 2

    def test_other_objects_of_an_enclosing_function_are_rejected(self, d: Dict[Any, Any]) -> None:
        def times(numbers: list[int]) -> Callable[[int], int]:
            @memoize(d)
            def scaled(x: int) -> int:
                return x * numbers[0]

            return scaled

        assert times([2])(3) == 6
        with pytest.raises(InvalidError, match="pass them as arguments"):
            times([5])

    def test_second_function_of_a_name_is_rejected_while_the_first_is_in_use(self, d: Dict[Any, Any]) -> None:
        def first(x: int) -> int:
            return x

        def second(x: int) -> int:
            return x + 1

        second.__qualname__ = first.__qualname__
        kept = memoize(d)(first)
        with pytest.raises(InvalidError, match="Another memoized function is called"):
            memoize(d)(second)
        del kept, first
        assert memoize(d)(second)(1) == 2

    @pytest.mark.parametrize("function", [functools.partial(pow, 2), object(), classmethod(str), lambda x: x])
    def test_object_without_a_name_is_rejected(self, d: Dict[Any, Any], function: Any) -> None:
        with pytest.raises(InvalidError, match="cannot be memoized"):
            memoize(d)(function)

    def test_decorator_without_parentheses_is_rejected(self) -> None:
        with pytest.raises(InvalidError, match="with parentheses"):
            memoize(abs)  # type: ignore[arg-type]

    async def test_argument_may_be_called_self(self, d: Dict[Any, Any]) -> None:
        @memoize(d)
        def shown(self: str, args: str) -> str:
            return self + args

        assert shown(self="a", args="b") == await shown.aio(self="a", args="b") == shown.refresh(self="a", args="b")
        assert d[shown.key(self="a", args="b")] == "ab"
        assert shown.forget(self="a", args="b")


class TestDurations:
    @pytest.mark.parametrize("minute", [60, 60.0, timedelta(minutes=1)])
    def test_seconds_and_timedelta_mean_the_same(self, minute: Any) -> None:
        client = Client(f"idioms-{uuid4()}", driver="memory", timeout=minute, cache=minute)
        assert (client._settings.timeout_seconds, client._settings.cache_seconds) == (60, 60)
        d = Dict.from_name("d", create_if_missing=True, client=client, ttl=minute)
        assert d.info().ttl == timedelta(minutes=1)
        Dict.objects.create("d", allow_existing=True, client=client, ttl=minute)
        with d.lock("l", lease=minute, timeout=minute):
            pass
        assert d.get_or_compute("k", lambda: 1, lease=minute) == 1
        d.put("k", 2, ttl=minute)
        assert memoize(d, lease=minute, ttl=minute)(str.upper)("a") == "A"

    def test_contended_lock_takes_a_timedelta(self, d: Dict[Any, Any]) -> None:
        def acquire() -> None:
            with d.lock("l", timeout=timedelta(milliseconds=1)):
                pass

        with d.lock("l"), ThreadPoolExecutor(1) as pool, pytest.raises(LockTimeoutError):
            pool.submit(acquire).result()

    @pytest.mark.parametrize("wrong", ["60", True, float("nan"), [], object()])
    def test_wrong_durations_are_rejected_at_the_call(self, d: Dict[Any, Any], wrong: Any) -> None:
        calls: list[Callable[[], Any]] = [
            lambda: Client("b", driver="memory", timeout=wrong),
            lambda: Client("b", driver="memory", cache=wrong),
            lambda: Dict.from_name("d", ttl=wrong),
            lambda: Dict.objects.create("d", client=d.client, ttl=wrong),
            lambda: d.lock("l", lease=wrong),
            lambda: d.lock("l", timeout=wrong),
            lambda: d.get_or_compute("k", lambda: 1, lease=wrong),
            lambda: memoize(d, lease=wrong),
        ]
        for call in calls:
            with pytest.raises(InvalidError, match="number of seconds or a timedelta"):
                call()

    @pytest.mark.parametrize("lease", [1, timedelta(seconds=1), 10**9])
    def test_lease_out_of_range_is_rejected_at_the_call(self, d: Dict[Any, Any], lease: Any) -> None:
        for call in (lambda: d.lock("l", lease=lease), lambda: memoize(d, lease=lease)):
            with pytest.raises(InvalidError, match="Invalid lease"):
                call()


class TestReprs:
    def test_reprs_are_short_and_say_what_it_is(self, d: Dict[Any, Any]) -> None:
        assert repr(Dict.objects) == "Dict.objects"
        assert repr(d.lock("job")) == "Dict.from_name('d').lock('job')"
        with d.lock("job") as held:
            assert repr(held) == f"<HeldLock 'job', token {held.token}>"
        assert repr(Dict.ephemeral()) == "Dict.ephemeral()"
        assert repr(d.as_mapping()) == "Dict.from_name('d').as_mapping()"
        assert repr(InvalidError("no")) == "InvalidError('no')"

    def test_notebooks_show_what_the_handle_knows(self, d: Dict[Any, Any]) -> None:
        assert d._repr_html_().count("<tr>") == 2
        html = d.hydrate()._repr_html_()
        assert d.object_id in html
        assert "/s3dict</td>" in html
        assert "<script>" not in Dict.from_id("<script>")._repr_html_()


class TestTimes:
    def test_all_times_of_a_dict_are_in_utc(self, d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        try:
            d["k"] = 1
            [listed] = Dict.objects.list(client=d.client)
            entry, stats = d.entry("k"), d.stats()
            assert entry is not None
            times = [d.info().created_at, listed.info().created_at, entry.last_modified, stats.oldest, stats.newest]
            assert {moment and moment.tzinfo for moment in times} == {UTC}
        finally:
            monkeypatch.undo()
            time.tzset()


class TestCompletion:
    def test_keys_are_completed_with_one_request(self, d: Dict[Any, Any]) -> None:
        d.update({"alice": 1, "bob": 2, 3: 4})
        d.put("long" * 100, 5)
        del d["bob"]
        assert sorted(map(str, d._ipython_key_completions_())) == ["3", "alice"]
        assert d.as_mapping()._ipython_key_completions_() == d._ipython_key_completions_()

    def test_large_dict_completes_nothing(self, d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        d.update((f"k{n}", n) for n in range(5))
        monkeypatch.setattr("s3dict._stores.memory.PAGE_SIZE", 4)
        assert d._ipython_key_completions_() == []

    def test_failure_completes_nothing(self) -> None:
        nowhere = Dict.from_name("nowhere", client=Client(f"idioms-{uuid4()}", driver="memory"))
        assert nowhere._ipython_key_completions_() == []

    def test_ipython_completes_keys(self, d: Dict[Any, Any]) -> None:
        completer = pytest.importorskip("IPython.core.completer")
        d["alice"] = 1
        with completer.provisionalcompleter():
            found = list(completer.IPCompleter(namespace={"d": d}, use_jedi=False).completions('d["al', 5))
        assert [completion.text for completion in found] == ["alice"]


class TestClassesThatAreNotHashable:
    """Python's own pickle cannot store them either."""

    class Meta(type):
        def __eq__(cls, other: object) -> bool:
            return cls is other

        __hash__ = None  # type: ignore[assignment]

    class Odd(metaclass=Meta):
        pass

    def test_error_names_the_class(self, d: Dict[Any, Any]) -> None:
        with pytest.raises(SerializationError, match="key 'k' of Dict 'd': unhashable type: 'Meta'"):
            d["k"] = self.Odd()
        with pytest.raises(SerializationError, match="A key of type 'Odd' cannot be pickled"):
            d[self.Odd()] = 1


class TestMappingOperators:
    @pytest.fixture
    def mapping(self, d: Dict[Any, Any]) -> Iterator[Any]:
        d.update(a=1, b=2)
        yield d.as_mapping()
        d.clear()

    def test_union_is_a_dict_in_which_the_right_side_wins(self, mapping: Any) -> None:
        assert mapping | {"b": 3, "c": 4} == {"a": 1, "b": 3, "c": 4}
        assert {"b": 3, "c": 4} | mapping == {"a": 1, "b": 2, "c": 4}
        assert mapping | mapping == {"a": 1, "b": 2}
        assert type(mapping | {}) is dict
        assert dict(mapping) == {"a": 1, "b": 2}
        with pytest.raises(TypeError):
            _ = mapping | [("c", 4)]

    def test_union_in_place_stores(self, mapping: Any) -> None:
        same = mapping
        mapping |= {"b": 3}
        mapping |= [("c", 4)]
        assert mapping is same
        assert dict(mapping) == {"a": 1, "b": 3, "c": 4}


class TestClosing:
    def test_client_is_closed_and_used_again(self, d: Dict[Any, Any]) -> None:
        d["k"] = 1
        with d.client as client:
            assert client is d.client
        assert d["k"] == 1

    async def test_client_is_closed_in_asyncio(self, d: Dict[Any, Any]) -> None:
        await d.put.aio("k", 1)
        async with d.client:
            pass
        assert await d.get.aio("k") == 1


@pytest.mark.backends("seaweedfs", "seaweedfs-rust")
class TestOverADriver:
    """What depends on the driver: the exceptions of its package, its threads and tasks, what it leaves open."""

    @pytest.fixture
    def d(self, harness: Harness) -> Any:
        return harness.named("d", create_if_missing=True)

    @pytest.fixture
    def blocking(self, client: Client) -> Dict[Any, Any]:
        return Dict.from_name("d", create_if_missing=True, client=client)

    async def test_exceptions_survive_pickling(self, client: Client, harness: Harness, mode: Mode, d: Any) -> None:
        unreachable = Harness(quick(client_at("http://127.0.0.1:1", client), writes=1, requests=1), mode)
        operations: list[Callable[[], Any]] = [
            lambda: d.pop("missing"),
            lambda: harness.named("nowhere").get("k"),
            lambda: unreachable.named("d").get("k"),
        ]
        for operation in operations:
            with pytest.raises((Error, KeyError)) as caught:
                await operation()
            restored = pickle.loads(pickle.dumps(caught.value))
            assert (type(restored), str(restored)) == (type(caught.value), str(caught.value))
            assert vars(restored) == vars(caught.value)

    async def test_iterator_that_is_left_leaves_nothing_behind(self, d: Any) -> None:
        await d.update({n: n for n in range(20)})
        for iterate in (d.keys, d.values, d.items):
            async for _ in iterate():
                break
        gc.collect()
        assert await d.len() == 20

    async def test_traceback_begins_at_the_line_of_the_user(
        self, client: Client, d: Any, harness: Harness, mode: Mode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unreachable = Harness(quick(client_at("http://127.0.0.1:1", client), writes=1, requests=1), mode).named("d")

        async def without_credentials() -> None:
            monkeypatch.delenv("AWS_ACCESS_KEY_ID")
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
            await Harness(client_at(str(client.endpoint_url), client), mode).named("d").get("k")

        operations: list[Callable[[], Any]] = [
            lambda: d.pop("missing"),
            lambda: harness.named("nowhere").get("k"),
            lambda: unreachable.get("k"),
            lambda: unreachable.update({n: n for n in range(9)}),
            lambda: exhaust(unreachable.items()),
            without_credentials,
        ]
        for operation in operations:
            with pytest.raises((Error, KeyError)) as caught:
                await operation()
            assert frames_of_package(caught.value) == []

    def test_coroutine_function_in_a_blocking_call_names_aio(self, blocking: Dict[Any, Any]) -> None:
        async def add(n: int = 0) -> int:
            return n + 1

        calls: list[Callable[[], Any]] = [
            lambda: blocking.modify("k", add, default=1),
            lambda: blocking.get_or_compute("m", lambda: add()),  # noqa: PLW0108 (it is no coroutine function)
        ]
        for call in calls:
            with pytest.raises(InvalidError, match=r"(modify|get_or_compute)\.aio"):
                call()
        assert list(blocking.keys()) == []

    def test_keys_are_completed_with_one_request(self, client: Client, proxy: Proxy) -> None:
        d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client_at(proxy.url, client))
        d.update({"alice": 1, 3: 4})
        with proxy.recording() as requests:
            assert sorted(map(str, d._ipython_key_completions_())) == ["3", "alice"]
        assert [request.operation for request in requests] == ["ListObjectsV2"]


@pytest.mark.parametrize("name", ["put", "get_many", "modify", "hydrate"])
def test_types_of_a_method_are_found_on_the_class(name: str) -> None:
    method = getattr(Dict, name)
    for function in (method, method.aio):
        assert "return" in typing.get_type_hints(function)
    assert typing.get_type_hints(memoize)["d"] == Dict[Any, Any]
