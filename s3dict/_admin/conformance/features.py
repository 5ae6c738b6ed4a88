"""What a dict asks of a store, one feature after the other, each tried by itself."""

from __future__ import annotations

from datetime import timedelta

from ..._stores.base import PAGE_SIZE, DeleteResult, NotModified
from .harness import MISMATCHED_ETAG, ConformanceError, Feature, Sandbox, SkippedError, expect

_LONGEST_NAME = 1024
_LONGEST_SEGMENT = 250
CONCURRENCY = 32
_SECOND = timedelta(seconds=1)
MAX_CLOCK_DIFFERENCE = timedelta(seconds=5)
OVER_ONE_SECOND = 1.1


async def _put_if_none_match(bench: Sandbox) -> str:
    expect(await bench.put_if_match("k", b"first", None), "refused where there was nothing")
    expect(not await bench.put_if_match("k", b"second", None), "answered 200 over an object that exists")
    expect(await bench.body("k") == b"first", "refused, but written")
    return ""


async def _put_if_match(bench: Sandbox) -> str:
    first = await bench.put("k", b"first")
    expect(
        not await bench.put_if_match("k", b"second", bench.format_etag(MISMATCHED_ETAG)),
        "answered 200 with a wrong ETag",
    )
    expect(await bench.put_if_match("k", b"second", first), "refused with the object's own ETag")
    expect(not await bench.put_if_match("k", b"third", first), "answered 200 with an ETag of the past")
    expect(await bench.body("k") == b"second", "refused, but written")
    expect(not await bench.put_if_match("missing", b"first", first), "answered 200 where there was nothing")
    expect(await bench.body("missing") is None, "refused where there was nothing, but written")
    return "" if bench.quoted_etags else "ETags without their quotes"


async def _delete_if_match(bench: Sandbox) -> str:
    etag = await bench.put("k", b"first")
    expect(not await bench.delete_if_match("k", bench.format_etag(MISMATCHED_ETAG)), "answered 204 with a wrong ETag")
    expect(await bench.body("k") == b"first", "refused, but deleted")
    expect(await bench.delete_if_match("k", etag), "refused with the object's own ETag")
    expect(await bench.body("k") is None, "answered 204, but not deleted")
    expect(not await bench.delete_if_match("k", etag), "answered 204 where there was nothing any more")
    return ""


async def _copy_source_if_match(bench: Sandbox) -> str:
    etag = await bench.put("k", b"first")
    expect(
        not await bench.copy_if_match("k", bench.format_etag(MISMATCHED_ETAG), etag),
        "answered 200 with a wrong ETag of the source",
    )
    expect(await bench.copy_if_match("k", etag, etag), "refused with the object's own ETag")
    return ""


async def _copy_if_match(bench: Sandbox) -> str:
    etag = await bench.put("k", b"first")
    refused = not await bench.copy_if_match("k", etag, bench.format_etag(MISMATCHED_ETAG))
    expect(refused, "answered 200 with a wrong ETag of the destination")
    expect(await bench.copy_if_match("k", etag, etag), "refused with the object's own ETag")
    expect(await bench.body("k") == b"first", "copied onto itself, the object is another")
    return ""


async def _get_if_none_match(bench: Sandbox) -> str:
    path = bench.path + "k"
    await bench.put("k", b"first")
    found = await bench.found("k")
    server_time = await bench.store.get(path, if_none_match=found.etag)
    expect(isinstance(server_time, NotModified), "the object came again although its ETag was the same")
    await bench.put("k", b"second")
    changed = await bench.store.get(path, if_none_match=found.etag)
    expect(not isinstance(changed, NotModified), "answered 304 although the object had changed")
    return ""


async def _get_range(bench: Sandbox) -> str:
    await bench.put("k", b"0123456789")
    inner, beyond = await bench.found("k", (2, 4)), await bench.found("k", (8, 99))
    expect((inner.body, inner.size) == (b"234", 10), f"bytes 2 to 4 of 10 came as {bytes(inner.body)!r}")
    expect(beyond.body == b"89", f"bytes 8 to 99 of 10 came as {bytes(beyond.body)!r}")
    return ""


async def _etags(bench: Sandbox) -> str:
    first = await bench.put("k", b"first")
    second = await bench.put("k", b"second")
    expect(first != second, "other bytes, same ETag")
    found, head = await bench.get("k"), await bench.store.head(bench.path + "k")
    server_time = {bench.format_etag(each.etag) for each in (found, head) if each is not None}
    expect(server_time == {second}, "PUT, GET and HEAD tell different ETags of one object")
    return ""


async def _dates(bench: Sandbox) -> str:
    """Ages and leases are counted by them; a renewal writes the same bytes again."""
    await bench.put("k", b"first")
    first = await bench.found("k")
    await bench.store.runtime.sleep(OVER_ONE_SECOND)
    await bench.put("k", b"first")
    second = await bench.found("k")
    passed = second.last_modified - first.last_modified
    expect(passed >= _SECOND, f"the same bytes, written again a second later, are dated {passed} later")
    lag = abs(second.date - second.last_modified)
    expect(lag <= MAX_CLOCK_DIFFERENCE, f"Last-Modified and Date are {lag} apart right after a write")
    return ""


async def _reads_after_writes(bench: Sandbox) -> str:
    for turn in range(bench.rounds):
        body = f"version {turn}".encode()
        await bench.put("k", body)
        expect(await bench.body("k") == body, "a read right after a write gave what was there before")
        if turn % 2:
            await bench.store.delete(bench.path + "k")
            expect(await bench.body("k") is None, "a read right after a deletion gave what was deleted")
    return ""


