"""``python -m tests.benchmarks``: measures everything, in 20 minutes on two idle cores."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from ..support.reports import replace_block
from .growth import measure_growth
from .plots import draw
from .report import machine, markdown, moment, print_table, used_versions, write_json
from .results import Line
from .rows import ROWS
from .runner import Lab
from .servers import running_servers

_RESULTS = Path(__file__).parent / "results" / "results.json"
_README = Path(__file__).parent / "README.md"
_SHORT_TURNS = 3
_WIDTH = 140
"""Of the table, where it is not a terminal that it is written to."""


def main() -> int:
    """Return 1 when a line misses its target by more than noise."""
    arguments = _parse()
    began = time.monotonic()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    about = {"Machine": machine(), "Begun": moment(), **used_versions()}
    about |= {"Quick": "nothing is exact"} if arguments.quick else {}
    about |= (
        {"Short": f"at most {_SHORT_TURNS} turns of each; the plots of growth are of an earlier run"}
        if arguments.short
        else {}
    )
    lines: list[Line] = []
    with running_servers() as servers:
        lab = Lab(servers, arguments.quick, _max_turns(arguments), arguments.release)
        for row in arguments.only or (*ROWS, *(() if arguments.short else ("growth",))):
            with console.status(f"{row}…"):
                for found in _lines_of(row, lab):
                    lines += found
                    # Here already: an interrupted run leaves what it has found.
                    write_json(arguments.json, lines, lab.figures, about | {"Ended": moment()})
            console.print(f"{time.monotonic() - began:4.0f} s: {row} is done")
    about |= {"Ended": moment()}
    print_table(lines, about, console)
    if arguments.json == _RESULTS and not arguments.only and not arguments.quick:
        replace_block(_README, "benchmarks", markdown(lines, about))
    draw(lab.figures, arguments.json.parent)
    return int(any(line.verdict == "missed" for line in lines))


def _lines_of(row: str, lab: Lab) -> Iterator[list[Line]]:
    if row == "growth":
        measure_growth(lab)
        yield []
    else:
        yield from ([line] for line in ROWS[row](lab))


def _max_turns(arguments: argparse.Namespace) -> int | None:
    return 1 if arguments.quick else _SHORT_TURNS if arguments.short else None


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=main.__doc__)
    parser.add_argument(
        "--only", action="append", metavar="ROW", choices=(*ROWS, "growth"), help="one of: %(choices)s; may be repeated"
    )
    parser.add_argument(
        "--release",
        type=Path,
        metavar="PATH",
        help="also measure beside an earlier release: a checkout with its virtual environment in .venv",
    )
    parser.add_argument("--short", action="store_true", help="fewer turns, and no growth: half of the time")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, once, to see that it runs")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="PATH",
        default=_RESULTS,
        help="the plots go beside it; a whole run without PATH also replaces the table in README.md",
    )
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
