"""A damaged manifest hides no other dict: what lists dicts goes on with all others, and names the damaged one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from s3dict import Client, Dict, IntegrityError
from s3dict._stores.shared.threads import run_blocking

from ..support.commands import answer
from ..support.modes import Harness

BODIES = {
    "cut": b'{"format": 1',
    "foreign": b"<html></html>",
    "newer": b'{"format": 9}',
}
pytestmark = pytest.mark.backends("memory")


def plant(client: Client, name: str, body: bytes) -> None:
    run_blocking(client._store(aio=False).put(client._layout.manifest("main", name), body))


@pytest.fixture
def damaged(configured: Client) -> Client:
    for name in ("first", "second"):
        Dict.from_name(name, create_if_missing=True, client=configured)["k"] = name
    plant(configured, "bad", BODIES["foreign"])
    return configured


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_list_raises_after_it_has_read_all_others(harness: Harness, body: bytes) -> None:
    for name in ("first", "second"):
        await harness.objects.create(name, client=harness.client)
    plant(harness.client, "bad", body)
    with pytest.raises(IntegrityError, match="Dict 'bad' in environment 'main' cannot be read: ") as caught:
        await harness.objects.list(client=harness.client)
    assert (list(caught.value.completed), caught.value.failed_keys) == (["second", "first"], ["bad"])
    assert caught.value.dict_name == "bad"
    assert caught.value.completed["first"].info().name == "first"


async def test_error_names_all_damaged_dicts(harness: Harness) -> None:
    for number in range(7):
        plant(harness.client, f"bad{number}", b"{}")
    with pytest.raises(
        IntegrityError, match=r"^7 dicts cannot be read: 'bad0', 'bad1', .*'bad4' …. Dict 'bad0' .*format number"
    ) as e:
        await harness.objects.list(client=harness.client)
    assert e.value.failed_keys == [f"bad{number}" for number in range(7)]


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("arguments", ["list", "list --size", "top --times 1", "gc --expired --yes", "export --all -"])
def test_commands_go_on_and_exit_with_1(arguments: str) -> None:
    done = answer(*arguments.split())
    assert done.exit_code == 1
    assert "Dict 'bad' in environment 'main' cannot be read: " in str(done.error)
    if not arguments.startswith("gc"):
        assert all(name in done.stdout for name in ("first", "second"))


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize(("arguments", "key"), [("list --json", None), ("top --times 1 --json", "dicts")])
def test_json_has_the_error_of_a_damaged_dict(arguments: str, key: str | None) -> None:
    done = answer(*arguments.split())
    output: Any = json.loads(done.stdout)
    errors = {found["name"]: "error" in found for found in (output[key] if key else output)}
    assert (done.exit_code, errors) == (1, {"first": False, "second": False, "bad": True})


@pytest.mark.usefixtures("damaged")
def test_backup_of_the_others_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "backup"
    assert answer("export", "--all", str(file)).exit_code == 1
    assert answer("import", "--all", str(file), "--env", "restored").exit_code == 0
    assert sorted(str(d.name) for d in Dict.objects.list(environment_name="restored")) == ["first", "second"]
