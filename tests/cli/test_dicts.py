"""``s3dict create``, ``list``, ``info``, ``clear``, ``delete``, and what all commands have in common."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest

from s3dict import Client, Dict, InvalidError, NotFoundError
from s3dict.cli import main

from ..support.commands import answer, shown

pytestmark = pytest.mark.usefixtures("configured")


def names(environment: str = "") -> list[str | None]:
    return [found.name for found in Dict.objects.list(environment_name=environment)]


def test_create_is_idempotent() -> None:
    first, handle = answer("create", "d"), Dict.from_name("d")
    assert (first.exit_code, first.stdout, first.stderr) == (0, "", "")
    handle["k"] = 1
    assert answer("create", "d").exit_code == 0
    assert handle["k"] == 1


@pytest.mark.parametrize(
    ("text", "ttl"),
    [
        ("7d", timedelta(days=7)),
        ("12h", timedelta(hours=12)),
        ("1h30m", timedelta(minutes=90)),
        ("2w", timedelta(days=14)),
        ("90s", timedelta(seconds=90)),
        ("none", None),
    ],
)
def test_ttl_accepts_human_notation(text: str, ttl: timedelta | None) -> None:
    assert answer("create", "d", "--ttl", text).exit_code == 0
    assert Dict.from_name("d").info().ttl == ttl


@pytest.mark.parametrize("text", ["", "7", "d", "7 days", "-1d", "1d,2h", "1.5h", "None"])
def test_invalid_ttl_notation_is_a_usage_error(text: str) -> None:
    assert answer("create", "d", "--ttl", text).exit_code == 2
    assert names() == []


def test_conflicting_ttl_or_codec_is_an_error() -> None:
    answer("create", "d", "--codec", "json", "--ttl", "1d")
    assert answer("create", "d", "--codec", "json", "--ttl", "24h").exit_code == 0
    for other in (("--codec", "bytes"), ("--ttl", "2d"), ("--codec", "none")):
        done = answer("create", "d", *other)
        assert (done.exit_code, type(done.error)) == (1, InvalidError)


def test_list_in_a_pipe_is_tab_separated_and_newest_first() -> None:
    answer("create", "old", "--ttl", "none", "--codec", "json")
    answer("create", "new")
    assert [(cells[0], *cells[3:]) for cells in (line.split("\t") for line in answer("list").stdout.splitlines())] == [
        ("new", "7d", "cloudpickle"),
        ("old", "none", "json"),
    ]


def test_json_contains_all_metadata_of_a_dict() -> None:
    answer("create", "d", "--ttl", "36h")
    handle = Dict.from_name("d").hydrate()
    about = handle.info()
    expected = {
        "name": "d",
        "environment": "main",
        "id": handle.object_id,
        "created_at": about.created_at.isoformat(),
        "created_by": about.created_by,
        "ttl_seconds": 36 * 3600,
        "codec": "cloudpickle",
    }
    assert answer("info", "d", "--json").json == expected
    assert answer("list", "--json").json == [expected]
    lines = dict(line.split("\t") for line in answer("info", "d").stdout.splitlines())
    assert ("1d12h", handle.object_id) == (lines["ttl"], lines["id"])
    assert datetime.fromisoformat(lines["created_at"]) == about.created_at


def test_table_fits_the_terminal_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    answer("create", "n" * 64)
    out, _ = shown("list")
    assert "Name" in out
    assert "nnn…" in out
    assert {40} >= {len(line) for line in out.splitlines() if "│" in line}
    assert "created_by" in shown("info", "n" * 64)[0]


def test_empty_list_is_reported_on_stderr() -> None:
    done = answer("list", "--env", "prod")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "There are no dicts in environment 'prod' of s3://" in done.stderr
    assert answer("list", "--json").json == []
    assert "┏" not in shown("list")[0]


def test_environment_comes_from_option_or_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    answer("create", "d", "-e", "prod")
    assert (names(), names("prod")) == ([], ["d"])
    assert answer("info", "d", "--env", "prod", "--json").json["environment"] == "prod"
    monkeypatch.setenv("S3DICT_ENVIRONMENT", "prod")
    assert answer("list", "--json").json[0]["environment"] == "prod"


@pytest.mark.parametrize(("said", "remaining"), [("n\n", 1), ("\n", 1), ("", 1), ("y\n", 0)])
def test_clear_asks_first(said: str, remaining: int) -> None:
    handle = Dict.from_name("d", create_if_missing=True)
    handle["k"] = 1
    done = answer("clear", "d", stdin=said)
    assert (done.exit_code, handle.len()) == (remaining, remaining)
    bucket = Client.from_env().bucket
    assert f"Remove all entries of Dict 'd' in environment 'main' of s3://{bucket}/s3dict?" in done.stderr


def test_clear_with_yes_does_not_ask_and_keeps_the_dict() -> None:
    handle = Dict.from_name("d", create_if_missing=True)
    handle["k"] = 1
    assert answer("clear", "d", "-y").exit_code == 0
    assert (handle.len(), names()) == (0, ["d"])


@pytest.mark.parametrize(("said", "remaining"), [("n\n", ["d"]), ("y\n", [])])
def test_delete_asks_first(said: str, remaining: list[str]) -> None:
    answer("create", "d")
    done = answer("delete", "d", stdin=said)
    assert (done.exit_code, names()) == (len(remaining), remaining)
    assert "Delete Dict 'd'" in done.stderr


def test_delete_keeps_to_the_environment() -> None:
    answer("create", "d")
    answer("create", "d", "--env", "prod")
    assert answer("delete", "d", "--yes", "--env", "prod").exit_code == 0
    assert (names(), names("prod")) == (["d"], [])


def test_missing_dict_is_an_error_before_any_confirmation() -> None:
    for arguments in (("clear", "d"), ("delete", "d"), ("delete", "d", "--yes"), ("delete", "d", "--env", "prod")):
        done = answer(*arguments)
        assert (done.exit_code, done.stderr, type(done.error)) == (1, "", NotFoundError)
    assert answer("delete", "d", "--allow-missing", "--yes").exit_code == 0


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["s3dict", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_any_error_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dict, "hydrate", lambda _: 1 // 0)
    told = "s3dict: ZeroDivisionError: integer division or modulo by zero. This should not happen: --debug shows where"
    assert run_main(monkeypatch, "len", "d") == f"{told} it did"
    monkeypatch.setattr(sys, "argv", ["s3dict", "--debug", "len", "d"])
    with pytest.raises(ZeroDivisionError):
        main()


def test_multiline_error_is_printed_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise InvalidError("one\ntwo")

    monkeypatch.setattr(Dict, "hydrate", fail)
    assert run_main(monkeypatch, "len", "d") == "s3dict: one two"


def test_missing_file_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_main(monkeypatch, "import", "d", "/nowhere") == "s3dict: /nowhere: No such file or directory"


def test_missing_bucket_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3DICT_BUCKET")
    assert "set S3DICT_BUCKET" in run_main(monkeypatch, "list")


def completions(typed: str) -> list[str]:
    words = typed.split(" ")
    variables = {"_S3DICT_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    return answer(variables=variables).stdout.split()


def test_shell_completes_commands_and_names_of_dicts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("scores", "sessions", "other"):
        answer("create", name)
    answer("create", "staged", "--env", "prod")
    assert sorted(completions("s3dict i")) == ["import", "info", "init", "items"]
    assert sorted(completions("s3dict get s")) == ["scores", "sessions"]
    assert completions("s3dict get --env prod s") == ["staged"]
    monkeypatch.delenv("S3DICT_BUCKET")
    assert completions("s3dict get s") == []


def test_no_color_disables_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    answer("create", "d")
    Dict.from_name("d")["k"] = [1]
    monkeypatch.setenv("TERM", "xterm-256color")
    colour = re.compile(r"\x1b\[[\d;]*3\d")
    assert colour.search(shown("get", "d", "k")[0])
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colour.search(shown("get", "d", "k")[0])


def test_no_command_loads_a_driver_for_its_help() -> None:
    program = """if True:
        import sys
        from s3dict.cli import main
        for command in ("create", "items", "export", "import", "gc"):
            sys.argv = ["s3dict", command, "--help"]
            try:
                main()
            except SystemExit:
                pass
        heavy = {"boto3", "botocore", "aioboto3", "obstore", "numpy", "asyncio", "cloudpickle", "rich.progress"}
        print("loaded:", sorted(heavy & set(sys.modules)))
    """
    environment = {**os.environ, "PYTHONPATH": os.curdir}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "loaded: []")
