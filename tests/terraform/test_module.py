"""The module: that Terraform takes it, and that it installs the lifecycle rules of the code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from s3dict import Client
from s3dict._admin.lifecycle_policy import with_lifecycle
from s3dict._format.lifecycle import lifecycle_rules, merge

from .policies import BUCKET, DIRECTORY_BUCKET, MODULE, rendered

_NO_PROVIDER = ("could not connect to registry", "Failed to query available provider packages")


def test_rules_of_terraform_are_those_of_the_code() -> None:
    assert list(lifecycle_rules("s3dict")) == rendered("lifecycle")


def test_rules_and_bucket_policy_of_a_directory_bucket_are_those_of_the_code() -> None:
    rules, policy = (rendered(name, DIRECTORY_BUCKET) for name in ("lifecycle", "bucket-policy"))
    assert list(lifecycle_rules("s3dict", versions=False)) == rules
    [arn] = {statement["Resource"] for statement in policy["Statement"]}
    assert with_lifecycle({}, arn) == policy


def test_readers_of_a_directory_bucket_get_sessions_that_only_read() -> None:
    [reader] = rendered("reader", DIRECTORY_BUCKET)["Statement"]
    [writer] = rendered("writer", DIRECTORY_BUCKET)["Statement"]
    assert reader["Condition"] == {"StringEquals": {"s3express:SessionMode": "ReadOnly"}}
    assert "Condition" not in writer
    assert reader["Action"] == writer["Action"] == ["s3express:CreateSession"]


def test_environment_variables_of_a_directory_bucket_are_those_the_library_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in rendered("environment-variables", DIRECTORY_BUCKET).items():
        monkeypatch.setenv(name, value)
    client = Client.from_env()
    assert (client.bucket, client.environment_name) == ("dicts--use1-az4--x-s3", "main")


def test_init_after_terraform_changes_nothing() -> None:
    assert merge(rendered("lifecycle"), "s3dict").changes_nothing


def test_environment_variables_are_those_the_library_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in rendered("environment-variables-prod").items():
        monkeypatch.setenv(name, value)
    client = Client.from_env()
    assert (client.bucket, client.prefix, client.environment_name) == (BUCKET, "s3dict", "prod")


@pytest.mark.parametrize("file", ["variables.tf", "outputs.tf"])
def test_readme_names_all_variables_and_outputs_of_a_directory_bucket(file: str) -> None:
    declared = re.findall(r'^(?:variable|output) "(\w+)"', (DIRECTORY_BUCKET / file).read_text(), re.MULTILINE)
    section = (MODULE / "README.md").read_text().partition("## Directory buckets")[2].partition("\n## ")[0]
    assert [name for name in declared if f"`{name}`" not in section] == []


@pytest.mark.parametrize(("kind", "file"), [("variable", "variables.tf"), ("output", "outputs.tf")])
def test_readme_lists_all_variables_and_outputs(kind: str, file: str) -> None:
    declared = re.findall(rf'^{kind} "(\w+)"', (MODULE / file).read_text(), re.MULTILINE)
    readme = (MODULE / "README.md").read_text()
    assert [name for name in declared if not re.search(rf"^\|[^|]*`{name}`", readme, re.MULTILINE)] == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "directory", [".", "directory-bucket", *sorted(f"examples/{path.name}" for path in MODULE.glob("examples/*"))]
)
def test_terraform_validates_the_module(directory: str, tmp_path: Path) -> None:
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    shutil.copytree(MODULE, tmp_path / "terraform", ignore=shutil.ignore_patterns(".terraform*", "build"))
    where = tmp_path / "terraform" / directory
    begun = _terraform(where, "init", "-backend=false", "-input=false")
    if begun.returncode != 0 and any(sign in begun.stderr for sign in _NO_PROVIDER):
        reason = " ".join(begun.stderr.partition("Error:")[2].split())
        pytest.skip(f"the AWS provider cannot be had: {reason[:300]}")
    for command in (["fmt", "-check", "-recursive"], ["validate"], ["test"]):
        run = _terraform(where, *command)
        assert run.returncode == 0, run.stdout + run.stderr


def _terraform(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["terraform", arguments[0], *([] if arguments[0] == "fmt" else ["-no-color"]), *arguments[1:]],
        cwd=where,
        env={**os.environ, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
