"""``python -m tests.fuzz``: feeds whatever reads the bucket with hostile bytes, for as long as is wanted."""

from __future__ import annotations

import argparse
import shlex
import sys

from rich.console import Console

from .engines import Outcome, engines, has_atheris
from .fuzz_targets import TARGETS
from .report import describe, print_table, write_readme

_WIDTH = 120
"""Of the table, where it is not a terminal that it is written to."""


def main(arguments: list[str]) -> int:
    """Return 1 when something broke; what broke it lies in tests/fuzz/corpus, where the tests try it again."""
    chosen = _parse(arguments)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    if not has_atheris():
        console.print("atheris is not installed (its wheels are for Linux on x86-64): hypothesis goes alone.")
    outcomes: list[Outcome] = []
    for name in chosen.only or TARGETS:
        with console.status(f"{name}…"):
            outcomes += [engine(TARGETS[name], chosen.seconds) for engine in engines()]
        tried = ", ".join(f"{outcome.engine} {outcome.tried:,}" for outcome in outcomes if outcome.target == name)
        console.print(f"{name}: {tried}")
    about = describe(shlex.join(["python", "-m", "tests.fuzz", *arguments]))
    print_table(outcomes, about, console)
    if chosen.write:
        write_readme(outcomes, about)
    return int(any(outcome.error for outcome in outcomes))


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=main.__doc__)
    parser.add_argument(
        "--seconds",
        type=float,
        default=20,
        help="for how long hypothesis, and then atheris, try each target (default: %(default)g)",
    )
    parser.add_argument(
        "--only", action="append", metavar="TARGET", choices=TARGETS, help="one of: %(choices)s; may be repeated"
    )
    parser.add_argument("--write", action="store_true", help="put the table into tests/fuzz/README.md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
