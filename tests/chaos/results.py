"""What a scenario found."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Result"]


@dataclass(frozen=True, slots=True)
class Result:
    """How much was done and how much went wrong on purpose, and what should not have come of it: nothing.

    ``injected`` counts, by kind, what was done to the processes, the server and the network.
    """

    scenario: str
    server: str
    seconds: float
    operations: int
    injected: dict[str, int]
    violations: tuple[str, ...]
    noted: str = ""
