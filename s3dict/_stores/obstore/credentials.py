"""Credentials for obstore."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..shared.connection import Connection

if TYPE_CHECKING:
    from obstore.store import S3Credential

    from ..shared.sessions import SessionCredentials

    CredentialProvider = Callable[[], S3Credential]

CREDENTIAL_TTL = timedelta(minutes=10)
"""obstore calls a provider again five minutes before the expiry that it reported."""


_TOKEN_VARIABLES = frozenset({"AWS_SESSION_TOKEN", "AWS_TOKEN"})
"""Where obstore finds a session token, in upper or lower case, if it is passed keys without one."""


def credential_options(connection: Connection, session: SessionCredentials | None) -> dict[str, Any]:
    """Return the options of an `S3Store` that decide the credentials.

    Raises:
        PermissionDeniedError: There are no credentials.
    """
    if session is not None:
        return {"credential_provider": _session_provider(session)}
    static = connection.settings.credentials
    if static is None or not (static.token or _TOKEN_VARIABLES.isdisjoint(map(str.upper, os.environ))):
        return {"credential_provider": credential_provider(connection)}
    # For a provider, obstore loads `inspect`: that takes longer than the rest of a first request.
    keys = {"access_key_id": static.access_key, "secret_access_key": static.secret_key}
    return keys if static.token is None else {**keys, "session_token": static.token}


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
            # Empty in a file, it would be a header without a value.
            "token": frozen.token or None,
            "expires_at": call_again_at if expiry is None else min(call_again_at, expiry.astimezone(UTC)),
        }

    return provide


def _session_provider(session: SessionCredentials) -> CredentialProvider:
    """Return what obstore calls for the credentials of a directory bucket. Their token goes into another header."""
    fixed: S3Credential = {
        "access_key_id": session.access_key,
        "secret_access_key": session.secret_key,
        "token": None,
        "expires_at": None,
    }
    return lambda: fixed
