"""What cannot work is refused with an error that says why, and nothing is written."""

from __future__ import annotations

import base64
import pickle
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import numpy as np
import pytest

from s3dict import (
    Client,
    Dict,
    IntegrityError,
    InvalidError,
    NotFoundError,
    PermissionDeniedError,
    RequestSizeError,
    SerializationError,
    UnavailableError,
)
from s3dict._format.keys import KeyCodec

from ..support.modes import Endpoint, Harness, Mode, client_at, collect
from ..support.retries import quick


async def paths(harness: Harness) -> list[str]:
    page = await harness.client._store(aio=harness.mode is Mode.ASYNCIO).list_page(f"{harness.client.prefix}/")
    return [line.path for line in page.objects]


@pytest.mark.parametrize("name", ["", "a/b", "ä", "a b", "x" * 65, ".", "..", "a\n", None, 5])
def test_bad_name_is_rejected_before_anything_is_sent(name: Any) -> None:
    client = Client("b", driver="memory")
    for use in (
        lambda: Dict.from_name(name),
        lambda: Dict.objects.create(name, client=client),
        lambda: Dict.objects.delete(name, client=client),
    ):
        with pytest.raises(InvalidError, match="Invalid Dict name"):
            use()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"concurrency": "8"}, "Invalid concurrency: '8'. It is a whole number, 1 or more"),
        ({"concurrency": 1.5}, "Invalid concurrency: 1.5"),
        ({"max_value_bytes": None}, "Invalid max_value_bytes: None"),
        ({"expected_bucket_owner": 123456789012}, "Invalid expected_bucket_owner: 123456789012. It is a string"),
        ({"region_name": 1}, "Invalid region_name: 1"),
        ({"endpoint_url": b"http://h"}, "Invalid endpoint_url: b'http://h'"),
        ({"sse": "aws:kms", "kms_key_id": 1}, "Invalid kms_key_id: 1"),
        ({"verify": 1}, "Invalid verify: 1"),
        ({"requester_pays": "no"}, "Invalid requester_pays: 'no'"),
        ({"headers": "a=b"}, "headers maps names to values"),
        ({"signing_keys": None}, "signing_keys is a sequence"),
        ({"session": "default"}, "Invalid session: 'default'. It is a boto3.Session"),
    ],
)
def test_setting_of_the_wrong_type_is_rejected(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError, match=re.escape(message)):
        Client("b", **setting)


def test_client_of_another_type_is_rejected() -> None:
    other: Any = "b"
    for use in (
        lambda: Dict.from_name("d", client=other),
        lambda: Dict.from_id("di-1", client=other),
        lambda: Dict.from_name("d").hydrate(other),
        lambda: Dict.ephemeral(client=other),
        lambda: Dict.objects.list(client=other),
    ):
        with pytest.raises(InvalidError, match=re.escape("Invalid client: 'b'. It is an s3dict.Client")):
            use()


@pytest.mark.parametrize("environment", ["a/b", "..", "x" * 65])
def test_bad_environment_is_rejected(environment: str) -> None:
    with pytest.raises(InvalidError, match="Invalid environment name"):
        Dict.from_name("d", environment_name=environment)
    with pytest.raises(InvalidError, match="Invalid environment name"):
        Client("b", environment_name=environment)
    with pytest.raises(InvalidError, match="Invalid environment name"):
        Dict.ephemeral(environment_name=environment)


@pytest.mark.parametrize("dict_id", [None, 7, b"di-"])
def test_bad_id_is_rejected(dict_id: Any) -> None:
    with pytest.raises(InvalidError, match="Invalid Dict id"):
        Dict.from_id(dict_id)


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=59), timedelta(days=368), -timedelta(days=1), 7])
def test_bad_ttl_is_rejected(ttl: Any) -> None:
    with pytest.raises(InvalidError, match="Invalid ttl"):
        Dict.from_name("d", ttl=ttl)
    with pytest.raises(InvalidError, match="Invalid ttl"):
        Dict.objects.create("d", ttl=ttl, client=Client("b", driver="memory"))


