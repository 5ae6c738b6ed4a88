"""Requests that are lost, answers that are lost, servers that say 500, 503 and 409: what each caller gets.

The proxy loses them on purpose, between the library and a real SeaweedFS.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import boto3
import pytest

from s3dict import Client, ConflictError, Dict, NotFoundError, UnavailableError, UncertainOutcomeError

from ..support.faulty_server import MisbehavingServer
from ..support.modes import Endpoint, Harness, Mode, client_at
from ..support.proxy import Fault, FaultKind, Proxy, Request
from ..support.retries import quick, soon_giving_up

UNSEEN: list[FaultKind] = ["lost-request", "internal-error", "slow-down", "conflict"]
PUT_OFF: list[FaultKind] = ["slow-down", "conflict"]
DONE: list[FaultKind] = ["lost-response", "internal-error-after"]


pytestmark = pytest.mark.backends("seaweedfs", "seaweedfs-rust")


@pytest.fixture
def direct(client: Client) -> Client:
    """The same place without the proxy: what other processes do concurrently."""
    return client


@pytest.fixture
def harness(direct: Client, proxy: Proxy, mode: Mode) -> Harness:
    return Harness(quick(client_at(proxy.url, direct)), mode)


@pytest.fixture
def other(d: Any, direct: Client, mode: Mode) -> Dict[Any, Any]:
    """The same dict, as another process reaches it."""
    made: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=direct).hydrate()
    return made


def is_entry(request: Request) -> bool:
    return "/entries/" in request.path


def hits(requests: list[Request]) -> list[FaultKind | None]:
    return [request.fault for request in requests if request.fault is not None]


def fault(kind: FaultKind, operation: str = "PutObject") -> Fault:
    return Fault(kind, operation=operation, when=is_entry)


@pytest.mark.parametrize("kind", [*PUT_OFF, *DONE])
async def test_create_applies_once_whatever_is_lost(d: Any, other: Any, proxy: Proxy, kind: FaultKind) -> None:
    await d.hydrate()
    proxy.script(fault(kind))
    with proxy.recording() as requests:
        assert await d.put("k", 1, skip_if_exists=True) is True
    assert hits(requests) == [kind]
    assert other["k"] == 1
    assert await d.put("k", 2, skip_if_exists=True) is False


@pytest.mark.parametrize("kind", ["lost-request", "internal-error"])
async def test_create_with_unknown_outcome_is_not_retried(d: Any, other: Any, proxy: Proxy, kind: FaultKind) -> None:
    """It may have taken effect and have been taken out since; to repeat it would bring it back."""
    await d.hydrate()
    proxy.script(fault(kind))
    with pytest.raises(UncertainOutcomeError, match=r"connection broke|500 InternalError"):
        await d.put("k", 1, skip_if_exists=True)
    assert "k" not in other


@pytest.mark.parametrize("kind", [*UNSEEN, *DONE])
async def test_compare_and_set_applies_once_whatever_is_lost(d: Any, other: Any, proxy: Proxy, kind: FaultKind) -> None:
    await d.put("k", 1)
    version = (await d.entry("k")).version
    proxy.script(fault(kind))
    with proxy.recording() as requests:
        assert await d.put("k", 2, if_version=version) is True
    assert hits(requests) == [kind]
    assert other["k"] == 2
    assert await d.put("k", 3, if_version=version) is False


@pytest.mark.parametrize("kind", [*UNSEEN, *DONE])
async def test_modify_applies_once_whatever_is_lost(d: Any, other: Any, proxy: Proxy, kind: FaultKind) -> None:
    await d.put("k", 0)
    for expected in (1, 2, 3):
        proxy.script(fault(kind))
        assert await d.modify("k", lambda n: n + 1) == expected
    assert other["k"] == 3


@pytest.mark.parametrize("kind", ["lost-request", "internal-error"])
async def test_create_is_not_rejected_while_its_request_may_still_arrive(
    direct: Client, mode: Mode, kind: FaultKind
) -> None:
    """The entry is older than the first attempt, but if another client removes it, a late request could be applied."""
    with MisbehavingServer() as server, Proxy(server.url) as proxy:
        boto3.client("s3", endpoint_url=server.url).create_bucket(Bucket="b")
        d = Harness(Client("b", endpoint_url=proxy.url, driver=direct.driver), mode).named("d", create_if_missing=True)
        await d.put("k", "theirs")
        server.clock += 60
        proxy.script(fault(kind))
        with pytest.raises(UncertainOutcomeError):
            await d.put("k", "ours", skip_if_exists=True)
        assert await d.get("k") == "theirs"


async def test_overwritten_put_with_a_lost_response_is_uncertain(d: Any, proxy: Proxy, other: Any) -> None:
    """Ours took effect, another replaced it, and then we ask: nothing there can tell."""
    await d.hydrate()
    proxy.script(fault("lost-response"))
    with _interfering(proxy, lambda: other.put("k", "theirs")), pytest.raises(UncertainOutcomeError) as caught:
        await d.put("k", "ours", skip_if_exists=True)
    assert "Dict 'd', key 'k'" in str(caught.value)
    assert other["k"] == "theirs"


async def test_overwritten_put_with_a_lost_request_is_uncertain(d: Any, proxy: Proxy, other: Any) -> None:
    await d.hydrate()
    proxy.script(fault("lost-request"))
    with _interfering(proxy, lambda: other.put("k", "theirs")), pytest.raises(UncertainOutcomeError):
        await d.put("k", "ours", skip_if_exists=True)


async def test_rejection_after_a_409_is_definite(d: Any, proxy: Proxy, other: Any) -> None:
    """A 409 says that nothing was written, so there is nothing to be uncertain about."""
    await d.hydrate()
    proxy.script(fault("conflict"))
    with _interfering(proxy, lambda: other.put("k", "theirs")):
        assert await d.put("k", "ours", skip_if_exists=True) is False


async def test_uncertain_error_names_the_failure_before_a_409(d: Any, proxy: Proxy, other: Any) -> None:
    await d.put("k", 1)
    version = (await d.entry("k")).version
    proxy.script(fault("lost-request"))
    proxy.script(fault("conflict"))
    with _interfering(proxy, lambda: other.put("k", "theirs")), pytest.raises(UncertainOutcomeError) as caught:
        await d.put("k", "ours", if_version=version)
    assert isinstance(caught.value.__cause__, UnavailableError)
    assert "PutObject on " in str(caught.value)


async def test_compare_and_set_retries_over_the_unchanged_version(d: Any, proxy: Proxy) -> None:
    await d.put("k", 1)
    version = (await d.entry("k")).version
    proxy.script(fault("lost-request"), times=3)
    assert await d.put("k", 2, if_version=version) is True


@pytest.mark.parametrize("kind", UNSEEN)
async def test_pop_returns_the_value_once_whatever_is_lost(d: Any, proxy: Proxy, other: Any, kind: FaultKind) -> None:
    await d.put("k", 1)
    proxy.script(fault(kind, "DeleteObject"))
    assert await d.pop("k") == 1
    assert "k" not in other


@pytest.mark.removes_by_delete
@pytest.mark.parametrize("kind", DONE)
@pytest.mark.unthrottled
async def test_pop_with_a_lost_response_is_uncertain_and_carries_the_value(
    d: Any, proxy: Proxy, kind: FaultKind
) -> None:
    await d.put("k", "precious")
    proxy.script(fault(kind, "DeleteObject"))
    with pytest.raises(UncertainOutcomeError, match="this call removed it, or another client did") as caught:
        await d.pop("k")
    assert caught.value.value == "precious"
    assert await d.contains("k") is False


@pytest.mark.parametrize("kind", [*UNSEEN, *DONE])
async def test_pop_by_tombstone_is_definite(d: Any, proxy: Proxy, kind: FaultKind) -> None:
    await d.put("k", 1)
    state = d.wrapped._state
    capabilities = replace(state.loaded.manifest.capabilities, conditional_delete=False)
    manifest = replace(state.loaded.manifest, capabilities=capabilities)
    state.remember(state.client, replace(state.loaded, manifest=manifest))
    proxy.script(fault(kind))
    assert await d.pop("k") == 1
    assert await d.len() == 0


@pytest.mark.removes_by_delete
@pytest.mark.unthrottled
async def test_failed_pop_many_carries_the_removed_values(d: Any, proxy: Proxy) -> None:
    await d.update({n: n for n in range(5)})
    proxy.script(fault("lost-response", "DeleteObject"))
    with pytest.raises(UncertainOutcomeError) as caught:
        await d.pop_many(range(5))
    taken = {**caught.value.completed, **caught.value.uncertain}
    left = {key: value async for key, value in d.items()}
    assert {n: n for n in range(5)} == {**taken, **left}
    assert set(taken) & set(left) == set()


@pytest.mark.parametrize("kind", [*UNSEEN, *DONE])
async def test_reads_and_plain_puts_are_retried(d: Any, proxy: Proxy, kind: FaultKind) -> None:
    await d.hydrate()
    proxy.script(fault(kind))
    await d.put("k", 1)
    if kind != "conflict":
        for operation, read in (("GetObject", d.get), ("HeadObject", d.contains)):
            proxy.script(fault(kind, operation))
            assert await read("k") == 1


@pytest.mark.parametrize("kind", [*UNSEEN, *DONE])
async def test_dict_is_created_once_whatever_is_lost(harness: Harness, proxy: Proxy, kind: FaultKind) -> None:
    await harness.named("d", create_if_missing=True).hydrate()
    proxy.script(Fault(kind, operation="PutObject", when=lambda request: "/manifests/" in request.path))
    await harness.objects.create("made", client=harness.client)
    assert [handle.name for handle in await harness.objects.list(client=harness.client)] == ["made", "d"]


@pytest.mark.parametrize("kind", [*UNSEEN, *DONE])
async def test_dict_is_deleted_whatever_is_lost(harness: Harness, d: Any, proxy: Proxy, kind: FaultKind) -> None:
    await d.update({n: n for n in range(3)})
    proxy.script(Fault(kind, operation="DeleteObject", when=lambda request: "/manifests/" in request.path))
    await harness.objects.delete("d", client=harness.client)
    with pytest.raises(NotFoundError):
        await harness.named("d").get(1)


async def test_truncated_body_is_fetched_again(d: Any, proxy: Proxy) -> None:
    await d.put("k", "v" * 100_000)
    proxy.script(fault("lost-response", "GetObject"))
    assert await d.get("k") == "v" * 100_000


async def test_response_truncated_anywhere_is_retried(d: Any, proxy: Proxy) -> None:
    """Also between two lines of its head: http.client takes what it has got by then for all there is."""
    await d.put("k", "value")
    for tenth in range(10):
        proxy.script(Fault("cut-response", "GetObject", when=is_entry, cut=tenth / 10))
        assert await d.get("k") == "value"
        proxy.script(Fault("cut-response", "ListObjectsV2", cut=tenth / 10))
        assert await d.len() == 1


@pytest.mark.unthrottled
async def test_truncated_bulk_delete_response_is_retried(d: Any, proxy: Proxy) -> None:
    """What it did not delete would be reported after that."""
    for tenth in range(10):
        await d.put("k", "value")
        proxy.script(Fault("cut-response", "DeleteObjects", cut=tenth / 10))
        with proxy.recording() as requests:
            await d.clear()
        assert sum(request.operation == "DeleteObjects" for request in requests) == 2


@pytest.mark.removes_by_delete
async def test_persistent_failure_is_unavailable(d: Any, proxy: Proxy, mode: Mode) -> None:
    await d.put("k", 1)
    d = Harness(soon_giving_up(quick(client_at(proxy.url, d.client), writes=3)), mode).named("d")
    await d.hydrate()
    uses: list[Callable[[], Any]] = [lambda: d.pop("k"), lambda: d.put("k", 2, skip_if_exists=True)]
    proxy.faults = [fault("slow-down"), fault("slow-down", "DeleteObject")]
    for use in uses:
        with pytest.raises(UnavailableError, match="throttled the request"):
            await use()
    proxy.faults = [fault("conflict"), fault("conflict", "DeleteObject")]
    for use in uses:
        with pytest.raises(ConflictError, match="kept responding with 409"):
            await use()
    proxy.faults = [fault("internal-error", "DeleteObject")]
    with pytest.raises(UncertainOutcomeError, match="The outcome is unknown") as caught:
        await d.pop("k")
    assert caught.value.value == 1


async def test_unreachable_store_is_unavailable_and_not_uncertain(d: Any, mode: Mode, endpoint: Endpoint) -> None:
    await d.hydrate()
    with Proxy(endpoint.url) as passing:
        gone = quick(client_at(passing.url, d.client), writes=3)
    late = Harness(gone, mode).named("d")
    late.wrapped._state.remember(gone, d.wrapped._state.loaded)
    with pytest.raises(UnavailableError, match="cannot connect to the store"):
        await late.put("k", 2, skip_if_exists=True)


class _interfering:  # noqa: N801 (used as a context manager)
    """Lets something happen between the first attempt and the second: when the proxy first strikes."""

    def __init__(self, proxy: Proxy, act: Callable[[], Any]) -> None:
        self._proxy = proxy
        self._act = act
        self._record = proxy._record

    def __enter__(self) -> None:
        def record(request: Request) -> None:
            self._record(request)
            if request.fault is not None:
                self._act()

        self._proxy._record = record  # type: ignore[method-assign]

    def __exit__(self, *exception: object) -> None:
        self._proxy._record = self._record  # type: ignore[method-assign]


@pytest.fixture
def first_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Additions to counters begin with the first shard, and go on to the next."""
    monkeypatch.setattr("s3dict._core.counters.random.choice", min)


