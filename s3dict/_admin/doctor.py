"""Check connectivity, permissions and the bucket's configuration; suggest fixes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from statistics import median

from .._client import Client
from .._core.catalog import combined, list_manifests
from .._core.conditional import Rejected, WriteIds, conditional_put
from .._core.probe import probe
from .._format.capabilities import Capabilities
from .._format.layout import Layout, new_ulid
from .._format.lifecycle import conflicting, has_old_ids, housekeeping_id, missing
from .._format.manifest import decode_store, encode_store_json
from .._stores.base import ObjectStore, StoredObject
from .._stores.shared.access_denied import CREDENTIAL_ERRORS
from .._stores.shared.threads import run_blocking
from ..errors import (
    Error,
    InvalidError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedStoreError,
    plural,
)
from .bucket_admin import BucketAdmin
from .conformance import suite
from .conformance.corrupt_puts import CorruptPuts
from .conformance.suite import CheckResult, Outcome
from .lifecycle_policy import SERVICE, grants_lifecycle
from .provision import NO_EXPIRATION, conflict_message
from .repeats import repeated_methods

MAX_SKEW = 60.0
"""The difference of the clocks, in seconds, that is reported."""
SIGNATURE_SKEW = 15 * 60.0
"""The difference, in seconds, from which S3 rejects signatures."""
SLOW_SECONDS = 0.25
"""A median above this means that the bucket is on another continent, or the store is overloaded."""

_ROUNDS = 5
_FIX = "fix what the message names, and run s3dict doctor again"
_SCRATCH = b"s3dict measures the latency".ljust(1024, b".")


class Status(Enum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    """Something that a dict needs is missing."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check, and what to do about it, if anything."""

    name: str
    status: Status
    detail: str
    advice: str = ""


def check_names(*, deep: bool = False) -> tuple[str, ...]:
    """Return the names of the checks in their order, for a display of progress."""
    names = tuple(name for name, _ in _CHECKS)
    return (*names, *(feature.name for feature in suite.FEATURES)) if deep else names


def diagnose(
    client: Client,
    *,
    read_only: bool = False,
    deep: bool = False,
    on_start: Callable[[str], None] = lambda _: None,
) -> Iterator[Check]:
    """Check all that a dict needs of the client's bucket. Each check runs when the iterator is advanced.

    It writes scratch objects under ``<prefix>/sweep-1d/probe/``, which it removes, and corrects a record of the
    store's capabilities that says less than the store supports. What a check cannot see for lack of permission is a
    warning; if credentials or bucket fail, the checks after them are skipped. About 40 requests, and one for each dict
    of the client's environment.

    Args:
        client: Names the bucket and the prefix, and the driver to use.
        read_only: Write nothing, for credentials that may only read.
        deep: Then run the conformance suite, which takes about 3,000 more requests.
        on_start: Called with the name of each check when it starts.

    Raises:
        InvalidError: The client's driver has no bucket, or both ``deep`` and ``read_only`` are given.
    """
    if deep and read_only:
        raise InvalidError("deep and read_only are mutually exclusive: the conformance suite writes")
    context = _Context(client, BucketAdmin.of(client), client._store(aio=False), client._layout, read_only)
    stopped_by = ""
    for name, examine in _CHECKS:
        if stopped_by:
            yield Check(name, Status.SKIPPED, f"skipped ({stopped_by} check failed)")
            continue
        on_start(name)
        check = _run_check(name, examine, context)
        yield check
        if name in BLOCKING_CHECKS and check.status is Status.FAILED:
            stopped_by = name
    if deep and not stopped_by:
        yield from _features(context, on_start)


@dataclass(frozen=True, slots=True)
class _Context:
    client: Client
    admin: BucketAdmin
    store: ObjectStore
    layout: Layout
    read_only: bool

    def new_path(self) -> str:
        return self.layout.scratch(new_ulid(datetime.now(UTC)))


def _run_check(name: str, examine: Callable[[_Context], Check], context: _Context) -> Check:
    try:
        return examine(context)
    except PermissionDeniedError as error:
        status = Status.FAILED if name in BLOCKING_CHECKS else Status.WARNING
        return Check(name, status, f"not allowed: {error}", _advice(error))
    except NotFoundError as error:
        return Check(name, Status.FAILED, str(error), f"s3dict init --bucket {context.client.bucket}")
    except UnavailableError as error:
        return Check(name, Status.FAILED, str(error), "fix the endpoint or the network, or try again later")
    except Error as error:
        return Check(name, Status.FAILED, str(error), _FIX)


