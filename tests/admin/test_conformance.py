"""``s3dict doctor --deep``: every feature by itself, on servers that lack one, and on stores with a gap to race for."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeVar

import boto3
import pytest

from s3dict import Client, InvalidError
from s3dict._admin.conformance import suite
from s3dict._admin.conformance.corrupt_puts import CorruptPuts
from s3dict._admin.conformance.suite import FEATURES, CheckResult, Outcome, run_suite
from s3dict._admin.doctor import diagnose
from s3dict._core.probe import probe
from s3dict._stores.base import Body, DeleteResult, NotModified, PreconditionFailed, PutResult, Refusal, StoredObject
from s3dict._stores.memory import AsyncMemoryStore, memory_bucket
from s3dict._stores.shared.threads import run_blocking

from ..support.commands import Answer, answer
from ..support.faulty_server import Deviation, MisbehavingServer
from ..support.limiter import KeyLimiter
from ..support.modes import Endpoint
from ..support.proxy import Fault, Proxy
from ..support.retries import quick

SLOW = ("listing in pages", "dates")
S = TypeVar("S", bound=AsyncMemoryStore)
_numbers = itertools.count()


def verdicts(findings: tuple[CheckResult, ...]) -> dict[str, Outcome]:
    return {finding.feature.name: finding.verdict for finding in findings}


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as misbehaving:
        boto3.client("s3", endpoint_url=misbehaving.url).create_bucket(Bucket="b")
        yield misbehaving


def look(client: Client, **options: Any) -> tuple[CheckResult, ...]:
    return run_blocking(
        run_suite(client._store(aio=False), f"{client.prefix}/scratch", CorruptPuts.of(client), rounds=1, **options)
    )


@pytest.mark.parametrize(
    ("flaw", "lacking"),
    [
        (Deviation.PUT_IGNORES_IF_NONE_MATCH, {"PUT If-None-Match"}),
        (Deviation.PUT_IGNORES_IF_MATCH, {"PUT If-Match"}),
        (Deviation.PUT_WANTS_BARE_ETAG, set()),
        (Deviation.ETAGS_LACK_QUOTES, set()),
        (Deviation.DELETE_IGNORES_IF_MATCH, {"DELETE If-Match"}),
        (Deviation.DELETE_REFUSES_IF_MATCH, {"DELETE If-Match"}),
        (Deviation.DELETE_MISSING_IS_204, {"DELETE If-Match"}),
        (Deviation.COPY_IGNORES_SOURCE_IF_MATCH, {"COPY If-Match, source"}),
        (Deviation.COPY_IGNORES_IF_MATCH, {"COPY If-Match, destination"}),
        (Deviation.COPY_REFUSED, {"COPY If-Match, source", "COPY If-Match, destination"}),
    ],
)
def test_conformance_reports_exactly_the_deviations_of_a_server(
    server: MisbehavingServer, flaw: Deviation, lacking: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "FEATURES", [feature for feature in FEATURES if "If-" in feature.name])
    server.flaws.add(flaw)
    seen = verdicts(look(quick(Client("b", endpoint_url=server.url, driver="boto3"))))
    unmet = {name for name, verdict in seen.items() if verdict in (Outcome.FAILED, Outcome.INCONCLUSIVE)}
    assert lacking == unmet
    assert {name for name in seen if any(name.startswith(f"race of {each}") for each in lacking)} <= {
        name for name, verdict in seen.items() if verdict is Outcome.SKIPPED
    }


class Gap(AsyncMemoryStore):
    """Looks first, and writes afterwards, as long as requests come one by one it works."""

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> PutResult | Refusal:
        found = await self.get(path)
        holds = (found is None) if if_none_match else if_match is None or _etag(found) == if_match
        await asyncio.sleep(0)
        return await super().put(path, body) if holds else PreconditionFailed()

    async def delete(self, path: str, *, if_match: str | None = None) -> DeleteResult | Refusal:
        holds = if_match is None or _etag(await self.get(path)) == if_match
        await asyncio.sleep(0)
        return await super().delete(path) if holds else PreconditionFailed()


def _etag(found: StoredObject | NotModified | None) -> str | None:
    return found.etag if isinstance(found, StoredObject) else None


class Torn(AsyncMemoryStore):
    """Writes an object in two halves, with a gap in between."""

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> PutResult | Refusal:
        if if_match is None and not if_none_match:
            await super().put(path, body[: len(body) // 2])
            await asyncio.sleep(0)
        return await super().put(path, body, if_match=if_match, if_none_match=if_none_match)


def in_memory(kind: type[S]) -> S:
    return kind(memory_bucket(f"examined-{next(_numbers)}"))


def test_races_detect_a_store_that_checks_and_then_writes() -> None:
    async def both() -> tuple[Any, tuple[CheckResult, ...]]:
        store = in_memory(Gap)
        return await probe(store, "probe"), await run_suite(store, "scratch", None, rounds=2, exclude=SLOW)

    capabilities, findings = asyncio.run(both())
    assert capabilities.conditional_delete
    races = {name: verdict for name, verdict in verdicts(findings).items() if name.startswith("race")}
    assert set(races.values()) == {Outcome.FAILED}
    assert len(races) == 4
    assert [finding.is_fatal for finding in findings if finding.feature.name in races] == [True] * 4
    assert {"16 of 16 concurrent requests succeeded"} <= {finding.detail for finding in findings}


def test_races_detect_partial_reads() -> None:
    findings = asyncio.run(run_suite(in_memory(Torn), "scratch", None, rounds=2, exclude=SLOW))
    assert [name for name, verdict in verdicts(findings).items() if verdict is Outcome.FAILED] == ["whole objects"]


class Late(AsyncMemoryStore):
    """Shows what was put from the second read on."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._unread: set[str] = set()

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> PutResult | Refusal:
        self._unread.add(path)
        return await super().put(path, body, if_match=if_match, if_none_match=if_none_match)

    async def get(self, path: str, **how: Any) -> StoredObject | NotModified | None:
        if path in self._unread:
            self._unread.remove(path)
            return None
        return await super().get(path, **how)


