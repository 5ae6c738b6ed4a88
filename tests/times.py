"""``python -m tests.times REPORT.xml``: write the time of each folder into tests/README.md.

The report is that of a whole run, ``-m pytest -n 3 --junitxml=REPORT.xml``, on an idle machine.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path
from xml.etree import ElementTree

from .support.reports import replace_block

__all__ = ["folder_times", "table"]

README = Path(__file__).parent / "README.md"


def folder_times(report: Path) -> dict[str, tuple[int, float]]:
    """Return the number of tests in each folder, and the seconds that all workers spent on them."""
    tests, seconds = Counter[str](), defaultdict[str, float](float)
    for case in ElementTree.parse(report).iter("testcase"):
        _, folder, *_ = case.get("classname", "").split(".")
        tests[folder] += 1
        seconds[folder] += float(case.get("time", 0))
    slowest_first = sorted(seconds, key=seconds.__getitem__, reverse=True)
    return {folder: (tests[folder], seconds[folder]) for folder in slowest_first}


def table(times: dict[str, tuple[int, float]]) -> str:
    """Return a row for each folder, the slowest first, and one for all."""
    every = sum(tests for tests, _ in times.values()), sum(seconds for _, seconds in times.values())
    rows = [("all", every), *times.items()]
    return "\n".join(
        ["| Folder | Tests | Seconds |", "|---|---:|---:|"]
        + [f"| `{folder}` | {tests:,} | {seconds:,.0f} |" for folder, (tests, seconds) in rows if tests]
    )


def main(report: str) -> None:
    replace_block(README, "times", table(folder_times(Path(report))))


if __name__ == "__main__":
    main(*sys.argv[1:])