def _advice(error: PermissionDeniedError) -> str:
    if error.policy is not None:
        return f"attach Terraform's {error.policy} policy, or use other credentials"
    known = (advice for code, advice in CREDENTIAL_ERRORS.items() if code in str(error))
    return next(known, "do as the message says, or use other credentials")


def _driver(context: _Context) -> Check:
    client = context.client
    try:
        is_custom = context.admin.has_custom_endpoint
    except InvalidError:
        # The check of the credentials reports a configuration that cannot be used.
        is_custom = client.endpoint_url is not None
    where = client.endpoint_url or "the endpoint of AWS_ENDPOINT_URL" if is_custom else "AWS"
    return Check("driver", Status.OK, f"{client.driver}, to {where}, s3://{client.bucket}/{client.prefix}/")


def _credentials(context: _Context) -> Check:
    try:
        found = context.admin.credentials()
    except PermissionDeniedError as error:
        advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role"
        return Check("credentials", Status.FAILED, str(error), advice)
    if not context.admin.has_custom_endpoint:
        # A policy or a network may make STS unreachable, which no dict needs.
        with suppress(Error):
            return Check("credentials", Status.OK, f"{context.admin.identity()} ({found})")
    return Check("credentials", Status.OK, found)


def _bucket(context: _Context) -> Check:
    # The request of `Dict.objects.list`, since a policy may allow no other.
    run_blocking(context.store.list_page(context.layout.manifests(context.client.environment_name)))
    return Check("bucket", Status.OK, f"{context.client.bucket} responds")


def _region(context: _Context) -> Check:
    present, signed = context.admin.head_bucket(), context.admin.signing_region
    reported = present and present.region
    if reported is None or context.admin.has_custom_endpoint:
        return Check("region", Status.OK, f"requests are signed for {signed}, and the store takes that")
    if reported == signed:
        return Check("region", Status.OK, reported)
    return Check(
        "region",
        Status.WARNING,
        f"the bucket is in {reported}, but requests are signed for {signed} and redirected",
        f"set AWS_DEFAULT_REGION={reported}",
    )


def _clock(context: _Context) -> Check:
    before = time.time()
    page = run_blocking(context.store.list_page(context.layout.manifests(context.client.environment_name)))
    # A Date is truncated to whole seconds.
    skew = (before + time.time()) / 2 - (page.date.timestamp() + 0.5)
    if abs(skew) <= MAX_SKEW:
        return Check("clock", Status.OK, "agrees with the store's within a minute")
    breaks = abs(skew) > SIGNATURE_SKEW
    return Check(
        "clock",
        Status.FAILED if breaks else Status.WARNING,
        f"this machine's is {plural(round(abs(skew) / 60), 'minute')} {'ahead of' if skew > 0 else 'behind'} the "
        "store's. Expiry and locks go by the store's, but S3 refuses signatures that are "
        f"{SIGNATURE_SKEW / 60:.0f} minutes off",
        "set the clock of the one that is wrong by NTP",
    )


def _conditions(context: _Context) -> Check:
    found = run_blocking(context.store.get(context.layout.store))
    stored = found if isinstance(found, StoredObject) else None
    recorded = None if stored is None else decode_store(stored.body, context.layout.store)
    if context.read_only:
        known = _capabilities(recorded) if recorded else "no dict has been created here yet"
        return Check(
            _CONDITIONS,
            Status.OK if recorded else Status.WARNING,
            f"as recorded by a client with write access: {known}",
        )
    try:
        seen = run_blocking(probe(context.store, context.new_path()))
    except PermissionDeniedError as error:
        advice = f"{_advice(error)}; s3dict doctor --read-only if these are only to read"
        return Check(_CONDITIONS, Status.FAILED, f"not allowed to write: {error}", advice)
    except UnsupportedStoreError as error:
        failed = Check(_CONDITIONS, Status.FAILED, str(error), "use another store, or a newer version of this one")
        return _repeats(context, None) or failed
    return _repeats(context, seen) or _compare(context, stored, recorded, seen)


