"""The settings of a bucket, which its operator reads and writes. Blocking; uses boto3."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._client import Client
from .._stores.boto.blocking import BotoStore
from .._stores.boto.errors import translate_exception
from .._stores.shared.messages import ExpectedFailure, S3Request, S3Response
from .._stores.shared.threads import run_blocking
from ..errors import (
    AlreadyExistsError,
    Error,
    InvalidError,
    NotFoundError,
    UnavailableError,
)

PUBLIC_ACCESS_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")

DEFAULT_REGIONS = (None, "us-east-1", "aws-global")
"""The regions in which CreateBucket must not name a region."""
_KEY_CHARACTERS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """A bucket's lifecycle configuration, of which there is one: writing it replaces all of it."""

    rules: tuple[Mapping[str, Any], ...] = ()
    minimum_size: str | None = None
    """TransitionDefaultMinimumObjectSize, which S3 resets unless each write contains it."""


@dataclass(frozen=True, slots=True)
class BucketInfo:
    """An existing bucket, and the region that the store reports, if it reports one."""

    region: str | None
    arn: str | None = None
    """Of a directory bucket, where the store shows it."""


class BucketAdmin(BotoStore):
    """Requests about one bucket. Each method is one request and raises the errors of any other request."""

    @classmethod
    def of(cls, client: Client) -> BucketAdmin:
        """Return the bucket of the client.

        Raises:
            InvalidError: The bucket is in memory, and has no settings.
        """
        if client.driver == "memory":
            raise InvalidError("With the driver 'memory' there is no bucket to examine: unset S3DICT_DRIVER")
        return cls(client._connection())

    def _make_client(self) -> Any:
        client = super()._make_client()
        if self.zone is not None:
            # botocore would sign in a session, as it does for the objects of a directory bucket.
            events: Any = client.meta.events
            events.register_first("choose-signer.s3", _sign_with_iam)
        return client

    @property
    def has_custom_endpoint(self) -> bool:
        return self._connection.settings.endpoint_url is not None

    @property
    def zone(self) -> str | None:
        """The zone of a directory bucket; None for other buckets."""
        return self._connection.zone

    @property
    def signing_region(self) -> str | None:
        """The region that requests are signed for."""
        return self._client().meta.region_name

    def credentials(self) -> str:
        """Return which credentials were found, and where, without a secret. Raises PermissionDeniedError if none."""
        try:
            self._client()
            found = self._connection.boto_credentials()
            key = found.get_frozen_credentials().access_key
        except Exception as error:
            translate_exception(error, S3Request("find_credentials", self.bucket, "", {}))
            raise
        # Those that were read from the environment without boto3 are passed to it, which calls them explicit.
        is_static = self._connection.settings.credentials is not None
        where = "in the environment variables" if is_static else f"by boto3 in: {found.method}"
        return f"access key ...{key[-_KEY_CHARACTERS_SHOWN:]}, found {where}"

    def identity(self) -> str:
        """Return the ARN of the caller, from AWS STS, which other stores lack."""
        from botocore.config import Config

        self._client()
        try:
            quick = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 1})
            sts = self._connection.boto_session().client("sts", region_name=self.signing_region, config=quick)
            arn: str = sts.get_caller_identity()["Arn"]
        except Exception as error:
            translate_exception(error, S3Request("get_caller_identity", self.bucket, "", {}))
            raise
        return arn

    def head_bucket(self) -> BucketInfo | None:
        """Return the existing bucket, or None."""
        try:
            response = self._request("head_bucket")
        except NotFoundError:
            # There is no session for a directory bucket that does not exist.
            return None
        if not isinstance(response, S3Response):
            return None
        return BucketInfo(response.fields.get("BucketRegion"), response.fields.get("BucketArn"))

    def create(self) -> None:
        """Create the bucket unless this account owns it. Raises AlreadyExistsError if another account does."""
        try:
            self._write("create_bucket", **self._location())
        except Error as error:
            code = _code(error)
            if code == "BucketAlreadyExists":
                raise AlreadyExistsError(
                    f"The bucket {self.bucket!r} belongs to another account: names are shared by all accounts, so "
                    "choose another"
                ) from error
            if code != "BucketAlreadyOwnedByYou":
                raise

    def _location(self) -> dict[str, Any]:
        if self.zone is not None:
            kind = "LocalZone" if self.zone.count("-") > 1 else "AvailabilityZone"
            bucket = {"Type": "Directory", "DataRedundancy": f"Single{kind}"}
            return {
                "CreateBucketConfiguration": {"Location": {"Type": kind, "Name": self.zone}, "Bucket": bucket},
            }
        # Other stores define their own regions: the request names one only if the user configured it.
        where = self._connection.arguments.region_name if self.has_custom_endpoint else self.signing_region
        return {} if where in DEFAULT_REGIONS else {"CreateBucketConfiguration": {"LocationConstraint": where}}

    def directory_bucket_arn(self) -> str | None:
        """Return the ARN of a directory bucket, which contains the account; None if the account is unknown."""
        present, account = self.head_bucket(), self._connection.arguments.expected_bucket_owner
        if present is not None and present.arn is not None:
            return present.arn
        if account is None and not self.has_custom_endpoint:
            account = self.identity().split(":")[4]
        partition = self._client().meta.partition
        return account and f"arn:{partition}:s3express:{self.signing_region}:{account}:bucket/{self.bucket}"

    def policy(self) -> Mapping[str, Any]:
        """Return the bucket policy; empty if the bucket has none."""
        document = self._read("get_bucket_policy").get("Policy")
        fields: Mapping[str, Any] = json.loads(document) if document else {}
        return fields

    def put_policy(self, policy: Mapping[str, Any]) -> None:
        self._write("put_bucket_policy", Policy=json.dumps(policy))

    def public_access_block(self) -> Mapping[str, bool]:
        """Return which of `PUBLIC_ACCESS_BLOCKS` are on."""
        fields: Mapping[str, bool] = self._read("get_public_access_block").get("PublicAccessBlockConfiguration", {})
        return fields

    def put_public_access_block(self, blocks: Mapping[str, bool]) -> None:
        self._write("put_public_access_block", PublicAccessBlockConfiguration=dict(blocks))

    def encryption(self) -> str | None:
        """Return the algorithm by which new objects are encrypted, such as ``AES256`` or ``aws:kms``."""
        rules = self._read("get_bucket_encryption").get("ServerSideEncryptionConfiguration", {}).get("Rules", ())
        defaults = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
        return next((default["SSEAlgorithm"] for default in defaults if "SSEAlgorithm" in default), None)

    def enable_encryption(self) -> None:
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        self._write("put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [rule]})

    def lifecycle(self) -> Lifecycle:
        fields = self._read("get_bucket_lifecycle_configuration")
        return Lifecycle(tuple(fields.get("Rules", ())), fields.get("TransitionDefaultMinimumObjectSize"))

    def put_lifecycle(self, lifecycle: Lifecycle) -> None:
        size = lifecycle.minimum_size
        options = {"TransitionDefaultMinimumObjectSize": size} if size is not None else {}
        rules: Sequence[Any] = list(lifecycle.rules)
        self._write("put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": rules}, **options)

    def versioning(self) -> str | None:
        """Return ``Enabled``, ``Suspended``, or None if versioning was never enabled."""
        status: str | None = self._read("get_bucket_versioning").get("Status")
        return status

    def _read(self, method: str) -> Mapping[str, Any]:
        """Return the fields of the response; none if nothing is configured."""
        response = self._request(method)
        return response.fields if isinstance(response, S3Response) else {}

    def _write(self, method: str, **parameters: Any) -> None:
        response = self._request(method, **parameters)
        if isinstance(response, ExpectedFailure):
            # 409 OperationAborted: the bucket is being deleted, or its settings are being changed.
            raise UnavailableError(
                f"{method} on the bucket {self.bucket!r} failed with {response}: another request changes or deletes "
                "the bucket. Try again in a minute"
            )

    def _request(self, method: str, **parameters: Any) -> S3Response | ExpectedFailure:
        return run_blocking(self.send(S3Request(method, self.bucket, "", {"Bucket": self.bucket, **parameters})))


def _sign_with_iam(context: Any, **_: Any) -> str:
    context.get("signing", {}).pop("identity_cache", None)
    return "s3v4"


def _code(error: Error) -> str:
    """Return the error code of the store, such as ``SignatureDoesNotMatch``; empty without a response."""
    response = getattr(error.__cause__, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
