"""``s3dict export --all`` and ``import --all``: a backup of all dicts of an environment."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from s3dict import Client, Dict, InvalidError, NotFoundError, UnavailableError
from s3dict._admin import backup, expired, usage
from s3dict._admin.backup import read_backup, write_backup
from s3dict._admin.usage import list_dicts
from s3dict._core.entries import Entries
from s3dict.testing import Clock

from ..support.commands import answer
from ..support.modes import Endpoint

pytestmark = pytest.mark.backends("memory", "moto", "seaweedfs", "seaweedfs-rust")


class Unpicklable:
    """A value, and a key, that fails the test where it is unpickled."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("unpickled",)


def filled(client: Client) -> dict[str, dict[Any, Any]]:
    contents: dict[str, dict[Any, Any]] = {
        "any": {"a": {1, 2}, ("b", 1): None, None: b"bytes", "k" * 300: [1.5], 3 + 4j: "pickled key"},
        "json": {"a": {"b": [1, None]}},
        "bytes": {1: b"\x00\xff"},
        "empty": {},
    }
    options: dict[str, Any] = {"any": {"ttl": None}, "json": {"codec": "json"}, "bytes": {"codec": "bytes"}}
    for name, entries in contents.items():
        d: Dict[Any, Any] = Dict.from_name(name, create_if_missing=True, client=client, **options.get(name, {}))
        d.hydrate().update(entries)
    return contents


def backup_of(client: Client, environment: str = "main") -> bytes:
    sink = io.BytesIO()
    list(write_backup(client, environment, sink, print))
    return sink.getvalue()


def restore(client: Client, data: bytes, environment: str = "restored") -> tuple[int, int]:
    done = list(read_backup(client, environment, io.BytesIO(data), skip_existing=False))
    return sum(batch.entries for batch in done), sum(batch.skipped for batch in done)


def test_backup_restores_entries_ttl_and_codec(client: Client) -> None:
    contents = filled(client)
    assert restore(client, backup_of(client)) == (7, 0)
    for name, entries in contents.items():
        old = Dict.from_name(name, client=client).info()
        restored: Dict[Any, Any] = Dict.from_name(name, environment_name="restored", client=client)
        assert dict(restored.items()) == entries
        assert (restored.info().ttl, restored.info().codec) == (old.ttl, old.codec)
        assert all(restored.contains(key) for key in entries)
    assert backup_of(client, "restored").count(b"\n") == backup_of(client).count(b"\n")


def test_backup_keeps_the_deadline_of_an_entry(client: Client) -> None:
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client)
    d.put("a", 1, ttl=timedelta(hours=1))
    before = d.entry("a")
    restore(client, backup_of(client))
    after = Dict.from_name("d", environment_name="restored", client=client).entry("a")
    assert before is not None
    assert after is not None
    assert after.expires_at == before.expires_at


@pytest.mark.backends("memory")
def test_entry_that_expired_since_the_backup_stays_absent(client: Client) -> None:
    Dict.from_name("d", create_if_missing=True, client=client).put("a", 1, ttl=60)
    data = backup_of(client)
    Clock(client).advance(timedelta(minutes=5))
    restore(client, data)
    assert "a" not in Dict.from_name("d", environment_name="restored", client=client)


def test_nothing_is_deserialized(client: Client) -> None:
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    d["a"] = Unpicklable()
    data = backup_of(client)
    assert restore(client, data) == (1, 0)
    assert [json.loads(line)["key"] for line in backup_of(client, "restored").splitlines()[2:-1]] == [
        json.loads(line)["key"] for line in data.splitlines()[2:-1]
    ]


def test_restored_entries_are_signed_with_the_keys_of_the_client(client: Client) -> None:
    Dict.from_name("d", create_if_missing=True, client=client)["a"] = 1
    signing = Client(
        client.bucket,
        prefix=client.prefix,
        endpoint_url=client.endpoint_url,
        driver=client.driver,
        signing_keys=["a-key-of-16-bytes-or-more"],
    )
    restore(signing, backup_of(client))
    assert Dict.from_name("d", environment_name="restored", client=signing)["a"] == 1


