"""Lifecycle rules: which ones sweep what has expired, and how they join those that a bucket already has.

Rules are mappings, spelled as in the S3 API. Nothing here looks into a bucket: it is given rules and gives rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidError
from .layout import SWEEP_DAYS

EPHEMERAL_DAYS = 2
MAX_RULES = 1000
"""What S3 allows in one bucket."""

Rule = Mapping[str, Any]

_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")


@dataclass(frozen=True, slots=True)
class SweepRule:
    """What lies under ``prefix`` is deleted ``days`` days after it was last written."""

    id: str
    prefix: str
    days: int


def sweep_rules(prefix: str) -> tuple[SweepRule, ...]:
    """One rule for each class of ttl, so that any ttl works with no further provisioning, and one for the manifests of
    ephemeral dicts whose heartbeat has stopped."""
    classes = (SweepRule(f"{_id_prefix(prefix)}sweep-{n}d", f"{prefix}/sweep-{n}d/", n) for n in SWEEP_DAYS)
    return (*classes, SweepRule(f"{_id_prefix(prefix)}ephemeral", f"{prefix}/ephemeral/", EPHEMERAL_DAYS))


def housekeeping_id(prefix: str) -> str:
    return f"{_id_prefix(prefix)}housekeeping"


def lifecycle_rules(prefix: str) -> tuple[Rule, ...]:
    """All rules that a prefix needs: those that sweep, and the housekeeping of a bucket with versions."""
    housekeeping = {
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
    }
    return (
        *(_enabled(rule.id, rule.prefix, {"Expiration": {"Days": rule.days}}) for rule in sweep_rules(prefix)),
        _enabled(housekeeping_id(prefix), f"{prefix}/", housekeeping),
    )


@dataclass(frozen=True, slots=True)
class RulePlan:
    """The rules that a bucket shall have, and the ids of ours that differ from those it has."""

    rules: tuple[Rule, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def changes_nothing(self) -> bool:
        return not (self.added or self.changed or self.removed)


def merge(existing: Sequence[Rule], prefix: str) -> RulePlan:
    """Puts our rules for `prefix` in the place of what the bucket has of them. All others stay as they are spelled.

    Raises InvalidError when that is more than S3 allows.
    """
    old = {rule["ID"]: rule for rule in existing if is_managed(rule, prefix)}
    new = {rule["ID"]: rule for rule in lifecycle_rules(prefix)}
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
    """Whether both do the same, in whatever order and spelling: Ceph sorts rules by id, and rewrites their filters."""
    return _meanings(some) == _meanings(others)


def missing(existing: Iterable[Rule], prefix: str) -> tuple[str, ...]:
    """The ids of the rules that a prefix needs and nothing in the bucket does, under whatever id."""
    return tuple(
        rule["ID"] for rule in lifecycle_rules(prefix) if not any(_satisfies(other, rule) for other in existing)
    )


def conflicting(existing: Iterable[Rule], prefix: str) -> tuple[str, ...]:
    """The ids of rules that delete, or put out of reach, what under this prefix may still be alive."""
    ours = [_normalised(rule) for rule in lifecycle_rules(prefix)]
    others = (rule for rule in existing if _normalised(rule) not in ours)
    return tuple(str(rule.get("ID") or "(without an id)") for rule in others if _deletes_live_data(rule, prefix))


def is_managed(rule: Rule, prefix: str) -> bool:
    """Whether the rule is one that this library, of whatever version, installed for the prefix."""
    return str(rule.get("ID") or "").startswith(_id_prefix(prefix))


def describe(rule: Rule) -> str:
    """A rule on one line."""
    meaning = _normalised(rule)
    scope, status = meaning.pop("Filter", {}), meaning.pop("Status", "without a status")
    actions = ", ".join(f"{name} {value}" for name, value in meaning.items() if name != "ID")
    return f"{status}, on {scope.get('Prefix', 'everything')}: {actions or 'nothing'}".replace("'", "")


def _id_prefix(prefix: str) -> str:
    # No prefix has a colon in it, so no two prefixes share an id.
    return f"s3dict:{prefix}:"


def _enabled(name: str, prefix: str, actions: Rule) -> Rule:
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}, **actions}


def _joined(foreign: Sequence[Rule], ours: Iterable[Rule]) -> tuple[Rule, ...]:
    """AWS refuses rules with a `Filter` beside any with the older `Prefix`: ours are spelled as the others are."""
    is_older = any("Prefix" in rule for rule in foreign) and not any("Filter" in rule for rule in foreign)
    return (*foreign, *(map(_legacy_form, ours) if is_older else ours))


def _legacy_form(rule: Rule) -> Rule:
    return {name: value for name, value in rule.items() if name != "Filter"} | {"Prefix": rule["Filter"]["Prefix"]}


def _satisfies(rule: Rule, wanted: Rule) -> bool:
    asked, there = _normalised(wanted), _normalised(rule)
    return all(there.get(name) == value for name, value in asked.items() if name != "ID")


def _deletes_live_data(rule: Rule, prefix: str) -> bool:
    meaning = _normalised(rule)
    scope, expiration = meaning.get("Filter", {}), meaning.get("Expiration", {})
    archives = any(to.get("StorageClass") in _ARCHIVES for to in meaning.get("Transitions", ()))
    takes_away = "Days" in expiration or "Date" in expiration or archives
    # Objects of ours have no tags, so no rule that asks for one applies to them.
    if meaning.get("Status") != "Enabled" or not takes_away or "Tags" in scope:
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
    """A rule in one spelling of the many that say the same."""
    scope = dict(rule.get("Filter") or {})
    scope |= scope.pop("And", None) or {}
    tag = scope.pop("Tag", None)
    tags = [*(scope.get("Tags") or ()), *([tag] if tag else ())]
    scope["Tags"] = sorted(tags, key=lambda tag: str(tag.get("Key")))
    scope["Prefix"] = scope.get("Prefix") or rule.get("Prefix")
    meaning: dict[str, Any] = _without_empty({**rule, "Filter": scope, "Prefix": None})
    return meaning


def _without_empty(value: Any) -> Any:
    """Without what is empty, false or zero, which a server may send or leave out, and in one order."""
    if isinstance(value, Mapping):
        fields = ((name, _without_empty(value[name])) for name in sorted(value))
        return {name: field for name, field in fields if field}
    return [_without_empty(item) for item in value] if isinstance(value, (list, tuple)) else value