def _repeats(context: _Context, seen: Capabilities | None) -> Check | None:
    methods = run_blocking(repeated_methods(context.store, context.new_path, seen))
    if not methods:
        return None
    return Check(
        _CONDITIONS,
        Status.FAILED,
        f"{' and '.join(methods)} requests that were sent once were applied more than once: a proxy on the way repeats "
        "them, and no write is atomic then",
        "turn its retries off for PUT and DELETE (nginx: proxy_next_upstream off)",
    )


def _compare(context: _Context, found: StoredObject | None, recorded: Capabilities | None, seen: Capabilities) -> Check:
    if recorded is None or found is None or recorded == seen:
        return Check(_CONDITIONS, Status.OK, _capabilities(seen))
    if not _has_regressed(recorded, seen):
        return _correct_record(context, found, recorded, seen)
    return Check(
        _CONDITIONS,
        Status.FAILED,
        f"seen now: {_capabilities(seen)}; but dicts rely on what {context.layout.store} records: "
        f"{_capabilities(recorded)}",
        "was the store replaced? Create the dicts again under another S3DICT_PREFIX",
    )


def _correct_record(context: _Context, found: StoredObject, recorded: Capabilities, seen: Capabilities) -> Check:
    """Write what the store supports over a record that says less, as release 0.1 recorded after a denied request.

    Whether listings have an order may be recorded either way: an older record does not say so, and means that they do.

    Manifests have a copy of the record and never change: dicts that exist go on without the capability.
    """
    was = f"{context.layout.store} recorded otherwise: {_capabilities(recorded)}"
    body = encode_store_json(seen)
    if_match = seen.if_match(found.etag)
    try:
        outcome = run_blocking(
            conditional_put(context.store, context.layout.store, body, WriteIds(body), if_match=if_match)
        )
    except PermissionDeniedError as error:
        detail = f"seen now: {_capabilities(seen)}; {was}, and these credentials may not correct it: {error}"
        return Check(_CONDITIONS, Status.WARNING, detail, "run s3dict doctor with the admin policy")
    if isinstance(outcome, Rejected):
        return Check(_CONDITIONS, Status.WARNING, f"{was}, and another process has changed it", _FIX)
    detail = f"{_capabilities(seen)}; {was}, and is corrected for new dicts; those that exist go on as before"
    return Check(_CONDITIONS, Status.OK, detail)


def _has_regressed(recorded: Capabilities, seen: Capabilities) -> bool:
    return (
        recorded.etag_form != seen.etag_form
        or (recorded.conditional_delete and not seen.conditional_delete)
        or (recorded.conditional_copy and not seen.conditional_copy)
        or (recorded.conditional_bulk_delete and not seen.conditional_bulk_delete)
    )


def _capabilities(seen: Capabilities) -> str:
    return ", ".join(
        (
            "PUT honoured",
            "DELETE honoured" if seen.conditional_delete else "DELETE not (removing leaves a small tombstone)",
            "COPY honoured" if seen.conditional_copy else "COPY not (a renewal sends the body again)",
            seen.etag_form or "ETags with quotes",
            *(["bulk DELETE honoured"] if seen.conditional_bulk_delete else []),
            *([] if seen.ordered_listing else ["listings without order (dicts have folders of entries)"]),
        )
    )


def _features(context: _Context, on_start: Callable[[str], None]) -> Iterator[Check]:
    try:
        corrupt_puts = CorruptPuts.of(context.client)
        findings = run_blocking(suite.run_suite(context.store, context.new_path(), corrupt_puts, on_start=on_start))
    except PermissionDeniedError as error:
        yield Check("features", Status.FAILED, f"not allowed: {error}", _advice(error))
    except Error as error:
        yield Check("features", Status.FAILED, str(error), _FIX)
    else:
        yield from map(_to_check, findings)


def _to_check(finding: CheckResult) -> Check:
    name, verdict = finding.feature.name, finding.verdict
    if verdict is Outcome.PASSED:
        return Check(name, Status.OK, finding.detail or "honoured")
    if verdict is Outcome.SKIPPED:
        return Check(name, Status.SKIPPED, finding.detail)
    status = Status.FAILED if finding.is_fatal else Status.WARNING
    return Check(name, status, finding.detail, f"without it: {finding.feature.impact}")


