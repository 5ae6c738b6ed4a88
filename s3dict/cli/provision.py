"""``init`` configures a bucket; ``doctor`` checks it and suggests fixes."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, replace
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._config import DEFAULT_PREFIX
from ..errors import InvalidError
from .messages import for_terminal
from .options import AsJson
from .output import console, encodable, terminal_width
from .progress import step_progress

if TYPE_CHECKING:
    from .._admin.doctor import Check
    from .._admin.provision import Step
    from .._client import Client

app = typer.Typer()
_PANEL = "Bucket"
_TABLE_COLUMNS = 72
"""On a narrower terminal four columns of prose would be a word wide each."""
_INDENT = 2

Bucket = Annotated[
    str | None,
    typer.Option(
        envvar="S3DICT_BUCKET", metavar="NAME", help="The bucket's name alone, without s3://.", show_default=False
    ),
]
Prefix = Annotated[str, typer.Option(envvar="S3DICT_PREFIX", metavar="PATH", help="What all object names begin with.")]
EndpointUrl = Annotated[
    str | None,
    typer.Option(envvar="S3DICT_ENDPOINT_URL", metavar="URL", help="The URL of the store.", show_default="AWS"),
]
Region = Annotated[
    str | None,
    typer.Option(
        envvar="S3DICT_REGION",
        metavar="NAME",
        help="The bucket's region.",
        show_default="AWS_DEFAULT_REGION, or that of the profile",
    ),
]


@app.command(rich_help_panel=_PANEL)
def init(
    bucket: Bucket = None,
    prefix: Prefix = DEFAULT_PREFIX,
    endpoint_url: EndpointUrl = None,
    region: Region = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, without changing it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Configure a bucket: create it if it is missing, block public access, encrypt, install lifecycle expiration rules.

    Other lifecycle rules and an existing encryption are kept. Running it again changes nothing.

    The exit code is 1 if a step failed. Of what a store other than AWS does not support, only the rules are required.
    """
    from .._admin.provision import provision, step_names

    client = _client(bucket, prefix, endpoint_url, region)
    steps: list[Step] = []
    for found in _with_progress(provision(client, dry_run=dry_run), step_names(client)):
        step = replace(found, detail=for_terminal(found.detail))
        steps.append(step)
        if not as_json:
            _print_step(step)
    outcomes = {step.outcome.value for step in steps}
    ok = "failed" not in outcomes
    if as_json:
        _print_json(client, ok=ok, dry_run=dry_run, steps=[asdict(step) for step in steps])
    elif ok:
        print(_conclusion(outcomes))
    raise typer.Exit(0 if ok else 1)


def _with_progress(steps: Iterator[Step], names: tuple[str, ...]) -> Iterator[Step]:
    """Show on a terminal which step is in progress and how long the others take, but not while one is printed."""
    with step_progress("Configuring", names) as progress:
        for name in names:
            progress.started(name)
            step = next(steps, None)
            if step is None:
                return
            with progress.paused():
                yield step
        with progress.paused():
            yield from steps


