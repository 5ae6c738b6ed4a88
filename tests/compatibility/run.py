"""A server, tried."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from s3dict._admin.conformance.suite import CheckResult

from ..benchmarks.report import machine
from ..support.modes import Driver, Endpoint
from ..support.servers import ACCESS_KEY, SECRET_KEY, SERVERS, running
from .results import Result
from .suites import run_races, run_suite
from .verdicts import Worker, looked_at, merged, refusal, workers

__all__ = ["NAMES", "seen", "tried"]

# Two are not stores of their own: the directory bucket is what AWS documents, the other one has R2's limits.
NAMES = ("memory", *(name for name in SERVERS if name not in ("directory", "limited")))
"""In the order of the table."""

_DRIVERS: tuple[Driver, ...] = ("boto3", "obstore") if importlib.util.find_spec("obstore") else ("boto3",)
_SHORT_ROUNDS, _FULL_ROUNDS = 3, 20
_LONG = "listing in pages"


def tried(name: str, *, full: bool) -> Result:
    """Start the server, run the conformance suite, and the tests if the library accepts it.

    Raises RuntimeError, saying why, where it cannot be had.
    """
    with _at(name) as endpoint:
        looking = workers(name, endpoint, _DRIVERS)
        result = seen(name, {worker: _look(worker, thoroughly=full and worker is looking[0]) for worker in looking})
    if not full or result.refusal is not None:
        return result
    if name == "memory":
        return replace(result, suite=run_suite([name]))
    return replace(result, suite=run_suite([name, f"{name}-rust"]), races=run_races([name]))


def seen(name: str, looks: Mapping[Worker, Sequence[CheckResult]]) -> Result:
    """What came of the looks, and of the first use."""
    sights = merged({str(worker): findings for worker, findings in looks.items()})
    title, release = _known(name)
    today = datetime.now(UTC).date().isoformat()
    return Result(title, release, today, machine(), _agreed(looks), sights, suite=None, races=None)


@contextmanager
def _at(name: str) -> Iterator[Endpoint | None]:
    os.environ.update(AWS_ACCESS_KEY_ID=ACCESS_KEY, AWS_SECRET_ACCESS_KEY=SECRET_KEY, AWS_DEFAULT_REGION="us-east-1")
    if name == "memory":
        yield None
        return
    with TemporaryDirectory(prefix="s3dict-matrix-") as directory, running(name, Path(directory)) as endpoint:
        yield endpoint


def _agreed(looking: Iterable[Worker]) -> str | None:
    """Why the library does not take the store, on which all ways to it agree; None if it does."""
    said = {str(worker): refusal(worker) for worker in looking}
    assert len({why is None for why in said.values()}) == 1, f"taken in one way and not in another: {said}"
    return next(iter(said.values()))


def _look(worker: Worker, *, thoroughly: bool) -> Sequence[CheckResult]:
    if thoroughly:
        return looked_at(worker, rounds=_FULL_ROUNDS)
    return looked_at(worker, rounds=_SHORT_ROUNDS, exclude=[_LONG])


def _known(name: str) -> tuple[str, str]:
    if name == "memory":
        return "in memory, for tests", version("s3-shared-dict")
    return SERVERS[name].title, SERVERS[name].version()
