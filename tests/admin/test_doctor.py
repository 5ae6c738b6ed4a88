"""``s3dict doctor``: what it finds, what it advises, and when its exit code is 1."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from s3dict import Client, Dict, InvalidError
from s3dict._admin.bucket_admin import BucketAdmin
from s3dict._admin.doctor import Check, Status
from s3dict._format.capabilities import Capabilities
from s3dict._format.lifecycle import lifecycle_rules
from s3dict._format.manifest import decode_store, encode_store_json
from s3dict.cli import provision

from ..conftest import SECRET_KEY
from ..support.commands import Answer, answer
from ..support.faulty_server import Deviation, MisbehavingServer
from ..support.modes import Endpoint
from ..support.proxy import Fault, Proxy, Request

CHECKS = [
    *("driver", "credentials", "bucket", "region", "clock", "conditional requests", "dicts", "sweep rules"),
    *("versioning", "latency"),
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
    assert answer("init", "--bucket", name, "--endpoint-url", moto.url).exit_code == 0
    return boto3.client("s3", endpoint_url=moto.url)


@pytest.fixture
def proxied_url(moto: Endpoint) -> str:
    return moto.url


def doctor(bucket: str, endpoint_url: str, *arguments: str, **variables: str | None) -> Answer:
    return answer("doctor", "--bucket", bucket, "--endpoint-url", endpoint_url, *arguments, variables=variables)


def found(done: Answer) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in done.json["checks"]}


def states(done: Answer) -> list[str]:
    return [check["status"] for check in done.json["checks"]]


def put_rules(s3: Any, bucket: str, rules: Any) -> None:
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


def test_damaged_manifest_is_found(s3: Any, name: str, moto: Endpoint) -> None:
    s3.put_object(Bucket=name, Key="s3dict/manifests/main/bad.json", Body=b"<html>")
    done = doctor(name, moto.url, "--read-only", "--json")
    check = found(done)["dicts"]
    assert (done.exit_code, check["status"]) == (1, "failed")
    assert check["detail"].startswith("Dict 'bad' in environment 'main' cannot be read: ")


def test_doctor_passes_on_an_initialised_bucket_and_cleans_up(seaweedfs: Endpoint, name: str) -> None:
    answer("init", "--bucket", name, "--endpoint-url", seaweedfs.url)
    done = doctor(name, seaweedfs.url)
    assert done.exit_code == 0, done.stdout
    lines = done.stdout.splitlines()
    assert [line[2:].partition(":")[0] for line in lines if not line.startswith("    ")] == CHECKS
    assert f"✓ driver: boto3, to {seaweedfs.url}, s3://{name}/s3dict/" in lines
    assert any(
        line.startswith("✓ conditional requests: PUT honoured, DELETE honoured, COPY honoured") for line in lines
    )
    assert "✓ sweep rules: all there" in lines
    assert not any(line.startswith("✗") for line in lines)
    assert boto3.client("s3", endpoint_url=seaweedfs.url).list_objects_v2(Bucket=name)["KeyCount"] == 0


def test_missing_bucket_skips_all_further_checks(seaweedfs: Endpoint, name: str) -> None:
    done = doctor(name, seaweedfs.url, "--json")
    assert done.exit_code == 1
    assert states(done) == ["ok", "ok", "failed", *["skipped"] * 7]
    assert found(done)["bucket"]["advice"] == f"s3dict init --bucket {name}"
    assert found(done)["latency"]["detail"] == "skipped (bucket check failed)"


@pytest.mark.parametrize(
    ("variables", "advice"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "not-the-secret-of-this-key"}, "fix AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "unknown-key-id"}, "fix AWS_ACCESS_KEY_ID"),
    ],
    ids=["secret", "key"],
)
def test_wrong_credentials_are_distinguished_without_showing_secrets(
    seaweedfs: Endpoint, variables: dict[str, str], advice: str
) -> None:
    done, reported = (doctor(seaweedfs.bucket, seaweedfs.url, *more, **variables) for more in ((), ("--json",)))
    assert (done.exit_code, states(reported)) == (1, ["ok", "ok", "failed", *["skipped"] * 7])
    assert advice in found(reported)["bucket"]["advice"]
    for secret in (SECRET_KEY, *variables.values()):
        assert secret not in done.stdout + reported.stdout


def test_source_of_credentials_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    client = Client("b", endpoint_url="http://127.0.0.1:9", driver="boto3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-variables")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert BucketAdmin.of(client).credentials() == "access key ...bles, found in the environment variables"

    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = key-of-file\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    other = Client("b", endpoint_url="http://127.0.0.1:9", driver="boto3")
    assert BucketAdmin.of(other).credentials() == "access key ...file, found by boto3 in: shared-credentials-file"


def test_missing_credentials_are_reported_first(seaweedfs: Endpoint) -> None:
    done = doctor(seaweedfs.bucket, seaweedfs.url, "--json", AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    assert (done.exit_code, states(done)) == (1, ["ok", "failed", *["skipped"] * 8])
    assert "AWS_PROFILE" in found(done)["credentials"]["advice"]


def test_profile_that_does_not_exist_is_a_finding(seaweedfs: Endpoint) -> None:
    done = doctor(seaweedfs.bucket, seaweedfs.url, "--json", AWS_PROFILE="nowhere")
    assert (done.exit_code, found(done)["credentials"]["status"]) == (1, "failed")
    assert "nowhere" in found(done)["credentials"]["detail"]


def test_unreachable_endpoint_is_a_finding() -> None:
    with MisbehavingServer() as gone:
        pass
    done = doctor("b", gone.url, "--json")
    assert (done.exit_code, found(done)["bucket"]["status"]) == (1, "failed")
    assert "cannot connect to the store" in found(done)["bucket"]["detail"]
    assert "fix the endpoint" in found(done)["bucket"]["advice"]


def test_missing_sweep_rules_are_named_and_fail(moto: Endpoint, s3: Any, name: str) -> None:
    put_rules(s3, name, lifecycle_rules("s3dict")[1:])
    done = doctor(name, moto.url, "--json")
    check = found(done)["sweep rules"]
    assert (done.exit_code, check["status"]) == (1, "failed")
    assert "missing or different: s3dict.s3dict.sweep-1d. No expired entry is ever deleted" in check["detail"]
    assert check["advice"].startswith(f"s3dict init --bucket {name} --prefix s3dict. If the store rejects these rules")


def test_sweep_rule_with_other_days_fails(moto: Endpoint, s3: Any, name: str) -> None:
    rules = lifecycle_rules("s3dict")
    put_rules(s3, name, [{**rules[0], "Expiration": {"Days": 9}}, *rules[1:]])
    done = doctor(name, moto.url, "--json")
    assert (done.exit_code, "s3dict.s3dict.sweep-1d" in found(done)["sweep rules"]["detail"]) == (1, True)


def test_only_housekeeping_missing_is_a_warning(moto: Endpoint, s3: Any, name: str) -> None:
    put_rules(s3, name, lifecycle_rules("s3dict")[:-1])
    done = doctor(name, moto.url, "--json")
    assert (done.exit_code, found(done)["sweep rules"]["status"]) == (0, "warning")


def test_foreign_rule_deleting_live_entries_fails(moto: Endpoint, s3: Any, name: str) -> None:
    tidy = {"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 90}}
    put_rules(s3, name, [*lifecycle_rules("s3dict"), tidy])
    done = doctor(name, moto.url, "--json")
    assert (done.exit_code, found(done)["sweep rules"]["status"]) == (1, "failed")
    assert found(done)["sweep rules"]["detail"].endswith("still in use under s3dict/: tidy")


def test_missing_read_permission_is_a_warning(proxy: Proxy, s3: Any, name: str) -> None:
    proxy.faults = [
        Fault("denied", operation)
        for operation in ("GetBucketLifecycleConfiguration", "GetBucketVersioning", "HeadBucket")
    ]
    done = doctor(name, proxy.url, "--json")
    checks = found(done)
    assert done.exit_code == 0
    assert {checks[name]["status"] for name in ("sweep rules", "versioning", "region")} == {"warning"}
    assert "s3:GetLifecycleConfiguration" in checks["sweep rules"]["detail"]


def test_credentials_that_cannot_write_fail(proxy: Proxy, s3: Any, name: str) -> None:
    proxy.faults = [Fault("denied", operation) for operation in ("PutObject", "DeleteObject", "CopyObject")]
    done = doctor(name, proxy.url, "--json")
    conditions, latency = found(done)["conditional requests"], found(done)["latency"]
    assert (done.exit_code, conditions["status"], latency["status"]) == (1, "failed", "warning")
    assert "not allowed to write: PutObject" in conditions["detail"]
    assert "--read-only" in conditions["advice"]


def test_read_only_doctor_reports_the_recorded_capabilities(proxy: Proxy, s3: Any, name: str) -> None:
    before, after = (found_reading(proxy, name, create) for create in (False, True))
    assert before == ("warning", "as recorded by a client with write access: no dict has been created here yet")
    assert after[0] == "ok"
    assert after[1].startswith("as recorded by a client with write access: PUT honoured, DELETE honoured, COPY not")


def found_reading(proxy: Proxy, name: str, create: bool) -> tuple[str, str]:
    if create:
        Dict.objects.create("d", client=Client(name, endpoint_url=proxy.url))
    with proxy.recording() as requests:
        done = doctor(name, proxy.url, "--read-only", "--json")
    check = found(done)["conditional requests"]
    assert (done.exit_code, any(map(_writes, requests))) == (0, False)
    assert found(done)["latency"]["detail"].startswith("get ")
    return check["status"], check["detail"]


@pytest.mark.parametrize("flaw", [Deviation.PUT_IGNORES_IF_NONE_MATCH, Deviation.PUT_IGNORES_IF_MATCH])
def test_store_that_ignores_conditions_fails(server: MisbehavingServer, name: str, flaw: Deviation) -> None:
    server.flaws.add(flaw)
    done = doctor(name, server.url, "--json")
    check = found(done)["conditional requests"]
    assert (done.exit_code, check["status"]) == (1, "failed")
    assert "It ignores the condition" in check["detail"]
    assert "use another store" in check["advice"]


def test_optional_feature_missing_is_explained(server: MisbehavingServer, name: str) -> None:
    server.flaws.update([Deviation.DELETE_IGNORES_IF_MATCH, Deviation.COPY_REFUSED, Deviation.PUT_WANTS_BARE_ETAG])
    check = found(doctor(name, server.url, "--json"))["conditional requests"]
    means = "DELETE not (removing leaves a small tombstone), COPY not (a renewal sends the body again), ETags without"
    assert (check["status"], means in check["detail"]) == ("ok", True)


def test_capability_lost_since_creation_fails(server: MisbehavingServer, name: str) -> None:
    Dict.objects.create("d", client=Client(name, endpoint_url=server.url))
    server.flaws.add(Deviation.DELETE_IGNORES_IF_MATCH)
    check = found(doctor(name, server.url, "--json"))["conditional requests"]
    assert check["status"] == "failed"
    assert "dicts rely on what s3dict/store.json records: PUT honoured, DELETE honoured" in check["detail"]


def test_missing_lifecycle_support_fails_with_the_consequence(server: MisbehavingServer, name: str) -> None:
    done = doctor(name, server.url, "--json")
    check = found(done)["sweep rules"]
    assert (done.exit_code, check["status"]) == (1, "failed")
    assert "No expired entry is ever deleted" in check["detail"]
    assert found(done)["versioning"]["status"] == "ok"


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
def test_clock_skew_is_measured(server: MisbehavingServer, name: str, ahead: int, status: str, detail: str) -> None:
    server.clock = ahead
    check = found(doctor(name, server.url, "--json"))["clock"]
    assert (check["status"], check["detail"].startswith(detail)) == (status, True)
    if status != "ok":
        assert "Expiry and locks go by the store's, but S3 refuses signatures that are 15" in check["detail"]


def test_versioning_is_a_warning(moto: Endpoint, s3: Any, name: str) -> None:
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    done = doctor(name, moto.url, "--json")
    check = found(done)["versioning"]
    assert (done.exit_code, check["status"]) == (0, "warning")
    assert "every renewal by a read, leaves a noncurrent version" in check["detail"]
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    assert tuple(found(doctor(name, moto.url, "--json"))["versioning"][field] for field in ("status", "detail")) == (
        "ok",
        "suspended",
    )


def test_doctor_corrects_a_record_that_says_less_than_the_store_supports(proxy: Proxy, s3: Any, name: str) -> None:
    """As release 0.1 wrote one where the right to delete was missing when the first dict was created."""
    less = encode_store_json(Capabilities(quoted_etags=True, conditional_delete=False, conditional_copy=False))
    s3.put_object(Bucket=name, Key="s3dict/store.json", Body=less)
    assert found(doctor(name, proxy.url, "--json", "--read-only"))["conditional requests"]["status"] == "ok"
    assert s3.get_object(Bucket=name, Key="s3dict/store.json")["Body"].read() == less
    check = found(doctor(name, proxy.url, "--json"))["conditional requests"]
    assert (check["status"], "is corrected for new dicts" in check["detail"]) == ("ok", True)
    corrected = decode_store(s3.get_object(Bucket=name, Key="s3dict/store.json")["Body"].read(), "store.json")
    assert corrected.conditional_delete
    assert "is corrected" not in found(doctor(name, proxy.url, "--json"))["conditional requests"]["detail"]


def test_doctor_writes_only_scratch_objects_in_few_requests(proxy: Proxy, s3: Any, name: str) -> None:
    with proxy.recording() as requests:
        assert doctor(name, proxy.url).exit_code == 0
    # DeleteObjects names its objects in the body.
    written = [request.path for request in requests if _writes(request) and request.operation != "DeleteObjects"]
    assert all(path.startswith(f"/{name}/s3dict/sweep-1d/probe/") for path in written)
    assert len(requests) <= 41


@pytest.mark.parametrize("flaw", [Deviation.LIST_IGNORES_START_AFTER, Deviation.LIST_REFUSES_START_AFTER])
def test_doctor_corrects_a_record_that_does_not_say_whether_listings_have_an_order(
    server: MisbehavingServer, name: str, flaw: Deviation
) -> None:
    client = Client(name, endpoint_url=server.url)
    Dict.objects.create("before", client=client)
    server.flaws.add(flaw)
    check = found(doctor(name, server.url, "--json"))["conditional requests"]
    assert (check["status"], "is corrected for new dicts" in check["detail"]) == ("ok", True)
    assert "listings without order" in check["detail"]
    created = Dict.objects.create("after", client=client)
    for d, fanout in (
        (Dict.from_name("before", client=client), 0),
        (created or Dict.from_name("after", client=client), 2),
    ):
        d.hydrate()
        assert d._state.loaded is not None
        assert d._state.loaded.manifest.fanout == fanout
    server.flaws.clear()
    check = found(doctor(name, server.url, "--json"))["conditional requests"]
    assert (check["status"], "is corrected for new dicts" in check["detail"]) == ("ok", True)


def _writes(request: Request) -> bool:
    return request.method not in ("GET", "HEAD")


def test_options_default_to_the_environment_and_bucket_is_required(moto: Endpoint, s3: Any, name: str) -> None:
    env = {"S3DICT_BUCKET": name, "S3DICT_ENDPOINT_URL": moto.url, "S3DICT_DRIVER": "boto3"}
    done = answer("doctor", "--json", variables=env)
    where = {"bucket": name, "prefix": "s3dict", "endpoint_url": moto.url, "ok": True}
    assert {field: done.json[field] for field in where} == where
    assert answer("doctor").exit_code == 2
    assert isinstance(answer("doctor", variables=env | {"S3DICT_DRIVER": "memory"}).error, InvalidError)


def test_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    provision._print_table([Check("bucket", Status.FAILED, "is [red]gone", "make it"), Check("x", Status.OK, "fine")])
    lines = capsys.readouterr().out.splitlines()
    assert any(("✗" in line, "[red]gone" in line, "make it" in line) == (True, True, True) for line in lines)
    assert any("✓" in line and "fine" in line for line in lines)


def test_terminal_without_unicode_gets_words() -> None:
    with MisbehavingServer() as server:
        done = answer("doctor", "--bucket", "b", "--endpoint-url", server.url, charset="ascii")
    assert "FAILED bucket: The bucket" in done.stdout
    assert done.stdout.startswith("ok driver: boto3")


@pytest.mark.parametrize(("method", "spared"), [("PUT", 0), ("PUT", 8), ("DELETE", 4)])
def test_proxy_that_repeats_requests_is_detected(seaweedfs: Endpoint, name: str, method: str, spared: int) -> None:
    """Also where it begins only when the probe of the conditions is done, since it does not repeat all requests."""
    seen = itertools.count()
    answer("init", "--bucket", name, "--endpoint-url", seaweedfs.url)

    def concerns(request: Request) -> bool:
        is_conditional = request.if_match is not None or request.if_none_match is not None
        return request.method == method and is_conditional and next(seen) >= spared

    with Proxy(seaweedfs.url) as proxy:
        proxy.faults = [Fault("repeated", when=concerns)]
        done = doctor(name, proxy.url, "--json")
    check = found(done)["conditional requests"]
    assert (done.exit_code, check["status"]) == (1, "failed")
    assert f"{method} requests that were sent once were applied more than once" in check["detail"]
