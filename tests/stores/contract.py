"""What every store of s3dict must do: one class of tests, run by `test_contract` over each store.

The stores for asyncio subclass `AsyncStoreContract`, whose ``make_store`` is called inside the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from s3dict._stores.base import (
    PAGE_SIZE,
    DeleteResult,
    NotModified,
    ObjectMeta,
    ObjectStore,
    PreconditionFailed,
    PutResult,
    StoredObject,
)
from s3dict._stores.shared.threads import run_blocking

__all__ = ["AsyncStoreContract", "StoreContract"]

R = TypeVar("R")
_PRECONDITION_FAILED = PreconditionFailed()
_NO_ETAG = '"00000000000000000000000000000000"'
_SECONDS = timedelta(seconds=60)


def _test(body: Callable[[Any, ObjectStore], Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """One implementation for both kinds of store: the body, run to its end in the way of the subclass."""

    def test(self: StoreContract, make_store: Callable[[], ObjectStore]) -> None:
        async def call() -> None:
            await body(self, make_store())

        self.run(call())

    test.__name__, test.__doc__ = body.__name__, body.__doc__
    return test


class StoreContract:
    """What every blocking store must do. It needs a fixture ``make_store``, whose stores are empty under ``prefix``."""

    prefix = "contract/"
    copies_on_condition = True
    """False for a store that does not honour the two conditions of `copy`; the probe finds that out."""

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return run_blocking(coroutine)

    @_test
    async def test_get_returns_what_was_put(self, store: ObjectStore) -> None:
        body = bytes(range(256)) * 5
        written = await store.put(self.prefix + "a", body)
        assert isinstance(written, PutResult)
        found = await self._found(store, "a")
        assert (body, written.etag, len(body)) == (found.body, found.etag, found.size)

    @_test
    async def test_empty_object_is_an_object(self, store: ObjectStore) -> None:
        await store.put(self.prefix + "a", b"")
        found = await self._found(store, "a")
        assert (found.body, found.size) == (b"", 0)

    @_test
    async def test_missing_object_is_none(self, store: ObjectStore) -> None:
        assert await store.get(self.prefix + "missing") is None
        assert await store.get(self.prefix + "missing", byte_range=(0, 9)) is None
        assert await store.head(self.prefix + "missing") is None

    @_test
    async def test_later_put_replaces_an_earlier_one(self, store: ObjectStore) -> None:
        for body in (b"first", b"second"):
            await store.put(self.prefix + "a", body)
        assert (await self._found(store, "a")).body == b"second"

    @_test
    async def test_different_bytes_have_different_etags(self, store: ObjectStore) -> None:
        first = await store.put(self.prefix + "a", b"first")
        second = await store.put(self.prefix + "a", b"second")
        assert first != second

    @_test
    async def test_head_returns_all_but_the_body(self, store: ObjectStore) -> None:
        await store.put(self.prefix + "a", b"12345")
        head, found = await store.head(self.prefix + "a"), await self._found(store, "a")
        assert head is not None
        assert (b"", 5, found.etag, found.last_modified) == (head.body, head.size, head.etag, head.last_modified)

    @_test
    async def test_clock_is_the_stores_own_and_aware(self, store: ObjectStore) -> None:
        await store.put(self.prefix + "a", b"")
        found = await self._found(store, "a")
        assert found.date.utcoffset() is not None
        assert -_SECONDS < found.date - found.last_modified < _SECONDS

    @_test
    async def test_ranged_get_returns_its_bytes_and_the_whole_size(self, store: ObjectStore) -> None:
        await store.put(self.prefix + "a", b"0123456789")
        found = await self._found(store, "a", byte_range=(2, 4))
        assert (found.body, found.size) == (b"234", 10)

    @_test
    async def test_range_ends_where_the_object_does(self, store: ObjectStore) -> None:
        await store.put(self.prefix + "a", b"0123")
        assert (await self._found(store, "a", byte_range=(0, 99))).body == b"0123"

    @_test
    async def test_range_of_an_empty_object_is_empty(self, store: ObjectStore) -> None:
        await store.put(self.prefix + "a", b"")
        assert (await self._found(store, "a", byte_range=(0, 99))).body == b""

    @_test
    async def test_unchanged_object_is_not_modified(self, store: ObjectStore) -> None:
        await store.put(self.prefix + "a", b"1")
        etag = (await self._found(store, "a")).etag
        assert await store.get(self.prefix + "a", if_none_match=etag) == NotModified()
        await store.put(self.prefix + "a", b"2")
        assert isinstance(await store.get(self.prefix + "a", if_none_match=etag), StoredObject)

    @_test
    async def test_if_none_match_creates_and_never_replaces(self, store: ObjectStore) -> None:
        assert isinstance(await store.put(self.prefix + "a", b"1", if_none_match=True), PutResult)
        assert await store.put(self.prefix + "a", b"2", if_none_match=True) == _PRECONDITION_FAILED
        assert (await self._found(store, "a")).body == b"1"

    @_test
    async def test_if_match_replaces_only_the_version_it_names(self, store: ObjectStore) -> None:
        await store.put(self.prefix + "a", b"1")
        etag = (await self._found(store, "a")).etag
        assert isinstance(await store.put(self.prefix + "a", b"2", if_match=etag), PutResult)
        assert await store.put(self.prefix + "a", b"3", if_match=etag) == _PRECONDITION_FAILED
        assert (await self._found(store, "a")).body == b"2"

    @_test
    async def test_if_match_on_a_missing_object_is_rejected(self, store: ObjectStore) -> None:
        assert await store.put(self.prefix + "missing", b"1", if_match=_NO_ETAG) == _PRECONDITION_FAILED
        assert await store.delete(self.prefix + "missing", if_match=_NO_ETAG) == _PRECONDITION_FAILED

    @_test
    async def test_delete_removes_and_may_be_repeated(self, store: ObjectStore) -> None:
        await store.put(self.prefix + "a", b"1")
        for _ in range(2):
            assert await store.delete(self.prefix + "a") == DeleteResult()
        assert await store.get(self.prefix + "a") is None

    @_test
    async def test_delete_if_match_removes_only_the_version_it_names(self, store: ObjectStore) -> None:
        await store.put(self.prefix + "a", b"1")
        assert await store.delete(self.prefix + "a", if_match=_NO_ETAG) == _PRECONDITION_FAILED
        etag = (await self._found(store, "a")).etag
        assert await store.delete(self.prefix + "a", if_match=etag) == DeleteResult()
        assert await store.get(self.prefix + "a") is None

    @_test
    async def test_delete_many_removes_existing_objects(self, store: ObjectStore) -> None:
        paths = [f"{self.prefix}{name}" for name in "abc"]
        for path in paths[:2]:
            await store.put(path, b"1")
        assert await store.delete_many(paths) == ()
        assert await self._listing(store) == []

    @_test
    async def test_copy_writes_only_where_both_conditions_hold(self, store: ObjectStore) -> None:
        if not self.copies_on_condition:
            pytest.skip("this store does not honour the conditions of CopyObject; its capabilities say so")
        await store.put(self.prefix + "a", b"1")
        etag = (await self._found(store, "a")).etag
        for source, target in ((_NO_ETAG, etag), (etag, _NO_ETAG)):
            assert await store.copy(self.prefix + "a", source_if_match=source, if_match=target) == _PRECONDITION_FAILED
        assert isinstance(await store.copy(self.prefix + "a", source_if_match=etag, if_match=etag), PutResult)
        assert (await self._found(store, "a")).body == b"1"

    @_test
    async def test_listing_is_of_its_prefix_and_in_order(self, store: ObjectStore) -> None:
        for name in ("b", "a", "c.d", "b2", "c"):
            await store.put(f"{self.prefix}in/{name}", name.encode())
        await store.put(self.prefix + "inside", b"")
        page = await store.list_page(self.prefix + "in/")
        assert [f"{self.prefix}in/{name}" for name in ("a", "b", "b2", "c", "c.d")] == [o.path for o in page.objects]
        assert [o.size for o in page.objects] == [1, 1, 2, 1, 3]
        assert not page.is_truncated

    @_test
    async def test_listing_of_nothing_is_empty(self, store: ObjectStore) -> None:
        page = await store.list_page(self.prefix + "nothing/")
        assert (page.objects, page.is_truncated) == ((), False)

    @_test
    async def test_folder_is_listed_with_its_objects_and_folders(self, store: ObjectStore) -> None:
        for name in ("a", "b", "c/1", "c/d/2", "e/3"):
            await store.put(f"{self.prefix}in/{name}", b"")
        objects, folders = await self._folder(store, "in/")
        assert sorted(o.path for o in objects) == [f"{self.prefix}in/a", f"{self.prefix}in/b"]
        assert sorted(folders) == [f"{self.prefix}in/c/", f"{self.prefix}in/e/"]
        assert await self._folder(store, "nothing/") == ([], [])

    @_test
    async def test_listing_keeps_to_its_range(self, store: ObjectStore) -> None:
        for number in range(10):
            await store.put(f"{self.prefix}{number:032x}.k", b"")
        start_after, end_before = f"{self.prefix}{3:032x}.k", f"{self.prefix}{7:032x}"
        page = await store.list_page(self.prefix, start_after=start_after, end_before=end_before)
        assert [f"{self.prefix}{number:032x}.k" for number in (4, 5, 6)] == [o.path for o in page.objects]
        assert not page.is_truncated

    @_test
    async def test_range_may_begin_at_a_name_that_does_not_exist(self, store: ObjectStore) -> None:
        for digit in "08f":
            await store.put(f"{self.prefix}{digit * 32}.k", b"")
        page = await store.list_page(self.prefix, start_after=f"{self.prefix}80000000")
        assert [f"{self.prefix}{digit * 32}.k" for digit in "8f"] == [o.path for o in page.objects]

    @_test
    async def test_listing_comes_in_pages_of_a_thousand(self, store: ObjectStore) -> None:
        names = [f"{self.prefix}{number:06}" for number in range(PAGE_SIZE + 5)]
        async for _ in store.runtime.map(lambda name: store.put(name, b""), names, 16):
            pass
        first = await store.list_page(self.prefix)
        rest = await store.list_page(self.prefix, start_after=first.objects[-1].path)
        assert (
            len(first.objects),
            first.is_truncated,
            len(rest.objects),
            rest.is_truncated,
        ) == (PAGE_SIZE, True, 5, False)
        assert [o.path for o in (*first.objects, *rest.objects)] == names
        continued = await store.list_page(self.prefix, first.token)
        assert (continued.objects, continued.is_truncated, continued.token) == (rest.objects, False, None)
        assert sorted(o.path for o in (await self._folder(store, ""))[0]) == names
        assert await store.delete_many(names[:PAGE_SIZE]) == ()
        assert await self._listing(store) == names[PAGE_SIZE:]

    @_test
    async def test_map_calls_for_every_item_and_never_more_at_once_than_allowed(self, store: ObjectStore) -> None:
        in_flight: set[int] = set()
        most = 0

        async def double(number: int) -> int:
            nonlocal most
            in_flight.add(number)
            most = max(most, len(in_flight))
            await store.runtime.sleep(0.001)
            in_flight.discard(number)
            return 2 * number

        assert sorted([result async for result in store.runtime.map(double, range(40), 4)]) == [
            2 * n for n in range(40)
        ]
        assert 1 < most <= 4

    @_test
    async def test_map_takes_items_only_as_fast_as_calls_end(self, store: ObjectStore) -> None:
        taken = 0

        def items() -> Iterator[int]:
            nonlocal taken
            for taken in range(1, 1000):  # noqa: UP028 (`taken` is looked at outside)
                yield taken

        async def nothing(_: int) -> None:
            await store.runtime.sleep(0)

        async with aclosing(store.runtime.map(nothing, items(), 3)) as results:
            await anext(results)
            assert taken <= 3

    @_test
    async def test_map_ends_with_the_first_exception_and_nothing_in_flight(self, store: ObjectStore) -> None:
        in_flight: set[int] = set()

        async def fail_at_five(number: int) -> int:
            in_flight.add(number)
            try:
                await store.runtime.sleep(0.001)
                if number == 5:
                    raise LookupError("five")
                return number
            finally:
                in_flight.discard(number)

        with pytest.raises(LookupError, match="five"):
            async for _ in store.runtime.map(fail_at_five, range(1000), 4):
                pass
        assert in_flight == set()

    @_test
    async def test_lock_for_admits_one_caller_at_a_time(self, store: ObjectStore) -> None:
        class Owner:
            pass

        owner, inside = Owner(), 0

        async def enter(_: int) -> int:
            nonlocal inside
            async with store.runtime.lock_for(owner):
                inside += 1
                seen = inside
                await store.runtime.sleep(0.001)
                inside -= 1
            return seen

        assert [seen async for seen in store.runtime.map(enter, range(8), 4)] == [1] * 8

    @_test
    async def test_heartbeat_runs_until_the_context_ends(self, store: ObjectStore) -> None:
        beats = 0

        async def beat() -> bool:
            nonlocal beats
            beats += 1
            return True

        async with store.runtime.heartbeat(0.002, beat):
            while beats < 3:
                await store.runtime.sleep(0.001)
        ended = beats
        await store.runtime.sleep(0.01)
        assert ended == beats

    @_test
    async def test_heartbeat_ends_when_its_callback_does(self, store: ObjectStore) -> None:
        beats = 0

        async def beat() -> bool:
            nonlocal beats
            beats += 1
            return False

        async with store.runtime.heartbeat(0.001, beat):
            await store.runtime.sleep(0.05)
        assert beats == 1

    @_test
    async def test_monotonic_never_goes_back(self, store: ObjectStore) -> None:
        before = store.runtime.monotonic()
        await store.runtime.sleep(0.001)
        assert before < store.runtime.monotonic()

    async def _found(self, store: ObjectStore, name: str, byte_range: tuple[int, int] | None = None) -> StoredObject:
        found = await store.get(self.prefix + name, byte_range=byte_range)
        assert isinstance(found, StoredObject)
        return found

    async def _folder(self, store: ObjectStore, under: str) -> tuple[list[ObjectMeta], list[str]]:
        page = await store.list_page(self.prefix + under, folders=True)
        objects, folders = list(page.objects), list(page.folders)
        while page.is_truncated:
            page = await store.list_page(self.prefix + under, page.token, folders=True)
            objects += page.objects
            folders += page.folders
        return objects, folders

    async def _listing(self, store: ObjectStore) -> list[str]:
        return [line.path for line in (await store.list_page(self.prefix)).objects]


class AsyncStoreContract(StoreContract):
    """What every store for asyncio must do."""

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        return asyncio.run(coroutine)
