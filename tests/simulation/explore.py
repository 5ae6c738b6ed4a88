"""Exploring the schedules of a program: all of them, or those of some seeds; and showing the one that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .choices import Chooser, Replay, Seeded, all_schedules, shrunk
from .programs import Program
from .world import Setting, World


@dataclass(frozen=True, slots=True)
class Failure:
    """A schedule that broke a promise."""

    problem: str
    choices: tuple[int, ...]
    seed: int | None
    timeline: tuple[str, ...]

    def __str__(self) -> str:
        origin = "" if self.seed is None else f" (seed {self.seed})"
        return "\n".join([f"{self.problem}{origin}; choices {list(self.choices)}", *self.timeline])


class SimulationError(AssertionError):
    def __init__(self, name: str, failure: Failure) -> None:
        super().__init__(f"{name}: {failure}")
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Workload:
    """A program with its setting."""

    name: str
    program: Callable[[], Program]
    setting: Setting

    def run(self, chooser: Chooser) -> tuple[str | None, World]:
        """Run one schedule; return what is wrong with it, if anything."""
        world = World(chooser, self.setting)
        program = self.program()
        problem: str | None = None
        try:
            program.prepare(world)
            world.run()
            if failures := world.failures():
                problem = f"an unexpected {failures[0]!r}"
            elif world.loop.problems:
                problem = world.loop.problems[0]
            else:
                program.check(world)
                assert not world.bucket.violations, world.bucket.violations
        except AssertionError as error:
            problem = str(error) or repr(error)
        finally:
            world.close()
        return problem, world

    def explore_seeds(self, seeds: Sequence[int]) -> int:
        """Run the schedule of each seed; return how many ran. Raises SimulationError for the first that fails."""
        for seed in seeds:
            chooser = Seeded(seed)
            problem, _ = self.run(chooser)
            if problem is not None:
                raise SimulationError(self.name, self._shrunk(chooser.taken, seed))
        return len(seeds)

    def finds_problem(self, seeds: Sequence[int]) -> bool:
        """Return whether the schedule of one of the seeds fails."""
        return any(self.run(Seeded(seed))[0] is not None for seed in seeds)

    def explore_all(self, limit: int) -> int:
        """Run all schedules, depth first, or the first `limit`; return how many ran."""
        number = 0
        for number, chooser in enumerate(all_schedules(), 1):
            problem, _ = self.run(chooser)
            if problem is not None:
                raise SimulationError(self.name, self._shrunk(chooser.taken, None))
            if number == limit:
                break
        return number

    def _shrunk(self, choices: Sequence[int], seed: int | None) -> Failure:
        best = shrunk(choices, lambda candidate: self.run(Replay(candidate))[0] is not None)
        problem, world = self.run(Replay(best))
        if problem is None:
            # Not reproduced by its choices, so something is not under control: show it as it was.
            return Failure("a schedule that does not repeat", tuple(choices), seed, tuple(world.timeline))
        return Failure(problem, tuple(best), seed, tuple(world.timeline))