def shards_written(requests: list[Request]) -> list[str]:
    return [request.path for request in requests if request.method == "PUT"]


@pytest.mark.usefixtures("first_shard")
@pytest.mark.parametrize("kind", PUT_OFF)
async def test_addition_leaves_a_busy_shard(
    harness: Harness, d: Any, other: Any, proxy: Proxy, kind: FaultKind
) -> None:
    counter = harness.in_mode(d.wrapped.counter("hits", 2))
    for expected in (1, 2):
        proxy.script(fault(kind))
        with proxy.recording() as requests:
            await counter.add()
        assert len(set(shards_written(requests))) == 2
        assert other.counter("hits", 2).value() == expected


@pytest.mark.usefixtures("first_shard")
@pytest.mark.parametrize("kind", [*PUT_OFF, *DONE])
async def test_addition_that_may_have_been_applied_stays_with_its_shard(
    harness: Harness, d: Any, other: Any, proxy: Proxy, kind: FaultKind
) -> None:
    counter = harness.in_mode(d.wrapped.counter("hits", 2))
    await counter.add()
    proxy.script(fault("lost-response"))
    proxy.script(fault(kind))
    with proxy.recording() as requests:
        await counter.add()
    assert hits(requests)[0] == "lost-response"
    assert len(set(shards_written(requests))) == 1
    assert other.counter("hits", 2).value() == 2


@pytest.mark.usefixtures("first_shard")
@pytest.mark.unthrottled
async def test_addition_makes_three_more_requests_for_a_concurrent_one(
    harness: Harness, d: Any, other: Any, proxy: Proxy
) -> None:
    counter, concurrent = harness.in_mode(d.wrapped.counter("hits", 2)), other.counter("hits", 2)
    await counter.add()
    additions = [concurrent.add]

    def contend(request: Request) -> bool:
        if additions and request.method == "PUT":
            with ThreadPoolExecutor(1) as pool:
                pool.submit(additions.pop()).result()
        return False

    proxy.faults = [Fault("delay", when=contend)]
    with proxy.recording() as requests:
        await counter.add()
    expected = ["GetObject", "PutObject", "GetObject", "GetObject", "PutObject"]
    assert [request.operation for request in requests] == expected
    assert concurrent.value() == 3
