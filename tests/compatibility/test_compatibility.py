"""The compatibility matrix in its short form; `python -m tests.compatibility` is the long form."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s3dict._admin.conformance.suite import Outcome

from ..support.modes import Endpoint
from .results import Result
from .run import seen
from .suites import Counts
from .table import UNTRIED, markdown
from .verdicts import looked_at, workers

SLOW = ("listing in pages", "dates", "a and a/b at once")
IGNORED_BY_MOTO = ["COPY If-Match, source", "COPY If-Match, destination"]
KEPT_BY_MOTO = ["Content-MD5", "x-amz-checksum-sha256", "whole puts"]


def shortly(name: str, endpoint: Endpoint | None, worker: int) -> Result:
    """As one of the ways to the server sees it."""
    chosen = workers(name, endpoint, ("boto3",))[worker]
    return seen(name, {chosen: looked_at(chosen, rounds=1, exclude=SLOW)})


def test_memory_supports_every_feature() -> None:
    result = shortly("memory", None, 0)
    assert (result.verdict, result.lacking, result.is_right) == ("supported", [], True)
    assert {result.sights[name].verdict for name in KEPT_BY_MOTO} == {Outcome.SKIPPED}


def test_seaweedfs_supports_every_feature(seaweedfs: Endpoint) -> None:
    result = shortly("seaweedfs", seaweedfs, 1)
    assert (result.verdict, result.lacking, result.is_right) == ("supported", [], True)
    assert {sight.verdict for sight in result.sights.values()} == {Outcome.PASSED}


def test_moto_accepts_corrupt_puts_and_ignores_copy_conditions(moto: Endpoint) -> None:
    result = shortly("moto", moto, 0)
    assert (result.verdict, result.lacking) == ("supported", IGNORED_BY_MOTO + KEPT_BY_MOTO)


def test_nanio_is_rejected_rightly(nanio: Endpoint) -> None:
    result = shortly("nanio", nanio, 0)
    assert (result.verdict, result.is_right) == ("refused: ignores PUT If-None-Match and PUT If-Match", True)
    assert result.refusal is not None
    assert "responded with 200 to 'PUT If-None-Match: *'" in result.refusal


@pytest.fixture
def result() -> Result:
    return shortly("memory", None, 1)


def test_table_has_a_row_for_each_server_and_a_column_in_the_details(result: Result) -> None:
    counted = replace(result, title="One", suite=Counts(1234, ("test_it",), 5))
    text = markdown({"one": counted}, {"two": "no network\n| at all"})
    assert "| One | 0.1.0 | supported | 1,234 passed, 1 failed, 5 skipped | not run |  |" in text
    assert "| two |  | not tested: no network" in text
    assert "| **PUT If-Match** | ✓ |" in text
    for title in UNTRIED:
        assert f"| {title} |" in text


def test_wrongly_accepted_store_is_marked(result: Result) -> None:
    race = "race of PUT If-Match"
    lost = replace(result.sights[race], verdict=Outcome.FAILED, is_fatal=True)
    wrong = replace(result, sights={**result.sights, race: lost})
    assert (wrong.verdict, wrong.is_right) == (f"taken, **wrongly**: {race}", False)


def test_wrongly_rejected_store_is_marked(result: Result) -> None:
    assert not replace(result, refusal="It looked at me in a funny way").is_right


def test_failed_suite_is_marked(result: Result) -> None:
    assert replace(result, suite=Counts(5, (), 1)).is_right
    assert not replace(result, suite=Counts(5, ("test_it",), 1)).is_right
