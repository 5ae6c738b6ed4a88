"""Manifests and `store.json`: what was written is read, and anything else is an IntegrityError that names the path."""

# Hypothesis wants the ends of a range naive, and adds the time zone.
# ruff: noqa: DTZ001

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3dict._format.capabilities import Capabilities
from s3dict._format.layout import DictId
from s3dict._format.manifest import (
    FORMAT,
    FORMAT_WITH_FANOUT,
    Manifest,
    decode_manifest,
    decode_store,
    encode_deleted,
    encode_store_json,
)
from s3dict.errors import IntegrityError

from .test_layout import ULID, names, ulids

PATH = "s3dict/manifests/main/scores.json"
ALL = Capabilities(quoted_etags=True, conditional_delete=True, conditional_copy=True)
MANIFEST = Manifest(
    dict_id=DictId(ULID, "main", "scores"),
    created_at=datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
    created_by="alice@host",
    ttl=timedelta(days=7),
    codec="cloudpickle",
    capabilities=ALL,
)

capabilities = st.builds(Capabilities, st.booleans(), st.booleans(), st.booleans())
offsets = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
manifests = st.builds(
    Manifest,
    dict_id=st.builds(DictId, ulids) | st.builds(DictId, ulids, names, names),
    created_at=st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=offsets),
    created_by=st.none() | st.text(),
    ttl=st.none() | st.timedeltas(timedelta(minutes=1), timedelta(days=367)),
    codec=st.sampled_from(["cloudpickle", "json", "bytes"]),
    capabilities=capabilities,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=9), values, max_size=3),
    max_leaves=6,
)


def refuses(data: bytes) -> str:
    """The message with which both readers refuse the data, which names the path."""
    with pytest.raises(IntegrityError) as manifest:
        decode_manifest(data, PATH)
    with pytest.raises(IntegrityError) as store:
        decode_store(data, PATH)
    assert PATH in str(manifest.value)
    assert PATH in str(store.value)
    return str(manifest.value)


def fields_of(manifest: Manifest) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(manifest.encode())
    return fields


@given(manifests)
def test_manifest_comes_back(manifest: Manifest) -> None:
    assert decode_manifest(manifest.encode(), PATH) == manifest


def test_manifest_is_json_that_people_can_read() -> None:
    assert fields_of(MANIFEST) == {
        "format": 1,
        "id": f"di-{ULID}:main:scores",
        "name": "scores",
        "environment": "main",
        "created_at": "2024-02-29T12:30:00+00:00",
        "created_by": "alice@host",
        "ttl_seconds": 604800.0,
        "codec": "cloudpickle",
        "store": {"quoted_etags": True, "conditional_delete": True, "conditional_copy": True},
    }


@given(capabilities)
def test_capabilities_round_trip(seen: Capabilities) -> None:
    assert decode_store(encode_store_json(seen), PATH) == seen


def test_tombstone_is_not_a_manifest() -> None:
    assert decode_manifest(encode_deleted("0123"), PATH) is None


def test_marks_of_two_deletions_differ() -> None:
    assert encode_deleted("0123") != encode_deleted("4567")


@given(st.binary(max_size=100))
@example(b"\xff\xfe")
@example(b"{" * 100)
def test_any_bytes_are_an_integrity_error(data: bytes) -> None:
    refuses(data)


@pytest.mark.parametrize("opening", [b"[", b'{"format":'])
def test_deep_nesting_is_an_integrity_error(opening: bytes) -> None:
    refuses(opening * 200_000)


@given(json_values)
def test_any_json_is_an_integrity_error(value: Any) -> None:
    refuses(json.dumps(value).encode())


@pytest.mark.parametrize("newer", [FORMAT_WITH_FANOUT + 1, 10**30])
def test_newer_format_says_that_an_upgrade_helps(newer: int) -> None:
    newest = json.dumps(fields_of(MANIFEST) | {"format": newer}).encode()
    assert "upgrade s3-shared-dict" in refuses(newest)


