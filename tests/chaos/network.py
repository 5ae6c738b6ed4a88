"""Network faults: broken connections, errors, lost responses, and no response for half a minute."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..support.limiter import KeyLimiter, Limiter, RateLimiter
from ..support.modes import client_at
from ..support.proxy import Fault, Proxy, Request
from .results import Result
from .runner import Lab, Rounds

__all__ = ["EVERYTHING", "PROFILES", "Profile", "network", "no_response"]

ROUND_SECONDS = 4.0
SILENCE_SECONDS = 30.0
SHORT_SILENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Profile:
    """The probabilities of faults, and the timeout of the clients."""

    name: str
    faults: Sequence[Fault]
    timeout: float = 10.0
    limiter: Callable[[], Limiter] | None = None
    """Makes what refuses requests by their rate."""


def _one_write_of_a_key() -> Limiter:
    """Limit the writes of one key, and all writes."""
    keys, all_writes = KeyLimiter(0.1), RateLimiter(writes=100)
    return lambda method, path: keys(method, path) and all_writes(method, path)


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("connections cut", (Fault("cut-request", probability=0.03), Fault("cut-response", probability=0.03))),
        Profile(
            "5 % of 500 and 503",
            (
                Fault("internal-error", probability=0.02),
                Fault("internal-error-after", probability=0.01),
                Fault("slow-down", probability=0.02),
            ),
        ),
        Profile(
            "throttled",
            (Fault("internal-error-after", probability=0.01), Fault("lost-response", probability=0.02)),
            limiter=_one_write_of_a_key,
        ),
        Profile("responses lost", (Fault("lost-response", probability=0.05), Fault("lost-request", probability=0.02))),
        Profile(
            "responses delayed or stalled",
            (
                Fault("delay", probability=0.1, seconds=0.3),
                Fault("stalled-response", probability=0.01, seconds=60.0),
            ),
            timeout=2.0,
        ),
    )
}


EVERYTHING = Profile("all of it at once", [fault for profile in PROFILES.values() for fault in profile.faults], 2.0)


def network(lab: Lab, *, profile: Profile) -> Result:
    """Run one profile on SeaweedFS: no acknowledged write is lost, no value is torn, the history is linearizable."""
    with lab.store() as direct, Proxy(str(direct.endpoint_url), seed=7) as proxy:
        began, hits = time.monotonic(), Counter[str]()
        through = client_at(proxy.url, direct)
        rounds = Rounds(lab, direct, profile.timeout)
        while not hits or time.monotonic() - began < lab.seconds:
            with proxy.recording() as requests:
                proxy.faults = profile.faults
                proxy.limiter = profile.limiter and profile.limiter()
                worked = rounds.work(through, min(ROUND_SECONDS, lab.seconds))
                proxy.faults, proxy.limiter = (), None
            hits.update(_struck(requests))
            rounds.check(*worked)
        return rounds.result(profile.name, "SeaweedFS", began, dict(hits))


def _struck(requests: Sequence[Request]) -> list[str]:
    return [request.fault for request in requests if request.fault]


def no_response(lab: Lab) -> Result:
    """Hold and then drop every request for half a minute: calls time out, and later ones succeed."""
    seconds = SILENCE_SECONDS if lab.full else SHORT_SILENCE_SECONDS
    timeout = seconds / 4
    with lab.store() as direct, Proxy(str(direct.endpoint_url), seed=7) as proxy:
        began, interruptions = time.monotonic(), 0
        through = client_at(proxy.url, direct)
        rounds = Rounds(lab, direct, timeout)
        while not interruptions or time.monotonic() - began < lab.seconds:
            falling = threading.Timer(seconds / 4, _stop_responding, (proxy, seconds))
            falling.start()
            worked = rounds.work(through, 1.5 * seconds)
            falling.join()
            interruptions += 1
            rounds.check(*worked)
        _check_bound(rounds, timeout)
        return rounds.result(f"{seconds:g} s without responses", "SeaweedFS", began, {"interruptions": interruptions})


def _stop_responding(proxy: Proxy, seconds: float) -> None:
    proxy.faults = [Fault("lost-request", seconds=seconds)]
    time.sleep(seconds)
    proxy.faults = ()


MOST_REQUESTS = 5
"""Of the operations here: a lock that is looked at, taken, and let go around a get and a put."""
PAUSES_SECONDS = 15.0


def _check_bound(rounds: Rounds, timeout: float) -> None:
    longest = MOST_REQUESTS * 4 * timeout + PAUSES_SECONDS
    if rounds.slowest > longest:
        rounds.violations.append(f"a call took {rounds.slowest:.1f} s, of {longest:.1f} s with a timeout of {timeout}")
