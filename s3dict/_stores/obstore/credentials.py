"""Credentials for obstore."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..shared.connection import Connection

if TYPE_CHECKING:
    from obstore.store import S3Credential

    from ..shared.sessions import SessionCredentials

    CredentialProvider = Callable[[], S3Credential]

CREDENTIAL_TTL = timedelta(minutes=10)
"""obstore calls a provider again five minutes before the expiry that it reported."""


def credential_provider(connection: Connection) -> CredentialProvider:
    """Return what obstore calls for credentials.

    obstore's own `Boto3CredentialProvider` reports an expiry of its own instead of the real one, so that a token that
    lasts for less than its `ttl` would be used after it has expired.
    """
    static = connection.settings.credentials
    if static is not None:
        fixed: S3Credential = {
            "access_key_id": static.access_key,
            "secret_access_key": static.secret_key,
            "token": static.token,
            "expires_at": None,
        }
        return lambda: fixed
    credentials = connection.boto_credentials()

    def provide() -> S3Credential:
        # botocore renews what is about to expire, fifteen minutes before.
        frozen = credentials.get_frozen_credentials()
        call_again_at = datetime.now(UTC) + CREDENTIAL_TTL
        expiry = credentials.expiry
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": call_again_at if expiry is None else min(call_again_at, expiry.astimezone(UTC)),
        }

    return provide


def session_provider(session: SessionCredentials) -> CredentialProvider:
    """Return what obstore calls for the credentials of a directory bucket. Their token goes into another header."""
    fixed: S3Credential = {
        "access_key_id": session.access_key,
        "secret_access_key": session.secret_key,
        "token": None,
        "expires_at": None,
    }
    return lambda: fixed
