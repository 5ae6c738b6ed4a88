"""One process of the mixed test: runs commands with whichever release of s3dict is first on its path.

Each line of standard input is a JSON array ``[operation, arguments]``; each line of standard output is
``["result", ...]`` or ``["error", name of the exception, message]``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import s3dict
from s3dict import Client, Dict


def main(url: str, bucket: str, prefix: str) -> None:
    client = Client(bucket, prefix=prefix, endpoint_url=url, driver="boto3")
    d: Any = Dict.from_name("shared", create_if_missing=True, client=client)
    operations = {
        "where": lambda: s3dict.__file__,
        "hydrate": lambda: d.hydrate() and d.object_id,
        "put": d.put,
        "put_if_missing": lambda key, value: d.put(key, value, skip_if_exists=True),
        "put_version": lambda key, value, version: d.put(key, value, if_version=version),
        "put_with_ttl": lambda key, value, ttl: d.put(key, value, ttl=ttl),
        "version": lambda key: d.entry(key).version,
        "get": d.get,
        "contains": d.contains,
        "pop": lambda key: d.pop(key, None),
        "increment": lambda key: d.modify(key, lambda number: number + 1, 0),
        "setdefault": d.setdefault,
        "get_or_compute": lambda key, value: d.get_or_compute(key, lambda: value),
        "update": d.update,
        "get_many": lambda keys: sorted(d.get_many(keys).items()),
        "pop_many": lambda keys: sorted(d.pop_many(keys).items()),
        "len": d.len,
        "keys": lambda: sorted(d.keys()),
        "items": lambda: sorted(d.items()),
        "clear": d.clear,
        "lock": lambda name: _with_lock(d, name),
        "list": lambda: sorted(str(found.name) for found in Dict.objects.list(client=client)),
    }
    for line in sys.stdin:
        operation, arguments = json.loads(line)
        try:
            answer: list[Any] = ["result", operations[operation](*arguments)]
        except Exception as error:
            answer = ["error", type(error).__name__, str(error)]
        print(json.dumps(answer), flush=True)


def _with_lock(d: Any, name: str) -> bool:
    with d.lock(name, lease=10, timeout=0) as held:
        return not held.lost


if __name__ == "__main__":
    main(*sys.argv[1:])
