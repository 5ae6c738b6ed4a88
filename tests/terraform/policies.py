"""IAM policies as AWS evaluates them, as far as ours go: allowing statements with StringLike and Null conditions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["BUCKET", "DIRECTORY_BUCKET", "MODULE", "Ask", "Grant", "Policy", "rendered"]

MODULE = Path(__file__).parents[2] / "terraform"
DIRECTORY_BUCKET = MODULE / "directory-bucket"
BUCKET = "s3dict-example"
"""What the rendered policies are for, with the prefix `s3dict` and the environments `prod` and `dev`."""

_ARN = "arn:aws:s3:::"


def rendered(name: str, module: Path = MODULE) -> Any:
    """What Terraform makes of the module, checked in: `terraform test` compares it with the module."""
    return json.loads((module / "tests" / "rendered" / f"{name}.json").read_text())


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to IAM. The context has the condition keys that the request comes with."""

    action: str
    path: str
    """A bucket, or a bucket and a key."""
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grant:
    """One action that one statement allows."""

    sid: str
    action: str


@dataclass(frozen=True, slots=True)
class Policy:
    """A rendered policy."""

    name: str

    @property
    def statements(self) -> list[dict[str, Any]]:
        statements: list[dict[str, Any]] = rendered(self.name)["Statement"]
        return statements

    def grants(self, service: str) -> set[Grant]:
        """All that is granted of one service."""
        named = ((statement["Sid"], action) for statement in self.statements for action in statement["Action"])
        return {Grant(sid, action) for sid, action in named if action.startswith(f"{service}:")}

    def patterns(self, action: str) -> set[str]:
        """The paths for which the action is granted."""
        statements = (statement for statement in self.statements if action in statement["Action"])
        return {arn.removeprefix(_ARN) for statement in statements for arn in statement["Resource"]}

    def permits(self, ask: Ask) -> bool:
        return any(self.granting(ask))

    def granting(self, ask: Ask) -> Iterator[Grant]:
        """What in the policy allows it."""
        for statement in self.statements:
            if _applies(statement, ask):
                yield Grant(statement["Sid"], ask.action)


def _applies(statement: Mapping[str, Any], ask: Ask) -> bool:
    assert statement["Effect"] == "Allow"
    return (
        ask.action in statement["Action"]
        and any(_is_like(ask.path, arn.removeprefix(_ARN)) for arn in statement["Resource"])
        and all(
            _CONDITIONS[operator](ask.context.get(key), values)
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _is_like(text: str, pattern: str) -> bool:
    """A wildcard stands for any characters, slashes too."""
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _string_like(value: str | None, patterns: str | list[str]) -> bool:
    accepted = [patterns] if isinstance(patterns, str) else patterns
    # A key that the request does not come with is like nothing.
    return value is not None and any(_is_like(value, pattern) for pattern in accepted)


def _null(value: str | None, is_absent: str) -> bool:
    return (value is None) is (is_absent == "true")


_CONDITIONS = {"StringLike": _string_like, "Null": _null}
