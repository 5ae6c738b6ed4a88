"""A lifecycle that really deletes, and what it must and must not find to delete.

A day lasts some seconds, so a week of inactivity takes half a minute. The promises are checked half a day within their
limits where Ceph's own lifecycle counts, which cuts the time of a write to the whole second: a quarter of a day here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

import pytest

from s3dict import Dict, NotFoundError
from s3dict._core import catalog
from s3dict._format.entry import TOMBSTONE_BYTES

from ..races.workers import KILLED, Workers
from ..support.ceph import CephGateway
from .environment import DAY_SECONDS, Calendar, Environment
from .visits import Rules, Visit, violations
from .workloads import PROCESSES, JournalFile, Renewal, abandon, live

pytestmark = pytest.mark.timeout(600)

TTL, SWEEP, SIX_WEEKS = 7, 8, 42
RULES = Rules(least=TTL - 0.6, most=SWEEP)
ENTRIES = {n: f"value of {n}" for n in range(20)}
Scenario = Callable[[Environment], None]


def data(name: str, sweep: str = "sweep-8d") -> str:
    return f"{sweep}/named/main/{name}/"


def test_probe_detects_capabilities_of_ceph_16(place: Environment, gateway: CephGateway) -> None:
    if gateway.version() != 16:
        pytest.skip(f"this is Ceph {gateway.version()}, and other versions honour more")
    place.dict("probed")
    expected = {"quoted_etags": False, "conditional_delete": False, "conditional_copy": False}
    assert json.loads(place.read("store.json"))["store"] == expected
    assert json.loads(place.read("manifests/main/probed.json"))["store"] == expected


def what_nobody_reads_is_swept(place: Environment) -> None:
    d, calendar = place.dict("unread"), Calendar()
    d.update(ENTRIES)
    calendar.wait_until(TTL)
    assert ENTRIES.keys() == set(d.keys())
    calendar.wait_until(SWEEP)
    place.wait_until_left(0, data("unread"))
    assert d.get_many(ENTRIES) == {}


def what_is_over_is_never_returned(place: Environment) -> None:
    """Each entry is read once, each later than the one before it."""
    d, calendar = place.dict("read-once"), Calendar()
    entries = {n: n for n in range(100)}
    d.update(entries)
    written = calendar.now()
    for n in entries:
        calendar.wait_until(n * 0.1)
        asked, found, answered = calendar.now(), d.get(n), calendar.now()
        assert answered > TTL or found == n
        assert asked < written + SWEEP or found is None


def what_is_only_read_stays(place: Environment) -> None:
    reads: Mapping[str, Callable[[Dict[Any, Any]], Any]] = {
        "get": lambda d: {key: d.get(key) for key in ENTRIES},
        "contains": lambda d: {key: value for key, value in ENTRIES.items() if d.contains(key)},
        "items": lambda d: dict(d.items()),
        "get_many": lambda d: d.get_many(ENTRIES),
    }
    calendar, dicts = Calendar(), {name: place.dict(f"read-by-{name}") for name in reads}
    for d in dicts.values():
        d.update(ENTRIES)
    for day in range(TTL - 1, SIX_WEEKS + 1, TTL - 1):
        calendar.wait_until(day)
        for name, d in dicts.items():
            assert reads[name](d) == ENTRIES, f"read by {name} on day {day}"
    assert sum(place.swept(data(f"read-by-{name}")) for name in dicts) == 0


def what_has_no_ttl_and_all_manifests_stay(place: Environment) -> None:
    calendar, kept = Calendar(), place.dict("kept", ttl=None)
    kept.update(ENTRIES)
    place.dict("idle")["k"] = "v"
    places = (data("kept", "keep"), "manifests/main/kept.json", "manifests/main/idle.json", "store.json")
    before = [place.listing(where) for where in places]
    calendar.wait_until(SIX_WEEKS)
    assert [place.listing(where) for where in places] == before
    assert list(map(len, before)) == [len(ENTRIES), 1, 1, 1]
    assert dict(kept.items()) == ENTRIES
    assert place.dict("idle").len() == 0


def an_open_ephemeral_dict_goes_on(place: Environment) -> None:
    calendar = Calendar()
    with Dict.ephemeral(client=place.client) as d:
        for day in range(0, SIX_WEEKS + 1, TTL - 1):
            calendar.wait_until(day)
            d[day] = day
            assert set(dict(d.items())) == set(range(0, day + 1, TTL - 1))
        assert Dict.from_id(d.object_id, place.client)[SIX_WEEKS] == SIX_WEEKS
        manifest, paths = manifest_and_data(d.object_id)
        assert [len(place.listing(where)) for where in (manifest, paths)] == [1, 8]
    assert [len(place.listing(where)) for where in (manifest, paths)] == [0, 0]


def what_a_dead_process_left_of_an_ephemeral_dict_is_swept(place: Environment) -> None:
    note = place.dict("note")
    with Workers() as workers:
        assert workers.run(1, abandon, note, entries=len(ENTRIES)) == [KILLED]
    calendar = Calendar()
    manifest, paths = manifest_and_data(note["abandoned"])
    assert [len(place.listing(where)) for where in (manifest, paths)] == [1, len(ENTRIES)]
    calendar.wait_until(2)
    place.wait_until_left(0, manifest)
    assert len(place.listing(paths)) == len(ENTRIES)
    with pytest.raises(NotFoundError):
        Dict.from_id(note["abandoned"], place.client).hydrate()
    calendar.wait_until(SWEEP)
    place.wait_until_left(0, paths)


def manifest_and_data(object_id: str) -> tuple[str, str]:
    ulid = object_id.removeprefix("di-")
    return f"ephemeral/{ulid}.json", f"sweep-8d/ephemeral/{ulid}/"


def tombstones_are_swept(place: Environment) -> None:
    d, calendar = place.dict("popped"), Calendar()
    d.update(ENTRIES)
    assert d.pop_many(ENTRIES) == ENTRIES
    assert [size for _, size in place.listing(data("popped")).values()] == [TOMBSTONE_BYTES] * len(ENTRIES)
    assert all(d.put(n, "again", skip_if_exists=True) for n in range(10))
    calendar.wait_until(TTL - 1)
    again = dict.fromkeys(range(10), "again")
    assert d.get_many(ENTRIES) == again
    calendar.wait_until(SWEEP)
    place.wait_until_left(len(again), data("popped"))
    assert dict(d.items()) == again


SCENARIOS: tuple[Scenario, ...] = (
    what_nobody_reads_is_swept,
    what_is_over_is_never_returned,
    what_is_only_read_stays,
    what_has_no_ttl_and_all_manifests_stay,
    an_open_ephemeral_dict_goes_on,
    what_a_dead_process_left_of_an_ephemeral_dict_is_swept,
    tombstones_are_swept,
)


@pytest.fixture(scope="module")
def six_weeks(place: Environment) -> Iterator[Mapping[Scenario, Future[None]]]:
    """All scenarios pass these weeks at once."""
    heartbeat = patch.object(catalog, "HEARTBEAT_SECONDS", DAY_SECONDS / 4)
    with heartbeat, ThreadPoolExecutor(len(SCENARIOS)) as pool:
        yield {scenario: pool.submit(scenario, place) for scenario in SCENARIOS}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_entries_are_renewed_or_swept_over_six_weeks(
    six_weeks: Mapping[Scenario, Future[None]], scenario: Scenario
) -> None:
    six_weeks[scenario].result()


def visits_by_key(journals: list[JournalFile]) -> dict[int, list[Visit]]:
    visits: dict[int, list[Visit]] = {}
    for journal in journals:
        for key, noted in journal.visits.items():
            visits.setdefault(key, []).extend(noted)
    return visits


def faults(visits: Mapping[int, list[Visit]]) -> list[str]:
    return [f"key {key} {fault}" for key, noted in visits.items() for fault in violations(noted, RULES)]


def story(visits: Mapping[int, list[Visit]]) -> str:
    """All visits of the keys with a fault, to find out why."""
    noted = (noted for noted in visits.values() if any(violations(noted, RULES)))
    return "\n\n".join("\n".join(map(str, sorted(visits, key=lambda visit: visit.start))) for visits in noted)


def kept_by_reading(visits: Mapping[int, list[Visit]]) -> int:
    """How many values were seen later than the sweep would have come, had no process read them."""
    written: dict[object, float] = {visit.made: visit.end for noted in visits.values() for visit in noted if visit.made}
    sights = [(visit.saw, visit.start) for noted in visits.values() for visit in noted if isinstance(visit.saw, str)]
    return len({value for value, day in sights if day > written.get(value, day) + SWEEP + 1})


def figures(place: Environment, name: str, journals: list[JournalFile]) -> dict[str, int]:
    visits = visits_by_key(journals)
    return {
        "visits": sum(map(len, visits.values())),
        "renewals": sum(journal.renewed for journal in journals),
        "failed renewals": sum(journal.failed_renewals for journal in journals),
        "failed calls": sum(journal.failed_calls for journal in journals),
        "values kept by reading": kept_by_reading(visits),
        "objects swept": place.swept(data(name)),
        "violations": len(faults(visits)),
    }


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers() as started:
        yield started


def test_nothing_is_lost_and_nothing_comes_back_among_readers_writers_and_the_sweeper(
    place: Environment, workers: Workers
) -> None:
    d = place.dict("shared")
    journals: list[JournalFile] = workers.run(PROCESSES, live, d, keys=900, days=16, renewal=Renewal.PROPER)
    counts = figures(place, "shared", journals)
    print(counts)
    assert faults(visits_by_key(journals)) == [], story(visits_by_key(journals))
    assert all(counts[name] > 0 for name in ("renewals", "values kept by reading", "objects swept"))


def test_workload_detects_missing_renewals(place: Environment, workers: Workers) -> None:
    d = place.dict("not-renewed")
    journals: list[JournalFile] = workers.run(PROCESSES, live, d, keys=300, days=10, renewal=Renewal.NONE)
    print(figures(place, "not-renewed", journals))
    assert {fault.split()[2].rstrip(":") for fault in faults(visits_by_key(journals))} == {"lost"}
