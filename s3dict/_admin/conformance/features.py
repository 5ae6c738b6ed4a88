"""Checks of single features that a dict needs of a store."""

from __future__ import annotations

from datetime import timedelta

from ..._stores.base import PAGE_SIZE, DeleteResult, NotModified
from ...errors import Error, PermissionDeniedError, UnavailableError
from .harness import IMPACT, MISMATCHED_ETAG, Feature, Sandbox, SkippedError, expect

_LONGEST_NAME = 1024
_LONGEST_SEGMENT = 250
CONCURRENCY = 32
_QUICK_WRITES = 6
_SECOND = timedelta(seconds=1)
MAX_CLOCK_DIFFERENCE = timedelta(seconds=5)
OVER_ONE_SECOND = 1.1


async def _put_if_none_match(sandbox: Sandbox) -> str:
    expect(await sandbox.put_if_match("k", b"first", None), "refused where there was nothing")
    expect(not await sandbox.put_if_match("k", b"second", None), "responded 200 over an object that exists")
    expect(await sandbox.body("k") == b"first", "refused, but written")
    return ""


async def _put_if_match(sandbox: Sandbox) -> str:
    first = await sandbox.put("k", b"first")
    expect(
        not await sandbox.put_if_match("k", b"second", sandbox.format_etag(MISMATCHED_ETAG)),
        "responded 200 with a wrong ETag",
    )
    expect(await sandbox.put_if_match("k", b"second", first), "refused with the object's own ETag")
    expect(not await sandbox.put_if_match("k", b"third", first), "responded 200 with an ETag of the past")
    expect(await sandbox.body("k") == b"second", "refused, but written")
    expect(not await sandbox.put_if_match("missing", b"first", first), "responded 200 where there was nothing")
    expect(await sandbox.body("missing") is None, "refused where there was nothing, but written")
    return sandbox.etags.etag_form


async def _delete_if_match(sandbox: Sandbox) -> str:
    etag = await sandbox.put("k", b"first")
    expect(
        not await sandbox.delete_if_match("k", sandbox.format_etag(MISMATCHED_ETAG)), "responded 204 with a wrong ETag"
    )
    expect(await sandbox.body("k") == b"first", "refused, but deleted")
    expect(await sandbox.delete_if_match("k", etag), "refused with the object's own ETag")
    expect(await sandbox.body("k") is None, "responded 204, but not deleted")
    expect(not await sandbox.delete_if_match("k", etag), "responded 204 where there was nothing any more")
    return ""


async def _copy_source_if_match(sandbox: Sandbox) -> str:
    etag = await sandbox.put("k", b"first")
    expect(
        not await sandbox.copy_if_match("k", sandbox.format_etag(MISMATCHED_ETAG), etag),
        "responded 200 with a wrong ETag of the source",
    )
    expect(await sandbox.copy_if_match("k", etag, etag), "refused with the object's own ETag")
    return ""


async def _copy_if_match(sandbox: Sandbox) -> str:
    etag = await sandbox.put("k", b"first")
    refused = not await sandbox.copy_if_match("k", etag, sandbox.format_etag(MISMATCHED_ETAG))
    expect(refused, "responded 200 with a wrong ETag of the destination")
    expect(await sandbox.copy_if_match("k", etag, etag), "refused with the object's own ETag")
    expect(await sandbox.body("k") == b"first", "copied onto itself, the object is another")
    return ""


async def _get_if_none_match(sandbox: Sandbox) -> str:
    path = sandbox.path + "k"
    await sandbox.put("k", b"first")
    found = await sandbox.found("k")
    unchanged = await sandbox.store.get(path, if_none_match=found.etag)
    expect(isinstance(unchanged, NotModified), "the object came again although its ETag was the same")
    await sandbox.put("k", b"second")
    changed = await sandbox.store.get(path, if_none_match=found.etag)
    expect(not isinstance(changed, NotModified), "responded 304 although the object had changed")
    return ""


async def _get_range(sandbox: Sandbox) -> str:
    await sandbox.put("k", b"0123456789")
    inner, beyond = await sandbox.found("k", (2, 4)), await sandbox.found("k", (8, 99))
    expect((inner.body, inner.size) == (b"234", 10), f"bytes 2 to 4 of 10 came as {bytes(inner.body)!r}")
    expect(beyond.body == b"89", f"bytes 8 to 99 of 10 came as {bytes(beyond.body)!r}")
    return ""


async def _etags(sandbox: Sandbox) -> str:
    first = await sandbox.put("k", b"first")
    second = await sandbox.put("k", b"second")
    expect(first != second, "other bytes, same ETag")
    found, head = await sandbox.get("k"), await sandbox.store.head(sandbox.path + "k")
    returned = {sandbox.format_etag(each.etag) for each in (found, head) if each is not None}
    expect(returned == {second}, "PUT, GET and HEAD return different ETags for one object")
    return ""


