"""The CPU of cold starts, measured so that a busy machine does not change the result.

    python -m tests.benchmarks.cold_start

Each program runs in a fresh interpreter against the stub. Where valgrind is installed, its instructions are counted;
the count of a program differs by less than a percent between runs. The CPU time that the kernel accounts to finished
processes is the median of interleaved runs.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping

from .peers.peer import REGION
from .peers.raw_aioboto3 import RawAioboto3
from .peers.raw_boto3 import RawBoto3
from .peers.raw_obstore import RawObstore
from .peers.raw_obstore_asyncio import RawObstoreAsyncio
from .peers.s3dict_obstore import S3DictObstore
from .peers.s3dict_obstore_asyncio import S3DictObstoreAsyncio
from .servers import ROOT, stub_ports

IMPORTS = {
    "nothing": "pass",
    "import obstore": "import obstore",
    "import s3dict": "import s3dict",
    "from s3dict import Client, Dict": "from s3dict import Client, Dict",
    "import boto3": "import boto3",
}
GETS = {
    "get, raw obstore": RawObstore.cold_start,
    "get, s3dict": S3DictObstore.cold_start,
    "get, raw obstore, asyncio": RawObstoreAsyncio.cold_start,
    "get, s3dict, asyncio": S3DictObstoreAsyncio.cold_start,
    "get, raw boto3": RawBoto3.cold_start,
    "get, raw aioboto3": RawAioboto3.cold_start,
}
RATIOS = (
    ("import s3dict", "import obstore", 1.0),
    ("from s3dict import Client, Dict", "import obstore", None),
    ("get, s3dict", "get, raw obstore", 1.8),
    ("get, s3dict", "get, raw boto3", 0.2),
    ("get, s3dict, asyncio", "get, raw obstore, asyncio", 1.5),
    ("get, s3dict, asyncio", "get, raw aioboto3", 0.2),
)
BUCKET, _KEY = "benchmarks", "cold/key"
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "PYTHONPATH": str(ROOT),
    "PATH": os.environ["PATH"],
    "HOME": os.environ.get("HOME", "/"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="the programs whose name contains this")
    parser.add_argument("--repetitions", type=int, default=9, help="interleaved runs for the CPU time; 0 for none")
    arguments = parser.parse_args()
    with stub_ports() as ports:
        programs = _programs(f"http://127.0.0.1:{ports['at_once']}", arguments.only)
        for program in programs.values():
            run(program)  # bytecode is written, and a program that fails is noticed
        if shutil.which("valgrind"):
            _print("instructions, millions", {name: instructions(each) / 1e6 for name, each in programs.items()})
        if arguments.repetitions:
            _print("CPU, ms", {name: 1e3 * each for name, each in _cpu(programs, arguments.repetitions).items()})


def _programs(endpoint: str, part: str) -> dict[str, str]:
    put = "from s3dict import Client, Dict; Dict.from_name('cold', create_if_missing=True, client=Client({!r}, "
    put += "endpoint_url={!r})).put('key', 'v' * 1024)"
    run(put.format(BUCKET, endpoint))
    store = "import obstore; store = obstore.store.S3Store({!r}, endpoint={!r}, client_options=dict(allow_http=True)); "
    run((store + "obstore.put(store, {!r}, b'v' * 1024)").format(BUCKET, endpoint, _KEY))
    place = {"endpoint": endpoint, "bucket": BUCKET, "key": _KEY}
    programs = IMPORTS | {name: program.format(**place) for name, program in GETS.items()}
    return {name: program for name, program in programs.items() if part in name}


def run(program: str, *before: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-c", program]
    done = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, check=False, timeout=600)
    # obstore alone in asyncio sometimes crashes as the interpreter exits, after it has printed its line.
    if done.returncode and not done.stdout:
        raise RuntimeError(f"{program}\nfailed:\n{done.stderr}")
    return done


def instructions(program: str) -> int:
    done = run(program, "valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}")
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None
    return int(found[1])


def _cpu(programs: Mapping[str, str], repetitions: int) -> dict[str, float]:
    measured: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repetitions):
        for name, program in programs.items():
            before = _cpu_of_children()
            run(program)
            measured[name].append(_cpu_of_children() - before)
    return {name: statistics.median(each) for name, each in measured.items()}


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _print(title: str, measured: Mapping[str, float]) -> None:
    print(f"\n{title}")
    for name, value in measured.items():
        print(f"  {name:35} {value:9.1f}")
    for ours, other, target in RATIOS:
        if ours in measured and other in measured:
            ratio = measured[ours] / measured[other]
            verdict = "" if target is None else f"(target {target}: {'reached' if ratio <= target else 'missed'})"
            print(f"  {ours} / {other}: {ratio:.2f} {verdict}")


if __name__ == "__main__":
    main()
