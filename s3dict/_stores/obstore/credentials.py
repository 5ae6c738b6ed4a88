"""Credentials for obstore."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ...errors import PermissionDeniedError

if TYPE_CHECKING:
    import boto3
    from obstore.store import S3Credential

    CredentialProvider = Callable[[], S3Credential]

CREDENTIAL_TTL = timedelta(minutes=10)
"""obstore calls a provider again five minutes before the expiry that it reported."""


def static_credentials(environment: Mapping[str, str]) -> S3Credential | None:
    """Return the credentials in the environment, which boto3 prefers to others; None if they expire or are absent."""
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret or environment.get("AWS_CREDENTIAL_EXPIRATION"):
        return None
    token = environment.get("AWS_SECURITY_TOKEN") or environment.get("AWS_SESSION_TOKEN") or None
    return {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": None}


def boto_credential_provider(session: boto3.Session) -> CredentialProvider:
    """Return a provider of the credentials of a boto3 session, which refreshes them.

    obstore's own `Boto3CredentialProvider` reports an expiry of its own instead of the real one, so that a token that
    lasts for less than its `ttl` would be used after it has expired.

    Raises:
        PermissionDeniedError: the session has no credentials.
    """
    credentials: Any = session.get_credentials()
    if credentials is None:
        raise PermissionDeniedError(
            "There are no usable credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role"
        )

    def provide() -> S3Credential:
        # What is about to expire is refreshed here: botocore does it fifteen minutes before.
        frozen: Any = credentials.get_frozen_credentials()
        ask_again_at = datetime.now(UTC) + CREDENTIAL_TTL
        expiry: datetime | None = getattr(credentials, "_expiry_time", None)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": ask_again_at if expiry is None else min(ask_again_at, expiry),
        }

    return provide
