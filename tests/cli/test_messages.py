"""What commands say of wrong arguments, interruptions and output that cannot be written: one line on stderr."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from typer.main import get_command

from s3dict import Client, Dict
from s3dict.cli import _application, _replace_closed_streams, local, main
from s3dict.cli.messages import for_terminal
from s3dict.cli.output import Column, fitting_columns, terminal_size
from s3dict.cli.progress import step_progress
from s3dict.testing import seaweedfs

from ..support.commands import answer, shown

pytestmark = pytest.mark.usefixtures("configured")


@pytest.fixture
def d(configured: Client) -> Dict[Any, Any]:
    return Dict.from_name("d", create_if_missing=True, client=configured).hydrate()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("create d --codec yaml", "'--codec': 'yaml' is not one of 'cloudpickle', 'json', 'bytes'."),
        ("export d --format yaml", "'--format': 'yaml' is not one of 'jsonl', 'pickle'."),
        ("create d --ttl 10s", "--ttl: 10s is out of range: choose 1m to 367d12h, or none."),
        ("create d --ttl 30x", "--ttl: '30x' is not like 7d, 12h, 1h30m or none."),
        ("items d x", "'N': 'x' is not a whole number."),
        ("items d -n -1", "'--number' / '-n': -1 is less than 0."),
        ("items d 5 -n 3", "N, --number: give it once."),
        ("watch d -i x", "'--interval' / '-i': 'x' is not a number."),
        ("watch d -i 0", "'--interval' / '-i': 0 is less than 0.1."),
        ("top -i inf", "'--interval' / '-i': inf is more than 86400."),
        ("top --times 0", "'--times': 0 is less than 1."),
        ("dev --port 65536", "'--port': 65536 is more than 65535."),
        ("dev --bucket X_Y", "--bucket: Invalid bucket name: 'X_Y'."),
        ("dev --dir README.md", "'--dir': dir 'README.md' is a file."),
        ("dev --detach --stop", "--detach, --stop: choose one of them."),
        ("put d k -f /nowhere", "'--file' / '-f': file '/nowhere' does not exist."),
        ("init --bucket s3://b", "--bucket: 's3://b'. It is the bucket's name alone, without s3:// or a path."),
        ("doctor --endpoint-url b", "--endpoint-url: 'b'. It begins with http:// or https://, without query"),
        ("doctor --deep --read-only", "--deep, --read-only: they are mutually exclusive."),
        ("import --all f g", "FILE: with --all, the only argument is the file."),
    ],
)
def test_wrong_argument_is_named_in_the_users_notation(arguments: str, message: str) -> None:
    done = answer(*arguments.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"s3dict: Invalid value for {message}")
    assert done.stderr.endswith(f" See `s3dict {arguments.split(maxsplit=1)[0]} --help`\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("get", "Missing argument 'NAME'. See `s3dict get --help`"),
        ("put d", "Missing argument 'KEY'. See `s3dict put --help`"),
        ("unlock d", "Missing argument 'LOCK'. See `s3dict unlock --help`"),
        ("export", "Missing argument 'NAME'. See `s3dict export --help`"),
        ("export --all", "Missing argument 'FILE', or - for stdout. See `s3dict export --help`"),
        ("import -e prod --all", "Missing argument 'FILE', or - for stdin. See `s3dict import --help`"),
        ("lis", "No such command 'lis'. Did you mean 'list'? See `s3dict --help`"),
        ("list --size=3", "Option '--size' does not take a value. See `s3dict --help`"),
        (
            "put scores alice -5",
            "No such option: -5. If -5 is a key or a value, write -- before it. See `s3dict put --help`",
        ),
        ("get scores -x", "No such option: -x. If -x is a key or a value, write -- before it. See `s3dict get --help`"),
        ("info scores -5", "No such option: -5. See `s3dict info --help`"),
        (
            "list --debug",
            "No such option: --debug. It goes before the command: s3dict --debug … See `s3dict list --help`",
        ),
    ],
)
def test_missing_or_unknown_argument_is_one_line(arguments: str, message: str) -> None:
    done = answer(*arguments.split())
    assert (done.exit_code, done.stderr) == (2, f"s3dict: {message}\n")


def test_every_command_reports_an_unknown_option_on_one_line() -> None:
    group: Any = get_command(_application())
    for name in group.commands:
        done = answer(name, "--nope")
        assert (done.exit_code, done.stdout) == (2, "")
        assert done.stderr.startswith("s3dict: No such option: --nope")
        assert done.stderr.endswith(f". See `s3dict {name} --help`\n")
        assert done.stderr.count("\n") == 1


def test_command_alone_prints_the_help() -> None:
    done = answer()
    assert (done.exit_code, done.stderr) == (2, "")
    assert answer("--help").stdout.strip() == done.stdout.strip()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("set AWS_CA_BUNDLE or Client(verify=...) to the file", "set AWS_CA_BUNDLE to the file"),
        ("set S3DICT_REGION=eu or Client(region_name='eu').", "set S3DICT_REGION=eu."),
        (
            "set S3DICT_REGION, AWS_DEFAULT_REGION or Client(region_name=...) to",
            "set S3DICT_REGION or AWS_DEFAULT_REGION to",
        ),
        ("Client(timeout=...) or S3DICT_TIMEOUT sets", "S3DICT_TIMEOUT sets"),
        ("at http://h (Client(endpoint_url=...)): create", "at http://h (S3DICT_ENDPOINT_URL): create"),
        ("Client(region_name=...) is invalid", "S3DICT_REGION is invalid"),
        (
            "Cannot listen: [Errno 98] Address already in use. Choose another port.",
            "Cannot listen: Address already in use. Choose another with --port.",
        ),
        ("set S3DICT_SIGNING_KEYS, or pass signing_keys to the client", "set S3DICT_SIGNING_KEYS"),
    ],
)
def test_python_hints_become_variables(message: str, expected: str) -> None:
    assert for_terminal(message) == expected


def test_hint_names_the_environment_that_the_command_was_called_with(monkeypatch: pytest.MonkeyPatch) -> None:
    assert for_terminal(answer("info", "d", "--env", "prod").error or "").endswith(
        "see `s3dict list --env prod`, or run `s3dict create d --env prod`"
    )
    monkeypatch.setenv("S3DICT_ENVIRONMENT", "prod")
    assert for_terminal(answer("info", "d").error or "").endswith("see `s3dict list`, or run `s3dict create d`")


def test_file_of_the_other_kind_is_named(d: Dict[Any, Any], tmp_path: Path) -> None:
    d["k"] = 1
    backup, jsonl, pickles = (str(tmp_path / name) for name in ("backup", "jsonl", "pickles"))
    answer("export", "--all", backup)
    answer("export", "d", jsonl)
    answer("export", "d", pickles, "--format", "pickle")
    assert str(answer("import", "d", backup).error) == "The file is a backup of several dicts: import it with --all"
    for file in (jsonl, pickles, "README.md", os.devnull):
        assert "does not begin as a backup does" in str(answer("import", "--all", file).error)
    (tmp_path / "text").write_bytes(b"\xffnot\x1b\n")
    assert str(answer("import", "d", str(tmp_path / "text")).error).endswith('"value": ...}: \\xffnot\x1b')


@pytest.mark.parametrize("command", ["init", "doctor"])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("S3DICT_VERIFY", "maybe", "Invalid S3DICT_VERIFY"),
        ("S3DICT_SSE", "none", "Invalid sse"),
        ("S3DICT_KMS_KEY_ID", "k", "kms_key_id"),
        ("S3DICT_HEADERS", "x", "Invalid S3DICT_HEADERS"),
        ("S3DICT_CHECKSUMS", "x", "Invalid checksums"),
        ("S3DICT_ADDRESSING_STYLE", "x", "Invalid addressing_style"),
        ("S3DICT_REQUESTER_PAYS", "x", "Invalid S3DICT_REQUESTER_PAYS"),
        ("S3DICT_SIGNING_KEYS", "short", "A signing key has fewer than 16 bytes"),
        ("S3DICT_SIGNING_KEYS", ",", "S3DICT_SIGNING_KEYS contains no key"),
        ("S3DICT_DRIVER", "x", "Unknown driver"),
        ("S3DICT_ENVIRONMENT", "/", "Invalid environment name"),
    ],
)
def test_bucket_commands_use_the_settings_of_a_dict(command: str, name: str, value: str, message: str) -> None:
    variables = {name: value}
    done, used = answer(command, variables=variables), answer("list", variables=variables)
    assert (done.exit_code, used.exit_code) == (1, 1)
    assert message in str(done.error)
    assert str(done.error) == str(used.error)


def test_options_of_bucket_commands_override_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Client] = []

    def diagnose(client: Client, *_: Any) -> list[Any]:
        seen.append(client)
        return []

    monkeypatch.setattr("s3dict.cli.provision._diagnose", diagnose)
    variables = {"S3DICT_REGION": "eu-west-1", "S3DICT_PREFIX": "p", "S3DICT_VERIFY": "false", "S3DICT_DRIVER": "boto3"}
    answer("doctor", variables=variables)
    answer("doctor", "--region", "us-west-2", "--prefix", "q", "--bucket", "other", variables=variables)
    assert [(c.prefix, c._settings.region_name, c._settings.verify) for c in seen] == [
        ("p", "eu-west-1", False),
        ("q", "us-west-2", False),
    ]
    assert seen[1].bucket == "other"


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_interrupted_clear_says_how_many_entries_it_removed(d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def clear(_: Any, on_deleted: Callable[[int], None]) -> None:
        on_deleted(1000)
        raise KeyboardInterrupt

    monkeypatch.setattr("s3dict._admin.removal.clear_dict", clear)
    done = answer("clear", "d", "--yes")
    assert (done.exit_code, done.stderr) == (130, "s3dict: Interrupted. Clearing stopped after 1,000 entries\n")


@pytest.mark.parametrize(
    ("arguments", "function"),
    [
        ("delete d --yes", "removal.delete_dict"),
        ("gc", "garbage.find_garbage"),
        ("gc --expired --yes", "expired.dicts_of"),
        ("list", "usage.list_dicts"),
        ("list --size", "usage.measure"),
        ("locks d", "usage.held_locks"),
        ("len d", "usage.count_entries"),
        ("rekey d", "rekey.rekey"),
        ("export d", "transfer.export_items"),
        ("export --all /dev/null", "backup.write_backup"),
        ("init --bucket b", "provision.provision"),
        ("doctor --bucket b", "doctor.diagnose"),
    ],
)
def test_every_long_command_ends_at_ctrl_c_with_one_line(
    d: Dict[Any, Any], arguments: str, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"s3dict._admin.{function}", interrupt)
    done = answer(*arguments.split())
    assert (done.exit_code, done.stderr.count("\n")) == (130, 1)
    assert done.stderr.startswith("s3dict: Interrupted")


@pytest.mark.parametrize(("number", "counted"), [(0, "0 dicts"), (1, "1 dict"), (1200, "1,200 dicts")])
def test_interrupted_listing_says_how_far_it_came(number: int, counted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(_client: Any, _environment: str, on_loaded: Callable[[int, int], None], *_: Any) -> None:
        for done in range(number):
            on_loaded(done, number)
        raise KeyboardInterrupt

    monkeypatch.setattr("s3dict._admin.usage.list_dicts", listed)
    assert answer("list").stderr == f"s3dict: Interrupted. Listing stopped after {counted}\n"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EPIPE])
def test_popped_value_that_cannot_be_written_is_put_back(
    d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    d["k"] = "precious"
    monkeypatch.setattr("s3dict.cli.entries._print", fail)
    done = answer("pop", "d", "k")
    assert (done.exit_code, d["k"]) == (1, "precious")
    assert f"{os.strerror(code)}. The value was put back" in done.stderr


def test_full_disk_is_an_error_without_numbers(
    d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("s3dict.cli.dicts.print_table", fail)
    monkeypatch.setattr(sys, "argv", ["s3dict", "list"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (1, "s3dict: No space left on device\n")


def test_streams_that_the_shell_has_closed_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    _replace_closed_streams()
    replaced: list[io.TextIOWrapper] = [getattr(sys, name) for name in ("stdin", "stdout", "stderr")]
    monkeypatch.undo()
    with replaced[0], pytest.raises(OSError, match="Bad file descriptor"):
        replaced[0].read()
    with pytest.raises(OSError, match="Bad file descriptor"), replaced[1]:
        replaced[1].write("lost")
    with replaced[2]:
        replaced[2].write("lost")


def exit_of_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["s3dict", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_output_that_fails_at_the_end_of_a_command_is_an_error_on_one_line(
    d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is printed waits in a buffer: the interpreter would write it after the command, and fail with code 120."""
    d["k"] = 1
    full = "s3dict: standard output: No space left on device\n"
    for arguments, message in ((["list"], full), (["export", "d"], full), (["get", "d", "x"], "no key 'x'")):
        with open("/dev/full", "w") as stdout:
            monkeypatch.setattr(sys, "stdout", stdout)
            assert exit_of_main(monkeypatch, *arguments) == 1
            stdout.flush()
        assert message in capfd.readouterr().err


