"""The servers and the processes are those of the races."""

from ..races.conftest import place, workers

__all__ = ["place", "workers"]
