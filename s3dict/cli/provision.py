"""``init`` sets a bucket up; ``doctor`` tells what works with it, and what to do about what does not."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._config import DEFAULT_ENVIRONMENT, DEFAULT_PREFIX, timeout_from_env
from .options import AsJson
from .output import encodable

if TYPE_CHECKING:
    from .._admin.doctor import Check
    from .._admin.provision import Step
    from .._client import Client

app = typer.Typer()
_PANEL = "Bucket"

Bucket = Annotated[
    str | None,
    typer.Option(envvar="S3DICT_BUCKET", help="The bucket's name alone, without s3://.", show_default=False),
]
Prefix = Annotated[str, typer.Option(envvar="S3DICT_PREFIX", help="What all object names begin with.")]
EndpointUrl = Annotated[
    str | None, typer.Option(envvar="S3DICT_ENDPOINT_URL", help="The URL of the store.", show_default="AWS")
]
Region = Annotated[
    str | None, typer.Option(help="The bucket's region.", show_default="AWS_DEFAULT_REGION, or that of the profile")
]


@app.command(rich_help_panel=_PANEL)
def init(
    bucket: Bucket = None,
    prefix: Prefix = DEFAULT_PREFIX,
    endpoint_url: EndpointUrl = None,
    region: Region = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set a bucket up: make it where it is missing, block public access, encrypt, install the rules that sweep.

    What others have set stays: their lifecycle rules, an encryption of their own. Running it again changes nothing.

    The exit code is 1 if something failed. What a store other than AWS does not offer is not needed, but for the rules.
    """
    from .._admin.provision import provision

    client = _client(bucket, prefix, endpoint_url, region)
    steps = []
    for step in provision(client, dry_run=dry_run):
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


@app.command(rich_help_panel=_PANEL)
def doctor(
    bucket: Bucket = None,
    prefix: Prefix = DEFAULT_PREFIX,
    endpoint_url: EndpointUrl = None,
    region: Region = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Write nothing: the credentials are only to read.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Try each feature of the store, also in races: about 3,000 requests more.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check the way to the bucket and all that is needed there, and say what to do about what is not right.

    It writes a few scratch objects and removes them; with --read-only, it only reads. For a store that nobody has tried
    s3dict with, --deep tells whether it will do: it takes a minute, and 0.02 $ at AWS' prices.

    The exit code is 1 if something needed is missing: access, conditional requests, the rules that sweep. Warnings do
    not count; not being allowed to look is one.
    """
    from rich.console import Console

    from .._admin.doctor import diagnose

    client = _client(bucket, prefix, endpoint_url, region)
    with Console(stderr=True, quiet=not deep).status("looking deep…"):
        checks = list(diagnose(client, read_only=read_only, deep=deep))
    ok = not any(check.status.value == "failed" for check in checks)
    if as_json:
        _print_json(client, ok=ok, checks=[asdict(check) for check in checks])
    elif sys.stdout.isatty():
        _print_table(checks)
    else:
        _print_lines(checks)
    raise typer.Exit(0 if ok else 1)


def _client(bucket: str | None, prefix: str, endpoint_url: str | None, region: str | None) -> Client:
    from .._client import Client

    if not bucket:
        raise typer.BadParameter("name one, or set S3DICT_BUCKET", param_hint="--bucket")
    driver: Any = os.environ.get("S3DICT_DRIVER") or "auto"
    return Client(
        bucket,
        prefix=prefix,
        endpoint_url=endpoint_url or None,
        region_name=region,
        environment_name=os.environ.get("S3DICT_ENVIRONMENT") or DEFAULT_ENVIRONMENT,
        driver=driver,
        timeout=timeout_from_env(),
    )


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
        print(f"    {encodable(change)}")


def _print_lines(checks: list[Check]) -> None:
    for check in checks:
        _print_line(check.status.value, check.name, check.detail)
        if check.advice:
            print(f"    {encodable(check.advice)}")


def _print_line(state: str, name: str, detail: str) -> None:
    mark = typer.style(_mark(state), fg=_COLOURS[_MARKS[state]])
    typer.echo(f"{mark} {name}: {encodable(detail)}")


def _print_table(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "Check", "Found", "What to do")
    for check in checks:
        state = check.status.value
        mark = Text(_mark(state), style=_COLOURS[_MARKS[state]])
        table.add_row(mark, check.name, Text(encodable(check.detail)), Text(encodable(check.advice)))
    Console().print(table)


def _mark(state: str) -> str:
    mark = _MARKS[state]
    return mark if encodable(mark) == mark else _PLAIN_MARKS[mark]


def _print_json(client: Client, **about: Any) -> None:
    where = {"bucket": client.bucket, "prefix": client.prefix, "endpoint_url": client.endpoint_url}
    print(json.dumps({**where, **about}, indent=2, default=_value))


def _value(member: Enum) -> Any:
    return member.value
