"""`python -m tests.fuzz`, at its shortest, and the table in the guide."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ..support.reports import read_block
from . import __main__ as command
from . import engines
from .engines import EXHAUSTIVE, ROOT, Outcome
from .fuzz_targets import Target
from .report import README, write_readme


def test_command_tries_a_target_in_every_way_and_says_how_often() -> None:
    arguments = [sys.executable, "-m", "tests.fuzz", "--seconds", "0.2", "--only", "id"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"id: {EXHAUSTIVE} " in done.stdout
    assert "python -m tests.fuzz --seconds 0.2 --only id" in " ".join(done.stdout.split())


def test_command_fails_where_something_broke(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(target: Target, seconds: float) -> Outcome:
        return Outcome("engine", target.name, 7, (ROOT / "input",), "it broke")

    monkeypatch.setattr(command, "engines", lambda: (broken,))
    assert command.main(["--only", "key"]) == 1
    assert "key, engine: it broke. Kept: input" in capsys.readouterr().out


def test_without_atheris_the_command_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engines, "has_atheris", lambda: False)
    monkeypatch.setattr(command, "has_atheris", lambda: False)
    assert command.main(["--only", "id", "--seconds", "0"]) == 0
    assert "hypothesis goes alone" in capsys.readouterr().out


def test_table_replaces_the_previous_table(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- hostile input: command -->\nold\n<!-- end of hostile input -->\nafter\n")
    write_readme([Outcome("engine", "key", 1234)], "about", page)
    table = "| Input | engine | Violations |\n| --- | ---: | ---: |\n| key | 1,234 | 0 |\n| **all** | 1,234 | 0 |"
    assert page.read_text() == (
        f"before\n<!-- hostile input: command -->\n\n{table}\n\nabout\n\n<!-- end of hostile input -->\nafter\n"
    )


def test_page_without_a_place_for_the_table_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("text")
    with pytest.raises(ValueError, match="0 parts named 'hostile input'"):
        write_readme([], "about", page)


def test_report_has_no_violations() -> None:
    rows = [line.split("|")[1:-1] for line in read_block(README, "hostile input").splitlines() if line.startswith("| ")]
    assert rows[2:]
    assert {row[-1].strip() for row in rows[2:]} == {"0"}
