"""faults: makes requests to a bucket in memory fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

from .._client import Client
from .._stores.memory import Fault, FaultKind, Operation
from ..errors import InvalidError
from .memory import memory_bucket_of

__all__ = ["Fault", "faults"]


@contextmanager
def faults(
    client: Client, kind: FaultKind, *, operation: Operation | None = None, times: int | None = None
) -> Iterator[Fault]:
    """Make requests to the client's bucket fail while the context is open, whichever client of this process sends them.

    ::

        with faults(s3dict_memory_client, "unreachable", operation="put") as fault:
            assert submit(order) == "saved for later"
        assert fault.hits

    s3dict retries what is safe to retry: a put up to 8 times. So your code does not see the fault of a single request,
    as it would not in production; omit `times` to have it see an error. Backoff between attempts is a millisecond at
    most inside of the context. A handle that has not been used yet begins with requests for its dict: call `hydrate`
    before, if these are not to fail.

    Args:
        client: In memory.
        kind: ``"lost-request"``: the connection breaks before the store receives the request. ``"lost-response"``: the
            store applies the request, then the connection breaks. ``"unreachable"``: there is no connection.
            ``"denied"``: the policy does not allow the request.
        operation: ``"get"``, ``"put"``, ``"delete"`` or ``"list"``, as policies distinguish them; None for all.
        times: How many requests fail; None for all while the context is open. Of several faults the one that was
            entered first applies first.

    Yields:
        The fault, whose ``hits`` is the number of requests that it has failed.

    Raises:
        InvalidError: The client is not in memory, there is no such fault or operation, or `times` is less than 1.
    """
    if kind not in get_args(FaultKind):
        raise InvalidError(f"Unknown fault {kind!r}: choose one of {', '.join(get_args(FaultKind))}")
    if operation is not None and operation not in get_args(Operation):
        raise InvalidError(f"Unknown operation {operation!r}: choose one of {', '.join(get_args(Operation))}, or None")
    if times is not None and (type(times) is not int or times < 1):
        raise InvalidError(f"times must be 1 or more, or None for all requests; not {times!r}")
    bucket, fault = memory_bucket_of(client, "faults"), Fault(kind, operation, times)
    bucket.faults.append(fault)
    try:
        yield fault
    finally:
        # By identity: another fault may be equal to it.
        bucket.faults[:] = [other for other in bucket.faults if other is not fault]
