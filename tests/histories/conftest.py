"""The servers and the processes are those of the races."""

from ..races.conftest import ministack, place, workers

__all__ = ["ministack", "place", "workers"]
