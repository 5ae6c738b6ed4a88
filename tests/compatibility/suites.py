"""The tests that can run on any store, run on one server in a pytest of their own, and counted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

__all__ = ["Counts", "run_races", "run_suite"]

_ROOT = Path(__file__).parents[2]
_CONTENDED = ("tests/races", "tests/linearizability")
_SECONDS = 3600.0
_TAIL_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Counts:
    passed: int
    failed: tuple[str, ...]
    """Their names."""
    skipped: int

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed:,} passed, {len(self.failed)} failed{skipped}"


def run_suite(backends: Sequence[str]) -> Counts:
    """All of the Dict suite but what contends. Two processes, with a server each."""
    return _run(backends, "-n", "2", *(f"--ignore={path}" for path in _CONTENDED), "tests")


def run_races(backends: Sequence[str]) -> Counts:
    """What contends takes the machine for itself."""
    return _run(backends, *_CONTENDED)


def _run(backends: Sequence[str], *arguments: str) -> Counts:
    with TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        options = (f"--servers={','.join(backends)}", f"--junitxml={report}", "-q", "-p", "no:cacheprovider")
        command = [sys.executable, "-m", "pytest", *options, *arguments]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=_SECONDS)
        if not report.exists():
            raise RuntimeError(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-_TAIL_CHARACTERS:]}")
        return _counted(ElementTree.parse(report).getroot())


def _counted(report: ElementTree.Element) -> Counts:
    cases = list(report.iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    names = tuple(f"{case.get('classname')}.{case.get('name')}" for case in failed)
    return Counts(len(cases) - len(failed) - skipped, names, skipped)
