"""Names, prefixes, ttls and ids: what is allowed, and where it puts things."""

# Hypothesis wants the ends of a range naive, and adds the time zone.
# ruff: noqa: DTZ001

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3dict._format.layout import (
    MAX_PREFIX_BYTES,
    SWEEP_DAYS,
    DictId,
    Layout,
    new_ulid,
    sweep_class,
    validate_name,
    validate_prefix,
    validate_ttl,
)
from s3dict.errors import InvalidError

ULID = "01HZX3V9J7Q8K4M2N6P0R5S1T3"
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
names = st.from_regex(r"[a-zA-Z0-9\-_.]{1,64}", fullmatch=True).filter(lambda name: name not in (".", ".."))
ulids = st.from_regex(rf"[0-7][{CROCKFORD}]{{25}}", fullmatch=True)
moments = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))


@given(names)
def test_name_is_itself(name: str) -> None:
    assert validate_name(name) == name


BAD_NAMES = ["", "a" * 65, ".", "..", "a/b", "a b", "a\n", "\n", "é", "٣", "a:b", "\0", "ß" * 3, None, 3, b"a"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_bad_name_is_invalid_and_the_message_shows_it(name: Any) -> None:
    with pytest.raises(InvalidError, match=re.escape(f"Invalid Dict name: {name!r}")):
        validate_name(name)


@given(st.text(max_size=70))
def test_valid_name_is_safe_in_a_path(name: str) -> None:
    try:
        validate_name(name)
    except InvalidError:
        return
    assert re.fullmatch(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}", name)


@pytest.mark.parametrize(
    ("prefix", "plain"),
    [("s3dict", "s3dict"), ("/a/b/", "a/b"), ("a.b-c_D/9", "a.b-c_D/9"), ("...", "..."), ("x" * 200, "x" * 200)],
)
def test_prefix_is_kept_without_slashes_around_it(prefix: str, plain: str) -> None:
    assert validate_prefix(prefix) == plain


BAD_PREFIXES = ["", "/", "//", "a//b", "a/./b", "a/../b", "..", "a b", "a\n", "é", "s3://x", "x" * 201, None, 3, b"a"]


@pytest.mark.parametrize("prefix", [*BAD_PREFIXES, "x/" * (MAX_PREFIX_BYTES // 2) + "x"], ids=lambda p: repr(p)[:20])
def test_bad_prefix_is_invalid(prefix: Any) -> None:
    with pytest.raises(InvalidError, match="Invalid prefix"):
        validate_prefix(prefix)


TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [
        (None, "keep"),
        (timedelta(minutes=1), "sweep-1d"),
        (timedelta(hours=21), "sweep-1d"),
        (timedelta(hours=21) + TICK, "sweep-2d"),
        (timedelta(hours=42), "sweep-2d"),
        (timedelta(hours=42) + TICK, "sweep-8d"),
        (timedelta(days=7), "sweep-8d"),
        (timedelta(days=7) + TICK, "sweep-35d"),
        (timedelta(days=30, hours=15), "sweep-35d"),
        (timedelta(days=30, hours=15) + TICK, "sweep-105d"),
        (timedelta(days=91, hours=21), "sweep-105d"),
        (timedelta(days=91, hours=21) + TICK, "sweep-420d"),
        (timedelta(days=367, hours=12), "sweep-420d"),
    ],
    ids=str,
)
def test_sweep_class_is_the_smallest_that_is_an_eighth_longer_than_the_ttl(
    ttl: timedelta | None, expected: str
) -> None:
    assert sweep_class(ttl) == expected
    assert validate_ttl(ttl) == ttl


@given(st.timedeltas(timedelta(minutes=1), timedelta(days=367, hours=12)))
def test_no_rule_sweeps_an_entry_that_may_still_be_alive(ttl: timedelta) -> None:
    days = int(sweep_class(ttl).removeprefix("sweep-").removesuffix("d"))
    assert days in SWEEP_DAYS
    assert timedelta(days=days) * 7 >= ttl * 8 - 7 * TICK
    assert not any(timedelta(days=fewer) * 7 >= ttl * 8 for fewer in SWEEP_DAYS if fewer < days)


BAD_TTLS = [
    timedelta(0),
    timedelta(seconds=-1),
    timedelta(minutes=1) - TICK,
    timedelta(days=367, hours=12) + timedelta(seconds=1),
    timedelta.max,
    3600,
    "7d",
]


@pytest.mark.parametrize("ttl", BAD_TTLS, ids=repr)
def test_ttl_that_no_class_holds_is_invalid(ttl: Any) -> None:
    with pytest.raises(InvalidError, match="Invalid ttl"):
        validate_ttl(ttl)


@given(moments, moments)
def test_ulids_sort_by_time(a: datetime, b: datetime) -> None:
    earlier, later = sorted((a, b))
    if later - earlier >= timedelta(milliseconds=2):
        assert new_ulid(earlier) < new_ulid(later)


@given(moments)
def test_ulid_is_a_valid_one_that_holds_its_milliseconds(moment: datetime) -> None:
    ulid = new_ulid(moment)
    assert re.fullmatch(f"[0-7][{CROCKFORD}]{{25}}", ulid)
    number = 0
    for character in ulid:
        number = number * 32 + CROCKFORD.index(character)
    exact = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert abs((number >> 80) - exact) <= 1


def test_ulids_of_one_moment_differ() -> None:
    moment = datetime.now(UTC)
    assert len({new_ulid(moment) for _ in range(1000)}) == 1000


@given(ulids, names, names)
def test_id_of_a_named_dict_is_read_as_it_was_written(ulid: str, environment: str, name: str) -> None:
    dict_id = DictId(ulid, environment, name)
    assert str(dict_id) == f"di-{ulid}:{environment}:{name}"
    assert DictId.parse(str(dict_id)) == dict_id


@given(ulids)
def test_id_of_an_ephemeral_dict_is_read_as_it_was_written(ulid: str) -> None:
    assert str(DictId(ulid)) == f"di-{ulid}"
    assert DictId.parse(str(DictId(ulid))) == DictId(ulid)


BAD_IDS = [
    *("", "di-", ULID, f"do-{ULID}", f"di-{ULID[:-1]}", f"di-{ULID}0", f"di-{ULID.lower()}", f"di-8{ULID[1:]}"),
    *(f"di-{ULID[:-1]}U", f"di-{ULID}:", f"di-{ULID}:main", f"di-{ULID}:main:", f"di-{ULID}::x", f"di-{ULID}:a:b:c"),
    *(f"di-{ULID}:main:..", f"di-{ULID}:../x:y", f"di-{ULID}\n", f" di-{ULID}", None, 3, b"di-" + ULID.encode()),
]


@pytest.mark.parametrize("text", BAD_IDS, ids=repr)
def test_bad_id_is_invalid(text: Any) -> None:
    with pytest.raises(InvalidError, match="Invalid"):
        DictId.parse(text)


@given(st.text(max_size=60) | st.text("di-0123456789ABC:._", max_size=60))
def test_any_text_is_an_id_or_invalid(text: str) -> None:
    try:
        dict_id = DictId.parse(text)
    except InvalidError:
        return
    assert text == str(dict_id)


NAMED, EPHEMERAL = DictId(ULID, "main", "scores"), DictId(ULID)


def test_paths_match_the_documented_layout() -> None:
    layout = Layout("p/q")
    week, named = timedelta(days=7), f"named/main/scores/{ULID}"
    assert {
        "store": layout.store,
        "manifest": layout.manifest_path(NAMED),
        "ephemeral manifest": layout.manifest_path(EPHEMERAL),
        "entries": layout.data(NAMED, week).entries,
        "locks": layout.data(NAMED, week).locks,
        "kept entries": layout.data(NAMED, None).entries,
        "ephemeral entries": layout.data(EPHEMERAL, week).entries,
        "scratch": layout.scratch(ULID),
    } == {
        "store": "p/q/store.json",
        "manifest": "p/q/manifests/main/scores.json",
        "ephemeral manifest": f"p/q/ephemeral/{ULID}.json",
        "entries": f"p/q/sweep-8d/{named}/entries/",
        "locks": f"p/q/sweep-8d/{named}/locks/",
        "kept entries": f"p/q/keep/{named}/entries/",
        "ephemeral entries": f"p/q/sweep-8d/ephemeral/{ULID}/entries/",
        "scratch": f"p/q/sweep-1d/probe/{ULID}",
    }


@given(names, names)
def test_no_object_is_also_a_folder_of_others(environment: str, name: str) -> None:
    layout, dict_id, other = Layout("s3dict"), DictId(ULID, environment, name), DictId(ULID, name, environment)
    objects = [layout.store, layout.scratch(ULID), layout.manifest_path(EPHEMERAL)]
    objects += [layout.manifest_path(an_id) for an_id in (dict_id, other)]
    objects += [layout.data(an_id, None).entries + "hash" for an_id in (dict_id, other, EPHEMERAL)]
    assert [(a, b) for a in objects for b in objects if b.startswith(a + "/")] == []
