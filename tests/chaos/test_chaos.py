"""All guarantees hold while servers and clients are killed, the network fails, disks fill and clocks are wrong.

This is the short form of `python -m tests.chaos`, of some seconds each; ``--chaos=full`` is a minute each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from s3dict import Client, Dict
from s3dict._stores.shared.threads import run_blocking
from s3dict.testing import faults

from ..support.history import Recorder
from ..support.linearizability import Put
from ..support.modes import AnyMode, Mode
from .clients import check_dict, check_locks, clients_killed
from .disk import NotPossibleError, disk_full
from .journal import Findings, JournalFile, check_journals, value_of
from .kills import radosgw_killed, seaweed_killed
from .network import EVERYTHING, PROFILES, network, no_response
from .results import Result
from .runner import Lab, Rounds
from .skew import clock_skew
from .soak import Load, Sample, Soaked, growth, remnants, soak
from .workloads import COUNTER, Counted, Progress

SCENARIOS: dict[str, Callable[[Lab], Result]] = {
    "the server is killed": seaweed_killed,
    "clients are killed": clients_killed,
    "the network fails": partial(network, profile=EVERYTHING),
    "the store throttles": partial(network, profile=PROFILES["throttled"]),
    "the store does not respond": no_response,
    "clocks are wrong": clock_skew,
    "mixed load": partial(soak, processes=2, tasks=4),
}


def check(result: Result) -> None:
    print(f"{result.scenario}: {result.operations} operations, {result.injected}, {result.noted}")
    assert result.violations == ()
    assert result.operations > 0
    assert all(result.injected.values())


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_scenario_breaks_no_guarantee(scenario: Callable[[Lab], Result], lab: Lab) -> None:
    check(scenario(lab))


def test_full_disk_breaks_no_guarantee(lab: Lab) -> None:
    try:
        check(disk_full(lab))
    except NotPossibleError as error:
        pytest.skip(str(error))


def test_killed_gateway_breaks_no_guarantee(lab: Lab, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--ceph", default=False):
        pytest.skip("Ceph is an installation: pytest --ceph tests/chaos")
    check(radosgw_killed(lab))


# Each of the checks can fail, and does where it should.


@pytest.fixture
def client(configured: Client) -> Client:
    return configured


@pytest.fixture
def d(client: Client) -> Dict[Any, Any]:
    return Dict.from_name("d", create_if_missing=True, client=client)


def test_unexplainable_history_is_reported(lab: Lab, client: Client, tmp_path: Path) -> None:
    """That the checker finds planted bugs is for the tests of histories; here, that it is asked, of what is there."""
    rounds, progress = Rounds(lab, client), Progress(tmp_path, "r", 0, ("a",), 60)
    with Recorder(tmp_path, "p") as recorder, recorder.operation("a", Put("acknowledged")) as running:
        running.result = True
    rounds.check(progress, [])
    assert len(rounds.violations) == 1
    assert "no order of these operations explains" in rounds.violations[0]


def test_wrong_counter_is_reported(lab: Lab, d: Dict[Any, Any], client: Client) -> None:
    rounds = Rounds(lab, client)
    for count, is_fine in ((4, False), (5, True), (7, True), (8, False)):
        d[COUNTER] = count
        assert is_fine is not bool(rounds.check_count([Counted(certain=2), Counted(certain=3, uncertain=2)]))


def test_lost_or_torn_entry_is_reported(d: Dict[Any, Any], client: Client, tmp_path: Path) -> None:
    journal = JournalFile(tmp_path, "p")
    for _ in range(3):
        run_blocking(journal.write(AnyMode(d, Mode.SYNC)))
    with faults(client, "unreachable", operation="put"):
        run_blocking(journal.write(AnyMode(d, Mode.SYNC)))
    journal.close()
    assert check_journals(tmp_path, d) == Findings(acknowledged=3, begun=4, violations=())
    del d["p", 1]
    d["p", 2] = b"half"
    lost, torn = "the acknowledged entry 1 of p is lost", "the entry 2 of p is torn"
    assert check_journals(tmp_path, d).violations == (lost, torn)


def test_torn_or_unusable_dict_is_reported(d: Dict[Any, Any], client: Client) -> None:
    d[1] = value_of("d", 1)
    assert list(check_dict(client, "d")) == []
    d[2] = value_of("d", 1)
    assert list(check_dict(client, "d")) == ["the entries [2] of d are torn"]
    with faults(client, "denied", operation="put"):
        assert any("not usable" in said for said in check_dict(client, "d"))


def test_leftover_lock_is_reported(d: Dict[Any, Any]) -> None:
    assert check_locks(d, timeout=0) == []
    with d.lock("lock 1"):
        [said] = check_locks(d, timeout=0)
    assert "The lock 'lock 1' of Dict 'd'" in said


@pytest.mark.parametrize(
    ("name", "a_sample", "is_found"),
    [("memory", 0.1, False), ("memory", 0.6, True), ("tasks", 2.0, True), ("sockets", 2.0, True), ("threads", 1, True)],
)
def test_growing_resource_is_reported(name: str, a_sample: float, is_found: bool) -> None:
    calm = Sample(seconds=0, memory=90, threads=10, tasks=64, fds=70, sockets=60, operations=0)
    samples = [replace(calm, **{name: getattr(calm, name) + a_sample * n}) for n in range(100)]
    assert bool(growth(samples)) == is_found


def test_leftover_task_is_reported(d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.chaos.soak._SETTLE_SECONDS", 0)
    for leak, is_found in ((None, False), ("tasks", True)):
        soaked = Soaked(d, Load({}, seconds=0.1, tasks=2, leak=leak))
        asyncio.run(soaked.run())
        assert any("tasks" in said for said in remnants(soaked.before, soaked.settle())) == is_found