def test_skip_existing_keeps_entries(client: Client) -> None:
    d: Dict[str, str] = Dict.from_name("d", create_if_missing=True, client=client)
    d.update(a="old", b="old")
    data = backup_of(client)
    d["a"] = "new"
    del d["b"]
    [done] = read_backup(client, "main", io.BytesIO(data), skip_existing=True)
    assert (done.entries, done.skipped) == (2, 1)
    assert dict(d.items()) == {"a": "new", "b": "old"}


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{}\n",
        b'{"key": "YQ==", "value": 1}\n',
        b'{"s3dict": "backup 1"}\n{"key": "YQ==", "inline": true, "segments": []}\n',
        b'{"s3dict": "backup 1"}\n{"dict": "d", "ttl_seconds": null, "codec": "json"}\n{"key": "!", "inline": true}\n',
        b'{"s3dict": "backup 1"}\n[1]\n',
        b'{"s3dict": "backup 1"}\n{"dict": "d"}\n',
        b'{"s3dict": "backup 1"}\n{"dict": "d", "ttl_sec',
        b'{"s3dict": "backup 1"}\n{"dict": "d", "ttl_seconds": NaN, "codec": "json"}\n',
        b'{"s3dict": "backup 1"}\n{"dict": "d", "ttl_seconds": null, "codec": "json"}\n'
        b'{"key": "YWE=", "inline": true, "segments": ["MQ=="], "expires_at": 1e30}\n',
        b'{"s3dict": "backup 1"}\n' + b"[" * 200_000,
        b"[" * 200_000,
    ],
)
@pytest.mark.backends("memory")
def test_damaged_backup_is_rejected(client: Client, damaged: bytes) -> None:
    with pytest.raises(InvalidError):
        restore(client, damaged)


@pytest.mark.backends("memory")
def test_backup_that_is_cut_off_between_two_lines_is_reported(configured: Client, tmp_path: Path) -> None:
    filled(configured)
    *lines, last = backup_of(configured).splitlines(keepends=True)
    assert json.loads(last) == {"end": True}
    file = tmp_path / "backup.jsonl"
    file.write_bytes(b"".join(lines))
    done = answer("import", "--all", str(file), "--env", "restored")
    assert (done.exit_code, done.stdout) == (1, "")
    assert str(done.error) == "The file is cut off: its last line is missing. What it contains was imported"
    assert sum(d.len() for d in Dict.objects.list(environment_name="restored")) == 7
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.backends("memory")
def test_dict_that_is_deleted_during_the_export_is_left_out(configured: Client) -> None:
    """A handle checks after a minute whether its dict still exists."""
    for name in ("last", "first"):
        Dict.from_name(name, create_if_missing=True)["k"] = 1
    sink = io.BytesIO()
    for name, number in write_backup(configured, "main", sink, print):
        if (name, number) == ("first", 1):
            Dict.objects.delete("last", client=Client(configured.bucket, driver="memory"))
            Clock(configured).advance(timedelta(minutes=2))
    assert restore(configured, sink.getvalue()) == (1, 0)
    assert [d.name for d in Dict.objects.list(environment_name="restored")] == ["first"]


@pytest.mark.backends("memory")
def test_bucket_that_is_deleted_during_the_export_is_an_error(moto: Endpoint) -> None:
    s3: Any = boto3.client("s3", endpoint_url=moto.url)
    name = f"vanishing-{uuid4().hex}"
    s3.create_bucket(Bucket=name)
    client = Client(name, endpoint_url=moto.url, driver="boto3")
    for dict_name in ("last", "first"):
        Dict.from_name(dict_name, create_if_missing=True, client=client)["k"] = 1
    sink = io.BytesIO()
    export = write_backup(client, "main", sink, print)
    next(export)
    for stored in s3.list_objects_v2(Bucket=name)["Contents"]:
        s3.delete_object(Bucket=name, Key=stored["Key"])
    s3.delete_bucket(Bucket=name)
    with pytest.raises(NotFoundError, match=name):
        list(export)
    assert b'"end"' not in sink.getvalue()