def test_bad_codec_is_rejected() -> None:
    with pytest.raises(InvalidError, match="Unknown codec 'pickle': choose one of bytes, cloudpickle, json"):
        Dict.from_name("d", codec="pickle")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bucket": ""}, "Invalid bucket"),
        ({"bucket": "s3://bucket/path"}, "Invalid bucket"),
        ({"prefix": ""}, "Invalid prefix"),
        ({"prefix": "a//b"}, "Invalid prefix"),
        ({"prefix": "../a"}, "Invalid prefix"),
        ({"prefix": "x" * 500}, "Invalid prefix"),
        ({"prefix": "spaced out"}, "Invalid prefix"),
        ({"endpoint_url": "localhost:8333"}, "Invalid endpoint_url"),
        ({"driver": "redis"}, "Unknown driver 'redis'"),
        ({"max_value_bytes": 0}, "1 or more"),
        ({"concurrency": 0}, "1 or more"),
        ({"timeout": timedelta(0)}, "timeout is more than 0 seconds"),
        ({"timeout": timedelta(hours=2)}, "an hour at most"),
        ({"timeout": "10"}, "Invalid timeout: '10'. It is a number of seconds or a timedelta"),
        ({"signing_keys": ["short"]}, "fewer than 16 bytes"),
        ({"signing_keys": "a single long signing key"}, "is a sequence of keys"),
    ],
)
def test_bad_setting_is_rejected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        Client(**{"bucket": "b", **arguments})


@pytest.mark.parametrize("form", ["http://user:hunter2@localhost:1", "user:hunter2@localhost", "ftp://user:hunter2@h"])
def test_credentials_in_an_endpoint_are_rejected_without_showing_them(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidError, match="must not hold credentials") as caught:
        Client("b", endpoint_url=form)
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", form)
    with pytest.raises(InvalidError, match="must not hold credentials") as caught:
        Dict.from_name("d", client=Client("b")).get("k")
    assert "hunter2" not in str(caught.value)


def test_signing_keys_are_in_no_repr() -> None:
    client = Client("signing-keys", driver="memory", signing_keys=["a signing key of some length"])
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    d["k"] = 1
    assert "signing key" not in repr((client, d, d._entries, d._state.loaded))


async def test_pickle_in_a_name_is_never_loaded(harness: Harness, d: Any, tmp_path: Any) -> None:
    """Anybody who may write to the bucket can name an object; no signature vouches for names."""
    import pathlib

    class Planted:
        def __reduce__(self) -> Any:
            return pathlib.Path.touch, (tmp_path / "loaded",)

    await d.hydrate()
    encoded = KeyCodec(True, str).encode(Planted())
    name = f"{encoded.digest}.{base64.urlsafe_b64encode(encoded.data).rstrip(b'=').decode()}"
    await d.put("k", 1)
    [path] = [path for path in await paths(harness) if "/entries/" in path]
    store = harness.client._store(aio=harness.mode is Mode.ASYNCIO)
    await store.put(path.rpartition("/")[0] + "/" + name, b"of no importance, but longer than a tombstone")
    with pytest.raises(IntegrityError):
        await collect(d.keys())
    assert not (tmp_path / "loaded").exists()


@pytest.mark.unthrottled
async def test_truncated_object_is_listed_and_is_an_integrity_error(harness: Harness, d: Any) -> None:
    await d.put("k", 1)
    store = harness.client._store(aio=harness.mode is Mode.ASYNCIO)
    [path] = [path for path in await paths(harness) if "/entries/" in path]
    await store.put(path, b"cut")
    assert (await d.len(), await collect(d.keys())) == (1, ["k"])
    with pytest.raises(IntegrityError):
        await d.contains("k")
    await d.clear()
    assert (await d.contains("k"), await d.len()) == (False, 0)


