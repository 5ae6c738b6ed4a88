"""What the golden files of 0.1 hold: the writer stores it, the tests expect it.

Of the library it uses nothing but what `s3dict` itself exports. Types are the standard library's: their pickles are the
same in every version of Python that is supported, which those of a class of the tests' own need not be.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from http import HTTPStatus
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID, SafeUUID

import s3dict
from s3dict import DictInfo, Entry, Error, PermissionDeniedError, UnavailableError, UncertainOutcomeError

BUCKET = "golden-v0-1"
PREFIX = "golden"
"""A store that honours every condition."""
MODEST = "modest"
"""A store that neither deletes nor copies on a condition: removals leave tombstones."""
UNQUOTED = "unquoted"
"""A store that wants ETags without their quotes."""

CREATOR = "lambda:writer"
"""Who has created the dicts: a Lambda function of the name `writer`."""
STARTED = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
"""When the writer began, by its own clock, on which each dict takes a second."""

NEW_KEY, OLD_KEY = b"the new key, of 16 bytes or more", "the old key, and longer than what BLAKE2b takes as it is" * 2

VALUES: dict[Any, Any] = {
    "none": None,
    "true": True,
    "int": 2**70,
    "float": -0.5,
    "text": "ü\u2028字\x00",
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"changes"),
    "list": [1, [2.5, None], "three"],
    "tuple": (1, ("two", ())),
    "dict": {"a": {1: [b"x"]}, None: ()},
    "set": {1},
    "frozenset": frozenset({"x"}),
    "date": date(2024, 2, 29),
    "datetime": datetime(2024, 2, 29, 12, 30, 15, 7, timezone(timedelta(hours=2))),
    "timedelta": timedelta(days=-1, microseconds=5),
    "decimal": Decimal("1.10"),
    "uuid": UUID(int=7),
    "address": IPv4Address("10.0.0.1"),
    "long": "value" * 1000,
}

# Keys that equal one another are one key: what comes back for the aware datetime is in UTC, an int for the bool.
KEYS: dict[Any, Any] = {
    key: f"value {number}"
    for number, key in enumerate(
        (
            "text",
            "",
            "ü\u2028字/..",
            "\ud800",
            0,
            -1,
            2**64,
            -(2**70),
            10**40,
            0.5,
            -0.1,
            float("inf"),
            1j,
            ("bool", True, False),
            b"bytes",
            b"",
            None,
            (),
            ("a", 1),
            ("a", ("b", (None, (b"c", 0.25)))),
            frozenset(),
            frozenset({1, "one", (1, frozenset({2}))}),
            Decimal("0.1"),
            Decimal("12345678901234567890.5"),
            Fraction(1, 3),
            date(2024, 2, 29),
            datetime(2024, 2, 29, 12, 30),  # noqa: DTZ001 (a key without a zone is another)
            datetime(2024, 2, 29, 12, 30, 15, 7, timezone(timedelta(hours=2))),
            UUID(int=7),
            HTTPStatus.NOT_FOUND,
            "a name that does not fit into an object's name " * 10,
            ("long", b"x" * 300),
            "a key that a first look does not reach to the end of " * 400,
        )
    )
}

PICKLED_KEYS: dict[Any, Any] = {
    IPv4Address("10.0.0.1"): "an object",
    timedelta(days=1): "a timedelta",
    ("nested", (timedelta(hours=1), 2)): "inside of a tuple",
    range(3): "a range",
}

# Python versions pickle them differently: they are read everywhere, but not written alike.
OF_PYTHON: dict[Any, Any] = {SafeUUID.safe: "an Enum member", "fraction": Fraction(-22, 7)}

JSON: dict[Any, Any] = {
    "null": None,
    ("nested", 1): {"a": [1, 2.5, True, None, "ü"]},
    3: "text",
    b"k": [],
}
BYTES: dict[Any, Any] = {"empty": b"", "bytes": b"\x00\x93S3D", 1: b"x" * 100}
SIMPLE: dict[Any, Any] = {"k": "v", 1: [1]}
BUFFERS: list[bytearray] = [bytearray(range(40)), bytearray(b"second"), bytearray()]
"""What pickle passes out of band, each of it a segment of its own."""

NUMBERS = {"int16": [[1, 2, 3], [4, 5, 6]], "float64": [0.5, -1.0, 1e300], "complex128": [1j]}
"""Arrays of NumPy, by the names of their types."""

RENEWED: dict[Any, Any] = {"never": 0, "once": 1, "twice": 2}
"""How often each of them was kept alive near its end."""
NEAR_ITS_END = timedelta(days=7, hours=1)

# Of each dict: its prefix, environment and name; how it was created; what is in it.
DICTS: dict[tuple[str, str, str], tuple[dict[str, Any], dict[Any, Any]]] = {
    (PREFIX, "main", "values"): ({}, VALUES),
    (PREFIX, "main", "keys"): ({}, KEYS),
    (PREFIX, "main", "pickled-keys"): ({}, PICKLED_KEYS),
    (PREFIX, "main", "json"): ({"codec": "json"}, JSON),
    (PREFIX, "main", "bytes"): ({"codec": "bytes"}, BYTES),
    (PREFIX, "main", "kept"): ({"ttl": None}, SIMPLE),
    (PREFIX, "main", "kept.json"): ({"ttl": None, "codec": "json"}, SIMPLE),
    (PREFIX, "main", "minute"): ({"ttl": timedelta(minutes=1)}, SIMPLE),
    (PREFIX, "main", "day"): ({"ttl": timedelta(days=1, milliseconds=500)}, SIMPLE),
    (PREFIX, "main", "month"): ({"ttl": timedelta(days=30)}, SIMPLE),
    (PREFIX, "main", "quarter"): ({"ttl": timedelta(days=90)}, SIMPLE),
    (PREFIX, "main", "year"): ({"ttl": timedelta(days=367)}, SIMPLE),
    (PREFIX, "main", "empty"): ({}, {}),
    (PREFIX, "staging", "values"): ({}, SIMPLE),
    (PREFIX, "a.b-c_D", "n" * 64): ({}, SIMPLE),
    (MODEST, "main", "values"): ({}, SIMPLE),
    (MODEST, "main", "json"): ({"codec": "json", "ttl": None}, SIMPLE),
    (UNQUOTED, "main", "values"): ({}, SIMPLE),
}
REMOVED = ("removed", ("and", "another"))
"""Keys that have been in `values` of MODEST."""

LEASE = 60.0
AHEAD = datetime(2096, 1, 1, tzinfo=UTC)
"""When the lock `ahead` was taken, by a clock that was wrong: its token is far above those of today."""

PLAIN: dict[Any, Any] = {
    "text ü\n": "value\u2028",
    "": "",
    None: {"a": {"b": []}},
    1: None,
    2.5: [1, [2.5, True]],
    -(10**30): "large",
    ("a", (1, None)): "tuple",
    (): False,
}
"""What is exported as JSON Lines."""
PYTHON: dict[Any, Any] = {
    **PLAIN,
    b"bytes": b"\x00\n",
    frozenset({1}): {1: (2, 3)},
    "array": bytearray(b"x"),
    Decimal("0.1"): Fraction(1, 3),
}
"""What is exported as pickles."""

CLIENTS: dict[str, dict[str, Any]] = {
    "plain": {"bucket": "bucket"},
    "memory": {"bucket": BUCKET, "prefix": PREFIX, "driver": "memory"},
    "all settings": {
        "bucket": "another-bucket",
        "prefix": "some/prefix",
        "endpoint_url": "https://s3.example.com:9000",
        "region_name": "eu-central-2",
        "environment_name": "staging",
        "driver": "boto3",
        "max_value_bytes": 12345,
        "concurrency": 7,
        "cache": timedelta(seconds=2.5),
        "timeout": timedelta(seconds=9),
        "signing_keys": [NEW_KEY, OLD_KEY],
    },
}

INFO = DictInfo("values", STARTED, "somebody@somewhere", timedelta(days=7), "cloudpickle")
INFO_OF_NOTHING = DictInfo(None, STARTED, None, None, "json")
ENTRY: Entry[Any, Any] = Entry(("k", 1), {"v": [2]}, "00112233445566778899aabbccddeeff.etag", STARTED)


def errors() -> dict[str, Error]:
    """One of each class as it is made, and one with all of its attributes set."""
    made: dict[str, Error] = {}
    for name in sorted(s3dict.__all__):
        kind = getattr(s3dict, name)
        if isinstance(kind, type) and issubclass(kind, Error):
            made[name] = kind(f"the message of {name}")
            made[f"{name}, full"] = _full(kind)
    return made


def _full(kind: type[Error]) -> Error:
    message = f"the full message of {kind.__name__}"
    full = kind(message)
    if kind is UncertainOutcomeError:
        full = UncertainOutcomeError(message, value=["the", "value"])
    elif kind is PermissionDeniedError:
        full = PermissionDeniedError(
            message, action="s3:PutObject", resource="arn:aws:s3:::bucket/s3dict/*", policy="writer"
        )
    elif kind is UnavailableError:
        full = UnavailableError(message, sent=False)
    full.place = "Dict 'scores', key 'alice'"
    full.failed_keys = ["a", ("b", 1)]
    full.done = {"c": 3}
    full.uncertain = {"d": [4]}
    return full
