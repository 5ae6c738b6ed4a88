"""Commands of ``s3dict``, called in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from typer.testing import CliRunner

from s3dict import Error
from s3dict.cli import _application

from .wire import HttpResponse

__all__ = ["Answer", "answer", "refusal"]

_APPLICATION = _application()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, and the error that ``main`` would print; either makes the exit code."""

    exit_code: int
    stdout: str
    error: Error | None

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def answer(
    *arguments: str, charset: str = "utf-8", variables: Mapping[str, str | None] = MappingProxyType({})
) -> Answer:
    """Calls the command; `variables` are those of the environment, None for one that shall be missing.

    The driver is boto3, unless they say otherwise.
    """
    result = CliRunner(charset=charset).invoke(_APPLICATION, arguments, env={"S3DICT_DRIVER": "boto3", **variables})
    if result.exception is not None and not isinstance(result.exception, (Error, SystemExit)):
        raise result.exception
    error = result.exception if isinstance(result.exception, Error) else None
    return Answer(result.exit_code, result.stdout, error)


def refusal(status: int, code: str) -> HttpResponse:
    """An S3 server's answer that says no."""
    body = f"<Error><Code>{code}</Code><Message>Said by the test.</Message></Error>".encode()
    return HttpResponse(status, code, (("Content-Type", "application/xml"),), b"").with_body(body)
