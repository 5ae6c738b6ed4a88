"""What pickles of today refer to, and what comes back."""

from __future__ import annotations

import copy
import itertools
import pickle
import pickletools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from inspect import iscoroutinefunction
from typing import Any
from uuid import uuid4

import pytest

import s3dict
from s3dict import Client, Dict, DictInfo, Entry, Error, HeldLock, IntegrityError

from ..support.backends import DRIVERS_AND_THREADS
from ..support.modes import Driver, Endpoint

KEY = "a signing key of the tests"
PROTOCOLS = [2, 3, 4, 5]
PUBLIC = [s3dict.Dict, s3dict.Client, s3dict.DictInfo, s3dict.Entry, s3dict.Lock, s3dict.Counter, s3dict.memoize]
_numbers = itertools.count()


def memory(**settings: Any) -> Client:
    return Client("pickles", driver="memory", **settings)


def handle(**options: Any) -> Dict[Any, Any]:
    return Dict.from_name("pickled", create_if_missing=True, client=memory(), **options)


def _handed_over() -> HeldLock:
    held = handle().lock(f"job {next(_numbers)}").acquire()
    assert held is not None
    held.detach()
    return held


OBJECTS: dict[str, Callable[[], Any]] = {
    "handle by name": handle,
    "handle with options": lambda: handle(ttl=None, codec="json", environment_name="staging"),
    "handle by id": lambda: Dict.from_id(handle().hydrate().object_id, memory()),
    "handle by an unknown id": lambda: Dict.from_id("unknown"),
    "hydrated handle": lambda: handle().hydrate(),
    "handle without a client": lambda: Dict.from_name("pickled"),
    "client": memory,
    "client with settings": lambda: Client(
        "b", prefix="p", endpoint_url="http://localhost:1", timeout=timedelta(seconds=9), cache=timedelta(seconds=1)
    ),
    "ephemeral": lambda: Dict.ephemeral(client=memory()),
    "mapping": lambda: handle().as_mapping(),
    "info": lambda: DictInfo("d", datetime.now(UTC), "me", timedelta(days=1), "json"),
    "entry": lambda: Entry("k", 1, "v", datetime.now(UTC)),
    "lock": lambda: handle().lock("job", reentrant=True, owner="me"),
    "held lock": _handed_over,
    "semaphore": lambda: handle().semaphore("job", 2, owner="me"),
    "counter": lambda: handle().counter("hits", 3),
    "bound method": lambda: handle().put,
    "bound coroutine function": lambda: handle().put.aio,
    "bound iterator": lambda: handle().items,
    "bound coroutine function of a lock": lambda: handle().lock("job").acquire.aio,
    "bound coroutine function of a held lock": lambda: _handed_over().release.aio,
    "bound coroutine function of a counter": lambda: handle().counter("hits").add.aio,
}


def globals_of(pickled: bytes) -> set[str]:
    """Return the names that a pickle of protocol 2 refers to, but for those of the standard library."""
    names = {argument for code, argument, _ in pickletools.genops(pickled) if code.name == "GLOBAL"}
    return {str(name).replace(" ", ".") for name in names if str(name).startswith("s3dict")}


@pytest.mark.parametrize("name", OBJECTS)
def test_pickles_refer_to_one_function(name: str) -> None:
    assert globals_of(pickle.dumps(OBJECTS[name](), protocol=2)) == {"s3dict._pickle.restore"}


@pytest.mark.parametrize("kind", PUBLIC)
def test_pickled_public_names_refer_to_the_package(kind: Any) -> None:
    assert globals_of(pickle.dumps(kind, protocol=2)) == {f"s3dict.{kind.__name__}"}
    assert pickle.loads(pickle.dumps(kind)) is kind


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", OBJECTS)
def test_pickled_object_is_restored(name: str, protocol: int) -> None:
    original = OBJECTS[name]()
    restored = pickle.loads(pickle.dumps(original, protocol=protocol))
    assert type(restored) is type(original)
    assert iscoroutinefunction(restored) == iscoroutinefunction(original)
    assert repr(restored).replace("by_", "") == repr(original).replace("by_", "") or name == "hydrated handle"


def test_options_of_a_handle_survive_pickling() -> None:
    options = pickle.loads(pickle.dumps(handle(ttl=None, codec="json")))._state.options
    assert (options.ttl, options.codec) == (None, "json")
    assert pickle.loads(pickle.dumps(handle()))._state.options == handle()._state.options


def test_bound_methods_work_after_pickling() -> None:
    assert pickle.loads(pickle.dumps(handle().put))("k", 1) is True
    assert pickle.loads(pickle.dumps(handle().get))("k") == 1


async def test_bound_coroutine_functions_work_after_pickling() -> None:
    assert await pickle.loads(pickle.dumps(handle().put.aio))("k", 2) is True
    assert await pickle.loads(pickle.dumps(handle().get.aio))("k") == 2


@pytest.mark.parametrize("kind", [kind for kind in vars(s3dict.errors).values() if isinstance(kind, type)])
def test_errors_survive_pickling(kind: type[Any]) -> None:
    if not issubclass(kind, Error):
        return
    error = kind("the message")
    error.dict_name, error.key_repr, error.failed_keys = "scores", "'alice'", ["alice"]
    restored = pickle.loads(pickle.dumps(error))
    assert (type(restored), str(restored), vars(restored)) == (kind, str(error), vars(error))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copy_of_a_handle_keeps_the_signing_keys(copied: Callable[[Any], Any]) -> None:
    signed = Dict.from_name("signed", create_if_missing=True, client=memory(signing_keys=[KEY]))
    signed["mine"] = 1
    Dict.from_name("signed", client=memory())["theirs"] = "UNSIGNED"
    with pytest.raises(IntegrityError):
        copied(signed)["theirs"]
    copied(signed)["mine"] = 2
    assert signed["mine"] == 2


def test_copy_of_a_client_is_the_client() -> None:
    client = memory(signing_keys=[KEY])
    assert copy.copy(client) is client
    assert copy.deepcopy({"client": client})["client"] is client


@pytest.mark.parametrize("driver", DRIVERS_AND_THREADS, indirect=True)
async def test_client_that_is_in_use_is_pickled_and_copied(
    driver: Driver, seaweedfs: Endpoint, request: pytest.FixtureRequest
) -> None:
    client = Client(seaweedfs.bucket, prefix=f"pickled-{uuid4()}", endpoint_url=seaweedfs.url, driver=driver)
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client)
    await d.put.aio("k", 0)
    copies: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy, lambda used: pickle.loads(pickle.dumps(used))]
    for number, copied in enumerate(copies):
        assert await Dict.from_name("d", client=copied(client)).get.aio("k") == number
        put = copied(d.put.aio)
        await put("k", number + 1)
    assert await d.get.aio("k") == 3
    assert ("threaded" in type(client._store(aio=True)).__module__) == (request.node.callspec.id == "threads")
