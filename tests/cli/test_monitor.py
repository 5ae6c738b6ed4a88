"""``s3dict watch`` and ``s3dict top``: what changes between listings, for people, for a pipe and as JSON lines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from s3dict import Client, Dict

from ..support.commands import answer, shown

pytestmark = [pytest.mark.backends("memory"), pytest.mark.usefixtures("configured")]
Step = Callable[[], object]


@pytest.fixture
def d(configured: Client) -> Dict[Any, Any]:
    return Dict.from_name("d", create_if_missing=True).hydrate()


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[Step]], None]:
    """Do one step between two listings, instead of sleeping."""

    def install(steps: Iterable[Step]) -> None:
        pending = iter(steps)
        monkeypatch.setattr(time, "sleep", lambda _: next(pending)())

    return install


def interrupt() -> None:
    raise KeyboardInterrupt


def steps_of(d: Dict[Any, Any]) -> Iterator[Step]:
    yield lambda: d.put("a", 1)
    yield lambda: None
    yield lambda: d.put("a", "another value")
    yield lambda: d.discard("a")


def test_watch_prints_changes_for_a_pipe(d: Dict[Any, Any], between: Any) -> None:
    d["before"] = 0
    between(steps_of(d))
    watched = answer("watch", "d", "--times", "5", "--interval", "1")
    assert watched.exit_code == 0
    assert [line.split("\t")[1:3] for line in watched.stdout.splitlines()] == [
        ["added", "'a'"],
        ["written", "'a'"],
        ["removed", "'a'"],
    ]
    assert all(line.split("\t")[0].endswith("Z") for line in watched.stdout.splitlines())
    assert "1 entry, 1 request every 1 s ($0.02 an hour at AWS)" in watched.stderr


def test_watch_prints_json_lines(d: Dict[Any, Any], between: Any) -> None:
    between(steps_of(d))
    lines = [json.loads(line) for line in answer("watch", "d", "--times", "5", "--json").stdout.splitlines()]
    assert [(line["change"], line["key"]) for line in lines] == [
        ("added", "'a'"),
        ("written", "'a'"),
        ("removed", "'a'"),
    ]
    assert lines[1]["bytes"] > lines[0]["bytes"]


def test_watch_marks_changes_on_a_terminal_until_ctrl_c(d: Dict[Any, Any], between: Any) -> None:
    between([*steps_of(d), interrupt])
    out, err = shown("watch", "d")
    assert [line.split("Z ")[1][:5] for line in out.splitlines()] == ["+ 'a'", "~ 'a'", "- 'a'"]
    assert "Ctrl-C ends it." in err


def test_top_shows_entries_rates_and_locks(d: Dict[Any, Any], between: Any) -> None:
    between([lambda: d.update({n: bytes(1000) for n in range(10)}), lambda: d.lock("builds").acquire(), interrupt])
    lines = answer("top", "--interval", "1").stdout.splitlines()
    rows = [line.split("\t") for line in lines]
    assert [row[:2] for row in rows] == [["d", "0"], ["d", "10"], ["d", "10"]]
    assert [row[4] for row in rows] == ["0", "0", "1"]
    assert "\tbuilds: " in lines[2]


def test_top_prints_json_lines(d: Dict[Any, Any], between: Any) -> None:
    d["a"] = 1
    d.lock("builds").acquire()
    held = d.lock("builds").holder()
    [line] = answer("top", "--times", "1", "--json").stdout.splitlines()
    [described] = json.loads(line)["dicts"]
    assert held is not None
    assert (described["name"], described["entries"]) == ("d", 1)
    assert [(lock["name"], lock["holder"]) for lock in described["locks"]] == [("builds", held.owner)]


def test_top_names_the_environment_and_the_cost_on_a_terminal(d: Dict[Any, Any]) -> None:
    out, _ = shown("top", "--times", "1")
    assert "1 dict in environment 'main'" in out
    assert "an hour at AWS. Ctrl-C ends it." in out
