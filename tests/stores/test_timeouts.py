"""A store that does not respond: each request waits for the client's `timeout`, and a call for a few of them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError

from s3dict import Client, Dict, HeldLock, InvalidError, LockLostError, UnavailableError, UncertainOutcomeError
from s3dict._admin.bucket_admin import BucketAdmin
from s3dict._config import DEFAULT_TIMEOUT
from s3dict._core.conditional import Applied
from s3dict._core.locks import Lease, LockTarget
from s3dict._format.capabilities import Capabilities
from s3dict._format.lock import LockRecord
from s3dict._retry import DEFAULT_POLICIES, RequestTimeoutError
from s3dict._stores.base import ObjectStore
from s3dict._stores.boto.errors import translate_exception
from s3dict._stores.memory import Operation
from s3dict._stores.shared.messages import S3Request
from s3dict._stores.shared.threads import run_blocking
from s3dict.testing import Clock, faults

from ..support.modes import Endpoint, Harness, Mode
from ..support.proxy import Fault, Proxy
from ..support.retries import quick
from ..support.servers import ACCESS_KEY, SECRET_KEY

QUICK = timedelta(seconds=0.2)
FOR_EVER = 3600.0
SAID = r"timed out.*timeout"
WRITES: tuple[Operation, ...] = ("put", "put", "delete")


@pytest.fixture(params=["seaweedfs", "seaweedfs-rust", "seaweedfs-threads"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def proxied_url(seaweedfs: Endpoint) -> str:
    return seaweedfs.url


@pytest.fixture
def request_attempts() -> int:
    """How often a read is sent: each attempt that times out takes the whole timeout."""
    return 1


@pytest.fixture
def impatient(client: Client, proxy: Proxy, request_attempts: int) -> Client:
    through_proxy = Client(
        client.bucket, prefix=client.prefix, endpoint_url=proxy.url, driver=client.driver, timeout=QUICK
    )
    return quick(through_proxy, requests=request_attempts)


@pytest.fixture
def d(client: Client, impatient: Client, mode: Mode) -> Any:
    """A dict with one entry, through the proxy."""
    made: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client).hydrate()
    made["k"] = "v" * 1000
    handle = Harness(impatient, mode).with_id(made.object_id)
    handle.wrapped._state.remember(impatient, made._state.loaded)
    return handle


def timeout_error(operation: str | None = None) -> Fault:
    return Fault("lost-request", operation, seconds=FOR_EVER)


async def repeated(call: Callable[[], Any]) -> Any:
    """Call until it responds within the timeout, which a loaded machine may exceed without a fault."""
    for _ in range(100):
        with suppress(RequestTimeoutError):
            return await call()
    return await call()


async def test_read_gives_up(d: Any, proxy: Proxy) -> None:
    proxy.faults = [timeout_error()]
    reads: list[Callable[[], Any]] = [lambda: d.get("k"), lambda: d.contains("k"), d.len]
    for read in reads:
        with pytest.raises(UnavailableError, match=SAID):
            await read()


async def test_timed_out_put_may_have_been_applied(d: Any, proxy: Proxy) -> None:
    proxy.faults = [timeout_error()]
    with pytest.raises(RequestTimeoutError, match=SAID):
        await d.put("k", 1)
    proxy.faults = []
    await repeated(lambda: d.put("k", 1))
    assert await repeated(lambda: d.get("k")) == 1


async def test_timed_out_conditional_write_is_uncertain(d: Any, proxy: Proxy) -> None:
    version = (await repeated(lambda: d.entry("k"))).version
    proxy.faults = [timeout_error("PutObject"), timeout_error("DeleteObject")]
    writes: list[Callable[[], Any]] = [lambda: d.put("k", 1, if_version=version), lambda: d.pop("k")]
    for write in writes:
        with pytest.raises(UncertainOutcomeError, match=SAID):
            await repeated(write)  # a pop reads first
    proxy.faults = []
    assert await repeated(lambda: d.get("k")) == "v" * 1000


def test_connect_timeout_wrote_nothing() -> None:
    with pytest.raises(RequestTimeoutError, match="cannot connect to the store") as caught:
        translate_exception(ConnectTimeoutError(endpoint_url="http://s"), S3Request("put_object", "b", "k", {}))
    assert caught.value.maybe_applied is False


async def test_stalled_response_times_out(d: Any, proxy: Proxy) -> None:
    proxy.faults = [Fault("stalled-response", "GetObject", seconds=FOR_EVER, cut=0.9)]
    with pytest.raises(UnavailableError, match=SAID):
        await d.get("k")


@pytest.mark.parametrize("request_attempts", [20])  # of which one is lost; more may time out on a loaded machine
async def test_request_that_times_out_is_retried(d: Any, proxy: Proxy) -> None:
    for operation, ask in (("GetObject", d.get), ("HeadObject", d.contains)):
        proxy.script(timeout_error(operation))
        assert await ask("k")


async def test_slow_response_within_the_timeout_succeeds(client: Client, proxy: Proxy, mode: Mode) -> None:
    """Longer than the impatient would."""
    Dict.objects.create("d", client=client)
    patient = Client(client.bucket, prefix=client.prefix, endpoint_url=proxy.url, driver=client.driver)
    d = Harness(patient, mode).named("d")
    proxy.script(Fault("delay", "PutObject", seconds=2 * QUICK.total_seconds()))
    with proxy.recording() as requests:
        await d.put("k", 1)
    assert sum(request.operation == "PutObject" for request in requests) == 1


@pytest.mark.parametrize("backend", ["memory"], indirect=True)
async def test_timed_out_writes_are_retried_a_limited_number_of_times(
    client: Client, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    d = Harness(client, mode).named("d", create_if_missing=True)
    version = [await d.put("k", 1), str((await d.entry("k")).version)][1]
    monkeypatch.setattr("s3dict._stores.memory.UnavailableError", RequestTimeoutError)
    writes: list[Callable[[], Any]] = [
        lambda: d.put("k", 1),
        lambda: d.put("k", 1, if_version=version),
        lambda: d.pop("k"),
    ]
    for operation, write in zip(WRITES, writes, strict=True):
        with (
            faults(client, "lost-request", operation=operation) as fault,
            pytest.raises(
                (UnavailableError, UncertainOutcomeError), match=r"The outcome is unknown|a fault that a test"
            ),
        ):
            await write()
        assert fault.hits == DEFAULT_POLICIES.writes.max_timeouts


@pytest.mark.parametrize("backend", ["memory"], indirect=True)
async def test_write_that_takes_long_and_then_fails_is_sent_again(
    client: Client, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a large body on a slow link: the store was never silent."""
    d = Harness(client, mode).named("d", create_if_missing=True)
    await d.put("k", 1)
    writes: list[Callable[[], Any]] = [
        lambda: d.put("k", 2),
        lambda: d.modify("k", lambda n: n + 1),
        lambda: d.pop("k"),
    ]
    # Any time at all is more than a few timeouts.
    monkeypatch.setattr("s3dict._stores.memory._MemoryRequests.timeout", 0.0)
    for operation, write in zip(WRITES, writes, strict=True):
        with faults(
            client, "lost-request", operation=operation, times=DEFAULT_POLICIES.writes.max_attempts - 1
        ) as fault:
            await write()
        assert fault.hits == DEFAULT_POLICIES.writes.max_attempts - 1


