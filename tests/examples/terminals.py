"""Makes the pictures of the terminal from real runs, 80 columns wide: ``python -m tests.examples.terminals``.

Each is made twice, for a dark and for a light page.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.syntax import Syntax
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme
from rich.text import Text

from s3dict import Dict
from s3dict.examples.bucket import example_bucket

from ..docs.test_notebooks import CELLS, executed

PICTURES = Path(__file__).parent / "pictures"
COLUMNS = 80
_HOME = "\x1b[H"
THEMES: dict[str, TerminalTheme] = {"": SVG_EXPORT_THEME, "-light": DEFAULT_TERMINAL_THEME}


def shown(*arguments: str, during: Iterable[Callable[[], object]] = ()) -> str:
    """Return what a command of s3dict writes to a terminal of that width.

    Args:
        during: What happens while it runs, a second apart, from its first output on.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "FORCE_COLOR": "1"}
    command = [sys.executable, "-m", "s3dict", *arguments]
    with (
        subprocess.Popen(
            command, stdout=theirs, stderr=theirs if during else subprocess.DEVNULL, env=environment
        ) as process,
        os.fdopen(ours, "rb") as end,
    ):
        os.close(theirs)
        pieces = [os.read(end.fileno(), 65536)] if during else []
        for action in during:
            time.sleep(1)
            action()
        written = b"".join([*pieces, *_pieces(end.fileno())])
        process.wait()
    return _last_screen(written.decode().replace("\r\n", "\n"))


def _last_screen(written: str) -> str:
    """Return what is on the screen at the end of a program that redraws it, or else all that was written."""
    if _HOME not in written:
        return written
    screen = written.rpartition(_HOME)[2].partition("\x1b[?25h")[0]
    return "\n".join(line for line in screen.split("\n") if line.strip())


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


def draw(name: str, *arguments: str, during: Iterable[Callable[[], object]] = ()) -> None:
    _save(name, " ".join(("s3dict", *arguments)), Text.from_ansi(shown(*arguments, during=during)))


def draw_notebook() -> None:
    """Draw the cells of the guide's notebook with what a real kernel shows below them."""
    cells = [cell.strip() for cell in CELLS]
    parts: list[RenderableType] = []
    for number, (cell, outputs) in enumerate(
        zip(cells, executed(CELLS, {"PYTHONWARNINGS": "ignore"}), strict=True), start=1
    ):
        parts += [
            Text(f"In [{number}]:", style="blue"),
            Syntax(cell, "python", background_color="default", word_wrap=True),
        ]
        parts += [Text(line) for line in _cell_lines(outputs)]
    _save("notebook", "A notebook", Group(*parts))


def _cell_lines(outputs: list[Any]) -> Iterator[str]:
    """What is below a cell in the end: of a progress bar, its last state."""
    written = "".join(output.get("text", "") for output in outputs).rstrip()
    if written:
        yield written.rpartition("\r")[2]
    yield from (output["data"]["text/plain"] for output in outputs if "data" in output)


def _save(name: str, title: str, content: RenderableType) -> None:
    for suffix, theme in THEMES.items():
        with tempfile.TemporaryFile("w") as nowhere:
            console = Console(record=True, width=COLUMNS, file=nowhere)
            console.print(content)
        svg = console.export_svg(title=title, theme=theme, unique_id=f"{name}{suffix}")
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
        scores: Dict[str, int] = Dict.from_name("scores")
        changes = [lambda: scores.put("zoe", 1), lambda: scores.put("zoe", 200), lambda: scores.discard("zoe")]
        draw("watch", "watch", "scores", "-i", "0.5", "--times", "12", during=changes)
        with scores.lock("season-1"):
            draw("top", "top", "--times", "1")
        draw_notebook()


if __name__ == "__main__":
    main()
