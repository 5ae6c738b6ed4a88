"""Responses that deviate from those of S3, as stores, gateways and proxies send them: every driver reads them alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from s3dict import Client
from s3dict._retry import ThrottledError
from s3dict._stores.base import DeleteResult, Page, StoredObject
from s3dict._stores.shared.messages import xml_text
from s3dict.errors import Error, InvalidError, NotFoundError, PermissionDeniedError, UnavailableError

from ..support.connections import WAYS, clean_environment, copy, delete_if, delete_many, get, list_page, perform, put
from ..support.recording_server import Recorded, Response, error, not_found, recording_server
from ..support.retries import quick
from .test_error_mapping import speaking

__all__ = ["clean_environment"]

PAIR: list[tuple[Any, bool]] = [("boto3", True), ("obstore", False)]
"""Each driver in one mode, for what both modes share."""
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


def delete(store: Any) -> Any:
    return store.delete("s3dict/k")


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
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_time_of_an_object_has_any_format(request_: Any, modified: str, driver: Any, aio: bool) -> None:
    found = received(driver, aio, request_, 200, {**HEADERS, "Last-Modified": modified}, BODY)
    assert isinstance(found, StoredObject)
    assert found.last_modified == MOMENT


@pytest.mark.parametrize("request_", [get, head])
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_time_that_is_none_does_not_make_an_object_old(request_: Any, driver: Any, aio: bool) -> None:
    """Some gateways report 1970: every entry would have expired."""
    epoch = "Thu, 01 Jan 1970 00:00:00 GMT"
    failure = received(driver, aio, request_, 200, {**HEADERS, "Last-Modified": epoch}, BODY)
    assert isinstance(failure, UnavailableError)
    assert "1970" in str(failure)


@pytest.mark.parametrize("modified", [HTTP_TIME, "2026-11-09T16:16:12", "2026-11-09 16:16:12"])
@pytest.mark.parametrize("request_", [list_page, list_folder])
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_time_in_a_listing_has_any_format(request_: Any, modified: str, driver: Any, aio: bool) -> None:
    page = received(driver, aio, request_, 200, {}, listing("s3dict/k", modified))
    assert isinstance(page, Page)
    assert [item.last_modified for item in page.objects] == [MOMENT]


@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_full_page_with_a_token_is_continued(driver: Any, aio: bool) -> None:
    """obstore follows the token, which leads to further objects or to an empty page."""
    (contents,) = re.findall(b"<Contents>.*</Contents>", listing("s3dict/k"))
    for count, is_continued in ((1000, True), (999, False)):
        body = listing("s3dict/k", more="<NextContinuationToken>t</NextContinuationToken>")
        body = body.replace(contents, contents * count)
        if driver == "obstore":
            body = body.replace(b"<NextContinuationToken>t</NextContinuationToken>", b"")
        page = received(driver, aio, list_page, 200, {}, body)
        assert page.is_truncated == is_continued


@pytest.mark.parametrize("more", ["", "<NextContinuationToken>t</NextContinuationToken>"])
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_page_without_a_flag_is_the_last_one_unless_a_token_or_its_length_denies_it(count: int, more: str) -> None:
    """Some stores leave IsTruncated out where it would be false."""
    (contents,) = re.findall(b"<Contents>.*</Contents>", listing("s3dict/k"))
    body = listing("s3dict/k", more=f"<Name>bucket</Name>{more}").replace(contents, contents * count)
    page = received("boto3", False, list_page, 200, {}, body.replace(b"<IsTruncated>false</IsTruncated>", b""))
    assert len(page.objects) == count
    assert page.is_truncated == (bool(more) or count == 1000)


@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_empty_page_without_a_flag_is_empty(driver: Any, aio: bool) -> None:
    page = received(driver, aio, list_page, 200, {}, b"<ListBucketResult><Name>bucket</Name></ListBucketResult>")
    assert (page.objects, page.is_truncated) == ((), False)


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
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_another_part_than_that_requested_is_an_error(content_range: str | None, driver: Any, aio: bool) -> None:
    failure = received(driver, aio, part, 206, {**HEADERS, "Content-Range": content_range}, b"234")
    assert isinstance(failure, UnavailableError)
    assert "another part" in str(failure)


@pytest.mark.parametrize("request_", [list_page, list_folder])
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_404_to_a_listing_suggests_that_the_endpoint_contains_the_bucket(request_: Any, driver: Any, aio: bool) -> None:
    failure = received(driver, aio, request_, *error(404, "NoSuchKey"))
    assert isinstance(failure, InvalidError)
    assert "contain the bucket's name?" in str(failure)


@pytest.mark.parametrize(
    "document",
    [
        "<Error xmlns='http://s3.amazonaws.com/doc/2006-03-01/'><Code>NoSuchKey</Code></Error>",
        "<s3:Error xmlns:s3='http://s3.amazonaws.com/doc/2006-03-01/'><s3:Code>NoSuchKey</s3:Code></s3:Error>",
        "<?xml version='1.0'?>\n<Error>\n  <Code>\n    NoSuchKey\n  </Code>\n</Error>",
        "<Error><Code><![CDATA[NoSuchKey]]></Code></Error>",
        "<Error><Code type='x'>NoSuchKey</Code ></Error>",
        "\ufeff<ErrorResponse><Error><Code>NoSuchKey</Code></Error></ErrorResponse>",
    ],
)
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_error_document_has_any_form(document: str, driver: Any, aio: bool) -> None:
    assert received(driver, aio, get, 404, {}, document.encode()) is None


@pytest.mark.timeout(60)
@pytest.mark.parametrize("document", ["<Code>" + " " * 20_000 + "<", "<Code x</Code" * 20_000, "<Code>]]>" * 20_000])
def test_time_to_search_a_document_does_not_grow_faster_than_its_size(document: str) -> None:
    assert xml_text("Code", document) == ""


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"", b"<ListAllMyBucketsResult/>", b"{}"])
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_only_the_document_of_s3_says_that_objects_were_deleted(body: bytes, driver: Any, aio: bool) -> None:
    failure = received(driver, aio, delete_many, 200, {}, body)
    assert isinstance(failure, UnavailableError)


@pytest.mark.parametrize("start", ["", "<?xml version='1.0'?>\n", "\ufeff"])
@pytest.mark.parametrize("root", ["DeleteResult", "s3:DeleteResult xmlns:s3='http://s3.amazonaws.com/doc/2006-03-01/'"])
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_document_of_a_deletion_has_any_form(start: str, root: str, driver: Any, aio: bool) -> None:
    assert received(driver, aio, delete_many, 200, {}, f"{start}<{root}/>".encode()) == ()


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_page_of_a_proxy_says_of_no_object_that_it_was_deleted(driver: Any, aio: bool) -> None:
    failure = received(driver, aio, delete_if, 200, {"Content-Type": "text/html"}, b"<html>welcome</html>")
    assert isinstance(failure, UnavailableError)
    assert received(driver, aio, delete_if, 200, {}, b"") == DeleteResult()


def deletion(*failures: tuple[str, str]) -> bytes:
    errors = (f"<Error><Key>{key}</Key><Code>{code}</Code></Error>" for key, code in failures)
    return f"<DeleteResult>{''.join(errors)}</DeleteResult>".encode()


@pytest.mark.parametrize("code", ["412 Precondition Failed", "404 Not Found", "PreconditionFailed"])
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_status_line_in_place_of_a_code_is_a_rejection(code: str, driver: Any, aio: bool) -> None:
    """Directory buckets send one: ministackorg/ministack#1501 measured it."""

    def delete_each_if(store: Any) -> Any:
        return store.delete_many(["s3dict/k"], if_match=['"e"'])

    (failure,) = received(driver, aio, delete_each_if, 200, {}, deletion(("s3dict/k", code)))
    assert failure.rejected


