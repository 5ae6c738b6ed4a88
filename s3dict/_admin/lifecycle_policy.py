"""The bucket policy without which S3 does not apply the lifecycle rules of a directory bucket.

S3 Lifecycle deletes in a session, as any client does, and must be allowed to create one:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/directory-buckets-objects-lifecycle.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SERVICE = "lifecycle.s3.amazonaws.com"
ACTION = "s3express:CreateSession"
_STATEMENT_ID = "S3LifecycleDeletesExpiredEntries"

Policy = Mapping[str, Any]


def grants_lifecycle(policy: Policy) -> bool:
    """Return whether a statement of the policy allows S3 Lifecycle to create sessions that write."""
    return any(map(_grants, _listed(policy.get("Statement"))))


def with_lifecycle(policy: Policy, bucket_arn: str) -> Policy:
    """Return the policy with the statement for S3 Lifecycle; all others stay."""
    statement = {
        "Sid": _STATEMENT_ID,
        "Effect": "Allow",
        "Principal": {"Service": SERVICE},
        "Action": ACTION,
        "Resource": bucket_arn,
        "Condition": {"StringEquals": {"s3express:SessionMode": "ReadWrite"}},
    }
    others = [other for other in _listed(policy.get("Statement")) if other.get("Sid") != _STATEMENT_ID]
    return {"Version": "2012-10-17", **policy, "Statement": [*others, statement]}


def _grants(statement: Policy) -> bool:
    principal = statement.get("Principal")
    services = _listed(principal.get("Service")) if isinstance(principal, Mapping) else _listed(principal)
    modes = [
        mode
        for conditions in (statement.get("Condition") or {}).values()
        for name, values in conditions.items()
        if name.lower() == "s3express:sessionmode"
        for mode in _listed(values)
    ]
    return (
        statement.get("Effect") == "Allow"
        and not {SERVICE, "*"}.isdisjoint(services)
        and not {ACTION, "s3express:*", "*"}.isdisjoint(_listed(statement.get("Action")))
        and (not modes or "ReadWrite" in modes)
    )


def _listed(value: Any) -> list[Any]:
    """Return the values of a field that may have one without a list."""
    return list(value) if isinstance(value, list) else [] if value is None else [value]
