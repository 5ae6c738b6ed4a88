"""Bugs to plant in the library, which the simulation must find."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class PlantedBug:
    """A bug: other text in one function, which one of the workloads finds."""

    function: str
    """Module and qualified name, such as `_core.locks:Lease.renew`."""
    right: str
    wrong: str
    found_by: str


@contextmanager
def planted(bug: PlantedBug) -> Iterator[None]:
    """Run with the bug in the library."""
    module_name, _, name = bug.function.partition(":")
    function: Any = import_module(f"s3dict.{module_name}")
    for part in name.split("."):
        function = inspect.getattr_static(function, part)
    if isinstance(function, property):
        function = function.fget
    function = inspect.unwrap(function)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(bug.right) == 1, f"{bug.function} does not contain {bug.right!r} once"
    lines = [line for line in source.replace(bug.right, bug.wrong).splitlines() if not line.startswith("@")]
    scope = dict(vars(import_module(f"s3dict.{module_name}")))
    exec(compile("from __future__ import annotations\n" + "\n".join(lines), bug.function, "exec"), scope)
    right = function.__code__
    function.__code__ = scope[name.rpartition(".")[2]].__code__
    try:
        yield
    finally:
        function.__code__ = right


PLANTED_BUGS = {
    # Bugs that tests of single calls did not find.
    "the cache is invalidated before the write only": PlantedBug(
        "_core.entries:_invalidating",
        "try:\n        yield\n    finally:\n        cache.invalidate(path)",
        "cache.invalidate(path)\n    yield",
        "a read cache beside writes of its own client",
    ),
    "update does not wait for a deferred pair": PlantedBug(
        "_core.bulk:write_entries", " or data in deferred", "", "update of repeated keys"
    ),
    "a lease is counted from the response of the acquisition": PlantedBug(
        "_core.locks:_Acquisition.write",
        "record, outcome.etag, sent_at)",
        "record, outcome.etag, self._store.runtime.monotonic())",
        "locks, slow responses and pauses",
    ),
    "a lease is counted from the response of a renewal": PlantedBug(
        "_core.locks:Lease.renew",
        "self._renewed_at = outcome.etag, sent_at",
        "self._renewed_at = outcome.etag, self._target.store.runtime.monotonic()",
        "locks, slow responses and pauses",
    ),
    "a lock is taken over a second early": PlantedBug(
        "_core.locks:_is_free", " + CLOCK_RESOLUTION", "", "locks, stalled holders"
    ),
    "a lost lock can be held again": PlantedBug(
        "_core.locks:Lease.lost",
        "if self.remaining <= 0:\n        self._lost = True\n    return self._lost",
        "return self.remaining <= 0",
        "locks, late renewals",
    ),
    "all writes of a lock share a write id": PlantedBug(
        "_core.locks:Lease._write", ", write_id=_new_id())", ")", "a long lease, lost renewals"
    ),
    "an own write is recognised after an ambiguous attempt only": PlantedBug(
        "_core.conditional:_resolve_ambiguity",
        "if current is not None and",
        "if ambiguous is not None and current is not None and",
        "writers behind a proxy that repeats puts",
    ),
    "what predates an attempt ignores the time since": PlantedBug(
        "_core.conditional:_predates_attempt",
        "ORDERING_MARGIN + elapsed",
        "ORDERING_MARGIN",
        "writers, losses and pauses",
    ),
    "after a removal of unknown outcome, any object counts as the same": PlantedBug(
        "_core.removal:Removal._conditional_delete",
        "found is not None and read_prelude(found.body).write_id == self.write_id",
        "found is not None",
        "pop beside a creator, a lost response",
    ),
    "all attempts of a put share a write id": PlantedBug(
        "_core.entries:Entries.put",
        "body, _ = self.codec.pack(encoded, segments, expiry)",
        "body = body if retry.retries else self.codec.pack(encoded, segments, expiry)[0]",
        "an overwrite that is repeated",
    ),
    # Further ones.
    "creation is repeated after a lost response": PlantedBug(
        "_core.conditional:conditional_put",
        "if_match is None and may_be_deleted and retry.ambiguous_error is not None",
        "False",
        "creator beside a pop, a lost response",
    ),
    "creation is rejected while its request may arrive": PlantedBug(
        "_core.conditional:_resolve_ambiguity", "not may_arrive and ", "", "creator beside a pop, a delayed request"
    ),
    "an unreadable clock hides an ambiguous outcome": PlantedBug(
        "_core.conditional:_resolve_ambiguity",
        "if ambiguous is None:\n            raise",
        "if True:\n            raise",
        "losses, and a clock that cannot be read",
    ),
    "what is gone counts as older than the attempt": PlantedBug(
        "_core.conditional:_predates_attempt",
        "return False",
        "return True",
        "writer beside a pop, losses",
    ),
    "a repeated delete is rejected by itself": PlantedBug(
        "_core.conditional:conditional_delete",
        "DeleteOutcome.REJECTED if retry.ambiguous_error is None else DeleteOutcome.UNKNOWN",
        "DeleteOutcome.REJECTED",
        "pop, a lost response",
    ),
    "a renewal has no condition": PlantedBug(
        "_core.expiry:Expiry._renew",
        "if_match=self._capabilities.if_match(full.etag)",
        "if_match=None",
        "an expiring entry, renewed and removed",
    ),
    "a removal has no condition": PlantedBug(
        "_core.conditional:conditional_delete",
        "store.delete(path, if_match=if_match)",
        "store.delete(path)",
        "three clients, losses",
    ),
    "a tombstone replaces whatever is there": PlantedBug(
        "_core.removal:Removal._write_tombstone",
        "if not isinstance(outcome, Applied):\n        return False",
        "if not isinstance(outcome, Applied):\n        return True",
        "three clients, losses, tombstones",
    ),
    "setdefault returns its own value": PlantedBug(
        "_core.compute:set_default",
        "if await entries.create(key, value, expiry):",
        "if [await entries.create(key, value, expiry)]:",
        "creators by setdefault",
    ),
    "modify does not notice that it lost": PlantedBug(
        "_core.compute:compare_and_set", "if isinstance(outcome, Applied):", "if outcome:", "three clients, losses"
    ),
    "a cached read is kept whatever was written since": PlantedBug(
        "_core.read_cache:ReadCache.put",
        "if token not in self._fetching.get(path, ()):",
        "if False:",
        "a read cache beside writes of its own client",
    ),
    "an acquisition is believed however late its response came": PlantedBug(
        "_core.locks:_is_fresh",
        "if held.remaining > lease / RENEWALS_PER_LEASE:",
        "if True:",
        "locks, slow responses and pauses",
    ),
    "a lock is released unseen": PlantedBug(
        "_core.locks:_next_token", "max(previous.token + 1, now)", "previous.token", "locks"
    ),
    "a cancelled acquisition is not undone": PlantedBug(
        "_core.locks:try_write",
        "await target.store.runtime.shielded(acquisition.undo)\n        raise",
        "raise",
        "interrupted lock",
    ),
    "a release is not shielded": PlantedBug(
        "_core.locks:Holding._end",
        "await release_shielded(self.lease)",
        "await self.lease.release()",
        "interrupted lock, repeated",
    ),
    "a removal is not shielded": PlantedBug(
        "_core.entries:Entries._remove_or_put_back",
        "await runtime.shielded(removed.removal.run)",
        "await removed.removal.run()",
        "cancelled pops",
    ),
    "what was removed is not put back": PlantedBug(
        "_core.entries:Entries._remove_or_put_back",
        "await runtime.shielded(partial(self.put_back, removed))",
        "removed.removal.state = RemovalState.PUT_BACK",
        "cancelled pops",
    ),
    "a bulk removal notes what the caller has received": PlantedBug(
        "_core.bulk:remove_many", "removed[key] = entry\n", "pass\n", "cancelled bulk pops"
    ),
    "a computation of unknown outcome is returned": PlantedBug(
        "_core.compute:_Computation._create",
        "retry.record(error)",
        "return value",
        "computation, a value that is not stored",
    ),
    "a computation overwrites": PlantedBug(
        "_core.compute:_Computation._compute",
        "current = await self.entries.read(self.key)",
        "current = None",
        "computation",
    ),
    "a value that is computed again replaces what was put since": PlantedBug(
        "_core.compute:_Computation._replace",
        "value, current, expiry)",
        "value, (await self.entries.read_for_update(self.key)) or current, expiry)",
        "stale value beside a writer",
    ),
    "a value is computed again by each caller": PlantedBug(
        "_core.compute:_Computation._compute",
        "found is None or current.version.write_id != found.version.write_id",
        "False",
        "stale value beside a writer",
    ),
    "the creation of a dict is repeated with its id": PlantedBug(
        "_core.catalog:_create_at", ", may_be_deleted=True", "", "life cycle, a manifest whose response is lost"
    ),
    "a creation of unknown outcome is not looked up": PlantedBug(
        "_core.catalog:create", "retry.record(error)", "raise", "life cycle, losses"
    ),
    "the creator of a dict does not know its own": PlantedBug(
        "_core.catalog:create",
        "loaded.manifest.dict_id in dict_ids",
        "False",
        "creation, an outcome that cannot be read",
    ),
    "the manifest of an ephemeral dict is deleted in passing": PlantedBug(
        "_core.catalog:ephemeral",
        "await store.runtime.shielded(partial(store.delete, path))\n            await delete_data",
        "await store.delete(path)\n            await delete_data",
        "cancelled ephemeral dict",
    ),
    "a listing stops at a short page": PlantedBug(
        "_core.listing:_Range.fill",
        "self.exhausted = not page.is_truncated",
        "self.exhausted = True",
        "keys beside writers",
    ),
    "what is in flight goes on after the end of a bulk call": PlantedBug(
        "_stores.shared.tasks:_cancel",
        "_cancel_requests(tasks)\n    if asyncio._get_running_loop() is not None:",
        "if False:",
        "cancelled update",
    ),
    "repeated cancellation ends the wait": PlantedBug(
        "_stores.shared.tasks:wait_through_cancellation",
        "while not all(task.done() for task in tasks):",
        "while False:",
        "interrupted lock, repeated",
    ),
    "a semaphore takes any number of permits": PlantedBug(
        "_core.semaphores:_check_permits", "stored != permits", "False", "different numbers of permits"
    ),
    "the first permit is not created first": PlantedBug(
        "_core.semaphores:_try_permits", "state.found is None and number", "False", "different numbers of permits"
    ),
    "a permit is acquired that is not free": PlantedBug(
        "_core.semaphores:_try_permits", "if state.is_free:", "if True:", "semaphore"
    ),
    "permits are acquired without a condition": PlantedBug(
        "_core.locks:_is_free", "if record.owner is None:", "if True:", "semaphore, losses"
    ),
    "an addition does not notice a concurrent one": PlantedBug(
        "_core.counters:add", "if written:", "if True:", "counter"
    ),
    "a counter forgets what it had": PlantedBug(
        "_core.counters:add", "0 if live is None else", "0 if True else", "counter"
    ),
    "a counter is read in part": PlantedBug("_core.counters:total", "range(shards)", "range(1)", "counter"),
    "the inner exit of a reentrant lock releases it": PlantedBug(
        "_core.locks:Holding.leave", "self.depth or not", "not", "reentrant lock"
    ),
    "the outer exit of a reentrant lock does not release it": PlantedBug(
        "_core.locks:enter", "held.depth += 1", "held.depth += 2", "reentrant lock"
    ),
    "tasks of one process share what they hold": PlantedBug(
        "_stores.shared.tasks:TaskRuntime.caller_id",
        "None if task is None else _task_identities.setdefault(task, object())",
        "task is None",
        "reentrant lock of tasks of one process, losses",
    ),
    "a lock that could not be taken away is reported as taken": PlantedBug(
        "_core.locks:take_away", "isinstance(outcome, Applied)", "outcome", "lock that is taken away"
    ),
    "a holder does not notice that its lock was taken away": PlantedBug(
        "_core.locks:Lease.renew",
        "self._lost = True\n        return False",
        "return True",
        "lock that is taken away",
    ),
    "any process may take over a lock that was handed over": PlantedBug(
        "_core.locks:_find_owned",
        "record.owner != owner",
        "False",
        "lock that is handed over, slow responses",
    ),
    "a lease that was handed over is counted from the response": PlantedBug(
        "_core.locks:adopt",
        "Lease(target, record, outcome.etag, sent_at)",
        "Lease(target, record, outcome.etag, target.store.runtime.monotonic())",
        "lock that is handed over, slow responses",
    ),
    "a lock that was handed over is renewed by its first holder": PlantedBug(
        "_core.locks:Holding.stop",
        "self.lease.stop_renewing()\n    if store.runtime is self.target.store.runtime:",
        "if False:",
        "lock that is handed over, killed processes",
    ),
    "a lock that was handed over is not renewed": PlantedBug(
        "_core.locks:Lease.renew",
        "self.lost or not self._renewing",
        "True",
        "lock that is handed over and held for long",
    ),
    "a lock is renewed although its release has begun": PlantedBug(
        "_lock:HeldLock._require_unreleased",
        "if holding is not None and",
        "if False and",
        "lock that is renewed by hand",
    ),
    "a refresh returns what is stored": PlantedBug(
        "_core.compute:_Computation._compute",
        "if self.refresh.force:",
        "if False:",
        "value that is refreshed and forgotten",
    ),
    "a refresh does not wait for a computation": PlantedBug(
        "_core.locks:LockState.is_free",
        "self.found is None or self.record is None or _is_free(self.found, self.record)",
        "True",
        "value that is refreshed and forgotten",
    ),
    "a step is done again by the successor of a killed process": PlantedBug(
        "_core.entries:Entries.create", "isinstance(outcome, Applied)", "outcome", "once, killed and cancelled callers"
    ),
    "a released lock has a holder": PlantedBug("_core.locks:holder_of", " or state.is_free", "", "who holds a lock"),
    "a lock that is held has no holder": PlantedBug(
        "_core.locks:holder_of", "state.found is None or", "True or", "who holds a lock"
    ),
    "tokens begin again when the lifecycle has deleted the lock": PlantedBug(
        "_core.locks:_next_token",
        "return now if previous is None",
        "return 1 if previous is None",
        "locks that were unused for long",
    ),
    "an expired entry is read": PlantedBug(
        "_core.entries:Entries.decode",
        "self.expiry.is_past_dict_ttl(found.last_modified, found.server_time)",
        "False",
        "an expired entry that the lifecycle deletes",
    ),
    "an expired entry is listed": PlantedBug(
        "_core.iteration:_unexpired",
        "not lines or not",
        "True or not",
        "items beside writers, expired entries and the lifecycle",
    ),
    "times of the store are compared without a margin": PlantedBug(
        "_core.conditional:_predates_attempt",
        "ORDERING_MARGIN + elapsed",
        "-ORDERING_MARGIN",
        "three clients, losses, and steps of the store's clock",
    ),
}
