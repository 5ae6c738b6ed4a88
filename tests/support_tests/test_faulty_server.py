"""The misbehaving server is right without flaws, and wrong in exactly one way with each."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aioboto3
import pytest
from botocore.exceptions import ClientError

from tests.support.faulty_server import Deviation, MisbehavingServer

from .conftest import Connect, answer_of

WRONG = '"00000000000000000000000000000000"'
DAY = timedelta(days=1).total_seconds()


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as server:
        yield server


@pytest.fixture
def client(server: MisbehavingServer, connect: Connect) -> Any:
    client = connect(server.url)
    client.create_bucket(Bucket="bucket")
    return client


def put(client: Any, key: str = "key", body: bytes = b"body", **conditions: str) -> str:
    """Put an object; its ETag."""
    return str(client.put_object(Bucket="bucket", Key=key, Body=body, **conditions)["ETag"])


def body(client: Any, key: str = "key") -> bytes:
    return bytes(client.get_object(Bucket="bucket", Key=key)["Body"].read())


def copy(client: Any, source: str = "key", key: str = "copy", **conditions: str) -> str:
    source_key = {"Bucket": "bucket", "Key": source}
    copied = client.copy_object(Bucket="bucket", Key=key, CopySource=source_key, **conditions)
    return str(copied["CopyObjectResult"]["ETag"])


def delete(client: Any, key: str = "key", **conditions: str) -> int:
    deleted = client.delete_object(Bucket="bucket", Key=key, **conditions)
    return int(deleted["ResponseMetadata"]["HTTPStatusCode"])


def refusal(call: Any, *arguments: Any, **options: Any) -> int:
    """The status of a call that must be refused."""
    with pytest.raises(ClientError) as refused:
        call(*arguments, **options)
    return answer_of(refused.value)[0]


class TestWithoutFlaws:
    def test_what_is_put_can_be_read_whole_or_in_part(self, client: Any) -> None:
        etag = put(client, "a key/é", b"0123456789")
        answer = client.get_object(Bucket="bucket", Key="a key/é", Range="bytes=2-4")
        assert (b"234", "bytes 2-4/10") == (answer["Body"].read(), answer["ContentRange"])
        head = client.head_object(Bucket="bucket", Key="a key/é")
        assert (etag, 10) == (head["ETag"], head["ContentLength"])
        assert b"0123456789" == body(client, "a key/é")

    @pytest.mark.parametrize(
        ("range_", "part"), [("7-", b"789"), ("-4", b"6789"), ("5-99", b"56789"), ("-99", b"0123456789")]
    )
    def test_ranges_may_be_open_or_too_long(self, client: Any, range_: str, part: bytes) -> None:
        put(client, body=b"0123456789")
        assert part == client.get_object(Bucket="bucket", Key="key", Range=f"bytes={range_}")["Body"].read()

    def test_a_range_beyond_the_end_is_416(self, client: Any) -> None:
        put(client, body=b"")
        assert 416 == refusal(client.get_object, Bucket="bucket", Key="key", Range="bytes=0-9")

    def test_get_tells_not_modified(self, client: Any) -> None:
        etag = put(client)
        assert 304 == refusal(client.get_object, Bucket="bucket", Key="key", IfNoneMatch=etag)
        assert client.get_object(Bucket="bucket", Key="key", IfNoneMatch=WRONG)["Body"].read()

    def test_what_is_missing_is_said_to_be(self, client: Any) -> None:
        with pytest.raises(client.exceptions.NoSuchKey):
            client.get_object(Bucket="bucket", Key="key")
        with pytest.raises(client.exceptions.NoSuchBucket):
            client.get_object(Bucket="nowhere", Key="key")
        assert 404 == refusal(client.head_object, Bucket="bucket", Key="key")
        assert 404 == refusal(client.head_bucket, Bucket="nowhere")

    def test_puts_honour_their_conditions(self, client: Any) -> None:
        etag = put(client, body=b"first", IfNoneMatch="*")
        assert 412 == refusal(put, client, body=b"second", IfNoneMatch="*")
        assert 412 == refusal(put, client, body=b"third", IfMatch=WRONG)
        assert b"first" == body(client)
        put(client, body=b"fourth", IfMatch=etag)
        assert 412 == refusal(put, client, body=b"fifth", IfMatch=etag)
        assert b"fourth" == body(client)
        assert 404 == refusal(put, client, "missing", IfMatch=etag)

    def test_the_same_bytes_have_the_same_etag(self, client: Any) -> None:
        assert put(client) == put(client, "other")

    def test_deletes_honour_their_condition(self, client: Any) -> None:
        etag = put(client)
        assert 412 == refusal(delete, client, IfMatch=WRONG)
        assert 204 == delete(client, IfMatch=etag)
        assert 404 == refusal(delete, client, IfMatch=etag)
        assert 204 == delete(client)

    def test_copies_honour_their_conditions(self, client: Any) -> None:
        etag, other = put(client), put(client, "copy", b"other")
        assert 412 == refusal(copy, client, CopySourceIfMatch=WRONG)
        assert 412 == refusal(copy, client, IfMatch=etag)
        assert 412 == refusal(copy, client, IfNoneMatch="*")
        assert b"other" == body(client, "copy")
        copy(client, CopySourceIfMatch=etag, IfMatch=other)
        assert b"body" == body(client, "copy")
        assert 404 == refusal(copy, client, source="missing")

    def test_a_copy_onto_itself_must_replace_something(self, client: Any) -> None:
        etag = put(client)
        assert 400 == refusal(copy, client, key="key")
        assert etag == copy(client, key="key", MetadataDirective="REPLACE")

    def test_a_listing_goes_on_after_a_key_and_page_by_page(self, client: Any) -> None:
        for key in ("a/1", "a/2", "a/3 &é", "a/4", "b/1"):
            put(client, key)
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket="bucket", Prefix="a/", StartAfter="a/1", PaginationConfig={"PageSize": 2}
        )
        assert [["a/2", "a/3 &é"], ["a/4"]] == [[entry["Key"] for entry in page["Contents"]] for page in pages]

    def test_a_listed_entry_tells_size_and_age(self, client: Any) -> None:
        etag = put(client, body=b"12345")
        (entry,) = client.list_objects_v2(Bucket="bucket")["Contents"]
        head = client.head_object(Bucket="bucket", Key="key")
        assert (etag, 5, head["LastModified"]) == (entry["ETag"], entry["Size"], entry["LastModified"])

    def test_many_are_deleted_at_once(self, client: Any) -> None:
        for key in ("a", "b", "<c>"):
            put(client, key)
        client.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": key} for key in ("a", "<c>", "no")]})
        assert ["b"] == [entry["Key"] for entry in client.list_objects_v2(Bucket="bucket")["Contents"]]

    def test_what_it_does_not_know_is_not_implemented(self, client: Any) -> None:
        assert 501 == refusal(client.list_objects, Bucket="bucket")
        assert 501 == refusal(client.delete_bucket, Bucket="bucket")

    def test_every_race_has_one_winner(self, client: Any) -> None:
        wins: list[int] = []
        contenders = [threading.Thread(target=contend, args=(client, wins)) for _ in range(8)]
        for contender in contenders:
            contender.start()
        for contender in contenders:
            contender.join()
        assert list(range(40)) == sorted(wins)

    def test_aioboto3_can_use_it(self, server: MisbehavingServer, client: Any) -> None:
        async def put_twice() -> bytes:
            session = aioboto3.Session(aws_access_key_id="key", aws_secret_access_key="secret")
            async with session.client("s3", endpoint_url=server.url, region_name="us-east-1") as s3:
                written = await s3.put_object(Bucket="bucket", Key="key", Body=b"body", IfNoneMatch="*")
                await s3.put_object(Bucket="bucket", Key="key", Body=b"more", IfMatch=written["ETag"])
                answer = await s3.get_object(Bucket="bucket", Key="key")
                return await answer["Body"].read()

        assert b"more" == asyncio.run(put_twice())

    @pytest.mark.parametrize("ahead", [0, 400 * DAY, -400 * DAY])
    def test_its_clock_can_be_moved(self, server: MisbehavingServer, client: Any, ahead: float) -> None:
        server.clock = ahead
        put(client)
        answer = client.head_object(Bucket="bucket", Key="key")
        date = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        assert abs(date.timestamp() - time.time() - ahead) < 5
        assert abs(answer["LastModified"].timestamp() - time.time() - ahead) < 5


def contend(client: Any, wins: list[int]) -> None:
    for number in range(40):
        try:
            put(client, f"{number}", IfNoneMatch="*")
        except ClientError:
            continue
        wins.append(number)


class TestFlaws:
    def test_put_ignores_if_none_match(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.PUT_IGNORES_IF_NONE_MATCH)
        put(client)
        put(client, body=b"other", IfNoneMatch="*")
        assert b"other" == body(client)
        assert 412 == refusal(put, client, IfMatch=WRONG)

    def test_put_ignores_if_match(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.PUT_IGNORES_IF_MATCH)
        put(client, IfMatch=WRONG)
        put(client, body=b"other", IfMatch=WRONG)
        assert b"other" == body(client)
        assert 412 == refusal(put, client, IfNoneMatch="*")

    def test_put_wants_the_etag_without_its_quotes(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.PUT_WANTS_BARE_ETAG)
        etag = put(client)
        assert 412 == refusal(put, client, IfMatch=etag)
        assert 412 == refusal(put, client, IfMatch=WRONG.strip('"'))
        assert etag == put(client, IfMatch=etag.strip('"'))

    def test_every_other_loser_is_told_500(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.PUT_LOSER_GETS_500)
        put(client)
        assert [500, 412, 500] == [refusal(put, client, body=b"other", IfNoneMatch="*") for _ in range(3)]
        assert 412 == refusal(put, client, body=b"other", IfMatch=WRONG)
        assert b"body" == body(client)

    def test_every_write_has_a_new_etag(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.PUT_CHANGES_ETAG)
        etags = [put(client), put(client), copy(client, key="key", MetadataDirective="REPLACE")]
        assert 3 == len(set(etags))
        assert etags[-1] == client.head_object(Bucket="bucket", Key="key")["ETag"]

    def test_if_match_on_a_missing_key_is_412(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.MISSING_IS_412)
        assert 412 == refusal(put, client, IfMatch=WRONG)
        assert 412 == refusal(delete, client, IfMatch=WRONG)

    def test_delete_ignores_if_match(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.DELETE_IGNORES_IF_MATCH)
        put(client)
        assert 204 == delete(client, IfMatch=WRONG)
        assert 0 == client.list_objects_v2(Bucket="bucket")["KeyCount"]

    def test_delete_refuses_if_match(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.DELETE_REFUSES_IF_MATCH)
        etag = put(client)
        assert 501 == refusal(delete, client, IfMatch=etag)
        assert 204 == delete(client)

    def test_delete_of_a_missing_key_succeeds(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.DELETE_MISSING_IS_204)
        assert 204 == delete(client, IfMatch=WRONG)
        put(client)
        assert 412 == refusal(delete, client, IfMatch=WRONG)

    def test_copy_ignores_the_condition_on_its_source(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.COPY_IGNORES_SOURCE_IF_MATCH)
        put(client)
        copy(client, CopySourceIfMatch=WRONG)
        assert 412 == refusal(copy, client, IfMatch=WRONG)

    def test_copy_ignores_the_conditions_on_its_destination(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.COPY_IGNORES_IF_MATCH)
        put(client)
        copy(client, IfMatch=WRONG)
        copy(client, IfNoneMatch="*")
        assert 412 == refusal(copy, client, CopySourceIfMatch=WRONG)

    def test_copy_is_refused(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.COPY_REFUSED)
        put(client)
        assert 501 == refusal(copy, client)

    def test_a_flaw_can_be_there_from_the_start(self, connect: Connect) -> None:
        with MisbehavingServer(Deviation.COPY_REFUSED) as server:
            assert {Deviation.COPY_REFUSED} == server.flaws
