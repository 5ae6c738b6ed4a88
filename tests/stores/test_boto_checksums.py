"""Digests of bodies that boto3 sends."""

from __future__ import annotations

from base64 import b64encode
from hashlib import md5
from io import BytesIO
from typing import Any

from s3dict._stores.boto.session import _replace_checksum_by_md5


def test_digest_of_a_body_is_made_without_copying_it() -> None:
    data = bytes(range(256)) * 10
    params: dict[str, Any] = {"headers": {}, "body": BytesIO(data)}
    _replace_checksum_by_md5(params)
    assert params["headers"] == {"Content-MD5": b64encode(md5(data).digest()).decode()}
    # A BytesIO shares the bytes that it was made of until something needs its own memory.
    assert params["body"].getvalue() is data
