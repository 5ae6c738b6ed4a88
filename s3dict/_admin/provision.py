"""Set up a bucket without Terraform: add what is missing, and keep all other settings."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial

from .._client import Client
from .._format.lifecycle import (
    RulePlan,
    are_equal,
    conflicting,
    describe,
    is_managed,
    lifecycle_rules,
    merge,
    reduced,
    scope_of,
    with_rule,
)
from .._stores.shared.threads import run_blocking
from ..errors import Error, InvalidError, NotFoundError, PermissionDeniedError, UnavailableError, UnsupportedStoreError
from .bucket_admin import PUBLIC_ACCESS_BLOCKS, BucketAdmin, Lifecycle
from .lifecycle_policy import SERVICE, grants_lifecycle, with_lifecycle

NO_EXPIRATION = (
    "No expired entry is ever deleted: they stay as garbage, which costs storage. What a dict returns is not affected"
)

_CONFIRMATIONS = 5
_PAUSE_SECONDS = 1.0


class Outcome(Enum):
    UNCHANGED = "unchanged"
    CHANGED = "changed"
    PLANNED = "planned"
    """What a run without ``dry_run`` would change."""
    UNSUPPORTED = "unsupported"
    """The store lacks the setting, and a dict works without it."""
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one step; ``changes`` has a line for each lifecycle rule."""

    name: str
    outcome: Outcome
    detail: str
    changes: tuple[str, ...] = ()


def provision(client: Client, *, dry_run: bool = False) -> Iterator[Step]:
    """Create the client's bucket if it is missing, block public access, encrypt, and install the lifecycle rules.

    Each step is taken when the iterator is advanced. Repeating them changes nothing. Requests: 4 if nothing is missing.

    Args:
        client: Names the bucket and the prefix.
        dry_run: Only read, and report what would be changed.

    Raises:
        InvalidError: The client's driver has no bucket.
    """
    admin = BucketAdmin.of(client)
    bucket = _run_step("bucket", partial(_bucket, admin, dry_run), admin)
    yield bucket
    if bucket.outcome is Outcome.FAILED:
        return
    exists = bucket.outcome is not Outcome.PLANNED
    if admin.zone is not None:
        yield Step("public access", Outcome.UNCHANGED, "directory buckets always block it")
    for setting in (_public_access(admin), _encryption(admin))[admin.zone is not None :]:
        yield _run_step(setting.name, partial(_ensure, setting, exists, dry_run, admin.has_custom_endpoint), admin)
    yield from _lifecycle_steps(admin, client.prefix, exists, dry_run)
    if admin.zone is not None:
        yield _run_step("lifecycle access", partial(_allow_lifecycle, admin, exists, dry_run), admin)


def step_names(client: Client) -> tuple[str, ...]:
    """Return the names of the steps of `provision` in their order, for a display of progress."""
    common = ("bucket", "public access", "encryption", "sweep rules")
    return common if BucketAdmin.of(client).zone is None else (*common, "lifecycle access")


def _run_step(name: str, step: Callable[[], Step], admin: BucketAdmin) -> Step:
    try:
        return step()
    except UnsupportedStoreError as error:
        return Step(name, Outcome.UNSUPPORTED, str(error))
    except (PermissionDeniedError, UnavailableError) as error:
        return Step(name, Outcome.FAILED, str(error))
    except Error as error:
        # Stores other than AWS report an unsupported feature by various codes.
        optional = admin.has_custom_endpoint and name != "bucket"
        return Step(name, Outcome.UNSUPPORTED if optional else Outcome.FAILED, str(error))


def _bucket(admin: BucketAdmin, dry_run: bool) -> Step:
    try:
        present = admin.head_bucket()
    except PermissionDeniedError as error:
        if (reason := _why_refused(admin)) is not None:
            return Step("bucket", Outcome.FAILED, str(reason))
        return Step(
            "bucket",
            Outcome.FAILED,
            f"{error}. If that is in order, the bucket belongs to another account: choose another name",
        )
    if present is not None:
        return Step("bucket", Outcome.UNCHANGED, f"{admin.bucket} exists")
    where = admin.bucket if admin.has_custom_endpoint else f"{admin.bucket} in {admin.signing_region}"
    if dry_run:
        return Step("bucket", Outcome.PLANNED, f"create {where}")
    admin.create()
    return Step("bucket", Outcome.CHANGED, f"created {where}")


