"""Makes the pictures of the terminal from real runs, 80 columns wide: ``python -m tests.examples.terminals``.

Each is made twice, for a dark and for a light page.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme
from rich.text import Text

from s3dict import Dict
from s3dict.examples.bucket import example_bucket

PICTURES = Path(__file__).parent / "pictures"
COLUMNS = 80
THEMES: dict[str, TerminalTheme] = {"": SVG_EXPORT_THEME, "-light": DEFAULT_TERMINAL_THEME}


def shown(*arguments: str) -> str:
    """Return what a command of s3dict writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "FORCE_COLOR": "1"}
    command = [sys.executable, "-m", "s3dict", *arguments]
    with (
        subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=environment) as process,
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
            # Linux reports the end of the terminal so.
            return pieces
        if not piece:
            return pieces
        pieces.append(piece)


def draw(name: str, *arguments: str) -> None:
    written = Text.from_ansi(shown(*arguments))
    for suffix, theme in THEMES.items():
        with tempfile.TemporaryFile("w") as nowhere:
            console = Console(record=True, width=COLUMNS, file=nowhere)
            console.print(written)
        svg = console.export_svg(title=" ".join(("s3dict", *arguments)), theme=theme, unique_id=f"{name}{suffix}")
        (PICTURES / f"{name}{suffix}.svg").write_text(svg, encoding="utf-8")


def fill() -> None:
    """Create the dicts that the pictures show."""
    scores: Dict[str, int] = Dict.from_name("scores", create_if_missing=True)
    scores.update({f"player-{n}": n for n in range(1_234)})
    thumbnails: Dict[int, bytes] = Dict.from_name("thumbnails", create_if_missing=True, codec="bytes", ttl=None)
    thumbnails.update({n: bytes(20_000) for n in range(50)})
    Dict.from_name("a-dict-with-a-name-that-is-longer-than-its-column", create_if_missing=True).hydrate()


def main() -> None:
    draw("demo", "demo")
    with example_bucket():
        shown("init", "--bucket", os.environ["S3DICT_BUCKET"])
        draw("doctor", "doctor")
        fill()
        draw("list", "list", "--size")
        draw("items", "items", "scores", "5")


if __name__ == "__main__":
    main()
