"""What does this store honour when it is looked at thoroughly? Each feature is tried apart, also under contention.

The probe (`probe.py`) asks a dozen requests, one after the other, before the first dict is made. It cannot see a store
that checks a condition and then writes, with a gap in between that two contenders fit into. The examination races for
that gap; it takes some three thousand requests, so it is made when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from ..._core.conditional import before
from ..._stores.base import Store
from ...errors import Error, NotFoundError, PermissionDeniedError, UnavailableError
from . import features
from . import races as contention
from .harness import Bench, DamagedPuts, Feature, FlawError, NotTriedError

ROUNDS = 20
FEATURES = (*features.FEATURES, *contention.FEATURES)

_TRIES = 4
_PATIENCE_SECONDS = 60.0
"""A trial that took longer to fail is not tried anew."""
_PAGES = 4
"""More than any trial leaves to clean; a store whose listings never end must not keep us."""
_MANY_AT_ONCE = 16


class Verdict(Enum):
    YES = "yes"
    NO = "no"
    UNCLEAR = "unclear"
    """The store kept failing to answer."""
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen of a feature, and what else is to be said of it."""

    feature: Feature
    verdict: Verdict
    detail: str

    @property
    def is_fatal(self) -> bool:
        return self.feature.needed and self.verdict in (Verdict.NO, Verdict.UNCLEAR)


async def examine(
    store: Store,
    path: str,
    damaged: DamagedPuts | None,
    *,
    rounds: int = ROUNDS,
    leave_out: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Tries all features with objects under the folder `path`, and removes them.

    `damaged` sends what the store's driver would not; without it, that is not tried. About 3,000 requests with the
    usual number of rounds, a third of them for the feature "listing in pages"; `leave_out` names features to leave out.
    Raises PermissionDeniedError when writing is not allowed, NotFoundError when there is no bucket.
    """
    found: dict[str, Finding] = {}
    quoted = await _takes_quotes(Bench(store, f"{path}/quotes/", rounds, damaged, True))
    for number, feature in enumerate(FEATURES):
        if feature.name not in leave_out:
            bench = Bench(store, f"{path}/{number:02}/", rounds, damaged, quoted)
            found[feature.name] = _not_tried(feature, found, damaged) or await _found(bench, feature)
    return tuple(found.values())


async def _takes_quotes(bench: Bench) -> bool:
    """Whether If-Match takes the ETag as it was given. A store that ignores it or fails needs no other spelling."""
    try:
        etag = await bench.put("k", b"first")
        return await bench.put_over("k", b"second", etag) or not await bench.put_over("k", b"second", etag.strip('"'))
    except (PermissionDeniedError, NotFoundError):
        raise
    except Error:
        return True
    finally:
        await _clean(bench)


def _not_tried(feature: Feature, found: dict[str, Finding], damaged: DamagedPuts | None) -> Finding | None:
    if feature.sends_damaged and damaged is None:
        return Finding(feature, Verdict.NOT_TRIED, "nothing is sent here that could be damaged")
    first = found.get(feature.depends_on or "")
    if first is not None and first.verdict is not Verdict.YES:
        return Finding(feature, Verdict.NOT_TRIED, f"{feature.depends_on} is not honoured in the first place")
    return None


async def _found(bench: Bench, feature: Feature) -> Finding:
    """A request that fails on the way says nothing about the feature: the trial begins anew."""
    began, failure = bench.store.now(), ""
    for attempt in range(_TRIES):
        if bench.store.now() - began > _PATIENCE_SECONDS:
            break
        await before(bench.store, attempt)
        try:
            return Finding(feature, Verdict.YES, await feature.trial(bench))
        except FlawError as flaw:
            return Finding(feature, Verdict.NO, str(flaw))
        except NotTriedError as obstacle:
            return Finding(feature, Verdict.NOT_TRIED, str(obstacle))
        except UnavailableError as error:
            failure = str(error)
        except (PermissionDeniedError, NotFoundError):
            raise
        except Error as error:
            return Finding(feature, Verdict.NO, str(error))
        finally:
            await _clean(bench)
    return Finding(feature, Verdict.UNCLEAR, failure)


async def _clean(bench: Bench) -> None:
    """What cannot be removed now is swept within two days."""
    with suppress(Error):
        for _ in range(_PAGES):
            page = await bench.store.list_page(bench.path)
            await _delete(bench.store, [line.path for line in page.objects])
            if not page.more:
                return


async def _delete(store: Store, paths: Sequence[str]) -> None:
    if not paths:
        return
    try:
        await store.delete_many(paths)
    except Error:
        async for _ in store.map(store.delete, paths, _MANY_AT_ONCE):
            pass