@pytest.mark.parametrize("backend", ["memory"], indirect=True)
async def test_renewal_is_not_retried_after_its_lease(client: Client) -> None:
    """Leaving waits for the heartbeat, and then for the release: neither goes on for longer than the lease."""
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client)
    with pytest.raises(LockLostError), d.lock("job", lease=2) as held, faults(client, "lost-request") as fault:
        clock = Clock(client)
        assert held._holding is not None
        runtime: Any = held._holding.lease.runtime
        sleep = runtime.sleep

        async def long_sleep(seconds: float) -> None:
            clock.advance(timedelta(seconds=3))
            await sleep(seconds)

        runtime.sleep = long_sleep
        assert held.renew() is True
        assert fault.hits == 2
        assert held.lost


@pytest.mark.parametrize("backend", ["seaweedfs", "seaweedfs-rust"], indirect=True)
async def test_lock_is_released_over_the_connection_that_took_it(client: Client, proxy: Proxy, mode: Mode) -> None:
    usual = Client(client.bucket, prefix=client.prefix, endpoint_url=proxy.url, driver=client.driver)
    d = Harness(usual, mode).named("d", create_if_missing=True)
    await d.hydrate()
    lock = d.wrapped.lock("job")
    await _enter(lock, mode)
    connections = set(proxy._conversations)
    await _leave(lock, mode)
    assert connections >= set(proxy._conversations)


