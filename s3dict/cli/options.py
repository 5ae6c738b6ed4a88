"""Arguments and options that several commands share, and what they stand for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from .. import Client, Dict
from .._config import DEFAULT_ENVIRONMENT
from .._format.layout import validate_name
from ..errors import Error, IntegrityError, InvalidError
from .output import naming, print_question

__all__ = [
    "AsJson",
    "Environment",
    "Key",
    "KeyIsJson",
    "Name",
    "Yes",
    "complete_name",
    "confirm",
    "describe_dict",
    "environment_of",
    "key_of",
    "location_of",
    "open_dict",
    "utf8",
    "valid_environment",
    "valid_name",
]


def complete_name(context: typer.Context, incomplete: str) -> list[str]:
    """Return names of dicts for the shell; none where the bucket cannot be reached, since no error would be seen."""
    try:
        found = Dict.objects.list(environment_name=context.params.get("env") or "")
    except IntegrityError as error:  # of some dicts
        found = list(error.completed.values())
    except Error:
        return []
    return [handle.name for handle in found if handle.name and handle.name.startswith(incomplete)]


def _valid(what: str) -> Callable[[str | None], str | None]:
    def validate(name: str | None) -> str | None:
        if name is None:
            return None
        try:
            return validate_name(name, what)
        except InvalidError as error:
            raise typer.BadParameter(str(error)) from error

    return validate


valid_environment = _valid("environment")


def valid_name(name: str) -> str:
    """Return the name of a dict. Raises BadParameter if it is not valid."""
    try:
        return validate_name(name)
    except InvalidError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from error


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The dict's name.",
        autocompletion=complete_name,
        show_default=False,
        callback=_valid("Dict"),
    ),
]


def utf8(argument: str) -> str:
    """Return the argument as UTF-8: where the locale is another, Python has kept its bytes as lone surrogates."""
    try:
        return argument.encode(errors="surrogateescape").decode()
    except UnicodeError as error:
        raise typer.BadParameter(f"it is not UTF-8 ({error})") from error


Key = Annotated[
    str,
    typer.Argument(
        metavar="KEY", help="The key, a string unless --key-json is given.", show_default=False, callback=utf8
    ),
]
KeyIsJson = Annotated[
    bool, typer.Option("--key-json", help="The key is JSON: 7, null, or [1, 2] for the tuple (1, 2).")
]
Environment = Annotated[
    str | None,
    typer.Option(
        "--env",
        "-e",
        metavar="NAME",
        help="The environment of the dict.",
        show_default=f"S3DICT_ENVIRONMENT, or {DEFAULT_ENVIRONMENT}",
        callback=valid_environment,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def open_dict(name: str, env: str | None) -> Dict[Any, Any]:
    """Return the dict that the environment variables lead to, looked up. Raises NotFoundError if it does not exist."""
    return Dict.from_name(name, environment_name=env).hydrate()


def key_of(text: str, is_json: bool) -> Any:
    from .._admin.transfer import key_from_json

    if not is_json:
        return text
    try:
        return key_from_json(json.loads(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a key in JSON: {error}", param_hint="KEY") from error


def environment_of(client: Client, env: str | None) -> str:
    return env or client.environment_name


def location_of(client: Client) -> str:
    return f"s3://{client.bucket}/{client.prefix}"


def describe_dict(client: Client, name: str, env: str | None) -> str:
    return f"Dict {name!r} in environment {environment_of(client, env)!r} of {location_of(client)}"


def confirm(question: str, yes: bool) -> None:
    """End the command unless the user agrees. The question goes to stderr."""
    if yes:
        return
    print_question(f"{question} [y/N]:")
    with naming("standard input"):
        said = sys.stdin.readline()
    if not (said.endswith("\n") and sys.stdin.isatty()):
        print(file=sys.stderr)  # no terminal has shown the end of the line
    if said.strip().lower() not in ("y", "yes"):
        raise typer.Abort
