"""The clock and the faults of ``s3dict.testing`` do to users' tests what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from s3dict import (
    Client,
    Dict,
    InvalidError,
    LockLostError,
    LockTimeoutError,
    PermissionDeniedError,
    UnavailableError,
    UncertainOutcomeError,
)
from s3dict.testing import Clock, faults


@pytest.fixture
def d(s3dict_memory_client: Client) -> Dict[str, int]:
    """A dict with one entry, looked up."""
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, ttl=timedelta(days=7))
    d["a"] = 1
    return d


class TestClock:
    def test_entries_expire_when_the_clock_passes_their_ttl(self, d: Dict[str, int]) -> None:
        clock = Clock(d.client)
        clock.advance(timedelta(days=6))
        assert "a" in d  # which keeps it
        clock.advance(timedelta(days=6))
        assert dict(d.items()) == {"a": 1}
        clock.advance(timedelta(days=8, seconds=1))
        assert "a" not in d

    def test_lock_is_lost_when_its_holder_was_stopped_for_too_long(self, d: Dict[str, int]) -> None:
        with pytest.raises(LockLostError), d.lock("job", lease=30) as held:
            Clock(d.client).advance(timedelta(seconds=32))
            assert held.lost
            with d.lock("another", timeout=0):
                pass

    def test_handle_revalidates_its_manifest_after_a_minute(self, d: Dict[str, int]) -> None:
        Dict.objects.delete("d")
        d["b"] = 2
        Clock(d.client).advance(timedelta(seconds=61))
        again: Dict[str, int] = Dict.from_name("d", create_if_missing=True)
        again["c"] = 3
        with pytest.raises(LookupError):
            d["b"] = 2

    def test_clock_returns_the_time_of_the_store(self, d: Dict[str, int]) -> None:
        clock = Clock(d.client)
        before = clock.now()
        clock.advance(timedelta(days=1))
        assert timedelta(days=1) <= clock.now() - before < timedelta(days=1, minutes=5)
        entry = d.entry("a")
        assert entry is not None
        assert timedelta(days=1) <= clock.now() - entry.last_modified < timedelta(days=1, minutes=5)

    def test_clock_rejects_negative_steps(self, d: Dict[str, int]) -> None:
        with pytest.raises(InvalidError, match="does not go back"):
            Clock(d.client).advance(timedelta(seconds=-1))

    def test_clock_of_a_real_store_cannot_be_moved(self) -> None:
        with pytest.raises(InvalidError, match="Clock requires a client in memory, not Client\\('b'"):
            Clock(Client("b", driver="boto3"))


class TestFaults:
    @pytest.mark.parametrize("kind", ["lost-request", "lost-response", "unreachable"])
    def test_persistent_fault_is_unavailable(self, d: Dict[str, int], kind: Any) -> None:
        with faults(d.client, kind) as fault:
            uses: list[Callable[[], object]] = [lambda: d.get("a"), lambda: d.put("a", 2), lambda: "a" in d, d.len]
            for use in uses:
                with pytest.raises(UnavailableError):
                    use()
        assert fault.hits > 4  # a put is repeated
        assert d["a"] == (2 if kind == "lost-response" else 1)

    def test_faults_apply_to_asyncio(self, d: Dict[str, int]) -> None:
        with faults(d.client, "lost-response"), pytest.raises(UnavailableError):
            asyncio.run(d.put.aio("a", 2))
        assert d["a"] == 2

    def test_request_lost_once_is_retried(self, d: Dict[str, int]) -> None:
        with faults(d.client, "lost-response", operation="put", times=1) as fault:
            d["a"] = 2
            assert d.put("b", 3, skip_if_exists=True)
        assert fault.hits == 1
        assert dict(d.items()) == {"a": 2, "b": 3}

    def test_conditional_put_without_any_response_is_uncertain(self, d: Dict[str, int]) -> None:
        with faults(d.client, "lost-response"), pytest.raises(UncertainOutcomeError):
            d.put("b", 2, skip_if_exists=True)
        assert d["b"] == 2

    def test_pop_with_a_lost_response_carries_the_value(self, d: Dict[str, int]) -> None:
        with (
            faults(d.client, "lost-response", operation="delete"),
            pytest.raises(UncertainOutcomeError) as caught,
        ):
            d.pop("a")
        assert caught.value.value == 1

    def test_writes_can_be_denied_alone(self, d: Dict[str, int]) -> None:
        with faults(d.client, "denied", operation="put"), faults(d.client, "denied", operation="delete"):
            assert d["a"] == 1
            for use in (lambda: d.put("a", 2), lambda: d.put("b", 2, skip_if_exists=True), lambda: d.pop("a"), d.clear):
                with pytest.raises(PermissionDeniedError, match="denied"):
                    use()
        assert dict(d.items()) == {"a": 1}

    def test_listings_can_fail_alone(self, d: Dict[str, int]) -> None:
        with faults(d.client, "unreachable", operation="list"):
            assert d["a"] == 1
            with pytest.raises(UnavailableError):
                list(d.keys())

    def test_lock_acquisition_fails_under_a_fault(self, d: Dict[str, int]) -> None:
        with d.lock("job"), faults(d.client, "unreachable", operation="get"), pytest.raises(UnavailableError):
            d.lock("other", timeout=0).__enter__()
        with d.lock("job", timeout=0):
            pass

    def test_faults_apply_in_order_and_end_separately(self, d: Dict[str, int]) -> None:
        with faults(d.client, "denied", operation="get", times=1) as first:
            with faults(d.client, "unreachable", operation="get") as second:
                with pytest.raises(PermissionDeniedError):
                    d.get("a")
                with pytest.raises(UnavailableError):
                    d.get("a")
            assert (first.hits, second.hits) == (1, 1)
            assert d["a"] == 1

    def test_equal_faults_are_distinct(self, d: Dict[str, int]) -> None:
        with faults(d.client, "denied", operation="get"):
            with faults(d.client, "denied", operation="get"):
                pass
            with pytest.raises(PermissionDeniedError):
                d.get("a")

    def test_faults_require_the_memory_driver(self) -> None:
        with (
            pytest.raises(InvalidError, match="faults requires a client in memory"),
            faults(Client("b", driver="boto3"), "denied"),
        ):
            pass

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"kind": "denied", "times": 0}, "times must be 1 or more"),
            ({"kind": "denied", "times": "2"}, "times must be 1 or more"),
            ({"kind": "denied", "operation": "puts"}, "Unknown operation 'puts': choose one of get, put, delete, list"),
            ({"kind": "lost-answer"}, "Unknown fault 'lost-answer': choose one of lost-request, lost-response"),
        ],
    )
    def test_invalid_fault_is_rejected(self, d: Dict[str, int], arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidError, match=message), faults(d.client, **arguments):
            pass


def test_held_lock_keeps_others_out_in_memory(d: Dict[str, int]) -> None:
    """What users rely on when they test with locks: the fixture's client is a real store in this respect."""
    from concurrent.futures import ThreadPoolExecutor

    with d.lock("job"), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(d.lock("job", timeout=0).__enter__)
        assert isinstance(waiting.exception(), LockTimeoutError)
