from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

Connect = Callable[..., Any]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make boto3 clients, which send each request once unless configured otherwise; closed after the test."""
    with ExitStack() as clients:

        def connect(
            url: str,
            key: str = "key",
            secret: str = "secret",
            *,
            attempts: int = 1,
            read_timeout: float = 30.0,
        ) -> Any:
            config = Config(
                s3={"addressing_style": "path"},
                retries={"mode": "standard", "total_max_attempts": attempts},
                read_timeout=read_timeout,
            )
            session = boto3.Session(key, secret, region_name="us-east-1")
            return clients.enter_context(closing(session.client("s3", endpoint_url=url, config=config)))

        yield connect


def answer_of(error: ClientError) -> tuple[int, str, int]:
    """Status, code, and how often the request was repeated."""
    answer: Any = error.response
    metadata = answer["ResponseMetadata"]
    return metadata["HTTPStatusCode"], answer["Error"]["Code"], metadata["RetryAttempts"]