@app.command(rich_help_panel=_PANEL)
def doctor(
    bucket: Bucket = None,
    prefix: Prefix = DEFAULT_PREFIX,
    endpoint_url: EndpointUrl = None,
    region: Region = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Write nothing, for read-only credentials.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Test each feature of the store, also under contention: 3,000 requests more.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check connectivity, permissions and bucket configuration, and suggest fixes.

    It writes a few scratch objects and removes them; with --read-only it writes nothing. On a store that is not in the
    compatibility report, --deep tests each feature that s3dict uses: minutes, and $0.02 at the prices of AWS.

    The exit code is 1 if something required is missing: access, conditional requests, the lifecycle expiration rules.
    Warnings do not change it; a check skipped for lack of permission is one.
    """
    if deep and read_only:
        raise typer.BadParameter("they are mutually exclusive", param_hint="--deep, --read-only")
    client = _client(bucket, prefix, endpoint_url, region)
    checks = _diagnose(client, read_only, deep)
    ok = not any(check.status.value == "failed" for check in checks)
    if as_json:
        _print_json(client, ok=ok, checks=[asdict(check) for check in checks])
    elif sys.stdout.isatty() and terminal_width() >= _TABLE_COLUMNS:
        _print_table(checks)
    else:
        _print_checks(checks)
    raise typer.Exit(0 if ok else 1)


def _diagnose(client: Client, read_only: bool, deep: bool) -> list[Check]:
    """Return all checks; on a terminal the name of the one in progress is shown, and how many are left."""
    from .._admin.doctor import check_names, diagnose

    names = check_names(deep=deep)
    with step_progress("Checking", names, "checks") as progress:
        found = list(diagnose(client, read_only=read_only, deep=deep, on_start=progress.started))
    return [replace(one, detail=for_terminal(one.detail), advice=for_terminal(one.advice)) for one in found]


def _client(bucket: str | None, prefix: str, endpoint_url: str | None, region: str | None) -> Client:
    """Return the client of the environment, for the bucket that was chosen: what a dict would use."""
    from .._client import env_client
    from .._config import settings_from_env

    if not bucket:
        raise typer.BadParameter("pass one, or set S3DICT_BUCKET", param_hint="--bucket")
    chosen = {"bucket": bucket, "prefix": prefix, "endpoint_url": endpoint_url or None, "region_name": region or None}
    try:
        settings = settings_from_env(**chosen)
    except InvalidError as error:
        argument, _, reason = str(error).removeprefix("Invalid ").partition(": ")
        if argument not in chosen:
            raise
        option = "--" + argument.removesuffix("_name").replace("_", "-")
        raise typer.BadParameter(reason, param_hint=option) from error
    return env_client(settings)


def _conclusion(outcomes: set[str]) -> str:
    if "planned" in outcomes:
        return "Nothing was changed: this was a dry run."
    return "Done." if "changed" in outcomes else "Nothing to change."


_MARKS = {
    "ok": "✓",
    "unchanged": "✓",
    "changed": "✓",
    "planned": "+",
    "warning": "!",
    "unsupported": "!",
    "failed": "✗",
    "skipped": "-",
}
_PLAIN_MARKS = {"✓": "ok", "✗": "FAILED"}
_COLOURS = {"✓": "green", "+": "cyan", "!": "yellow", "✗": "red", "-": "bright_black"}


def _print_step(step: Step) -> None:
    verb = {"planned": "would change: ", "changed": "changed: "}.get(step.outcome.value, "")
    _print_line(step.outcome.value, step.name, verb + step.detail)
    for change in step.changes:
        _print_wrapped(encodable(change))


def _print_checks(checks: list[Check]) -> None:
    for check in checks:
        _print_line(check.status.value, check.name, check.detail)
        if check.advice:
            _print_wrapped(encodable(check.advice))


def _print_line(state: str, name: str, detail: str) -> None:
    mark = typer.style(_mark(state), fg=_COLOURS[_MARKS[state]])
    text = f"{name}: {encodable(detail)}"
    if sys.stdout.isatty():
        # Later lines are indented below the name, beside the mark.
        text = textwrap.fill(text, terminal_width() - _INDENT, break_long_words=False, break_on_hyphens=False)
        text = text.replace("\n", "\n" + " " * _INDENT)
    typer.echo(f"{mark} {text}")


def _print_wrapped(text: str) -> None:
    indent = " " * 2 * _INDENT
    if sys.stdout.isatty():
        text = textwrap.fill(text, terminal_width() - len(indent), break_long_words=False, break_on_hyphens=False)
        text = text.replace("\n", "\n" + indent)
    print(f"{indent}{text}")


def _print_table(checks: list[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("", "Check", "Found", "What to do")
    for check in checks:
        state = check.status.value
        mark = Text(_mark(state), style=_COLOURS[_MARKS[state]])
        table.add_row(mark, check.name, Text(encodable(check.detail)), Text(encodable(check.advice)))
    console().print(table)


def _mark(state: str) -> str:
    mark = _MARKS[state]
    return mark if encodable(mark) == mark else _PLAIN_MARKS[mark]


def _print_json(client: Client, **about: Any) -> None:
    where = {"bucket": client.bucket, "prefix": client.prefix, "endpoint_url": client.endpoint_url}
    print(json.dumps(where | about, indent=2, default=_value))


def _value(member: Enum) -> Any:
    return member.value
