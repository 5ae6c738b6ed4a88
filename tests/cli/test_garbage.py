"""``s3dict gc``: what is garbage, what is not, and what finding it costs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from s3dict import Client, Dict, PermissionDeniedError
from s3dict._admin.garbage import find_garbage, remove_garbage
from s3dict._core import catalog
from s3dict._format.layout import SWEEP_DAYS
from s3dict._stores.boto.requests import S3Requests
from s3dict._stores.memory import MemoryBucket, memory_bucket

from ..support.commands import Answer, answer, shown
from ..support.modes import Endpoint
from ..support.proxy import Proxy, Request


@pytest.fixture
def bucket(configured: Client) -> MemoryBucket:
    return memory_bucket(configured.bucket)


def make(name: str, client: Client, entries: int = 2, **options: Any) -> Dict[Any, Any]:
    handle: Dict[Any, Any] = Dict.from_name(name, create_if_missing=True, client=client, **options)
    handle.update({f"k{n}": n for n in range(entries)})
    return handle


def interrupt_delete(name: str, client: Client, monkeypatch: pytest.MonkeyPatch, environment: str = "main") -> None:
    """Delete the manifest alone, as a process does that dies then."""

    async def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(catalog, "delete_data", die)
        Dict.objects.delete(name, client=client, environment_name=environment)


def ids(done: Answer) -> list[str]:
    return [garbage["id"] for garbage in done.json["garbage"]]


def snapshot(bucket: MemoryBucket) -> list[str]:
    return sorted(bucket.objects)


def test_gc_reports_nothing_to_collect(configured: Client, bucket: MemoryBucket) -> None:
    for name, ttl in (("a", None), ("b", timedelta(days=1)), ("c", timedelta(days=300))):
        make(name, configured, ttl=ttl)
    before = snapshot(bucket)
    done = answer("gc")
    assert (0, "", f"Nothing to remove in s3://{configured.bucket}/s3dict.\n") == (
        done.exit_code,
        done.stdout,
        done.stderr,
    )
    assert answer("gc", "--json").json == {"dry_run": False, "garbage": []}
    assert snapshot(bucket) == before


@pytest.mark.parametrize("ttl", [None, *(timedelta(days=days) * 7 / 8 for days in SWEEP_DAYS)], ids=str)
def test_gc_removes_leftovers_of_interrupted_deletes_in_every_sweep_class(
    configured: Client, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch, ttl: timedelta | None
) -> None:
    kept = make("kept", configured, ttl=ttl)
    before = snapshot(bucket)
    gone = make("gone", configured, ttl=ttl)
    with gone.lock("l"):
        pass
    interrupt_delete("gone", configured, monkeypatch)
    assert snapshot(bucket) != before
    done = answer("gc", "--yes", "--json")
    garbage = done.json["garbage"][0]
    assert ids(done) == [gone.object_id]
    assert tuple(garbage[field] for field in ("name", "environment", "objects", "removed")) == ("gone", "main", 3, True)
    assert snapshot(bucket) == before
    assert kept.len() == 2


def test_gc_asks_first_and_dry_run_removes_nothing(
    configured: Client, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = make("gone", configured)
    interrupt_delete("gone", configured, monkeypatch)
    left = snapshot(bucket)
    for arguments, stdin, code in ((("--dry-run",), None, 0), ((), "n\n", 1), ((), "", 1)):
        done = answer("gc", *arguments, stdin=stdin)
        assert done.exit_code == code
        assert f"gone\tmain\t{gone.object_id}\t2\t" in done.stdout
        assert "of 1 deleted dict" in done.stderr
        assert snapshot(bucket) == left
    assert [garbage["removed"] for garbage in answer("gc", "--dry-run", "--json").json["garbage"]] == [False]
    assert "│ gone" in shown("gc", "--dry-run")[0]
    done = answer("gc", stdin="y\n")
    assert (done.exit_code, "Remove 2 objects?" in done.stderr) == (0, True)
    assert [path for path in snapshot(bucket) if "/entries/" in path] == []


def test_gc_keeps_data_of_a_recreated_dict(configured: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    old = make("d", configured)
    interrupt_delete("d", configured, monkeypatch)
    new = make("d", configured, entries=3)
    assert ids(answer("gc", "--yes", "--json")) == [old.object_id]
    assert new.len() == 3


def test_gc_keeps_ephemeral_dicts_with_a_manifest(configured: Client, bucket: MemoryBucket) -> None:
    with Dict.ephemeral(client=configured) as handle:
        handle["k"] = 1
        assert ids(answer("gc", "--yes", "--json")) == []
        manifest = next(path for path in bucket.objects if path.startswith("s3dict/ephemeral/"))
        bucket.remove(manifest)
        assert ids(answer("gc", "--yes", "--json")) == [handle.object_id]
    assert [path for path in bucket.objects if "/entries/" in path] == []


def test_gc_keeps_data_under_an_unreadable_manifest(configured: Client, bucket: MemoryBucket) -> None:
    for name in ("newer", "damaged", "copied", "source"):
        make(name, configured)
    manifests = "s3dict/manifests/main/"
    bucket.write(f"{manifests}newer.json", b'{"format": 999}')
    bucket.write(f"{manifests}damaged.json", b"")
    bucket.write(f"{manifests}copied.json", bucket.objects[f"{manifests}source.json"].body)
    before = snapshot(bucket)
    assert ids(answer("gc", "--yes", "--json")) == []
    assert snapshot(bucket) == before


def test_gc_keeps_foreign_objects(configured: Client, bucket: MemoryBucket) -> None:
    strange = [
        "s3dict/sweep-1d/probe/01J",
        "s3dict/keep/named/a/b/notes",
        "s3dict/keep/",
        "s3dictate/keep/named/a/b/c/",
    ]
    for path in strange:
        bucket.write(path, b"")
    assert ids(answer("gc", "--yes", "--json")) == []
    assert set(strange) <= set(bucket.objects)


def test_gc_can_be_limited_to_an_environment(configured: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {env: make("d", configured, environment_name=env) for env in ("prod", "dev")}
    for env in gone:
        interrupt_delete("d", configured, monkeypatch, env)
    assert ids(answer("gc", "--env", "dev", "--yes", "--json")) == [gone["dev"].object_id]
    assert ids(answer("gc", "--yes", "--json")) == [gone["prod"].object_id]
    assert answer("gc", "--env", "a/b").exit_code == 2


def test_gc_rechecks_manifests_after_the_confirmation(
    configured: Client, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = make("d", configured)
    manifest = bucket.objects["s3dict/manifests/main/d.json"].body
    interrupt_delete("d", configured, monkeypatch)
    (garbage,) = find_garbage(configured)
    bucket.write("s3dict/manifests/main/d.json", manifest)
    assert not remove_garbage(configured, garbage)
    assert handle.len() == 2


def test_gc_loses_nothing_of_concurrently_changing_dicts(
    configured: Client, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dict is made between any two requests of the search: its manifest comes first, so it is never garbage."""
    made: list[Dict[Any, Any]] = []
    make("first", configured)
    write = MemoryBucket.paths

    def paths(self: MemoryBucket) -> list[str]:
        if len(made) < 20:
            handle = Dict.from_name(f"d{len(made)}", create_if_missing=True, client=configured)
            made.append(handle)
            bucket._guard.release()
            try:
                handle["k"] = 1
            finally:
                bucket._guard.acquire()
        return write(self)

    monkeypatch.setattr(MemoryBucket, "paths", paths)
    assert find_garbage(configured) == []
    assert len(made) >= 7
    assert all(handle["k"] == 1 for handle in made)


