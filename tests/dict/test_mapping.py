"""``d.as_mapping()`` is what the language calls a mapping, and what libraries take for a dict."""

from __future__ import annotations

import copy
import itertools
import json
import os
import pickle
from collections import ChainMap
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import cachetools
import cachetools.keys
import pytest
import zict

from s3dict import Client, Dict, InvalidError, RequestEvent
from s3dict._mapping import POPITEM_SAMPLE, DictMapping
from s3dict._stores.memory import memory_bucket

from ..support.modes import Endpoint
from ..support.proxy import Proxy

mapping_tests: Any = pytest.importorskip("test.mapping_tests", reason="this Python comes without its own tests")

_numbers = itertools.count()


def new_mapping(*pairs: Any, **more: Any) -> DictMapping[Any, Any]:
    """What ``dict(...)`` is for a dict: one of its own, in memory."""
    client = Client(f"mapping-{os.getpid()}", driver="memory")
    d: Dict[Any, Any] = Dict.from_name(f"d{next(_numbers)}", create_if_missing=True, client=client)
    d.update(*pairs, **more)
    return d.as_mapping()


class TestAsPythonTestsMappings(mapping_tests.TestHashMappingProtocol):  # type: ignore[misc]
    """Python's own tests of ``dict`` and ``UserDict``. What differs is overridden here, each for its reason."""

    type2test = staticmethod(new_mapping)

    def test_fromkeys(self) -> None:
        """It is a class method: which Dict would it fill?"""
        assert not hasattr(DictMapping, "fromkeys")

    def test_repr(self) -> None:
        """That of a dict shows all entries, which here are as many requests."""
        assert repr(new_mapping()).endswith(").as_mapping()")

    test_repr_deep = test_repr

    def test_copy(self) -> None:
        """A copy is a dict, and not another Dict in the bucket."""
        assert new_mapping({1: 1, 2: 2}).copy() == {1: 1, 2: 2}
        assert type(new_mapping().copy()) is dict

    def test_setdefault(self) -> None:
        """A value is a copy: to append to it changes nothing in the bucket."""
        mapping_tests.BasicTestMappingProtocol.test_setdefault(self)
        mapping = new_mapping()
        assert mapping.setdefault("none") is None
        mapping.setdefault("list", []).append(3)
        assert mapping == {"none": None, "list": []}

    def test_popitem(self) -> None:
        """Entries have no order, so two mappings with equal entries do not give them in the same."""
        mapping_tests.BasicTestMappingProtocol.test_popitem(self)
        entries = {number: str(number) for number in range(100)}
        mapping = new_mapping(entries)
        assert dict(mapping.popitem() for _ in range(100)) == entries
        assert not mapping

    def test_getitem(self) -> None:
        """What is left out has a key that raises when it is compared. Here it is no key: it is asked if it is NaN."""
        mapping_tests.TestMappingProtocol.test_getitem(self)

    def test_pop(self) -> None:
        """What is left out has a key of a class of the test function, which would differ between processes."""
        mapping_tests.TestMappingProtocol.test_pop(self)

    def test_eq(self) -> None:
        """As with `test_getitem`."""
        assert new_mapping() == new_mapping()
        assert new_mapping({1: 2}) == new_mapping({1: 2})


def test_mapping_is_a_mutable_mapping_view() -> None:
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=Client("view", driver="memory"))
    mapping = d.as_mapping()
    assert isinstance(mapping, MutableMapping)
    d["a"] = 1
    assert mapping == {"a": 1}
    mapping["b"] = 2
    assert d["b"] == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(mapping)


@pytest.mark.parametrize(
    "other",
    [{}, {"a": 1}, {"a": 1, "b": 3}, {"a": 1, "c": 2}, {"a": 1, "b": 2, "c": 3}, [("a", 1), ("b", 2)], None],
)
def test_mapping_differs_from_other_entries_and_other_types(other: Any) -> None:
    assert new_mapping(a=1, b=2) != other
    assert new_mapping(a=1, b=2) != other


def test_mapping_equals_any_mapping_with_equal_entries() -> None:
    mapping = new_mapping(a=1, b=2)
    for other in ({"b": 2, "a": 1}, ChainMap({"a": 1}, {"b": 2}), new_mapping(a=1, b=2), mapping):
        assert mapping == other
        assert other == mapping


def test_views_are_live_sets() -> None:
    mapping = new_mapping(a=1, b=2)
    keys, values, items = mapping.keys(), mapping.values(), mapping.items()
    assert keys & {"a", "c"} == {"a"}
    assert items == {("a", 1), ("b", 2)}
    assert ("a", 1) in items
    assert ("a", 2) not in items
    assert 2 in values
    mapping["c"] = 3
    assert (len(keys), len(values), len(items)) == (3, 3, 3)
    assert 3 in values
    assert 4 not in values


def test_mapping_rejects_unsupported_keys() -> None:
    with pytest.raises(InvalidError):
        new_mapping()[float("nan")] = 1
    with pytest.raises(TypeError):
        new_mapping().get([])


def test_copies_and_pickles_are_of_the_same_dict() -> None:
    mapping = new_mapping(a=1)
    for twin in (copy.copy(mapping), pickle.loads(pickle.dumps(mapping))):
        twin["a"] += 1
    assert mapping == {"a": 3}


