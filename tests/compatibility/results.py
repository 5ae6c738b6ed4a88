"""What came of each server, kept from run to run, so that servers may be tried one at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from s3dict._admin.conformance.suite import Outcome

from .suites import Counts
from .verdicts import Observation

__all__ = ["Result", "load", "save"]

_PATH = Path(__file__).parent / "results.json"
_CONDITIONS = ("PUT If-None-Match", "PUT If-Match")


@dataclass(frozen=True, slots=True)
class Result:
    """``refusal`` is what the library says at first use of a store that it does not take."""

    title: str
    version: str
    date: str
    machine: str
    refusal: str | None
    sights: Mapping[str, Observation]
    suite: Counts | None
    races: Counts | None

    @property
    def fatal(self) -> list[str]:
        return [name for name, sight in self.sights.items() if sight.is_fatal]

    @property
    def lacking(self) -> list[str]:
        """What it does not honour and a dict can do without."""
        return [name for name, sight in self.sights.items() if sight.verdict is Outcome.FAILED and not sight.is_fatal]

    @property
    def is_right(self) -> bool:
        """Whether the library takes it for what it is, and no test fails there."""
        counts = [each for each in (self.suite, self.races) if each is not None]
        return (self.refusal is not None) == bool(self.fatal) and not any(each.failed for each in counts)

    @property
    def verdict(self) -> str:
        if self.refusal is None:
            return f"taken, **wrongly**: {', '.join(self.fatal)}" if self.fatal else "supported"
        ignored = [name for name in _CONDITIONS if name in self.fatal]
        return f"refused: ignores {' and '.join(ignored)}" if ignored else f"refused: {self.refusal}"


def save(results: Mapping[str, Result]) -> None:
    kept = {name: {**asdict(result), "sights": _plain(result.sights)} for name, result in results.items()}
    _PATH.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _plain(sights: Mapping[str, Observation]) -> dict[str, Any]:
    return {name: {**asdict(sight), "verdict": sight.verdict.value} for name, sight in sights.items()}


def load() -> dict[str, Result]:
    """Those of earlier runs."""
    if not _PATH.exists():
        return {}
    kept: dict[str, Any] = json.loads(_PATH.read_text(encoding="utf-8"))
    return {name: _result(fields) for name, fields in kept.items()}


def _result(fields: dict[str, Any]) -> Result:
    sights = {
        name: Observation(Outcome(sight["verdict"]), sight["detail"], sight["is_fatal"])
        for name, sight in fields["sights"].items()
    }
    suite, races = _counts(fields["suite"]), _counts(fields["races"])
    return Result(**{**fields, "sights": sights, "suite": suite, "races": races})


def _counts(fields: dict[str, Any] | None) -> Counts | None:
    return None if fields is None else Counts(fields["passed"], tuple(fields["failed"]), fields["skipped"])
