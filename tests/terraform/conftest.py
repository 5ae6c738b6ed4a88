"""A bucket as Terraform leaves it, and people with its policies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto.core.authorization import enable_iam_authentication
from moto.iam.models import IAMBackend, iam_backends
from moto.moto_server.werkzeug_app import create_backend_app

from s3dict import Client

from ..support.modes import Endpoint
from .authorizer import Authorizer
from .policies import BUCKET, rendered

As = Callable[..., Client]
"""A client with the rendered policy of that name; further arguments are those of `Client`."""

_ACCOUNT = "123456789012"


@pytest.fixture
def owner(moto: Endpoint) -> Iterator[Any]:
    """A principal without a policy, with a new bucket."""
    client: Any = boto3.client("s3", endpoint_url=moto.url)
    client.create_bucket(Bucket=BUCKET)
    yield client
    for line in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=line["Key"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


@pytest.fixture
def authorizer(owner: Any) -> Iterator[Authorizer]:
    server = Authorizer(create_backend_app("s3"))
    yield server
    server.close()


@pytest.fixture(params=["moto", "authorizer"])
def enforcing(request: pytest.FixtureRequest) -> str:
    """Who enforces the policies: moto, which has its own idea of IAM, or a server of ours, which knows conditions."""
    name: str = request.param
    return name


@pytest.fixture
def acting_as(enforcing: str, moto: Endpoint, owner: Any, request: pytest.FixtureRequest) -> Iterator[As]:
    if enforcing == "authorizer":
        url = request.getfixturevalue("authorizer").url
        yield lambda policy, **options: _client(url, boto3.Session(policy, "unchecked-secret"), options)
        return
    backend = iam_backends[_ACCOUNT]["aws"]
    with enable_iam_authentication():
        # moto has no answer to what is not signed, which obstore's driver asks for the time.
        by_boto3: dict[str, Any] = {"driver": "boto3"}
        yield lambda policy, **options: _client(moto.url, _user(backend, policy), options | by_boto3)
    backend.users.clear()


def _client(url: str, session: boto3.Session, options: dict[str, Any]) -> Client:
    return Client(BUCKET, endpoint_url=url, session=session, **options)


def _user(backend: IAMBackend, policy: str) -> boto3.Session:
    if policy not in backend.users:
        backend.create_user("us-east-1", policy)
        backend.put_user_policy(policy, "policy", json.dumps(_as_moto_reads(rendered(policy))))
        backend.create_access_key(policy)
    key = backend.users[policy].access_keys[0]
    return boto3.Session(key.access_key_id, key.secret_access_key)


def _as_moto_reads(document: dict[str, Any]) -> dict[str, Any]:
    """Without conditions, which moto takes for denials, and with DeleteObject on the bucket if it is allowed on keys:
    moto requires that for a DeleteObjects."""
    statements = [{k: v for k, v in statement.items() if k != "Condition"} for statement in document["Statement"]]
    for statement in statements:
        if "s3:DeleteObject" in statement["Action"]:
            statement["Resource"] = [*statement["Resource"], f"arn:aws:s3:::{BUCKET}"]
    return {**document, "Statement": statements}
