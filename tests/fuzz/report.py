"""The number of inputs tried, as a table on the terminal and in README.md."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..benchmarks.report import machine
from ..support.reports import replace_block
from .engines import ROOT, Outcome

README = Path(__file__).parent / "README.md"


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
    """Put the table into the page. Raises ValueError if the page has no place for it."""
    header, *rows = _cells(outcomes)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    replace_block(path, "hostile input", f"{table}\n\n{about}")


def describe(command: str) -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}, {machine()}: `{command}`"


def _cells(outcomes: Sequence[Outcome]) -> list[list[str]]:
    engines = list(dict.fromkeys(outcome.engine for outcome in outcomes))
    rows = [["Input", *engines, "Violations"]]
    for target in dict.fromkeys(outcome.target for outcome in outcomes):
        own = {outcome.engine: outcome for outcome in outcomes if outcome.target == target}
        violations = sum(bool(outcome.error) for outcome in own.values())
        rows.append(
            [target, *(f"{own[engine].tried:,}" if engine in own else "" for engine in engines), str(violations)]
        )
    totals = [sum(outcome.tried for outcome in outcomes if outcome.engine == engine) for engine in engines]
    return [*rows, ["**all**", *(f"{total:,}" for total in totals), str(sum(bool(o.error) for o in outcomes))]]
