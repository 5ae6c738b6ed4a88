"""What the library says of a server: whether it takes it, and what it finds when it looks thoroughly."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from s3dict import Client, Dict, UnsupportedStoreError
from s3dict._admin.conformance.corrupt_puts import CorruptPuts
from s3dict._admin.conformance.suite import CheckResult, Outcome, run_suite
from s3dict._format.layout import new_ulid
from s3dict._stores.shared.threads import run_blocking

from ..support.modes import Driver, Endpoint, Mode
from ..support.servers import SERVERS

__all__ = ["Observation", "Worker", "looked_at", "merged", "refusal", "workers"]

R = TypeVar("R")
_WORST_FIRST = (Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.SKIPPED, Outcome.PASSED)
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Worker:
    """A client of a server, and how to call it."""

    client: Client
    mode: Mode

    def __str__(self) -> str:
        return f"{self.client.driver}, {self.mode.value}"

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return run_blocking(coroutine) if self.mode is Mode.SYNC else asyncio.run(coroutine)


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of a feature, by all who looked."""

    verdict: Outcome
    detail: str
    is_fatal: bool


def workers(name: str, endpoint: Endpoint | None, drivers: Sequence[Driver] = ("boto3", "obstore")) -> list[Worker]:
    """One for each driver and way, each with an empty place of its own. In memory, without an endpoint, one a way."""
    prefix = f"matrix-{os.getpid()}"
    if endpoint is None:
        return [Worker(Client(f"{prefix}-{next(_numbers)}", driver="memory"), mode) for mode in Mode]
    session = SERVERS[name].session()
    return [
        Worker(
            Client(
                endpoint.bucket,
                prefix=f"{prefix}-{next(_numbers)}",
                endpoint_url=endpoint.url,
                session=session,
                driver=driver,
            ),
            mode,
        )
        for driver in drivers
        for mode in Mode
    ]


def refusal(worker: Worker) -> str | None:
    """What the library says at the first use of a store that it does not take; None of one that it takes."""

    async def first_use() -> None:
        d: Dict[str, int] = Dict.from_name("first", create_if_missing=True, client=worker.client)
        if worker.mode is Mode.SYNC:
            d.put("k", 1)
        else:
            await d.put.aio("k", 1)

    try:
        worker.run(first_use())
    except UnsupportedStoreError as error:
        return str(error)
    return None


def looked_at(worker: Worker, *, rounds: int, exclude: Iterable[str] = ()) -> tuple[CheckResult, ...]:
    """As `s3dict doctor --deep` does, in the worker's own way."""

    async def look() -> tuple[CheckResult, ...]:
        client, folder = worker.client, new_ulid(datetime.now(UTC))
        store, path = client._store(aio=worker.mode is Mode.ASYNCIO), client._layout.scratch(folder)
        return await run_suite(store, path, CorruptPuts.of(client), rounds=rounds, exclude=tuple(exclude))

    return worker.run(look())


def merged(looks: Mapping[str, Sequence[CheckResult]]) -> dict[str, Observation]:
    """The worst that anybody saw of each feature, and who it was if others saw it otherwise."""
    seen: dict[str, list[tuple[str, CheckResult]]] = {}
    for who, findings in looks.items():
        for finding in findings:
            seen.setdefault(finding.feature.name, []).append((who, finding))
    return {name: _worst(sights) for name, sights in seen.items()}


def _worst(sights: Sequence[tuple[str, CheckResult]]) -> Observation:
    finding = min((finding for _, finding in sights), key=lambda each: _WORST_FIRST.index(each.verdict))
    agreeing = [who for who, other in sights if other.verdict is finding.verdict]
    detail = finding.detail if len(agreeing) == len(sights) else f"{finding.detail} (with {' and '.join(agreeing)})"
    return Observation(finding.verdict, detail, finding.is_fatal)
