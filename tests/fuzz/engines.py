"""Three ways to come by hostile bytes. Each tries a target for some time, and keeps what broke it in the corpus."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hypothesis import Phase, given, seed, settings

from .corpus import inputs_of, keep
from .fuzz_targets import Target
from .strategies import WHATEVER_THEY_TAKE, hostile

ROOT = Path(__file__).parents[2]
BATCH = 200
LONGEST_INPUT = 4096
SLOWEST_INPUT = 10
"""Seconds after which one input counts as broken: nothing may hang."""
LARGEST_PROCESS = 1024
"""Mebibytes: nothing may take memory that is only claimed."""
EXHAUSTIVE = "every truncation and flipped bit"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an engine tried on a target; ``broken`` are the files that hold what broke it, ``error`` what was said."""

    engine: str
    target: str
    tried: int
    broken: tuple[Path, ...] = ()
    error: str = ""


Engine = Callable[[Target, float], Outcome]


def exhaustively(target: Target, seconds: float) -> Outcome:
    """Every truncation and every flipped bit of what is as it should be, and the corpus, however long that takes."""
    tried = 0
    for data in near(target):
        tried += 1
        try:
            target.check(data)
        except Exception as error:
            return Outcome(EXHAUSTIVE, target.name, tried, (keep(target, data),), repr(error))
    return Outcome(EXHAUSTIVE, target.name, tried)


def near(target: Target) -> Iterator[bytes]:
    yield from (path.read_bytes() for path in inputs_of(target))
    for whole in target.seeds:
        yield from (whole[:size] for size in range(len(whole) + 1))
        for place in range(len(whole)):
            yield from (whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :] for bit in range(8))


def with_hypothesis(target: Target, seconds: float) -> Outcome:
    """What the strategies make, in batches until the time is over."""
    end, tried, last = time.monotonic() + seconds, 0, b""

    @settings(
        max_examples=BATCH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=WHATEVER_THEY_TAKE,
    )
    @given(hostile(target))
    def batch(data: bytes) -> None:
        nonlocal tried, last
        tried, last = tried + 1, data
        target.check(data)

    while time.monotonic() < end:
        try:
            seed(tried)(batch)()
        except Exception as error:
            return Outcome("hypothesis", target.name, tried, (keep(target, last),), repr(error))
    return Outcome("hypothesis", target.name, tried)


def with_atheris(target: Target, seconds: float, plant: str | None = None) -> Outcome:
    """Mutations that reach code which none has reached before (libFuzzer), in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        command = [sys.executable, "-m", "tests.fuzz.coverage_guided", target.name, *([plant] if plant else [])]
        done = subprocess.run(
            [*command, *_arguments(target, seconds, place)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        broken = tuple(path.read_bytes() for path in sorted(place.glob("broken-*")))
        if done.returncode and not broken:
            raise RuntimeError(f"atheris failed: {done.stderr[-2000:]}")
        said = re.search(r"Uncaught Python exception: ===\n(.*)|SUMMARY: (.*)", done.stdout + done.stderr)
        kept = () if plant else tuple(keep(target, data) for data in broken)
        tried = re.search(r"stat::number_of_executed_units: *(\d+)", done.stderr)
        error = str(said[1] or said[2]) if said and broken else ""
        return Outcome("atheris", target.name, int(tried[1]) if tried else 0, kept, error)


def _arguments(target: Target, seconds: float, place: Path) -> list[str]:
    """For libFuzzer: it keeps what reaches new code in the first folder, and begins from what is in the second."""
    for name in ("found", "seeds"):
        (place / name).mkdir()
    for number, data in enumerate((*target.seeds, *(path.read_bytes() for path in inputs_of(target)))):
        (place / "seeds" / str(number)).write_bytes(data)
    limits = [f"-max_total_time={max(1, round(seconds))}", f"-max_len={LONGEST_INPUT}", f"-timeout={SLOWEST_INPUT}"]
    limits += [f"-rss_limit_mb={LARGEST_PROCESS}", f"-artifact_prefix={place}/broken-", "-print_final_stats=1"]
    return ["--", *limits, str(place / "found"), str(place / "seeds")]


def engines() -> tuple[Engine, ...]:
    return (exhaustively, with_hypothesis, *((with_atheris,) if has_atheris() else ()))


def has_atheris() -> bool:
    return importlib.util.find_spec("atheris") is not None