@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_failures_of_a_bulk_deletion_are_told_apart(driver: Any, aio: bool) -> None:
    def delete(store: Any) -> Any:
        return store.delete_many(["a", "b", "c"])

    body = deletion(("a", "AccessDenied"), ("b", "InternalError"), ("c", "503 Slow Down"))
    failures = received(driver, aio, delete, 200, {}, body)
    kinds = [type(failure.error) for failure in failures]
    assert kinds == [PermissionDeniedError, UnavailableError, ThrottledError]


@pytest.mark.parametrize(
    "body",
    [
        b"<DeleteResult><Error><Code>InternalError</Code></Error></DeleteResult>",
        b"<DeleteResult><Error><Key>k</Key><Key>l</Key><Code>A</Code><Code>B</Code></Error></DeleteResult>",
    ],
)
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_failure_of_an_unknown_object_is_no_result(body: bytes, driver: Any, aio: bool) -> None:
    assert isinstance(received(driver, aio, delete_many, 200, {}, body), UnavailableError)


@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_what_was_not_there_to_delete_is_deleted(driver: Any, aio: bool) -> None:
    """Another process may have deleted it; some stores report that."""
    body = deletion(("s3dict/k", "NoSuchKey"))
    assert received(driver, aio, delete_many, 200, {}, body) == ()
    if driver == "obstore":
        assert received(driver, aio, delete, 200, {}, body) == DeleteResult()


def test_denied_deletion_of_one_object_says_so() -> None:
    """obstore deletes it in bulk, and S3 reports the denial of an object with status 200."""
    failure = received("obstore", False, delete, 200, {}, deletion(("s3dict/k", "AccessDenied")))
    assert isinstance(failure, PermissionDeniedError)


