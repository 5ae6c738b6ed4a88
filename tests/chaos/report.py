"""The results as a table, on the terminal and in README.md. results.json holds the latest of each scenario."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..benchmarks.report import machine
from ..support.reports import replace_block
from .results import Result

__all__ = ["keep", "print_table", "write_readme"]

RESULTS = Path(__file__).parent / "results.json"
README = Path(__file__).parent / "README.md"
_COLUMNS = ("Scenario", "Server", "Seconds", "Operations", "Injected faults", "Violations")


def print_table(results: Sequence[Result], console: Console) -> None:
    table = Table(title="Fault-injection results")
    for column in _COLUMNS:
        table.add_column(column)
    for result in results:
        table.add_row(*_cells(asdict(result)))
    console.print(table)
    for result in results:
        console.print(f"{result.scenario}: {result.noted}", markup=False)


def keep(results: Sequence[Result]) -> None:
    """Store the results; they replace earlier ones of the same scenario."""
    today = datetime.now(UTC).date().isoformat()
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for result in results:
        known[f"{result.scenario}, {result.server}"] = {**asdict(result), "date": today, "machine": machine()}
    RESULTS.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_readme() -> None:
    known = list(json.loads(RESULTS.read_text()).values())
    rows = [_COLUMNS, ["---"] * len(_COLUMNS), *map(_cells, known)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    when = ", ".join(sorted({result["date"] for result in known}))
    where = "; ".join(sorted({result["machine"] for result in known}))
    notes = "".join(f"- {result['scenario']}: {result['noted']}.\n" for result in known if result["noted"])
    replace_block(README, "chaos", f"{table}\n\n{notes}- Measured {when}: {where}")


def _cells(result: dict[str, Any]) -> tuple[str, ...]:
    done = ", ".join(f"{count:,} {kind}" for kind, count in result["injected"].items()) or "mixed load"
    seconds, operations, violations = result["seconds"], result["operations"], len(result["violations"])
    return result["scenario"], result["server"], f"{seconds:.0f}", f"{operations:,}", done, str(violations)
