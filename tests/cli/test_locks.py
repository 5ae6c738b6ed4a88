"""``s3dict locks`` and ``unlock``."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from s3dict import Dict, LockLostError
from s3dict._admin import usage
from s3dict._core.conditional import get_object

from ..support.commands import answer

pytestmark = pytest.mark.usefixtures("configured")


@pytest.fixture
def d() -> Dict[Any, Any]:
    return Dict.from_name("d", create_if_missing=True).hydrate()


def test_locks_of_a_dict_are_shown_while_they_are_held(d: Dict[Any, Any]) -> None:
    where = f"Dict 'd' in environment 'main' of s3://{d.client.bucket}/s3dict"
    assert answer("locks", "d").stderr == f"No lock of {where} is held.\n"
    lock = d.lock("nightly", owner="host 7")
    with lock as held:
        shown = answer("locks", "d")
        [line] = shown.stdout.splitlines()
        assert line.split("\t")[:3] == ["nightly", "lock", "host 7"]
        [described] = json.loads(answer("locks", "d", "--json").stdout)
        assert (described["name"], described["token"]) == ("nightly", held.token)
    assert answer("locks", "d").stdout == ""


def test_lock_of_a_computation_is_shown_by_its_key(d: Dict[Any, Any]) -> None:
    seen: list[str] = []
    d.get_or_compute("key", lambda: seen.append(answer("locks", "d").stdout))
    assert seen[0].split("\t")[:2] == ["'key'", "compute"]


@pytest.mark.parametrize("by_id", [False, True])
def test_unlock_takes_the_lock_from_its_holder(d: Dict[Any, Any], by_id: bool) -> None:
    lock = d.lock("nightly")
    held = lock.acquire()
    assert held is not None
    [described] = json.loads(answer("locks", "d", "--json").stdout)
    result = answer("unlock", "d", described["id"][:12] if by_id else "nightly", "--yes")
    assert (result.exit_code, "Unlocked lock 'nightly'" in result.stderr) == (0, True)
    assert lock.locked() is False
    assert held.renew() is False
    with pytest.raises(LockLostError):
        lock.release()
    with lock as successor:
        assert successor.token > held.token + 1


def test_unlock_asks_first(d: Dict[Any, Any]) -> None:
    with d.lock("nightly", owner="host 7") as held:
        refused = answer("unlock", "d", "nightly", stdin="n\n")
        assert refused.exit_code == 1
        assert "away from host 7?" in refused.stderr
        assert held.renew() is True


def test_unlock_of_a_free_lock_is_an_error(d: Dict[Any, Any]) -> None:
    with d.lock("nightly"):
        pass
    result = answer("unlock", "d", "nightly", "--yes")
    assert (result.exit_code, "No lock 'nightly' of Dict 'd'" in str(result.error)) == (1, True)


def test_locks_are_read_side_by_side(d: Dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=30)

    async def read(*arguments: Any) -> Any:
        both.wait()
        return await get_object(*arguments)

    monkeypatch.setattr(usage, "get_object", read)
    with d.lock("first"), d.lock("second"):
        assert {lock.details.name for lock in usage.held_locks(d)} == {"first", "second"}
