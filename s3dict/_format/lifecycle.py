"""Lifecycle rules: those that sweep what has expired, and how they are merged with the rules a bucket already has.

Rules are mappings with the names of the S3 API. Nothing here makes a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ..errors import InvalidError
from .layout import MAX_PREFIX_BYTES, SWEEP_DAYS

EPHEMERAL_DAYS = 2
MAX_RULES = 1000
"""The S3 limit per bucket."""

Rule = Mapping[str, Any]

_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")


@dataclass(frozen=True, slots=True)
class SweepRule:
    """Objects under `prefix` are deleted `days` days after they were last written."""

    id: str
    prefix: str
    days: int


def sweep_rules(prefix: str) -> tuple[SweepRule, ...]:
    """Return one rule for each sweep class, and one for the manifests of ephemeral dicts whose heartbeat has stopped.

    With all classes, any ttl works without further provisioning.
    """
    classes = (SweepRule(f"{_id_prefix(prefix)}sweep-{n}d", f"{prefix}/sweep-{n}d/", n) for n in SWEEP_DAYS)
    return (*classes, SweepRule(f"{_id_prefix(prefix)}ephemeral", f"{prefix}/ephemeral/", EPHEMERAL_DAYS))


def housekeeping_id(prefix: str) -> str:
    return f"{_id_prefix(prefix)}housekeeping"


def lifecycle_rules(prefix: str, *, versions: bool = True) -> tuple[Rule, ...]:
    """Return all rules that a prefix needs: those that sweep, and the housekeeping.

    Directory buckets have no `versions`, and accept no rules for them.
    """
    housekeeping: dict[str, Any] = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
    if versions:
        housekeeping["NoncurrentVersionExpiration"] = {"NoncurrentDays": 1}
        housekeeping["Expiration"] = {"ExpiredObjectDeleteMarker": True}
    return (
        *(_enabled(rule.id, rule.prefix, {"Expiration": {"Days": rule.days}}) for rule in sweep_rules(prefix)),
        _enabled(housekeeping_id(prefix), f"{prefix}/", housekeeping),
    )


@dataclass(frozen=True, slots=True)
class RulePlan:
    """The rules that a bucket is to have, and the ids of the managed ones that differ from those it has."""

    rules: tuple[Rule, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def changes_nothing(self) -> bool:
        return not (self.added or self.changed or self.removed)


def merge(existing: Sequence[Rule], prefix: str, *, versions: bool = True) -> RulePlan:
    """Replace the bucket's managed rules for `prefix` by the current ones; all others stay unchanged.

    Raises:
        InvalidError: The result has more rules than S3 allows.
    """
    old = {rule["ID"]: rule for rule in existing if is_managed(rule, prefix)}
    new = {rule["ID"]: rule for rule in lifecycle_rules(prefix, versions=versions)}
    merged = RulePlan(
        rules=_joined([rule for rule in existing if not is_managed(rule, prefix)], new.values()),
        added=tuple(name for name in new if name not in old),
        changed=tuple(name for name in new if name in old and _normalised(new[name]) != _normalised(old[name])),
        removed=tuple(name for name in old if name not in new),
    )
    if len(merged.rules) > MAX_RULES:
        raise InvalidError(
            f"The bucket has {len(existing)} lifecycle rules. With the {len(new)} of s3dict that would be more than "
            f"the {MAX_RULES} that S3 allows: remove some, or use another bucket"
        )
    return merged


def are_equal(some: Iterable[Rule], others: Iterable[Rule]) -> bool:
    """Return whether both have the same effect, in any order and form: Ceph sorts rules and rewrites their filters."""
    return _meanings(some) == _meanings(others)


def missing(existing: Iterable[Rule], prefix: str, *, versions: bool = True) -> tuple[str, ...]:
    """Return the ids of the rules that a prefix needs and no rule in the bucket satisfies, under any id."""
    return tuple(
        rule["ID"]
        for rule in lifecycle_rules(prefix, versions=versions)
        if not any(_satisfies(other, rule) for other in existing)
    )


def conflicting(existing: Iterable[Rule], prefix: str) -> tuple[str, ...]:
    """Return the ids of the rules that delete or archive what may still be live under this prefix."""
    managed = [_normalised(rule) for rule in lifecycle_rules(prefix)]
    others = (rule for rule in existing if _normalised(rule) not in managed)
    return tuple(str(rule.get("ID") or "(without an id)") for rule in others if _deletes_live_data(rule, prefix))


def is_managed(rule: Rule, prefix: str) -> bool:
    """Return whether some version of s3dict installed the rule for the prefix."""
    return str(rule.get("ID") or "").startswith((_id_prefix(prefix), _old_id_prefix(prefix)))


def has_old_ids(existing: Iterable[Rule], prefix: str) -> bool:
    """Return whether rules for the prefix have ids of release 0.1, which some stores do not accept."""
    return any(str(rule.get("ID") or "").startswith(_old_id_prefix(prefix)) for rule in existing)


def reduced(rules: Sequence[Rule], prefix: str) -> Iterator[tuple[str, tuple[Rule, ...]]]:
    """Yield what a store may accept that rejects all rules, and what is left out: first little, then more."""
    is_housekeeping = [rule.get("ID") == housekeeping_id(prefix) for rule in rules]
    unsupported = {"NoncurrentVersionExpiration", "Expiration"}
    yield (
        "noncurrent versions and delete markers",
        tuple(
            {name: value for name, value in rule.items() if name not in unsupported} if keeps_house else rule
            for rule, keeps_house in zip(rules, is_housekeeping, strict=True)
        ),
    )
    yield (
        "incomplete uploads, noncurrent versions and delete markers",
        tuple(rule for rule, keeps_house in zip(rules, is_housekeeping, strict=True) if not keeps_house),
    )


def with_rule(rules: Sequence[Rule], rule: Rule, prefix: str) -> tuple[Rule, ...]:
    """Return the rules with another one, in place of the managed rules of the same scope, under whatever id."""
    scope = scope_of(rule)
    return (*(other for other in rules if not (is_managed(other, prefix) and scope_of(other) == scope)), rule)


def scope_of(rule: Rule) -> str:
    """Return the prefix of the objects that a rule applies to."""
    return str(_normalised(rule).get("Filter", {}).get("Prefix", ""))


def describe(rule: Rule) -> str:
    """Return a rule as one line of text."""
    meaning = _normalised(rule)
    scope, status = meaning.pop("Filter", {}), meaning.pop("Status", "without a status")
    actions = ", ".join(f"{name} {value}" for name, value in meaning.items() if name != "ID")
    return f"{status}, on {scope.get('Prefix', 'everything')}: {actions or 'nothing'}".replace("'", "")


def _id_prefix(prefix: str) -> str:
    """Return what the ids of the prefix's rules begin with, in letters, digits, ``_``, ``.`` and ``-`` alone.

    IBM Cloud Object Storage accepts neither ``:`` nor ``/`` in an id. An escaped prefix contains no dot, so no two
    prefixes share an id.
    """
    escaped = prefix.replace("_", "__").replace(".", "_d").replace("/", "_s")
    if len(escaped) > MAX_PREFIX_BYTES:
        # S3 allows ids of 255 characters. No escape is "_h".
        escaped = f"{escaped[:100]}_h{sha256(prefix.encode()).hexdigest()[:32]}"
    return f"s3dict.{escaped}."


def _old_id_prefix(prefix: str) -> str:
    return f"s3dict:{prefix}:"


def _enabled(name: str, prefix: str, actions: Rule) -> Rule:
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}, **actions}


def _joined(foreign: Sequence[Rule], managed: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return all rules in one form: AWS rejects rules with a `Filter` beside rules with the older `Prefix`."""
    uses_legacy_form = any("Prefix" in rule for rule in foreign) and not any("Filter" in rule for rule in foreign)
    return (*foreign, *(map(_legacy_form, managed) if uses_legacy_form else managed))


