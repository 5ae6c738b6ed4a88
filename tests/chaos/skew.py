"""Wrong and jumping clocks: of the clients, which sign by them, and of the server, by which entries age."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from s3dict import Dict, PermissionDeniedError

from ..support.modes import client_at
from ..support.proxy import Proxy
from ..support.time_travel import TimeTravel
from .results import Result
from .runner import Lab, Rounds
from .workloads import skewed

__all__ = ["clock_skew"]

ROUND_SECONDS = 4.0
ACCEPTED = timedelta(minutes=14)
REFUSED = (timedelta(days=2), timedelta(minutes=20))
JUMP = timedelta(days=2)
"""A client that sees an entry so old renews it; at seven days, with a little more, it would be over."""


def clock_skew(lab: Lab) -> Result:
    """Clocks that are wrong by less than 15 minutes have no effect; beyond that, S3 rejects all requests."""
    with lab.store() as direct, Proxy(str(direct.endpoint_url), seed=7) as proxy:
        began, jumps = time.monotonic(), 0
        # All of it through the proxy: it knows when things were written by the clock that jumps.
        client = client_at(proxy.url, direct)
        rounds = Rounds(lab, client)
        while not jumps or time.monotonic() - began < lab.seconds:
            with _jumping(TimeTravel(proxy)) as jumped:
                # No locks: a lease expires by the server's clock, whatever that shows.
                worked = rounds.work(
                    client, min(ROUND_SECONDS, lab.seconds), skew=ACCEPTED.total_seconds(), locks=False
                )
            jumps += len(jumped)
            rounds.check(*worked)
        refusals = _check_refusals(rounds)
        injected = {"jumps of the server's clock": jumps, "refused for the client's": refusals}
        return rounds.result("clocks wrong", "SeaweedFS", began, injected)


@contextmanager
def _jumping(clock: TimeTravel) -> Iterator[list[timedelta]]:
    """Let the clock jump two days ahead and back."""
    jumps, ended = list[timedelta](), threading.Event()

    def jump() -> None:
        while not ended.wait(random.uniform(0.1, 0.4)):
            jumps.append(-JUMP if len(jumps) % 2 else JUMP)
            clock.advance(jumps[-1])

    thread = threading.Thread(target=jump)
    thread.start()
    try:
        yield jumps
    finally:
        ended.set()
        thread.join()
        clock.advance(-JUMP if len(jumps) % 2 else timedelta(0))


def _check_refusals(rounds: Rounds) -> int:
    """Check that a client with a wrong clock raises an error that names the clock, and changes nothing."""
    d: Dict[Any, Any] = rounds.d
    d["k"] = "right"
    uses: list[Callable[[], object]] = [
        lambda: d.get("k"),
        lambda: d.put("k", "wrong"),
        lambda: d.put("new", "wrong", skip_if_exists=True),
        lambda: d.pop("k"),
        d.len,
    ]
    refused = 0
    for off in (*REFUSED, *(-off for off in REFUSED)):
        with skewed(off.total_seconds()):
            refused += sum(_is_refused(rounds, use) for use in uses)
    rounds.operations += len(uses) * 2 * len(REFUSED)
    if dict(d.items()) != {"k": "right"}:
        rounds.violations.append("a request with a wrong clock has changed something")
    return refused


def _is_refused(rounds: Rounds, use: Callable[[], object]) -> bool:
    try:
        use()
    except PermissionDeniedError as error:
        if "clock" in str(error):
            return True
        rounds.violations.append(f"the error does not speak of the clock: {error}")
    else:
        rounds.violations.append("a request with a wrong clock was not refused")
    return False
