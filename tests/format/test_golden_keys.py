"""What is stored in buckets must stay readable: known keys have known bytes, in every process and every Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Python source of a key: its canonical bytes. A change here makes every dict that exists forget its keys.
GOLDEN = {
    "None": "f6",
    "True": "01",
    "False": "00",
    "0": "00",
    "-0.0": "00",
    "1": "01",
    "-1": "20",
    "23": "17",
    "24": "1818",
    "255": "18ff",
    "256": "190100",
    "65536": "1a00010000",
    "2**32": "1b0000000100000000",
    "2**64 - 1": "1bffffffffffffffff",
    "2**64": "c249010000000000000000",
    "-(2**64)": "3bffffffffffffffff",
    "-(2**64) - 1": "c349010000000000000000",
    "10**40": "c2511d6329f1c35ca4bfabb9f5610000000000",
    "0.5": "f93800",
    "1.5": "f93e00",
    "-0.1": "fbbfb999999999999a",
    "0.1": "fb3fb999999999999a",
    "1e23": "c24a152d02c7e14af6000000",
    "5e-324": "fb0000000000000001",
    "1.1": "fb3ff199999999999a",
    "3.4028234663852886e+38": "c250ffffff00000000000000000000000000",
    'float("inf")': "f97c00",
    'float("-inf")': "f9fc00",
    "1j": "d9a7f882f90000f93c00",
    "complex(1.5, -0.25)": "d9a7f882f93e00f9b400",
    'complex(0, float("inf"))': "d9a7f882f90000f97c00",
    "complex(2, 0)": "02",
    'Decimal("1.10")': "c482200b",
    'Decimal("0.1")': "c4822001",
    'Decimal("-0.001")': "c4822220",
    'Decimal("1E+3")': "1903e8",
    'Decimal("0.12345678901234567890123")': "c48236c24a029d42b64e76714244cb",
    "Fraction(1, 3)": "d81e820103",
    "Fraction(-22, 7)": "d81e823507",
    "Fraction(1, 10)": "c4822001",
    "Fraction(1, 4)": "f93400",
    '""': "60",
    '"alice"': "65616c696365",
    '"é\\u0000\\U0001f600"': "67c3a900f09f9880",
    '"\\ud800"': "da5333000443eda080",
    '"x" * 24': "7818787878787878787878787878787878787878787878787878",
    'b""': "40",
    'b"\\x00\\xff"': "4200ff",
    'b"k" * 24': "58186b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b",
    "()": "80",
    '(1, "a", None)': "83016161f6",
    "(1, (2, (3,)))": "820182028103",
    "tuple(range(24))": "9818000102030405060708090a0b0c0d0e0f1011121314151617",
    "frozenset()": "d9010280",
    "frozenset({3, 1, 2})": "d9010283010203",
    'frozenset({"b", "a", "aa", b"a"})': "d9010284416161616162626161",
    "frozenset({frozenset({1}), frozenset(), (1,)})": "d90102838101d9010280d901028101",
    "date(2024, 2, 29)": "d903ec6a323032342d30322d3239",
    "date(1, 1, 1)": "d903ec6a303030312d30312d3031",
    "datetime(2024, 2, 29, 12, 30)": "da5333000373323032342d30322d32395431323a33303a3030",
    "datetime(2024, 2, 29, 12, 30, 1, 500000)": "da53330003781a323032342d30322d32395431323a33303a30312e353030303030",
    "datetime(2024, 2, 29, 12, 30, fold=1)": "da5333000373323032342d30322d32395431323a33303a3030",
    "datetime(2024, 2, 29, 12, 30, tzinfo=timezone.utc)": "c07819323032342d30322d32395431323a33303a30302b30303a3030",
    "datetime(2024, 2, 29, 12, 30, tzinfo=timezone(timedelta(hours=5, minutes=45)))": "c07819323032342d30322d32395430363a34353a30302b30303a3030",  # noqa: E501
    "datetime(1999, 12, 31, 23, 59, 59, 999999, timezone(-timedelta(hours=8)))": "c07820323030302d30312d30315430373a35393a35392e3939393939392b30303a3030",  # noqa: E501
    'UUID("12345678-1234-5678-1234-567812345678")': "d8255012345678123456781234567812345678",
    "Word.A": "6161",
    "Small.ONE": "01",
    'Point(1, "y")': "82016179",
    'Text("alice")': "65616c696365",
    'Handle("di-01HZX3V9J7Q8K4M2N6P0R5S1T3:main:scores")': "da53330002782964692d3031485a583356394a3751384b344d324e3650305235533154333a6d61696e3a73636f726573",  # noqa: E501
}

NAMESPACE = """
import json, sys
from collections import namedtuple
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from uuid import UUID
from s3dict._format.keys import KeyCodec

