"""What people see: every command on a real terminal, wide and narrow, in a pipe, and with NO_COLOR."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from rich.cells import cell_len

from .terminal_session import COMMANDS, LONG_KEY, LONG_NAME

pytestmark = pytest.mark.slow
SESSION = [sys.executable, "-W", "error", "-m", "tests.cli.terminal_session"]
SETTINGS = {"S3DICT_DRIVER": "memory", "S3DICT_BUCKET": "b", "S3DICT_SIGNING_KEYS": "0123456789abcdef", "TERM": "xterm"}
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]")
_COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|4[0-7]|9[0-7]|38|48)(?:;\d+)*m")


def environment(**variables: str) -> dict[str, str]:
    hidden = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "CI")
    return {name: value for name, value in os.environ.items() if name not in hidden} | SETTINGS | variables


@contextmanager
def on_terminal(command: list[str], columns: int, **variables: str) -> Iterator[Callable[[], str]]:
    """Run the command on a terminal of that width; what is yielded returns all that it writes until its end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**variables), start_new_session=True
    )
    os.close(theirs)

    def read() -> str:
        pieces: list[bytes] = []
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # so Linux reports the end of the terminal
                piece = b""
            if not piece:
                return b"".join(pieces).decode()
            pieces.append(piece)

    try:
        yield read
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def commands_in(output: str) -> dict[tuple[str, ...], str]:
    """What each command has written."""
    parts = output.replace("\r\n", "\n").split("=== ")[1:]
    return {arguments: part.partition("\n")[2] for arguments, part in zip(COMMANDS, parts, strict=True)}


def visible_lines(output: str) -> list[str]:
    return [_CONTROL.sub("", line) for line in re.split(r"[\r\n]|\x1b\[\?1049[hl]", output)]


@pytest.fixture(scope="module", params=[80, 44])
def terminal(request: pytest.FixtureRequest) -> tuple[int, dict[tuple[str, ...], str]]:
    with on_terminal(SESSION, request.param) as read:
        return request.param, commands_in(read())


def test_no_command_writes_beyond_the_edge_of_the_terminal(terminal: tuple[int, dict[tuple[str, ...], str]]) -> None:
    columns, written = terminal
    # What other programs read is not wrapped, and no name is broken in two.
    wrapped = {key: text for key, text in written.items() if "--json" not in key and key[0] != "get"}
    too_long = {
        key: [line for line in visible_lines(text) if cell_len(line) > columns and " " in line.strip()]
        for key, text in wrapped.items()
    }
    assert {key: lines for key, lines in too_long.items() if lines} == {}


def test_every_command_ends_as_expected_on_a_terminal(terminal: tuple[int, dict[tuple[str, ...], str]]) -> None:
    codes = {key: int(text.rstrip().rpartition(" ")[2]) for key, text in terminal[1].items()}
    assert {key: code for key, code in codes.items() if code} == {
        ("get", "new", "missing"): 1,
        ("get", "missing", "key"): 1,
        ("create", "new", "--ttl", "30x"): 2,
        ("items", "new", "--colour"): 2,
        ("init",): 1,
        ("doctor",): 1,
    }
    assert [key for key, text in terminal[1].items() if "Traceback" in text] == []


def first_column(output: str) -> str:
    """What the cells of a table's first column contain, on however many lines."""
    rows = (line.split("│") for line in visible_lines(output) if line.startswith("│"))
    return "".join(cells[1].strip() for cells in rows)


@pytest.mark.parametrize("command", [("list",), ("list", "--size"), ("top", "--times", "1")])
def test_tables_cut_no_name(terminal: tuple[int, dict[tuple[str, ...], str]], command: tuple[str, ...]) -> None:
    assert LONG_NAME in first_column(terminal[1][command])


def test_long_value_leaves_room_for_the_key(terminal: tuple[int, dict[tuple[str, ...], str]]) -> None:
    shown = first_column(terminal[1][("items", LONG_NAME)])
    assert LONG_KEY.replace(" ", "") in shown.replace(" ", "")


def test_terminal_shows_colours(terminal: tuple[int, dict[tuple[str, ...], str]]) -> None:
    assert _COLOUR.search(terminal[1][("--help",)])


def test_no_color_is_respected_by_every_command() -> None:
    with on_terminal(SESSION, 80, NO_COLOR="1") as read:
        written = commands_in(read())
    assert [key for key, text in written.items() if _COLOUR.search(text)] == []


def test_pipe_gets_neither_control_sequences_nor_progress() -> None:
    done = subprocess.run(SESSION, env=environment(), capture_output=True, text=True, check=False)
    assert ("\x1b" in done.stdout, "\x1b" in done.stderr, "\r" in done.stderr) == (False, False, False)
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if "Counting" in line or "Traceback" in line] == []
    written = commands_in(done.stdout)
    assert written[("len", LONG_NAME)] == "3\n"
    assert [line.split("\t")[0] for line in written[("list",)].splitlines()] == ["new", LONG_NAME]