@pytest.mark.parametrize(
    ("lease", "renewed", "released"), [(2, 1.0, 1.0), (6, 2.0, 2.0), (30, 8.0, 60.0), (180, 60.0, 60.0)]
)
def test_how_long_renewals_and_releases_wait(
    monkeypatch: pytest.MonkeyPatch, lease: float, renewed: float, released: float
) -> None:
    waited: list[float] = []

    async def write(self: Lease, store: ObjectStore, *, owner: str | None) -> Applied:
        waited.append(store.timeout)
        return Applied("etag")

    monkeypatch.setattr(Lease, "_write", write)

    async def revalidate() -> None:
        """The dict exists."""

    store = Client("b", driver="boto3")._store(aio=False)
    place = LockTarget(store, Capabilities(True, True, True), "path", "The lock", revalidate)
    held = Lease(place, LockRecord("owner", "write", lease, 1), "etag", place.store.runtime.monotonic())
    run_blocking(held.renew())
    run_blocking(held.release())
    assert waited == [renewed, released]


@pytest.mark.parametrize("backend", ["seaweedfs", "seaweedfs-rust"], indirect=True)
async def test_renewal_waits_for_less_than_what_is_left_of_its_lease(client: Client, proxy: Proxy, mode: Mode) -> None:
    """One that is lost on the way, as on a connection that broke without a word, must not cost the lock."""
    patient = Client(client.bucket, prefix=client.prefix, endpoint_url=proxy.url, driver=client.driver)
    d = Harness(patient, mode).named("d", create_if_missing=True)
    lock = d.wrapped.lock("job", lease=8)
    held = await _enter(lock, mode)
    proxy.script(timeout_error("PutObject"))
    assert await _renew(held, mode) is True
    assert held.lost is False
    await _leave(lock, mode)


async def _enter(lock: Any, mode: Mode) -> HeldLock:
    held: HeldLock = lock.__enter__() if mode is Mode.SYNC else await lock.__aenter__()
    return held


async def _renew(held: HeldLock, mode: Mode) -> bool:
    return held.renew() if mode is Mode.SYNC else await held.renew.aio()


async def _leave(lock: Any, mode: Mode) -> None:
    lock.__exit__(None, None, None) if mode is Mode.SYNC else await lock.__aexit__(None, None, None)


@pytest.mark.parametrize("backend", ["seaweedfs", "seaweedfs-rust"], indirect=True)
async def test_renewal_does_not_search_for_credentials(
    client: Client, mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a role or SSO that would be a request, and with MFA a question, from the thread of the heartbeat."""
    Dict.objects.create("d", client=client)
    found = {"Version": 1, "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY}
    (tmp_path / "found").write_text(json.dumps(found))
    (tmp_path / "find").write_text(f"echo asked >> {tmp_path}/log; cat {tmp_path}/found")
    (tmp_path / "config").write_text(f"[default]\ncredential_process = sh {tmp_path}/find\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/config")
    asking = Client(client.bucket, prefix=client.prefix, endpoint_url=client.endpoint_url, driver=client.driver)
    lock = Harness(asking, mode).named("d").wrapped.lock("job", lease=30)
    held = await _enter(lock, mode)
    assert await _renew(held, mode) is True
    await _leave(lock, mode)
    assert (tmp_path / "log").read_text() == "asked\n"


def test_shorter_timeout_has_a_store_of_its_own(client: Client) -> None:
    store = client._store(aio=False)
    assert store is store.with_timeout(store.timeout)
    quick = store.with_timeout(10.0)
    assert (quick.timeout, store.with_timeout(15.9)) == (8.0, quick)
    assert store.with_timeout(0.7).timeout == 0.5


def test_server_clock_requests_use_the_timeout(impatient: Client, proxy: Proxy) -> None:
    if impatient.driver != "obstore":
        pytest.skip("boto3 reads the time in the answer itself")
    store: Any = impatient._store(aio=False)
    proxy.faults = [timeout_error()]
    with pytest.raises(UnavailableError, match=r"clock cannot be read.*timed out"):
        store._clients.clock.time_at(0.0)


def test_bucket_admin_requests_use_the_timeout(impatient: Client, proxy: Proxy) -> None:
    proxy.faults = [timeout_error()]
    with pytest.raises(UnavailableError, match=SAID):
        BucketAdmin.of(impatient).head_bucket()


def test_timeout_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DICT_BUCKET", "b")
    assert timedelta(seconds=Client.from_env()._settings.timeout_seconds) == DEFAULT_TIMEOUT
    monkeypatch.setenv("S3DICT_TIMEOUT", "2.5")
    client = Client.from_env()
    assert client._settings.timeout_seconds == 2.5
    assert pickle.loads(pickle.dumps(client))._settings.timeout_seconds == 2.5


@pytest.mark.parametrize("wrong", ["10s", "-1", "0", "nan", "inf", "1e9"])
def test_invalid_timeout_in_the_environment_is_rejected(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DICT_BUCKET", "b")
    monkeypatch.setenv("S3DICT_TIMEOUT", wrong)
    with pytest.raises(InvalidError, match=r"(?i)timeout"):
        Client.from_env()