Point = namedtuple("Point", "x y")

class Handle(str):
    def __s3dict_id__(self):
        return str(self)

class Text(str):
    pass

class Word(str, Enum):
    A = "a"

class Small(IntEnum):
    ONE = 1
"""

ENCODE = f"""{NAMESPACE}
codec = KeyCodec(uses_pickle=False, handle=Handle)
print(json.dumps({{source: codec.encode(eval(source)).data.hex() for source in json.load(sys.stdin)}}))
"""

DECODE = f"""{NAMESPACE}
codec = KeyCodec(uses_pickle=False, handle=Handle)
print(json.dumps([source for source, data in json.load(sys.stdin).items()
                  if codec.decode(bytes.fromhex(data)) != eval(source)]))
"""


def run(interpreter: str, code: str, *path: Path, seed: str = "random") -> object:
    """What the code prints, as JSON, with the table on its standard input."""
    environment = {"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONHASHSEED": seed, "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [interpreter, "-W", "error", "-c", code],
        input=json.dumps(GOLDEN),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("seed", ["0", "1", "4294967295"])
def test_known_keys_have_their_bytes_in_every_process(seed: str) -> None:
    assert run(sys.executable, ENCODE, ROOT, seed=seed) == GOLDEN


def test_known_bytes_are_their_keys() -> None:
    assert run(sys.executable, DECODE, ROOT) == []


def interpreter_of(wanted: str) -> str | None:
    """A Python of that version that works: on PATH, where a shim may only pretend to be one, or kept by pyenv."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = shutil.which(f"python{wanted}")
    candidates = [*([found] if found else []), *map(str, sorted(kept.glob(f"{wanted}.*/bin/python{wanted}")))]
    for candidate in candidates:
        asked = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"]
        answer = subprocess.run(asked, capture_output=True, text=True, check=False)
        release, _, executable = answer.stdout.strip().partition(" ")
        if answer.returncode == 0 and release == wanted:
            return executable  # A shim goes by variables that the tests do not pass on.
    return None


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("wanted", ["3.11", "3.12", "3.13"])
def test_known_keys_have_their_bytes_in_every_python(wanted: str, tmp_path: Path) -> None:
    if wanted == "{}.{}".format(*sys.version_info):
        assert run(sys.executable, ENCODE, ROOT) == GOLDEN
        return
    interpreter = interpreter_of(wanted)
    if interpreter is None:
        pytest.skip(f"there is no working Python {wanted} here")
    packages = tmp_path / "packages"
    needed = [f"{name}=={version(name)}" for name in ("cbor2", "cloudpickle")]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-warn-script-location", "--root-user-action=ignore"]
    pip = [sys.executable, "-m", "pip", "--python", interpreter, "install", *quiet, "--target", str(packages), *needed]
    installed = subprocess.run(pip, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"cbor2 cannot be installed for Python {wanted}: {installed.stderr.strip().splitlines()[-1]}")
    assert run(interpreter, ENCODE, ROOT, packages) == GOLDEN
    assert run(interpreter, DECODE, ROOT, packages) == []
