"""Writes the golden files of 0.1. It has to run with the code of that release, and with nothing newer::

    git worktree add /tmp/v0.1 a59c6e5
    cp -r tests/golden /tmp/v0.1/tests/
    cd /tmp/v0.1 && python -m tests.golden.write_v0_1 .../tests/golden/v0_1

What it writes:

* ``bucket.json``: each object by its name, as text where it is JSON, else as base64
* ``pickles.json``: pickles of handles, clients, errors and the rest of what the package exports, by protocol
* ``export.jsonl`` and ``export.pickle``: as ``s3dict export`` writes them

Random bytes and clocks are replaced, so two runs write the same; but what is pickled by value (functions of `__main__`,
which only the Python that wrote them reads) holds the path of the checkout.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, tzinfo
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import cloudpickle
import numpy as np

import s3dict
from s3dict import Client, Dict, NotFoundError, memoize
from s3dict.testing import Clock
from s3dict.testing.memory import bucket_of

from . import contents_v0_1 as contents

PROTOCOLS = (2, 3, 4, 5)
FUNCTIONS = """
def squared(number):
    return number * number

def found(key):
    try:
        return handle[key], Dict.__name__
    except NotFoundError as error:
        return str(error)
"""


def main(target: Path) -> None:
    root = Path.cwd()
    assert Path(s3dict.__file__).is_relative_to(root), f"{s3dict.__file__} is not that of the checkout {root}"
    assert 'version = "0.1.0"' in (root / "pyproject.toml").read_text(encoding="utf-8")
    target.mkdir(parents=True, exist_ok=True)
    objects, pickles = written()
    _save(target / "bucket.json", {name: as_text(body) for name, body in sorted(objects.items())})
    _save(target / "pickles.json", pickles)
    export(target / "export.jsonl", "jsonl", contents.PLAIN)
    export(target / "export.pickle", "pickle", contents.PYTHON | {"handle": Dict.from_name("values")})


def as_text(body: bytes) -> dict[str, str]:
    return {"text": body.decode()} if body.startswith(b"{") else {"base64": base64.b64encode(body).decode()}


def written() -> tuple[dict[str, bytes], dict[str, Any]]:
    """The bucket's objects, and pickles of what one may have in hand while they are there."""
    with replaced() as time:
        client = client_of(contents.PREFIX)
        bucket, kept = bucket_of(client, "the writer"), dict[str, bytes]()

        def keep() -> None:
            # What is kept stays as it was: the lock `held` is released after that.
            for name, held in bucket.objects.items():
                kept.setdefault(name, bytes(held.body))

        plain_dicts(time)
        modest_dicts()
        signed_dict(time)
        arrays(time)
        of_python(time)
        segments(time)
        pickles = Pickles()
        with Dict.ephemeral(client=client) as ephemeral:
            ephemeral["k"] = "v"
            all_pickles(client, ephemeral, pickles, time)
            handles(client, ephemeral, time)
            locks(client, time, keep)
        keep()
        versions = [(key, Dict.from_name("values", client=client).entry(key)) for key in contents.VALUES]
        # The clock goes on: this is the last that is written.
        renewed(client, time, keep)
        return kept, {
            "python": list(sys.version_info[:2]),
            "versions": {key: entry.version for key, entry in versions if entry is not None},
            "pickles": pickles.made,
        }


def client_of(prefix: str, **settings: Any) -> Client:
    return Client(contents.BUCKET, prefix=prefix, driver="memory", **settings)


def create(time: Time, name: str, *, client: Client | None = None, **choice: Any) -> Dict[Any, Any]:
    time.now += timedelta(seconds=1)
    client = client or client_of(contents.PREFIX)
    return Dict.from_name(name, create_if_missing=True, client=client, **choice).hydrate()


def plain_dicts(time: Time) -> None:
    for prefix, capabilities in ((contents.MODEST, (True, False, False)), (contents.UNQUOTED, (False, True, False))):
        names = ("quoted_etags", "conditional_delete", "conditional_copy")
        store = {"format": 1, "store": dict(zip(names, capabilities, strict=True))}
        bucket = bucket_of(client_of(prefix), "the writer")
        bucket.write(f"{prefix}/store.json", json.dumps(store, indent=1).encode())
    for (prefix, environment, name), (choice, entries) in contents.DICTS.items():
        handle = create(time, name, client=client_of(prefix), environment_name=environment, **choice)
        for key, value in entries.items():
            handle[key] = value