REPEATED = {
    "Size": listing("s3dict/k").replace(b"<Size>3</Size>", b"<Size>3</Size><Size>3</Size>"),
    "Key": listing("s3dict/k</Key><Key>s3dict/l"),
    "LastModified": listing("s3dict/k", f"{HTTP_TIME}</LastModified><LastModified>{HTTP_TIME}"),
    "Prefix": listing("s3dict/k").replace(
        b"</Contents>", b"</Contents><CommonPrefixes><Prefix>s3dict/a/</Prefix><Prefix>b</Prefix></CommonPrefixes>"
    ),
}


@pytest.mark.parametrize("element", REPEATED)
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_repeated_element_is_an_error(element: str, driver: Any, aio: bool) -> None:
    failure = received(driver, aio, list_folder, 200, {}, REPEATED[element])
    assert isinstance(failure, UnavailableError)


@pytest.mark.parametrize("request_", [get, put, copy])
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_empty_etag_is_none(request_: Any, driver: Any, aio: bool) -> None:
    """A condition on it would be none."""
    body = b"<CopyObjectResult><ETag></ETag></CopyObjectResult>" if request_ is copy else b""
    failure = received(driver, aio, request_, 200, {**HEADERS, "ETag": ""}, body)
    assert isinstance(failure, UnavailableError)
    assert "without ETag" in str(failure)


@pytest.mark.parametrize("request_", [get, head, put])
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_etag_that_a_proxy_has_made_weak_is_that_of_the_store(request_: Any, driver: Any, aio: bool) -> None:
    """The store would reject it as a condition, so that `modify` and `pop` would never succeed."""
    found = received(driver, aio, request_, 200, {**HEADERS, "ETag": 'W/"e"'}, b"" if request_ is put else BODY)
    assert found.etag == '"e"'


@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "text"),
    [
        (404, "NoSuchAccessPoint", "", NotFoundError, "does not exist"),
        (400, "KMS.ThrottlingException", "", ThrottledError, "throttled"),
        (400, "RequestTimeTooSkewed", "", PermissionDeniedError, "The clock here"),
        (400, "ExpiredTokenException", "", PermissionDeniedError, "sign in again"),
        (403, "AccessDenied", "Access Denied because object protected by object lock.", Error, "Object Lock"),
        (400, "InvalidRequest", "Object is WORM protected and cannot be overwritten", Error, "Object Lock"),
    ],
)
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_error_is_what_its_code_says(
    status: int, code: str, message: str, kind: type[Error], text: str, driver: Any, aio: bool
) -> None:
    failure = received(driver, aio, put, *error(status, code, message))
    assert type(failure) is kind
    assert text in str(failure)


def test_interim_response_is_not_that_to_a_request() -> None:
    """http.client takes it for one, and the final response for that to the next request over this connection."""
    final = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n'
    with speaking(b"HTTP/1.1 103 Early Hints\r\n\r\n" + final) as url:
        client = quick(Client("bucket", endpoint_url=url, driver="boto3"), writes=1, requests=1)
        failure = perform(client, False, put)
    assert isinstance(failure, UnavailableError)
    assert failure.maybe_applied
    assert "Unexpected" not in str(failure)


@pytest.mark.parametrize("status", [304, 416])
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_failure_of_a_condition_that_was_not_sent_is_an_error(status: int, driver: Any, aio: bool) -> None:
    failure = received(driver, aio, get, *error(status, "InvalidRange"))
    assert isinstance(failure, UnavailableError)


@pytest.mark.parametrize("is_readable", [True, False])
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_name_that_obstore_does_not_accept_is_listed_on_any_page(driver: Any, aio: bool, is_readable: bool) -> None:
    """Any process that may write to the bucket chooses names, also such as no path of obstore contains."""
    pages = [f"s3dict/a{n:04}" for n in range(1000)], ["s3dict/b" if is_readable else "s3dict/b//c"]

    def respond(recorded: Recorded) -> Response:
        is_last = "continuation-token=" in recorded.path or "start-after=" in recorded.path
        rest = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
        if is_last:
            rest = "<IsTruncated>false</IsTruncated>"
        times = "<LastModified>2026-11-09T16:16:12.000Z</LastModified><Size>3</Size>"
        found = "".join(f"<Contents><Key>{key}</Key>{times}</Contents>" for key in pages[is_last])
        return 200, {}, f"<ListBucketResult>{rest}{found}</ListBucketResult>".encode()

    async def list_all(store: Any) -> list[str]:
        first = await store.list_page("s3dict/")
        second = await store.list_page("s3dict/", first.token)
        assert not second.is_truncated
        return [item.path for page in (first, second) for item in page.objects]

    with recording_server(
        lambda recorded: not_found(recorded) if recorded.method == "HEAD" else respond(recorded)
    ) as server:
        client = quick(Client("bucket", endpoint_url=server.url, driver=driver), writes=1, requests=1)
        assert perform(client, aio, list_all) == [*pages[0], *pages[1]]
