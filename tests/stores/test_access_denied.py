"""A denial says which action on which resource, and which policy grants it; bad credentials say that they are bad."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import boto3
import pytest

from s3dict import Client, Dict, PermissionDeniedError
from s3dict._format.keys import KeyCodec, digest
from s3dict._stores.shared.access_denied import CREDENTIAL_ERRORS, MIN_POLICY
from s3dict._stores.shared.errors import classify_status
from s3dict._stores.shared.messages import S3Request

from ..support.modes import Driver, Endpoint, Harness, Mode, collect, hold
from ..support.proxy import Fault, Proxy
from ..terraform.policies import Policy

CALL = S3Request("put_object", "b", "s3dict/sweep-8d/named/prod/d/01ARZ3NDEKTSV4RRFFQ69G5FAV/entries/00", {})
OBJECT = f"arn:aws:s3:::b/{CALL.path}"
WHO = "User: arn:aws:sts::123456789012:assumed-role/orders/f is not authorized to perform"
KEY_ARN = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def error_of(call: S3Request, code: str = "AccessDenied", message: str = "Access Denied", status: int = 403) -> Any:
    error = classify_status(status, code, message, call)
    assert isinstance(error, PermissionDeniedError)
    return error


async def be_ephemeral(harness: Harness) -> None:
    async with harness.ephemeral():
        pass


GET, PUT, LIST = "GetObject", "PutObject", "ListObjectsV2"
BULK = "DeleteObjects"
READ, WRITE, DELETE = ("s3:GetObject", "reader"), ("s3:PutObject", "writer"), ("s3:DeleteObject", "writer")
SEE = ("s3:ListBucket", "reader")
Use = Callable[[Harness, Any], Awaitable[Any]]
USES: dict[str, tuple[Use, str, tuple[str, str]]] = {
    "hydrate": (lambda harness, d: harness.named("d").hydrate(), GET, READ),
    "create": (lambda harness, d: harness.objects.create("new", client=harness.client), PUT, WRITE),
    "list": (lambda harness, d: harness.objects.list(client=harness.client), LIST, SEE),
    "delete": (lambda harness, d: harness.objects.delete("d", client=harness.client), GET, READ),
    "from_id": (lambda harness, d: harness.with_id(d.object_id).hydrate(), GET, READ),
    "get": (lambda harness, d: d.get("k"), GET, READ),
    "contains": (lambda harness, d: d.contains("k"), GET, READ),
    "entry": (lambda harness, d: d.entry("k"), GET, READ),
    "len": (lambda harness, d: d.len(), LIST, SEE),
    "keys": (lambda harness, d: collect(d.keys()), LIST, SEE),
    "values": (lambda harness, d: collect(d.values()), GET, READ),
    "items": (lambda harness, d: collect(d.items()), LIST, SEE),
    "get_many": (lambda harness, d: d.get_many(["k"]), GET, READ),
    "put": (lambda harness, d: d.put("k", 1), PUT, WRITE),
    "put skip_if_exists": (lambda harness, d: d.put("k", 1, skip_if_exists=True), PUT, WRITE),
    "setdefault": (lambda harness, d: d.setdefault("new", 1), PUT, WRITE),
    "modify": (lambda harness, d: d.modify("k", lambda n: n), PUT, WRITE),
    "get_or_compute": (lambda harness, d: d.get_or_compute("new", lambda: 1), PUT, WRITE),
    "update": (lambda harness, d: d.update(k=1), PUT, WRITE),
    "pop": (lambda harness, d: d.pop("k"), "DeleteObject", DELETE),
    "pop_many": (lambda harness, d: d.pop_many(["k"]), "DeleteObject", DELETE),
    "clear": (lambda harness, d: d.clear(), BULK, DELETE),
    "lock": (lambda harness, d: hold(d.lock("l"), harness.mode), PUT, WRITE),
    "ephemeral": (lambda harness, d: be_ephemeral(harness), PUT, WRITE),
}


@pytest.fixture
def proxied_url(seaweedfs: Endpoint) -> str:
    return seaweedfs.url


async def test_every_operation_says_which_action_on_what_was_denied_and_who_grants_it(
    driver: Driver, mode: Mode, seaweedfs: Endpoint, proxy: Proxy
) -> None:
    prefix = f"denials-{driver}-{mode.value}"
    harness = Harness(Client(seaweedfs.bucket, prefix=prefix, endpoint_url=proxy.url, driver=driver), mode)
    d = harness.named("d", create_if_missing=True)
    await d.put("k", 1)
    reported = {}
    for name, (use, operation, _) in USES.items():
        proxy.faults = [Fault("denied", operation=operation)]
        with pytest.raises(PermissionDeniedError) as caught:
            await use(harness, d)
        proxy.faults = []
        error = caught.value
        reported[name] = (error.action, error.policy)
        place = "" if error.action == "s3:ListBucket" else f"/{prefix}/"
        assert str(error.resource).startswith(f"arn:aws:s3:::{seaweedfs.bucket}{place}"), name
        assert f"{error.action}" in str(error)
        assert f"the {error.policy} policy of the Terraform module grants it" in str(error)
    assert {name: expected for name, (_, _, expected) in USES.items()} == reported


async def test_access_denied_details_survive_pickling_and_bulk_operations(
    mode: Mode, driver: Driver, proxy: Proxy
) -> None:
    harness = Harness(Client("s3dict-tests", prefix="denied-bulk", endpoint_url=proxy.url, driver=driver), mode)
    d = harness.named("d", create_if_missing=True)
    await d.hydrate()
    proxy.faults = [Fault("denied", operation="PutObject")]
    with pytest.raises(PermissionDeniedError) as caught:
        await d.update(k=1)
    error = caught.value
    assert (error.action, error.policy) == ("s3:PutObject", "writer")
    assert f"/entries/{digest(KeyCodec(True, str).encode('k').data)}" in str(error.resource)
    copied = pickle.loads(pickle.dumps(error))
    assert (str(error), error.action, error.resource, error.policy) == (
        *(str(copied), copied.action, copied.resource, copied.policy),
    )


def test_memory_faults_raise_the_same_access_denied_error() -> None:
    from s3dict.testing import faults

    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=Client("denials", driver="memory"))
    d.hydrate()
    with faults(d.client, "denied"), pytest.raises(PermissionDeniedError) as caught:
        d["k"] = 1
    assert (caught.value.action, caught.value.policy) == ("s3:PutObject", "writer")
    assert str(caught.value.resource).startswith("arn:aws:s3:::denials/s3dict/sweep-8d/named/main/d/")


def test_policies_are_those_of_the_terraform_module() -> None:
    """Each action is said to be granted by the least of the policies that does."""
    least: dict[str, str] = {}
    for name in ("admin", "writer-prod", "reader-prod"):
        grants = {grant.action for service in ("s3", "kms") for grant in Policy(name).grants(service)}
        least |= dict.fromkeys(grants, name.removesuffix("-prod"))
    assert least == MIN_POLICY


@pytest.mark.parametrize(
    ("call", "action", "resource", "policy", "output"),
    [
        (CALL, "s3:PutObject", OBJECT, "writer", 'writer_policy_arns["prod"]'),
        (S3Request("head_object", "b", CALL.path, {}), "s3:GetObject", OBJECT, "reader", 'reader_policy_arns["prod"]'),
        (S3Request("copy_object", "b", CALL.path, {}), "s3:PutObject", OBJECT, "writer", "also needs s3:GetObject"),
        (
            S3Request("delete_object", "b", CALL.path, {"IfMatch": "1"}),
            "s3:DeleteObject",
            OBJECT,
            "writer",
            "also needs",
        ),
        (
            S3Request("list_objects_v2", "b", "p/manifests/dev/", {}),
            "s3:ListBucket",
            "arn:aws:s3:::b",
            "reader",
            '["dev"]',
        ),
        (
            S3Request("list_objects_v2", "b", "p/sweep-8d/", {}),
            "s3:ListBucket",
            "arn:aws:s3:::b",
            "admin",
            "admin_policy",
        ),
        (S3Request("head_bucket", "b", "", {}), "s3:ListBucket", "arn:aws:s3:::b", "admin", "admin_policy_arn"),
        (
            S3Request("put_bucket_lifecycle_configuration", "b", "", {}),
            *("s3:PutLifecycleConfiguration", "arn:aws:s3:::b", "admin", "admin_policy_arn"),
        ),
        (
            S3Request("create_bucket", "b", "", {}),
            "s3:CreateBucket",
            "arn:aws:s3:::b",
            None,
            "only setting up a bucket",
        ),
        (
            S3Request("get_object", "b", "p/sweep-1d/probe/01", {}),
            *("s3:GetObject", "arn:aws:s3:::b/p/sweep-1d/probe/01", "writer", "writer_policy_arns)"),
        ),
        (
            S3Request("put_object", "b", "p/ephemeral/01.json", {}),
            *("s3:PutObject", "arn:aws:s3:::b/p/ephemeral/01.json", "writer", "for one of ephemeral_environments"),
        ),
        (
            S3Request("delete_objects", "b", "p/keep/named/prod/d/01/entries/", {}),
            *("s3:DeleteObject", "arn:aws:s3:::b/p/keep/named/prod/d/01/entries/*", "writer", "writer_policy_arns"),
        ),
    ],
)
def test_each_request_lacks_one_action_on_one_resource(
    call: S3Request, action: str, resource: str, policy: str | None, output: str
) -> None:
    # A response to HEAD has no body, and so no code.
    codes = ("AccessDenied", "403", "") if call.operation.startswith("Head") else ("AccessDenied",)
    for code in codes:
        error = error_of(call, code, "Access Denied")
        assert (error.action, error.resource, error.policy) == (action, resource, policy)
        assert f"It requires {action}" in str(error)
        assert output in str(error)


@pytest.mark.parametrize(
    ("sentence", "action", "resource", "policy"),
    [
        (f'{WHO}: s3:PutObject on resource: "{OBJECT}" because …', "s3:PutObject", OBJECT, "writer"),
        (f'{WHO}: s3:ListBucket on resource: "arn:aws:s3:::b" …', "s3:ListBucket", "arn:aws:s3:::b", "reader"),
        (f"{WHO}: kms:GenerateDataKey on resource: {KEY_ARN} because …", "kms:GenerateDataKey", KEY_ARN, "writer"),
        (f"{WHO}: kms:Decrypt on the resource associated with this ciphertext …", "kms:Decrypt", None, "reader"),
    ],
)
def test_action_named_by_aws_is_used(sentence: str, action: str, resource: str | None, policy: str) -> None:
    error = error_of(CALL, message=sentence)
    assert (error.action, error.resource, error.policy) == (action, resource, policy)
    assert "arn:aws:sts::123456789012:assumed-role/orders/f" in str(error)


def test_explicit_denial_is_granted_by_nobody() -> None:
    sentence = f'{WHO}: s3:PutObject on resource: "{OBJECT}" with an explicit deny in a resource-based policy'
    assert "no other can grant it" in str(error_of(CALL, message=sentence))


@pytest.mark.parametrize(
    ("code", "status"), [*((code, 403) for code in CREDENTIAL_ERRORS), ("ExpiredToken", 400), ("Unauthorized", 401)]
)
def test_rejected_credentials_name_no_policy(code: str, status: int) -> None:
    error = error_of(CALL, code, "So it says.", status)
    assert (error.action, error.resource, error.policy) == (None, None, None)
    assert f"{status} {code} So it says. The credentials are not accepted" in str(error)
    assert CREDENTIAL_ERRORS.get(code, "fix AWS_ACCESS_KEY_ID") in str(error)


@pytest.mark.parametrize(
    ("key", "code"), [("tests-access-key", "SignatureDoesNotMatch"), ("AKIAIOSFODNN7EXAMPLE", "InvalidAccessKeyId")]
)
async def test_credentials_rejected_by_a_real_server_name_no_policy(
    key: str, code: str, driver: Driver, mode: Mode, seaweedfs: Endpoint
) -> None:
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    client = Client(seaweedfs.bucket, endpoint_url=seaweedfs.url, session=session, driver=driver)
    d = Harness(client, mode).named("d")
    with pytest.raises(PermissionDeniedError, match=CREDENTIAL_ERRORS[code]) as caught:
        await d.get("k")
    assert (caught.value.action, caught.value.resource, caught.value.policy) == (None, None, None)


async def test_missing_credentials_name_no_policy(
    driver: Driver, mode: Mode, seaweedfs: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    client = Client(seaweedfs.bucket, endpoint_url=seaweedfs.url, driver=driver)
    with pytest.raises(PermissionDeniedError, match="no usable credentials") as caught:
        await Harness(client, mode).named("d").get("k")
    assert (caught.value.action, caught.value.resource, caught.value.policy) == (None, None, None)
    assert str(caught.value).count("AWS_SECRET_ACCESS_KEY") == 1