def test_conformance_reports_stale_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3dict._admin.conformance.features.OVER_ONE_SECOND", 0)
    names = ("GET If-None-Match", "GET Range", "dates")
    monkeypatch.setattr(suite, "FEATURES", [feature for feature in FEATURES if feature.name in names])
    findings = asyncio.run(run_suite(in_memory(Late), "scratch", None, rounds=1))
    assert dict.fromkeys(names, (Outcome.FAILED, "what was put is not found")) == {
        finding.feature.name: (finding.verdict, finding.detail) for finding in findings
    }


class Unasked(AsyncMemoryStore):
    """Answers 304 whether there was a condition or not."""

    async def get(self, path: str, **how: Any) -> StoredObject | NotModified | None:
        found = await super().get(path, **how)
        return found and NotModified()


def test_conformance_reports_an_unconditional_304(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "FEATURES", [feature for feature in FEATURES if feature.name == "GET Range"])
    [finding] = asyncio.run(run_suite(in_memory(Unasked), "scratch", None, rounds=1))
    assert (finding.verdict, finding.detail) == (Outcome.FAILED, "responded to a GET without a condition with 304")


class Counting(AsyncMemoryStore):
    """How many requests there were, of each kind."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.requests: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        if name in ("get", "head", "put", "delete", "delete_many", "copy", "list_page"):
            self.requests[name] += 1
        return super().__getattribute__(name)


def test_conformance_makes_the_documented_requests_and_cleans_up() -> None:
    store = in_memory(Counting)
    asyncio.run(run_suite(store, "scratch", None))
    assert 2_500 < store.requests.total() < 3_200
    page = asyncio.run(store.list_page(""))
    assert page.objects == ()


def test_conformance_retries_failed_requests(server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "FEATURES", FEATURES[:2])
    with Proxy(server.url) as proxy:
        proxy.script(Fault("slow-down", "PutObject"))
        proxy.script(Fault("lost-response", "PutObject"))
        seen = look(quick(Client("b", endpoint_url=proxy.url, driver="boto3")))
    assert set(verdicts(seen).values()) == {Outcome.PASSED}


def doctor(server: MisbehavingServer, *arguments: str) -> Answer:
    return answer("doctor", "--bucket", "b", "--endpoint-url", server.url, "--deep", *arguments)


def test_doctor_deep_reports_unsupported_features(server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "FEATURES", [feature for feature in FEATURES if "DELETE" in feature.name])
    server.flaws.add(Deviation.DELETE_IGNORES_IF_MATCH)
    checks = {check["name"]: check for check in doctor(server, "--json").json["checks"]}
    tombstones = "without it: removing an entry leaves a small tombstone"
    found = checks["DELETE If-Match"]
    assert tuple(found[field] for field in ("status", "detail", "advice")) == (
        "warning",
        "responded 204 with a wrong ETag",
        tombstones,
    )
    assert checks["race of PUT and DELETE"]["status"] == "skipped"
    assert "- race of DELETE If-Match: DELETE If-Match is not supported" in doctor(server).stdout


def test_doctor_deep_fails_without_a_required_feature(
    server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "FEATURES", FEATURES[:2])
    server.flaws.add(Deviation.PUT_IGNORES_IF_MATCH)
    done = doctor(server)
    assert done.exit_code == 1
    assert "✗ PUT If-Match: responded 200 with a wrong ETag" in done.stdout.splitlines()
    assert "✓ PUT If-None-Match: honoured" in done.stdout.splitlines()


def test_doctor_rejects_deep_with_read_only(server: MisbehavingServer) -> None:
    with pytest.raises(InvalidError, match="mutually exclusive"):
        list(diagnose(Client("b", endpoint_url=server.url), read_only=True, deep=True))


def test_doctor_deep_reports_missing_write_permission(server: MisbehavingServer) -> None:
    with Proxy(server.url) as proxy:
        proxy.faults = [Fault("denied", "PutObject")]
        checks = list(diagnose(Client("b", endpoint_url=proxy.url, driver="boto3"), deep=True))
    assert (checks[-1].name, checks[-1].detail.startswith("not allowed: PutObject")) == ("features", True)


def test_real_server_rejects_corrupt_puts(seaweedfs: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "FEATURES", [feature for feature in FEATURES if feature.needs_corrupt_puts])
    seen = verdicts(look(Client(seaweedfs.bucket, prefix="damaged", endpoint_url=seaweedfs.url)))
    assert seen == {
        "Content-MD5": Outcome.PASSED,
        "x-amz-checksum-sha256": Outcome.PASSED,
        "whole puts": Outcome.PASSED,
    }


def test_store_without_order_has_all_features() -> None:
    bucket = memory_bucket(f"examined-{next(_numbers)}")
    bucket.ordered_listing = False
    findings = asyncio.run(run_suite(AsyncMemoryStore(bucket), "scratch", None, rounds=1, exclude=("dates",)))
    assert {name for name, verdict in verdicts(findings).items() if verdict is Outcome.FAILED} == set()
    assert [finding.detail for finding in findings if finding.feature.name == "listing"] == [
        "without order: dicts have folders of entries"
    ]


@pytest.mark.parametrize("driver", ["boto3", "obstore"])
def test_store_with_one_write_per_second_and_key_is_examined(driver: Any, server: MisbehavingServer) -> None:
    expected = verdicts(look(quick(Client("b", endpoint_url=server.url, driver=driver)), exclude=SLOW))
    server.limiter = limiter = KeyLimiter(2, clock=itertools.count().__next__)  # admits every second write of a key
    client = quick(Client("b", prefix="limited", endpoint_url=server.url, driver=driver))
    found = look(client, exclude=SLOW)
    assert verdicts(found) == expected
    assert limiter.refused
    details = {finding.feature.name: finding.detail for finding in found}
    assert "throttled at write 2" in details["quick writes of one key"]


def test_throttled_write_that_is_applied_is_found(server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("quick writes of one key",)
    monkeypatch.setattr(suite, "FEATURES", [feature for feature in FEATURES if feature.name in names])
    server.flaws.add(Deviation.THROTTLED_IS_APPLIED)
    (found,) = look(quick(Client("b", endpoint_url=server.url, driver="boto3")))
    assert (found.verdict, found.detail) == (Outcome.FAILED, "a throttled write was applied")
