"""Generated parts of Markdown pages, between ``<!-- NAME: COMMAND -->`` and ``<!-- end of NAME -->``."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["read_block", "replace_block"]


def replace_block(page: Path, name: str, text: str) -> None:
    """Replace the generated part of a page.

    Raises:
        ValueError: The page does not have exactly one part of this name.
    """
    content, count = _pattern(name).subn(
        lambda block: f"{block[1]}\n\n{text}\n\n{block[3]}", page.read_text(encoding="utf-8")
    )
    if count != 1:
        raise ValueError(f"{page} has {count} parts named {name!r} instead of one")
    page.write_text(content, encoding="utf-8")


def read_block(page: Path, name: str) -> str:
    """Return the generated part of a page."""
    block = _pattern(name).search(page.read_text(encoding="utf-8"))
    assert block, f"{page} has no part named {name!r}"
    return block[2].strip()


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: [^>]*-->)(.*?)(<!-- end of {name} -->)", re.DOTALL)
