"""The server's disk is full: puts raise, no acknowledged entry is lost, and clients continue when there is space."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from s3dict import Client, Dict, UnavailableError, UncertainOutcomeError
from s3dict._stores.shared.threads import run_blocking

from ..support.modes import AnyMode, Mode
from .journal import value_of
from .results import Result
from .runner import Lab, seaweed

__all__ = ["NotPossibleError", "disk_full"]

SMALL, ENOUGH = "24m", "512m"
_STEP = 40
"""The numbers of the journal's large values are multiples of it: they fill the disk soonest."""
_MOST = 1000


class NotPossibleError(Exception):
    """The scenario cannot run on this machine."""


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """Mount a small file system in memory on the directory."""
    try:
        _mount("-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(directory))
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotPossibleError(f"a small disk is mounted by root alone: {error}") from error
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@dataclass(slots=True)
class _Writer:
    """A client that fills the disk, fails, and continues when there is space."""

    d: Any
    name: str
    mode: Mode
    acknowledged: list[int] = field(default_factory=list)
    operations: int = 0
    violations: list[str] = field(default_factory=list)

    def run(self, coroutine: Any) -> None:
        run_blocking(coroutine) if self.mode is Mode.SYNC else asyncio.run(coroutine)

    async def put(self, number: int, **condition: Any) -> bool:
        """Return whether the put was acknowledged. Only two errors may be raised."""
        self.operations += 1
        try:
            await self.d.put((self.name, number), value_of(self.name, number), **condition)
        except (UnavailableError, UncertainOutcomeError) as error:
            if "500" not in str(error):
                self.violations.append(f"the error does not say what the server answered: {error}")
            return False
        self.acknowledged.append(number)
        return True

    async def fill(self) -> None:
        for number in range(_STEP, _STEP * _MOST, _STEP):
            if not await self.put(number):
                break
        else:
            self.violations.append("the disk was never full")
        await self.put(_STEP * _MOST, skip_if_exists=True)

    async def compare(self) -> None:
        for number in self.acknowledged:
            self.operations += 1
            if await self.d.get((self.name, number)) != value_of(self.name, number):
                self.violations.append(f"the acknowledged entry {number} of {self.name} is lost or torn")

    async def remove_some(self) -> None:
        for number in self.acknowledged[::2]:
            self.operations += 1
            if await self.d.pop((self.name, number)) != value_of(self.name, number):
                self.violations.append(f"the entry {number} of {self.name} could not be taken out of a full disk")
        del self.acknowledged[::2]

    async def go_on(self) -> None:
        if not await self.put(_STEP * (_MOST + 1)):
            self.violations.append(f"{self.name} does not go on when there is room again")


def disk_full(lab: Lab) -> Result:
    began, folder = time.monotonic(), lab.folder("small-disk")
    with small_disk(folder), seaweed(folder) as server:
        made: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=_client(server, "boto3")).hydrate()
        crew = list(product(("boto3", "obstore"), Mode))
        writers = [_writer(made, server, *each) for each in (crew if lab.full else crew[1:3])]
        _all(writers, _Writer.fill)
        _all(writers, _Writer.compare)
        _all(writers, _Writer.remove_some)
        _mount("-o", f"remount,size={ENOUGH}", str(folder))
        # It would notice by itself, in a minute.
        server.kill()
        server.start()
        _all(writers, _Writer.go_on)
        _all(writers, _Writer.compare)
    violations = tuple(said for writer in writers for said in writer.violations)
    operations = sum(writer.operations for writer in writers)
    return Result(
        "disk full, then enlarged", "SeaweedFS", time.monotonic() - began, operations, {"disk filled": 1}, violations
    )


def _all(writers: list[_Writer], doing: Any) -> None:
    with ThreadPoolExecutor(len(writers)) as pool:
        list(pool.map(lambda writer: writer.run(doing(writer)), writers))


def _client(server: Any, driver: Any) -> Client:
    return Client(server.bucket, prefix="chaos", endpoint_url=server.endpoint_url, driver=driver)


def _writer(made: Dict[Any, Any], server: Any, driver: Any, mode: Mode) -> _Writer:
    d = Dict.from_id(made.object_id, _client(server, driver)).hydrate()
    return _Writer(AnyMode(d, mode), f"{driver}-{mode.value}-{os.getpid()}", mode)
