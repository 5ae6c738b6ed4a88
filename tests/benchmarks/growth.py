"""How time grows: with the number of entries, and with the size of a value."""

from __future__ import annotations

from .catalogue import kind_named
from .rows import AIOBOTO3, BOTO3, KIB, MIB, OBSTORE, OURS, OURS_AIOBOTO3, OURS_ASYNCIO, OURS_BOTO3
from .runner import SLOW, Job, Lab, folder_of
from .workers import Crew

__all__ = ["measure_growth"]

_NUMBERS = (100, 1000, 10_000, 100_000)
_MOST_OF_SLOW = 1000
_SIZES = (KIB, 10 * KIB, 100 * KIB, MIB, 10 * MIB, 100 * MIB)


def measure_growth(lab: Lab) -> None:
    with Crew(lab.servers.stub) as crew:
        for n in _NUMBERS[: 3 if lab.quick else 4]:
            _measure_number(lab, crew, n)
        for size in _SIZES[: 4 if lab.quick else 6]:
            _measure_size(lab, crew, size)


def _measure_number(lab: Lab, crew: Crew, n: int) -> None:
    kinds = [kind_named(name) for name in (OURS, OURS_ASYNCIO, OBSTORE, OURS_BOTO3, "boto3 + threads", "s3fs")]
    able = [kind for kind in kinds if kind.stands_on != SLOW or n <= _MOST_OF_SLOW]
    repetitions = 3 if n <= _MOST_OF_SLOW else 1
    for method, task, size in (("update", "put_all", KIB), ("len", "count", None), ("items", "read_all", KIB)):
        job = Job("growth", method, task, folder_of(f"growth-{n}"), size)
        lab.measure(crew, job, able, repetitions=repetitions, n=n)


def _measure_size(lab: Lab, crew: Crew, size: int) -> None:
    kinds = [kind_named(name) for name in (OURS, OURS_BOTO3, OURS_AIOBOTO3, OBSTORE, BOTO3, AIOBOTO3)]
    for method in ("put", "get"):
        job = Job("sizes", method, f"{method}_array", folder_of("sizes"), size)
        lab.measure(crew, job, kinds, repetitions=3)
