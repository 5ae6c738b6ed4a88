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
    def test_put_object_can_be_read_whole_or_in_part(self, client: Any) -> None:
        etag = put(client, "a key/é", b"0123456789")
        answer = client.get_object(Bucket="bucket", Key="a key/é", Range="bytes=2-4")
        assert (answer["Body"].read(), answer["ContentRange"]) == (b"234", "bytes 2-4/10")
        head = client.head_object(Bucket="bucket", Key="a key/é")
        assert (head["ETag"], head["ContentLength"]) == (etag, 10)
        assert body(client, "a key/é") == b"0123456789"

    @pytest.mark.parametrize(
        ("range_", "part"), [("7-", b"789"), ("-4", b"6789"), ("5-99", b"56789"), ("-99", b"0123456789")]
    )
    def test_ranges_may_be_open_or_too_long(self, client: Any, range_: str, part: bytes) -> None:
        put(client, body=b"0123456789")
        assert client.get_object(Bucket="bucket", Key="key", Range=f"bytes={range_}")["Body"].read() == part

    def test_range_beyond_the_end_is_416(self, client: Any) -> None:
        put(client, body=b"")
        assert refusal(client.get_object, Bucket="bucket", Key="key", Range="bytes=0-9") == 416

    def test_get_returns_not_modified(self, client: Any) -> None:
        etag = put(client)
        assert refusal(client.get_object, Bucket="bucket", Key="key", IfNoneMatch=etag) == 304
        assert client.get_object(Bucket="bucket", Key="key", IfNoneMatch=WRONG)["Body"].read()

    def test_missing_object_is_404(self, client: Any) -> None:
        with pytest.raises(client.exceptions.NoSuchKey):
            client.get_object(Bucket="bucket", Key="key")
        with pytest.raises(client.exceptions.NoSuchBucket):
            client.get_object(Bucket="nowhere", Key="key")
        assert refusal(client.head_object, Bucket="bucket", Key="key") == 404
        assert refusal(client.head_bucket, Bucket="nowhere") == 404

    def test_puts_enforce_their_conditions(self, client: Any) -> None:
        etag = put(client, body=b"first", IfNoneMatch="*")
        assert refusal(put, client, body=b"second", IfNoneMatch="*") == 412
        assert refusal(put, client, body=b"third", IfMatch=WRONG) == 412
        assert body(client) == b"first"
        put(client, body=b"fourth", IfMatch=etag)
        assert refusal(put, client, body=b"fifth", IfMatch=etag) == 412
        assert body(client) == b"fourth"
        assert refusal(put, client, "missing", IfMatch=etag) == 404

    def test_same_bytes_have_the_same_etag(self, client: Any) -> None:
        assert put(client) == put(client, "other")

    def test_deletes_enforce_their_condition(self, client: Any) -> None:
        etag = put(client)
        assert refusal(delete, client, IfMatch=WRONG) == 412
        assert delete(client, IfMatch=etag) == 204
        assert refusal(delete, client, IfMatch=etag) == 404
        assert delete(client) == 204

    def test_copies_enforce_their_conditions(self, client: Any) -> None:
        etag, other = put(client), put(client, "copy", b"other")
        assert refusal(copy, client, CopySourceIfMatch=WRONG) == 412
        assert refusal(copy, client, IfMatch=etag) == 412
        assert refusal(copy, client, IfNoneMatch="*") == 412
        assert body(client, "copy") == b"other"
        copy(client, CopySourceIfMatch=etag, IfMatch=other)
        assert body(client, "copy") == b"body"
        assert refusal(copy, client, source="missing") == 404

    def test_copy_onto_itself_must_replace_something(self, client: Any) -> None:
        etag = put(client)
        assert refusal(copy, client, key="key") == 400
        assert copy(client, key="key", MetadataDirective="REPLACE") == etag

    def test_listing_goes_on_after_a_key_and_page_by_page(self, client: Any) -> None:
        for key in ("a/1", "a/2", "a/3 &é", "a/4", "b/1"):
            put(client, key)
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket="bucket", Prefix="a/", StartAfter="a/1", PaginationConfig={"PageSize": 2}
        )
        assert [[entry["Key"] for entry in page["Contents"]] for page in pages] == [["a/2", "a/3 &é"], ["a/4"]]

    def test_listed_entry_tells_size_and_age(self, client: Any) -> None:
        etag = put(client, body=b"12345")
        (entry,) = client.list_objects_v2(Bucket="bucket")["Contents"]
        head = client.head_object(Bucket="bucket", Key="key")
        assert (etag, 5, head["LastModified"]) == (entry["ETag"], entry["Size"], entry["LastModified"])

    def test_many_are_deleted_at_once(self, client: Any) -> None:
        for key in ("a", "b", "<c>"):
            put(client, key)
        client.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": key} for key in ("a", "<c>", "no")]})
        assert [entry["Key"] for entry in client.list_objects_v2(Bucket="bucket")["Contents"]] == ["b"]

    def test_unknown_request_is_not_implemented(self, client: Any) -> None:
        assert refusal(client.list_objects, Bucket="bucket") == 501
        assert refusal(client.delete_bucket, Bucket="bucket") == 501

    def test_every_race_has_one_winner(self, client: Any) -> None:
        wins: list[int] = []
        contenders = [threading.Thread(target=contend, args=(client, wins)) for _ in range(8)]
        for contender in contenders:
            contender.start()
        for contender in contenders:
            contender.join()
        assert sorted(wins) == list(range(40))

    def test_aioboto3_can_use_it(self, server: MisbehavingServer, client: Any) -> None:
        async def put_twice() -> bytes:
            session = aioboto3.Session(aws_access_key_id="key", aws_secret_access_key="secret")
            async with session.client("s3", endpoint_url=server.url, region_name="us-east-1") as s3:
                written = await s3.put_object(Bucket="bucket", Key="key", Body=b"body", IfNoneMatch="*")
                await s3.put_object(Bucket="bucket", Key="key", Body=b"more", IfMatch=written["ETag"])
                answer = await s3.get_object(Bucket="bucket", Key="key")
                return await answer["Body"].read()

        assert asyncio.run(put_twice()) == b"more"

    @pytest.mark.parametrize("ahead", [0, 400 * DAY, -400 * DAY])
    def test_clock_of_the_server_can_be_moved(self, server: MisbehavingServer, client: Any, ahead: float) -> None:
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
        assert body(client) == b"other"
        assert refusal(put, client, IfMatch=WRONG) == 412

    def test_put_ignores_if_match(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.PUT_IGNORES_IF_MATCH)
        put(client, IfMatch=WRONG)
        put(client, body=b"other", IfMatch=WRONG)
        assert body(client) == b"other"
        assert refusal(put, client, IfNoneMatch="*") == 412

    def test_put_wants_the_etag_without_its_quotes(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.PUT_WANTS_BARE_ETAG)
        etag = put(client)
        assert refusal(put, client, IfMatch=etag) == 412
        assert refusal(put, client, IfMatch=WRONG.strip('"')) == 412
        assert put(client, IfMatch=etag.strip('"')) == etag

    def test_every_other_rejection_is_a_500(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.PUT_LOSER_GETS_500)
        put(client)
        assert [refusal(put, client, body=b"other", IfNoneMatch="*") for _ in range(3)] == [500, 412, 500]
        assert refusal(put, client, body=b"other", IfMatch=WRONG) == 412
        assert body(client) == b"body"

    def test_every_write_has_a_new_etag(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.PUT_CHANGES_ETAG)
        etags = [put(client), put(client), copy(client, key="key", MetadataDirective="REPLACE")]
        assert len(set(etags)) == 3
        assert client.head_object(Bucket="bucket", Key="key")["ETag"] == etags[-1]

    def test_if_match_on_a_missing_key_is_412(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.MISSING_IS_412)
        assert refusal(put, client, IfMatch=WRONG) == 412
        assert refusal(delete, client, IfMatch=WRONG) == 412

    def test_delete_ignores_if_match(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.DELETE_IGNORES_IF_MATCH)
        put(client)
        assert delete(client, IfMatch=WRONG) == 204
        assert client.list_objects_v2(Bucket="bucket")["KeyCount"] == 0

    def test_delete_refuses_if_match(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.DELETE_REFUSES_IF_MATCH)
        etag = put(client)
        assert refusal(delete, client, IfMatch=etag) == 501
        assert delete(client) == 204

    def test_delete_of_a_missing_key_succeeds(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.DELETE_MISSING_IS_204)
        assert delete(client, IfMatch=WRONG) == 204
        put(client)
        assert refusal(delete, client, IfMatch=WRONG) == 412

    def test_copy_ignores_the_condition_on_its_source(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.COPY_IGNORES_SOURCE_IF_MATCH)
        put(client)
        copy(client, CopySourceIfMatch=WRONG)
        assert refusal(copy, client, IfMatch=WRONG) == 412

    def test_copy_ignores_the_conditions_on_its_destination(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.COPY_IGNORES_IF_MATCH)
        put(client)
        copy(client, IfMatch=WRONG)
        copy(client, IfNoneMatch="*")
        assert refusal(copy, client, CopySourceIfMatch=WRONG) == 412

    def test_copy_is_rejected(self, server: MisbehavingServer, client: Any) -> None:
        server.flaws.add(Deviation.COPY_REFUSED)
        put(client)
        assert refusal(copy, client) == 501

    def test_deviation_can_be_active_from_the_start(self, connect: Connect) -> None:
        with MisbehavingServer(Deviation.COPY_REFUSED) as server:
            assert server.flaws == {Deviation.COPY_REFUSED}
