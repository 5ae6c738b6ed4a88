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


def test_a_dict_is_created_once_and_again_without_effect() -> None:
    first, handle = answer("create", "d"), Dict.from_name("d")
    assert (0, "", "") == (first.exit_code, first.stdout, first.stderr)
    handle["k"] = 1
    assert 0 == answer("create", "d").exit_code
    assert 1 == handle["k"]


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
def test_a_ttl_is_written_as_people_write_it(text: str, ttl: timedelta | None) -> None:
    assert 0 == answer("create", "d", "--ttl", text).exit_code
    assert ttl == Dict.from_name("d").info().ttl


@pytest.mark.parametrize("text", ["", "7", "d", "7 days", "-1d", "1d,2h", "1.5h", "None"])
def test_another_ttl_is_wrong_usage(text: str) -> None:
    assert 2 == answer("create", "d", "--ttl", text).exit_code
    assert [] == names()


def test_a_ttl_or_codec_that_the_dict_does_not_have_is_an_error() -> None:
    answer("create", "d", "--codec", "json", "--ttl", "1d")
    assert 0 == answer("create", "d", "--codec", "json", "--ttl", "24h").exit_code
    for other in (("--codec", "bytes"), ("--ttl", "2d"), ("--codec", "none")):
        done = answer("create", "d", *other)
        assert (1, InvalidError) == (done.exit_code, type(done.error))


def test_the_list_is_of_lines_with_tabs_for_a_pipe_and_newest_first() -> None:
    answer("create", "old", "--ttl", "none", "--codec", "json")
    answer("create", "new")
    assert [("new", "7d", "cloudpickle"), ("old", "none", "json")] == [
        (cells[0], *cells[3:]) for cells in (line.split("\t") for line in answer("list").stdout.splitlines())
    ]


def test_json_tells_all_about_a_dict() -> None:
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
    assert expected == answer("info", "d", "--json").json
    assert [expected] == answer("list", "--json").json
    lines = dict(line.split("\t") for line in answer("info", "d").stdout.splitlines())
    assert ("1d12h", handle.object_id) == (lines["ttl"], lines["id"])
    assert datetime.fromisoformat(lines["created_at"]) == about.created_at


def test_a_terminal_gets_a_table_that_keeps_to_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    answer("create", "n" * 64)
    out, _ = shown("list")
    assert "Name" in out
    assert "nnn…" in out
    assert {40} >= {len(line) for line in out.splitlines() if "│" in line}
    assert "created_by" in shown("info", "n" * 64)[0]


def test_an_empty_list_says_so_and_is_empty() -> None:
    done = answer("list", "--env", "prod")
    assert (0, "") == (done.exit_code, done.stdout)
    assert "There are no dicts in environment 'prod' of s3://" in done.stderr
    assert [] == answer("list", "--json").json
    assert "┏" not in shown("list")[0]


def test_an_environment_is_named_with_an_option_or_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    answer("create", "d", "-e", "prod")
    assert ([], ["d"]) == (names(), names("prod"))
    assert "prod" == answer("info", "d", "--env", "prod", "--json").json["environment"]
    monkeypatch.setenv("S3DICT_ENVIRONMENT", "prod")
    assert "prod" == answer("list", "--json").json[0]["environment"]


@pytest.mark.parametrize(("said", "remaining"), [("n\n", 1), ("\n", 1), ("", 1), ("y\n", 0)])
def test_clear_asks_first(said: str, remaining: int) -> None:
    handle = Dict.from_name("d", create_if_missing=True)
    handle["k"] = 1
    done = answer("clear", "d", stdin=said)
    assert (remaining, remaining) == (done.exit_code, handle.len())
    bucket = Client.from_env().bucket
    assert f"Remove all entries of Dict 'd' in environment 'main' of s3://{bucket}/s3dict?" in done.stderr


def test_clear_does_not_ask_who_says_yes_and_the_dict_stays() -> None:
    handle = Dict.from_name("d", create_if_missing=True)
    handle["k"] = 1
    assert 0 == answer("clear", "d", "-y").exit_code
    assert (0, ["d"]) == (handle.len(), names())


@pytest.mark.parametrize(("said", "remaining"), [("n\n", ["d"]), ("y\n", [])])
def test_delete_asks_first(said: str, remaining: list[str]) -> None:
    answer("create", "d")
    done = answer("delete", "d", stdin=said)
    assert (len(remaining), remaining) == (done.exit_code, names())
    assert "Delete Dict 'd'" in done.stderr


def test_delete_keeps_to_the_environment() -> None:
    answer("create", "d")
    answer("create", "d", "--env", "prod")
    assert 0 == answer("delete", "d", "--yes", "--env", "prod").exit_code
    assert (["d"], []) == (names(), names("prod"))


def test_nobody_is_asked_about_a_dict_that_is_missing() -> None:
    for arguments in (("clear", "d"), ("delete", "d"), ("delete", "d", "--yes"), ("delete", "d", "--env", "prod")):
        done = answer(*arguments)
        assert (1, "", NotFoundError) == (done.exit_code, done.stderr, type(done.error))
    assert 0 == answer("delete", "d", "--allow-missing", "--yes").exit_code


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["s3dict", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_an_error_is_one_line_whatever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dict, "hydrate", lambda _: 1 // 0)
    told = "s3dict: ZeroDivisionError: integer division or modulo by zero. This should not happen: --debug shows where"
    assert f"{told} it did" == run_main(monkeypatch, "len", "d")
    monkeypatch.setattr(sys, "argv", ["s3dict", "--debug", "len", "d"])
    with pytest.raises(ZeroDivisionError):
        main()


def test_an_error_of_many_lines_is_told_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise InvalidError("one\ntwo")

    monkeypatch.setattr(Dict, "hydrate", fail)
    assert "s3dict: one two" == run_main(monkeypatch, "len", "d")


def test_a_file_that_is_not_there_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "s3dict: /nowhere: No such file or directory" == run_main(monkeypatch, "import", "d", "/nowhere")


def test_without_a_bucket_it_is_said_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3DICT_BUCKET")
    assert "set S3DICT_BUCKET" in run_main(monkeypatch, "list")


def completions(typed: str) -> list[str]:
    words = typed.split(" ")
    variables = {"_S3DICT_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
    return answer(variables=variables).stdout.split()


def test_the_shell_completes_commands_and_names_of_dicts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("scores", "sessions", "other"):
        answer("create", name)
    answer("create", "staged", "--env", "prod")
    assert ["import", "info", "init", "items"] == sorted(completions("s3dict i"))
    assert ["scores", "sessions"] == sorted(completions("s3dict get s"))
    assert ["staged"] == completions("s3dict get --env prod s")
    monkeypatch.delenv("S3DICT_BUCKET")
    assert [] == completions("s3dict get s")


def test_colours_are_left_out_where_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert (0, "loaded: []") == (done.returncode, done.stdout.splitlines()[-1])
