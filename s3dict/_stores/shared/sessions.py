"""The session of a directory bucket (S3 Express): temporary credentials, which all stores of a client share.

A session lasts five minutes. It is opened before the first request, and again when a fifth of that is left: one caller
sends the request then, and the others go on with the session that is still valid. How long it lasts is counted from the
times in the response alone, by the clock that includes the time for which this machine was stopped; a wall clock that
is wrong does no harm.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field

from ...errors import Error
from ..base import monotonic_seconds

RETRY_SECONDS = 5.0
"""How long a session that is still valid is used after it could not be renewed, before the next attempt."""


@dataclass(frozen=True, slots=True)
class SessionCredentials:
    """The credentials of a session.

    Args:
        access_key, secret_key, token: What signs a request.
        lifetime: For how many seconds they are valid.
    """

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    lifetime: float


class Sessions:
    """Opens the session of one bucket, and keeps it.

    Args:
        open_session: Sends CreateSession once, waiting at most so many seconds for a response.
    """

    def __init__(self, open_session: Callable[[float], SessionCredentials]) -> None:
        self._open_session = open_session
        # A signal handler may use the client while its thread is inside, even while that waits for the response.
        self._lock = threading.RLock()
        self._session: SessionCredentials | None = None
        self._opened_at = 0.0
        self._opened = 0
        self._attempts = 0
        self._failure: Error | None = None
        self._not_before = 0.0

    def current(self) -> SessionCredentials | None:
        """Return the session if it is valid for some seconds more. Sends no request."""
        session = self._session
        return None if session is None or self._left(session) < session.lifetime / 30 else session

    @property
    def number(self) -> int:
        """The number of the session that a request made now is signed with: the valid one's, or the next."""
        return self._opened + (self.current() is None)

    def needs_renewal(self) -> bool:
        """Return whether a session has to be opened."""
        session = self._session
        if session is None or self._left(session) >= session.lifetime / 5:
            return session is None
        return self._not_before <= monotonic_seconds()

    def get(self, timeout: float) -> SessionCredentials:
        """Return a valid session. May send a request, or wait for that of another caller.

        Raises:
            Error: There is no valid session, and none could be opened. Nothing was applied.
        """
        session = self.current()
        if session is not None and not self.needs_renewal():
            return session
        attempts = self._attempts
        # Another caller is opening one: there is no need to wait for it while the old one is valid.
        if not self._lock.acquire(blocking=session is None):
            assert session is not None
            return session
        try:
            return self._renewed(attempts, timeout)
        finally:
            self._lock.release()

    def discard(self, number: int) -> None:
        """Forget the session of this number, which the store does not accept, unless another has replaced it."""
        with self._lock:
            if self._opened == number:
                self._session = None

    def _renewed(self, attempts: int, timeout: float) -> SessionCredentials:
        session = self.current()
        if session is not None and not self.needs_renewal():
            return session
        if session is None and self._attempts != attempts and self._failure is not None:
            # The attempt that this caller has waited for failed. One after the other, all would wait for a timeout.
            raise copy(self._failure)
        self._attempts += 1
        begin = monotonic_seconds()
        try:
            opened = self._open_session(timeout)
        except Error as error:
            self._failure = error.with_traceback(None)
            self._not_before = monotonic_seconds() + RETRY_SECONDS
            if session is None:
                raise
            return session
        self._failure = None
        # In this order: another thread that looks at them in between finds a session that has expired.
        self._session, self._opened_at = opened, begin
        self._opened += 1
        return opened

    def _left(self, session: SessionCredentials) -> float:
        return self._opened_at + session.lifetime - monotonic_seconds()
