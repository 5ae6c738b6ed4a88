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
    def test_entries_are_over_when_their_time_has_passed(self, d: Dict[str, int]) -> None:
        clock = Clock(d.client)
        clock.advance(timedelta(days=6))
        assert "a" in d  # which keeps it
        clock.advance(timedelta(days=6))
        assert {"a": 1} == dict(d.items())
        clock.advance(timedelta(days=8, seconds=1))
        assert "a" not in d

    def test_a_lock_is_lost_when_its_holder_was_stopped_for_too_long(self, d: Dict[str, int]) -> None:
        with pytest.raises(LockLostError), d.lock("job", lease=30) as held:
            Clock(d.client).advance(timedelta(seconds=32))
            assert held.lost
            with d.lock("another", timeout=0):
                pass

    def test_a_handle_looks_again_whether_its_dict_is_there(self, d: Dict[str, int]) -> None:
        Dict.objects.delete("d")
        d["b"] = 2
        Clock(d.client).advance(timedelta(seconds=61))
        again: Dict[str, int] = Dict.from_name("d", create_if_missing=True)
        again["c"] = 3
        with pytest.raises(LookupError):
            d["b"] = 2

    def test_it_tells_the_stores_time(self, d: Dict[str, int]) -> None:
        clock = Clock(d.client)
        before = clock.now()
        clock.advance(timedelta(days=1))
        assert timedelta(days=1) <= clock.now() - before < timedelta(days=1, minutes=5)
        entry = d.entry("a")
        assert entry is not None
        assert timedelta(days=1) <= clock.now() - entry.last_modified < timedelta(days=1, minutes=5)

    def test_it_does_not_go_back(self, d: Dict[str, int]) -> None:
        with pytest.raises(InvalidError, match="does not go back"):
            Clock(d.client).advance(timedelta(seconds=-1))

    def test_the_clock_of_a_real_store_cannot_be_moved(self) -> None:
        with pytest.raises(InvalidError, match="Clock takes a client in memory, and this is Client\\('b'"):
            Clock(Client("b", driver="boto3"))


class TestFaults:
    @pytest.mark.parametrize("kind", ["lost-request", "lost-response", "unreachable"])
    def test_a_store_that_does_not_answer_is_unavailable(self, d: Dict[str, int], kind: Any) -> None:
        with faults(d.client, kind) as fault:
            uses: list[Callable[[], object]] = [lambda: d.get("a"), lambda: d.put("a", 2), lambda: "a" in d, d.len]
            for use in uses:
                with pytest.raises(UnavailableError):
                    use()
        assert fault.hits > 4  # a put is sent again
        assert (2 if kind == "lost-response" else 1) == d["a"]

    def test_asyncio_meets_them_too(self, d: Dict[str, int]) -> None:
        with faults(d.client, "lost-response"), pytest.raises(UnavailableError):
            asyncio.run(d.put.aio("a", 2))
        assert 2 == d["a"]

    def test_what_is_lost_once_is_sent_again(self, d: Dict[str, int]) -> None:
        with faults(d.client, "lost-response", operation="put", times=1) as fault:
            d["a"] = 2
            assert d.put("b", 3, skip_if_exists=True)
        assert 1 == fault.hits
        assert {"a": 2, "b": 3} == dict(d.items())

    def test_a_conditional_put_without_any_answer_is_uncertain(self, d: Dict[str, int]) -> None:
        with faults(d.client, "lost-response"), pytest.raises(UncertainOutcomeError):
            d.put("b", 2, skip_if_exists=True)
        assert 2 == d["b"]

    def test_a_pop_whose_answer_is_lost_has_the_value(self, d: Dict[str, int]) -> None:
        with (
            faults(d.client, "lost-response", operation="delete"),
            pytest.raises(UncertainOutcomeError) as caught,
        ):
            d.pop("a")
        assert 1 == caught.value.value

    def test_writes_can_be_denied_alone(self, d: Dict[str, int]) -> None:
        with faults(d.client, "denied", operation="put"), faults(d.client, "denied", operation="delete"):
            assert 1 == d["a"]
            for use in (lambda: d.put("a", 2), lambda: d.put("b", 2, skip_if_exists=True), lambda: d.pop("a"), d.clear):
                with pytest.raises(PermissionDeniedError, match="denied"):
                    use()
        assert {"a": 1} == dict(d.items())

    def test_listings_can_fail_alone(self, d: Dict[str, int]) -> None:
        with faults(d.client, "unreachable", operation="list"):
            assert 1 == d["a"]
            with pytest.raises(UnavailableError):
                list(d.keys())

    def test_a_lock_that_cannot_be_taken(self, d: Dict[str, int]) -> None:
        with d.lock("job"), faults(d.client, "unreachable", operation="get"), pytest.raises(UnavailableError):
            d.lock("other", timeout=0).__enter__()
        with d.lock("job", timeout=0):
            pass

    def test_the_first_of_several_comes_first_and_each_ends_alone(self, d: Dict[str, int]) -> None:
        with faults(d.client, "denied", operation="get", times=1) as first:
            with faults(d.client, "unreachable", operation="get") as second:
                with pytest.raises(PermissionDeniedError):
                    d.get("a")
                with pytest.raises(UnavailableError):
                    d.get("a")
            assert (1, 1) == (first.hits, second.hits)
            assert 1 == d["a"]

    def test_equal_faults_are_told_apart(self, d: Dict[str, int]) -> None:
        with faults(d.client, "denied", operation="get"):
            with faults(d.client, "denied", operation="get"):
                pass
            with pytest.raises(PermissionDeniedError):
                d.get("a")

    def test_only_clients_in_memory_have_them(self) -> None:
        with (
            pytest.raises(InvalidError, match="faults takes a client in memory"),
            faults(Client("b", driver="boto3"), "denied"),
        ):
            pass

    def test_less_than_one_time_is_refused(self, d: Dict[str, int]) -> None:
        with pytest.raises(InvalidError, match="times is 1 or more"), faults(d.client, "denied", times=0):
            pass


def test_a_held_lock_keeps_others_out_in_memory(d: Dict[str, int]) -> None:
    """What users rely on when they test with locks: the fixture's client is a real store in this respect."""
    from concurrent.futures import ThreadPoolExecutor

    with d.lock("job"), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(d.lock("job", timeout=0).__enter__)
        assert isinstance(waiting.exception(), LockTimeoutError)