def _why_refused(admin: BucketAdmin) -> PermissionDeniedError | None:
    """Return why the store accepts no request, as a clock that is wrong; a response to HEAD does not say so."""
    try:
        run_blocking(admin.get("store.json"))
    except PermissionDeniedError as error:
        return error if error.action is None else None
    except Error:
        pass
    return None


@dataclass(frozen=True, slots=True)
class _Setting:
    """A setting of the bucket. ``read`` describes what is set; it returns None if ``write`` has to set it."""

    name: str
    read: Callable[[], str | None]
    write: Callable[[], None]
    desired: str


def _public_access(admin: BucketAdmin) -> _Setting:
    # Ceph 16 rejects every PutObject once BlockPublicAcls is on. What such an ACL would open, IgnorePublicAcls
    # closes, so elsewhere than on AWS that one stays as it is.
    required = [name for name in PUBLIC_ACCESS_BLOCKS if name != "BlockPublicAcls" or not admin.has_custom_endpoint]
    desired = "all public access is blocked"

    def read() -> str | None:
        blocks = admin.public_access_block()
        return desired if all(blocks.get(name) for name in required) else None

    def write() -> None:
        admin.put_public_access_block({**admin.public_access_block(), **dict.fromkeys(required, True)})

    return _Setting("public access", read, write, desired)


def _encryption(admin: BucketAdmin) -> _Setting:
    def read() -> str | None:
        algorithm = admin.encryption()
        return algorithm and f"new objects are encrypted: {algorithm}"

    return _Setting("encryption", read, admin.enable_encryption, "new objects are encrypted: AES256")


def _ensure(setting: _Setting, exists: bool, dry_run: bool, optional: bool) -> Step:
    found = setting.read() if exists else None
    if found is not None:
        return Step(setting.name, Outcome.UNCHANGED, found)
    if dry_run:
        # Only writing it shows whether a store other than AWS implements it.
        detail = f"{setting.desired}, if the store supports it" if optional else setting.desired
        return Step(setting.name, Outcome.PLANNED, detail)
    setting.write()
    if not _reads_back(lambda: setting.read() is not None):
        return Step(setting.name, Outcome.UNSUPPORTED, "the store accepted the setting and does not show it")
    return Step(setting.name, Outcome.CHANGED, setting.desired)


def _lifecycle_steps(admin: BucketAdmin, prefix: str, exists: bool, dry_run: bool) -> Iterator[Step]:
    try:
        before = admin.lifecycle() if exists else Lifecycle()
        yield _install_rules(admin, prefix, before, dry_run)
    except Error as error:
        cannot = not isinstance(error, (PermissionDeniedError, UnavailableError, InvalidError))
        yield Step("sweep rules", Outcome.FAILED, f"{error}. {NO_EXPIRATION}" if cannot else str(error))
        return
    if names := conflicting(before.rules, prefix):
        yield Step("other rules", Outcome.WARNING, conflict_message(names, prefix))


def conflict_message(names: tuple[str, ...], prefix: str) -> str:
    """Return the warning about rules that delete or archive live data."""
    return f"these lifecycle rules also delete or archive what is still in use under {prefix}/: {', '.join(names)}"


def _install_rules(admin: BucketAdmin, prefix: str, before: Lifecycle, dry_run: bool) -> Step:
    merged = merge(before.rules, prefix, versions=admin.zone is None)
    foreign = len(merged.rules) - len(lifecycle_rules(prefix))
    note = (
        f"{foreign} other rule{'s' if foreign != 1 else ''} of the bucket stay{'s' if foreign == 1 else ''}"
        if foreign
        else ""
    )
    if merged.changes_nothing:
        return Step("sweep rules", Outcome.UNCHANGED, "all are installed" + (note and f"; {note}"))
    changes = _changes(before, merged)
    if dry_run:
        return Step("sweep rules", Outcome.PLANNED, note or "the bucket has no others", changes)
    desired, left_out = _put_accepted(admin, before, replace(before, rules=merged.rules), prefix)
    # S3 has no condition for this request: what another administrator wrote since it was read is overwritten.
    if not _reads_back(lambda: are_equal(admin.lifecycle().rules, desired.rules)):
        return Step(
            "sweep rules",
            Outcome.FAILED,
            "the rules read back are not those written: another process changed them at this moment, or the store has "
            "not caught up, or does not keep them. Look at them, and run this again",
            changes,
        )
    if left_out:
        unchanged = are_equal(before.rules, desired.rules)
        detail = f"{'all others are installed' if unchanged else 'installed'}; the store rejects rules for {left_out}"
        return Step("sweep rules", Outcome.WARNING, detail + (note and f"; {note}"), () if unchanged else changes)
    return Step("sweep rules", Outcome.CHANGED, "installed" + (note and f"; {note}"), changes)


