"""What the probe finds out, against servers that really misbehave."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import boto3
import pytest

from s3dict import (
    Client,
    Dict,
    IntegrityError,
    InvalidError,
    PermissionDeniedError,
    UncertainOutcomeError,
    UnsupportedStoreError,
)
from s3dict._format.capabilities import Capabilities
from s3dict._stores.memory import memory_bucket

from ..support.faulty_server import Deviation, MisbehavingServer
from ..support.limiter import KeyLimiter
from ..support.modes import Driver, Endpoint, Harness, Mode, collect
from ..support.proxy import Fault, FaultKind, Proxy, Request
from ..support.retries import quick, throttled_policies, with_retries

RIGHT = Capabilities(quoted_etags=True, conditional_delete=True, conditional_copy=True)


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as misbehaving:
        boto3.client("s3", endpoint_url=misbehaving.url).create_bucket(Bucket="b")
        yield misbehaving


def raw(endpoint_url: str | None) -> Any:
    """boto3 itself, beside the library."""
    return boto3.client("s3", endpoint_url=endpoint_url)


@pytest.fixture
def client(server: MisbehavingServer, driver: Driver) -> Client:
    return Client("b", endpoint_url=server.url, driver=driver)


@pytest.fixture
def store_json(server: MisbehavingServer) -> Any:
    def load() -> Any:
        answer = raw(server.url).get_object(Bucket="b", Key="s3dict/store.json")
        return json.loads(answer["Body"].read())

    return load


async def _run_operations(harness: Harness) -> None:
    """What every accepted store must carry, whatever its capabilities."""
    d = harness.named("d", create_if_missing=True)
    assert await d.put("k", 1, skip_if_exists=True) is True
    assert await d.put("k", 2, skip_if_exists=True) is False
    version = (await d.entry("k")).version
    assert await d.put("k", 3, if_version=version) is True
    assert await d.put("k", 4, if_version=version) is False
    assert await d.modify("k", lambda n: n + 1) == 4
    assert await d.pop("k") == 4
    assert await d.pop("k", 9) == 9
    assert await d.len() == 0
    assert await d.put("k", 5, skip_if_exists=True) is True
    assert await collect(d.items()) == [("k", 5)]
    assert await d.pop("k") == 5
    await harness.objects.delete("d", client=harness.client)
    assert await harness.objects.list(client=harness.client) == []
    assert await harness.named("d", create_if_missing=True).len() == 0


@pytest.mark.parametrize(
    ("flaws", "expected"),
    [
        ([], RIGHT),
        ([Deviation.MISSING_IS_412], RIGHT),
        ([Deviation.PUT_CHANGES_ETAG], RIGHT),
        ([Deviation.PUT_WANTS_BARE_ETAG], Capabilities(False, True, True)),
        ([Deviation.ETAGS_LACK_QUOTES], replace(RIGHT, unquoted_responses=True)),
        ([Deviation.DELETE_IGNORES_IF_MATCH], Capabilities(True, False, True)),
        ([Deviation.DELETE_REFUSES_IF_MATCH], Capabilities(True, False, True)),
        ([Deviation.DELETE_MISSING_IS_204], Capabilities(True, False, True)),
        ([Deviation.COPY_IGNORES_SOURCE_IF_MATCH], Capabilities(True, True, False)),
        ([Deviation.COPY_IGNORES_IF_MATCH], Capabilities(True, True, False)),
        ([Deviation.COPY_REFUSED], Capabilities(True, True, False)),
        ([Deviation.COPY_WITHOUT_ETAG], Capabilities(True, True, False)),
        ([Deviation.LIST_IGNORES_START_AFTER], replace(RIGHT, ordered_listing=False)),
        ([Deviation.LIST_REFUSES_START_AFTER], replace(RIGHT, ordered_listing=False)),
        ([Deviation.PUT_WANTS_BARE_ETAG, Deviation.LIST_REFUSES_START_AFTER], Capabilities(False, True, True, False)),
        (
            [Deviation.PUT_WANTS_BARE_ETAG, Deviation.DELETE_IGNORES_IF_MATCH, Deviation.COPY_IGNORES_IF_MATCH],
            Capabilities(False, False, False),
        ),
    ],
    ids=lambda value: "+".join(flaw.name for flaw in value) or "right" if isinstance(value, list) else "",
)
async def test_probe_detects_capabilities_and_operations_use_them(
    server: MisbehavingServer, harness: Harness, store_json: Any, flaws: list[Deviation], expected: Capabilities
) -> None:
    server.flaws.update(flaws)
    await _run_operations(harness)
    assert store_json()["store"] == expected.to_json()


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        (
            Deviation.PUT_IGNORES_IF_NONE_MATCH,
            r"responded with 200 to 'PUT If-None-Match: \*' for an object that exists",
        ),
        (
            Deviation.PUT_IGNORES_IF_MATCH,
            "responded with 200 to 'PUT If-Match' with an ETag",
        ),
        (Deviation.PUT_REFUSES_CONDITIONS, r"does not support conditional writes \(IfNoneMatch\)"),
    ],
)
async def test_store_without_conditional_puts_is_rejected_with_the_reason(
    server: MisbehavingServer, harness: Harness, flaw: Deviation, message: str
) -> None:
    server.flaws.add(flaw)
    uses: list[Callable[[], Any]] = [
        lambda: harness.named("d", create_if_missing=True).put("k", 1),
        lambda: harness.objects.create("d", client=harness.client),
    ]
    for use in uses:
        with pytest.raises(UnsupportedStoreError, match=message):
            await use()
    listing = raw(server.url).list_objects_v2(Bucket="b")
    assert "Contents" not in listing


async def test_store_that_only_heeds_start_after_is_not_taken_for_ordered(
    server: MisbehavingServer, driver: Driver, mode: Mode
) -> None:
    server.flaws.add(Deviation.LIST_HAS_NO_ORDER)
    ordered = 0
    for turn in range(8):
        client = Client("b", prefix=f"turn-{turn}", endpoint_url=server.url, driver=driver)
        d = Harness(client, mode).named("d", create_if_missing=True)
        await d.hydrate()
        ordered += d.wrapped._state.loaded.manifest.capabilities.ordered_listing
    # One order of 24 is the right one by chance, but not six times of eight.
    assert ordered < 6


@pytest.mark.parametrize("kind", ["lost-response", "lost-request", "slow-down", "internal-error-after", "conflict"])
async def test_lost_probe_request_records_no_capability(
    server: MisbehavingServer, mode: Mode, store_json: Any, kind: FaultKind
) -> None:
    """Each conditional request of the probe is struck in turn: the verdict must be the same."""
    for turn in range(10):
        fault = Fault(kind, when=_the_nth(turn, _is_conditional))
        with Proxy(server.url) as proxy:
            proxy.faults = [fault]
            harness = Harness(quick(Client("b", prefix=f"turn-{turn}", endpoint_url=proxy.url)), mode)
            d = harness.named("d", create_if_missing=True)
            await d.hydrate()
            assert d.wrapped._state.loaded.manifest.capabilities == RIGHT


@pytest.mark.parametrize("operation", ["DeleteObject", "CopyObject"])
async def test_denied_probe_request_records_nothing(
    server: MisbehavingServer, driver: Driver, mode: Mode, operation: str
) -> None:
    """As with a missing right, or a left-over profile: no other client would ever probe again."""
    with Proxy(server.url) as proxy:
        proxy.faults = [Fault("denied", when=lambda request: request.operation == operation and bool(request.if_match))]
        harness = Harness(quick(Client("b", endpoint_url=proxy.url, driver=driver)), mode)
        with pytest.raises(PermissionDeniedError, match=operation):
            await harness.named("d", create_if_missing=True).hydrate()
        listing = raw(server.url).list_objects_v2(Bucket="b", Prefix="s3dict/store.json")
        assert listing["KeyCount"] == 0
        proxy.faults = []
        d = harness.named("d", create_if_missing=True)
        await d.hydrate()
    assert d.wrapped._state.loaded.manifest.capabilities == RIGHT


async def test_unknown_profile_records_nothing(
    server: MisbehavingServer, client: Client, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "left-over")
    with pytest.raises(InvalidError, match="left-over"):
        await Harness(client, mode).named("d", create_if_missing=True).hydrate()
    monkeypatch.delenv("AWS_PROFILE")
    d = Harness(Client("b", endpoint_url=server.url, driver=client.driver), mode).named("d", create_if_missing=True)
    await d.hydrate()
    assert d.wrapped._state.loaded.manifest.capabilities == RIGHT


async def test_probe_passes_where_a_key_takes_one_write_at_a_time(
    server: MisbehavingServer, driver: Driver, mode: Mode, store_json: Any
) -> None:
    """As on Cloudflare R2 and Google Cloud Storage, where the time is a second."""
    server.limiter = KeyLimiter(2, clock=itertools.count().__next__)  # refuses a write after one of the same key
    client = with_retries(Client("b", endpoint_url=server.url, driver=driver), throttled_policies())
    await _run_operations(Harness(client, mode))
    assert store_json()["store"] == RIGHT.to_json()
    assert server.limiter.refused


def _the_nth(number: int, wanted: Callable[[Request], bool]) -> Callable[[Request], bool]:
    turns = itertools.count()
    return lambda request: wanted(request) and next(turns) == number


def _is_conditional(request: Request) -> bool:
    return "/probe/" in request.path and bool(request.if_match or request.if_none_match or request.copy_source)


async def test_rejection_by_500_is_uncertain_and_never_false(server: MisbehavingServer, harness: Harness) -> None:
    """The write may still take effect, once the entry that is there has been removed."""
    d = harness.named("d", create_if_missing=True)
    await d.put("k", 1)
    server.clock += 60  # so that the entry is surely older than what follows
    server.flaws.add(Deviation.PUT_LOSER_GETS_500)
    with pytest.raises(UncertainOutcomeError):
        await d.put("k", 2, skip_if_exists=True)
    assert await d.get("k") == 1


async def test_renewal_under_a_new_etag_is_not_a_change(server: MisbehavingServer, harness: Harness) -> None:
    """As on a bucket encrypted with KMS: the same bytes have another ETag after each write."""
    server.flaws.add(Deviation.PUT_CHANGES_ETAG)
    d = harness.named("d", create_if_missing=True)
    await d.put("k", 1)
    version = (await d.entry("k")).version
    plain = raw(server.url)
    [path] = [line["Key"] for line in plain.list_objects_v2(Bucket="b")["Contents"] if "/entries/" in line["Key"]]
    plain.put_object(Bucket="b", Key=path, Body=plain.get_object(Bucket="b", Key=path)["Body"].read())
    assert await d.put("k", 2, if_version=version) is True
    assert await d.put("k", 3, if_version=version) is False
    assert await d.get("k") == 2


async def test_capabilities_travel_in_the_manifest(server: MisbehavingServer, harness: Harness) -> None:
    server.flaws.add(Deviation.DELETE_IGNORES_IF_MATCH)
    await harness.named("d", create_if_missing=True).put("k", 1)
    raw(server.url).delete_object(Bucket="b", Key="s3dict/store.json")
    d = harness.named("d")
    assert await d.pop("k") == 1
    assert d.wrapped._state.loaded.manifest.capabilities.conditional_delete is False


async def test_probe_leaves_no_objects(server: MisbehavingServer, harness: Harness) -> None:
    await harness.named("d", create_if_missing=True).hydrate()
    listing = raw(server.url).list_objects_v2(Bucket="b")
    assert [line["Key"] for line in listing["Contents"]] == ["s3dict/manifests/main/d.json", "s3dict/store.json"]


async def test_foreign_store_json_is_an_integrity_error(client: Client, mode: Mode) -> None:
    for body in (b"", b"[]", b'{"format": 1}', b'{"format": 1, "store": {"quoted_etags": "yes"}}', b'{"format": 2}'):
        raw(client.endpoint_url).put_object(Bucket="b", Key="s3dict/store.json", Body=body)
        with pytest.raises(IntegrityError):
            await Harness(client, mode).objects.create("d", client=client)


def test_first_creations_at_once_agree() -> None:
    client = Client("first-creations", driver="memory")

    def create(name: str) -> None:
        Dict.from_name(name, create_if_missing=True, client=client)["k"] = name

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, "abcdefgh"))
    assert {d.name for d in Dict.objects.list(client=client)} == set("abcdefgh")
    assert "s3dict/store.json" in memory_bucket("first-creations").objects


class TestRealServers:
    """What real servers do, as the probe reports."""

    @pytest.mark.parametrize("backend", ["moto", "seaweedfs"])
    def test_supported_stores_pass_the_probe(self, backend: str, request: pytest.FixtureRequest) -> None:
        endpoint = request.getfixturevalue(backend)
        client = Client(endpoint.bucket, prefix=f"probe-{os.getpid()}", endpoint_url=endpoint.url)
        d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client).hydrate()
        seen = d._state.loaded.manifest.capabilities  # type: ignore[union-attr]
        is_seaweedfs = backend == "seaweedfs"
        assert seen == Capabilities(True, True, is_seaweedfs, conditional_bulk_delete=is_seaweedfs)

    async def test_store_ignoring_conditions_is_rejected(self, nanio: Endpoint, mode: Mode) -> None:
        harness = Harness(Client(nanio.bucket, prefix=mode.value, endpoint_url=nanio.url), mode)
        with pytest.raises(UnsupportedStoreError, match=r"responded with 200 to 'PUT If-None-Match: \*'"):
            await harness.named("d", create_if_missing=True).put("k", 1)
