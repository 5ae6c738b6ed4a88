"""Commands of ``s3dict``, called in this process."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from typer.testing import CliRunner

from s3dict import Error
from s3dict.cli import _application

from .http_wire import HttpResponse

__all__ = ["Answer", "answer", "refusal", "shown"]

_APPLICATION = _application()


@dataclass(frozen=True, slots=True)
class Answer:
    """The output of a command, and the error that ``main`` would print."""

    exit_code: int
    stdout: str
    stderr: str
    raw: bytes
    error: Error | OSError | None

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def answer(
    *arguments: str,
    charset: str = "utf-8",
    stdin: str | bytes | None = None,
    variables: Mapping[str, str | None] = MappingProxyType({}),
) -> Answer:
    """Call the command; `variables` are those of the environment, None for one that shall be missing.

    The driver is boto3, unless they say otherwise.
    """
    environment = {"S3DICT_DRIVER": os.environ.get("S3DICT_DRIVER", "boto3"), **variables}
    result = CliRunner(charset=charset).invoke(_APPLICATION, arguments, input=stdin, env=environment)
    expected = (Error, OSError, SystemExit)
    if result.exception is not None and not isinstance(result.exception, expected):
        raise result.exception
    error = result.exception if isinstance(result.exception, (Error, OSError)) else None
    return Answer(result.exit_code, result.stdout, result.stderr, result.stdout_bytes, error)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(*arguments: str, piped: bool = False) -> tuple[str, str]:
    """Return what the command shows on a terminal: stdout (unless that is `piped`) and stderr."""
    out, err = io.StringIO() if piped else _Terminal(), _Terminal()
    with redirect_stdout(out), redirect_stderr(err):
        _APPLICATION(arguments, standalone_mode=False)
    return out.getvalue(), err.getvalue()


def refusal(status: int, code: str) -> HttpResponse:
    """Return a response of S3 with an error."""
    body = f"<Error><Code>{code}</Code><Message>Said by the test.</Message></Error>".encode()
    return HttpResponse(status, code, (("Content-Type", "application/xml"),), b"").with_body(body)
