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


def test_errors_of_removals_name_the_attribute_that_has_the_value(handle: Dict[Any, Any], client: Client) -> None:
    def message_of(remove: Any) -> str:
        handle["k"] = "precious"
        with (
            faults(client, "lost-response", operation="delete", times=1),
            pytest.raises(UncertainOutcomeError) as caught,
        ):
            remove("k")
        return str(caught.value)

    assert message_of(handle.pop).endswith(" The value is the error's `value`")
    assert "`value`" not in message_of(handle.discard)
    assert "`value`" not in message_of(handle.__delitem__)
    assert "`value`" not in (popped := message_of(lambda key: handle.pop_many([key])))
    assert "What may have been removed is the error's `uncertain`" in popped


def test_key_that_may_have_been_removed_is_not_among_the_failed_ones(handle: Dict[Any, Any], client: Client) -> None:
    handle["k"] = "precious"
    with faults(client, "lost-response", operation="delete", times=1), pytest.raises(UncertainOutcomeError) as caught:
        handle.pop_many(["k"])
    assert (caught.value.failed_keys, caught.value.uncertain) == ((), {"k": "precious"})
