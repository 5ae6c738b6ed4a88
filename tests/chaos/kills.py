"""Servers are killed with SIGKILL under load, and restarted."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import boto3

from s3dict import Client

from ..support.ceph import CephGateway
from .results import Result
from .runner import Lab, Rounds, seaweed

__all__ = ["radosgw_killed", "seaweed_killed"]

ROUND_SECONDS = 4.0
SHORT_ROUND_SECONDS = 2.0
TIMEOUT = 10.0


class Server(Protocol):
    def kill(self) -> None: ...

    def start(self) -> object: ...


@dataclass(slots=True)
class Crashes:
    count: int = 0
    failure: list[BaseException] = field(default_factory=list)


@contextmanager
def crashing(server: Server, seconds: float) -> Iterator[Crashes]:
    """Kill the server once in the given time, and start it again at once or a little later."""
    crashes, ended = Crashes(), threading.Event()

    def crash() -> None:
        try:
            if not ended.wait(random.uniform(0.2, 0.6) * seconds):
                server.kill()
                crashes.count += 1
                time.sleep(random.choice((0.0, 0.5)))
                server.start()
        except BaseException as error:
            crashes.failure.append(error)

    thread = threading.Thread(target=crash)
    thread.start()
    try:
        yield crashes
    finally:
        ended.set()
        thread.join()
    if crashes.failure:
        raise crashes.failure[0]


def seaweed_killed(lab: Lab) -> Result:
    with seaweed(lab.folder("seaweed")) as server:
        client = Client(server.bucket, prefix="chaos", endpoint_url=server.endpoint_url, driver="boto3")
        return server_killed(lab, "SeaweedFS", server, client)


def radosgw_killed(lab: Lab) -> Result:
    """Kill the gateway alone: its disk is in memory."""
    keys = {"access_key": os.environ["AWS_ACCESS_KEY_ID"], "secret_key": os.environ["AWS_SECRET_ACCESS_KEY"]}
    with CephGateway(lab.folder("ceph"), day_seconds=86400, **keys) as gateway:
        s3: Any = boto3.client("s3", endpoint_url=gateway.url)
        s3.create_bucket(Bucket="s3dict-chaos")
        s3.close()
        client = Client("s3dict-chaos", prefix="chaos", endpoint_url=gateway.url, driver="boto3")
        # A put without a condition that meets one with a condition is answered 200 there, and not made.
        return server_killed(lab, f"radosgw {gateway.version()}", gateway, client, plain_puts=False)


def server_killed(lab: Lab, name: str, server: Server, client: Client, *, plain_puts: bool = True) -> Result:
    """Clients recover without help, and every acknowledged entry exists afterwards."""
    began, kills, seconds = time.monotonic(), 0, ROUND_SECONDS if lab.full else SHORT_ROUND_SECONDS
    rounds = Rounds(lab, client, TIMEOUT)
    while not kills or time.monotonic() - began < lab.seconds:
        with crashing(server, seconds) as crashes:
            worked = rounds.work(client, seconds, plain_puts=plain_puts)
        kills += crashes.count
        rounds.check(*worked)
    return rounds.result("server killed in mid-traffic", name, began, {"kills": kills})