class Narrow(io.TextIOWrapper):
    """A terminal whose encoding has no ellipsis, no arrow and no check mark."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="ascii")

    def isatty(self) -> bool:
        return True


def test_terminal_of_any_encoding_shows_a_value_that_is_cut(d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "44")
    d["ü"] = "lang " * 60
    out, err = Narrow(), Narrow()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert exit_of_main(monkeypatch, "items", "d") == 0
    out.flush()
    shown_rows = [line for line in out.buffer.getvalue().decode("ascii").splitlines() if "lang" in line]  # type: ignore[attr-defined]
    assert [line.rstrip("| ")[-1] for line in shown_rows] == ["?"]


def test_closed_pipe_ends_a_command_without_a_message(
    d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert exit_of_main(monkeypatch, "info", d.name or "") == 1
    assert capfd.readouterr().err == ""


def test_detached_server_is_stopped_if_its_variables_cannot_be_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    class Server:
        def start(self, *, detached: bool) -> None:
            calls.append(f"start {detached}")

        def environment(self) -> dict[str, str]:
            return {"S3DICT_BUCKET": "b"}

    monkeypatch.setattr(seaweedfs.DetachedServer, "is_running", lambda _: False)
    monkeypatch.setattr(seaweedfs.DetachedServer, "stop", lambda _: calls.append("stop"))
    monkeypatch.setattr(local, "_server", lambda *_: Server())
    monkeypatch.setattr(local, "_configure", lambda _: calls.append("configure"))
    done = answer("dev", "--detach", "--dir", str(tmp_path), "--env-file", str(tmp_path / "missing" / "x.env"))
    assert (done.exit_code, type(done.error)) == (1, FileNotFoundError)
    assert calls == ["start True", "configure", "stop"]


def test_question_on_a_closed_stdin_names_it(
    d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    d["k"] = "precious"
    monkeypatch.setattr(sys, "stdin", None)
    _replace_closed_streams()
    monkeypatch.setattr(sys, "argv", ["s3dict", "clear", "d"])
    with sys.stdin, pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, d["k"]) == (1, "precious")
    assert "standard input: Bad file descriptor" in capsys.readouterr().err


def test_closed_stdin_stores_nothing(d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    d["k"] = "precious"
    monkeypatch.setattr(sys, "stdin", None)
    _replace_closed_streams()
    with sys.stdin:
        for command in (["put", "d", "k", "-"], ["import", "d", "-"]):
            monkeypatch.setattr(sys, "argv", ["s3dict", *command])
            with pytest.raises(SystemExit) as ended:
                main()
            assert (ended.value.code, d["k"]) == (1, "precious")


def test_file_on_a_full_disk_is_named(d: Dict[Any, Any], capsys: pytest.CaptureFixture[str]) -> None:
    d["k"] = 1
    for arguments in (("export", "d", "/dev/full"), ("export", "--all", "/dev/full")):
        error = answer(*arguments).error
        assert isinstance(error, OSError)
        assert error.filename == "/dev/full"


def test_key_is_read_as_utf8_whatever_the_locale_is(d: Dict[Any, Any]) -> None:
    """With the locale C, Python decodes arguments as ASCII, and keeps other bytes as lone surrogates."""
    surrogates = "schl\u00fcssel".encode().decode("ascii", "surrogateescape")
    answer("put", "d", surrogates, surrogates)
    assert dict(d.items()) == {"schl\u00fcssel": "schl\u00fcssel"}
    assert answer("get", "d", f'["{surrogates}"]', "--key-json").exit_code == 1
    latin = "schl\u00fcssel".encode("latin-1").decode("ascii", "surrogateescape")
    for command in (["get", "d", latin], ["unlock", "d", latin], ["put", "d", latin, "1"]):
        done = answer(*command)
        assert (done.exit_code, "it is not UTF-8" in done.stderr) == (2, True)


def test_rows_go_to_the_file_and_progress_to_the_terminal(d: Dict[Any, Any]) -> None:
    d.update({n: n for n in range(1200)})
    out, err = shown("items", "d", "--all", piped=True)
    assert (len(out.splitlines()), "1,200 entries" in err, "\t" in err) == (1200, True, False)
    out, err = shown("items", "d", "--json", piped=True)
    assert (out.count('"key"'), "1,200 entries" in err, '"key"' in err) == (1200, True, False)


def test_export_to_the_terminal_shows_no_progress_in_between(
    d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    d["k"] = 1
    monkeypatch.setattr("s3dict.cli.transfer._sink", lambda _: nullcontext(io.BytesIO()))
    assert shown("export", "d")[1] == ""
    assert "Exporting" in shown("export", "d", piped=True)[1]


@pytest.mark.parametrize(
    ("columns", "expected"), [("20", 20), ("0", 80), ("", 80), ("wide", 80)], ids=["20", "zero", "empty", "text"]
)
def test_width_is_that_of_the_terminal_unless_columns_is_set(
    monkeypatch: pytest.MonkeyPatch, columns: str, expected: int
) -> None:
    def no_terminal(_: int) -> os.terminal_size:
        raise OSError

    monkeypatch.setattr(os, "get_terminal_size", no_terminal)
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal_size().columns == expected


def test_width_is_that_of_the_terminal_on_which_messages_appear(monkeypatch: pytest.MonkeyPatch) -> None:
    """The output of `s3dict list | less` has no width, but its messages are wrapped for the terminal."""

    def only_stderr(descriptor: int) -> os.terminal_size:
        if descriptor != 2:
            raise OSError
        return os.terminal_size((44, 50))

    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(os, "get_terminal_size", only_stderr)
    assert terminal_size() == (44, 50)
    _, err = shown("list", piped=True)
    message = err[err.index("There are no dicts") :]
    assert (max(map(len, message.splitlines())) <= 44, message.count("\n")) == (True, 3)


@pytest.mark.parametrize("width", [16, 20, 40])
def test_no_column_has_width_zero_however_narrow_the_terminal_is(width: int) -> None:
    columns = (
        Column("Name", fold=True),
        Column("Entries", right=True),
        Column("Size", right=True),
        Column("TTL", drop=1),
    )
    kept = fitting_columns(columns, [("n" * 64, "1,000,000", "99.9 MB", "30d")], width)
    assert kept == {16: [0], 20: [0], 40: [0, 1, 2]}[width]


def test_wide_and_control_characters_keep_tables_in_shape(d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "44")
    d.update({"漢字" * 30: "値" * 90, "😀" * 9: "👨‍👩‍👧" * 30, "a\x1b[31m\t\r\n\x07": "\u202ev", "\ud800": "\x9b1m"})
    out, _ = shown("items", "d")
    rows = [line for line in out.splitlines() if line.startswith("│")]
    assert {cell_len(line) for line in rows} == {44}
    assert [c for c in out if not c.isprintable() and c not in {"\n", "\x1b"}] == []
    assert "\x1b[31m" not in out


def test_dumb_terminal_gets_tables_of_its_width_and_no_progress(
    d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "44")
    out, err = shown("list")
    assert {len(line) for line in out.splitlines() if line.startswith("│")} <= set(range(45))
    assert ("\x1b" in out, err) == (False, "")
    out, err = shown("top", "--times", "1")
    assert (out.count("│ d "), "\x1b" in out, err) == (1, False, "")


@pytest.mark.parametrize(
    ("arguments", "label", "unit"),
    [
        ("list", "Listing", "1 dict"),
        ("list --size", "Counting", "3 entries"),
        ("len d", "Counting", "3 entries"),
        ("items d --all", "Reading", "3 entries"),
        ("locks d", "Reading", "1 lock"),
        ("unlock d held --yes", "Reading", "1 lock"),
        ("gc", "Searching", "1 dict"),
        ("gc --expired --yes", "Searching", "1 dict"),
        ("gc --expired --dry-run", "Reading", "3 entries"),
        ("watch d --times 1", "Listing", "3 entries"),
        ("top --times 1", "Reading", "3 entries"),
        ("export d /dev/null", "Exporting", "3 entries"),
        ("export --all /dev/null", "Listing", "1 dict"),
        ("clear d --yes", "Clearing", "3 entries"),
        ("delete d --yes", "Deleting", "3 entries"),
    ],
)
def test_every_long_command_shows_count_and_rate(
    d: Dict[Any, Any], arguments: str, label: str, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    d.update(a=1, b=2, c=3)
    d.lock("held").acquire()
    frames = re.split(r"[\r\n]", re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown(*arguments.split())[1]))
    shown_last = [frame for frame in frames if frame.startswith(label)][-1]
    assert re.search(rf" {unit} +[\d,]+/s +\d:\d\d:\d\d", shown_last)


@pytest.mark.parametrize(("columns", "rest"), [("80", r" 0/s 0:00:\d\d (-:--:--|0:00:\d\d) left"), ("44", " 0/s")])
def test_steps_are_named_while_they_run_and_printed_when_they_are_done(
    monkeypatch: pytest.MonkeyPatch, columns: str, rest: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    err = io.StringIO()
    monkeypatch.setattr(err, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", err)
    with step_progress("Configuring", ("bucket", "encryption")) as steps:
        steps.started("bucket")
        with steps.paused():
            before = len(err.getvalue())
        steps.started("encryption")
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", err.getvalue())
    assert before
    assert re.search(r"bucket .*0 steps" + rest, text)
    assert re.search(r"encryption .*1 step\b", text)


@pytest.mark.parametrize("columns", [40, 72])
def test_help_cuts_no_word(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    group: Any = get_command(_application())
    for name in [None, *group.commands]:
        out = re.sub(r"\x1b\[[\d;]*m", "", shown(*filter(None, [name]), "--help")[0])
        assert ("…" in out, max(map(len, out.splitlines())) <= columns) == (False, True)
        parameters = (group.commands[name] if name else group).params
        assert [option for each in parameters for option in each.opts if option not in out] == []
