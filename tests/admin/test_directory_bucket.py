"""``s3dict init`` and ``doctor`` of directory buckets (S3 Express)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from s3dict import Client
from s3dict._admin.bucket_admin import BucketAdmin, BucketInfo
from s3dict._admin.conformance.corrupt_puts import CorruptPuts
from s3dict._admin.conformance.suite import Outcome as Verdict
from s3dict._admin.conformance.suite import run_suite
from s3dict._admin.doctor import Check, Status, diagnose
from s3dict._admin.lifecycle_policy import grants_lifecycle, with_lifecycle
from s3dict._admin.provision import Outcome, Step, provision
from s3dict._format.lifecycle import lifecycle_rules
from s3dict._stores.shared.threads import run_blocking

from ..support.directory_server import DirectoryServer, Principal
from ..support.modes import Driver
from ..support.servers import ACCESS_KEY, SECRET_KEY

BUCKET = "dicts--use1-az4--x-s3"
ARN = f"arn:aws:s3express:us-east-1:123456789012:bucket/{BUCKET}"


@pytest.fixture
def server() -> Iterator[DirectoryServer]:
    with DirectoryServer(principals=[Principal(ACCESS_KEY, SECRET_KEY)]) as server:
        yield server


def client(server: DirectoryServer, driver: Driver = "boto3", **options: Any) -> Client:
    return Client(BUCKET, endpoint_url=server.url, driver=driver, **options)


def provisioned(client: Client, **options: Any) -> dict[str, Step]:
    return {step.name: step for step in provision(client, **options)}


def outcomes(steps: dict[str, Step]) -> set[Outcome]:
    return {step.outcome for step in steps.values()}


def checked(client: Client, **options: Any) -> dict[str, Check]:
    return {check.name: check for check in diagnose(client, **options)}


def policy_of(server: DirectoryServer) -> Any:
    return json.loads(server.buckets[BUCKET].policy or "{}")


def test_init_makes_a_directory_bucket_once_and_doctor_finds_nothing_missing(
    server: DirectoryServer, driver: Driver
) -> None:
    planned = provisioned(client(server), dry_run=True)
    assert outcomes(planned) == {Outcome.PLANNED, Outcome.UNCHANGED}
    assert server.buckets == {}
    done = provisioned(client(server))
    assert [step.name for step in done.values() if step.outcome is Outcome.CHANGED] == [
        "bucket", "sweep rules", "lifecycle access",
    ]  # fmt: skip
    assert policy_of(server) == with_lifecycle({}, ARN)
    assert outcomes(provisioned(client(server))) == {Outcome.UNCHANGED}
    checks = checked(client(server, driver))
    assert {check.status for check in checks.values()} == {Status.OK}
    assert "listings without order" in checks["conditional requests"].detail


def test_init_keeps_rules_and_statements_of_others(server: DirectoryServer) -> None:
    server.create_bucket(BUCKET)
    other = {
        "Effect": "Allow",
        "Principal": {"AWS": "123456789012"},
        "Action": "s3express:CreateSession",
        "Resource": ARN,
    }
    server.buckets[BUCKET].policy = json.dumps({"Version": "2012-10-17", "Id": "ours", "Statement": other})
    logs = "<Rule><ID>logs</ID><Status>Enabled</Status><Filter><Prefix>logs/</Prefix></Filter>"
    server.buckets[BUCKET].lifecycle = f"{logs}<Expiration><Days>9</Days></Expiration></Rule>"
    assert "1 other rule of the bucket stays" in provisioned(client(server))["sweep rules"].detail
    assert "<ID>logs</ID>" in (server.buckets[BUCKET].lifecycle or "")
    assert policy_of(server)["Id"] == "ours"
    assert policy_of(server)["Statement"] == [other, *with_lifecycle({}, ARN)["Statement"]]


def test_rules_without_access_fail_in_doctor_and_init_grants_it(server: DirectoryServer) -> None:
    provisioned(client(server))
    server.buckets[BUCKET].policy = None
    check = checked(client(server))["sweep rules"]
    assert (check.status, "does not let lifecycle.s3.amazonaws.com" in check.detail) == (Status.FAILED, True)
    assert provisioned(client(server))["lifecycle access"].outcome is Outcome.CHANGED
    assert checked(client(server))["sweep rules"].status is Status.OK


def test_account_of_the_policy_is_the_expected_owner_or_is_asked_for(
    server: DirectoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.create_bucket(BUCKET)
    monkeypatch.setattr(BucketAdmin, "head_bucket", lambda _: BucketInfo("us-east-1"))
    step = provisioned(client(server))["lifecycle access"]
    assert (step.outcome, "set this bucket policy yourself" in step.detail) == (Outcome.WARNING, True)
    owned = client(server, expected_bucket_owner="123456789012")
    assert provisioned(owned)["lifecycle access"].outcome is Outcome.CHANGED
    assert policy_of(server) == with_lifecycle({}, ARN)


def test_directory_bucket_has_all_required_features(server: DirectoryServer) -> None:
    server.create_bucket(BUCKET)
    made = client(server)
    store, puts = made._store(aio=False), CorruptPuts.of(made)
    found = {
        result.feature.name: result
        for result in run_blocking(run_suite(store, "scratch", puts, rounds=1, exclude=("listing in pages", "dates")))
    }
    assert {name for name, result in found.items() if result.verdict is not Verdict.PASSED} <= {"a and a/b at once"}
    assert found["listing"].detail == "without order: dicts have folders of entries"


def statement(**changes: Any) -> dict[str, Any]:
    [granted] = with_lifecycle({}, ARN)["Statement"]
    return {name: value for name, value in (granted | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"Condition": None}, True),
        ({"Action": ["s3express:*"], "Principal": "*"}, True),
        ({"Condition": {"StringEquals": {"s3express:SessionMode": ["ReadOnly", "ReadWrite"]}}}, True),
        ({"Condition": {"StringEquals": {"s3express:sessionmode": "ReadOnly"}}}, False),
        ({"Effect": "Deny"}, False),
        ({"Principal": {"AWS": "123456789012"}}, False),
        ({"Action": "s3express:GetBucketPolicy"}, False),
    ],
)
def test_policy_grants_lifecycle_sessions_that_write(changes: dict[str, Any], expected: bool) -> None:
    assert grants_lifecycle({"Statement": statement(**changes)}) is expected
    assert grants_lifecycle({"Statement": [statement(**changes)]}) is expected
    assert grants_lifecycle(with_lifecycle({"Statement": statement(**changes)}, ARN))
    assert not grants_lifecycle({})


def test_rules_without_versions_are_all_that_a_directory_bucket_accepts() -> None:
    rules = lifecycle_rules("p", versions=False)
    assert [set(rule) - {"ID", "Status", "Filter"} for rule in rules] == [{"Expiration"}] * 7 + [
        {"AbortIncompleteMultipartUpload"}
    ]
    assert all(set(rule.get("Expiration", {"Days": 1})) == {"Days"} for rule in rules)
