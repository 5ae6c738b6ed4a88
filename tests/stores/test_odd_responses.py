"""Responses that deviate from those of S3, as stores, gateways and proxies send them: every driver reads them alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from s3dict import Client
from s3dict._stores.base import Page, StoredObject
from s3dict.errors import UnavailableError

from ..support.connections import WAYS, clean_environment, get, list_page, perform
from ..support.recording_server import Recorded, Response, error, not_found, recording_server
from ..support.retries import quick

__all__ = ["clean_environment"]

MOMENT = datetime(2026, 11, 9, 16, 16, 12, tzinfo=UTC)
HTTP_TIME = "Mon, 09 Nov 2026 16:16:12 GMT"
HEADERS = {"ETag": '"e"', "Last-Modified": HTTP_TIME}
BODY = b"0123456789"


def received(driver: Any, aio: bool, request: Callable[[Any], Any], *response: Any) -> Any:
    """Return what a driver makes of the response to every request."""

    def respond(recorded: Recorded) -> Response:
        return not_found(recorded) if recorded.method == "HEAD" and request is not head else response

    with recording_server(respond) as server:
        client = quick(Client("bucket", endpoint_url=server.url, driver=driver), writes=1, requests=1)
        return perform(client, aio, request)


def head(store: Any) -> Any:
    return store.head("s3dict/k")


def list_folder(store: Any) -> Any:
    return store.list_page("s3dict/", folders=True)


def part(store: Any) -> Any:
    return store.get("s3dict/k", byte_range=(4, 6))


def listing(key: str, modified: str = "2026-11-09T16:16:12.000Z", more: str = "") -> bytes:
    fields = f"<Key>{key}</Key><LastModified>{modified}</LastModified><Size>3</Size>"
    contents = f"<Contents>{fields}</Contents>"
    return f"<ListBucketResult>{more}<IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode()


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_object_without_a_length_is_read(driver: Any, aio: bool) -> None:
    """Proxies that change a body send it in chunks; obstore demands a length."""
    headers = {**HEADERS, "Content-Length": None, "Transfer-Encoding": "chunked"}
    found = received(driver, aio, get, 200, headers, b"a\r\n" + BODY + b"\r\n0\r\n\r\n")
    assert isinstance(found, StoredObject)
    assert (found.body, found.size) == (BODY, 10)


@pytest.mark.parametrize("modified", ["2026-11-09T16:16:12.000Z", "Monday, 09-Nov-26 16:16:12 GMT"])
@pytest.mark.parametrize("request_", [get, head])
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_time_of_an_object_has_any_format(request_: Any, modified: str, driver: Any, aio: bool) -> None:
    found = received(driver, aio, request_, 200, {**HEADERS, "Last-Modified": modified}, BODY)
    assert isinstance(found, StoredObject)
    assert found.last_modified == MOMENT


@pytest.mark.parametrize("modified", [HTTP_TIME, "2026-11-09T16:16:12", "2026-11-09 16:16:12"])
@pytest.mark.parametrize("request_", [list_page, list_folder])
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_time_in_a_listing_has_any_format(request_: Any, modified: str, driver: Any, aio: bool) -> None:
    page = received(driver, aio, request_, 200, {}, listing("s3dict/k", modified))
    assert isinstance(page, Page)
    assert [item.last_modified for item in page.objects] == [MOMENT]


@pytest.mark.parametrize("request_", [list_page, list_folder])
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_encoded_names_are_decoded(request_: Any, driver: Any, aio: bool) -> None:
    page = received(driver, aio, request_, 200, {}, listing("s3dict%2Fk", more="<EncodingType>url</EncodingType>"))
    assert isinstance(page, Page)
    assert [item.path for item in page.objects] == ["s3dict/k"]


@pytest.mark.parametrize("request_", [list_page, list_folder])
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_listing_of_other_names_is_not_empty(request_: Any, driver: Any, aio: bool) -> None:
    failure = received(driver, aio, request_, 200, {}, listing("s3dict%2Fk"))
    assert isinstance(failure, UnavailableError)
    assert "Unexpected listing" in str(failure)


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_part_is_cut_out_of_a_whole_object(driver: Any, aio: bool) -> None:
    found = received(driver, aio, part, 200, HEADERS, BODY)
    assert isinstance(found, StoredObject)
    assert (bytes(found.body), found.size) == (b"456", 10)


@pytest.mark.parametrize("content_range", ["bytes 2-4/10", "bytes 4-6/*", None])
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_another_part_than_that_requested_is_an_error(content_range: str | None, driver: Any, aio: bool) -> None:
    failure = received(driver, aio, part, 206, {**HEADERS, "Content-Range": content_range}, b"234")
    assert isinstance(failure, UnavailableError)
    assert "another part" in str(failure)


@pytest.mark.parametrize("status", [304, 416])
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_failure_of_a_condition_that_was_not_sent_is_an_error(status: int, driver: Any, aio: bool) -> None:
    failure = received(driver, aio, get, *error(status, "InvalidRange"))
    assert isinstance(failure, UnavailableError)
