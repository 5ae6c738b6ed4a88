"""zict's checks of mappings over Dict.as_mapping()."""

import uuid

import pytest
from zict.tests.utils_test import (
    check_different_keys_threadsafe,
    check_empty_mapping,
    check_mapping,
    check_same_key_threadsafe,
)

from s3dict import Dict
from s3dict._mapping import DictMapping


class NamedMapping(DictMapping):
    """zict expects the name of the class in `str()`; that of a DictMapping is the expression that makes it."""

    __slots__ = ()

    def __repr__(self):
        return f"<NamedMapping {super().__repr__()}>"


@pytest.mark.parametrize(
    "check",
    [check_empty_mapping, check_mapping, check_different_keys_threadsafe, check_same_key_threadsafe],
)
def test_mapping(check):
    check(NamedMapping(Dict.from_name(f"z{uuid.uuid4().hex}", create_if_missing=True)))
