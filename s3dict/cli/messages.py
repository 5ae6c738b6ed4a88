"""Messages of errors, as the command line words them: hints are commands and variables, not Python."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from .._config import DEFAULT_ENVIRONMENT
from ..errors import IntegrityError, NotFoundError
from . import DEBUG

__all__ = ["for_terminal", "no_such_dict", "raise_damaged", "usage_message"]

_HINTS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile(r"(There is no Dict '([^']*)' in environment '([^']*)').*", re.DOTALL),
        lambda found: _missing_dict(found[1], found[2], found[3]),
    ),
    (re.compile(r",? or pass\s+client=Client\([^)]*\)"), ""),
    (re.compile(r", or pass signing_keys to the client"), ""),
    (re.compile(r"Choose another port"), "Choose another with --port"),
    (re.compile(r"\[Errno \d+\] "), ""),
    (re.compile(r"(\w+), (\w+) or Client\(\w+=[^)]*\)"), r"\1 or \2"),
    (re.compile(r" or Client\(\w+=[^)]*\)"), ""),
    (re.compile(r"Client\(\w+=[^)]*\) or "), ""),
    (re.compile(r"Client\((\w+)=[^)]*\)"), lambda found: _variable(found[1])),
)
_REASONS = {
    "value_error": "{error}",
    "int_parsing": "{given!r} is not a whole number",
    "float_parsing": "{given!r} is not a number",
    "finite_number": "{given} is not a finite number",
    "greater_than_equal": "{given} is less than {ge:g}",
    "less_than_equal": "{given} is more than {le:g}",
}
"""How the errors of pydantic, which typer shows as they are, are worded here."""


def for_terminal(error: BaseException | str) -> str:
    """Return the message of an error with its Python hints replaced by those of the command line."""
    message = str(error)
    for pattern, replacement in _HINTS:
        message = pattern.sub(replacement, message)
    return message


def usage_message(error: Any) -> str:
    """Return the message of wrong arguments: what typer and pydantic say, and where to look."""
    validation = getattr(error.__cause__, "errors", None)
    if validation is not None:
        first = validation()[0]
        context = {"given": first.get("input"), "error": first["msg"], **first.get("ctx", {})}
        error.message = _REASONS.get(first["type"], "{msg}").format(msg=first["msg"], **context)
    invoked = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".")
    if message == "Missing argument 'NAME'" and invoked is not None and invoked.params.get("all_"):
        message = f"Missing argument 'FILE', or - for {'stdin' if invoked.command.name == 'import' else 'stdout'}"
    command = invoked.command_path if invoked is not None else "s3dict"
    return f"{message}{'' if message.endswith('?') else '.'}{_dash_hint(error, invoked)} See `{command} --help`"


def _dash_hint(error: Any, invoked: Any) -> str:
    """Return what to do if ``-5``, which is taken for an option, is a key or a value."""
    option = getattr(error, "option_name", None) or ""
    if option == DEBUG:
        return f" It goes before the command: s3dict {DEBUG} …"
    if invoked is None or not option.startswith("-") or option.startswith("--"):
        return ""
    takes_key = any(parameter.name == "key" for parameter in invoked.command.params)
    return f" If {option} is a key or a value, write -- before it." if takes_key else ""


def _missing_dict(message: str, name: str, environment: str) -> str:
    is_default = environment == (os.environ.get("S3DICT_ENVIRONMENT") or DEFAULT_ENVIRONMENT)
    option = "" if is_default else f" --env {environment}"
    return f"{message}: see `s3dict list{option}`, or run `s3dict create {name}{option}`"


def _variable(argument: str) -> str:
    """Return the variable that sets an argument of `Client`."""
    names = {"region_name": "S3DICT_REGION", "environment_name": "S3DICT_ENVIRONMENT"}
    return names.get(argument, f"S3DICT_{argument.upper()}")


def raise_damaged(damaged: Sequence[IntegrityError]) -> None:
    """End a command that has done its work for all dicts but these, if there are any, with an error that names them."""
    if damaged:
        from .._admin.usage import combined

        raise combined(damaged)


def no_such_dict(name: str, environment: str) -> NotFoundError:
    return NotFoundError(f"There is no Dict {name!r} in environment {environment!r}")
