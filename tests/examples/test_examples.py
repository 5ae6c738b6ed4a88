"""The examples as a user runs them: in processes, some of which are killed, on a real S3."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from s3dict import Client, Dict
from s3dict.examples.crawler.frontier import PARTS, Crawl, Page, Survey, is_complete, part_of
from s3dict.examples.crawler.report import Report
from s3dict.examples.crawler.site import Served, Site
from s3dict.examples.leader import Journal, Line
from s3dict.testing import faults

from ..support.modes import Endpoint

# They wait for leases most of the time, so they run side by side. The cache starts a server for itself.
COMMANDS = {
    "crawler": ["--pages", "60", "--workers", "3", "--kills", "2", "--lease", "2"],
    "cache": ["--processes", "3", "--reports", "2", "--rounds", "5", "--seconds", "0.2"],
    "leader": ["--candidates", "3", "--terms", "3"],
}

Ran = Mapping[str, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def ran(seaweedfs: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """What became of each example."""
    folder = tmp_path_factory.mktemp("elsewhere")
    place = {"S3DICT_BUCKET": seaweedfs.bucket, "S3DICT_ENDPOINT_URL": seaweedfs.url, "S3DICT_PREFIX": "examples"}
    running = {
        name: subprocess.Popen(
            [sys.executable, "-W", "error", "-m", f"s3dict.examples.{name}", *options],
            cwd=folder,
            env=os.environ | {"COLUMNS": "120"} | ({} if name == "cache" else place),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, options in COMMANDS.items()
    }
    try:
        # No limit here: how long they take depends on the machine, and pytest ends a test that hangs.
        outputs = {name: process.communicate() for name, process in running.items()}
    finally:
        for process in running.values():
            process.kill()
    return {
        name: subprocess.CompletedProcess(process.args, process.returncode, *outputs[name])
        for name, process in running.items()
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_example_succeeds_without_warnings(ran: Ran, name: str) -> None:
    assert (ran[name].returncode, ran[name].stderr) == (0, ""), ran[name].stdout + ran[name].stderr


def test_crawler_records_each_page_once_though_workers_are_killed(ran: Ran) -> None:
    output = ran["crawler"].stdout
    assert "60 pages recorded" in output
    assert "2 workers were killed" in output
    assert "Each page was recorded exactly once." in output


def test_crawler_fetches_again_only_what_a_killed_worker_had(ran: Ran) -> None:
    output = ran["crawler"].stdout
    [served] = re.findall(r"The server served (\d+) pages", output)
    again = re.findall(r"(worker-\d+) was killed before it recorded the page", output)
    assert 60 + len(again) == int(served)
    assert len(set(again)) == len(again) <= 2


def test_cache_computes_each_result_once(ran: Ran) -> None:
    rows = dict(re.findall(r"│ (\w[\w ]*?) +│ (.*?) +│", ran["cache"].stdout))
    assert (rows["calls"], rows["computations"], rows["hit rate"]) == ("30", "2", "93.3%")


def test_journal_takes_nothing_of_a_deposed_leader(ran: Ran) -> None:
    output = ran["leader"].stdout
    ends = [re.split(r" *│ *", line)[5:7] for line in output.splitlines() if "pid" in line]
    assert ends == [["", "killed"], ["1", "suspended and deposed"], ["", "resigned"]]
    assert "No write of a deposed leader was accepted." in output


def test_journal_refuses_a_smaller_token_than_it_has_seen() -> None:
    journal = Journal().with_line(Line(2, 1, "a")).with_line(Line(2, 1, "b")).with_line(Line(1, 2, "late"))
    assert [line.text for line in journal.accepted] == ["a", "b"]
    assert [line.text for line in journal.rejected] == ["late"]


def test_all_pages_of_the_site_can_be_reached() -> None:
    with Site(300) as site:
        reached, waiting = {"/0"}, ["/0"]
        while waiting:
            links = re.findall(r'href="([^"]+)"', site.page(waiting.pop()) or "")
            waiting += set(links) - reached
            reached |= set(links)
        assert site.paths == reached
        assert site.page("/300") is None
        assert set(map(part_of, site.paths)) == set(range(PARTS))


class TestCrawl:
    @pytest.fixture
    def crawl(self, s3dict_client: Client) -> Iterator[Crawl]:
        with Dict.ephemeral(client=s3dict_client) as d:
            yield Crawl(d, 2)

    def test_frontier_is_what_was_found_and_is_not_done(self, crawl: Crawl) -> None:
        crawl.find(["/0", "/1"])
        crawl.find(["/1", "/2"])
        crawl.record("/1", Page("One", 0, "a", 1))
        survey = crawl.survey()
        assert list(map(sorted, (survey.found, survey.done, survey.open))) == [["/0", "/1", "/2"], ["/1"], ["/0", "/2"]]
        assert not survey.stopped
        crawl.stop()
        assert crawl.survey().stopped

    def test_first_record_wins(self, crawl: Crawl) -> None:
        first = Page("One", 0, "a", 1)
        crawl.record("/1", first)
        crawl.record("/1", Page("Other", 0, "b", 2))
        assert crawl.pages() == {"/1": first}

    def test_record_with_lost_responses_is_made_once(self, s3dict_memory_client: Client) -> None:
        with Dict.ephemeral() as d, faults(s3dict_memory_client, "lost-request", operation="put", times=3) as fault:
            crawl, page = Crawl(d, 2), Page("One", 0, "a", 1)
            crawl.record("/1", page)
            assert crawl.pages() == {"/1": page}
            assert fault.hits == 3

    def test_crawl_is_complete_when_two_listings_agree(self) -> None:
        half = Survey(frozenset({"/0", "/1"}), frozenset({"/0"}), False)
        some = Survey(frozenset({"/0"}), frozenset({"/0"}), False)
        done = Survey(frozenset({"/0", "/1"}), frozenset({"/0", "/1"}), False)
        assert is_complete(done, done)
        assert not is_complete(half, half)
        assert not is_complete(some, done)
        assert not is_complete(half, done)


class TestReport:
    """It finds out what must not happen."""

    LOG = (Served("/0", "a", 1), Served("/1", "b", 2))

    def faults(self, *, log: tuple[Served, ...] = LOG, site: frozenset[str] = frozenset({"/0", "/1"})) -> list[str]:
        pages = {"/0": Page("Zero", 0, "a", 1), "/1": Page("One", 0, "b", 2)}
        return Report(pages, log, {"k"}, 1.0).faults(site)

    def test_correct_report_has_no_faults(self) -> None:
        assert self.faults() == []

    def test_killed_worker_may_have_fetched_one_page_in_vain(self) -> None:
        assert self.faults(log=(*self.LOG, Served("/1", "k", 1))) == []

    def test_second_extra_fetch_of_a_killed_worker_is_a_fault(self) -> None:
        log = (*self.LOG, Served("/0", "k", 1), Served("/1", "k", 1))
        assert self.faults(log=log) == ["k, killed once, fetched 2 unrecorded pages"]

    def test_missing_page_is_a_fault(self) -> None:
        assert self.faults(site=frozenset({"/0", "/1", "/2"})) == ["1 pages were not recorded: /2"]

    def test_unfetched_record_is_a_fault(self) -> None:
        assert self.faults(log=self.LOG[:1]) == ["1 pages were recorded but never fetched: /1"]

    def test_page_fetched_twice_under_one_claim_is_a_fault(self) -> None:
        assert self.faults(log=(*self.LOG, self.LOG[0])) == ["1 pages were fetched twice by one claim: /0"]
