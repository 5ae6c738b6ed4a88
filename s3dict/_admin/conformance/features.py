"""What a dict asks of a store, one feature after the other, each tried by itself."""

from __future__ import annotations

from datetime import timedelta

from ..._stores.base import PAGE_SIZE, Deleted, NotModified
from .harness import WRONG, Bench, Feature, FlawError, NotTriedError, require

_LONGEST_NAME = 1024
_LONGEST_SEGMENT = 250
_MANY_AT_ONCE = 32
_SECOND = timedelta(seconds=1)
_AGREEING = timedelta(seconds=5)
_MORE_THAN_A_SECOND = 1.1


async def _put_if_none_match(bench: Bench) -> str:
    require(await bench.put_over("k", b"first", None), "refused where there was nothing")
    require(not await bench.put_over("k", b"second", None), "answered 200 over an object that exists")
    require(await bench.body("k") == b"first", "refused, but written")
    return ""


async def _put_if_match(bench: Bench) -> str:
    first = await bench.put("k", b"first")
    require(not await bench.put_over("k", b"second", bench.spelled(WRONG)), "answered 200 with a wrong ETag")
    require(await bench.put_over("k", b"second", first), "refused with the object's own ETag")
    require(not await bench.put_over("k", b"third", first), "answered 200 with an ETag of the past")
    require(await bench.body("k") == b"second", "refused, but written")
    require(not await bench.put_over("missing", b"first", first), "answered 200 where there was nothing")
    require(await bench.body("missing") is None, "refused where there was nothing, but written")
    return "" if bench.quoted_etags else "ETags without their quotes"


async def _delete_if_match(bench: Bench) -> str:
    etag = await bench.put("k", b"first")
    require(not await bench.delete_over("k", bench.spelled(WRONG)), "answered 204 with a wrong ETag")
    require(await bench.body("k") == b"first", "refused, but deleted")
    require(await bench.delete_over("k", etag), "refused with the object's own ETag")
    require(await bench.body("k") is None, "answered 204, but not deleted")
    require(not await bench.delete_over("k", etag), "answered 204 where there was nothing any more")
    return ""


async def _copy_source_if_match(bench: Bench) -> str:
    etag = await bench.put("k", b"first")
    require(not await bench.copy_over("k", bench.spelled(WRONG), etag), "answered 200 with a wrong ETag of the source")
    require(await bench.copy_over("k", etag, etag), "refused with the object's own ETag")
    return ""


async def _copy_if_match(bench: Bench) -> str:
    etag = await bench.put("k", b"first")
    refused = not await bench.copy_over("k", etag, bench.spelled(WRONG))
    require(refused, "answered 200 with a wrong ETag of the destination")
    require(await bench.copy_over("k", etag, etag), "refused with the object's own ETag")
    require(await bench.body("k") == b"first", "copied onto itself, the object is another")
    return ""


async def _get_if_none_match(bench: Bench) -> str:
    path = bench.path + "k"
    await bench.put("k", b"first")
    found = await bench.found("k")
    told = await bench.store.get(path, if_none_match=found.etag)
    require(isinstance(told, NotModified), "the object came again although its ETag was the same")
    await bench.put("k", b"second")
    changed = await bench.store.get(path, if_none_match=found.etag)
    require(not isinstance(changed, NotModified), "answered 304 although the object had changed")
    return ""


async def _get_range(bench: Bench) -> str:
    await bench.put("k", b"0123456789")
    inner, beyond = await bench.found("k", (2, 4)), await bench.found("k", (8, 99))
    require((inner.body, inner.size) == (b"234", 10), f"bytes 2 to 4 of 10 came as {bytes(inner.body)!r}")
    require(beyond.body == b"89", f"bytes 8 to 99 of 10 came as {bytes(beyond.body)!r}")
    return ""


async def _etags(bench: Bench) -> str:
    first = await bench.put("k", b"first")
    second = await bench.put("k", b"second")
    require(first != second, "other bytes, same ETag")
    found, head = await bench.get("k"), await bench.store.head(bench.path + "k")
    told = {bench.spelled(each.etag) for each in (found, head) if each is not None}
    require(told == {second}, "PUT, GET and HEAD tell different ETags of one object")
    return ""


async def _dates(bench: Bench) -> str:
    """Ages and leases are counted by them; a renewal writes the same bytes again."""
    await bench.put("k", b"first")
    first = await bench.found("k")
    await bench.store.sleep(_MORE_THAN_A_SECOND)
    await bench.put("k", b"first")
    second = await bench.found("k")
    passed = second.last_modified - first.last_modified
    require(passed >= _SECOND, f"the same bytes, written again a second later, are dated {passed} later")
    lag = abs(second.date - second.last_modified)
    require(lag <= _AGREEING, f"Last-Modified and Date are {lag} apart right after a write")
    return ""


async def _reads_after_writes(bench: Bench) -> str:
    for turn in range(bench.rounds):
        body = f"version {turn}".encode()
        await bench.put("k", body)
        require(await bench.body("k") == body, "a read right after a write gave what was there before")
        if turn % 2:
            await bench.store.delete(bench.path + "k")
            require(await bench.body("k") is None, "a read right after a deletion gave what was deleted")
    return ""


async def _lists_after_writes(bench: Bench) -> str:
    for turn in range(bench.rounds):
        name = f"{turn:04}"
        await bench.put(name, b"first")
        require(name in await bench.listed(), "a listing right after a write lacked the object")
        await bench.store.delete(bench.path + name)
        require(name not in await bench.listed(), "a listing right after a deletion had the object")
    return ""


