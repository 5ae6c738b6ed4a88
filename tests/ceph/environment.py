"""A bucket that `s3dict init` has set up, where a day is a few seconds, for the server and its clients alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

import boto3

from s3dict import Client, Dict
from s3dict._admin.provision import Outcome, provision

from ..support.ceph import CephGateway
from ..support.proxy import Proxy
from ..support.time_travel import TimeTravel

__all__ = ["DAY_SECONDS", "Calendar", "Environment"]

DAY_SECONDS = 4
"""Ceph looks at the whole second in which an object was written: the second is a quarter of a day here.

A pass over the rules takes Ceph 2 s, of the one day that it gives itself.
"""
_PATIENCE_DAYS = 6
"""Most passes begin a day after the last, but on a busy machine one may not reach the last rule."""
_POLL_SECONDS = 0.5
_BUCKET = "s3dict-lifecycle"


class Environment:
    """The client goes through a proxy that makes the clock run faster; `listing` and `swept` ask Ceph itself."""

    def __init__(self, gateway: CephGateway) -> None:
        self._gateway = gateway
        self._prefix = f"{Client(_BUCKET).prefix}/"
        with ExitStack() as opened:
            proxy = opened.enter_context(Proxy(gateway.url))
            TimeTravel(proxy, scale=timedelta(days=1) / timedelta(seconds=DAY_SECONDS))
            self._s3: Any = boto3.client("s3", endpoint_url=gateway.url)
            opened.callback(self._s3.close)
            # obstore's driver knows that no clock runs so fast: it would go by ours.
            self.client = Client(_BUCKET, endpoint_url=proxy.url, driver="boto3")
            outcomes = {step.name: step.outcome for step in provision(Client(_BUCKET, endpoint_url=gateway.url))}
            assert outcomes["sweep rules"] == Outcome.CHANGED, outcomes
            self._opened = opened.pop_all()

    def __enter__(self) -> Environment:
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    def dict(self, name: str, **options: Any) -> Dict[Any, Any]:
        return Dict.from_name(name, create_if_missing=True, client=self.client, **options).hydrate()

    def read(self, path: str) -> bytes:
        body: bytes = self._s3.get_object(Bucket=_BUCKET, Key=self._prefix + path)["Body"].read()
        return body

    def listing(self, under: str) -> Mapping[str, tuple[datetime, int]]:
        """What the bucket contains: when it was written, by Ceph's own clock, and how large it is."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=_BUCKET, Prefix=self._prefix + under)
        lines = (line for page in pages for line in page.get("Contents", ()))
        return {line["Key"].removeprefix(self._prefix): (line["LastModified"], line["Size"]) for line in lines}

    def wait_until_left(self, number: int, under: str) -> None:
        """Wait for the passes of the lifecycle, when the objects are old enough for them."""
        calendar = Calendar()
        while number != (left := len(self.listing(under))):
            assert calendar.now() < _PATIENCE_DAYS, f"{left} objects are left under {under}"
            time.sleep(_POLL_SECONDS)

    def swept(self, under: str) -> int:
        """How many objects Ceph's lifecycle has deleted so far."""
        return sum(path.startswith(self._prefix + under) for path in self._gateway.swept())


class Calendar:
    """The days since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def now(self) -> float:
        return (time.monotonic() - self._began) / DAY_SECONDS

    def wait_until(self, day: float) -> None:
        """Nothing but time makes a real lifecycle sweep."""
        time.sleep(max(0.0, day - self.now()) * DAY_SECONDS)
