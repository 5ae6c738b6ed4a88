"""All commands, one after the other, in one process with an in-memory store: ``python -m tests.cli.terminal_session``.

A line ``=== arguments`` goes to stdout before each command, and one with its exit code to stderr after it.
"""

from __future__ import annotations

import os
import sys
import tempfile

from s3dict import Dict
from s3dict.cli import main

LONG_NAME = "a-dict-with-a-name-that-is-longer-than-its-column-is"
LONG_VALUE = {"words": "a value that is wider than the terminal, whatever its width is" * 3}
LONG_KEY = "a key that is wider than a narrow terminal, and that has to be folded"
COMMANDS = (
    ("--help",),
    *((command, "--help") for command in ("create", "items", "export", "import", "rekey", "gc", "dev", "watch")),
    ("--version",),
    ("create", "new", "--ttl", "12h"),
    ("list",),
    ("list", "--size"),
    ("info", LONG_NAME),
    ("put", LONG_NAME, "key", "value"),
    ("get", LONG_NAME, LONG_KEY),
    ("items", LONG_NAME),
    ("items", LONG_NAME, "--all", "--json"),
    ("len", LONG_NAME),
    ("locks", LONG_NAME),
    ("unlock", LONG_NAME, "builds", "--yes"),
    ("watch", LONG_NAME, "--times", "1"),
    ("top", "--times", "1"),
    ("export", LONG_NAME, "entries.pickle", "--format", "pickle"),
    ("import", "new", "entries.pickle", "--yes"),
    ("export", "--all", "backup"),
    ("import", "--all", "backup", "--env", "restored"),
    ("rekey", LONG_NAME),
    ("gc", "--dry-run"),
    ("gc", "--expired", "--yes"),
    ("pop", LONG_NAME, "key"),
    ("clear", LONG_NAME, "--yes"),
    ("delete", LONG_NAME, "--yes"),
    ("get", "new", "missing"),
    ("get", "missing", "key"),
    ("create", "new", "--ttl", "30x"),
    ("items", "new", "--colour"),
    ("init",),
    ("doctor",),
)


def run(*arguments: str) -> int:
    """Return the exit code of a command."""
    print("===", *arguments, flush=True)
    sys.argv = ["s3dict", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def session() -> None:
    os.chdir(tempfile.mkdtemp())
    d: Dict[str, object] = Dict.from_name(LONG_NAME, create_if_missing=True)
    d.update({LONG_KEY: LONG_VALUE, "short": 1})
    d.lock("builds").acquire()  # until the end of the process, or the command that takes it away
    for arguments in COMMANDS:
        code = run(*arguments)
        sys.stdout.flush()
        print(f"\nexit code {code}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    session()
