"""Access denied: which action a policy does not allow, or why the credentials are not accepted.

The policies are those of the Terraform module (`terraform/iam.tf`); tests compare these messages with them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import PermissionDeniedError, PolicyName
from .redaction import redacted
from .validation import zone_of

if TYPE_CHECKING:
    from .messages import S3Request

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
"""The IAM actions of operations with another name."""

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
"""The smallest policy that grants the action on the objects of an environment."""

_ENVIRONMENT = re.compile(r"/(?:manifests|named)/([^/]+)/")
_EPHEMERAL = re.compile(r"/ephemeral/")
_SCRATCH = re.compile(r"/sweep-1d/probe/")
_STORE = re.compile(r"/store\.json$")

CREDENTIAL_ERRORS = {
    "AuthorizationHeaderMalformed": "fix the region, or AWS_ACCESS_KEY_ID",
    "ExpiredToken": "the session token has expired: sign in again, or refresh it",
    "ExpiredTokenException": "the session token has expired: sign in again, or refresh it",
    "InvalidAccessKeyId": "the store does not know this access key: fix AWS_ACCESS_KEY_ID, or the endpoint",
    "InvalidToken": "the store does not know this session token: fix AWS_SESSION_TOKEN, or sign in again",
    "SignatureDoesNotMatch": "the secret does not belong to this access key: fix AWS_SECRET_ACCESS_KEY",
    "TokenRefreshRequired": "the session token has to be refreshed: sign in again",
}
"""The error codes that mean that the credentials are not accepted, and what to do."""

CLOCK_ERROR = "RequestTimeTooSkewed"

_AWS_DENIAL = re.compile(r"not authorized to perform: ((?:s3|kms):[A-Za-z]{1,64}) on")
_IN_SESSION = frozenset(
    {"CreateSession", "GetObject", "HeadObject", "ListObjectsV2", "HeadBucket"}
    | {"PutObject", "DeleteObject", "DeleteObjects", "CopyObject"}
)
"""The operations of a directory bucket that one permission covers, s3express:CreateSession."""
_WRITES = frozenset({"PutObject", "DeleteObject", "DeleteObjects", "CopyObject"})
_DIRECTORY_ARN = re.compile(r"arn:aws[a-z-]*:s3express:[a-z0-9-]+:\d{12}:(?:bucket|accesspoint)/[a-z0-9.-]{3,63}")
_KMS_KEY = re.compile(r"arn:aws[a-z-]*:kms:[\w-]+:\d{12}:key/[\w-]{1,40}")


def access_denied_error(request: S3Request, status: int, code: str, message: str) -> PermissionDeniedError:
    """Return the error for a response that is 401 or 403, or has one of the `CREDENTIAL_ERRORS`."""
    # A response to HEAD has no code, and botocore takes the status for it.
    words = (str(status), "" if code == str(status) else code, redacted(message))
    response_text = " ".join(filter(None, words)).strip().removesuffix(".")
    if code == CLOCK_ERROR:
        return PermissionDeniedError(
            f"{request}{request.at_endpoint}: {response_text}. The clock here differs too much from the store's: "
            "synchronise it (NTP)"
        )
    if status == 401 or code in CREDENTIAL_ERRORS:
        advice = CREDENTIAL_ERRORS.get(code, "fix AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the endpoint")
        where = f"{request}{request.at_endpoint}"
        return PermissionDeniedError(f"{where}: {response_text}. The credentials are not accepted: {advice}")
    is_head = "Head" in request.operation
    if code != "AccessDenied" and not is_head:
        # Only AccessDenied is about policies. Other stores and proxies have codes of their own, or none.
        at = f" from {request.endpoint}" if request.endpoint else ""
        return PermissionDeniedError(f"{request} was denied{at}: {response_text or 'no reason'}")
    match = _AWS_DENIAL.search(message)
    if zone_of(request.bucket) is not None and not (match and match[1].startswith("kms:")):
        return _directory_bucket_error(request, response_text, message)
    action = match[1] if match else action_of(request.operation)
    resource, policy = _resource(request, action, message), _policy(request, action)
    denied = (
        f"{request} was denied: {response_text}. "
        f"It requires {_required_actions(request, action)} on {resource or 'the KMS key'}"
    )
    explicit = "explicit deny" in message
    grant = (
        "a policy denies it explicitly, and no other can grant it" if explicit else _granting_policy(request, policy)
    )
    caveat = ". Or the credentials are not accepted: a response to HEAD has no code" if is_head else ""
    return PermissionDeniedError(f"{denied}: {grant}{caveat}", action=action, resource=resource, policy=policy)


def _directory_bucket_error(request: S3Request, response_text: str, message: str) -> PermissionDeniedError:
    """Return the error for a directory bucket, where a session is allowed and not each operation on each object."""
    operation = request.operation
    named = _DIRECTORY_ARN.search(message)
    resource = named[0] if named else f"arn:aws:s3express:*:*:bucket/{request.bucket}"
    policy: PolicyName = "admin"
    action, condition = action_of(operation).replace("s3:", "s3express:", 1), ""
    if operation in _IN_SESSION:
        action, policy = "s3express:CreateSession", "writer" if operation in _WRITES else "reader"
        if operation in _WRITES:
            condition = ", and no condition that s3express:SessionMode is ReadOnly"
    grant = f"the {policy} policy of the Terraform module for directory buckets grants it"
    if "explicit deny" in message:
        grant = "a policy denies it explicitly, and no other can grant it"
    return PermissionDeniedError(
        f"{request} was denied: {response_text}. It requires {action} on {resource}{condition}: {grant}",
        action=action,
        resource=resource,
        policy=policy,
    )


def missing_credentials_error(request: S3Request, error: str) -> PermissionDeniedError:
    """Return the error for a request without credentials to sign it."""
    # The driver may repeat an error of this package, which ends with the advice already.
    reason = redacted(error).rpartition("There are no usable credentials: ")[2].rstrip(".")
    why = "" if reason.startswith("set AWS_ACCESS_KEY_ID") else f": {reason}"
    return PermissionDeniedError(
        f"{request}: no usable credentials{why}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role"
    )


def action_of(operation: str) -> str:
    """Return the IAM action of the operation."""
    return IAM_ACTIONS.get(operation, f"s3:{operation}")


def _resource(request: S3Request, action: str, message: str) -> str | None:
    if action.startswith("kms:"):
        key = _KMS_KEY.search(message)
        return key[0] if key else None
    bucket = f"arn:aws:s3:::{request.bucket}"
    if action == "s3:ListBucket" or not request.path:
        return bucket
    return f"{bucket}/{request.path}" + ("*" if request.path.endswith("/") else "")


def _policy(request: S3Request, action: str) -> PolicyName | None:
    minimum = MIN_POLICY.get(action)
    if minimum in (None, "admin") or action.startswith("kms:"):
        return minimum
    if any(part.search(request.path) for part in (_ENVIRONMENT, _EPHEMERAL, _STORE)):
        return minimum
    return "writer" if _SCRATCH.search(request.path) else "admin"


def _required_actions(request: S3Request, action: str) -> str:
    """Return the action, and the others that the request may lack."""
    if request.operation == "CopyObject" or "IfMatch" in request.parameters:
        return f"{action} (this request also needs s3:GetObject)" if action != "s3:GetObject" else action
    if action == "s3:GetObject":
        return f"{action} (or, if the object does not exist, s3:ListBucket)"
    if action == "s3:ListBucket" and request.path:
        return f"{action} with the s3:prefix {request.path}"
    return action


def _granting_policy(request: S3Request, policy: PolicyName | None) -> str:
    if policy is None:
        return "no policy of the Terraform module grants it: only setting up a bucket needs it"
    if policy == "admin":
        return "the admin policy of the Terraform module grants it (output admin_policy_arn)"
    environment = _ENVIRONMENT.search(request.path)
    which = f'["{environment[1]}"]' if environment else ""
    if _EPHEMERAL.search(request.path):
        which = ", for one of ephemeral_environments"
    return f"the {policy} policy of the Terraform module grants it (output {policy}_policy_arns{which})"
