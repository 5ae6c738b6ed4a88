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
from s3dict._admin.conformance import suite as examination
from s3dict._admin.conformance.suite import FEATURES, Finding, Verdict, examine
from s3dict._admin.doctor import diagnose
from s3dict._core.probe import probe
from s3dict._stores.base import Body, Deleted, Found, NotModified, Reason, Refused, Written
from s3dict._stores.memory import AsyncMemoryStore, memory_bucket
from s3dict._stores.shared.threads import run_blocking

from ..support.commands import Answer, answer
from ..support.faulty_server import Flaw, MisbehavingServer
from ..support.modes import Endpoint
from ..support.proxy import Fault, Proxy

SLOW = ("listing in pages", "dates")
S = TypeVar("S", bound=AsyncMemoryStore)
_numbers = itertools.count()


def verdicts(findings: tuple[Finding, ...]) -> dict[str, Verdict]:
    return {finding.feature.name: finding.verdict for finding in findings}


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as misbehaving:
        boto3.client("s3", endpoint_url=misbehaving.url).create_bucket(Bucket="b")
        yield misbehaving


def look(client: Client, **options: Any) -> tuple[Finding, ...]:
    return run_blocking(
        examine(client._store(aio=False), f"{client.prefix}/scratch", client._damaged_puts(), rounds=1, **options)
    )


