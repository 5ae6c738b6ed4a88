"""Instructions that a program executes, counted by `perf` or `valgrind`: a figure that other load does not change."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import lru_cache

__all__ = ["count_instructions", "counter"]

_PERF = ("perf", "stat", "-x,", "-e", "instructions:u")
_VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
_COUNTS = re.compile(r"^(\d+),,instructions|I +refs: +([\d,]+)", re.MULTILINE)
_SECONDS = 300.0


@lru_cache(maxsize=1)
def counter() -> tuple[str, ...] | None:
    """The command that counts here, or None. A virtual machine seldom has the counters that `perf` reads."""
    installed = [command for command in (_PERF, _VALGRIND) if shutil.which(command[0])]
    return next((command for command in installed if _count(command, "") is not None), None)


def count_instructions(program: str) -> int:
    """Raise NotImplementedError where nothing can count, and RuntimeError when the program fails."""
    command = counter()
    if command is None:
        raise NotImplementedError
    count = _count(command, program)
    if count is None:
        raise RuntimeError(f"{command[0]} counted nothing of:\n{program}")
    return count


def _count(command: tuple[str, ...], program: str) -> int | None:
    done = subprocess.run(
        [*command, sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=_SECONDS
    )
    found = _COUNTS.search(done.stderr) if done.returncode == 0 else None
    return int((found[1] or found[2]).replace(",", "")) if found else None
