"""Takes the README's pictures of the checkboxes: ``python -m tests.examples.screenshots``."""

from __future__ import annotations

import base64
import random
import tempfile
from dataclasses import replace
from pathlib import Path

from s3dict.examples.bucket import example_bucket
from s3dict.examples.checkboxes.bitmaps import BOXES_PER_CHUNK, EMPTY, with_boxes
from s3dict.examples.checkboxes.board import shared_boxes

from ..support.chromium import DESKTOP, PHONE, Window, installed_chromium, open_browser
from .checkbox_servers import CheckboxServers
from .test_checkboxes_in_browser import Visitor

PICTURES = Path(__file__).parent / "pictures"
WINDOWS = {
    "checkboxes-desktop": replace(DESKTOP, width=1340, height=640),
    "checkboxes-phone": replace(PHONE, height=640, dark=True),
}
SHARE_OF_NOISE = 0.16

# 40 columns are what the desktop's window has.
COLUMNS, FIRST_ROW = 40, 4
DRAWING = """
........................................
....####.####..####...###...####.#####..
...#.........#.#...#...#...#.......#....
...#.........#.#...#...#...#.......#....
....###...###..#...#...#...#.......#....
.......#.....#.#...#...#...#.......#....
.......#.....#.#...#...#...#.......#....
...####..####..####...###...####...#....
........................................
"""


def drawn() -> dict[int, bool]:
    """The boxes of the first chunk: a drawing in noise."""
    chance = random.Random(7)
    boxes = {box: chance.random() < SHARE_OF_NOISE for box in range(BOXES_PER_CHUNK)}
    for row, line in enumerate(DRAWING.split(), start=FIRST_ROW):
        boxes |= {row * COLUMNS + column: mark == "#" for column, mark in enumerate(line)}
    return boxes


def picture(window: Window, url: str) -> bytes:
    with open_browser(installed_chromium(), window) as browser:
        visitor = Visitor(browser, url)
        visitor.wait_until(lambda: not visitor.script("return document.getAnimations().length"))
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": 75})
    return base64.b64decode(shot["data"])


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, example_bucket():
        shared = shared_boxes()
        shared.update((chunk, with_boxes(EMPTY, drawn())) for chunk in range(10))
        with CheckboxServers(Path(directory), {}, []) as servers:
            url = servers.urls(2)[0]
            for name, window in WINDOWS.items():
                path = PICTURES / f"{name}.webp"
                path.write_bytes(picture(window, url))
                print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