def test_no_bucket_configured_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3DICT_BUCKET", raising=False)
    with pytest.raises(InvalidError, match=r"set S3DICT_BUCKET .* `s3dict dev`"):
        Dict.from_name("d").get("k")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "BUCKET": "envbucket",
        "PREFIX": "some/where",
        "ENDPOINT_URL": "http://127.0.0.1:1",
        "ENVIRONMENT": "dev",
        "DRIVER": "memory",
        "SIGNING_KEYS": "0123456789abcdef,fedcba9876543210",
    }.items():
        monkeypatch.setenv(f"S3DICT_{name}", value)
    client = Client.from_env()
    assert client is Client.from_env()
    shown = (client.bucket, client.prefix, client.endpoint_url, client.environment_name, client.driver)
    assert shown == ("envbucket", "some/where", "http://127.0.0.1:1", "dev", "memory")
    assert client._signing_keys == (b"0123456789abcdef", b"fedcba9876543210")
    monkeypatch.setenv("S3DICT_BUCKET", "another")
    assert Client.from_env().bucket == "another"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("S3DICT_VERIFY", "'/no/ca.pem'. It is true, false, or the path of a file that exists"),
        ("S3DICT_REQUESTER_PAYS", "'/no/ca.pem'. It is true or false"),
    ],
)
def test_variable_that_is_no_flag_is_shown(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DICT_BUCKET", "b")
    monkeypatch.setenv(name, "/no/ca.pem")
    with pytest.raises(InvalidError, match=re.escape(f"Invalid {name}: {message}")):
        Client.from_env()


@pytest.mark.parametrize("key", [float("nan"), ("a", float("nan")), (1, (2, float("nan")))])
async def test_nan_key_is_rejected(harness: Harness, d: Any, key: Any) -> None:
    await d.hydrate()
    before = await paths(harness)
    for use in (d.get, d.contains, d.pop, lambda k: d.put(k, 1), lambda k: d.update({k: 1})):
        with pytest.raises(InvalidError, match="NaN cannot be a key"):
            await use(key)
    assert await paths(harness) == before


@pytest.mark.parametrize("key", [[], {}, ([],), {1}])
async def test_unhashable_key_is_a_type_error(harness: Harness, d: Any, key: Any) -> None:
    await d.hydrate()
    before = await paths(harness)
    for use in (d.get, d.contains, d.pop, lambda k: d.put(k, 1), lambda k: d.update([(k, 1)])):
        with pytest.raises(TypeError, match="unhashable"):
            await use(key)
    assert await paths(harness) == before


async def test_unserialisable_value_is_rejected(harness: Harness, d: Any) -> None:
    await d.hydrate()
    before = await paths(harness)
    for value in (threading.Lock(), (n for n in range(3)), socket.socket):
        if value is socket.socket:
            continue
        with pytest.raises(SerializationError, match="Failed to serialize the value for key 'k' of Dict 'd'"):
            await d.put("k", value)
        with pytest.raises(SerializationError):
            await d.put("k", value, skip_if_exists=True)
    with pytest.raises(SerializationError, match="cannot be pickled"):
        await d.put(threading.Lock(), 1)
    assert await paths(harness) == before


async def test_json_and_bytes_dicts_take_only_what_they_can_hold(harness: Harness) -> None:
    text, raw = (harness.named(codec, create_if_missing=True, codec=codec) for codec in ("json", "bytes"))
    for value in ({1, 2}, b"bytes", float("nan"), object()):
        with pytest.raises(SerializationError, match="Failed to serialize"):
            await text.put("k", value)
    with pytest.raises(SerializationError, match="this Dict holds bytes, not str"):
        await raw.put("k", "text")
    for plain in (text, raw):
        with pytest.raises(SerializationError, match="would have to be pickled"):
            await plain.put(timedelta(1), b"")
        assert await plain.len() == 0


async def test_value_over_the_limit_is_rejected_before_anything_is_sent(client: Client, mode: Mode) -> None:
    small = pickle.loads(pickle.dumps(client))
    small._settings = replace(client._settings, max_value_bytes=1000)
    harness = Harness(small, mode)
    d = harness.named("d", create_if_missing=True)
    await d.put("k", b"x" * 900)
    before = await paths(harness)
    with pytest.raises(RequestSizeError, match=r"takes 10\d\d bytes; max_value_bytes is 1000"):
        await d.put("big", b"x" * 1000)
    with pytest.raises(RequestSizeError) as caught:
        await d.update({"big": b"x" * 1000})
    assert caught.value.failed_keys == ("big",)
    assert await paths(harness) == before


@pytest.mark.unthrottled
async def test_foreign_object_in_an_entrys_place_is_an_integrity_error(harness: Harness, d: Any) -> None:
    await d.put("k", "value")
    store = harness.client._store(aio=harness.mode is Mode.ASYNCIO)
    [path] = [path for path in await paths(harness) if "/entries/" in path]
    whole = await store.get(path)
    assert whole is not None
    for body in (b"", b"foreign", b'{"json": "object, of some length"}', whole.body[:40], whole.body[:-1]):  # type: ignore[union-attr]
        await store.put(path, body)
        for read in (lambda: d.get("k"), lambda: collect(d.items()), lambda: collect(d.values()), lambda: d.pop("k")):
            with pytest.raises(IntegrityError, match="Dict 'd'"):
                await read()
        assert (await store.get(path)).body == body  # type: ignore[union-attr]
    await d.put("k", "replaced")
    assert await d.get("k") == "replaced"


async def test_foreign_name_among_the_entries_is_an_integrity_error(harness: Harness, d: Any) -> None:
    await d.put("k", 1)
    store = harness.client._store(aio=harness.mode is Mode.ASYNCIO)
    [path] = [path for path in await paths(harness) if "/entries/" in path]
    foreign = path.rpartition("/")[0] + "/.DS_Store"
    await store.put(foreign, b"a file system passed by, leaving this")
    for read in (lambda: collect(d.keys()), d.len, lambda: collect(d.items())):
        with pytest.raises(IntegrityError, match=r"\.DS_Store'"):
            await read()
    assert await d.get("k") == 1
    await store.delete(foreign)
    assert await d.len() == 1


@pytest.mark.unthrottled
async def test_moved_entry_is_an_integrity_error(harness: Harness, d: Any) -> None:
    await d.put("rich", 100)
    [rich] = [path for path in await paths(harness) if "/entries/" in path]
    await d.put("poor", 1)
    [poor] = [path for path in await paths(harness) if "/entries/" in path and path != rich]
    store = harness.client._store(aio=harness.mode is Mode.ASYNCIO)
    moved = await store.get(rich)
    await store.put(poor, moved.body)  # type: ignore[union-attr]
    with pytest.raises(IntegrityError, match="another key"):
        await d.get("poor")
    with pytest.raises(IntegrityError, match="another key"):
        await collect(d.values())


@pytest.mark.unthrottled
async def test_broken_manifest_is_an_integrity_error(harness: Harness, d: Any) -> None:
    await d.hydrate()
    store = harness.client._store(aio=harness.mode is Mode.ASYNCIO)
    path = f"{harness.client.prefix}/manifests/main/d.json"
    for body in (b"", b"{}", b"[1]", b'{"format": 1}', b'{"format": 99}', b"\xff"):
        await store.put(path, body)
        with pytest.raises(IntegrityError, match=r"manifests/main/d\.json"):
            await harness.named("d", create_if_missing=True).get("k")


async def test_copied_manifest_is_an_integrity_error(harness: Harness, d: Any) -> None:
    await d.hydrate()
    store = harness.client._store(aio=harness.mode is Mode.ASYNCIO)
    manifest = await store.get(f"{harness.client.prefix}/manifests/main/d.json")
    await store.put(f"{harness.client.prefix}/manifests/main/e.json", manifest.body)  # type: ignore[union-attr]
    with pytest.raises(IntegrityError, match="it was copied there"):
        await harness.named("e").get("k")


class TestWithoutAWorkingStore:
    """Errors of the connection to a real server."""

    @pytest.fixture(params=["seaweedfs", "seaweedfs-rust"])
    def backend(self, request: pytest.FixtureRequest) -> str:
        name: str = request.param
        return name

    async def _fails(self, harness: Harness, error: type[Exception], message: str) -> None:
        d = harness.named("d", create_if_missing=True)
        for use in (lambda: d.get("k"), lambda: d.put("k", 1, skip_if_exists=True), lambda: collect(d.items())):
            with pytest.raises(error, match=message):
                await use()
        with pytest.raises(error, match=message):
            await harness.objects.list(client=harness.client)

    async def test_missing_bucket_is_not_found(self, client: Client, mode: Mode) -> None:
        elsewhere = Client("no-such-bucket", endpoint_url=client.endpoint_url, driver=client.driver)
        await self._fails(Harness(elsewhere, mode), NotFoundError, "The bucket 'no-such-bucket' does not exist")

    async def test_wrong_credentials_are_denied(self, client: Client, mode: Mode) -> None:
        session = boto3.Session(aws_access_key_id="unknown", aws_secret_access_key="hunter2", region_name="us-east-1")
        denied = Client(client.bucket, endpoint_url=client.endpoint_url, session=session, driver=client.driver)
        with pytest.raises(PermissionDeniedError) as caught:
            await Harness(denied, mode).named("d").get("k")
        assert "hunter2" not in str(caught.value)
        await self._fails(Harness(denied, mode), PermissionDeniedError, "The credentials are not accepted")

    async def test_no_credentials_are_denied(self, client: Client, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        lone = client_at(str(client.endpoint_url), client)
        await self._fails(Harness(lone, mode), PermissionDeniedError, "no usable credentials")

    async def test_server_that_is_down_is_unavailable(self, client: Client, mode: Mode, nobody_listens: str) -> None:
        gone = quick(client_at(nobody_listens, client), requests=1)
        await self._fails(Harness(gone, mode), UnavailableError, "cannot connect to the store")

    async def test_server_that_hangs_up_is_unavailable(self, client: Client, mode: Mode, hangs_up: str) -> None:
        broken = quick(client_at(hangs_up, client), requests=1)
        await self._fails(Harness(broken, mode), UnavailableError, "the connection broke|cannot connect to the store")

    async def test_credentials_of_a_session_are_used(self, seaweedfs: Endpoint, client: Client, mode: Mode) -> None:
        own = boto3.Session()
        session = boto3.Session(
            aws_access_key_id=own.get_credentials().access_key,  # type: ignore[union-attr]
            aws_secret_access_key=own.get_credentials().secret_key,  # type: ignore[union-attr]
            region_name="us-east-1",
        )
        lent = Client(
            seaweedfs.bucket, prefix=client.prefix, endpoint_url=seaweedfs.url, session=session, driver=client.driver
        )
        d = Harness(lent, mode).named("d", create_if_missing=True)
        await d.put("self", d.wrapped)
        assert lent is (await d.get("self")).client

    @pytest.fixture
    def nobody_listens(self) -> str:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            return f"http://127.0.0.1:{taken.getsockname()[1]}"

    @pytest.fixture
    def hangs_up(self) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=_accept_and_close, args=(listener,))
            thread.start()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept_and_close(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.close()


def test_blank_beside_a_signing_key_is_a_part_of_it_and_is_not_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DICT_BUCKET", "blanks")
    monkeypatch.setenv("S3DICT_DRIVER", "memory")
    first, second = "0123456789abcdef", "fedcba9876543210"
    monkeypatch.setenv("S3DICT_SIGNING_KEYS", f"{first}, {second}")
    assert Client.from_env()._signing_keys == (first.encode(), f" {second}".encode(), second.encode())
    monkeypatch.setenv("S3DICT_SIGNING_KEYS", f"{first},{second[1:]} ")
    assert Client.from_env()._signing_keys == (first.encode(), f"{second[1:]} ".encode())


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        (np.timedelta64(2, "m"), 120),
        (np.timedelta64(120_000_000_000, "ns"), 120),
        (np.int64(120), 120),
        (np.float32(120), 120),
    ],
)
def test_durations_of_numpy_are_accepted(ttl: Any, seconds: float) -> None:
    client = Client("numpy-durations", driver="memory")
    d: Dict[str, int] = Dict.from_name(f"d{seconds}", create_if_missing=True, client=client, ttl=ttl)
    assert d.info().ttl == timedelta(seconds=seconds)
    d.put("k", 1, ttl=ttl)


@pytest.mark.parametrize("ttl", [np.timedelta64("NaT"), np.timedelta64(1, "M"), np.array([60]), np.bool_(True), "60"])
def test_other_durations_are_an_error(ttl: Any) -> None:
    with pytest.raises(InvalidError, match="Invalid ttl"):
        Dict.from_name("d", client=Client("b", driver="memory"), ttl=ttl)


def test_put_many_of_none_is_an_error() -> None:
    d: Dict[str, int] = Dict.from_name("d", client=Client("b", driver="memory"))
    with pytest.raises(TypeError, match="'NoneType' object is not iterable"):
        d.put_many(None)  # type: ignore[arg-type]