def _legacy_form(rule: Rule) -> Rule:
    return {name: value for name, value in rule.items() if name != "Filter"} | {"Prefix": rule["Filter"]["Prefix"]}


def _satisfies(rule: Rule, wanted: Rule) -> bool:
    required, existing = _normalised(wanted), _normalised(rule)
    return all(existing.get(name) == value for name, value in required.items() if name != "ID")


def _deletes_live_data(rule: Rule, prefix: str) -> bool:
    meaning = _normalised(rule)
    scope, expiration = meaning.get("Filter", {}), meaning.get("Expiration", {})
    archives = any(to.get("StorageClass") in _ARCHIVES for to in meaning.get("Transitions", ()))
    deletes_or_archives = "Days" in expiration or "Date" in expiration or archives
    # Objects written by s3dict have no tags, so a rule that filters by tag does not apply to them.
    if meaning.get("Status") != "Enabled" or not deletes_or_archives or "Tags" in scope:
        return False
    where, days = scope.get("Prefix", ""), 0 if archives or "Date" in expiration else expiration["Days"]
    lasting = {f"{prefix}/{name}": None for name in ("keep/", "manifests/", "store.json")}
    swept: dict[str, int | None] = {rule.prefix: rule.days for rule in sweep_rules(prefix)}
    for root, after in (lasting | swept).items():
        if (root.startswith(where) or where.startswith(root)) and (after is None or days < after):
            return True
    return False


def _meanings(rules: Iterable[Rule]) -> list[str]:
    return sorted(repr(_normalised(rule)) for rule in rules)


def _normalised(rule: Rule) -> dict[str, Any]:
    """Return a rule in one of the many equivalent forms."""
    scope = dict(rule.get("Filter") or {})
    scope |= scope.pop("And", None) or {}
    tag = scope.pop("Tag", None)
    tags = [*(scope.get("Tags") or ()), *([tag] if tag else ())]
    scope["Tags"] = sorted(tags, key=lambda tag: str(tag.get("Key")))
    scope["Prefix"] = scope.get("Prefix") or rule.get("Prefix")
    meaning: dict[str, Any] = _without_empty({**rule, "Filter": scope, "Prefix": None})
    return meaning


def _without_empty(value: Any) -> Any:
    """Return the value sorted and without what is empty, false or zero, which a server may include or omit."""
    if isinstance(value, Mapping):
        fields = ((name, _without_empty(value[name])) for name in sorted(value))
        return {name: field for name, field in fields if field}
    return [_without_empty(item) for item in value] if isinstance(value, (list, tuple)) else value
