"""The credentials that botocore finds, for all drivers."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ...errors import Error, PermissionDeniedError
from ..shared.validation import check_credential

if TYPE_CHECKING:
    import boto3

_FIELDS = ("access key", "secret key", "session token")


class BotoCredentials:
    """The credentials of a boto3 session, looked for when they are first needed, and refreshed by botocore.

    botocore's providers read files, run programs and send requests, and raise what those raise. Here each failure is
    `PermissionDeniedError` with its reason. Clients of botocore use this object in place of the session's credentials.

    Args:
        session: Whose credentials.
        lock: Held while they are looked for: threads must not use a session at once.
    """

    def __init__(self, session: boto3.Session, lock: threading.RLock) -> None:
        self._session = session
        self._lock = lock
        self._found: Any = None
        self.last_outcome: object = None
        """The credentials, or why there were none, when they were last needed."""

    @property
    def method(self) -> str:
        """Which provider of botocore has found the credentials."""
        return str(getattr(self._found, "method", ""))

    @property
    def expiry(self) -> datetime | None:
        """When the credentials expire; None if they do not, or are not known yet."""
        return getattr(self._found, "_expiry_time", None)

    def refresh_needed(self) -> bool:
        """Return whether `get_frozen_credentials` may block: on a file, a program or a request."""
        found = self._found
        return found is None or (hasattr(found, "refresh_needed") and found.refresh_needed())

    def get_frozen_credentials(self) -> Any:
        """Return botocore's `ReadOnlyCredentials`, refreshed if they are about to expire.

        Raises:
            PermissionDeniedError: There are none, or their provider failed.
            InvalidError: They contain a character that no credentials have.
        """
        try:
            frozen = self._find().get_frozen_credentials()
        except Error as error:
            self.last_outcome = str(error)
            raise
        except Exception as error:
            failure = _failure(error)
        else:
            self.last_outcome = tuple(frozen[:3])
            for field, value in zip(_FIELDS, self.last_outcome, strict=True):
                check_credential(f"The {field} of boto3's credentials ({self.method})", value or "")
            return frozen
        # Outside of the handler, so that the new error has no __context__, which may hold secrets.
        self.last_outcome = str(failure)
        raise failure

    def _find(self) -> Any:
        if self._found is None:
            with self._lock:
                self._found = self._session.get_credentials()
        if self._found is None:
            raise PermissionDeniedError(
                "There are no usable credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role"
            )
        return self._found


def renew_in_session(session: boto3.Session) -> None:
    """Let the session that a program made replace its credentials, which the store does not accept.

    The program may have put them there itself, as those of an assumed role: another search could find those of another
    identity. So credentials that know how to refresh themselves do that, and others are replaced by their own provider.
    """
    core: Any = session._session
    found = core._credentials
    if hasattr(found, "_refresh_using"):
        # Where that fails, they stay, and the store's rejection is what is reported.
        with suppress(Exception):
            _refresh(found)
    elif getattr(found, "method", "explicit") != "explicit":
        core._credentials, again = None, None
        with suppress(Exception):
            again = core.get_credentials()
        if again is None or again.method != found.method:
            core._credentials = found


def _refresh(credentials: Any) -> None:
    with credentials._refresh_lock:
        # What fetches those of a role returns them again until they expire.
        fetcher = getattr(credentials._refresh_using, "__self__", None)
        cache, key = getattr(fetcher, "_cache", None), getattr(fetcher, "_cache_key", None)
        if cache is not None and key in cache:
            del cache[key]
        credentials._protected_refresh(is_mandatory=True)


def _failure(error: Exception) -> PermissionDeniedError:
    from ..shared.redaction import redacted

    reason = " ".join(str(error).split())
    if not type(error).__module__.startswith("botocore."):
        reason = f"{type(error).__name__}: {reason}".rstrip(": ")
    return PermissionDeniedError(f"There are no usable credentials: {redacted(reason)}")
