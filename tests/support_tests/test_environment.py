"""The process that tests share is the same for each of them."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from ..support.servers import ACCESS_KEY


def test_default_session_of_boto3_has_the_credentials_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of one test")
    client: Any = boto3.client("s3")
    assert client._request_signer._credentials.access_key == ACCESS_KEY
