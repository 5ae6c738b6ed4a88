"""The result of a scenario."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Result"]


@dataclass(frozen=True, slots=True)
class Result:
    """How many operations and injected faults there were, and the violated guarantees: none.

    ``injected`` counts, by kind, what was done to the processes, the server and the network.
    """

    scenario: str
    server: str
    seconds: float
    operations: int
    injected: dict[str, int]
    violations: tuple[str, ...]
    noted: str = ""
