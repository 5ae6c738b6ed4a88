"""What it means that a store says no: a policy does not allow the action, or the credentials are not accepted.

The policies are those that the Terraform module makes (`terraform/iam.tf`); tests compare what is said here with them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import PermissionDeniedError, PolicyName
from .redaction import redacted

if TYPE_CHECKING:
    from ..boto.requests import S3Request

IAM_ACTIONS = {
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "CopyObject": "s3:PutObject",
    "DeleteObjects": "s3:DeleteObject",
    "HeadBucket": "s3:ListBucket",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "GetCallerIdentity": "sts:GetCallerIdentity",
}
"""What a policy calls the operations that it does not call by their own names."""

MIN_POLICY: dict[str, PolicyName] = {
    "kms:Decrypt": "reader",
    "kms:GenerateDataKey": "writer",
    "s3:DeleteObject": "writer",
    "s3:GetBucketPublicAccessBlock": "admin",
    "s3:GetBucketVersioning": "admin",
    "s3:GetEncryptionConfiguration": "admin",
    "s3:GetLifecycleConfiguration": "admin",
    "s3:GetObject": "reader",
    "s3:ListBucket": "reader",
    "s3:PutLifecycleConfiguration": "admin",
    "s3:PutObject": "writer",
}
"""The least of the policies that grants it, on what lies in an environment."""

_ENVIRONMENT = re.compile(r"/(?:manifests|named)/([^/]+)/")
_EPHEMERAL = re.compile(r"/ephemeral/")
_SCRATCH = re.compile(r"/sweep-1d/probe/")
_STORE = re.compile(r"/store\.json$")

CREDENTIAL_ERRORS = {
    "AuthorizationHeaderMalformed": "mend the region, or AWS_ACCESS_KEY_ID",
    "ExpiredToken": "the session token has expired: sign in again, or renew it",
    "InvalidAccessKeyId": "the store does not know this access key: mend AWS_ACCESS_KEY_ID, or the endpoint",
    "InvalidToken": "the store does not know this session token: mend AWS_SESSION_TOKEN, or sign in again",
    "SignatureDoesNotMatch": "the secret does not belong to this access key: mend AWS_SECRET_ACCESS_KEY",
    "TokenRefreshRequired": "the session token has to be renewed: sign in again",
}
"""The codes by which S3 says that it is the credentials, and what to do."""

_AWS_DENIAL = re.compile(r"not authorized to perform: ((?:s3|kms):[A-Za-z]{1,64}) on")
_KMS_KEY = re.compile(r"arn:aws[a-z-]*:kms:[\w-]+:\d{12}:key/[\w-]{1,40}")


def access_denied_error(call: S3Request, status: int, code: str, message: str) -> PermissionDeniedError:
    """The error for an answer that is 401 or 403, or has a code that speaks of credentials."""
    said = f"{status} {code} {redacted(message)}".strip()
    if code == "RequestTimeTooSkewed":
        return PermissionDeniedError(
            f"{call}: {said}. The clock here is too far from the store's: set it right, by NTP"
        )
    if status == 401 or code in CREDENTIAL_ERRORS:
        advice = CREDENTIAL_ERRORS.get(code, "mend AWS_ACCESS_KEY_ID and the rest, or the endpoint")
        return PermissionDeniedError(f"{call}: {said}. Check the credentials, which are not accepted: {advice}")
    spelled_out = _AWS_DENIAL.search(message)
    action = spelled_out[1] if spelled_out else action_of(call.operation)
    resource, policy = _resource(call, action, message), _policy(call, action)
    lacking = (
        f"{call} was denied: {said}. Lacking is {_required_actions(call, action)} on {resource or 'the key of KMS'}"
    )
    explicit = "explicit deny" in message
    grant = "a policy denies it explicitly, and no other can grant it" if explicit else _granting_policy(call, policy)
    unsaid = ". It may also be the credentials: an answer to HEAD does not say" if "Head" in call.operation else ""
    return PermissionDeniedError(f"{lacking}: {grant}{unsaid}", action=action, resource=resource, policy=policy)


def missing_credentials_error(call: S3Request, error: str) -> PermissionDeniedError:
    """The error where there is nothing to sign a request with."""
    return PermissionDeniedError(
        f"{call}: no usable credentials: {redacted(error)}. Set AWS_ACCESS_KEY_ID and the rest, or a profile or role"
    )


def action_of(operation: str) -> str:
    """What a policy calls the operation."""
    return IAM_ACTIONS.get(operation, f"s3:{operation}")


def _resource(call: S3Request, action: str, message: str) -> str | None:
    if action.startswith("kms:"):
        key = _KMS_KEY.search(message)
        return key[0] if key else None
    bucket = f"arn:aws:s3:::{call.bucket}"
    if action == "s3:ListBucket" or not call.path:
        return bucket
    return f"{bucket}/{call.path}" + ("*" if call.path.endswith("/") else "")


def _policy(call: S3Request, action: str) -> PolicyName | None:
    least = MIN_POLICY.get(action)
    if least in (None, "admin") or action.startswith("kms:"):
        return least
    if any(place.search(call.path) for place in (_ENVIRONMENT, _EPHEMERAL, _STORE)):
        return least
    return "writer" if _SCRATCH.search(call.path) else "admin"


def _required_actions(call: S3Request, action: str) -> str:
    """The action, and what else the request may have failed for."""
    if call.operation == "CopyObject" or "IfMatch" in call.parameters:
        return f"{action} (this request also needs s3:GetObject)" if action != "s3:GetObject" else action
    if action == "s3:GetObject":
        return f"{action} (or, if nothing is there, s3:ListBucket)"
    if action == "s3:ListBucket" and call.path:
        return f"{action} with the s3:prefix {call.path}"
    return action


def _granting_policy(call: S3Request, policy: PolicyName | None) -> str:
    if policy is None:
        return "no policy of the Terraform module grants it, since only who sets a bucket up needs it"
    if policy == "admin":
        return "the admin policy of the Terraform module grants it (output admin_policy_arn)"
    environment = _ENVIRONMENT.search(call.path)
    which = f'["{environment[1]}"]' if environment else ""
    if _EPHEMERAL.search(call.path):
        which = ", for one of ephemeral_environments"
    return f"the {policy} policy of the Terraform module grants it (output {policy}_policy_arns{which})"