def modest_dicts() -> None:
    client = client_of(contents.MODEST)
    values = Dict.from_name("values", client=client)
    for key in contents.REMOVED:
        values[key] = "value"
        assert values.pop(key) == "value"
    Dict.objects.create("deleted", client=client)
    Dict.objects.delete("deleted", client=client)


def signed_dict(time: Time) -> None:
    old = client_of(contents.PREFIX, signing_keys=[contents.OLD_KEY])
    create(time, "signed", client=old)["old"] = "signed with the old key"
    new = client_of(contents.PREFIX, signing_keys=[contents.NEW_KEY, contents.OLD_KEY])
    Dict.from_name("signed", client=new)["new"] = ["signed with the new key"]


def arrays(time: Time) -> None:
    handle = create(time, "arrays")
    for kind, numbers in contents.NUMBERS.items():
        handle[kind] = np.array(numbers, dtype=kind)


def of_python(time: Time) -> None:
    handle = create(time, "of-python")
    for key, value in contents.OF_PYTHON.items():
        handle[key] = value


def segments(time: Time) -> None:
    create(time, "segments")["buffers"] = [pickle.PickleBuffer(buffer) for buffer in contents.BUFFERS]


def handles(client: Client, ephemeral: Dict[Any, Any], time: Time) -> None:
    """Handles, clients and the like as values and as keys."""
    named, values = Dict.from_name("values", client=client), Dict.from_name("values", client=client).hydrate()
    handle = create(time, "handles")
    handle["by name"] = named
    handle["by id"] = values
    handle["ephemeral"] = ephemeral
    handle["in a list"] = [values, client, values]
    handle["elsewhere"] = Dict.from_name("values", client=client_of(contents.MODEST))
    handle["info"] = contents.INFO
    handle["entry"] = contents.ENTRY
    handle["errors"] = contents.errors()
    create(time, "handles-as-keys", codec="json")[values] = "a key"
    Dict.from_name("handles-as-keys", client=client)[("nested", values)] = "inside of a tuple"


def locks(client: Client, time: Time, keep: Any) -> None:
    handle = create(time, "locks")
    with handle.lock("free", lease=contents.LEASE):
        pass
    with handle.lock("taken twice", lease=contents.LEASE):
        pass
    with handle.lock("taken twice", lease=contents.LEASE / 2):
        pass
    assert handle.get_or_compute("computed", lambda: 1, lease=contents.LEASE) == 1
    with time.at(contents.AHEAD), handle.lock("ahead", lease=contents.LEASE):
        pass
    with handle.lock("held", lease=contents.LEASE):
        keep()


def renewed(client: Client, time: Time, keep: Any) -> None:
    handle, clock = create(time, "renewed"), Clock(client)
    for key, value in contents.RENEWED.items():
        handle[key] = value
    for times in (1, 2):
        clock.advance(contents.NEAR_ITS_END)
        for key, value in contents.RENEWED.items():
            assert value < times or handle[key] == value
    folder = f"{contents.PREFIX}/sweep-8d/named/main/renewed/{handle.object_id[3:].split(':')[0]}/entries/"
    counted = sorted(held.body[5] for name, held in bucket_of(client, "the writer").objects.items() if folder in name)
    assert counted == [0, 1, 2], counted
    keep()