@pytest.mark.parametrize(
    ("flaw", "lacking"),
    [
        (Flaw.PUT_IGNORES_IF_NONE_MATCH, {"PUT If-None-Match"}),
        (Flaw.PUT_IGNORES_IF_MATCH, {"PUT If-Match"}),
        (Flaw.PUT_WANTS_BARE_ETAG, set()),
        (Flaw.DELETE_IGNORES_IF_MATCH, {"DELETE If-Match"}),
        (Flaw.DELETE_REFUSES_IF_MATCH, {"DELETE If-Match"}),
        (Flaw.DELETE_MISSING_IS_204, {"DELETE If-Match"}),
        (Flaw.COPY_IGNORES_SOURCE_IF_MATCH, {"COPY If-Match, source"}),
        (Flaw.COPY_IGNORES_IF_MATCH, {"COPY If-Match, destination"}),
        (Flaw.COPY_REFUSED, {"COPY If-Match, source", "COPY If-Match, destination"}),
    ],
)
def test_what_a_server_lacks_is_found_and_nothing_else(
    server: MisbehavingServer, flaw: Flaw, lacking: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3dict._core.conditional.FIRST_PAUSE", 0.001)
    monkeypatch.setattr(examination, "FEATURES", [feature for feature in FEATURES if "If-" in feature.name])
    server.flaws.add(flaw)
    seen = verdicts(look(Client("b", endpoint_url=server.url, driver="boto3")))
    unmet = {name for name, verdict in seen.items() if verdict in (Verdict.NO, Verdict.UNCLEAR)}
    assert lacking == unmet
    assert {name for name in seen if any(name.startswith(f"race of {each}") for each in lacking)} <= {
        name for name, verdict in seen.items() if verdict is Verdict.NOT_TRIED
    }


class Gap(AsyncMemoryStore):
    """Looks first, and writes afterwards, as long as requests come one by one nobody can tell."""

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> Written | Refused:
        found = await self.get(path)
        holds = (found is None) if if_none_match else if_match is None or _etag(found) == if_match
        await asyncio.sleep(0)
        return await super().put(path, body) if holds else Refused(Reason.CONDITION)

    async def delete(self, path: str, *, if_match: str | None = None) -> Deleted | Refused:
        holds = if_match is None or _etag(await self.get(path)) == if_match
        await asyncio.sleep(0)
        return await super().delete(path) if holds else Refused(Reason.CONDITION)


def _etag(found: Found | NotModified | None) -> str | None:
    return found.etag if isinstance(found, Found) else None


class Torn(AsyncMemoryStore):
    """Writes an object in two halves, with a gap in between."""

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> Written | Refused:
        if if_match is None and not if_none_match:
            await super().put(path, body[: len(body) // 2])
            await asyncio.sleep(0)
        return await super().put(path, body, if_match=if_match, if_none_match=if_none_match)


def in_memory(kind: type[S]) -> S:
    return kind(memory_bucket(f"examined-{next(_numbers)}"))


def test_a_store_that_looks_and_then_writes_passes_the_probe_and_is_found_out_by_races() -> None:
    async def both() -> tuple[Any, tuple[Finding, ...]]:
        store = in_memory(Gap)
        return await probe(store, "probe"), await examine(store, "scratch", None, rounds=2, leave_out=SLOW)

    capabilities, findings = asyncio.run(both())
    assert capabilities.conditional_delete
    races = {name: verdict for name, verdict in verdicts(findings).items() if name.startswith("race")}
    assert {Verdict.NO} == set(races.values())
    assert 4 == len(races)
    assert [True] * 4 == [finding.is_fatal for finding in findings if finding.feature.name in races]
    assert {"16 of 16 at once were told that they won"} <= {finding.detail for finding in findings}


def test_a_read_of_half_an_object_is_found_out() -> None:
    findings = asyncio.run(examine(in_memory(Torn), "scratch", None, rounds=2, leave_out=SLOW))
    assert ["whole objects"] == [name for name, verdict in verdicts(findings).items() if verdict is Verdict.NO]


class Late(AsyncMemoryStore):
    """Shows what was put from the second read on."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._unread: set[str] = set()

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> Written | Refused:
        self._unread.add(path)
        return await super().put(path, body, if_match=if_match, if_none_match=if_none_match)

    async def get(self, path: str, **how: Any) -> Found | NotModified | None:
        if path in self._unread:
            self._unread.remove(path)
            return None
        return await super().get(path, **how)


def test_a_store_that_shows_late_what_was_put_is_found_out_and_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3dict._admin.conformance.features._MORE_THAN_A_SECOND", 0)
    names = ("GET If-None-Match", "GET Range", "dates")
    monkeypatch.setattr(examination, "FEATURES", [feature for feature in FEATURES if feature.name in names])
    findings = asyncio.run(examine(in_memory(Late), "scratch", None, rounds=1))
    assert dict.fromkeys(names, (Verdict.NO, "what was put is not found")) == {
        finding.feature.name: (finding.verdict, finding.detail) for finding in findings
    }


class Unasked(AsyncMemoryStore):
    """Answers 304 whether there was a condition or not."""

    async def get(self, path: str, **how: Any) -> Found | NotModified | None:
        found = await super().get(path, **how)
        return found and NotModified()


def test_a_store_that_answers_304_unasked_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "FEATURES", [feature for feature in FEATURES if feature.name == "GET Range"])
    [finding] = asyncio.run(examine(in_memory(Unasked), "scratch", None, rounds=1))
    assert (Verdict.NO, "answered 304 to a GET without a condition") == (finding.verdict, finding.detail)


class Counting(AsyncMemoryStore):
    """How many requests there were, of each kind."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.requests: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        if name in ("get", "head", "put", "delete", "delete_many", "copy", "list_page"):
            self.requests[name] += 1
        return super().__getattribute__(name)


def test_it_takes_the_requests_that_it_says_and_leaves_nothing_behind() -> None:
    store = in_memory(Counting)
    asyncio.run(examine(store, "scratch", None))
    assert 2_500 < store.requests.total() < 3_200
    page = asyncio.run(store.list_page(""))
    assert () == page.objects


def test_what_fails_on_the_way_is_tried_anew(server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3dict._core.conditional.FIRST_PAUSE", 0.001)
    monkeypatch.setattr(examination, "FEATURES", FEATURES[:2])
    with Proxy(server.url) as proxy:
        proxy.script(Fault("slow-down", "PutObject"))
        proxy.script(Fault("lost-answer", "PutObject"))
        seen = look(Client("b", endpoint_url=proxy.url, driver="boto3"))
    assert {Verdict.YES} == set(verdicts(seen).values())


def doctor(server: MisbehavingServer, *arguments: str) -> Answer:
    return answer("doctor", "--bucket", "b", "--endpoint-url", server.url, "--deep", *arguments)


def test_the_doctor_looks_deep_when_asked_and_tells_what_is_missing(
    server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "FEATURES", [feature for feature in FEATURES if "DELETE" in feature.name])
    server.flaws.add(Flaw.DELETE_IGNORES_IF_MATCH)
    checks = {check["name"]: check for check in doctor(server, "--json").json["checks"]}
    tombstones = "without it: removing an entry leaves a small tombstone"
    found = checks["DELETE If-Match"]
    assert ("warning", "answered 204 with a wrong ETag", tombstones) == tuple(
        found[field] for field in ("status", "detail", "advice")
    )
    assert "not tried" == checks["race of PUT and DELETE"]["status"]
    assert "- race of DELETE If-Match: DELETE If-Match is not honoured in the first place" in doctor(server).stdout


def test_what_is_needed_and_missing_makes_the_doctor_fail(
    server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "FEATURES", FEATURES[:2])
    server.flaws.add(Flaw.PUT_IGNORES_IF_MATCH)
    done = doctor(server)
    assert 1 == done.exit_code
    assert "✗ PUT If-Match: answered 200 with a wrong ETag" in done.stdout.splitlines()
    assert "✓ PUT If-None-Match: honoured" in done.stdout.splitlines()


def test_to_look_deep_is_to_write(server: MisbehavingServer) -> None:
    with pytest.raises(InvalidError, match="To look deep is to write"):
        list(diagnose(Client("b", endpoint_url=server.url), read_only=True, deep=True))


def test_who_may_not_write_is_told_so(server: MisbehavingServer) -> None:
    with Proxy(server.url) as proxy:
        proxy.faults = [Fault("denied", "PutObject")]
        checks = list(diagnose(Client("b", endpoint_url=proxy.url, driver="boto3"), deep=True))
    assert ("features", True) == (checks[-1].name, checks[-1].detail.startswith("not allowed: PutObject"))


def test_a_real_server_takes_nothing_damaged(seaweedfs: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "FEATURES", [feature for feature in FEATURES if feature.sends_damaged])
    seen = verdicts(look(Client(seaweedfs.bucket, prefix="damaged", endpoint_url=seaweedfs.url)))
    assert {"Content-MD5": Verdict.YES, "x-amz-checksum-sha256": Verdict.YES, "whole puts": Verdict.YES} == seen
