"""All workloads: programs with the settings under which they are explored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import product

from .explore import Workload
from .history import ABSENT, Step
from .mixtures import Once, Regenerated, RenewedByHand, TakenPermits
from .programs import (
    SWEPT_AFTER,
    TTL,
    Additions,
    Computation,
    Conservation,
    Creation,
    DifferentPermits,
    Ephemeral,
    HandedOver,
    InterruptedLock,
    LifeCycle,
    Listing,
    Locks,
    Observed,
    OneKey,
    Refreshed,
    Semaphore,
    TakenAway,
    Update,
    add,
    create,
    discard,
    get,
    pop,
    put,
    setdefault,
)
from .store import Features
from .world import Fault, Setting

LOSSES: tuple[Fault, ...] = ("lose request", "lose response", "conflict", "throttle")
TOMBSTONES = Features(conditional_delete=False, conditional_copy=False)
ENCRYPTED = Features(etag_of_content=False)
SMALL_PAGES = Features(page_size=2)


def _pairs() -> Iterator[Workload]:
    """Yield every pair of operations and a read, from absent, stored and expired, without faults."""
    steps: dict[str, Step] = {
        "put": put(1),
        "create": create(2),
        "pop": pop(),
        "del": discard(),
        "add": add(10),
        "setdefault": setdefault(3),
    }
    initial = {"absent": ABSENT, "stored": 0}
    for (first, a), (second, b), (state, value) in product(steps.items(), steps.items(), initial.items()):
        if first <= second:
            program = partial(OneKey, [[a, get()], [b]], value)
            yield Workload(f"{first} beside {second}, {state}", program, Setting())
            yield Workload(f"{first} beside {second}, {state}, tombstones", program, Setting(TOMBSTONES))


PAIRS = {workload.name: workload for workload in _pairs()}
"""Small enough for all of their schedules."""

_THREE = ((create(1), pop()), (add(10), get()), (pop(), setdefault(5)))
_WRITERS = ((add(1), get()), (add(10),), (put(100),))

_MANIFEST = r"(GET|PUT) .*[.]json$"

_RANDOM = [
    Workload("three clients, losses", partial(OneKey, _THREE), Setting(faults=LOSSES, budget=3)),
    Workload("three clients, losses, tombstones", partial(OneKey, _THREE), Setting(TOMBSTONES, LOSSES, 3)),
    Workload("three clients, losses, encrypted", partial(OneKey, _THREE, 7), Setting(ENCRYPTED, LOSSES, 3)),
    Workload(
        "three clients, effect and response apart",
        partial(OneKey, _THREE, 7),
        Setting(faults=LOSSES, budget=2, split=True),
    ),
    Workload(
        "pop beside del, losses",
        partial(OneKey, ((pop(),), (discard(), create(3)), (get(),)), 7),
        Setting(faults=("lose response",), budget=2, fault_weight=0.4),
    ),
    Workload(
        "creator beside a pop, a lost response",
        partial(OneKey, ((create(1),), (pop(),))),
        Setting(faults=("lose response",), budget=1, fault_weight=1.0),
    ),
    Workload(
        "creator beside a pop, a delayed request",
        partial(OneKey, ((create(1),), (pop(), get())), 7, False, timedelta(seconds=10)),
        Setting(faults=("delay request",), budget=1, fault_weight=1.0),
    ),
    Workload(
        "creators by setdefault",
        partial(OneKey, ((setdefault(1), get()), (setdefault(2), get()))),
        Setting(faults=("lose request",), budget=1),
    ),
    Workload(
        "pop, a lost response",
        partial(OneKey, ((pop(), get()),), 7),
        Setting(faults=("lose response",), budget=1, fault_weight=1.0),
    ),
    Workload(
        "pop beside a creator, a lost response",
        partial(OneKey, ((pop(),), (get(), create(2))), 7),
        Setting(faults=("lose response",), budget=1, fault_weight=1.0),
    ),
    Workload(
        "an overwrite that is repeated",
        partial(OneKey, ((put(1, may_repeat=True),), (pop(),)), 7),
        Setting(faults=("lose response",), budget=1, overwrites_fail=True, fault_weight=1.0),
    ),
    Workload(
        "locks, requests that take longer than the lease",
        partial(Locks, 2, 2, 2.0, 2.5),
        Setting(faults=("stall",), budget=3, split=True, pause_seconds=1.9),
    ),
    Workload(
        "locks, stalled holders",
        partial(Locks, 2, 1, 2.0, 4.5),
        Setting(faults=("stall",), budget=2, pause_seconds=2.5, fault_weight=1.0),
    ),
    Workload(
        "locks, late renewals",
        partial(Locks, 1, 1, 2.0, 4.5),
        Setting(faults=("stall",), budget=2, pause_seconds=1.6, fault_weight=1.0, fault_on="PUT .*/locks/"),
    ),
    Workload(
        "locks, killed holders and late requests",
        partial(Locks, 2, 2, 2.0, 1.5),
        Setting(faults=("pause", "kill", "delay request"), budget=2, split=True, fault_weight=0.3),
    ),
    Workload(
        "a long lease, lost renewals",
        partial(Locks, 1, 1, 6.0, 9.0),
        Setting(ENCRYPTED, ("lose response", "lose request"), 6, fault_weight=3.0),
    ),
    Workload(
        "losses, and a clock that cannot be read",
        partial(OneKey, ((add(1), add(2)), (add(10), add(20))), 7),
        Setting(Features(readable_clock=False), ("lose response",), 2, fault_weight=0.4),
    ),
    Workload(
        "writer beside a pop, losses",
        partial(OneKey, ((add(1), get()), (pop(),)), 7),
        Setting(faults=("lose response",), budget=2, fault_weight=0.5),
    ),
    Workload(
        "writers, losses and pauses",
        partial(OneKey, _WRITERS, 7),
        Setting(faults=("lose response", "pause"), budget=3, fault_weight=0.4),
    ),
    Workload(
        "writers behind a proxy that repeats puts",
        partial(OneKey, ((create(2), add(5), add(1)), (get(), get()))),
        Setting(TOMBSTONES, ("proxy retry",), 2),
    ),
    Workload(
        "a read cache beside writes of its own client",
        partial(OneKey, ((put(1), get()), (get(), get()), (add(10), get())), 7, True),
        Setting(split_reads=True),
    ),
    Workload(
        "an expiring entry, renewed and removed",
        partial(OneKey, ((get(),), (pop(), create(5)), (get(), add(1))), 7, False, TTL / 2),
        Setting(Features(conditional_copy=False)),
    ),
    Workload(
        "an expiring entry, renewed by copies",
        partial(OneKey, ((get(),), (pop(), create(5)), (get(), add(1))), 7, False, TTL / 2),
        Setting(ENCRYPTED),
    ),
    Workload(
        "three clients, losses, and steps of the store's clock",
        partial(OneKey, _THREE, 7),
        Setting(faults=("lose request", "lose response", "clock step", "clock back"), budget=3, fault_weight=0.6),
    ),
    Workload(
        "an expired entry that the lifecycle deletes",
        partial(OneKey, _THREE, 7, age=SWEPT_AFTER),
        Setting(faults=("lifecycle", "lose response"), budget=2, fault_weight=0.4),
    ),
    Workload(
        "an old tombstone that the lifecycle deletes",
        partial(OneKey, _THREE, 7, age=SWEPT_AFTER, popped=True),
        Setting(TOMBSTONES, ("lifecycle", "lose response"), 2, fault_weight=0.4),
    ),
    Workload("cancelled pops", Conservation, Setting(faults=("cancel",), budget=2, fault_weight=0.3)),
    Workload("cancelled pops, tombstones", Conservation, Setting(TOMBSTONES, ("cancel",), 2, fault_weight=0.3)),
    Workload(
        "cancelled pops, losses",
        Conservation,
        Setting(faults=("cancel", *LOSSES), budget=3, split=True, fault_weight=0.3),
    ),
    Workload(
        "cancelled bulk pops",
        partial(Conservation, 2, True),
        Setting(faults=("cancel", "lose response"), budget=3, fault_weight=0.2),
    ),
    Workload("locks", partial(Locks, 3, 2), Setting()),
    Workload("locks, losses", partial(Locks, 2, 2), Setting(faults=LOSSES, budget=3)),
    Workload(
        "locks, slow responses and pauses",
        partial(Locks, 2, 2, 2.0, 2.5),
        Setting(faults=("pause", "lose response"), budget=3, split=True, pause_seconds=1.9, fault_weight=0.3),
    ),
    Workload(
        "locks, the store's clock is set back",
        partial(Locks, 2, 2, 2.0, 1.5),
        Setting(faults=("clock back", "lose response"), budget=2, fault_weight=0.3),
    ),
    Workload(
        "locks that were unused for long",
        partial(Locks, 2, 3, idle=SWEPT_AFTER),
        Setting(faults=("lifecycle",), budget=3, fault_weight=2.0, skew_seconds=600.0),
    ),
    Workload("reentrant lock", partial(Locks, 2, 2, reentrant=True), Setting()),
    Workload(
        "reentrant lock of tasks of one process, losses",
        partial(Locks, 2, 2, reentrant=True, shared=True),
        Setting(faults=(*LOSSES, "cancel"), budget=2, fault_weight=0.3),
    ),
    Workload("lock that is taken away", TakenAway, Setting()),
    Workload(
        "lock that is taken away, losses",
        TakenAway,
        Setting(faults=("lose request", "lose response", "kill"), budget=2, fault_weight=0.3),
    ),
    Workload("who holds a lock", Observed, Setting()),
    Workload("who holds a lock, losses", Observed, Setting(faults=LOSSES, budget=2)),
    Workload("semaphore", partial(Semaphore, 4, 2), Setting()),
    Workload(
        "semaphore that was unused for long",
        partial(Semaphore, 3, 2, used_before=True),
        Setting(faults=("lifecycle", "lose request"), budget=3, fault_weight=0.5),
    ),
    Workload("semaphore, losses", Semaphore, Setting(faults=LOSSES, budget=3)),
    Workload(
        "semaphore, killed holders and pauses",
        partial(Semaphore, 3, 1, 1.5),
        Setting(faults=("pause", "kill", "lose response"), budget=3, split=True, pause_seconds=1.9, fault_weight=0.3),
    ),
    Workload("different numbers of permits", DifferentPermits, Setting()),
    Workload("different numbers of permits, losses", DifferentPermits, Setting(faults=LOSSES, budget=2)),
    Workload("lock that is handed over", HandedOver, Setting()),
    Workload("lock that is handed over and held for long", partial(HandedOver, 3.0), Setting()),
    Workload(
        "lock that is handed over, losses",
        HandedOver,
        Setting(faults=("lose response", "lose request", "pause", "kill"), budget=3, split=True, fault_weight=0.3),
    ),
    Workload(
        "lock that is handed over, killed processes",
        HandedOver,
        Setting(faults=("kill",), budget=1, fault_weight=0.4),
    ),
    Workload(
        "lock that is handed over, slow responses",
        partial(HandedOver, 3.0),
        Setting(faults=("stall", "pause"), budget=2, split=True, pause_seconds=5.5, fault_weight=0.5),
    ),
    Workload("counter", Additions, Setting()),
    Workload("counter, losses", Additions, Setting(faults=LOSSES, budget=3)),
    Workload("counter, late requests", Additions, Setting(faults=("delay request", "kill"), budget=2, split=True)),
    Workload(
        "computation, killed callers",
        partial(Computation, 3),
        Setting(faults=("kill", "cancel"), budget=2, fault_weight=0.3),
    ),
    Workload("interrupted lock", InterruptedLock, Setting(faults=("cancel",), budget=1, fault_weight=0.5)),
    Workload(
        "interrupted lock, repeated",
        InterruptedLock,
        Setting(faults=("cancel",), budget=3, split=True, fault_weight=0.7),
    ),
    Workload("computation", partial(Computation, 3), Setting()),
    Workload(
        "computation, a value that is not stored",
        Computation,
        Setting(faults=("lose request",), budget=2, fault_weight=0.6, fault_on="PUT .*/entries/"),
    ),
    Workload("computation, losses", Computation, Setting(faults=LOSSES, budget=2, fault_weight=0.3)),
    Workload("stale value beside a writer", Refreshed, Setting()),
    Workload("stale value beside a writer, losses", Refreshed, Setting(faults=LOSSES, budget=2, fault_weight=0.3)),
    Workload("life cycle", LifeCycle, Setting()),
    Workload("life cycle, losses", LifeCycle, Setting(faults=(*LOSSES, "delay request"), budget=2, fault_weight=0.3)),
    Workload(
        "life cycle, a manifest whose response is lost",
        LifeCycle,
        Setting(faults=("lose response",), budget=1, fault_weight=1.0, fault_on=_MANIFEST),
    ),
    Workload("life cycle, losses, tombstones", LifeCycle, Setting(TOMBSTONES, LOSSES, 2, fault_weight=0.3)),
    Workload("creation", Creation, Setting(faults=LOSSES, budget=2, fault_weight=1.0)),
    Workload(
        "creation, an outcome that cannot be read",
        Creation,
        Setting(faults=("lose request", "lose response"), budget=3, fault_weight=2.0, fault_on=_MANIFEST),
    ),
    Workload("keys beside writers", Listing, Setting(SMALL_PAGES)),
    Workload("items beside writers", partial(Listing, 7, True), Setting(SMALL_PAGES, ("lose request",), 2)),
    Workload(
        "items beside writers, expired entries and the lifecycle",
        partial(Listing, 5, True, expired=3),
        Setting(SMALL_PAGES, ("lifecycle",), 3, fault_weight=0.1),
    ),
    Workload("update of repeated keys", Update, Setting()),
    Workload(
        "cancelled update",
        Update,
        Setting(faults=("cancel", "lose request"), budget=3, overwrites_fail=True, fault_weight=0.5),
    ),
    Workload("semaphore of which permits are taken away", TakenPermits, Setting()),
    Workload(
        "semaphore of which permits are taken away, cancelled holders",
        TakenPermits,
        Setting(faults=("cancel",), budget=3, split=True, fault_weight=0.3),
    ),
    Workload("lock that is renewed by hand", RenewedByHand, Setting()),
    Workload("lock that is renewed by hand, losses", RenewedByHand, Setting(faults=LOSSES, budget=3)),
    Workload("value that is refreshed and forgotten", Regenerated, Setting()),
    Workload("value that is refreshed and forgotten, losses", Regenerated, Setting(faults=LOSSES, budget=3)),
    Workload(
        "once, killed and cancelled callers",
        Once,
        Setting(faults=("kill", "cancel", "lose response"), budget=4, fault_weight=0.3),
    ),
    Workload(
        "once, suspended callers and late requests",
        Once,
        Setting(faults=("pause", "delay request", "duplicate"), budget=4, split=True, pause_seconds=2.9),
    ),
    Workload(
        "counter, cancelled additions",
        Additions,
        Setting(faults=("cancel", *LOSSES), budget=4, split=True, fault_weight=0.3),
    ),
    Workload(
        "stale value beside a writer, cancelled callers",
        Refreshed,
        Setting(faults=("cancel", "lose response"), budget=3, fault_weight=0.3),
    ),
    Workload("cancelled ephemeral dict", Ephemeral, Setting(faults=("cancel",), budget=2, fault_weight=0.4)),
]
RANDOM = {workload.name: workload for workload in _RANDOM}
"""Explored by seeds."""
