"""Responses that no S3 server sends: each is an error that says so, and no operation goes on without end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.wrappers import Request, Response

from s3dict import Client, IntegrityError, UnavailableError, UnsupportedStoreError
from s3dict._admin.garbage import _owning_dicts
from s3dict._core.listing import scan
from s3dict._core.ranged_get import parallel_get
from s3dict._stores.base import ObjectMeta, ObjectStore
from s3dict._stores.shared.threads import run_blocking

from ..support.modes import Driver
from ..support.retries import quick
from ..support.wsgi_server import AtomicServer
from .fuzz_targets import LAYOUT, entries_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

FOLDER = "s3dict/keep/"
DATED = '<LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>"x"</ETag>'
KEY = f"<Key>{FOLDER}a</Key>"


def page(*lines: str, more: str = "false") -> str:
    collect = "".join(f"<Contents>{line}</Contents>" for line in lines)
    return f'<?xml version="1.0"?><ListBucketResult><IsTruncated>{more}</IsTruncated>{collect}</ListBucketResult>'


NO_LISTINGS = {
    "no name": page(f"{DATED}<Size>1</Size>"),
    "no size": page(KEY + DATED),
    "no date": page(f'{KEY}<ETag>"x"</ETag><Size>1</Size>'),
    "size in words": page(f"{KEY}{DATED}<Size>many</Size>"),
    "size of 5000 digits": page(f"{KEY}{DATED}<Size>{'9' * 5000}</Size>"),
    "date in words": page(f"{KEY}<LastModified>yesterday</LastModified><Size>1</Size>"),
    "year 99999": page(f"{KEY}<LastModified>99999-01-01T00:00:00Z</LastModified><Size>1</Size>"),
    "no XML": "hello",
    "nesting": "<a>" * 100_000,
    "entities": '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    + page(KEY)[21:],
}
BELIEVED = {
    "negative size": page(f"{KEY}{DATED}<Size>-5</Size>"),
    "date without a zone": page(f"{KEY}<LastModified>2026-01-02T03:04:05</LastModified><ETag>x</ETag><Size>1</Size>"),
    "the same twice": page(*[f"{KEY}{DATED}<Size>1</Size>"] * 2),
    "another folder": page(f"<Key>elsewhere/a</Key>{DATED}<Size>1</Size>"),
    "another folder, without end": page(*[f"<Key>elsewhere/a</Key>{DATED}<Size>1</Size>"] * 1000, more="true"),
    "nothing, without end": page(more="true"),
}


class LyingServer(AtomicServer):
    """Answers every listing with `listing`, and every other request with a body and `headers`."""

    def __init__(self) -> None:
        self.listing = ""
        self.headers: dict[str, str] = {}
        self.status = 200
        self.requests = 0
        super().__init__(self._serve)

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.requests += 1
        now = format_datetime(datetime.now(UTC), usegmt=True)
        if "list-type" in Request(environ).args:
            answer = Response(self.listing, headers={"Date": now}, content_type="application/xml")
        else:
            answer = Response(
                b"x" * 100, self.status, {"Date": now, "Last-Modified": now, "ETag": '"x"', **self.headers}
            )
        return answer(environ, start_response)


@pytest.fixture
def server() -> Iterator[LyingServer]:
    lying = LyingServer()
    yield lying
    lying.close()


@pytest.fixture
def store(server: LyingServer, driver: Driver) -> ObjectStore:
    return quick(Client("b", endpoint_url=server.url, driver=driver), requests=1)._store(aio=False)


def everything(store: ObjectStore) -> list[ObjectMeta]:
    async def scanned() -> list[ObjectMeta]:
        return [line async for found in scan(store, FOLDER) for line in found.objects]

    return run_blocking(scanned())


def owners(store: ObjectStore) -> list[object]:
    async def found() -> list[object]:
        return [owner async for owner in _owning_dicts(store, LAYOUT, FOLDER)]

    return run_blocking(found())


@pytest.mark.parametrize("listing", NO_LISTINGS.values(), ids=NO_LISTINGS)
def test_malformed_listing_is_unavailable(server: LyingServer, store: ObjectStore, listing: str) -> None:
    server.listing = listing
    with pytest.raises(UnavailableError):
        everything(store)


@pytest.mark.parametrize("listing", BELIEVED.values(), ids=BELIEVED)
def test_listing_is_an_error_or_of_what_was_asked_for(server: LyingServer, store: ObjectStore, listing: str) -> None:
    server.listing = listing
    try:
        lines = everything(store)
    except UnavailableError:
        return
    assert all(line.path.startswith(FOLDER) and line.last_modified.tzinfo is not None for line in lines)


def test_listing_that_begins_again_comes_to_an_end(server: LyingServer, store: ObjectStore) -> None:
    names = (f"<Key>{FOLDER}named/main/d/{number:026}/entries/{number:032x}</Key>" for number in range(1000))
    server.listing = page(*(f"{name}{DATED}<Size>1</Size>" for name in names), more="true")
    for read in (everything, owners):
        server.requests = 0
        with pytest.raises(UnavailableError, match="twice"):
            read(store)
        assert server.requests < 20


@pytest.mark.parametrize(
    "headers",
    [
        {"Last-Modified": "yesterday"},
        {"Content-Length": "many"},
        {"Content-Range": "bytes 0-99/\u00b2"},
        {"Content-Range": f"bytes 0-99/{'9' * 5000}"},
        {"Content-Range": f"bytes 0-99/{2**60}"},
    ],
    ids=json.dumps,
)
def test_headers_that_lie_take_no_memory_and_are_an_error_or_overlooked(
    server: LyingServer, store: ObjectStore, headers: dict[str, str]
) -> None:
    server.headers, server.status = headers, 206 if "Content-Range" in headers else 200
    entries = entries_of("json")
    for read in (store.head, lambda path: parallel_get(store, path, entries.codec.verify_size)):
        try:
            found: Any = run_blocking(read("k"))
        except (IntegrityError, UnavailableError):
            continue
        assert found.body in (b"", b"x" * 100)


def test_invalid_date_header_gives_no_server_time(server: LyingServer, store: ObjectStore) -> None:
    server.headers = {"Date": "whenever"}
    with pytest.raises((UnsupportedStoreError, UnavailableError)):
        _ = run_blocking(store.head("k")).date  # type: ignore[union-attr]
