"""The entries of one process, and a file that records which were acknowledged, also if the process is killed.

journal = JournalFile(directory, "p1")
await journal.write(d)
...
assert () == check_journals(directory, d).violations
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from s3dict import ConflictError, UnavailableError, UncertainOutcomeError

__all__ = ["Findings", "JournalFile", "check_journals", "value_of"]

_SUFFIX = ".journal"
_FAILURES = (ConflictError, UnavailableError, UncertainOutcomeError)
_LARGE = 3 << 20
_ONE_IN = 40
"""One in so many values is of up to `_LARGE` bytes, the others of up to a hundredth of that."""
_AT_ONCE = 200


def value_of(process: str, number: int) -> bytes:
    """Return the value of the entry with that number."""
    random = Random(f"{process}/{number}")
    return random.randbytes(random.randrange(_LARGE if number % _ONE_IN == 0 else _LARGE // 100))


class JournalFile:
    """Puts entries of its own, and writes a line before each put and another after its acknowledgement."""

    def __init__(self, directory: Path, process: str) -> None:
        self._process = process
        self._number = 0
        self._file = (directory / f"{process}{_SUFFIX}").open("ab", buffering=0)

    def close(self) -> None:
        self._file.close()

    async def write(self, d: Any) -> None:
        number, self._number = self._number, self._number + 1
        self._file.write(b"begun %d\n" % number)
        try:
            await d.put((self._process, number), value_of(self._process, number))
        except _FAILURES:
            return
        self._file.write(b"done %d\n" % number)


@dataclass(frozen=True, slots=True)
class Findings:
    """The difference between the journals and the entries."""

    acknowledged: int
    begun: int
    violations: tuple[str, ...]


def check_journals(directory: Path, d: Any) -> Findings:
    """Check that every acknowledged entry exists, and that each entry is whole."""
    acknowledged = begun = 0
    violations: list[str] = []
    for path in sorted(directory.glob(f"*{_SUFFIX}")):
        process, text = path.name.removesuffix(_SUFFIX), path.read_text()
        numbers = [int(number) for number in re.findall(r"^begun (\d+)$", text, re.MULTILINE)]
        done = {int(number) for number in re.findall(r"^done (\d+)$", text, re.MULTILINE)}
        begun, acknowledged = begun + len(numbers), acknowledged + len(done)
        for start in range(0, len(numbers), _AT_ONCE):
            violations += _compare(d, process, numbers[start : start + _AT_ONCE], done)
    return Findings(acknowledged, begun, tuple(violations))


def _compare(d: Any, process: str, numbers: list[int], done: set[int]) -> Iterator[str]:
    found = d.get_many((process, number) for number in numbers)
    for number in numbers:
        value = found.get((process, number))
        if value is None and number in done:
            yield f"the acknowledged entry {number} of {process} is lost"
        elif value is not None and value != value_of(process, number):
            yield f"the entry {number} of {process} is torn"
