"""Violations that histories have found, each in its shortest form: the proxy holds requests to repeat the order.

In all of them a request takes effect, its answer is lost, others act, and the request is repeated.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from s3dict import Client, Dict, UncertainOutcomeError

from ..support.modes import client_at
from ..support.proxy import Fault, Proxy, Request

pytestmark = pytest.mark.backends("seaweedfs", "seaweedfs-rust")


@pytest.fixture
def direct(client: Client) -> Dict[str, Any]:
    """The dict without the proxy."""
    made: Dict[str, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    return made.hydrate()


@pytest.fixture
def d(direct: Dict[str, Any], client: Client, proxy: Proxy) -> Dict[str, Any]:
    """The same dict, through the proxy."""
    handle: Dict[str, Any] = Dict.from_id(direct.object_id, client_at(proxy.url, client))
    return handle.hydrate()


def _lose_answer_and_hold(proxy: Proxy) -> None:
    """The put takes effect but its answer is lost; whatever is sent next, to put again or to look, is a second late."""
    proxy.script(Fault("lost-response", "PutObject"))
    proxy.script(Fault("delay", "PutObject", seconds=1.0))
    proxy.script(Fault("delay", when=_is_read_of_front, seconds=1.0))


def _is_read_of_front(request: Request) -> bool:
    return request.operation == "GetObject" and request.byte_range is not None


def test_created_entry_that_was_taken_out_does_not_come_back(
    d: Dict[str, Any], direct: Dict[str, Any], proxy: Proxy
) -> None:
    """If-None-Match cannot tell "never written" from "written, and removed since"."""
    _lose_answer_and_hold(proxy)
    with ThreadPoolExecutor(1) as pool:
        creating = pool.submit(d.put, "k", "mine", skip_if_exists=True)
        assert _pop_when_there(direct) == "mine"
        with pytest.raises(UncertainOutcomeError):
            creating.result()
    assert direct.get("k") is None


def test_increment_that_was_drained_does_not_count_twice(
    d: Dict[str, Any], direct: Dict[str, Any], proxy: Proxy
) -> None:
    _lose_answer_and_hold(proxy)
    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(d.modify, "k", lambda n: n + 1, 0)
        assert _pop_when_there(direct) == 1
        with pytest.raises(UncertainOutcomeError):
            adding.result()
    assert direct.get("k") is None


@pytest.mark.removes_by_delete
def test_removal_takes_out_one_entry(d: Dict[str, Any], direct: Dict[str, Any], proxy: Proxy) -> None:
    """A plain put that is repeated must not give its entry the ETag that the first attempt gave it."""
    proxy.script(Fault("lost-response", "PutObject"))
    proxy.script(Fault("delay", "PutObject", seconds=1.0))
    proxy.script(Fault("lost-response", "DeleteObject"))
    proxy.script(Fault("delay", "DeleteObject", seconds=3.0))
    with ThreadPoolExecutor(2) as pool:
        putting = pool.submit(d.put, "k", "twice")
        _wait_until_there(direct)
        popping = pool.submit(d.pop, "k")
        putting.result()
        with pytest.raises(UncertainOutcomeError) as caught:
            popping.result()
    assert caught.value.value == "twice"
    assert direct["k"] == "twice"


@pytest.mark.removes_by_delete
def test_removal_that_cannot_be_settled_hands_over_the_value(d: Dict[str, Any], proxy: Proxy) -> None:
    d["k"] = "precious"
    proxy.script(Fault("lost-response", "DeleteObject"))
    proxy.script(Fault("slow-down", when=_is_read_of_front), times=4)
    with pytest.raises(UncertainOutcomeError) as caught:
        d.pop("k")
    assert caught.value.value == "precious"


def test_write_that_cannot_be_settled_is_uncertain(d: Dict[str, Any], direct: Dict[str, Any], proxy: Proxy) -> None:
    proxy.script(Fault("lost-response", "PutObject"))
    proxy.script(Fault("internal-error", when=_is_read_of_front), times=4)
    with pytest.raises(UncertainOutcomeError):
        d.put("k", 1, skip_if_exists=True)
    assert direct["k"] == 1


@pytest.mark.removes_by_delete
def test_every_value_that_pop_many_took_out_is_handed_over(d: Dict[str, Any], proxy: Proxy) -> None:
    entries: dict[str, Any] = {**{key: f"value of {key}" for key in "abc"}, "d": None}
    d.update(entries)
    proxy.script(Fault("lost-response", "DeleteObject"), times=len(entries))
    with pytest.raises(UncertainOutcomeError) as caught:
        d.pop_many(entries)
    assert {**caught.value.completed, **caught.value.uncertain} == entries


def test_plain_put_that_is_rejected_is_not_taken_for_done(
    d: Dict[str, Any], direct: Dict[str, Any], proxy: Proxy
) -> None:
    """S3 answers 409 OperationAborted or ConditionalRequestConflict to put a request off, also without a condition."""
    proxy.script(Fault("conflict", "PutObject"))
    d.put("k", 1)
    assert direct["k"] == 1


def _wait_until_there(d: Dict[str, Any]) -> None:
    while not d.contains("k"):
        pass


def _pop_when_there(d: Dict[str, Any]) -> Any:
    _wait_until_there(d)
    return d.pop("k")