async def _listing(bench: Bench) -> str:
    names = ["in/a", "in/b", "in/b2", "in/c", "in/c.d"]
    for name in ("in/b", "in/c.d", "in/a", "in/c", "inside", "in/b2"):
        await bench.put(name, b"first")
    require(await bench.listed("in/") == names, "not what lies under the prefix, in the order of bytes")
    require(await bench.listed("in/", after="in/b") == names[2:], "start-after was not heeded")
    require(await bench.listed("in/", after="in/b1") == names[2:], "start-after was not heeded for a missing name")
    require(await bench.listed("nothing/") == [], "something was listed under a prefix of nothing")
    return ""


async def _pages(bench: Bench) -> str:
    names = [f"{number:06}" for number in range(PAGE_SIZE + 5)]
    async for _ in bench.store.map(lambda name: bench.put(name, b""), names, _MANY_AT_ONCE):
        pass
    first = await bench.store.list_page(bench.path)
    require(first.more, f"a listing of {len(names)} objects says that it is complete after {len(first.objects)}")
    rest = await bench.listed(after=first.objects[-1].path.removeprefix(bench.path))
    listed = [line.path.removeprefix(bench.path) for line in first.objects] + rest
    require(listed == names, f"two pages of a listing of {len(names)} objects have {len(listed)}")
    return ""


async def _delete_objects(bench: Bench) -> str:
    names = [f"{number:03}" for number in range(10)]
    for name in names:
        await bench.put(name, b"first")
    failed = await bench.store.delete_many([bench.path + name for name in (*names[:8], "missing")])
    require(not failed, f"{len(failed)} of 9 were not deleted: {failed[:1]}")
    require(await bench.listed() == names[8:], "what was deleted is there, or more was deleted")
    return ""


async def _long_names(bench: Bench) -> str:
    segments = ("n" * _LONGEST_SEGMENT + "/") * (_LONGEST_NAME // _LONGEST_SEGMENT)
    return await _round_trip(bench, segments[: _LONGEST_NAME - len(bench.path) - 1] + "n")


async def _special_names(bench: Bench) -> str:
    return await _round_trip(bench, "space and + & = @ ! $ ' ( ) , ; : é ü 字")


async def _round_trip(bench: Bench, name: str) -> str:
    await bench.put(name, b"first")
    require(await bench.body(name) == b"first", "what was put is not found")
    require(name in await bench.listed(), "it is listed under another name")
    deleted = await bench.store.delete(bench.path + name)
    require(deleted == Deleted() and await bench.body(name) is None, "it cannot be deleted")
    return ""


async def _nested_names(bench: Bench) -> str:
    for name in ("a", "a/b"):
        await bench.put(name, name.encode())
    for name in ("a", "a/b"):
        require(await bench.body(name) == name.encode(), f"{name} is not what was put there")
    return ""


async def _content_md5(bench: Bench) -> str:
    assert bench.damaged is not None
    return await _refuses(bench, await bench.damaged.put_with_wrong_md5(bench.path + "k", b"damaged"))


async def _checksum_sha256(bench: Bench) -> str:
    assert bench.damaged is not None
    return await _refuses(bench, await bench.damaged.put_with_wrong_sha256(bench.path + "k", b"damaged"))


async def _refuses(bench: Bench, taken: bool) -> str:
    require(not taken, "a body that does not fit its digest was taken")
    require(await bench.body("k") is None, "a body that does not fit its digest was refused, but written")
    return ""


async def _cut_off(bench: Bench) -> str:
    assert bench.damaged is not None
    if obstacle := bench.damaged.why_not_cut_off():
        raise NotTriedError(obstacle)
    await bench.put("k", b"first")
    await bench.damaged.put_cut_off(bench.path + "k", bytes(10_000))
    left = await bench.body("k")
    if left != b"first":
        raise FlawError(f"a put whose sender died left {'nothing' if left is None else f'{len(left)} bytes'} there")
    return ""


_CANNOT = "nothing that is atomic would be: the store is not fit"
_DAMAGE = "a value that is damaged on its way is kept, and then is IntegrityError"

FEATURES = (
    Feature("PUT If-None-Match", True, _CANNOT, _put_if_none_match),
    Feature("PUT If-Match", True, _CANNOT, _put_if_match),
    Feature("DELETE If-Match", False, "removing an entry leaves a small tombstone", _delete_if_match),
    Feature("COPY If-Match, source", False, "a renewal sends the body again", _copy_source_if_match),
    Feature("COPY If-Match, destination", False, "a renewal sends the body again", _copy_if_match),
    Feature("GET If-None-Match", False, "what has not changed is sent again", _get_if_none_match),
    Feature("GET Range", True, "large values cannot be read", _get_range),
    Feature("ETags", True, "an update could undo another's", _etags),
    Feature("dates", True, "ages and leases cannot be told", _dates),
    Feature("read after write", True, "reads may give what is no longer there", _reads_after_writes),
    Feature("list after write", True, "keys, len and clear may miss entries", _lists_after_writes),
    Feature("listing", True, "keys, len and clear may miss entries", _listing),
    Feature("listing in pages", True, "keys, len and clear may miss entries", _pages),
    Feature("DeleteObjects", True, "clear and delete fail", _delete_objects),
    Feature("names of 1,024 bytes", False, "keep S3DICT_PREFIX short", _long_names),
    Feature("special characters", False, "nothing: no name of ours has any", _special_names),
    Feature("a and a/b at once", False, "nothing: no two names of ours are like that", _nested_names),
    Feature("Content-MD5", False, _DAMAGE, _content_md5, sends_damaged=True),
    Feature("x-amz-checksum-sha256", False, _DAMAGE, _checksum_sha256, sends_damaged=True),
    Feature("whole puts", False, "a writer that dies may leave a damaged entry behind", _cut_off, sends_damaged=True),
)
