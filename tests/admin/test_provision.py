"""``s3dict init``: what it sets up, what it leaves alone, and what it says when it cannot."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from s3dict import InvalidError
from s3dict._admin import provision
from s3dict._admin.bucket_admin import BucketAdmin, Lifecycle
from s3dict._admin.provision import Outcome
from s3dict._format.lifecycle import are_equal, lifecycle_rules

from ..support.commands import Answer, answer, refusal
from ..support.faulty_server import MisbehavingServer
from ..support.modes import Endpoint
from ..support.proxy import Fault, Proxy, Request

OURS = lifecycle_rules("s3dict")
BLOCKS = ("IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
LOGS = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}
FOREIGN: list[Any] = [
    {**LOGS, "ID": "zz"},
    {
        "ID": "aa",
        "Status": "Disabled",
        "Filter": {"Prefix": "a/"},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 3},
    },
    {
        "ID": "tagged",
        "Status": "Enabled",
        "Filter": {"And": {"Prefix": "t/", "Tags": [{"Key": "a", "Value": "b"}]}},
        "Expiration": {"Days": 9},
    },
]
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provision, "_PAUSE_SECONDS", 0)


@pytest.fixture
def name() -> str:
    return f"provisioned-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def proxy(moto: Endpoint) -> Iterator[Proxy]:
    with Proxy(moto.url) as between:
        yield between


@pytest.fixture
def s3(moto: Endpoint) -> Any:
    """boto3 itself, at moto, beside the library."""
    return boto3.client("s3", endpoint_url=moto.url)


@pytest.fixture
def bucket(s3: Any, name: str) -> str:
    """One that is there, with nothing set."""
    s3.create_bucket(Bucket=name)
    return name


def init(bucket: str, endpoint_url: str, *arguments: str) -> Answer:
    return answer("init", "--bucket", bucket, "--endpoint-url", endpoint_url, *arguments)


def outcomes(done: Answer) -> dict[str, str]:
    return {step["name"]: step["outcome"] for step in done.json["steps"]}


def rules_of(s3: Any, bucket: str) -> list[Any]:
    rules: list[Any] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    return rules


def put_rules(s3: Any, bucket: str, rules: Any, **more: Any) -> None:
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)}, **more)


def writes(requests: list[Request]) -> list[Request]:
    return [request for request in requests if request.method not in ("GET", "HEAD")]


def about(what: str) -> Any:
    return lambda request: request.query == what


def test_a_bucket_is_made_private_encrypted_and_swept(moto: Endpoint, s3: Any, name: str) -> None:
    done = init(name, moto.url)
    assert (0, "Done.") == (done.exit_code, done.stdout.splitlines()[-1])
    assert f"✓ bucket: changed: created {name}\n" in done.stdout
    assert "    + s3dict:s3dict:sweep-8d: Enabled, on s3dict/sweep-8d/: Expiration {Days: 8}\n" in done.stdout
    assert all(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"][block] for block in BLOCKS)
    encryption = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert [{"SSEAlgorithm": "AES256"}] == [rule["ApplyServerSideEncryptionByDefault"] for rule in encryption]
    assert are_equal(OURS, rules_of(s3, name))


def test_on_seaweedfs_what_it_does_not_offer_is_said_and_the_rest_is_done(seaweedfs: Endpoint, name: str) -> None:
    first, second = init(name, seaweedfs.url, "--json"), init(name, seaweedfs.url, "--json")
    done = {"bucket": "changed", "public access": "unsupported", "encryption": "changed", "sweep rules": "changed"}
    assert (0, done) == (first.exit_code, outcomes(first))
    again = {"bucket": "unchanged", "encryption": "unchanged", "sweep rules": "unchanged"}
    assert (0, done | again) == (second.exit_code, outcomes(second))
    server = boto3.client("s3", endpoint_url=seaweedfs.url)
    assert are_equal(OURS, rules_of(server, name))


def test_a_second_run_writes_nothing_and_says_so(proxy: Proxy, name: str) -> None:
    init(name, proxy.url)
    with proxy.recording() as requests:
        done = init(name, proxy.url)
    assert (0, "Nothing to change.") == (done.exit_code, done.stdout.splitlines()[-1])
    assert (4, []) == (len(requests), writes(requests))


def test_a_dry_run_of_a_missing_bucket_shows_all_and_writes_nothing(proxy: Proxy, name: str) -> None:
    with proxy.recording() as requests:
        done, told = init(name, proxy.url, "--dry-run"), init(name, proxy.url, "--dry-run", "--json")
    assert (0, "Nothing was changed: this was a dry run.") == (done.exit_code, done.stdout.splitlines()[-1])
    assert {"planned"} == set(outcomes(told).values())
    assert len(OURS) == done.stdout.count("    + s3dict:s3dict:")
    assert ([], {404}) == (writes(requests), {request.status for request in requests})


def test_a_dry_run_shows_what_would_be_different(proxy: Proxy, s3: Any, bucket: str) -> None:
    wrong = {**OURS[2], "Expiration": {"Days": 3}}
    stale = {**LOGS, "ID": "s3dict:s3dict:no-longer"}
    put_rules(s3, bucket, [LOGS, wrong, stale])
    before = rules_of(s3, bucket)
    with proxy.recording() as requests:
        done = init(bucket, proxy.url, "--dry-run")
    assert "+ sweep rules: would change: 1 other rule of the bucket stays\n" in done.stdout
    becomes, was = (f"Enabled, on s3dict/sweep-8d/: Expiration {{Days: {days}}}" for days in (8, 3))
    assert f"    ~ s3dict:s3dict:sweep-8d: {becomes} (was: {was})\n" in done.stdout
    assert "    - s3dict:s3dict:no-longer: Enabled, on logs/: Expiration {Days: 30}\n" in done.stdout
    assert ([], before) == (writes(requests), rules_of(s3, bucket))


@pytest.mark.parametrize("server", ["moto", "seaweedfs"])
def test_rules_of_others_are_kept_as_they_are(server: str, name: str, request: pytest.FixtureRequest) -> None:
    endpoint: Endpoint = request.getfixturevalue(server)
    s3 = boto3.client("s3", endpoint_url=endpoint.url)
    s3.create_bucket(Bucket=name)
    put_rules(s3, name, FOREIGN)
    before = rules_of(s3, name)
    assert 0 == init(name, endpoint.url).exit_code
    assert before == rules_of(s3, name)[: len(FOREIGN)]
    assert 0 == init(name, endpoint.url, "--prefix", "teams/b").exit_code
    assert before == rules_of(s3, name)[: len(FOREIGN)]
    assert are_equal([*before, *OURS, *lifecycle_rules("teams/b")], rules_of(s3, name))


def test_rules_of_the_older_spelling_are_joined_in_theirs(moto: Endpoint, s3: Any, bucket: str) -> None:
    theirs = {"ID": "old", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 30}}
    put_rules(s3, bucket, [theirs])
    assert "changed" == outcomes(init(bucket, moto.url, "--json"))["sweep rules"]
    assert theirs == rules_of(s3, bucket)[0]
    assert not any("Filter" in rule for rule in rules_of(s3, bucket))
    assert "unchanged" == outcomes(init(bucket, moto.url, "--json"))["sweep rules"]


def test_the_size_from_which_objects_move_to_other_classes_is_kept(
    moto: Endpoint, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # moto always says the default, which is also what a write that does not mention it goes back to.
    read, written = BucketAdmin.lifecycle, list[Lifecycle]()
    monkeypatch.setattr(BucketAdmin, "lifecycle", lambda self: replace(read(self), minimum_size="varies"))
    monkeypatch.setattr(BucketAdmin, "put_lifecycle", lambda self, lifecycle: written.append(lifecycle))
    init(bucket, moto.url)
    assert [Lifecycle(OURS, "varies")] == written


def test_a_rule_of_ours_that_was_changed_is_put_right(moto: Endpoint, s3: Any, bucket: str) -> None:
    put_rules(s3, bucket, [{**OURS[2], "Status": "Disabled"}, {**LOGS, "ID": "s3dict:s3dict:no-longer"}])
    assert 0 == init(bucket, moto.url).exit_code
    assert are_equal(OURS, rules_of(s3, bucket))


def test_an_encryption_that_is_there_stays(moto: Endpoint, s3: Any, bucket: str) -> None:
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "arn:aws:kms:us-east-1:1:key/k"}
    rules = [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
    done = init(bucket, moto.url)
    assert "✓ encryption: new objects are encrypted: aws:kms\n" in done.stdout
    assert rules == s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]


@pytest.mark.parametrize("blocks_acls", [True, False])
def test_a_gap_in_the_public_access_block_is_closed_and_beside_aws_one_that_stops_ceph_stays_as_it_is(
    moto: Endpoint, s3: Any, bucket: str, blocks_acls: bool
) -> None:
    blocks = dict.fromkeys(BLOCKS, True) | {"BlockPublicAcls": blocks_acls}
    gap = blocks | {"BlockPublicPolicy": False}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=gap)
    assert "changed" == outcomes(init(bucket, moto.url, "--json"))["public access"]
    assert blocks == s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]


def test_a_rule_of_others_that_deletes_living_entries_is_warned_of(moto: Endpoint, s3: Any, bucket: str) -> None:
    put_rules(s3, bucket, [LOGS, {**LOGS, "ID": "tidy", "Filter": {"Prefix": ""}}])
    done = init(bucket, moto.url)
    assert "still in use under s3dict/: tidy\n" in done.stdout
    assert (0, True) == (done.exit_code, "! other rules" in done.stdout)


def test_a_bucket_of_somebody_else_is_a_clear_error(proxy: Proxy, name: str) -> None:
    proxy.rewrite = lambda request, told: refusal(409, "BucketAlreadyExists") if request.method == "PUT" else told
    done = init(name, proxy.url)
    assert (1, 1) == (done.exit_code, done.stdout.count("\n"))
    assert f"✗ bucket: The bucket '{name}' belongs to somebody else: names are shared by all accounts" in done.stdout


def test_a_bucket_that_does_not_let_us_look_is_a_clear_error(proxy: Proxy, bucket: str) -> None:
    proxy.faults = [Fault("denied", "HeadBucket")]
    done = init(bucket, proxy.url)
    assert (1, 1) == (done.exit_code, done.stdout.count("\n"))
    assert "Lacking is s3:ListBucket" in done.stdout
    assert "the bucket belongs to somebody else: choose another name" in done.stdout


def test_a_bucket_that_we_make_at_the_same_time_elsewhere_is_ours(proxy: Proxy, name: str) -> None:
    def rewrite(request: Request, told: Any) -> Any:
        return refusal(409, "BucketAlreadyOwnedByYou") if (request.method, request.query) == ("PUT", "") else told

    proxy.rewrite = rewrite
    done = init(name, proxy.url, "--json")
    assert (0, "changed") == (done.exit_code, outcomes(done)["bucket"])


def test_a_server_without_lifecycle_rules_fails_and_it_is_said_what_that_means(name: str) -> None:
    with MisbehavingServer() as server:
        done = init(name, server.url)
    assert 1 == done.exit_code
    assert "! public access: The store cannot do what was asked" in done.stdout
    assert "! encryption: The store cannot do what was asked" in done.stdout
    assert "✗ sweep rules: The store cannot do what was asked" in done.stdout
    assert "No expired entry is ever deleted" in done.stdout
    assert "What a dict returns is not affected" in done.stdout


def test_a_setting_that_the_server_takes_and_forgets_counts_as_unsupported(proxy: Proxy, bucket: str) -> None:
    def rewrite(request: Request, told: Any) -> Any:
        forgets = (request.method, request.query) == ("GET", "publicAccessBlock")
        return refusal(404, "NoSuchPublicAccessBlockConfiguration") if forgets else told

    proxy.rewrite = rewrite
    assert "unsupported" == outcomes(init(bucket, proxy.url, "--json"))["public access"]


def test_what_a_server_refuses_in_words_of_its_own_is_unsupported_but_denial_is_not(proxy: Proxy, bucket: str) -> None:
    def rewrite(request: Request, told: Any) -> Any:
        return refusal(400, "InvalidArgument") if request.query == "encryption" else told

    proxy.rewrite = rewrite
    proxy.faults = [Fault("denied", when=about("publicAccessBlock"))]
    done = init(bucket, proxy.url, "--json")
    expected = {"bucket": "unchanged", "public access": "failed", "encryption": "unsupported", "sweep rules": "changed"}
    assert (1, expected) == (done.exit_code, outcomes(done))
    assert "s3:GetBucketPublicAccessBlock" in done.json["steps"][1]["detail"]


def test_rules_that_another_wrote_between_our_look_and_our_write_are_noticed(
    moto: Endpoint, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = BucketAdmin.put_lifecycle

    def put_and_lose(self: BucketAdmin, lifecycle: Lifecycle) -> None:
        put(self, lifecycle)
        put_rules(s3, bucket, [LOGS])

    monkeypatch.setattr(BucketAdmin, "put_lifecycle", put_and_lose)
    done = init(bucket, moto.url)
    assert 1 == done.exit_code
    assert "✗ sweep rules: the rules read back are not those written: somebody else changed them" in done.stdout


def test_rules_that_show_only_after_a_while_are_waited_for(proxy: Proxy, bucket: str) -> None:
    late = iter([True, True, True])  # the first look is before the write

    def rewrite(request: Request, told: Any) -> Any:
        looks = request.operation == "GetBucketLifecycleConfiguration"
        return refusal(404, "NoSuchLifecycleConfiguration") if looks and next(late, False) else told

    proxy.rewrite = rewrite
    assert "changed" == outcomes(init(bucket, proxy.url, "--json"))["sweep rules"]


def test_options_fall_back_on_the_environment(moto: Endpoint, s3: Any, name: str) -> None:
    env = {"S3DICT_BUCKET": name, "S3DICT_ENDPOINT_URL": moto.url, "S3DICT_PREFIX": "from/env"}
    done = answer("init", variables=env)
    assert 0 == done.exit_code
    assert are_equal(lifecycle_rules("from/env"), rules_of(s3, name))


def test_json_tells_where_and_what(moto: Endpoint, name: str) -> None:
    done = init(name, moto.url, "--json").json
    where = {"bucket": name, "prefix": "s3dict", "endpoint_url": moto.url, "ok": True, "dry_run": False}
    assert where == {field: done[field] for field in where}
    assert {"name", "outcome", "detail", "changes"} == set(done["steps"][0])
    assert {step["outcome"] for step in done["steps"]} <= {outcome.value for outcome in Outcome}


def test_without_a_bucket_or_with_one_in_memory_there_is_nothing_to_set_up() -> None:
    assert 2 == answer("init").exit_code
    done = answer("init", "--bucket", "b", variables={"S3DICT_DRIVER": "memory"})
    assert isinstance(done.error, InvalidError)
    assert "unset S3DICT_DRIVER" in str(done.error)


def test_it_runs_as_a_process_and_an_error_is_one_line(moto: Endpoint, s3: Any, name: str) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-m", "s3dict", "init", "--endpoint-url", moto.url, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])

    done = run("--bucket", name)
    assert (0, "") == (done.returncode, done.stderr)
    assert are_equal(OURS, rules_of(s3, name))
    wrong = run("--bucket", name, "--prefix", "x" * 201)
    assert (1, 1, "") == (wrong.returncode, wrong.stderr.count("\n"), wrong.stdout)
    assert wrong.stderr.startswith("s3dict: Invalid prefix")


ON_AWS = """
import json
import boto3
from moto import mock_aws
from tests.support.commands import answer

