"""``s3dict create``, ``list``, ``info``, ``clear``, ``delete``, and what all commands have in common."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import timedelta
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
    described = f"Dict 'd' in environment 'main' of s3://{handle.client.bucket}/s3dict"
    assert (first.exit_code, first.stdout, first.stderr) == (0, "", f"Created {described}.\n")
    handle["k"] = 1
    second = answer("create", "d")
    assert (second.exit_code, second.stdout, second.stderr) == (0, "", f"{described} exists already.\n")
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


@pytest.mark.parametrize("text", ["", "7", "d", "7 days", "-1d", "1d,2h", "1.5h", "None", "10s", "9000d"])
def test_invalid_ttl_notation_is_a_usage_error(text: str) -> None:
    assert answer("create", "d", "--ttl", text).exit_code == 2
    assert names() == []


@pytest.mark.parametrize(
    "arguments", [("create", "d", "--codec", "none"), ("create", "no/name"), ("list", "--env", "..")]
)
def test_invalid_codec_or_name_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    assert answer(*arguments).exit_code == 2
    assert names() == []


def test_conflicting_ttl_or_codec_is_an_error() -> None:
    answer("create", "d", "--codec", "json", "--ttl", "1d")
    assert answer("create", "d", "--codec", "json", "--ttl", "24h").exit_code == 0
    for option, other, message in (("--codec", "bytes", "codec json, not bytes"), ("--ttl", "2d", "ttl 1d, not 2d")):
        done = answer("create", "d", option, other)
        assert done.exit_code == 1
        assert str(done.error).startswith(f"Dict 'd' has the {message}")


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
    assert (lines["ttl"], lines["id"]) == ("1d12h", handle.object_id)
    assert lines["created_at"] == about.created_at.strftime("%Y-%m-%d %H:%M:%SZ")
    assert answer("list").stdout.split("\t")[1] == lines["created_at"]


def test_list_with_size_counts_entries_and_bytes() -> None:
    answer("create", "d")
    Dict.from_name("d").update({n: n for n in range(5)})
    [row] = answer("list", "--size", "--json").json
    assert (row["entries"], row["bytes"] > 0) == (5, True)
    assert answer("list", "--size").stdout.split("\t")[:2] == ["d", "5"]


@pytest.mark.parametrize("width", [40, 44, 80])
def test_table_fits_the_terminal_and_cuts_no_name(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    name = "n" * 64
    answer("create", name)
    for options in ((), ("--size",)):
        out = re.sub(r"\x1b\[[\d;]*m", "", shown("list", *options)[0])
        assert max(len(line) for line in out.splitlines()) <= width
        cells = [[cell.strip() for cell in line.split("│")] for line in out.splitlines() if "│" in line]
        assert "".join(row[1] for row in cells) == name
        assert all(any(row[column] for row in cells) for column in range(1, len(cells[0]) - 1))
    assert "created_by" in shown("info", name)[0]


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
    assert f"Remove 1 entry of Dict 'd' in environment 'main' of s3://{bucket}/s3dict?" in done.stderr


def test_clear_with_yes_does_not_ask_and_keeps_the_dict() -> None:
    handle = Dict.from_name("d", create_if_missing=True)
    handle["k"] = 1
    done = answer("clear", "d", "-y")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.startswith("Removed 1 entry of Dict 'd'")
    assert (handle.len(), names()) == (0, ["d"])


def test_clear_shows_its_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    Dict.from_name("d", create_if_missing=True).update({n: n for n in range(1500)})
    monkeypatch.setenv("COLUMNS", "80")
    _, err = shown("clear", "d", "--yes")
    assert "1,500 entries" in err
    assert "Removed 1,500 entries" in err


@pytest.mark.parametrize(("said", "remaining"), [("n\n", ["d"]), ("y\n", [])])
def test_delete_asks_first(said: str, remaining: list[str]) -> None:
    answer("create", "d")
    done = answer("delete", "d", stdin=said)
    assert (done.exit_code, names()) == (len(remaining), remaining)
    assert "Delete Dict 'd'" in done.stderr
    assert ("Deleted Dict 'd'" in done.stderr) == (not remaining)


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


def run_main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str]:
    """Run the command and return its exit code and stderr."""
    monkeypatch.setattr(sys, "argv", ["s3dict", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


def test_any_error_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Dict, "hydrate", lambda _: 1 // 0)
    expected = "s3dict: unexpected ZeroDivisionError: integer division or modulo by zero. Run it with --debug for the"
    assert run_main(monkeypatch, capsys, "len", "d") == (1, f"{expected} traceback\n")
    monkeypatch.setattr(sys, "argv", ["s3dict", "--debug", "len", "d"])
    with pytest.raises(ZeroDivisionError):
        main()


def test_multiline_error_is_printed_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Any) -> None:
        raise InvalidError("one\ntwo")

    monkeypatch.setattr(Dict, "hydrate", fail)
    assert run_main(monkeypatch, capsys, "len", "d") == (1, "s3dict: one two\n")


def test_missing_file_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    expected = (1, "s3dict: /nowhere: No such file or directory\n")
    assert run_main(monkeypatch, capsys, "import", "d", "/nowhere") == expected


@pytest.mark.parametrize("arguments", [("get", "missing", "k"), ("list",)])
def test_errors_have_hints_of_the_command_line_and_not_of_python(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    if arguments == ("list",):
        monkeypatch.delenv("S3DICT_BUCKET")
    code, message = run_main(monkeypatch, capsys, *arguments)
    assert code == 1
    assert ("s3dict create missing" if "missing" in arguments else "set S3DICT_BUCKET") in message
    assert not re.search(r"Dict\.|Client\(|datetime\.|=True", message)


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
    assert completions("s3dict export s") == ["sessions", "scores"]
    assert completions("s3dict export --all s") == []  # the shell then completes files
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
