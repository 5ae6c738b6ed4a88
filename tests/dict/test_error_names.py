"""Errors name the dict that the failed call was about, whichever object made the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from s3dict import AlreadyExistsError, Client, Dict, Error, NotFoundError, UnavailableError
from s3dict.testing import faults

from ..support.retries import quick

CALLS: dict[str, Callable[[Dict[Any, Any]], object]] = {
    "get": lambda d: d.get("k"),
    "items": lambda d: list(d.items()),
    "Lock.acquire": lambda d: d.lock("l").acquire(),
    "Lock.locked": lambda d: d.lock("l").locked(),
    "Lock.holder": lambda d: d.lock("l").holder(),
    "Lock.force_release": lambda d: d.lock("l").force_release(),
    "Semaphore.acquire": lambda d: d.semaphore("s", 2).acquire(),
    "Counter.add": lambda d: d.counter("c").add(),
    "objects.create": lambda d: Dict.objects.create("d", client=d.client),
    "objects.delete": lambda d: Dict.objects.delete("d", client=d.client),
}


@pytest.mark.parametrize("name", CALLS)
def test_failed_request_names_the_dict(client: Client, name: str) -> None:
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=quick(client)).hydrate()
    with faults(client, "lost-request", times=None), pytest.raises(UnavailableError, match="Dict 'd'") as caught:
        CALLS[name](d)
    assert caught.value.dict_name == "d"


def test_manager_names_the_dict(client: Client) -> None:
    Dict.objects.create("d", client=client)
    failures: list[tuple[type[Error], Callable[..., object], str]] = [
        (AlreadyExistsError, Dict.objects.create, "d"),
        (NotFoundError, Dict.objects.delete, "missing"),
    ]
    for kind, call, name in failures:
        with pytest.raises(kind) as caught:
            call(name, client=client)
        assert caught.value.dict_name == name


@pytest.fixture
def backend() -> str:
    return "memory"