def count(requests: list[Request]) -> dict[str, int]:
    return {name: sum(r.operation == name for r in requests) for name in {r.operation for r in requests}}


@pytest.fixture
def pages_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    send = S3Requests._send

    async def send_small(self: Any, method: str, path: str | None, parameters: dict[str, Any], **more: Any) -> Any:
        fewer = {"MaxKeys": 2} if method == "list_objects_v2" else {}
        return await send(self, method, path, parameters | fewer, **more)

    monkeypatch.setattr(S3Requests, "_send", send_small)


@pytest.mark.usefixtures("pages_of_two")
@pytest.mark.parametrize("server", ["moto", "seaweedfs"])
def test_gc_lists_only_the_first_page_of_a_live_dict(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint: Endpoint = request.getfixturevalue(server)
    variables = {
        "S3DICT_BUCKET": endpoint.bucket,
        "S3DICT_ENDPOINT_URL": endpoint.url,
        "S3DICT_PREFIX": "garbage-here",
    }
    with Proxy(endpoint.url) as proxy:
        client = Client(endpoint.bucket, endpoint_url=proxy.url, prefix="garbage-here", driver="boto3")
        alive = [make(name, client, entries) for name, entries in (("d", 9), ("d-other", 3), ("z", 1))]
        gone = make("e", client, entries=3)
        interrupt_delete("e", client, monkeypatch)
        with proxy.recording() as requests:
            (garbage,) = find_garbage(client)
        assert (gone.object_id, 3) == (str(garbage.dict_id), garbage.objects)
        # A listing for each of seven folders and behind each dict of more than a page; two to measure the garbage.
        assert count(requests) == {"ListObjectsV2": 7 + 3 + 2, "GetObject": 4}
        assert answer("gc", "--yes", variables=variables).exit_code == 0
        assert ([handle.len() for handle in alive], find_garbage(client)) == ([9, 3, 1], [])


def test_gc_without_delete_permission_is_an_error(configured: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    make("d", configured)
    interrupt_delete("d", configured, monkeypatch)

    async def refuse(*_: Any) -> Any:
        raise PermissionDeniedError("the policy says no")

    monkeypatch.setattr("s3dict._stores.memory._MemoryRequests.delete_many", refuse)
    assert ((done := answer("gc", "--yes")).exit_code, str(done.error)) == (1, "the policy says no")
