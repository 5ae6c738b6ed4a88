"""An entry that was copied to another object name is not returned beside the original."""

from __future__ import annotations

from typing import Any

import pytest

from s3dict import Client, Dict
from s3dict._stores.memory import forget_memory_bucket, memory_bucket
from s3dict.errors import IntegrityError


def test_copy_under_the_hash_alone_is_not_returned_as_a_second_entry() -> None:
    d: Dict[Any, Any] = Dict.from_name(
        "d", create_if_missing=True, client=Client("copied", driver="memory", signing_keys=["0123456789abcdef"])
    )
    d["k"] = "old"
    bucket = memory_bucket("copied")
    [path] = [path for path in bucket.objects if "/entries/" in path]
    bucket.write(path.rpartition(".")[0], bucket.objects[path].body)
    d["k"] = "new"
    assert d["k"] == "new"
    with pytest.raises(IntegrityError, match="copied or moved"):
        list(d.items())
    forget_memory_bucket("copied")


def test_names_of_keys_that_are_pickled_long_or_plain_are_accepted() -> None:
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=Client("names", driver="memory"))
    keys = ["plain", 7, ("a", 1), "long" * 100, complex(1, 2), frozenset({1, 2}), range(3)]
    d.update({key: number for number, key in enumerate(keys)})
    assert dict(d.items()) == {key: number for number, key in enumerate(keys)}
    forget_memory_bucket("names")
