"""Takes the README's pictures of the demo's and the doctor's output: ``python -m tests.examples.terminals``."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from s3dict.examples.bucket import example_bucket

PICTURES = Path(__file__).parent / "pictures"
COLUMNS = 110


def shown(*arguments: str) -> str:
    """What a command of s3dict writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "FORCE_COLOR": "1"}
    command = [sys.executable, "-m", "s3dict", *arguments]
    with (
        subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process,
        os.fdopen(ours, "rb") as end,
    ):
        os.close(theirs)
        written = b"".join(_pieces(end.fileno()))
        process.wait()
    return written.decode().replace("\r\n", "\n")


def _pieces(descriptor: int) -> list[bytes]:
    pieces: list[bytes] = []
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:
            # Linux says so when nobody has the other end open any more.
            return pieces
        if not piece:
            return pieces
        pieces.append(piece)


def draw(name: str, *arguments: str) -> None:
    with tempfile.TemporaryFile("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere)
        console.print(Text.from_ansi(shown(*arguments)))
    title = " ".join(("s3dict", *arguments))
    (PICTURES / f"{name}.svg").write_text(console.export_svg(title=title), encoding="utf-8")


def main() -> None:
    draw("demo", "demo")
    with example_bucket():
        shown("init", "--bucket", os.environ["S3DICT_BUCKET"])
        draw("doctor", "doctor")


if __name__ == "__main__":
    main()