def _put_accepted(admin: BucketAdmin, before: Lifecycle, desired: Lifecycle, prefix: str) -> tuple[Lifecycle, str]:
    """Install the rules, or those that the store accepts; return what was installed, and what was left out.

    One request holds all rules, so that a store which does not support one of them (Garage: those for noncurrent
    versions) rejects all.
    """
    if (rejection := _rejection(admin, desired)) is None:
        return desired, ""
    for left_out, rules in reduced(desired.rules, prefix):
        accepted = replace(desired, rules=rules)
        if _rejection(admin, accepted) is None:
            return accepted, left_out
    accepted, scopes = _put_one_by_one(admin, before, desired, prefix)
    if len(scopes) == len(lifecycle_rules(prefix)):
        raise rejection
    return accepted, f"{', '.join(scopes)}: `s3dict gc --expired` deletes what has expired there"


def _put_one_by_one(
    admin: BucketAdmin, before: Lifecycle, desired: Lifecycle, prefix: str
) -> tuple[Lifecycle, tuple[str, ...]]:
    """Add each managed rule to those of the bucket; return what is installed then, and the scopes of those rejected.

    The rules that the bucket has for the scope of a rejected one stay, such as one with an id of an earlier release.
    """
    installed, rejected = before, list[str]()
    for rule in desired.rules:
        if not is_managed(rule, prefix):
            continue
        wanted = replace(installed, rules=with_rule(installed.rules, rule, prefix))
        if are_equal(wanted.rules, installed.rules) or _rejection(admin, wanted) is None:
            installed = wanted
        else:
            rejected.append(scope_of(rule))
    return installed, tuple(rejected)


def _rejection(admin: BucketAdmin, lifecycle: Lifecycle) -> Error | None:
    """Install the rules; return the error of a store that does not accept them."""
    try:
        admin.put_lifecycle(lifecycle)
    except (PermissionDeniedError, UnavailableError, InvalidError, NotFoundError):
        raise
    except Error as error:
        return error
    return None


def _allow_lifecycle(admin: BucketAdmin, exists: bool, dry_run: bool) -> Step:
    """Let S3 apply the rules of a directory bucket; keep the other statements of its policy."""
    name = "lifecycle access"
    policy = admin.policy() if exists else {}
    if grants_lifecycle(policy):
        return Step(name, Outcome.UNCHANGED, f"the bucket policy lets {SERVICE} delete")
    if dry_run:
        return Step(name, Outcome.PLANNED, f"let {SERVICE} delete, by the bucket policy")
    arn = admin.directory_bucket_arn()
    if arn is None:
        required = json.dumps(with_lifecycle({}, f"arn:aws:s3express:REGION:ACCOUNT:bucket/{admin.bucket}"))
        return Step(name, Outcome.WARNING, f"the account is not known: set this bucket policy yourself: {required}")
    admin.put_policy(with_lifecycle(policy, arn))
    if not _reads_back(lambda: grants_lifecycle(admin.policy())):
        return Step(name, Outcome.FAILED, "the bucket policy read back does not have the statement that was written")
    return Step(name, Outcome.CHANGED, f"the bucket policy lets {SERVICE} delete")


def _changes(before: Lifecycle, merged: RulePlan) -> tuple[str, ...]:
    old = {rule.get("ID"): describe(rule) for rule in before.rules}
    new = {rule.get("ID"): describe(rule) for rule in merged.rules}
    return (
        *(f"+ {name}: {new[name]}" for name in merged.added),
        *(f"~ {name}: {new[name]} (was: {old[name]})" for name in merged.changed),
        *(f"- {name}: {old[name]}" for name in merged.removed),
    )


def _reads_back(check: Callable[[], bool]) -> bool:
    """Return whether the store returns what was written: AWS guarantees that for objects, not for bucket settings."""
    for _ in range(_CONFIRMATIONS - 1):
        if check():
            return True
        time.sleep(_PAUSE_SECONDS)
    return check()