async def _dates(sandbox: Sandbox) -> str:
    """Check Last-Modified and Date: ages and leases are computed from them, and a renewal writes the same bytes."""
    await sandbox.put("k", b"first")
    first = await sandbox.found("k")
    await sandbox.store.runtime.sleep(OVER_ONE_SECOND)
    await sandbox.put("k", b"first")
    second = await sandbox.found("k")
    passed = second.last_modified - first.last_modified
    expect(passed >= _SECOND, f"the same bytes, written again a second later, are dated {passed} later")
    lag = abs(second.date - second.last_modified)
    expect(lag <= MAX_CLOCK_DIFFERENCE, f"Last-Modified and Date are {lag} apart right after a write")
    return ""


async def _reads_after_writes(sandbox: Sandbox) -> str:
    for turn in range(sandbox.rounds):
        body = f"version {turn}".encode()
        await sandbox.put("k", body)
        expect(await sandbox.body("k") == body, "a read right after a write returned the object before it")
        if turn % 2:
            await sandbox.store.delete(sandbox.path + "k")
            expect(await sandbox.body("k") is None, "a read right after a deletion returned the deleted object")
    return ""


async def _lists_after_writes(sandbox: Sandbox) -> str:
    for turn in range(sandbox.rounds):
        name = f"{turn:04}"
        await sandbox.put(name, b"first")
        expect(name in await sandbox.list_names(), "a listing right after a write lacked the object")
        await sandbox.store.delete(sandbox.path + name)
        expect(name not in await sandbox.list_names(), "a listing right after a deletion had the object")
    return ""


async def _quick_writes(sandbox: Sandbox) -> str:
    await sandbox.put("k", b"version 0")
    for version in range(1, _QUICK_WRITES):
        if not await sandbox.is_throttled("k", f"version {version}".encode()):
            continue
        expect(await sandbox.body("k") == f"version {version - 1}".encode(), "a throttled write was applied")
        await sandbox.put("k", b"last")
        return f"throttled at write {version + 1}: counters and locks are slow, about a second for each step"
    return ""


async def _listing(sandbox: Sandbox) -> str:
    for name in ("in/b", "in/c.d", "in/a", "in/c", "inside", "in/d/e", "in/b2"):
        await sandbox.put(name, b"first")
    expect(sorted(await sandbox.list_names("in/")) == [*_LISTED, "in/d/e"], "not the names under the prefix")
    expect(await sandbox.list_folder("in/") == (_LISTED, ["in/d/"]), "not the names and folders under the prefix")
    expect(await sandbox.list_names("nothing/") == [], "something was listed under a prefix of nothing")
    return "" if await _is_ordered(sandbox) else "without order: dicts have folders of entries"


_LISTED = ["in/a", "in/b", "in/b2", "in/c", "in/c.d"]


async def _is_ordered(sandbox: Sandbox) -> bool:
    """Return whether names are listed in the order of bytes, and after any name, of an object or not."""
    if (await sandbox.list_names("in/")) != [*_LISTED, "in/d/e"]:
        return False
    try:
        after = [await sandbox.list_names("in/", start_after=name) for name in ("in/b", "in/b1")]
    except (PermissionDeniedError, UnavailableError):
        raise
    except Error:
        return False
    return after == [[*_LISTED[2:], "in/d/e"]] * 2


async def _pages(sandbox: Sandbox) -> str:
    names = [f"{number:06}" for number in range(PAGE_SIZE + 5)]
    async for _ in sandbox.store.runtime.map(lambda name: sandbox.put(name, b""), names, CONCURRENCY):
        pass
    first = await sandbox.store.list_page(sandbox.path)
    expect(first.is_truncated, f"a listing of {len(names)} objects says that it is complete after {len(first.objects)}")
    rest = await sandbox.store.list_page(sandbox.path, first.token)
    listed = sandbox.names((*first.objects, *rest.objects))
    expect(sorted(listed) == names, f"two pages of a listing of {len(names)} objects have {len(set(listed))}")
    in_folder, _ = await sandbox.list_folder()
    expect(in_folder == names, f"a listing of a folder of {len(names)} objects has {len(in_folder)}")
    return ""


async def _delete_objects(sandbox: Sandbox) -> str:
    names = [f"{number:03}" for number in range(10)]
    for name in names:
        await sandbox.put(name, b"first")
    failed = await sandbox.store.delete_many([sandbox.path + name for name in (*names[:8], "missing")])
    expect(not failed, f"{len(failed)} of 9 were not deleted: {failed[:1]}")
    expect(sorted(await sandbox.list_names()) == names[8:], "what was deleted is there, or more was deleted")
    return ""


