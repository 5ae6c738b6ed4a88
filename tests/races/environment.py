"""A place on a server, reached directly or through a proxy that makes requests fail."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from s3dict import Client, Dict
from s3dict._stores.shared.threads import run_blocking

from ..support.modes import Endpoint
from ..support.proxy import Fault, FaultKind, Proxy, Request

__all__ = ["FAULTS", "Environment", "RunSize", "faulty"]


def _is_conditional(request: Request) -> bool:
    return bool(request.if_match or request.if_none_match)


def _is_write(request: Request) -> bool:
    return request.method in ("PUT", "DELETE")


FAULTS = (
    Fault("lost-response", when=_is_write, probability=0.08),
    Fault("internal-error-after", when=_is_write, probability=0.04),
    Fault("lost-request", when=_is_write, probability=0.04),
    Fault("internal-error", when=_is_write, probability=0.03),
    Fault("slow-down", when=_is_write, probability=0.02),
    Fault("conflict", when=_is_conditional, probability=0.03),
    Fault("lost-response", probability=0.02),
)
"""All that can go wrong on the way, at once: of the writes, one in four fails."""


@dataclass(frozen=True, slots=True)
class RunSize:
    """How much is raced for."""

    full: bool
    gentle: bool

    def of(self, full: int, gentle: int) -> int:
        """The full count, or a tenth of it, or what a server takes that is slow with contenders for one key."""
        return full if self.full else gentle if self.gentle else max(1, full // 10)


@dataclass(frozen=True, slots=True)
class Environment:
    """An empty prefix on a server."""

    name: str
    endpoint: Endpoint
    label: str
    driver: Literal["boto3", "auto"] = "boto3"

    def client(self, proxy: Proxy | None = None) -> Client:
        prefix = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.label).strip("-.")
        url = proxy.url if proxy else self.endpoint.url
        return Client(self.endpoint.bucket, prefix=prefix, endpoint_url=url, driver=self.driver)

    def make(self, proxy: Proxy | None = None) -> Dict[Any, Any]:
        """A new Dict, made directly, and a handle that goes through the proxy if there is one."""
        made: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=self.client()).hydrate()
        return Dict.from_id(made.object_id, self.client(proxy))

    def without_conditional_delete(self) -> None:
        """From now on, new Dicts take the server for one that ignores If-Match on DELETE, and write tombstones."""
        client = self.client()
        Dict.objects.create("probe", client=client)
        run_blocking(_forbid_conditional_delete(client))


async def _forbid_conditional_delete(client: Client) -> None:
    store, path = client._store(aio=False), client._layout.store
    found = await store.get(path)
    body: bytes = bytes(found.body).replace(b'"conditional_delete": true', b'"conditional_delete": false')  # type: ignore[union-attr]
    assert b'"conditional_delete": false' in body
    await store.put(path, body)


@contextmanager
def faulty(proxy: Proxy) -> Iterator[Counter[FaultKind]]:
    """Requests through the proxy fail inside the block; after it, reports how many did, of each kind.

    The first conditional writes get one fault of each kind, so that none is missing in a short run.
    """
    hits: Counter[FaultKind] = Counter()
    with proxy.recording() as requests:
        for fault in {fault.kind: fault for fault in FAULTS}.values():
            proxy.script(replace(fault, when=_is_conditional))
        proxy.faults = FAULTS
        try:
            yield hits
        finally:
            proxy.faults = ()
            hits.update(request.fault for request in requests if request.fault)
    assert {fault.kind for fault in FAULTS} == set(hits)
