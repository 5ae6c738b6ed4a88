"""What a peer has to know, and the process it runs in.

A process is given a place (an endpoint, a bucket, the concurrency) and then, on each line of its input, a task as
JSON; on each line of its output it says how long that took. It is alone with its library: nothing else runs in it.
All methods are ``async``; those of a blocking library just never suspend.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["Peer", "Place", "serve"]

REGION = "us-east-1"
_WARM_UP_ENTRIES = 128
_STATUS = Path("/proc/self/status")
_RESET_PEAK = Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True)
class Place:
    endpoint: str
    bucket: str
    concurrency: int


class Peer:
    """One way of keeping a dict in a bucket. What a library cannot do stays unwritten, and is left out of the table.

    A folder holds one dict: it is the prefix of its objects, and for s3dict the dict's name.
    """

    cold_start: ClassVar[str] = ""
    """A program that imports, connects, gets one value and prints its length.

    It has ``{endpoint}``, ``{bucket}`` and ``{key}``, which is the folder and, after a slash, the key in it.
    """

    def __init__(self, place: Place) -> None:
        self.place = place

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def put(self, folder: str, key: str, value: bytes) -> None:
        raise NotImplementedError

    async def get(self, folder: str, key: str) -> bytes:
        raise NotImplementedError

    async def put_all(self, folder: str, pairs: Iterable[tuple[str, bytes]]) -> None:
        """Put all of them, `concurrency` at a time where the library can."""
        raise NotImplementedError

    async def read_all(self, folder: str) -> int:
        """Goes through keys and values once, and keeps none; how many bytes the values had."""
        raise NotImplementedError

    async def count(self, folder: str) -> int:
        raise NotImplementedError

    async def keys(self, folder: str) -> list[str]:
        raise NotImplementedError

    async def put_array(self, folder: str, key: str, array: Any) -> None:
        await self.put(folder, key, array.tobytes())

    async def get_array(self, folder: str, key: str) -> Any:
        import numpy as np

        return np.frombuffer(await self.get(folder, key))


@dataclass(frozen=True, slots=True)
class Measured:
    """``cpu_seconds`` is that of the whole process, all its threads; ``peak_bytes`` what it grew by at most."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int | None
    instructions: int | None = None


async def measure(work: Callable[[], Awaitable[object]], *, baseline: int | None = None) -> Measured:
    """Run it. The peak is counted from `baseline` bytes, or from what the process has now."""
    baseline = _reset_peak() if baseline is None else baseline
    cpu, began = time.process_time(), time.perf_counter()
    await work()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    peak = _memory("VmHWM")
    return Measured(seconds, cpu_seconds, None if peak is None or baseline is None else peak - baseline)


def _reset_peak() -> int | None:
    """Make the kernel forget the largest resident size so far (man 5 proc); return the present one."""
    if not _RESET_PEAK.exists():
        return None
    _RESET_PEAK.write_text("5")
    return _memory("VmRSS")


def _memory(field: str) -> int | None:
    found = re.search(rf"{field}:\s+(\d+) kB", _STATUS.read_text()) if _STATUS.exists() else None
    return int(found[1]) * 1024 if found else None


class TaskRuntime:
    """The commands of a process: the methods without an underscore, which take and give what JSON can say."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def warm_up(self, folder: str) -> Measured:
        """Loads what is loaded lazily, and opens as many connections as there will be."""
        return await self.put_all(folder, _WARM_UP_ENTRIES, 1024)

    async def put(self, folder: str, n: int, size: int) -> Measured:
        """`n` puts, one after the other."""

        async def work() -> None:
            for key, value in _pairs(n, size):
                await self._peer.put(folder, key, value)

        return await measure(work)

    async def get(self, folder: str, n: int, size: int) -> Measured:
        """`n` gets, one after the other, of what `put` has put."""

        async def work() -> None:
            for key, value in _pairs(n, size):
                _check(await self._peer.get(folder, key), value)

        return await measure(work)

    async def put_all(self, folder: str, n: int, size: int) -> Measured:
        return await measure(lambda: self._peer.put_all(folder, _pairs(n, size)))

    async def read_all(self, folder: str, n: int, size: int, passes: int = 1) -> Measured:
        async def work() -> None:
            for _ in range(passes):
                _check(await self._peer.read_all(folder), n * size)

        return await measure(work)

    async def count(self, folder: str, n: int) -> Measured:
        async def work() -> None:
            _check(await self._peer.count(folder), n)

        return await measure(work)

    async def keys(self, folder: str, n: int) -> Measured:
        async def work() -> None:
            _check(len(await self._peer.keys(folder)), n)

        return await measure(work)

    async def put_array(self, folder: str, size: int) -> Measured:
        """The array is part of what the process grows by."""
        import numpy as np

        numbers, baseline = np.random.default_rng(0), _reset_peak()
        array = numbers.random(size // 8)
        return await measure(lambda: self._peer.put_array(folder, f"array-{size}", array), baseline=baseline)

    async def get_array(self, folder: str, size: int) -> Measured:
        async def work() -> None:
            _check((await self._peer.get_array(folder, f"array-{size}")).nbytes, size)

        return await measure(work)

    async def cold_start(self, folder: str) -> Measured:
        """A fresh interpreter, from its start until it has the value. CPU time is until its end."""
        measured, printed = _run_anew(self._cold_start_program(folder))
        _check(int(printed or 0), 1024)
        return measured

    async def cold_start_instructions(self, folder: str) -> Measured:
        """The instructions of that interpreter, until its end."""
        from ..instructions import count_instructions

        return Measured(0, 0, None, count_instructions(self._cold_start_program(folder)))

    def _cold_start_program(self, folder: str) -> str:
        if not self._peer.cold_start:
            raise NotImplementedError
        key, _ = next(iter(_pairs(1, 1024)))
        place = {"endpoint": self._peer.place.endpoint, "bucket": self._peer.place.bucket}
        return self._peer.cold_start.format(key=f"{folder}/{key}", **place)


def _run_anew(program: str) -> tuple[Measured, bytes]:
    """What a program took until it printed a line, by the kernel's account of it when it ended, and the line."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        printed = process.stdout.readline()
        seconds = time.perf_counter() - began
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024), printed


def _pairs(n: int, size: int) -> Iterable[tuple[str, bytes]]:
    """Text, because that is what all of the peers can keep."""
    value = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    return ((f"key-{number:06d}", value) for number in range(n))


def _check(actual: object, expected: object) -> None:
    if actual != expected:
        raise ValueError(f"wrong result: {str(actual)[:80]}, not {str(expected)[:80]}")


def serve(kind: type[Peer]) -> None:
    """The whole life of a process: what a peer's file ends with."""
    endpoint, bucket, concurrency = sys.argv[1:]
    asyncio.run(_serve(kind(Place(endpoint, bucket, int(concurrency)))))


async def _serve(peer: Peer) -> None:
    # What a library prints must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    await peer.open()
    try:
        for line in sys.stdin:
            print(json.dumps(await _answer(TaskRuntime(peer), **json.loads(line))), file=answers, flush=True)
    finally:
        await peer.close()


async def _answer(tasks: TaskRuntime, task: str, parameters: dict[str, Any]) -> dict[str, Any]:
    try:
        return asdict(await getattr(tasks, task)(**parameters))
    except NotImplementedError:
        return {"unsupported": task}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