async def _long_names(sandbox: Sandbox) -> str:
    segments = ("n" * _LONGEST_SEGMENT + "/") * (_LONGEST_NAME // _LONGEST_SEGMENT)
    return await _round_trip(sandbox, segments[: _LONGEST_NAME - len(sandbox.path) - 1] + "n")


async def _special_names(sandbox: Sandbox) -> str:
    return await _round_trip(sandbox, "space and + & = @ ! $ ' ( ) , ; : é ü 字")


async def _round_trip(sandbox: Sandbox, name: str) -> str:
    await sandbox.put(name, b"first")
    expect(await sandbox.body(name) == b"first", "what was put is not found")
    expect(name in await sandbox.list_names(), "it is listed under another name")
    deleted = await sandbox.store.delete(sandbox.path + name)
    expect(deleted == DeleteResult() and await sandbox.body(name) is None, "it cannot be deleted")
    return ""


async def _nested_names(sandbox: Sandbox) -> str:
    for name in ("a", "a/b"):
        await sandbox.put(name, name.encode())
    for name in ("a", "a/b"):
        expect(await sandbox.body(name) == name.encode(), f"{name} is not what was put there")
    return ""


async def _content_md5(sandbox: Sandbox) -> str:
    assert sandbox.corrupt_puts is not None
    return await _refuses(sandbox, await sandbox.corrupt_puts.put_with_wrong_md5(sandbox.path + "k", b"damaged"))


async def _checksum_sha256(sandbox: Sandbox) -> str:
    assert sandbox.corrupt_puts is not None
    return await _refuses(sandbox, await sandbox.corrupt_puts.put_with_wrong_sha256(sandbox.path + "k", b"damaged"))


async def _refuses(sandbox: Sandbox, taken: bool) -> str:
    expect(not taken, "a body that does not fit its digest was taken")
    expect(await sandbox.body("k") is None, "a body that does not fit its digest was refused, but written")
    return ""


async def _cut_off(sandbox: Sandbox) -> str:
    assert sandbox.corrupt_puts is not None
    if obstacle := sandbox.corrupt_puts.why_not_truncated():
        raise SkippedError(obstacle)
    # Of an object that nothing has written before: a second write of one object may be throttled.
    await sandbox.corrupt_puts.put_truncated(sandbox.path + "k", bytes(10_000))
    left = await sandbox.body("k")
    expect(left is None, f"a put whose sender died left {len(left or b'')} bytes there")
    return ""


_DAMAGE = "a value that is damaged in transit is stored, and reading it raises IntegrityError"

FEATURES = (
    Feature("PUT If-None-Match", True, IMPACT, _put_if_none_match),
    Feature("PUT If-Match", True, IMPACT, _put_if_match),
    Feature("DELETE If-Match", False, "removing an entry leaves a small tombstone", _delete_if_match),
    Feature("COPY If-Match, source", False, "a renewal sends the body again", _copy_source_if_match),
    Feature("COPY If-Match, destination", False, "a renewal sends the body again", _copy_if_match),
    Feature("GET If-None-Match", False, "an unchanged object is transferred again", _get_if_none_match),
    Feature("GET Range", True, "large values cannot be read", _get_range),
    Feature("ETags", True, "an update could undo another's", _etags),
    Feature("dates", True, "ages and leases cannot be determined", _dates),
    Feature("read after write", True, "reads may return deleted objects", _reads_after_writes),
    Feature("quick writes of one key", False, "counters and locks may not work", _quick_writes),
    Feature("list after write", True, "keys, len and clear may miss entries", _lists_after_writes),
    Feature("listing", True, "keys, len and clear may miss entries", _listing),
    Feature("listing in pages", True, "keys, len and clear may miss entries", _pages),
    Feature("DeleteObjects", True, "clear and delete fail", _delete_objects),
    Feature("names of 1,024 bytes", False, "keep S3DICT_PREFIX short", _long_names),
    Feature("special characters", False, "nothing: s3dict uses no such names", _special_names),
    Feature("a and a/b at once", False, "nothing: s3dict uses no such names", _nested_names),
    Feature("Content-MD5", False, _DAMAGE, _content_md5, needs_corrupt_puts=True),
    Feature("x-amz-checksum-sha256", False, _DAMAGE, _checksum_sha256, needs_corrupt_puts=True),
    Feature(
        "whole puts", False, "a writer that dies may leave a damaged entry behind", _cut_off, needs_corrupt_puts=True
    ),
)
