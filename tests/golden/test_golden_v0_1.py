"""What 0.1 stored, exported and pickled is read by the code of today, and what is written today 0.1 can read.

The golden files were written by `write_v0_1.py`; what is in them stands in `contents_v0_1.py`. They are not to be
written again: a difference is one that users will find in their buckets.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

import s3dict
from s3dict import (
    Client,
    Dict,
    DictInfo,
    Entry,
    Error,
    IntegrityError,
    InvalidError,
    LockTimeoutError,
    NotFoundError,
    memoize,
)
from s3dict.testing import Clock
from s3dict.testing.memory import memory_bucket_of as bucket_of

from ..support.commands import answer
from . import contents_v0_1 as contents
from .contents_v0_1 import BUCKET, CREATOR, DICTS, LEASE, MODEST, NEW_KEY, OLD_KEY, PREFIX, SIMPLE, UNQUOTED, VALUES

T = TypeVar("T")

ERRORS = (
    *("AlreadyExistsError", "ConflictError", "DeserializationError", "Error", "IntegrityError", "InvalidError"),
    *("LockLostError", "LockTimeoutError", "NotFoundError", "PermissionDeniedError", "RequestSizeError"),
    *("SerializationError", "UnavailableError", "UncertainOutcomeError", "UnsupportedStoreError"),
)
FURTHER_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "UncertainOutcomeError": {"value": ["the", "value"]},
    "PermissionDeniedError": {
        "action": "s3:PutObject",
        "resource": "arn:aws:s3:::bucket/s3dict/*",
        "policy": "writer",
    },
    "UnavailableError": {"maybe_applied": False},
}

GOLDEN = Path(__file__).parent / "v0_1"
PROTOCOLS = ("protocol 2", "protocol 3", "protocol 4", "protocol 5")
FURTHER = ("signed", "arrays", "of-python", "segments", "memoized", "handles", "handles-as-keys", "locks", "renewed")
"""The dicts of PREFIX after those of DICTS."""
WRITE_ID = slice(6, 22)
"""Where the write id stands in an entry or tombstone."""


def body_of(field: dict[str, str]) -> bytes:
    return field["text"].encode() if "text" in field else base64.b64decode(field["base64"])


OBJECTS = {
    name: body_of(field) for name, field in json.loads((GOLDEN / "bucket.json").read_text(encoding="utf-8")).items()
}
"""The bucket: each object by its name."""
STORED: dict[str, Any] = json.loads((GOLDEN / "pickles.json").read_text(encoding="utf-8"))

same_python = pytest.mark.skipif(
    list(sys.version_info[:2]) != STORED["python"], reason="the pickle holds code, which is for another Python"
)
every_dict = pytest.mark.parametrize("which", DICTS, ids="/".join)


class Pickled:
    """Takes what is pickled out of the golden file."""

    def __init__(self, protocol: str) -> None:
        self._protocol = protocol

    def __call__(self, name: str) -> Any:
        return pickle.loads(base64.b64decode(STORED["pickles"][name][self._protocol]))


@pytest.fixture(params=PROTOCOLS)
def pickled(request: pytest.FixtureRequest) -> Pickled:
    return Pickled(request.param)


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The bucket as 0.1 left it, which is also what the environment describes."""
    settings = {"DRIVER": "memory", "BUCKET": BUCKET, "PREFIX": PREFIX}
    for name in ("ENVIRONMENT", "ENDPOINT_URL", "TIMEOUT", "SIGNING_KEYS"):
        monkeypatch.delenv(f"S3DICT_{name}", raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(f"S3DICT_{name}", value)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", CREATOR.removeprefix("lambda:"))
    bucket = bucket_of(client_of(), "the golden files")
    fill(bucket, OBJECTS)
    yield bucket
    fill(bucket, {})


@pytest.fixture
def new_bucket() -> Iterator[Any]:
    """A bucket in which there is nothing yet but what the stores were seen to honour."""
    bucket = bucket_of(Client(f"{BUCKET}-again", driver="memory"), "the golden files")
    fill(bucket, {name: OBJECTS[name] for name in (f"{MODEST}/store.json", f"{UNQUOTED}/store.json")})
    yield bucket
    fill(bucket, {})


@pytest.fixture
def client() -> Client:
    return client_of()


def client_of(prefix: str = PREFIX, bucket: str = BUCKET, **settings: Any) -> Client:
    return Client(bucket, prefix=prefix, driver="memory", **settings)


def fill(bucket: Any, objects: dict[str, bytes]) -> None:
    bucket.ahead = timedelta(0)
    for name in list(bucket.objects):
        bucket.remove(name)
    for name, body in objects.items():
        bucket.write(name, body)


def bodies(bucket: Any) -> dict[str, bytes]:
    return {name: bytes(held.body) for name, held in bucket.objects.items()}


def handle_of(which: tuple[str, str, str], **choice: Any) -> Dict[Any, Any]:
    prefix, environment, name = which
    return Dict.from_name(name, environment_name=environment, client=client_of(prefix), **choice)


def with_random(write_id: bytes, call: Callable[[], T]) -> T:
    """The call, to which all random bytes are those of this write id."""

    def urandom(size: int) -> bytes:
        assert size == len(write_id)
        return write_id

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.urandom", urandom)
        return call()


def write_id_of(handle: Dict[Any, Any], key: Any) -> bytes:
    entry = handle.entry(key)
    assert entry is not None
    return bytes.fromhex(entry.version.partition(".")[0])


def put_again(handle: Dict[Any, Any], entries: dict[Any, Any]) -> None:
    """Removes the entries, and puts each of them under the write id that it had."""
    write_ids = {key: write_id_of(handle, key) for key in entries}
    handle.clear()
    assert len(list(handle.keys())) == 0
    for key, value in entries.items():
        with_random(write_ids[key], lambda key=key, value=value: handle.put(key, value))  # type: ignore[misc]


def described(error: BaseException) -> tuple[Any, ...]:
    return type(error), error.args, str(error), vars(error)


def errors() -> dict[str, Error]:
    """The errors that `contents_v0_1.errors` has pickled, with the attributes of today."""
    made: dict[str, Error] = {}
    for name in ERRORS:
        kind, message = getattr(s3dict, name), f"the full message of {name}"
        made[name] = kind(f"the message of {name}")
        full = made[f"{name}, full"] = kind(message)
        full.dict_name, full.key_repr = "scores", "'alice'"
        full.failed_keys = ["a", ("b", 1)]
        full.completed = {"c": 3}
        full.uncertain = {"d": [4]}
        for attribute, value in FURTHER_ATTRIBUTES.get(name, {}).items():
            setattr(full, attribute, value)
    return made


def ulid(object_id: str) -> str:
    return object_id.removeprefix("di-").partition(":")[0]


def creation(handle: Dict[Any, Any]) -> str:
    """When the dict was created, as its manifest says it."""
    return handle.info().created_at.astimezone(UTC).isoformat()


# Dicts and their entries


@pytest.mark.parametrize("prefix", [PREFIX, MODEST, UNQUOTED])
def test_list_has_all_dicts(prefix: str) -> None:
    further = FURTHER if prefix == PREFIX else ()
    expected = [name for where, environment, name in DICTS if (where, environment) == (prefix, "main")]
    listed = Dict.objects.list(client=client_of(prefix))
    assert [handle.name for handle in listed] == [*reversed(further), *reversed(expected)]


@every_dict
def test_info_is_what_the_dict_was_created_with(which: tuple[str, str, str]) -> None:
    choice, _ = DICTS[which]
    seconds = list(DICTS).index(which) + 1
    assert handle_of(which, **choice).info() == DictInfo(
        name=which[2],
        created_at=contents.STARTED + timedelta(seconds=seconds),
        created_by=CREATOR,
        ttl=choice.get("ttl", timedelta(days=7)),
        codec=choice.get("codec", "cloudpickle"),
    )


@every_dict
def test_entries_are_read_one_by_one(which: tuple[str, str, str]) -> None:
    handle, (_, entries) = handle_of(which), DICTS[which]
    read = {key: handle[key] for key in entries}
    assert read == entries
    assert [type(value) for value in read.values()] == [type(value) for value in entries.values()]
    assert all(key in handle for key in entries)


@every_dict
def test_entries_are_read_together(which: tuple[str, str, str]) -> None:
    handle, (_, entries) = handle_of(which), DICTS[which]
    assert dict(handle.items()) == entries
    assert set(handle.keys()) == set(entries)
    assert len(list(handle.values())) == len(entries)
    assert handle.len() == len(entries)
    assert handle.get_many(entries) == entries


def test_entries_that_python_versions_pickle_differently_are_read() -> None:
    assert dict(Dict.from_name("of-python").items()) == contents.OF_PYTHON


def test_buffers_out_of_band_are_read() -> None:
    buffers = Dict.from_name("segments")["buffers"]
    assert buffers == contents.BUFFERS
    assert [type(buffer) for buffer in buffers] == [bytearray] * len(contents.BUFFERS)


def test_arrays_are_read_and_can_be_changed() -> None:
    pytest.importorskip("numpy", minversion="2")
    arrays = dict(Dict.from_name("arrays").items())
    assert {name: array.tolist() for name, array in arrays.items()} == contents.NUMBERS
    assert [array.dtype.name for array in arrays.values()] == list(arrays)
    assert all(array.flags.writeable for array in arrays.values())


def test_version_is_still_that_of_the_entry() -> None:
    values = Dict.from_name("values")
    entries = {key: values.entry(key) for key in VALUES}
    assert {key: entry.version for key, entry in entries.items() if entry is not None} == STORED["versions"]


def test_put_over_a_version_of_then_is_accepted() -> None:
    values = Dict.from_name("values")
    version = STORED["versions"]["text"]
    assert values.put("text", "new", if_version=version)
    assert not values.put("text", "newer", if_version=version)
    assert values["text"] == "new"


def test_signed_entries_are_verified_by_the_keys_that_signed_them() -> None:
    signed = Dict.from_name("signed", client=client_of(signing_keys=[NEW_KEY, OLD_KEY]))
    assert dict(signed.items()) == {"old": "signed with the old key", "new": ["signed with the new key"]}


def test_signed_entries_are_refused_by_other_keys() -> None:
    rotated = Dict.from_name("signed", client=client_of(signing_keys=[NEW_KEY]))
    assert rotated["new"] == ["signed with the new key"]
    with pytest.raises(IntegrityError, match="signed with none of the signing keys"):
        rotated.get("old")
    with pytest.raises(IntegrityError, match="signed with none of the signing keys"):
        Dict.from_name("values", client=client_of(signing_keys=[NEW_KEY])).get("text")


def test_tombstones_are_no_entries(bucket: Any) -> None:
    values = Dict.from_name("values", client=client_of(MODEST))
    assert len([name for name in bucket.objects if name.startswith(f"{MODEST}/sweep-8d/")]) == len(SIMPLE) + 2
    assert [values.contains(key) for key in contents.REMOVED] == [False, False]
    assert [values.put(key, "new", skip_if_exists=True) for key in contents.REMOVED] == [True, True]
    assert values.get_many(contents.REMOVED) == dict.fromkeys(contents.REMOVED, "new")


def test_deleted_dict_is_missing_and_can_be_created_again() -> None:
    client = client_of(MODEST)
    with pytest.raises(NotFoundError):
        Dict.from_name("deleted", client=client).hydrate()
    Dict.objects.create("deleted", client=client)
    assert Dict.from_name("deleted", client=client).len() == 0


def test_renewed_entries_are_read() -> None:
    assert dict(Dict.from_name("renewed").items()) == contents.RENEWED


def test_ephemeral_dict_is_read_by_its_id() -> None:
    (manifest,) = (json.loads(body) for name, body in OBJECTS.items() if name.startswith(f"{PREFIX}/ephemeral/"))
    ephemeral = Dict.from_id(manifest["id"])
    assert dict(ephemeral.items()) == {"k": "v"}
    info = ephemeral.info()
    assert (info.name, info.created_by, info.ttl) == (None, CREATOR, timedelta(days=7))


# Locks


def lock_fields(name: str) -> Any:
    """What the lock object says, which is the one that taking the lock changes."""
    bucket = bucket_of(client_of(), "the golden files")
    Clock(client_of()).advance(timedelta(seconds=LEASE + 2))
    with Dict.from_name("locks").lock(name, timeout=0):
        (path,) = (path for path, body in bodies(bucket).items() if body != OBJECTS[path])
    fill(bucket, OBJECTS)
    return json.loads(OBJECTS[path])


def test_lock_that_is_held_is_not_free_before_its_lease_is_over(client: Client) -> None:
    locks = Dict.from_name("locks")
    before = lock_fields("held")
    assert before["owner"] is not None
    with pytest.raises(LockTimeoutError), locks.lock("held", timeout=0):
        pass
    Clock(client).advance(timedelta(seconds=LEASE + 2))
    with locks.lock("held", timeout=0) as held:
        assert held.token > before["token"]


@pytest.mark.parametrize("name", ["free", "taken twice", "ahead"])
def test_lock_that_is_free_is_taken_with_a_greater_token(name: str) -> None:
    before = lock_fields(name)
    assert before["owner"] is None
    with Dict.from_name("locks").lock(name, timeout=0) as held:
        assert held.token > before["token"]


def test_lock_whose_token_is_ahead_goes_on_from_it() -> None:
    with Dict.from_name("locks").lock("ahead", timeout=0) as held:
        assert held.token == contents.AHEAD.timestamp() * 1000 + 1


def test_computed_value_is_not_computed_again() -> None:
    locks = Dict.from_name("locks")
    assert locks.get_or_compute("computed", lambda: 2) == 1
    del locks["computed"]
    assert locks.get_or_compute("computed", lambda: 2) == 2


def test_memoized_result_is_not_computed_again() -> None:
    def squared(number: int) -> int:
        raise AssertionError(f"{number} should have been found")

    squared.__module__, squared.__qualname__ = "__main__", "squared"
    assert memoize(Dict.from_name("memoized"))(squared)(3) == 9


# Handles, clients and the like inside of a dict


def test_handles_as_values_lead_to_their_dicts(client: Client) -> None:
    handles = Dict.from_name("handles", client=client)
    by_name, by_id, ephemeral = (handles[key] for key in ("by name", "by id", "ephemeral"))
    assert [handle.client for handle in (by_name, by_id, ephemeral)] == [client] * 3
    assert [dict(handle.items()) for handle in (by_name, by_id, ephemeral)] == [VALUES, VALUES, {"k": "v"}]
    elsewhere = handles["elsewhere"]
    assert elsewhere.client.prefix == MODEST
    assert dict(elsewhere.items()) == SIMPLE


def test_handles_and_client_in_a_list_are_the_readers(client: Client) -> None:
    first, owner, second = Dict.from_name("handles", client=client)["in a list"]
    assert first is second
    assert owner is client


def test_what_the_package_exports_is_read_as_a_value() -> None:
    handles = Dict.from_name("handles")
    assert (handles["info"], handles["entry"]) == (contents.INFO, contents.ENTRY)
    read, expected = handles["errors"], errors()
    assert list(map(described, read.values())) == list(map(described, expected.values()))


def test_handles_as_keys_are_found() -> None:
    values, handles = Dict.from_name("values"), Dict.from_name("handles-as-keys")
    assert handles[values] == "a key"
    assert handles["nested", values] == "inside of a tuple"
    (alone,) = (key for key in handles.keys() if isinstance(key, Dict))  # noqa: SIM118 (a Dict is no dict)
    assert alone.object_id == values.object_id


# Exports


@pytest.mark.parametrize(("form", "entries"), [("jsonl", contents.PLAIN), ("pickle", contents.PYTHON)])
def test_export_is_imported(form: str, entries: dict[Any, Any]) -> None:
    assert answer("import", "empty", str(GOLDEN / f"export.{form}"), "--format", form).exit_code == 0
    imported = dict(Dict.from_name("empty").items())
    handle = imported.pop("handle", None)
    assert imported == entries
    assert form == "jsonl" or repr(handle) == "Dict.from_name('values')"


def test_export_as_json_lines_is_written_as_then(tmp_path: Path) -> None:
    Dict.from_name("empty").update(contents.PLAIN)
    file = tmp_path / "export.jsonl"
    assert answer("export", "empty", str(file)).exit_code == 0
    first, *others = file.read_text(encoding="utf-8").splitlines()
    # 0.1 ignores the settings of the dict in the first line.
    fields = json.loads(first)
    assert fields.pop("dict") == {"name": "empty", "ttl_seconds": 604_800.0, "codec": "cloudpickle"}
    lines = [json.dumps(fields, ensure_ascii=False), *others]
    assert sorted(lines) == sorted((GOLDEN / "export.jsonl").read_text(encoding="utf-8").splitlines())


def test_export_as_pickles_has_a_newer_format_than_then(tmp_path: Path) -> None:
    Dict.from_name("empty").update({"text": 1})
    file = tmp_path / "export.pickle"
    assert answer("export", "empty", str(file), "--format", "pickle").exit_code == 0
    (first, rest), golden = file.read_bytes().split(b"\n", 1), (GOLDEN / "export.pickle").read_bytes()
    assert (golden.split(b"\n", 1)[0], first) == (b"s3dict pickle 1", b"s3dict pickle 2")
    pickles = io.BytesIO(rest)
    assert pickle.load(pickles) == {"name": "empty", "ttl_seconds": 604_800.0, "codec": "cloudpickle"}
    assert pickle.load(pickles) == ("text", 1)


# What is written today


@every_dict
def test_entries_are_written_as_then(bucket: Any, which: tuple[str, str, str]) -> None:
    put_again(handle_of(which), DICTS[which][1])
    assert bodies(bucket) == OBJECTS


def test_buffers_out_of_band_are_written_as_then(bucket: Any) -> None:
    put_again(Dict.from_name("segments"), {"buffers": [pickle.PickleBuffer(buffer) for buffer in contents.BUFFERS]})
    assert bodies(bucket) == OBJECTS


def test_arrays_are_written_as_then(bucket: Any) -> None:
    numpy = pytest.importorskip("numpy", minversion="2")
    arrays = {name: numpy.array(numbers, dtype=name) for name, numbers in contents.NUMBERS.items()}
    put_again(Dict.from_name("arrays"), arrays)
    assert bodies(bucket) == OBJECTS


def test_signed_entries_are_written_as_then(bucket: Any) -> None:
    for signer, key in ((OLD_KEY, "old"), (NEW_KEY, "new")):
        signed = Dict.from_name("signed", client=client_of(signing_keys=[signer]))
        value, write_id = signed[key], write_id_of(signed, key)
        assert signed.pop(key) == value
        with_random(write_id, lambda signed=signed, key=key, value=value: signed.put(key, value))  # type: ignore[misc]
    assert bodies(bucket) == OBJECTS


def test_entries_are_renewed_as_then(bucket: Any, client: Client) -> None:
    renewed, clock = Dict.from_name("renewed", client=client), Clock(client)
    put_again(renewed, contents.RENEWED)
    assert bodies(bucket) != OBJECTS
    for times in (1, 2):
        clock.advance(contents.NEAR_ITS_END)
        due = [key for key, value in contents.RENEWED.items() if value >= times]
        assert [renewed[key] for key in due] == [contents.RENEWED[key] for key in due]
    assert bodies(bucket) == OBJECTS


def test_tombstones_are_written_as_then(bucket: Any) -> None:
    values = Dict.from_name("values", client=client_of(MODEST))
    for key in contents.REMOVED:
        values[key] = "again"
        (path,) = (path for path, body in bodies(bucket).items() if body != OBJECTS[path])
        assert with_random(OBJECTS[path][WRITE_ID], lambda key=key: values.pop(key)) == "again"  # type: ignore[misc]
    assert bodies(bucket) == OBJECTS


def test_mark_of_a_deleted_dict_is_written_as_then(bucket: Any) -> None:
    client, path = client_of(MODEST), f"{MODEST}/manifests/main/deleted.json"
    Dict.objects.create("deleted", client=client)
    Dict.objects.delete("deleted", client=client)
    mark, before = bodies(bucket)[path].decode(), OBJECTS[path].decode()
    write_id, write_id_before = (json.loads(text)["write_id"] for text in (mark, before))
    assert mark != before
    assert mark.replace(write_id, write_id_before) == before


@every_dict
def test_manifest_and_names_are_written_as_then(new_bucket: Any, which: tuple[str, str, str]) -> None:
    (prefix, environment, name), (choice, entries) = which, DICTS[which]
    before = handle_of(which)
    client = client_of(prefix, new_bucket.name)
    made = Dict.from_name(name, environment_name=environment, client=client, create_if_missing=True, **choice).hydrate()
    # All but the pickled ones among the keys are in their objects' names.
    for key, value in entries.items():
        made[key] = value
    ids = ulid(made.object_id), ulid(before.hydrate().object_id)
    moments = creation(made), creation(before)
    path = f"{prefix}/manifests/{environment}/{name}.json"
    written = {path.replace(*ids): body for path, body in bodies(new_bucket).items()}
    assert without_new_capability(written[path]).replace(*ids).replace(*moments) == OBJECTS[path].decode()
    assert without_new_capability(written[f"{prefix}/store.json"]) == OBJECTS[f"{prefix}/store.json"].decode()
    assert {name for name in written if ids[1] in name} == {name for name in OBJECTS if ids[1] in name} - (
        tombstones() if prefix == MODEST else set()
    )


def without_new_capability(record: bytes) -> str:
    """Return the record without the capability that 0.1 does not know, and ignores."""
    return re.sub(r',\n +"conditional_bulk_delete": true', "", record.decode())


def tombstones() -> set[str]:
    least = min(len(body) for name, body in OBJECTS.items() if "/entries/" in name)
    return {name for name, body in OBJECTS.items() if len(body) == least}


def test_ephemeral_dict_is_written_as_then(new_bucket: Any) -> None:
    (path,) = (name for name in OBJECTS if name.startswith(f"{PREFIX}/ephemeral/"))
    before = Dict.from_id(json.loads(OBJECTS[path])["id"])
    with Dict.ephemeral(client=client_of(bucket=new_bucket.name)) as made:
        made["k"] = "v"
        written = bodies(new_bucket)
        moments = creation(made), creation(before)
        ids = ulid(made.object_id), ulid(before.object_id)
    manifest = without_new_capability(written[path.replace(*reversed(ids))])
    assert manifest.replace(*ids).replace(*moments) == OBJECTS[path].decode()
    assert {name.replace(*ids) for name in written if ids[0] in name} == {name for name in OBJECTS if ids[1] in name}


def test_locks_are_written_as_then(bucket: Any, client: Client) -> None:
    def shape(body: bytes) -> dict[str, object]:
        """Return the fields that 0.1 reads, without those that are random; it ignores all others."""
        fields = json.loads(body)
        random = {name: f"<{name}>" for name in ("write_id", "owner", "token") if fields[name] is not None}
        return {name: {**fields, **random}[name] for name in ("format", "owner", "write_id", "lease", "token")}

    def changed() -> list[tuple[dict[str, object], dict[str, object]]]:
        pairs = [(shape(body), shape(OBJECTS[path])) for path, body in bodies(bucket).items() if body != OBJECTS[path]]
        assert len(pairs) == 1
        return pairs

    locks = Dict.from_name("locks", client=client)
    with locks.lock("free", lease=LEASE):
        pass
    assert [new == old for new, old in changed()] == [True]
    fill(bucket, OBJECTS)
    Clock(client).advance(timedelta(seconds=LEASE + 2))
    with locks.lock("held", lease=LEASE):
        assert [new == old for new, old in changed()] == [True]


# Pickles of handles, clients, errors and the rest


def test_pickled_handle_by_name_leads_to_the_dict(pickled: Pickled) -> None:
    handle = pickled("handle by name")
    assert (handle.name, repr(handle)) == ("values", "Dict.from_name('values')")
    assert handle.client is pickled("client memory")
    with pytest.raises(InvalidError, match="has not been looked up yet"):
        handle.object_id  # noqa: B018 (it raises)
    assert dict(handle.items()) == VALUES


def test_pickled_handle_of_an_environment_leads_to_the_dict(pickled: Pickled) -> None:
    handle = pickled("handle by name, of an environment")
    assert repr(handle) == "Dict.from_name('values', environment_name='staging')"
    assert dict(handle.items()) == SIMPLE


def test_pickled_handle_of_a_dict_to_be_made_makes_it_as_was_chosen(pickled: Pickled) -> None:
    handle = pickled("handle by name, to be made")
    assert repr(handle) == "Dict.from_name('to-be-made', environment_name='staging')"
    info = handle.info()
    assert (info.name, info.ttl, info.codec) == ("to-be-made", timedelta(hours=1), "json")


def test_pickled_handle_by_name_makes_no_dict_unasked(pickled: Pickled) -> None:
    Dict.objects.delete("values")
    with pytest.raises(NotFoundError):
        pickled("handle by name").hydrate()


def test_pickled_choice_of_a_ttl_is_checked(pickled: Pickled) -> None:
    assert pickled("handle by name, kept").info().ttl is None
    Dict.objects.delete("kept")
    Dict.objects.create("kept", ttl=timedelta(days=1))
    with pytest.raises(InvalidError, match="was created with ttl=1 day"):
        pickled("handle by name, kept").hydrate()


@pytest.mark.parametrize("name", ["by name, without a client", "by id, without a client"])
def test_pickled_handle_without_a_client_takes_that_of_the_environment(pickled: Pickled, name: str) -> None:
    handle = pickled(f"handle {name}")
    assert handle.client is Client.from_env()
    assert dict(handle.items()) == VALUES


@pytest.mark.parametrize("name", ["by id", "hydrated", "hydrated by asyncio"])
def test_pickled_handle_by_id_leads_to_that_very_dict(pickled: Pickled, name: str) -> None:
    handle = pickled(f"handle {name}")
    assert handle.object_id == Dict.from_name("values").hydrate().object_id
    assert handle.name == "values"
    assert handle.client is pickled("client memory")
    assert dict(handle.items()) == VALUES
    Dict.objects.delete("values")
    Dict.objects.create("values")
    with pytest.raises(NotFoundError):
        pickled(f"handle {name}").hydrate()


def test_pickled_handle_of_a_listing_leads_to_the_dict(pickled: Pickled) -> None:
    handle = pickled("handle listed")
    assert handle.object_id == Dict.from_name("values", environment_name="staging").hydrate().object_id
    assert dict(handle.items()) == SIMPLE


def test_pickled_handle_of_an_ephemeral_dict_leads_to_it(pickled: Pickled) -> None:
    handle = pickled("handle ephemeral")
    assert handle.name is None
    assert handle.object_id in {json.loads(body)["id"] for name, body in OBJECTS.items() if "/ephemeral/" in name[:20]}
    assert dict(handle.items()) == {"k": "v"}


@pytest.mark.parametrize("name", ["context", "context, without a client"])
def test_pickled_context_makes_an_ephemeral_dict(pickled: Pickled, name: str) -> None:
    with pickled(f"handle {name}") as handle:
        handle["k"] = 1
        assert (handle.name, dict(handle.items())) == (None, {"k": 1})
        assert (handle.client.bucket, handle.client.prefix) == (BUCKET, PREFIX)


def test_pickled_mapping_is_one_of_the_dict(pickled: Pickled) -> None:
    assert pickled("handle mapping") == VALUES


@pytest.mark.parametrize("protocol", [*PROTOCOLS, "cloudpickle"])
def test_pickled_operator_of_a_handle_reads(protocol: str) -> None:
    assert Pickled(protocol)("handle bound")("text") == VALUES["text"]


def test_pickled_handles_and_client_in_a_list_are_the_same_objects(pickled: Pickled) -> None:
    first, client, second = pickled("handle in a list")
    assert first is second
    assert client is first.client


def test_pickled_type_of_a_dict_is_the_same(pickled: Pickled) -> None:
    assert pickled("handle alias") == Dict[str, int]


@pytest.mark.parametrize("name", contents.CLIENTS)
def test_pickled_client_has_all_settings_but_its_secrets(pickled: Pickled, name: str) -> None:
    settings = contents.CLIENTS[name]
    client = pickled(f"client {name}")
    # In one process, clients of the same settings are unpickled as one.
    assert client is pickle.loads(pickle.dumps(Client(**settings)))
    for setting, default in (("bucket", None), ("prefix", "s3dict"), ("endpoint_url", None)):
        assert getattr(client, setting) == settings.get(setting, default)
    assert client.environment_name == settings.get("environment_name", "main")
    others = [{**settings, "concurrency": 8}, {**settings, "timeout": timedelta(seconds=8)}]
    assert all(client is not pickle.loads(pickle.dumps(Client(**other))) for other in others)


@pytest.mark.parametrize("name", errors())
def test_pickled_error_has_all_its_attributes(pickled: Pickled, name: str) -> None:
    assert described(pickled(f"error {name}")) == described(errors()[name])


def test_all_errors_are_among_the_pickled_ones() -> None:
    pickled = {name.partition(" ")[2].partition(",")[0] for name in STORED["pickles"] if name.startswith("error ")}
    assert pickled == set(ERRORS)


def test_pickled_info_and_entry_are_equal_to_what_they_were(pickled: Pickled) -> None:
    info, nothing, entry = (pickled(name) for name in ("info", "info of nothing", "entry"))
    assert (info, nothing, entry) == (contents.INFO, contents.INFO_OF_NOTHING, contents.ENTRY)
    assert (type(info), type(entry)) == (DictInfo, Entry)


def test_pickled_names_are_those_of_the_package(pickled: Pickled) -> None:
    names = [name.partition(" ")[2] for name in STORED["pickles"] if name.startswith("name ")]
    assert len(names) == 20
    assert [pickled(f"name {name}") for name in names] == [getattr(s3dict, name) for name in names]


def test_pickled_types_are_those_that_handles_give(pickled: Pickled, client: Client) -> None:
    handle = Dict.from_name("values", client=client)
    assert pickled("type Lock") is type(handle.lock("lock"))
    assert pickled("type DictMapping") is type(handle.as_mapping())
    assert pickled("type DictManager") is type(Dict.objects)
    assert pickled("type EphemeralDict") is type(Dict.ephemeral())


def test_pickled_functions_are_those_of_the_class(pickled: Pickled) -> None:
    assert pickled("function from_name") is Dict.from_name
    assert pickled("function from_id") is Dict.from_id


def test_modules_pickled_by_their_names_are_found() -> None:
    assert Pickled("cloudpickle")("module s3dict") is s3dict
    assert Pickled("cloudpickle")("module s3dict.errors").Error is s3dict.Error


@same_python
def test_function_pickled_with_its_code_uses_the_handle_and_the_errors() -> None:
    found = Pickled("cloudpickle")("by value found")
    assert found("text") == (VALUES["text"], "Dict")
    Dict.objects.delete("values")
    assert "does not exist" in Pickled("cloudpickle")("by value found")("text")


@same_python
def test_memoized_function_pickled_with_its_code_finds_its_results() -> None:
    squared = Pickled("cloudpickle")("by value squared")
    assert squared.key(3) in Dict.from_name("memoized")
    Dict.from_name("memoized")[squared.key(3)] = "found"
    assert (squared(3), squared(4)) == ("found", 16)