async def _lists_after_writes(bench: Sandbox) -> str:
    for turn in range(bench.rounds):
        name = f"{turn:04}"
        await bench.put(name, b"first")
        expect(name in await bench.list_names(), "a listing right after a write lacked the object")
        await bench.store.delete(bench.path + name)
        expect(name not in await bench.list_names(), "a listing right after a deletion had the object")
    return ""


async def _listing(bench: Sandbox) -> str:
    names = ["in/a", "in/b", "in/b2", "in/c", "in/c.d"]
    for name in ("in/b", "in/c.d", "in/a", "in/c", "inside", "in/b2"):
        await bench.put(name, b"first")
    expect(await bench.list_names("in/") == names, "not what lies under the prefix, in the order of bytes")
    expect(await bench.list_names("in/", start_after="in/b") == names[2:], "start-after was not heeded")
    expect(
        await bench.list_names("in/", start_after="in/b1") == names[2:], "start-after was not heeded for a missing name"
    )
    expect(await bench.list_names("nothing/") == [], "something was listed under a prefix of nothing")
    return ""


async def _pages(bench: Sandbox) -> str:
    names = [f"{number:06}" for number in range(PAGE_SIZE + 5)]
    async for _ in bench.store.runtime.map(lambda name: bench.put(name, b""), names, CONCURRENCY):
        pass
    first = await bench.store.list_page(bench.path)
    expect(first.is_truncated, f"a listing of {len(names)} objects says that it is complete after {len(first.objects)}")
    rest = await bench.list_names(start_after=first.objects[-1].path.removeprefix(bench.path))
    list_names = [line.path.removeprefix(bench.path) for line in first.objects] + rest
    expect(list_names == names, f"two pages of a listing of {len(names)} objects have {len(list_names)}")
    return ""


async def _delete_objects(bench: Sandbox) -> str:
    names = [f"{number:03}" for number in range(10)]
    for name in names:
        await bench.put(name, b"first")
    failed = await bench.store.delete_many([bench.path + name for name in (*names[:8], "missing")])
    expect(not failed, f"{len(failed)} of 9 were not deleted: {failed[:1]}")
    expect(await bench.list_names() == names[8:], "what was deleted is there, or more was deleted")
    return ""


async def _long_names(bench: Sandbox) -> str:
    segments = ("n" * _LONGEST_SEGMENT + "/") * (_LONGEST_NAME // _LONGEST_SEGMENT)
    return await _round_trip(bench, segments[: _LONGEST_NAME - len(bench.path) - 1] + "n")


async def _special_names(bench: Sandbox) -> str:
    return await _round_trip(bench, "space and + & = @ ! $ ' ( ) , ; : é ü 字")


async def _round_trip(bench: Sandbox, name: str) -> str:
    await bench.put(name, b"first")
    expect(await bench.body(name) == b"first", "what was put is not found")
    expect(name in await bench.list_names(), "it is listed under another name")
    deleted = await bench.store.delete(bench.path + name)
    expect(deleted == DeleteResult() and await bench.body(name) is None, "it cannot be deleted")
    return ""


async def _nested_names(bench: Sandbox) -> str:
    for name in ("a", "a/b"):
        await bench.put(name, name.encode())
    for name in ("a", "a/b"):
        expect(await bench.body(name) == name.encode(), f"{name} is not what was put there")
    return ""


async def _content_md5(bench: Sandbox) -> str:
    assert bench.corrupt_puts is not None
    return await _refuses(bench, await bench.corrupt_puts.put_with_wrong_md5(bench.path + "k", b"damaged"))


async def _checksum_sha256(bench: Sandbox) -> str:
    assert bench.corrupt_puts is not None
    return await _refuses(bench, await bench.corrupt_puts.put_with_wrong_sha256(bench.path + "k", b"damaged"))


async def _refuses(bench: Sandbox, taken: bool) -> str:
    expect(not taken, "a body that does not fit its digest was taken")
    expect(await bench.body("k") is None, "a body that does not fit its digest was refused, but written")
    return ""


async def _cut_off(bench: Sandbox) -> str:
    assert bench.corrupt_puts is not None
    if obstacle := bench.corrupt_puts.why_not_truncated():
        raise SkippedError(obstacle)
    await bench.put("k", b"first")
    await bench.corrupt_puts.put_truncated(bench.path + "k", bytes(10_000))
    left = await bench.body("k")
    if left != b"first":
        raise ConformanceError(
            f"a put whose sender died left {'nothing' if left is None else f'{len(left)} bytes'} there"
        )
    return ""


IMPACT = "nothing that is atomic would be: the store is not fit"
_DAMAGE = "a value that is damaged on its way is kept, and then is IntegrityError"

FEATURES = (
    Feature("PUT If-None-Match", True, IMPACT, _put_if_none_match),
    Feature("PUT If-Match", True, IMPACT, _put_if_match),
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
    Feature("Content-MD5", False, _DAMAGE, _content_md5, needs_corrupt_puts=True),
    Feature("x-amz-checksum-sha256", False, _DAMAGE, _checksum_sha256, needs_corrupt_puts=True),
    Feature(
        "whole puts", False, "a writer that dies may leave a damaged entry behind", _cut_off, needs_corrupt_puts=True
    ),
)
