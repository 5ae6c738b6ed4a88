"""Calls whose response is lost, and whose outcome then cannot be read: the value is not lost with it."""

from __future__ import annotations

from typing import Any

import pytest

from s3dict import Client, Dict
from s3dict._stores.memory import memory_bucket
from s3dict.errors import UncertainOutcomeError
from s3dict.testing import faults


@pytest.mark.parametrize("pop", [lambda d: {"k": d.pop("k")}, lambda d: d.pop_many(["k"])])
def test_removal_of_which_a_foreign_object_hides_the_outcome_carries_the_value(
    handle: Dict[Any, Any], client: Client, pop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle["k"] = "precious"
    bucket = memory_bucket(client.bucket)
    [path] = [path for path in bucket.objects if "/entries/" in path]
    remove = bucket.remove

    def remove_and_replace(removed: str) -> None:
        remove(removed)
        bucket.write(path, b"not an entry of s3dict")

    monkeypatch.setattr(bucket, "remove", remove_and_replace)
    with faults(client, "lost-response", operation="delete", times=1), pytest.raises(UncertainOutcomeError) as caught:
        pop(handle)
    assert "precious" in (caught.value.value, *caught.value.uncertain.values())