def _dicts(context: _Context) -> Check:
    environment, concurrency = context.client.environment_name, context.client._settings.concurrency
    found, damaged = run_blocking(list_manifests(context.store, context.layout, environment, concurrency))
    if damaged:
        return Check("dicts", Status.FAILED, str(combined(damaged)), _FIX)
    return Check("dicts", Status.OK, f"{len(found):,} in environment {environment!r}, and their manifests can be read")


def _sweep_rules(context: _Context) -> Check:
    name, prefix = "sweep rules", context.client.prefix
    init = f"s3dict init --bucket {context.client.bucket} --prefix {prefix}"
    try:
        rules = context.admin.lifecycle().rules
    except UnsupportedStoreError as error:
        advice = "delete old objects under the sweep-<N>d/ prefixes by other means"
        return Check(name, Status.FAILED, f"{error}. {NO_EXPIRATION}", advice)
    if names := conflicting(rules, prefix):
        advice = "narrow their filters to other prefixes"
        return Check(name, Status.FAILED, conflict_message(names, prefix), advice)
    lacking = missing(rules, prefix, versions=context.admin.zone is None)
    if lacking == (housekeeping_id(prefix),):
        detail = "all there, but not the one that removes incomplete uploads and noncurrent versions"
        return Check(name, Status.WARNING, detail, init)
    if lacking:
        advice = f"{init}. If the store rejects these rules, run `s3dict gc --expired` from time to time"
        return Check(name, Status.FAILED, f"missing or different: {', '.join(lacking)}. {NO_EXPIRATION}", advice)
    if context.admin.zone is not None and not grants_lifecycle(context.admin.policy()):
        detail = f"all there, but the bucket policy does not let {SERVICE} apply them. {NO_EXPIRATION}"
        return Check(name, Status.FAILED, detail, init)
    if has_old_ids(rules, prefix):
        return Check(name, Status.OK, "all there, under the ids of an earlier release", f"{init} replaces the ids")
    return Check(name, Status.OK, "all there")


def _versioning(context: _Context) -> Check:
    if context.admin.zone is not None:
        return Check("versioning", Status.OK, "directory buckets have none")
    try:
        status = context.admin.versioning()
    except UnsupportedStoreError:
        return Check("versioning", Status.OK, "the store has none")
    if status != "Enabled":
        return Check("versioning", Status.OK, "off" if status is None else status.lower())
    return Check(
        "versioning",
        Status.WARNING,
        "on: every write, and every renewal by a read, leaves a noncurrent version, which costs storage until it is "
        "swept",
        "use a bucket without versioning, or keep the housekeeping rule of s3dict init",
    )


def _latency(context: _Context) -> Check:
    medians = _medians_of_reading(context) if context.read_only else _medians_of_both(context)
    shown = ", ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in medians.items())
    detail = f"{shown} (median of {_ROUNDS}, 1 KiB)"
    if max(medians.values()) > SLOW_SECONDS:
        return Check("latency", Status.WARNING, detail, "use a bucket in the region where the code runs")
    return Check("latency", Status.OK, detail)


def _medians_of_both(context: _Context) -> dict[str, float]:
    path = context.new_path()
    try:
        put = _median_seconds(lambda: run_blocking(context.store.put(path, _SCRATCH)))
        return {"put": put, "get": _median_seconds(lambda: run_blocking(context.store.get(path)))}
    finally:
        # What cannot be removed now is swept within two days.
        with suppress(Error):
            run_blocking(context.store.delete(path))


def _medians_of_reading(context: _Context) -> dict[str, float]:
    return {"get": _median_seconds(lambda: run_blocking(context.store.get(context.layout.store)))}


def _median_seconds(call: Callable[[], object]) -> float:
    return median(_seconds(call) for _ in range(_ROUNDS))


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


_CONDITIONS = "conditional requests"
BLOCKING_CHECKS = ("credentials", "bucket")
_CHECKS: tuple[tuple[str, Callable[[_Context], Check]], ...] = (
    ("driver", _driver),
    ("credentials", _credentials),
    ("bucket", _bucket),
    ("region", _region),
    ("clock", _clock),
    (_CONDITIONS, _conditions),
    ("dicts", _dicts),
    ("sweep rules", _sweep_rules),
    ("versioning", _versioning),
    ("latency", _latency),
)
