"""The directory bucket of the tests does what AWS documents: sessions, listings without order, refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from ..support.directory_server import DirectoryServer, Principal

BUCKET = "tests--use1-az4--x-s3"


@pytest.fixture
def server() -> Iterator[DirectoryServer]:
    with DirectoryServer() as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def s3(server: DirectoryServer) -> Iterator[Any]:
    client = client_of(server)
    yield client
    client.close()


def client_of(server: DirectoryServer, secret: str = "tests-secret-key", **options: Any) -> Any:
    config = Config(retries={"total_max_attempts": 1}, **options)
    session = boto3.Session("tests-access-key", secret, region_name="us-east-1")
    return session.client("s3", endpoint_url=server.url, config=config)


def code_of(request: Callable[[], Any]) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        request()
    response: Any = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def test_objects_are_written_read_copied_and_deleted(s3: Any) -> None:
    first = s3.put_object(Bucket=BUCKET, Key="a/k", Body=b"v")["ETag"]
    second = s3.put_object(Bucket=BUCKET, Key="a/k", Body=b"v", IfMatch=first)["ETag"]
    assert first != second
    found = s3.get_object(Bucket=BUCKET, Key="a/k", Range="bytes=0-9")
    assert (found["Body"].read(), found["ETag"], found["StorageClass"]) == (b"v", second, "EXPRESS_ONEZONE")
    source = {"Bucket": BUCKET, "Key": "a/k"}
    s3.copy_object(**source, CopySource=source, MetadataDirective="REPLACE", TaggingDirective="REPLACE")
    assert code_of(lambda: s3.delete_object(**source, IfMatch=second)) == (412, "PreconditionFailed")
    assert code_of(lambda: s3.put_object(**source, Body=b"", IfNoneMatch="*")) == (412, "PreconditionFailed")
    assert code_of(lambda: s3.put_object(Bucket=BUCKET, Key="no", Body=b"", IfMatch=first)) == (404, "NoSuchKey")
    s3.delete_object(**source)
    assert code_of(lambda: s3.get_object(**source)) == (404, "NoSuchKey")


def test_signatures_and_sessions_are_checked(server: DirectoryServer, s3: Any) -> None:
    put = {"Bucket": BUCKET, "Key": "k", "Body": b"v"}
    forger = client_of(server, "another secret")
    assert code_of(lambda: forger.put_object(**put)) == (403, "SignatureDoesNotMatch")
    forger.close()
    s3.put_object(**put)
    server.expire_sessions()
    assert code_of(lambda: s3.put_object(**put)) == (400, "ExpiredToken")
    server.forget_sessions()
    assert code_of(lambda: s3.put_object(**put)) == (400, "InvalidToken")
    server.principals = {"tests-access-key": Principal(mode="ReadOnly")}
    assert code_of(lambda: s3.create_session(Bucket=BUCKET)) == (403, "AccessDenied")
    assert s3.create_session(Bucket=BUCKET, SessionMode="ReadOnly")["Credentials"]["SessionToken"]


def test_listings_have_no_order_and_go_on_by_token(s3: Any) -> None:
    names = [f"a/{number:03}" for number in range(25)]
    for name in (*names, "a/deep/1", "b/1"):
        s3.put_object(Bucket=BUCKET, Key=name, Body=b"")
    listed: list[str] = []
    page: dict[str, Any] = {}
    token: dict[str, Any] = {}
    for _ in range(4):
        page = s3.list_objects_v2(Bucket=BUCKET, Prefix="a/", Delimiter="/", MaxKeys=7, **token)
        listed += [item["Key"] for item in page.get("Contents", ())]
        listed += [item["Prefix"] for item in page.get("CommonPrefixes", ())]
        token = {"ContinuationToken": page.get("NextContinuationToken")}
    assert not page["IsTruncated"]
    assert sorted(listed) == [*names, "a/deep/"]
    assert listed != sorted(listed)


MD5_OF_NOTHING = "1B2M2Y8AsgTpgAmY7PhCfg=="
REFUSED: dict[str, tuple[Callable[[Any], Any], int]] = {
    "prefix without a slash": (lambda s3: s3.list_objects_v2(Bucket=BUCKET, Prefix="a"), 400),
    "another delimiter": (lambda s3: s3.list_objects_v2(Bucket=BUCKET, Delimiter="-"), 400),
    "StartAfter": (lambda s3: s3.list_objects_v2(Bucket=BUCKET, StartAfter="a"), 501),
    "ListObjects": (lambda s3: s3.list_objects(Bucket=BUCKET), 501),
    "Content-MD5": (lambda s3: s3.put_object(Bucket=BUCKET, Key="k", Body=b"", ContentMD5=MD5_OF_NOTHING), 501),
    "ACL": (lambda s3: s3.put_object(Bucket=BUCKET, Key="k", Body=b"", ACL="private"), 501),
    "tags": (lambda s3: s3.put_object(Bucket=BUCKET, Key="k", Body=b"", Tagging="a=b"), 501),
    "storage class": (lambda s3: s3.put_object(Bucket=BUCKET, Key="k", Body=b"", StorageClass="GLACIER"), 400),
    "encryption": (lambda s3: s3.put_object(Bucket=BUCKET, Key="k", Body=b"", ServerSideEncryption="aws:kms"), 400),
    "requester pays": (lambda s3: s3.get_object(Bucket=BUCKET, Key="k", RequestPayer="requester"), 501),
    "versioning": (lambda s3: s3.get_bucket_versioning(Bucket=BUCKET), 501),
    "public access block": (lambda s3: s3.get_public_access_block(Bucket=BUCKET), 501),
    "object tagging": (lambda s3: s3.get_object_tagging(Bucket=BUCKET, Key="k"), 501),
    "noncurrent versions": (
        lambda s3: put_rule(s3, NoncurrentVersionExpiration={"NoncurrentDays": 1}, Filter={"Prefix": "a/"}),
        501,
    ),
    "date": (lambda s3: put_rule(s3, Expiration={"Date": "2030-01-01T00:00:00Z"}, Filter={"Prefix": "a/"}), 501),
    "owner of a policy": (
        lambda s3: s3.get_bucket_policy(Bucket=BUCKET, ExpectedBucketOwner="123456789012"),
        501,
    ),
    "action of a policy": (lambda s3: put_policy(s3, "s3:GetObject"), 400),
}


def put_rule(s3: Any, **rule: Any) -> None:
    rules = [{"ID": "r", "Status": "Enabled", **rule}]
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": rules})


def put_policy(s3: Any, action: str) -> None:
    s3.put_bucket_policy(Bucket=BUCKET, Policy=f'{{"Statement": [{{"Action": "{action}"}}]}}')


def test_what_is_unsupported_is_refused(s3: Any) -> None:
    statuses = {name: code_of(partial(request, s3))[0] for name, (request, _) in REFUSED.items()}
    assert statuses == {name: status for name, (_, status) in REFUSED.items()}


def test_lifecycle_rules_and_policies_are_kept(s3: Any) -> None:
    missing = code_of(lambda: s3.get_bucket_lifecycle_configuration(Bucket=BUCKET))
    assert missing == (404, "NoSuchLifecycleConfiguration")
    put_rule(s3, Expiration={"Days": 8}, Filter={"Prefix": "a/"})
    [rule] = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert (rule["Expiration"], rule["Filter"]) == ({"Days": 8}, {"Prefix": "a/"})
    put_policy(s3, "s3express:CreateSession")
    assert "s3express:CreateSession" in s3.get_bucket_policy(Bucket=BUCKET)["Policy"]
