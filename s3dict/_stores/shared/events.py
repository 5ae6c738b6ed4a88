"""Events of requests, for `Client(on_request=...)`: what a store sent, how it ended, and how long it took."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from . import request_log as log

__all__ = ["OnRequest", "RequestEvent", "RequestObserver"]

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class RequestEvent:
    """One request to the store: each attempt of it is an event of its own. It contains no key and no value.

    Args:
        operation: S3's name, such as ``"GetObject"``.
        object_name: The object's name without a key that it contains, or the prefix of a listing or bulk deletion.
        status: The HTTP status; or a text, such as ``"no response"``.
        seconds: From the start of the attempt to its end.
        attempt: 1 for the first attempt, and one more for each retry.
        bytes_sent: The size of the request's body.
        bytes_received: The size of the object that a read returned.
        dict_name: The dict whose data or manifest it is about; None for an ephemeral dict, and for other requests.
        environment_name: That dict's environment.
    """

    operation: str
    object_name: str
    status: int | str
    seconds: float
    attempt: int
    bytes_sent: int
    bytes_received: int
    dict_name: str | None
    environment_name: str | None


OnRequest = Callable[[RequestEvent], object]
DictOfPath = Callable[[str], tuple[str | None, str | None]]


class RequestObserver:
    """Reports requests to a callable. An exception of the callable is logged once, and never fails a request.

    Args:
        on_request: Called with each event, in the thread or event loop that made the request.
        dict_of_path: Returns the name and environment of the dict that a path belongs to.
    """

    def __init__(self, on_request: OnRequest, dict_of_path: DictOfPath) -> None:
        self._on_request = on_request
        self._dict_of_path = dict_of_path
        self._has_failed = False

    def watching(
        self,
        call: Callable[[], Awaitable[R]],
        operation: str,
        path: str,
        *,
        bytes_sent: int,
        result: Callable[[R], tuple[log.Status, int]],
        error_status: Callable[[Exception], log.Status],
    ) -> Callable[[], Awaitable[R]]:
        """Return a function that makes the call, which is one attempt, and reports it.

        Args:
            call: Sends the request.
            operation: S3's name of it.
            path: The object's name, or a prefix.
            bytes_sent: The size of the request's body.
            result: Returns the status of a response and the size of its body.
            error_status: Returns the status that an exception of the driver stands for.
        """
        attempt = 0

        async def observed() -> R:
            nonlocal attempt
            attempt += 1
            status, received, started = log.NO_RESPONSE, 0, perf_counter()
            try:
                response = await call()
                status, received = result(response)
                return response
            except Exception as error:
                status = error_status(error)
                raise
            finally:
                self.report(operation, path, status, perf_counter() - started, attempt, bytes_sent, received)

        return observed

    def report(
        self,
        operation: str,
        path: str,
        status: log.Status,
        seconds: float,
        attempt: int = 1,
        bytes_sent: int = 0,
        bytes_received: int = 0,
    ) -> None:
        try:
            dict_name, environment_name = self._dict_of_path(path)
            self._on_request(
                RequestEvent(
                    operation=operation,
                    object_name=log.without_key(path),
                    status=status,
                    seconds=seconds,
                    attempt=attempt,
                    bytes_sent=bytes_sent,
                    bytes_received=bytes_received,
                    dict_name=dict_name,
                    environment_name=environment_name,
                )
            )
        except Exception:
            # Two threads may both log the first failure, which does no harm.
            if not self._has_failed:
                self._has_failed = True
                log.logger().exception("on_request failed; its further exceptions are not logged")
