"""What the library says of a server: whether it takes it, and what it finds when it looks thoroughly."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeVar

from s3dict import Client, Dict, UnsupportedStoreError
from s3dict._admin.conformance.suite import Finding, Verdict, examine
from s3dict._format.layout import new_ulid
from s3dict._stores.shared.threads import run_blocking

from ..support.modes import Driver, Endpoint, Way
from ..support.servers import SERVERS

__all__ = ["Seat", "Sight", "looked_at", "merged", "refusal", "seats"]

R = TypeVar("R")
_WORST_FIRST = (Verdict.NO, Verdict.UNCLEAR, Verdict.NOT_TRIED, Verdict.YES)
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Seat:
    """A client of a server, and the way to call it."""

    client: Client
    way: Way

    def __str__(self) -> str:
        return f"{self.client.driver}, {self.way.value}"

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return run_blocking(coroutine) if self.way is Way.BLOCKING else asyncio.run(coroutine)


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of a feature, by all who looked."""

    verdict: Verdict
    detail: str
    is_fatal: bool


def seats(name: str, endpoint: Endpoint | None, drivers: Sequence[Driver] = ("boto3", "obstore")) -> list[Seat]:
    """One for each driver and way, each with an empty place of its own. In memory, without an endpoint, one a way."""
    prefix = f"matrix-{os.getpid()}"
    if endpoint is None:
        return [Seat(Client(f"{prefix}-{next(_numbers)}", driver="memory"), way) for way in Way]
    session = SERVERS[name].session()
    return [
        Seat(
            Client(
                endpoint.bucket,
                prefix=f"{prefix}-{next(_numbers)}",
                endpoint_url=endpoint.url,
                session=session,
                driver=driver,
            ),
            way,
        )
        for driver in drivers
        for way in Way
    ]


def refusal(seat: Seat) -> str | None:
    """What the library says at the first use of a store that it does not take; None of one that it takes."""

    async def first_use() -> None:
        d: Dict[str, int] = Dict.from_name("first", create_if_missing=True, client=seat.client)
        if seat.way is Way.BLOCKING:
            d.put("k", 1)
        else:
            await d.put.aio("k", 1)

    try:
        seat.run(first_use())
    except UnsupportedStoreError as error:
        return str(error)
    return None


def looked_at(seat: Seat, *, rounds: int, leave_out: Iterable[str] = ()) -> tuple[Finding, ...]:
    """As `s3dict doctor --deep` does, in the seat's own way."""

    async def look() -> tuple[Finding, ...]:
        client, folder = seat.client, new_ulid(datetime.now(timezone.utc))
        store, path = client._store(aio=seat.way is Way.ASYNCIO), client._layout.scratch(folder)
        return await examine(store, path, client._damaged_puts(), rounds=rounds, leave_out=tuple(leave_out))

    return seat.run(look())


def merged(looks: Mapping[str, Sequence[Finding]]) -> dict[str, Sight]:
    """The worst that anybody saw of each feature, and who it was if others saw it otherwise."""
    seen: dict[str, list[tuple[str, Finding]]] = {}
    for who, findings in looks.items():
        for finding in findings:
            seen.setdefault(finding.feature.name, []).append((who, finding))
    return {name: _worst(sights) for name, sights in seen.items()}


def _worst(sights: Sequence[tuple[str, Finding]]) -> Sight:
    finding = min((finding for _, finding in sights), key=lambda each: _WORST_FIRST.index(each.verdict))
    agreeing = [who for who, other in sights if other.verdict is finding.verdict]
    detail = finding.detail if len(agreeing) == len(sights) else f"{finding.detail} (with {' and '.join(agreeing)})"
    return Sight(finding.verdict, detail, finding.is_fatal)
