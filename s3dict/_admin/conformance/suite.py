"""The conformance suite: it checks each feature that a dict needs of a store, also under contention.

The probe (`probe.py`) sends a dozen requests, one after another, before the first dict is created. It cannot detect a
store that checks a condition and writes later, so that two concurrent requests pass the check. The suite races for that
gap; it takes about 3,000 requests, and so runs only if asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from ..._format.capabilities import Capabilities
from ..._retry import RetryState
from ..._stores.base import ObjectStore
from ...errors import Error, NotFoundError, PermissionDeniedError, UnavailableError
from . import features, races
from .harness import ConformanceError, CorruptPuts, Feature, Sandbox, SkippedError

_AS_RETURNED = Capabilities(quoted_etags=True, conditional_delete=False, conditional_copy=False)
ROUNDS = 20
FEATURES = (*features.FEATURES, *races.FEATURES)

MAX_ATTEMPTS = 4
MAX_SECONDS = 60.0
"""A check that took longer to fail is not repeated."""
MAX_PAGES = 4
"""More than any check leaves to delete; a store whose listings never end must not block the suite."""
CONCURRENCY = 16


class Outcome(Enum):
    PASSED = "yes"
    FAILED = "no"
    INCONCLUSIVE = "unclear"
    """Every attempt failed."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Whether a store has a feature, and details."""

    feature: Feature
    verdict: Outcome
    detail: str

    @property
    def is_fatal(self) -> bool:
        return self.feature.required and self.verdict in (Outcome.FAILED, Outcome.INCONCLUSIVE)


async def run_suite(
    store: ObjectStore,
    path: str,
    corrupt_puts: CorruptPuts | None,
    *,
    rounds: int = ROUNDS,
    exclude: Collection[str] = (),
    on_start: Callable[[str], None] = lambda _: None,
) -> tuple[CheckResult, ...]:
    """Check all features with objects under the folder `path`, and remove them.

    `corrupt_puts` sends what the store's driver would not; without it, these checks are skipped. About 3,000 requests
    with the usual number of rounds, a third of them for the feature "listing in pages"; `exclude` names features to
    leave out, and `on_start` is called with the name of each feature when its check starts.
    Raises PermissionDeniedError when writing is not allowed, NotFoundError when there is no bucket.
    """
    found: dict[str, CheckResult] = {}
    etags = await _detect_etag_quoting(Sandbox(store, f"{path}/quotes/", rounds, corrupt_puts, _AS_RETURNED))
    for number, feature in enumerate(FEATURES):
        if feature.name not in exclude:
            on_start(feature.name)
            sandbox = Sandbox(store, f"{path}/{number:02}/", rounds, corrupt_puts, etags)
            found[feature.name] = _skipped(feature, found, corrupt_puts) or await _run_check(sandbox, feature)
    return tuple(found.values())


async def _detect_etag_quoting(sandbox: Sandbox) -> Capabilities:
    """Return the form in which If-Match accepts ETags: as they are returned if the store ignores it or fails."""
    try:
        etag = await sandbox.put("k", b"first")
        other = _AS_RETURNED.with_other_quotes(etag)
        if await sandbox.put_if_match("k", b"second", etag):
            return _AS_RETURNED
        return other if await sandbox.put_if_match("k", b"second", other.if_match(etag)) else _AS_RETURNED
    except (PermissionDeniedError, NotFoundError):
        raise
    except Error:
        return _AS_RETURNED
    finally:
        await _clean_up(sandbox)


def _skipped(feature: Feature, found: dict[str, CheckResult], corrupt_puts: CorruptPuts | None) -> CheckResult | None:
    if feature.needs_corrupt_puts and corrupt_puts is None:
        return CheckResult(feature, Outcome.SKIPPED, "the in-memory store receives no requests")
    first = found.get(feature.depends_on or "")
    if first is not None and first.verdict is not Outcome.PASSED:
        return CheckResult(feature, Outcome.SKIPPED, f"{feature.depends_on} is not supported")
    return None


async def _run_check(sandbox: Sandbox, feature: Feature) -> CheckResult:
    """Repeat a check whose requests failed: that does not show whether the feature is supported."""
    runtime = sandbox.store.runtime
    retry = RetryState(
        sandbox.store.retries.writes, runtime, max_attempts=MAX_ATTEMPTS, deadline=runtime.monotonic() + MAX_SECONDS
    )
    while await retry.next_attempt():
        try:
            return CheckResult(feature, Outcome.PASSED, await feature.check(sandbox))
        except ConformanceError as flaw:
            return CheckResult(feature, Outcome.FAILED, str(flaw))
        except SkippedError as obstacle:
            return CheckResult(feature, Outcome.SKIPPED, str(obstacle))
        except UnavailableError as error:
            retry.record(error)
        except (PermissionDeniedError, NotFoundError):
            raise
        except Error as error:
            return CheckResult(feature, Outcome.FAILED, str(error))
        finally:
            await _clean_up(sandbox)
    return CheckResult(feature, Outcome.INCONCLUSIVE, str(retry.last_error))


async def _clean_up(sandbox: Sandbox) -> None:
    """Delete the objects of a check. A lifecycle rule deletes the others within two days."""
    with suppress(Error):
        for _ in range(MAX_PAGES):
            page = await sandbox.store.list_page(sandbox.path)
            await _delete(sandbox.store, [listed.path for listed in page.objects])
            if not page.is_truncated:
                return


async def _delete(store: ObjectStore, paths: Sequence[str]) -> None:
    if not paths:
        return
    try:
        await store.delete_many(paths)
    except Error:
        async for _ in store.runtime.map(store.delete, paths, CONCURRENCY):
            pass
