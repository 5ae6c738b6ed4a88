"""``s3dict doctor``: what it finds, what it advises, and when its exit code is 1."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from s3dict import Client, Dict, InvalidError
from s3dict._admin.doctor import Check, Status
from s3dict._format.lifecycle import lifecycle_rules
from s3dict.cli import provision

from ..conftest import SECRET_KEY
from ..support.commands import Answer, answer
from ..support.faulty_server import Deviation, MisbehavingServer
from ..support.modes import Endpoint
from ..support.proxy import Fault, Proxy, Request

CHECKS = [
    *("driver", "credentials", "bucket", "region", "clock", "conditional requests", "sweep rules", "versioning"),
    "latency",
]
_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    return f"examined-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def server(name: str) -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as misbehaving:
        boto3.client("s3", endpoint_url=misbehaving.url).create_bucket(Bucket=name)
        yield misbehaving


@pytest.fixture
def s3(moto: Endpoint, name: str) -> Any:
    """boto3 itself, at moto, where the bucket is set up."""
    assert 0 == answer("init", "--bucket", name, "--endpoint-url", moto.url).exit_code
    return boto3.client("s3", endpoint_url=moto.url)


@pytest.fixture
def proxy(moto: Endpoint) -> Iterator[Proxy]:
    with Proxy(moto.url) as between:
        yield between


def doctor(bucket: str, endpoint_url: str, *arguments: str, **variables: str | None) -> Answer:
    return answer("doctor", "--bucket", bucket, "--endpoint-url", endpoint_url, *arguments, variables=variables)


def found(done: Answer) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in done.json["checks"]}


def states(done: Answer) -> list[str]:
    return [check["status"] for check in done.json["checks"]]


def put_rules(s3: Any, bucket: str, rules: Any) -> None:
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


def test_all_is_well_on_a_bucket_that_was_set_up_and_nothing_is_left_in_it(seaweedfs: Endpoint, name: str) -> None:
    answer("init", "--bucket", name, "--endpoint-url", seaweedfs.url)
    done = doctor(name, seaweedfs.url)
    assert 0 == done.exit_code, done.stdout
    lines = done.stdout.splitlines()
    assert CHECKS == [line[2:].partition(":")[0] for line in lines if not line.startswith("    ")]
    assert f"✓ driver: boto3, to {seaweedfs.url}, s3://{name}/s3dict/" in lines
    assert "✓ conditional requests: PUT honoured, DELETE honoured, COPY honoured, ETags with quotes" in lines
    assert "✓ sweep rules: all there" in lines
    assert not any(line.startswith("✗") for line in lines)
    assert 0 == boto3.client("s3", endpoint_url=seaweedfs.url).list_objects_v2(Bucket=name)["KeyCount"]


def test_without_a_bucket_it_says_how_to_make_one_and_tries_nothing_more(seaweedfs: Endpoint, name: str) -> None:
    done = doctor(name, seaweedfs.url, "--json")
    assert 1 == done.exit_code
    assert ["ok", "ok", "failed", *["not tried"] * 6] == states(done)
    assert f"s3dict init --bucket {name}" == found(done)["bucket"]["advice"]
    assert "not tried: bucket has to be mended first" == found(done)["latency"]["detail"]


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "not-the-secret-of-this-key"}, "mend AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "nobody-has-this-key"}, "mend AWS_ACCESS_KEY_ID"),
    ],
    ids=["secret", "key"],
)
def test_wrong_credentials_are_told_apart_and_no_secret_is_shown(
    seaweedfs: Endpoint, variables: dict[str, str], advice: str
) -> None:
    done, told = (doctor(seaweedfs.bucket, seaweedfs.url, *more, **variables) for more in ((), ("--json",)))
    assert (1, ["ok", "ok", "failed", *["not tried"] * 6]) == (done.exit_code, states(told))
    assert advice in found(told)["bucket"]["advice"]
    for secret in (SECRET_KEY, *variables.values()):
        assert secret not in done.stdout + told.stdout


def test_missing_credentials_are_said_first(seaweedfs: Endpoint) -> None:
    done = doctor(seaweedfs.bucket, seaweedfs.url, "--json", AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    assert (1, ["ok", "failed", *["not tried"] * 7]) == (done.exit_code, states(done))
    assert "AWS_PROFILE" in found(done)["credentials"]["advice"]


def test_a_profile_that_does_not_exist_is_a_finding(seaweedfs: Endpoint) -> None:
    done = doctor(seaweedfs.bucket, seaweedfs.url, "--json", AWS_PROFILE="nowhere")
    assert (1, "failed") == (done.exit_code, found(done)["credentials"]["status"])
    assert "nowhere" in found(done)["credentials"]["detail"]


def test_an_endpoint_where_nobody_listens_is_a_finding() -> None:
    with MisbehavingServer() as gone:
        pass
    done = doctor("b", gone.url, "--json")
    assert (1, "failed") == (done.exit_code, found(done)["bucket"]["status"])
    assert "cannot be reached" in found(done)["bucket"]["detail"]
    assert "mend the endpoint" in found(done)["bucket"]["advice"]


def test_missing_sweep_rules_are_named_and_fail(moto: Endpoint, s3: Any, name: str) -> None:
    put_rules(s3, name, lifecycle_rules("s3dict")[1:])
    done = doctor(name, moto.url, "--json")
    check = found(done)["sweep rules"]
    assert (1, "failed") == (done.exit_code, check["status"])
    assert "missing or different: s3dict:s3dict:sweep-1d. No expired entry is ever deleted" in check["detail"]
    assert f"s3dict init --bucket {name} --prefix s3dict" == check["advice"]


def test_a_sweep_rule_with_other_days_fails(moto: Endpoint, s3: Any, name: str) -> None:
    rules = lifecycle_rules("s3dict")
    put_rules(s3, name, [{**rules[0], "Expiration": {"Days": 9}}, *rules[1:]])
    done = doctor(name, moto.url, "--json")
    assert (1, True) == (done.exit_code, "s3dict:s3dict:sweep-1d" in found(done)["sweep rules"]["detail"])


def test_only_housekeeping_missing_is_a_warning(moto: Endpoint, s3: Any, name: str) -> None:
    put_rules(s3, name, lifecycle_rules("s3dict")[:-1])
    done = doctor(name, moto.url, "--json")
    assert (0, "warning") == (done.exit_code, found(done)["sweep rules"]["status"])


def test_a_rule_of_others_that_deletes_living_entries_fails(moto: Endpoint, s3: Any, name: str) -> None:
    tidy = {"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 90}}
    put_rules(s3, name, [*lifecycle_rules("s3dict"), tidy])
    done = doctor(name, moto.url, "--json")
    assert (1, "failed") == (done.exit_code, found(done)["sweep rules"]["status"])
    assert found(done)["sweep rules"]["detail"].endswith("still in use under s3dict/: tidy")


def test_not_being_allowed_to_look_is_a_warning(proxy: Proxy, s3: Any, name: str) -> None:
    proxy.faults = [
        Fault("denied", operation)
        for operation in ("GetBucketLifecycleConfiguration", "GetBucketVersioning", "HeadBucket")
    ]
    done = doctor(name, proxy.url, "--json")
    checks = found(done)
    assert 0 == done.exit_code
    assert {"warning"} == {checks[name]["status"] for name in ("sweep rules", "versioning", "region")}
    assert "s3:GetLifecycleConfiguration" in checks["sweep rules"]["detail"]


def test_credentials_that_cannot_write_fail(proxy: Proxy, s3: Any, name: str) -> None:
    proxy.faults = [Fault("denied", operation) for operation in ("PutObject", "DeleteObject", "CopyObject")]
    done = doctor(name, proxy.url, "--json")
    conditions, latency = found(done)["conditional requests"], found(done)["latency"]
    assert (1, "failed", "warning") == (done.exit_code, conditions["status"], latency["status"])
    assert "not allowed to write: PutObject" in conditions["detail"]
    assert "--read-only" in conditions["advice"]


def test_a_reader_writes_nothing_and_is_told_what_a_writer_has_found(proxy: Proxy, s3: Any, name: str) -> None:
    before, after = (found_reading(proxy, name, create) for create in (False, True))
    assert ("warning", "as found by whoever may write: nobody has created a dict here yet") == before
    assert "ok" == after[0]
    assert after[1].startswith("as found by whoever may write: PUT honoured, DELETE honoured, COPY not")


def found_reading(proxy: Proxy, name: str, create: bool) -> tuple[str, str]:
    if create:
        Dict.objects.create("d", client=Client(name, endpoint_url=proxy.url))
    with proxy.recording() as requests:
        done = doctor(name, proxy.url, "--read-only", "--json")
    check = found(done)["conditional requests"]
    assert (0, False) == (done.exit_code, any(map(_writes, requests)))
    assert found(done)["latency"]["detail"].startswith("get ")
    return check["status"], check["detail"]


@pytest.mark.parametrize("flaw", [Deviation.PUT_IGNORES_IF_NONE_MATCH, Deviation.PUT_IGNORES_IF_MATCH])
def test_a_store_that_ignores_conditions_fails(server: MisbehavingServer, name: str, flaw: Deviation) -> None:
    server.flaws.add(flaw)
    done = doctor(name, server.url, "--json")
    check = found(done)["conditional requests"]
    assert (1, "failed") == (done.exit_code, check["status"])
    assert "It ignores the condition" in check["detail"]
    assert "use another store" in check["advice"]


def test_a_store_that_can_do_less_is_told_what_that_means(server: MisbehavingServer, name: str) -> None:
    server.flaws.update([Deviation.DELETE_IGNORES_IF_MATCH, Deviation.COPY_REFUSED, Deviation.PUT_WANTS_BARE_ETAG])
    check = found(doctor(name, server.url, "--json"))["conditional requests"]
    means = "DELETE not (removing leaves a small tombstone), COPY not (a refresh sends the body again), ETags without"
    assert ("ok", True) == (check["status"], means in check["detail"])


def test_a_store_that_does_less_than_its_dicts_rely_on_fails(server: MisbehavingServer, name: str) -> None:
    Dict.objects.create("d", client=Client(name, endpoint_url=server.url))
    server.flaws.add(Deviation.DELETE_IGNORES_IF_MATCH)
    check = found(doctor(name, server.url, "--json"))["conditional requests"]
    assert "failed" == check["status"]
    assert "dicts rely on what s3dict/store.json records: PUT honoured, DELETE honoured" in check["detail"]


def test_a_store_without_lifecycle_rules_fails_and_it_is_said_what_that_means(
    server: MisbehavingServer, name: str
) -> None:
    done = doctor(name, server.url, "--json")
    check = found(done)["sweep rules"]
    assert (1, "failed") == (done.exit_code, check["status"])
    assert "No expired entry is ever deleted" in check["detail"]
    assert "ok" == found(done)["versioning"]["status"]


@pytest.mark.parametrize(
    ("ahead", "status", "detail"),
    [
        (20, "ok", "agrees"),
        (-20, "ok", "agrees"),
        (300, "warning", "this machine's is 5 minutes behind the store's"),
        (-300, "warning", "this machine's is 5 minutes ahead of the store's"),
        (3600, "failed", "this machine's is 60 minutes behind the store's"),
        (-3600, "failed", "this machine's is 60 minutes ahead of the store's"),
    ],
)
def test_a_wrong_clock_is_measured(server: MisbehavingServer, name: str, ahead: int, status: str, detail: str) -> None:
    server.clock = ahead
    check = found(doctor(name, server.url, "--json"))["clock"]
    assert (status, True) == (check["status"], check["detail"].startswith(detail))
    if status != "ok":
        assert "Expiry and locks go by the store's, but S3 refuses signatures that are 15" in check["detail"]


def test_versioning_is_warned_of(moto: Endpoint, s3: Any, name: str) -> None:
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    done = doctor(name, moto.url, "--json")
    check = found(done)["versioning"]
    assert (0, "warning") == (done.exit_code, check["status"])
    assert "every refresh by a read, leaves a noncurrent version" in check["detail"]
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    assert ("ok", "suspended") == tuple(
        found(doctor(name, moto.url, "--json"))["versioning"][field] for field in ("status", "detail")
    )


def test_it_writes_only_scratch_and_not_many_requests(proxy: Proxy, s3: Any, name: str) -> None:
    with proxy.recording() as requests:
        assert 0 == doctor(name, proxy.url).exit_code
    written = [request.path for request in requests if _writes(request)]
    assert {f"/{name}/s3dict/sweep-1d/probe"} == {path.rpartition("/")[0] for path in written}
    assert len(requests) <= 40


def _writes(request: Request) -> bool:
    return request.method not in ("GET", "HEAD")


def test_options_fall_back_on_the_environment_and_a_bucket_is_asked_for(moto: Endpoint, s3: Any, name: str) -> None:
    env = {"S3DICT_BUCKET": name, "S3DICT_ENDPOINT_URL": moto.url, "S3DICT_DRIVER": "boto3"}
    done = answer("doctor", "--json", variables=env)
    where = {"bucket": name, "prefix": "s3dict", "endpoint_url": moto.url, "ok": True}
    assert where == {field: done.json[field] for field in where}
    assert 2 == answer("doctor").exit_code
    assert isinstance(answer("doctor", variables=env | {"S3DICT_DRIVER": "memory"}).error, InvalidError)


def test_a_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    provision._print_table([Check("bucket", Status.FAILED, "is [red]gone", "make it"), Check("x", Status.OK, "fine")])
    lines = capsys.readouterr().out.splitlines()
    assert any(("✗" in line, "[red]gone" in line, "make it" in line) == (True, True, True) for line in lines)
    assert any("✓" in line and "fine" in line for line in lines)


def test_a_terminal_without_unicode_gets_words() -> None:
    with MisbehavingServer() as server:
        done = answer("doctor", "--bucket", "b", "--endpoint-url", server.url, charset="ascii")
    assert "FAILED bucket: There is no bucket" in done.stdout
    assert done.stdout.startswith("ok driver: boto3")
