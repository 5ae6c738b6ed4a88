"""``python -m tests.chaos``: servers and clients are killed, the network fails, the disk is full, the clocks are wrong.

Exit code 1 when anything happened that was promised not to.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from rich.console import Console

from ..races.workers import Workers
from .disk import NotPossibleError
from .report import keep, print_table, write_readme
from .results import Result
from .runner import Lab
from .scenarios import ON_CEPH, SCENARIOS, SOAK

_SOAK_TIMES = 5
"""What grows slowly takes longer to be seen."""
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "chaos-access-key",
    "AWS_SECRET_ACCESS_KEY": "chaos-secret-key",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def main() -> int:
    arguments = _parse()
    os.environ.update(_CREDENTIALS)
    console = Console()
    names = arguments.only or [name for name in SCENARIOS if name != ON_CEPH or arguments.ceph]
    results = [result for name in names if (result := _play(name, arguments.minutes, console))]
    print_table(results, console)
    keep(results)
    if arguments.write:
        write_readme()
    return int(any(result.violations for result in results))


def _play(name: str, minutes: float, console: Console) -> Result | None:
    seconds = 60 * minutes * (_SOAK_TIMES if name == SOAK else 1)
    console.print(f"{name}: {seconds:.0f} s")
    with tempfile.TemporaryDirectory() as directory, Workers() as workers:
        try:
            result = SCENARIOS[name](Lab(Path(directory), workers, seconds, full=True))
        except NotPossibleError as error:
            console.print(f"left out: {error}")
            return None
    for violation in result.violations:
        console.print(violation, style="red", markup=False)
    return result


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--minutes",
        type=float,
        default=2,
        metavar="N",
        help="how long each scenario lasts (2); the soak, five times that",
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", choices=tuple(SCENARIOS), help="one of: %(choices)s; may be repeated"
    )
    parser.add_argument("--ceph", action="store_true", help="radosgw too; it is installed, as root, if it is missing")
    parser.add_argument(
        "--write", action="store_true", help="write the table of all results into tests/chaos/README.md"
    )
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
