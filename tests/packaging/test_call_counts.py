"""Limits on what an import, a first get, and each further get and put take, in counts instead of times.

A count that falls should lower its limit; one that has to rise says in its commit what it pays for.
"""

from __future__ import annotations

import ast

import pytest

from .test_import_cost import run_anew, stored

__all__ = ["stored"]

COUNTING = """
import sys

executed = []
calls = 0

def hook(event, arguments):
    if event == "exec":
        executed.append(arguments[0].co_filename)

def count(frame, event, argument):
    global calls
    calls += event == "call"

def calls_of(function):
    global calls
    for _ in range(3):
        function()  # the second put still fills the caches of abstract base classes, in which cbor2 looks
    calls = 0
    sys.setprofile(count)
    function()
    sys.setprofile(None)
    return calls

def count_modules():
    return sum(name.startswith("s3dict") for name in sys.modules)

def count_sources():
    # What dataclasses and named tuples are made of, and no module.
    return executed.count("<string>")

sys.addaudithook(hook)
"""
IMPORT = """
from s3dict import Client, Dict
result = {"modules": count_modules(), "sources": count_sources()}
"""
BLOCKING = """
from s3dict import Client, Dict
d = Dict.from_name("d")
assert d.get("k") == "v"
result = {"modules": count_modules(), "sources": count_sources()}
result["get"], result["put"] = calls_of(lambda: d.get("k")), calls_of(lambda: d.put("k", "v"))
result["missing"], result["len"] = calls_of(lambda: d.get("missing")), calls_of(d.len)
"""
ASYNCIO = """
import asyncio
executed.clear()
from s3dict import Client, Dict

async def main():
    d = Dict.from_name("d")
    assert await d.get.aio("k") == "v"
    return {"modules": count_modules(), "sources": count_sources()}

result = asyncio.run(main())
"""
BOTO3 = """
from s3dict import Client, Dict
d = Dict.from_name("d")
def read():
    return d.get("missing"), d.len(), list(d.keys())
read()
executed.clear()
assert read() == (None, 1, ["k"])
result = {"sources": count_sources()}
"""
# `functools` makes a named tuple.
LIMITS = {
    "import": {"modules": 45, "sources": 1},
    "blocking": {"modules": 54, "sources": 1, "get": 107, "put": 84, "missing": 91, "len": 138},
    "asyncio": {"modules": 55, "sources": 0},
    "boto3": {"sources": 0},
}
DRIVERS = {"boto3": {"S3DICT_DRIVER": "boto3"}}
PROGRAMS = {"import": IMPORT, "blocking": BLOCKING, "asyncio": ASYNCIO, "boto3": BOTO3}


def counted(program: str, variables: dict[str, str]) -> dict[str, int]:
    code = f"{COUNTING}\n{program}\nprint(result)"
    run_anew(code, **variables)  # so that there is bytecode of every module
    result: dict[str, int] = ast.literal_eval(run_anew(code, **variables))
    return result


@pytest.mark.parametrize("name", PROGRAMS)
def test_counts_are_within_their_limits(name: str, stored: dict[str, str]) -> None:
    found = counted(PROGRAMS[name], {**stored, **DRIVERS.get(name, {})})
    assert {what: n for what, n in found.items() if n > LIMITS[name][what]} == {}


def test_planted_regressions_exceed_the_limits(stored: dict[str, str]) -> None:
    dataclass = "import dataclasses; dataclasses.make_dataclass('Planted', ['x'])\n"
    calls = "import s3dict._core.expiry as e; e.Expiry.of_entry = lambda *_: [*map(lambda _: 0, [0] * 99)].clear()\n"
    plain = counted(IMPORT, stored)
    assert counted(dataclass + IMPORT, stored)["sources"] > LIMITS["import"]["sources"] >= plain["sources"]
    assert counted(calls + BLOCKING, stored)["put"] > LIMITS["blocking"]["put"]
