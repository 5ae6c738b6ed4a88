"""moto behind one lock: real clients work, and a race has one winner."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.core.base_backend import BackendDict

from tests.support.moto_server import MotoServer

from .conftest import Connect

CONTENDERS = 8
ROUNDS = 40


@pytest.fixture
def server() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


@pytest.fixture
def client(server: MotoServer, connect: Connect) -> Any:
    client = connect(server.url)
    client.create_bucket(Bucket="bucket")
    return client


def test_object_can_be_put_read_listed_and_deleted(client: Any) -> None:
    client.put_object(Bucket="bucket", Key="a/key", Body=b"body")
    assert client.get_object(Bucket="bucket", Key="a/key")["Body"].read() == b"body"
    assert [entry["Key"] for entry in client.list_objects_v2(Bucket="bucket", Prefix="a/")["Contents"]] == ["a/key"]
    client.delete_object(Bucket="bucket", Key="a/key")
    assert client.list_objects_v2(Bucket="bucket", Prefix="a/")["KeyCount"] == 0


def test_large_body_survives(client: Any) -> None:
    body = bytes(range(256)) * 40_000
    client.put_object(Bucket="bucket", Key="key", Body=body)
    assert client.get_object(Bucket="bucket", Key="key")["Body"].read() == body


def test_every_race_has_one_winner(client: Any) -> None:
    start = threading.Barrier(CONTENDERS)
    wins: list[int] = []

    def contend() -> None:
        for number in range(ROUNDS):
            start.wait()
            try:
                client.put_object(Bucket="bucket", Key=f"{number}", Body=b"", IfNoneMatch="*")
            except ClientError:
                continue
            wins.append(number)

    contenders = [threading.Thread(target=contend) for _ in range(CONTENDERS)]
    for contender in contenders:
        contender.start()
    for contender in contenders:
        contender.join()
    assert sorted(wins) == list(range(ROUNDS))


def test_servers_share_their_buckets_until_the_last_is_closed(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server of other tests may be open in this process: it is not counted, and its buckets are not removed.
    removals: list[int] = []
    monkeypatch.setattr(MotoServer, "_open", 0)
    monkeypatch.setattr(BackendDict, "reset", lambda: removals.append(MotoServer._open))
    with MotoServer() as first:
        connect(first.url).create_bucket(Bucket="bucket")
        with MotoServer() as second:
            connect(second.url).head_bucket(Bucket="bucket")
        connect(first.url).head_bucket(Bucket="bucket")
        assert removals == []
    assert removals == [0]


def test_closing_does_not_wait_for_idle_clients(connect: Connect) -> None:
    before = set(threading.enumerate())
    with MotoServer() as server:
        connect(server.url).create_bucket(Bucket="bucket")
    assert set(threading.enumerate()) == before