def test_damaged_object_may_be_deleted_and_a_newer_one_may_not() -> None:
    damaged = fields_of(MANIFEST)
    del damaged["store"]
    for data in (b"", b"{", b"[]", json.dumps(damaged).encode()):
        assert refuses(data).endswith("Restore the object, or delete it, which deletes the dict")
        with pytest.raises(IntegrityError, match=r"Delete it, and the capabilities of the store are probed again$"):
            decode_store(data, "s3dict/store.json")
    newer = json.dumps({"format": FORMAT_WITH_FANOUT + 1}).encode()
    assert "delete" not in refuses(newer)
    with pytest.raises(IntegrityError, match=r"upgrade s3-shared-dict$"):
        decode_store(newer, "s3dict/store.json")


@pytest.mark.parametrize("older", [0, -1, True, 1.0, "1", None])
def test_format_that_never_was_is_an_integrity_error(older: Any) -> None:
    refuses(json.dumps(fields_of(MANIFEST) | {"format": older}).encode())


def manifest_error(data: bytes) -> str:
    with pytest.raises(IntegrityError) as error:
        decode_manifest(data, PATH)
    return str(error.value)


@pytest.mark.parametrize("field", ["format", "id", "created_at", "created_by", "ttl_seconds", "codec", "store"])
def test_missing_field_is_an_integrity_error_that_names_the_path(field: str) -> None:
    fields = fields_of(MANIFEST)
    del fields[field]
    assert PATH in manifest_error(json.dumps(fields).encode())


WRONG: dict[str, list[Any]] = {
    "id": [None, 3, [], f"di-{ULID}:main", f"di-{ULID}:../..:x", "di-x"],
    "created_at": [None, 0, "yesterday", "2024-02-29T12:30:00", "2024-02-30T00:00:00+00:00"],
    "created_by": [3, [], {}],
    "ttl_seconds": [0, -1, 59.9, 1e12, 1e300, "604800", [], float("nan"), float("inf")],
    "codec": [None, "pickle", [], {}, 3],
    "store": [None, [], {}, "x", {"quoted_etags": True}, {"quoted_etags": 1}],
}


@pytest.mark.parametrize(
    ("field", "wrong"), [(field, wrong) for field, wrongs in WRONG.items() for wrong in wrongs], ids=repr
)
def test_field_that_is_wrong_is_an_integrity_error_that_names_the_path(field: str, wrong: Any) -> None:
    assert PATH in manifest_error(json.dumps(fields_of(MANIFEST) | {field: wrong}).encode())


@given(st.sampled_from(sorted(fields_of(MANIFEST))), json_values)
def test_field_of_anything_is_read_or_an_integrity_error(field: str, value: Any) -> None:
    data = json.dumps(fields_of(MANIFEST) | {field: value}).encode()
    try:
        manifest = decode_manifest(data, PATH)
    except IntegrityError as error:
        refusal = str(error)
    else:
        assert manifest is not None
        assert decode_manifest(manifest.encode(), PATH) == manifest
        return
    assert PATH in refusal


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_instant_outside_of_utc_is_an_integrity_error_that_names_the_path(instant: str) -> None:
    assert PATH in manifest_error(json.dumps(fields_of(MANIFEST) | {"created_at": instant}).encode())


@pytest.mark.parametrize("store", [None, [], {}, {"quoted_etags": True}, {"quoted_etags": "yes"}], ids=repr)
def test_store_json_that_says_nothing_is_an_integrity_error_that_names_the_path(store: Any) -> None:
    with pytest.raises(IntegrityError) as error:
        decode_store(json.dumps({"format": FORMAT, "store": store}).encode(), PATH)
    assert PATH in str(error.value)


@pytest.mark.parametrize(("quoted", "spelling"), [(True, '"abc"'), (False, "abc")])
def test_etag_is_spelled_as_the_store_compares_it(quoted: bool, spelling: str) -> None:
    assert Capabilities(quoted, True, True).if_match('"abc"') == spelling