def story():
    first = answer("init", "--bucket", "in-frankfurt", "--json")
    second = answer("init", "--bucket", "in-frankfurt", "--json")
    there = boto3.client("s3").get_bucket_location(Bucket="in-frankfurt")["LocationConstraint"]
    blocks = boto3.client("s3").get_public_access_block(Bucket="in-frankfurt")["PublicAccessBlockConfiguration"]
    right = answer("doctor", "--bucket", "in-frankfurt", "--json")
    elsewhere = answer("doctor", "--bucket", "in-frankfurt", "--region", "eu-west-1", "--json")
    answer("init", "--bucket", "in-virginia", "--region", "us-east-1")
    virginia = boto3.client("s3").get_bucket_location(Bucket="in-virginia")["LocationConstraint"]
    return [there, virginia, blocks, *(done.json for done in (first, second, right, elsewhere))]

with mock_aws():
    print(json.dumps(story()))
"""


def test_on_aws_the_bucket_is_in_the_region_and_the_caller_has_a_name() -> None:
    # In a process of its own: moto within the process would take over the servers of the other tests.
    done = subprocess.run(
        [sys.executable, "-c", ON_AWS],
        env={
            **os.environ,
            "S3DICT_DRIVER": "boto3",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    there, virginia, blocks, first, second, right, elsewhere = json.loads(done.stdout)
    assert ("eu-central-1", None) == (there, virginia)
    assert dict.fromkeys((*BLOCKS, "BlockPublicAcls"), True) == blocks
    assert "created in-frankfurt in eu-central-1" == first["steps"][0]["detail"]
    assert {"unchanged"} == {step["outcome"] for step in second["steps"]}
    checks = {check["name"]: check for check in right["checks"]}
    assert ("ok", "eu-central-1") == (checks["region"]["status"], checks["region"]["detail"])
    assert checks["credentials"]["detail"].startswith("arn:aws:sts::123456789012:")
    region = next(check for check in elsewhere["checks"] if check["name"] == "region")
    assert ("warning", "set AWS_DEFAULT_REGION=eu-central-1") == (region["status"], region["advice"])
