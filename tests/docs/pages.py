"""The Markdown pages of the project, and the parts of them that tests check."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["GUIDE", "PAGES", "README", "ROOT", "Snippet", "anchors", "links", "snippets", "table"]

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
GUIDE = ROOT / "s3dict" / "guide"
_FOLDERS = ("s3dict", "terraform", "tests")
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (README, *sorted(page for folder in _FOLDERS for page in (ROOT / folder).rglob("*.md")))
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
}

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Snippet:
    """A fenced block. Its code is preceded by as many empty lines as the page has before it, for tracebacks."""

    language: str
    section: str
    code: str

    @property
    def defines_tests(self) -> bool:
        return re.search(r"^def test_|^class Test", self.code, re.MULTILINE) is not None


def snippets(text: str, language: str) -> list[Snippet]:
    return [snippet for snippet in _blocks(text) if snippet.language == language]


def _blocks(text: str) -> Iterator[Snippet]:
    for block in _BLOCK.finditer(text):
        above = text[: block.start(2)]
        titles = re.findall(r"^## (.+)$", above, re.MULTILINE)
        yield Snippet(block[1], titles[-1] if titles else "", "\n" * above.count("\n") + block[2])


def links(text: str) -> list[str]:
    """Return the targets of all links and pictures."""
    prose = _BLOCK.sub("", text)
    return [*re.findall(r"\]\(([^)\s]+)\)", prose), *re.findall(r'(?:src|href)="([^"]+)"', prose)]


def anchors(text: str) -> set[str]:
    """Return the fragments that GitHub gives to the headings."""
    titles = re.findall(r"^#+ (.+)$", _BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def table(page: Path, header: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this header, row by row."""
    text = page.read_text(encoding="utf-8")
    lines = text[text.index(f"| {header} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
