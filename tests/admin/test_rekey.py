"""``s3dict rekey`` signs the entries of a dict with the newest key."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from s3dict import Client, Dict, IntegrityError, InvalidError
from s3dict._admin.rekey import KeyState, rekey
from s3dict._admin.usage import list_entries, shown_key
from s3dict._format.entry import pack
from s3dict._stores.base import StoredObject
from s3dict._stores.shared.threads import run_blocking

from ..support.commands import answer

OLD, NEW, OTHER = "old-key-of-16-bytes", "new-key-of-16-bytes", "another-key-of-16-bytes"
pytestmark = pytest.mark.backends("memory", "moto", "seaweedfs", "seaweedfs-rust")


def with_keys(client: Client, *keys: str) -> Client:
    return Client(
        client.bucket,
        prefix=client.prefix,
        endpoint_url=client.endpoint_url,
        driver=client.driver,
        signing_keys=keys,
    )


def opened(client: Client, *keys: str) -> Dict[Any, Any]:
    return Dict.from_name("d", create_if_missing=True, client=with_keys(client, *keys)).hydrate()


def states(handle: Dict[Any, Any], **options: bool) -> dict[str, tuple[KeyState, bool]]:
    done = rekey(handle, **options)
    return {shown_key(handle, entry.path): (entry.state, entry.signed) for entry in done}


def test_entries_of_an_older_key_are_signed_with_the_newest(client: Client) -> None:
    opened(client, OLD).update({"a": 1, "b": [2], "k" * 300: 3})
    opened(client, NEW)["c"] = 4
    both = opened(client, NEW, OLD)
    assert sorted(states(both).values(), key=repr).count((KeyState.OLDER, True)) == 3
    assert set(states(both).values()) == {(KeyState.NEWEST, False)}
    assert dict(opened(client, NEW).items()) == {"a": 1, "b": [2], "k" * 300: 3, "c": 4}


def test_dry_run_writes_nothing(client: Client) -> None:
    old = opened(client, OLD)
    old["a"] = 1
    before = old.entry("a")
    assert states(opened(client, NEW, OLD), dry_run=True) == {"'a'": (KeyState.OLDER, False)}
    assert old.entry("a") == before


def test_unsigned_entries_are_signed_only_on_request(client: Client) -> None:
    opened(client)["a"] = 1
    signing = opened(client, NEW)
    assert states(signing) == {"'a'": (KeyState.UNSIGNED, False)}
    with pytest.raises(IntegrityError):
        signing["a"]
    assert states(signing, sign_unsigned=True) == {"'a'": (KeyState.UNSIGNED, True)}
    assert signing["a"] == 1


def test_entry_of_an_unknown_key_is_kept_and_reported(client: Client) -> None:
    other = opened(client, OTHER)
    other["a"] = 1
    for options in ({}, {"sign_unsigned": True}):
        assert states(opened(client, NEW, OLD), **options) == {"'a'": (KeyState.UNKNOWN, False)}
    assert other["a"] == 1


@pytest.mark.backends("memory")
@pytest.mark.parametrize("damage", [lambda _: b"foreign", lambda body: body[:-1] + b"?"])
def test_damaged_entry_is_reported_and_the_others_are_signed(client: Client, damage: Callable[[bytes], bytes]) -> None:
    old = opened(client, OLD)
    old.update(a=1, b=2)
    store = run_blocking(old._open()).store
    [path] = [path for path in list_entries(old) if shown_key(old, path) == "'a'"]
    found = run_blocking(store.get(path))
    assert isinstance(found, StoredObject)
    run_blocking(store.put(path, damage(bytes(found.body))))
    assert states(opened(client, NEW, OLD)) == {"'a'": (KeyState.UNKNOWN, False), "'b'": (KeyState.OLDER, True)}


@pytest.mark.backends("memory")
def test_errors_of_iterations_name_the_key(configured: Client) -> None:
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True)
    for key in ("short", "k" * 300):
        d[key] = 1
        [path] = list_entries(d)
        run_blocking(run_blocking(d._open()).store.put(path, b"foreign"))
        expected = f"(Dict 'd', key {shown_key(d, path)})"
        for arguments in (["items", "d"], ["export", "d"], ["export", "--all", "-"]):
            error = answer(*arguments).error
            assert isinstance(error, IntegrityError)
            assert str(error).endswith(expected)
        with pytest.raises(IntegrityError, match=re.escape(expected)):
            list(d.values())
        d.clear()
    assert configured.bucket


def test_value_is_not_deserialized(client: Client) -> None:
    class Explosive:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("unpickled",))

    opened(client, OLD)["a"] = Explosive()
    assert states(opened(client, NEW, OLD)) == {"'a'": (KeyState.OLDER, True)}


def test_expiry_of_an_entry_is_kept(client: Client) -> None:
    old = opened(client, OLD)
    old.put("a", 1, ttl=timedelta(hours=1))
    before = old.entry("a")
    assert states(opened(client, NEW, OLD)) == {"'a'": (KeyState.OLDER, True)}
    after = opened(client, NEW).entry("a")
    assert before is not None
    assert before.expires_at is not None
    assert after is not None
    assert after.expires_at is not None
    assert abs(after.expires_at - before.expires_at) <= timedelta(seconds=1)


def test_concurrent_write_is_kept(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(client, OLD)["a"] = "read"
    new = opened(client, NEW)

    def overtaken(*arguments: Any) -> bytes:
        new["a"] = "written concurrently"
        return pack(*arguments)

    monkeypatch.setattr("s3dict._admin.rekey.pack", overtaken)
    assert states(opened(client, NEW, OLD)) == {"'a'": (KeyState.NEWEST, False)}
    assert new["a"] == "written concurrently"


def test_client_without_keys_is_rejected(client: Client) -> None:
    with pytest.raises(InvalidError, match="S3DICT_SIGNING_KEYS"):
        list(rekey(opened(client)))


@pytest.mark.backends("memory")
def test_command_reports_entries_that_carry_another_key(configured: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in ((OLD, "a"), (OTHER, "b")):
        monkeypatch.setenv("S3DICT_SIGNING_KEYS", key)
        Dict.from_name("d", create_if_missing=True)[value] = value
    monkeypatch.setenv("S3DICT_SIGNING_KEYS", f"{NEW},{OLD}")
    done = answer("rekey", "d")
    assert (done.exit_code, done.stdout) == (1, "'b'\tunknown key\n")
    assert "signed 1 entry, 0 had the newest signature already, 1 carry another one" in done.stderr
    again = answer("rekey", "d", "--json")
    assert again.json == {
        "entries": {"signed": 0, "newest key": 1, "older key": 0, "unsigned": 0, "unknown key": 1},
        "remaining": [{"key": "'b'", "signed_with": "unknown key"}],
    }