class Pickles:
    """Pickles by name, each in every protocol; that of cloudpickle only where it is another."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, str]] = {}

    def add(self, name: str, value: Any) -> None:
        plain = {f"protocol {protocol}": pickle.dumps(value, protocol) for protocol in PROTOCOLS}
        by_value = cloudpickle.dumps(value, protocol=5)
        if by_value != plain["protocol 5"]:
            plain["cloudpickle"] = by_value
        self._keep(name, plain)

    def add_by_value(self, name: str, value: Any) -> None:
        self._keep(name, {"cloudpickle": cloudpickle.dumps(value, protocol=5)})

    def _keep(self, name: str, made: dict[str, bytes]) -> None:
        assert name not in self.made
        self.made[name] = {how: base64.b64encode(data).decode() for how, data in made.items()}


def all_pickles(client: Client, ephemeral: Dict[Any, Any], pickles: Pickles, time: Time) -> None:
    named, values = Dict.from_name("values", client=client), Dict.from_name("values", client=client).hydrate()
    by_asyncio = Dict.from_name("values", client=client)
    asyncio.run(by_asyncio.hydrate.aio())
    every: dict[str, Any] = {
        "ttl": timedelta(hours=1),
        "codec": "json",
        "environment_name": "staging",
        "create_if_missing": True,
    }
    for name, value in {
        "by name": named,
        "by name, of an environment": Dict.from_name("values", environment_name="staging", client=client),
        "by name, to be made": Dict.from_name("to-be-made", client=client, **every),
        "by name, kept": Dict.from_name("kept", ttl=None, client=client),
        "by name, without a client": Dict.from_name("values"),
        "by id": Dict.from_id(values.object_id, client),
        "by id, without a client": Dict.from_id(values.object_id),
        "hydrated": values,
        "hydrated by asyncio": by_asyncio,
        "listed": Dict.objects.list(client=client, environment_name="staging")[0],
        "ephemeral": ephemeral,
        "context": Dict.ephemeral(client=client),
        "context, without a client": Dict.ephemeral(),
        "mapping": named.as_mapping(),
        "bound": values.__getitem__,
        "in a list": [values, client, values],
        "alias": Dict[str, int],
    }.items():
        pickles.add(f"handle {name}", value)
    for name, settings in contents.CLIENTS.items():
        pickles.add(f"client {name}", Client(**settings))
    for name, error in contents.errors().items():
        pickles.add(f"error {name}", error)
    pickles.add("info", contents.INFO)
    pickles.add("info of nothing", contents.INFO_OF_NOTHING)
    pickles.add("entry", contents.ENTRY)
    for name in s3dict.__all__:
        pickles.add(f"name {name}", getattr(s3dict, name))
    for kind in (type(values.lock("lock")), type(values.as_mapping()), type(Dict.objects), type(Dict.ephemeral())):
        pickles.add(f"type {kind.__name__}", kind)
    pickles.add("function from_name", Dict.from_name)
    pickles.add("function from_id", Dict.from_id)
    pickles.add_by_value("module s3dict", s3dict)
    pickles.add_by_value("module s3dict.errors", import_module("s3dict.errors"))
    functions = {"__name__": "__main__", "handle": values, "Dict": Dict, "NotFoundError": NotFoundError}
    exec(compile(FUNCTIONS, "<functions>", "exec"), functions)
    pickles.add_by_value("by value found", functions["found"])
    results = create(time, "memoized")
    squared: Any = memoize(results)(functions["squared"])  # type: ignore[arg-type]
    assert squared(3) == 9
    pickles.add_by_value("by value squared", squared)


def export(file: Path, form: str, entries: dict[Any, Any]) -> None:
    transfer = import_module("s3dict.transfer")
    with file.open("wb") as sink:
        for _ in transfer.write_records(entries.items(), sink, transfer.Format(form)):
            pass


class Time:
    """The clock of the writer."""

    def __init__(self) -> None:
        self.now = contents.STARTED

    @contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        before, self.now = self.now, moment
        yield
        self.now = before


@contextmanager
def replaced() -> Iterator[Time]:
    """Random bytes, clocks and the creator's name are the same in each run."""
    time, numbers = Time(), itertools.count()

    class Moment(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return time.now.astimezone(tz)

    def urandom(size: int) -> bytes:
        return hashlib.blake2b(next(numbers).to_bytes(8, "big"), digest_size=size).digest()

    clocks = ("s3dict.core.hydration", "s3dict.core.locks", "s3dict.core.probe", "s3dict.stores.memory")
    function = contents.CREATOR.removeprefix("lambda:")
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("S3DICT_", "AWS_"))}
    with ExitStack() as patches:
        for module in clocks:
            assert hasattr(import_module(module), "datetime")
            patches.enter_context(mock.patch(f"{module}.datetime", Moment))
        patches.enter_context(mock.patch("os.urandom", urandom))
        patches.enter_context(
            mock.patch.dict(os.environ, settings | {"AWS_LAMBDA_FUNCTION_NAME": function}, clear=True)
        )
        yield time


def _save(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
