"""Which rules a prefix needs, and how they join those of others."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3dict._format.layout import MAX_PREFIX_BYTES, SWEEP_DAYS, DictId, Layout
from s3dict._format.lifecycle import (
    MAX_RULES,
    Rule,
    SweepRule,
    are_equal,
    conflicting,
    describe,
    has_old_ids,
    housekeeping_id,
    is_managed,
    lifecycle_rules,
    merge,
    missing,
    reduced,
    sweep_rules,
)
from s3dict.errors import InvalidError

ULID = "01HZX3V9J7Q8K4M2N6P0R5S1T3"


def rule(prefix: str, name: str = "theirs", **actions: Any) -> dict[str, Any]:
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}, **actions}


def expiring(prefix: str, days: int, name: str = "theirs") -> dict[str, Any]:
    return rule(prefix, name, Expiration={"Days": days})


def sizes(merged: Any) -> tuple[int, int, int]:
    return len(merged.added), len(merged.changed), len(merged.removed)


OURS = lifecycle_rules("p/q")
FOREIGN: list[Rule] = [
    expiring("logs/", 30, "logs"),
    {"Status": "Disabled", "Expiration": {"Days": 3}, "Filter": {}, "ID": "off", "Unheard": "of"},
    rule("t/", "tagged", Transitions=[{"Days": 30, "StorageClass": "GLACIER"}]),
]


def test_each_class_of_ttl_has_a_rule_and_so_have_the_manifests_of_ephemeral_dicts() -> None:
    assert sweep_rules("p/q") == (
        SweepRule("s3dict.p_sq.sweep-1d", "p/q/sweep-1d/", 1),
        SweepRule("s3dict.p_sq.sweep-2d", "p/q/sweep-2d/", 2),
        SweepRule("s3dict.p_sq.sweep-8d", "p/q/sweep-8d/", 8),
        SweepRule("s3dict.p_sq.sweep-35d", "p/q/sweep-35d/", 35),
        SweepRule("s3dict.p_sq.sweep-105d", "p/q/sweep-105d/", 105),
        SweepRule("s3dict.p_sq.sweep-420d", "p/q/sweep-420d/", 420),
        SweepRule("s3dict.p_sq.ephemeral", "p/q/ephemeral/", 2),
    )


def test_rules_are_spelled_as_the_api_has_them() -> None:
    sweep, housekeeping = OURS[2], OURS[-1]
    assert len(OURS) == len(SWEEP_DAYS) + 2
    assert sweep == {
        "ID": "s3dict.p_sq.sweep-8d",
        "Status": "Enabled",
        "Filter": {"Prefix": "p/q/sweep-8d/"},
        "Expiration": {"Days": 8},
    }
    assert housekeeping == {
        "ID": "s3dict.p_sq.housekeeping",
        "Status": "Enabled",
        "Filter": {"Prefix": "p/q/"},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
    }


def test_no_rule_sweeps_permanent_entries_or_manifests() -> None:
    layout = Layout("p/q")
    lasting = [
        layout.store,
        layout.manifest_path(DictId(ULID, "main", "d")),
        layout.data(DictId(ULID, "main", "d"), None).entries,
        layout.data(DictId(ULID), None).entries,
    ]
    assert [(path, rule.id) for path in lasting for rule in sweep_rules("p/q") if path.startswith(rule.prefix)] == []


def test_ids_of_the_longest_prefix_are_short_enough_for_s3() -> None:
    assert max(len(rule["ID"]) for rule in lifecycle_rules("_" * MAX_PREFIX_BYTES)) <= 255


def test_bucket_without_rules_gets_all_of_them() -> None:
    merged = merge([], "p/q")
    assert merged.rules == OURS
    assert (tuple(rule["ID"] for rule in OURS), (), ()) == (merged.added, merged.changed, merged.removed)


def test_foreign_rules_keep_order_and_form() -> None:
    merged = merge(FOREIGN, "p/q")
    assert merged.rules == (*FOREIGN, *OURS)
    assert all(a is b for a, b in zip(FOREIGN, merged.rules[: len(FOREIGN)], strict=True))


def test_rules_of_another_prefix_are_foreign() -> None:
    neighbours = [*lifecycle_rules("p"), *lifecycle_rules("p/q/r"), *lifecycle_rules("P/q")]
    assert merge(neighbours, "p/q").rules == (*neighbours, *OURS)


def test_modified_managed_rules_are_restored_and_obsolete_ones_removed() -> None:
    stale = [expiring("p/q/sweep-8d/", 3, "s3dict.p_sq.sweep-8d"), expiring("p/q/old/", 9, "s3dict.p_sq.old")]
    merged = merge([*stale, *FOREIGN, *OURS[3:]], "p/q")
    assert merged.rules == (*FOREIGN, *OURS)
    assert merged.changed == ("s3dict.p_sq.sweep-8d",)
    assert merged.removed == ("s3dict.p_sq.old",)
    assert merged.added == ("s3dict.p_sq.sweep-1d", "s3dict.p_sq.sweep-2d")


def reordered(rule: Rule) -> Rule:
    return dict(reversed(list(rule.items())))


def older(rule: Rule) -> Rule:
    return {**{k: v for k, v in rule.items() if k != "Filter"}, "Prefix": rule["Filter"]["Prefix"]}


def with_and(rule: Rule) -> Rule:
    return {**rule, "Filter": {"And": {"Prefix": rule["Filter"]["Prefix"], "Tags": []}}}


def padded(rule: Rule) -> Rule:
    expiration = {"ExpiredObjectDeleteMarker": False, **rule["Expiration"]}
    return {**rule, "Prefix": "", "Transitions": [], "NoncurrentVersionTransitions": None, "Expiration": expiration}


@pytest.mark.parametrize("spelled", [reordered, older, with_and, padded])
def test_equivalent_form_returned_by_a_server_is_accepted(spelled: Any) -> None:
    handed_back = [*FOREIGN, *map(spelled, reversed(OURS))]
    merged = merge(handed_back, "p/q")
    assert merged.changes_nothing
    assert missing(handed_back, "p/q") == ()
    assert are_equal([*FOREIGN, *OURS], handed_back)


@pytest.mark.parametrize(
    "change",
    [
        {"Status": "Disabled"},
        {"Filter": {"Prefix": "p/q/sweep-8"}},
        {"Filter": {"And": {"Prefix": "p/q/sweep-8d/", "Tags": [{"Key": "a", "Value": "b"}]}}},
        {"Filter": {"Prefix": "p/q/sweep-8d/", "ObjectSizeGreaterThan": 9}},
        {"Expiration": {"Days": 9}},
        {"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]},
    ],
    ids=str,
)
def test_rule_with_another_effect_is_replaced(change: Any) -> None:
    there = [{**rule, **change} if rule["ID"].endswith("sweep-8d") else rule for rule in OURS]
    merged = merge(there, "p/q")
    assert (sizes(merged), merged.rules) == ((0, 1, 0), OURS)
    assert not are_equal(there, OURS)


def test_tags_of_ceph_which_drops_the_and_are_those_that_were_written() -> None:
    tag = {"Key": "a", "Value": "b"}
    written = {"ID": "t", "Filter": {"And": {"Prefix": "t/", "Tags": [tag]}}}
    assert are_equal([written], [{"ID": "t", "Filter": {"Prefix": "t/", "Tag": tag}}])
    assert not are_equal([written], [{"ID": "t", "Filter": {"Prefix": "t/"}}])


def test_beside_rules_of_the_older_spelling_ours_have_it_too_since_aws_takes_no_mixture() -> None:
    merged = merge([older(expiring("logs/", 30))], "p/q")
    assert all("Prefix" in rule and "Filter" not in rule for rule in merged.rules)
    assert merge(merged.rules, "p/q").changes_nothing


def test_more_rules_than_s3_allows_are_rejected() -> None:
    fits = [expiring(f"{number}/", 1, str(number)) for number in range(MAX_RULES - len(OURS))]
    assert len(merge(fits, "p/q").rules) == MAX_RULES
    with pytest.raises(InvalidError, match="993 lifecycle rules"):
        merge([*fits, expiring("x/", 1, "one more")], "p/q")


prefixes = st.from_regex(r"[a-z0-9\-_.]{1,9}(/[a-z0-9\-_]{1,9})?", fullmatch=True).filter(
    lambda p: p not in (".", "..")
)


@given(st.lists(prefixes, unique=True, max_size=4), prefixes)
def test_merging_is_done_once_whatever_the_neighbours_are(neighbours: list[str], prefix: str) -> None:
    rules: tuple[Rule, ...] = tuple(FOREIGN)
    for neighbour in neighbours:
        rules = merge(rules, neighbour).rules
    once = merge(rules, prefix)
    assert merge(once.rules, prefix).changes_nothing
    assert missing(once.rules, prefix) == ()
    assert all(merge(once.rules, neighbour).changes_nothing for neighbour in neighbours)


def test_rule_counts_for_what_it_does_whatever_its_id_is() -> None:
    renamed = [{**rule, "ID": f"by-terraform-{number}"} for number, rule in enumerate(OURS)]
    assert missing(renamed, "p/q") == ()
    assert missing(renamed[1:-1], "p/q") == ("s3dict.p_sq.sweep-1d", housekeeping_id("p/q"))


@pytest.mark.parametrize(
    "theirs",
    [
        expiring("", 400),
        expiring("p", 400),
        expiring("p/q/", 400),
        expiring("p/q/keep/", 4000),
        expiring("p/q/manifests/main/", 4000),
        expiring("p/q/sweep-8d/", 7),
        expiring("p/q/sweep-8", 7),
        expiring("p/q/sweep-", 8),
        {**expiring("p/q/", 1), "ID": "s3dict.p_sq.mine"},
        {**expiring("p/q/sweep-8d/", 1), "ID": "s3dict.p_sq.sweep-8d"},
        expiring("p/q/sweep-8d/named/main/d/", 7),
        expiring("p/q/ephemeral/", 1),
        rule("p/q/sweep-8d/", Expiration={"Date": datetime(2030, 1, 1, tzinfo=UTC)}),
        rule("p/q/", Transitions=[{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}]),
        {"ID": "theirs", "Status": "Enabled", "Prefix": "p/q/", "Expiration": {"Days": 400}},
        {"ID": "theirs", "Status": "Enabled", "Filter": {"ObjectSizeLessThan": 99}, "Expiration": {"Days": 400}},
    ],
    ids=describe,
)
def test_rule_deleting_live_entries_conflicts_whatever_its_id(theirs: Rule) -> None:
    assert conflicting([*OURS, theirs], "p/q") == (theirs["ID"],)


@pytest.mark.parametrize(
    "theirs",
    [
        expiring("logs/", 1),
        expiring("p/q/logs/", 1),
        expiring("p/q/sweep-8", 8),
        expiring("p/q/b/sweep-8d/", 8),
        expiring("p/qq/", 1),
        expiring("p/q2", 1),
        expiring("p/q/sweep-8d/", 8),
        expiring("p/q/sweep-8d/named/main/d/", 30),
        expiring("p/q/ephemeral/", 2),
        {**expiring("p/q/", 1), "Status": "Disabled"},
        rule("p/q/", Transitions=[{"Days": 30, "StorageClass": "STANDARD_IA"}]),
        rule("p/q/", NoncurrentVersionExpiration={"NoncurrentDays": 1}),
        {**expiring("", 1), "Filter": {"Tag": {"Key": "a", "Value": "b"}}},
    ],
    ids=describe,
)
def test_rule_sparing_live_entries_does_not_conflict(theirs: Rule) -> None:
    assert conflicting([*OURS, theirs], "p/q") == ()


def test_rule_is_described_on_one_line() -> None:
    assert describe(FOREIGN[0]) == "Enabled, on logs/: Expiration {Days: 30}"
    assert describe(FOREIGN[1]) == "Disabled, on everything: Expiration {Days: 3}, Unheard of"


def with_old_ids(rules: Iterable[Rule], prefix: str) -> list[Rule]:
    """The rules as release 0.1 installed them."""
    return [{**rule, "ID": f"s3dict:{prefix}:{str(rule['ID']).rpartition('.')[2]}"} for rule in rules]


@given(prefixes)
def test_ids_have_only_characters_that_all_stores_accept(prefix: str) -> None:
    for managed in lifecycle_rules(prefix):
        assert re.fullmatch(r"[A-Za-z0-9_.\-]{1,255}", managed["ID"])


def test_ids_of_two_prefixes_are_never_those_of_one_another() -> None:
    for first, second in itertools.permutations(["a", "a/b", "a_sb", "a.b", "a_db", "a__sb", "a_"], 2):
        assert not any(is_managed(managed, second) for managed in lifecycle_rules(first))


def test_rules_with_the_ids_of_an_earlier_release_are_replaced() -> None:
    old = [*with_old_ids(OURS, "p/q"), *FOREIGN]
    assert has_old_ids(old, "p/q")
    assert missing(old, "p/q") == ()
    merged = merge(old, "p/q")
    assert list(merged.rules) == [*FOREIGN, *OURS]
    assert not has_old_ids(merged.rules, "p/q")
    assert merge(merged.rules, "p/q").changes_nothing


def test_reduced_rules_leave_out_what_stores_without_versions_reject() -> None:
    variants = [list(rules) for _, rules in reduced([*FOREIGN, *OURS], "p/q")]
    without_versions = {"ID", "Status", "Filter", "AbortIncompleteMultipartUpload"}
    assert variants[0][:-1] == [*FOREIGN, *OURS[:-1]]
    assert set(variants[0][-1]) == without_versions
    assert variants[1] == [*FOREIGN, *OURS[:-1]]
