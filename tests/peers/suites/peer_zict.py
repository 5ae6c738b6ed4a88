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


@pytest.mark.parametrize(
    "check",
    [check_empty_mapping, check_mapping, check_different_keys_threadsafe, check_same_key_threadsafe],
)
def test_mapping(check):
    check(Dict.from_name(f"z{uuid.uuid4().hex}", create_if_missing=True).as_mapping())