@pytest.mark.backends("memory")
@pytest.mark.parametrize("command", ["list --size", "list --size --json", "gc --expired --yes"])
def test_dict_that_is_deleted_during_a_command_is_left_out(
    configured: Client, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed(*arguments: Any) -> list[Dict[Any, Any]]:
        found = list_dicts(*arguments)
        Dict.objects.delete("gone", client=Client(configured.bucket, driver="memory"))
        Clock(configured).advance(timedelta(minutes=2))
        return found

    for name in ("gone", "kept"):
        Dict.from_name(name, create_if_missing=True).put("k", 1, ttl=60)
    for module in (usage, expired):
        monkeypatch.setattr(module, "list_dicts", listed)
    done = answer(*command.split())
    assert (done.exit_code, done.error) == (0, None)
    assert "gone" not in done.stdout


@pytest.mark.backends("memory")
def test_dict_with_another_ttl_is_rejected(client: Client) -> None:
    filled(client)
    data = backup_of(client)
    Dict.from_name("json", create_if_missing=True, codec="bytes", environment_name="restored", client=client).hydrate()
    with pytest.raises(InvalidError, match="codec"):
        restore(client, data)


@pytest.mark.backends("memory")
def test_commands_back_up_and_restore_an_environment(configured: Client, tmp_path: Path) -> None:
    contents = filled(configured)
    file = tmp_path / "backup.jsonl"
    exported = answer("export", "--all", str(file))
    assert (exported.exit_code, exported.stderr) == (0, f"Exported 4 dicts with 7 entries to {file}.\n")
    for name in contents:
        answer("delete", name, "--yes")
    imported = answer("import", "--all", str(file))
    assert (imported.exit_code, imported.stderr) == (0, "Imported 7 entries.\n")
    assert {name: dict(Dict.from_name(name).items()) for name in contents} == contents
    again = answer("import", "--all", "-", "--skip-existing", "--json", stdin=file.read_bytes())
    assert again.json == {"entries": 7, "skipped": 7}


@pytest.fixture
def interrupted(configured: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A backup whose import failed in the middle of its second dict, three entries at a time."""
    monkeypatch.setattr(backup, "BATCH", 3)
    file = tmp_path / "backup.jsonl"
    for name in "abc":
        Dict.from_name(name, create_if_missing=True).update({f"{name}{n}": n for n in range(7)})
    assert answer("export", "--all", str(file)).exit_code == 0
    for name in "abc":
        answer("delete", name, "--yes")
    with monkeypatch.context() as during:
        during.setattr(Entries, "put", _failing_after(11, Entries.put))
        failed = answer("import", "--all", str(file))
    assert "--resume continues after the first" in str(failed.error)
    return file


def _failing_after(number: int, put: Any) -> Any:
    async def failing(*arguments: Any) -> Any:
        nonlocal number
        number -= 1
        if number < 0:
            raise UnavailableError("planted")
        return await put(*arguments)

    return failing


@pytest.mark.backends("memory")
def test_interrupted_import_of_all_dicts_resumes(interrupted: Path) -> None:
    kept = {handle.name: set(handle.keys()) for handle in Dict.objects.list()}
    resumed = answer("import", "--all", str(interrupted), "--resume", "--json")
    assert resumed.json["entries"] < 21
    assert len(kept) == 2
    assert {h.name: dict(h.items()) for h in Dict.objects.list()} == {
        name: {f"{name}{n}": n for n in range(7)} for name in "abc"
    }
    assert not interrupted.with_name("backup.jsonl.progress").exists()


@pytest.mark.backends("memory")
def test_import_of_all_dicts_is_not_resumed_into_a_replaced_dict(interrupted: Path) -> None:
    for handle in Dict.objects.list():
        answer("delete", str(handle.name), "--yes")
    elsewhere = answer("import", "--all", str(interrupted), "--resume", "--env", "other")
    assert "delete it to start over" in str(elsewhere.error)
    failed = answer("import", "--all", str(interrupted), "--resume")
    assert (failed.exit_code, "was deleted since" in str(failed.error)) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "--all", "backup", "file"),
        ("export", "--all", "backup", "--format", "pickle"),
        ("import", "--all", "-", "--resume"),
        ("import", "d"),
        ("import", "not/a/name", "file"),
        ("export", "not/a/name"),
    ],
)
@pytest.mark.backends("memory")
def test_contradictory_arguments_are_a_usage_error(configured: Client, arguments: tuple[str, ...]) -> None:
    assert answer(*arguments).exit_code == 2
