"""What was tried, as a table on the terminal and in README.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..benchmarks.report import machine
from .engines import ROOT, Outcome

README = ROOT / "README.md"
_INTRODUCTION = """\
**Hostile input.** Whatever bytes lie in the place of an entry, a manifest or a lock, reading them gives the right error
or what was put, and takes no memory that they only claim. How many were tried:"""
_BLOCK = re.compile(r"(<!-- hostile input: .*? -->\n).*?(<!-- end of hostile input -->)", re.DOTALL)


def print_table(outcomes: Sequence[Outcome], about: str, console: Console) -> None:
    table = Table(title="Hostile input", caption=about)
    header, *rows = _cells(outcomes)
    for name in header:
        table.add_column(name, justify="left" if name == header[0] else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for outcome in outcomes:
        if outcome.error:
            kept = ", ".join(str(path.relative_to(ROOT)) for path in outcome.broken)
            console.print(f"{outcome.target}, {outcome.engine}: {outcome.error}. Kept: {kept}", markup=False)


def write_readme(outcomes: Sequence[Outcome], about: str, path: Path = README) -> None:
    """Puts the table between the two marks. Raises ValueError where they are missing."""
    header, *rows = _cells(outcomes)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    block = f"\n{_INTRODUCTION}\n\n{table}\n\n{about}\n\n"
    text, replaced = _BLOCK.subn(lambda marks: marks[1] + block + marks[2], path.read_text(encoding="utf-8"))
    if replaced != 1:
        raise ValueError(f"{path} has not one place for the table, but {replaced}")
    path.write_text(text, encoding="utf-8")


def describe(command: str) -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}, {machine()}: `{command}`"


def _cells(outcomes: Sequence[Outcome]) -> list[list[str]]:
    engines = list(dict.fromkeys(outcome.engine for outcome in outcomes))
    rows = [["what is read", *engines, "violations"]]
    for target in dict.fromkeys(outcome.target for outcome in outcomes):
        own = {outcome.engine: outcome for outcome in outcomes if outcome.target == target}
        violations = sum(bool(outcome.error) for outcome in own.values())
        rows.append(
            [target, *(f"{own[engine].tried:,}" if engine in own else "" for engine in engines), str(violations)]
        )
    totals = [sum(outcome.tried for outcome in outcomes if outcome.engine == engine) for engine in engines]
    return [*rows, ["**all**", *(f"{total:,}" for total in totals), str(sum(bool(o.error) for o in outcomes))]]