def test_popitem_returns_an_item_to_one_of_racing_callers() -> None:
    mapping = new_mapping((number, -number) for number in range(200))

    def take_all(_: int) -> list[tuple[int, int]]:
        taken = []
        while mapping:
            try:
                taken.append(mapping.popitem())
            except KeyError:
                assert not mapping
        return taken

    with ThreadPoolExecutor(8) as pool:
        taken = list(itertools.chain.from_iterable(pool.map(take_all, range(8))))
    assert [(number, -number) for number in range(200)] == sorted(taken)


@pytest.mark.timeout(60)
def test_popitem_passes_over_expired_entries_that_are_still_listed() -> None:
    client = Client(f"mapping-{os.getpid()}-{next(_numbers)}", driver="memory")
    d: Dict[int, str] = Dict.from_name("d", create_if_missing=True, client=client)
    d.put_many(dict.fromkeys(range(2 * POPITEM_SAMPLE), "expired"), ttl=60)
    memory_bucket(client.bucket).advance(timedelta(minutes=2))
    d[-1] = "live"
    assert d.as_mapping().popitem() == (-1, "live")
    with pytest.raises(KeyError, match="is empty"):
        d.as_mapping().popitem()


def test_popitem_finds_what_was_put_while_another_caller_took_what_was_listed() -> None:
    bucket = f"mapping-{os.getpid()}-{next(_numbers)}"
    other: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=Client(bucket, driver="memory"))
    other["first"] = 1

    def overtake(request: RequestEvent) -> None:
        if request.operation == "ListObjectsV2" and other.discard("first"):
            other["second"] = 2

    d: Dict[str, int] = Dict.from_name("d", client=Client(bucket, driver="memory", on_request=overtake))
    assert d.as_mapping().popitem() == ("second", 2)


class TestRequests:
    """What goes over the wire."""

    @pytest.fixture
    def proxied_url(self, moto: Endpoint) -> str:
        return moto.url

    @pytest.fixture
    def mapping(self, proxy: Proxy, moto: Endpoint) -> DictMapping[str, int]:
        client = Client(moto.bucket, prefix=f"mapping-{os.getpid()}-{next(_numbers)}", endpoint_url=proxy.url)
        mapping: DictMapping[str, int] = Dict.from_name("d", create_if_missing=True, client=client).as_mapping()
        mapping.update(a=1, b=2, c=3)
        return mapping

    @pytest.mark.parametrize(
        ("use", "operations"),
        [
            (lambda m: set(m.items()), {"ListObjectsV2": 1, "GetObject": 3}),
            (lambda m: set(m.values()), {"ListObjectsV2": 1, "GetObject": 3}),
            (lambda m: list(m.values()), {"ListObjectsV2": 2, "GetObject": 3}),  # `list` asks for the length first
            (lambda m: m == {"a": 1, "b": 2, "c": 3}, {"ListObjectsV2": 1, "GetObject": 3}),
            (lambda m: m.copy(), {"ListObjectsV2": 1, "GetObject": 3}),
            (dict, {"ListObjectsV2": 1, "GetObject": 3}),
            (set, {"ListObjectsV2": 1}),
            (len, {"ListObjectsV2": 1}),
            (bool, {"ListObjectsV2": 1}),
            (lambda m: "a" in m, {"GetObject": 1}),
            (lambda m: m.get("a"), {"GetObject": 1}),
            (lambda m: m.setdefault("a", 9), {"GetObject": 1}),
            (lambda m: m.update(d=4, e=5), {"PutObject": 2}),
            (lambda m: m.clear(), {"ListObjectsV2": 1, "DeleteObjects": 1}),
        ],
    )
    def test_mapping_makes_the_same_requests_as_the_dict(
        self, mapping: DictMapping[str, int], proxy: Proxy, use: Callable[[Any], Any], operations: dict[str, int]
    ) -> None:
        with proxy.recording() as requests:
            use(mapping)
        names = [request.operation for request in requests]
        assert {name: names.count(name) for name in names} == operations


class TestLibraries:
    """What takes a dict takes this."""

    def test_cachetools_stores_results_in_a_mapping(self) -> None:
        calls: list[tuple[int, int]] = []
        mapping = new_mapping()

        def make() -> Callable[..., int]:
            """The function, decorated again, as another process would."""

            @cachetools.cached(cache=mapping, key=cachetools.keys.hashkey)
            def add(a: int, b: int = 0) -> int:
                calls.append((a, b))
                return a + b

            decorated: Callable[..., int] = add
            return decorated

        for add in (make(), make()):
            assert (add(1, 2), add(1, b=2)) == (3, 3)
        assert calls == [(1, 2), (1, 2)]  # hashkey distinguishes f(1, 2) from f(1, b=2)
        assert len(mapping) == 2

    def test_zict_buffers_to_a_mapping(self) -> None:
        mapping = new_mapping()
        buffer: Any = zict.Buffer({}, mapping, n=2)
        for number in range(5):
            buffer[number] = number * number
        assert mapping == {0: 0, 1: 1, 2: 4}
        assert dict(buffer) == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}
        del buffer[0]
        assert 0 not in mapping
        assert len(buffer) == 4

    def test_chain_map_accepts_a_mapping(self) -> None:
        defaults, mapping = {"colour": "red", "size": 1}, new_mapping(size=2)
        chain = ChainMap(mapping, defaults)
        assert dict(chain) == {"colour": "red", "size": 2}
        chain["colour"] = "blue"
        assert mapping == {"colour": "blue", "size": 2}
        child = chain.copy()
        child["size"] = 3
        assert mapping["size"] == 2

    def test_json_dumps_a_dict_of_a_mapping(self) -> None:
        assert json.dumps(dict(new_mapping(a=[1]))) == '{"a": [1]}'
