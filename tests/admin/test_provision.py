"""``s3dict init``: what it sets up, what it leaves alone, and what it says when it cannot."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from werkzeug.wrappers import Request as HttpRequest
from werkzeug.wrappers import Response as HttpResponse

from s3dict import InvalidError
from s3dict._admin import provision
from s3dict._admin.bucket_admin import BucketAdmin, Lifecycle
from s3dict._admin.provision import Outcome
from s3dict._format.lifecycle import are_equal, lifecycle_rules

from ..support.commands import Answer, answer, refusal
from ..support.faulty_server import MisbehavingServer
from ..support.modes import Endpoint
from ..support.proxy import Fault, Proxy, Request
from ..support.s3_responses import RefusedError

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
def proxied_url(moto: Endpoint) -> str:
    return moto.url


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


def test_bucket_is_made_private_encrypted_and_swept(moto: Endpoint, s3: Any, name: str) -> None:
    done = init(name, moto.url)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "Done.")
    assert f"✓ bucket: changed: created {name}\n" in done.stdout
    assert "    + s3dict.s3dict.sweep-8d: Enabled, on s3dict/sweep-8d/: Expiration {Days: 8}\n" in done.stdout
    assert all(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"][block] for block in BLOCKS)
    encryption = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    assert [rule["ApplyServerSideEncryptionByDefault"] for rule in encryption] == [{"SSEAlgorithm": "AES256"}]
    assert are_equal(OURS, rules_of(s3, name))


def test_init_on_seaweedfs_reports_unsupported_steps_and_does_the_rest(seaweedfs: Endpoint, name: str) -> None:
    first, second = init(name, seaweedfs.url, "--json"), init(name, seaweedfs.url, "--json")
    done = {"bucket": "changed", "public access": "unsupported", "encryption": "changed", "sweep rules": "changed"}
    assert (first.exit_code, outcomes(first)) == (0, done)
    again = {"bucket": "unchanged", "encryption": "unchanged", "sweep rules": "unchanged"}
    assert (second.exit_code, outcomes(second)) == (0, done | again)
    server = boto3.client("s3", endpoint_url=seaweedfs.url)
    assert are_equal(OURS, rules_of(server, name))


def test_second_run_writes_nothing_and_says_so(proxy: Proxy, name: str) -> None:
    init(name, proxy.url)
    with proxy.recording() as requests:
        done = init(name, proxy.url)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "Nothing to change.")
    assert (len(requests), writes(requests)) == (4, [])


def test_dry_run_of_a_missing_bucket_shows_all_and_writes_nothing(proxy: Proxy, name: str) -> None:
    with proxy.recording() as requests:
        done, reported = init(name, proxy.url, "--dry-run"), init(name, proxy.url, "--dry-run", "--json")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "Nothing was changed: this was a dry run.")
    assert set(outcomes(reported).values()) == {"planned"}
    assert done.stdout.count("    + s3dict.s3dict.") == len(OURS)
    assert (writes(requests), {request.status for request in requests}) == ([], {404})


def test_dry_run_shows_pending_changes(proxy: Proxy, s3: Any, bucket: str) -> None:
    wrong = {**OURS[2], "Expiration": {"Days": 3}}
    stale = {**LOGS, "ID": "s3dict.s3dict.no-longer"}
    put_rules(s3, bucket, [LOGS, wrong, stale])
    before = rules_of(s3, bucket)
    with proxy.recording() as requests:
        done = init(bucket, proxy.url, "--dry-run")
    assert "+ sweep rules: would change: 1 other rule of the bucket stays\n" in done.stdout
    becomes, was = (f"Enabled, on s3dict/sweep-8d/: Expiration {{Days: {days}}}" for days in (8, 3))
    assert f"    ~ s3dict.s3dict.sweep-8d: {becomes} (was: {was})\n" in done.stdout
    assert "    - s3dict.s3dict.no-longer: Enabled, on logs/: Expiration {Days: 30}\n" in done.stdout
    assert (writes(requests), rules_of(s3, bucket)) == ([], before)


@pytest.mark.parametrize("server", ["moto", "seaweedfs"])
def test_foreign_rules_are_kept_unchanged(server: str, name: str, request: pytest.FixtureRequest) -> None:
    endpoint: Endpoint = request.getfixturevalue(server)
    s3 = boto3.client("s3", endpoint_url=endpoint.url)
    s3.create_bucket(Bucket=name)
    put_rules(s3, name, FOREIGN)
    before = rules_of(s3, name)
    assert init(name, endpoint.url).exit_code == 0
    assert rules_of(s3, name)[: len(FOREIGN)] == before
    assert init(name, endpoint.url, "--prefix", "teams/b").exit_code == 0
    assert rules_of(s3, name)[: len(FOREIGN)] == before
    assert are_equal([*before, *OURS, *lifecycle_rules("teams/b")], rules_of(s3, name))


def test_legacy_form_of_rules_is_kept(moto: Endpoint, s3: Any, bucket: str) -> None:
    theirs = {"ID": "old", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 30}}
    put_rules(s3, bucket, [theirs])
    assert outcomes(init(bucket, moto.url, "--json"))["sweep rules"] == "changed"
    assert rules_of(s3, bucket)[0] == theirs
    assert not any("Filter" in rule for rule in rules_of(s3, bucket))
    assert outcomes(init(bucket, moto.url, "--json"))["sweep rules"] == "unchanged"


def test_minimum_transition_size_is_kept(moto: Endpoint, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # moto always says the default, which is also what a write that does not mention it goes back to.
    read, written = BucketAdmin.lifecycle, list[Lifecycle]()
    monkeypatch.setattr(BucketAdmin, "lifecycle", lambda self: replace(read(self), minimum_size="varies"))
    monkeypatch.setattr(BucketAdmin, "put_lifecycle", lambda self, lifecycle: written.append(lifecycle))
    init(bucket, moto.url)
    assert written == [Lifecycle(OURS, "varies")]


def test_modified_managed_rule_is_restored(moto: Endpoint, s3: Any, bucket: str) -> None:
    put_rules(s3, bucket, [{**OURS[2], "Status": "Disabled"}, {**LOGS, "ID": "s3dict.s3dict.no-longer"}])
    assert init(bucket, moto.url).exit_code == 0
    assert are_equal(OURS, rules_of(s3, bucket))


def test_existing_encryption_is_kept(moto: Endpoint, s3: Any, bucket: str) -> None:
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "arn:aws:kms:us-east-1:1:key/k"}
    rules = [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
    done = init(bucket, moto.url)
    assert "✓ encryption: new objects are encrypted: aws:kms\n" in done.stdout
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"] == rules


@pytest.mark.parametrize("blocks_acls", [True, False])
def test_gap_in_the_public_access_block_is_closed_and_beside_aws_one_that_stops_ceph_stays_as_it_is(
    moto: Endpoint, s3: Any, bucket: str, blocks_acls: bool
) -> None:
    blocks = dict.fromkeys(BLOCKS, True) | {"BlockPublicAcls": blocks_acls}
    gap = blocks | {"BlockPublicPolicy": False}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=gap)
    assert outcomes(init(bucket, moto.url, "--json"))["public access"] == "changed"
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == blocks


def test_foreign_rule_deleting_live_entries_is_a_warning(moto: Endpoint, s3: Any, bucket: str) -> None:
    put_rules(s3, bucket, [LOGS, {**LOGS, "ID": "tidy", "Filter": {"Prefix": ""}}])
    done = init(bucket, moto.url)
    assert "still in use under s3dict/: tidy\n" in done.stdout
    assert (done.exit_code, "! other rules" in done.stdout) == (0, True)


def test_bucket_of_another_account_is_a_clear_error(proxy: Proxy, name: str) -> None:
    proxy.rewrite = lambda request, response: (
        refusal(409, "BucketAlreadyExists") if request.method == "PUT" else response
    )
    done = init(name, proxy.url)
    assert (done.exit_code, done.stdout.count("\n")) == (1, 1)
    assert f"✗ bucket: The bucket '{name}' belongs to another account: names are shared by all accounts" in done.stdout


def test_unreadable_bucket_is_a_clear_error(proxy: Proxy, bucket: str) -> None:
    proxy.faults = [Fault("denied", "HeadBucket")]
    done = init(bucket, proxy.url)
    assert (done.exit_code, done.stdout.count("\n")) == (1, 1)
    assert "It requires s3:ListBucket" in done.stdout
    assert "the bucket belongs to another account: choose another name" in done.stdout


def test_clock_that_is_wrong_is_not_taken_for_a_missing_permission(proxy: Proxy, bucket: str) -> None:
    proxy.faults = [Fault("denied", "HeadBucket")]
    proxy.rewrite = lambda request, response: refusal(403, "RequestTimeTooSkewed")
    done = init(bucket, proxy.url)
    assert (done.exit_code, done.stdout.count("\n")) == (1, 1)
    assert "403 RequestTimeTooSkewed" in done.stdout
    assert "synchronise it (NTP)" in done.stdout
    assert "another account" not in done.stdout


def test_concurrent_creation_of_the_bucket_succeeds(proxy: Proxy, name: str) -> None:
    def rewrite(request: Request, response: Any) -> Any:
        return refusal(409, "BucketAlreadyOwnedByYou") if (request.method, request.query) == ("PUT", "") else response

    proxy.rewrite = rewrite
    done = init(name, proxy.url, "--json")
    assert (done.exit_code, outcomes(done)["bucket"]) == (0, "changed")


def test_server_without_lifecycle_rules_fails_with_the_consequence(name: str) -> None:
    with MisbehavingServer() as server:
        done = init(name, server.url)
    assert done.exit_code == 1
    assert "! public access: The store does not support this request" in done.stdout
    assert "! encryption: The store does not support this request" in done.stdout
    assert "✗ sweep rules: The store does not support this request" in done.stdout
    assert "No expired entry is ever deleted" in done.stdout
    assert "What a dict returns is not affected" in done.stdout


class ParticularServer(MisbehavingServer):
    """Keeps lifecycle rules as they were written, and rejects all of them if one has the action that it refuses."""

    def __init__(self, action: str, refused: RefusedError) -> None:
        self._action, self._refused = action.encode(), refused
        self._rules = b""
        super().__init__()

    def _respond(self, request: HttpRequest) -> HttpResponse:
        if "lifecycle" not in request.args:
            return super()._respond(request)
        if request.method == "PUT":
            body = request.get_data()
            if self._action in body:
                raise self._refused
            self._rules = body
        elif not self._rules:
            raise RefusedError(404, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
        return HttpResponse(self._rules if request.method == "GET" else b"", content_type="application/xml")


VERSIONS = "noncurrent versions and delete markers"


@pytest.mark.parametrize(
    ("action", "left_out", "kept", "refused"),
    [
        ("NoncurrentVersionExpiration", VERSIONS, len(OURS), (501, "NotImplemented")),
        ("ExpiredObjectDeleteMarker", VERSIONS, len(OURS), (400, "MalformedXML")),
        ("AbortIncompleteMultipartUpload", f"incomplete uploads, {VERSIONS}", len(OURS) - 1, (400, "InvalidRequest")),
    ],
)
def test_rules_that_a_server_accepts_are_installed_and_the_others_reported(
    name: str, action: str, left_out: str, kept: int, refused: tuple[int, str]
) -> None:
    with ParticularServer(action, RefusedError(*refused, "Not this rule")) as server:
        s3 = boto3.client("s3", endpoint_url=server.url)
        s3.create_bucket(Bucket=name)
        put_rules(s3, name, [LOGS])
        first, second = init(name, server.url, "--json"), init(name, server.url, "--json")
        installed = rules_of(s3, name)
    steps = [done.json["steps"][-1] for done in (first, second)]
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert [(step["name"], step["outcome"]) for step in steps] == [("sweep rules", "warning")] * 2
    rejected = f"the store rejects rules for {left_out}; 1 other rule of the bucket stays"
    assert [step["detail"] for step in steps] == [f"installed; {rejected}", f"all others are installed; {rejected}"]
    assert (bool(steps[0]["changes"]), steps[1]["changes"]) == (True, [])
    assert installed[0] == LOGS
    assert are_equal(installed[1 : len(OURS)], OURS[:-1])
    assert len(installed) == kept + 1
    assert not any(action in rule or action in rule.get("Expiration", {}) for rule in installed)


def test_rule_that_a_server_rejects_does_not_keep_the_others_out_and_its_old_form_stays(name: str) -> None:
    """As a store that limits the days of an expiration, or accepts no ids but those it knows."""
    longest = next(rule for rule in OURS if rule["Filter"]["Prefix"].endswith("/sweep-420d/"))
    old = {**longest, "ID": "s3dict:s3dict:sweep-420d"}
    with ParticularServer(longest["ID"], RefusedError(400, "InvalidArgument", "Days is out of range")) as server:
        s3 = boto3.client("s3", endpoint_url=server.url)
        s3.create_bucket(Bucket=name)
        put_rules(s3, name, [LOGS, old])
        first, second = init(name, server.url, "--json"), init(name, server.url, "--json")
        installed = rules_of(s3, name)
        put_rules(s3, name, [LOGS])
        third = init(name, server.url, "--json")
        examined = answer("doctor", "--bucket", name, "--endpoint-url", server.url)
    for done in (first, second, third):
        step = done.json["steps"][-1]
        assert (done.exit_code, step["name"], step["outcome"]) == (0, "sweep rules", "warning")
        assert "the store rejects rules for s3dict/sweep-420d/: `s3dict gc --expired` deletes" in step["detail"]
    assert second.json["steps"][-1]["changes"] == []
    assert are_equal(installed, [LOGS, old, *(rule for rule in OURS if rule is not longest)])
    assert examined.exit_code == 1
    assert f"missing or different: {longest['ID']}" in examined.stdout
    assert "If the store rejects these rules, run `s3dict gc --expired`" in " ".join(examined.stdout.split())


def test_setting_accepted_but_not_stored_is_unsupported(proxy: Proxy, bucket: str) -> None:
    def rewrite(request: Request, response: Any) -> Any:
        forgets = (request.method, request.query) == ("GET", "publicAccessBlock")
        return refusal(404, "NoSuchPublicAccessBlockConfiguration") if forgets else response

    proxy.rewrite = rewrite
    assert outcomes(init(bucket, proxy.url, "--json"))["public access"] == "unsupported"


def test_unknown_rejection_is_unsupported_and_denial_is_an_error(proxy: Proxy, bucket: str) -> None:
    def rewrite(request: Request, response: Any) -> Any:
        return refusal(400, "InvalidArgument") if request.query == "encryption" else response

    proxy.rewrite = rewrite
    proxy.faults = [Fault("denied", when=about("publicAccessBlock"))]
    done = init(bucket, proxy.url, "--json")
    expected = {"bucket": "unchanged", "public access": "failed", "encryption": "unsupported", "sweep rules": "changed"}
    assert (done.exit_code, outcomes(done)) == (1, expected)
    assert "s3:GetBucketPublicAccessBlock" in done.json["steps"][1]["detail"]


def test_rules_written_concurrently_are_detected(
    moto: Endpoint, s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = BucketAdmin.put_lifecycle

    def put_and_lose(self: BucketAdmin, lifecycle: Lifecycle) -> None:
        put(self, lifecycle)
        put_rules(s3, bucket, [LOGS])

    monkeypatch.setattr(BucketAdmin, "put_lifecycle", put_and_lose)
    done = init(bucket, moto.url)
    assert done.exit_code == 1
    assert "✗ sweep rules: the rules read back are not those written: another process changed them" in done.stdout


def test_eventually_consistent_rules_are_awaited(proxy: Proxy, bucket: str) -> None:
    late = iter([True, True, True])  # the first look is before the write

    def rewrite(request: Request, response: Any) -> Any:
        looks = request.operation == "GetBucketLifecycleConfiguration"
        return refusal(404, "NoSuchLifecycleConfiguration") if looks and next(late, False) else response

    proxy.rewrite = rewrite
    assert outcomes(init(bucket, proxy.url, "--json"))["sweep rules"] == "changed"


def test_options_fall_back_on_the_environment(moto: Endpoint, s3: Any, name: str) -> None:
    env = {"S3DICT_BUCKET": name, "S3DICT_ENDPOINT_URL": moto.url, "S3DICT_PREFIX": "from/env"}
    done = answer("init", variables=env)
    assert done.exit_code == 0
    assert are_equal(lifecycle_rules("from/env"), rules_of(s3, name))


def test_json_contains_location_and_steps(moto: Endpoint, name: str) -> None:
    done = init(name, moto.url, "--json").json
    where = {"bucket": name, "prefix": "s3dict", "endpoint_url": moto.url, "ok": True, "dry_run": False}
    assert {field: done[field] for field in where} == where
    assert set(done["steps"][0]) == {"name", "outcome", "detail", "changes"}
    assert {step["outcome"] for step in done["steps"]} <= {outcome.value for outcome in Outcome}


def test_init_requires_a_bucket_outside_of_memory() -> None:
    assert answer("init").exit_code == 2
    done = answer("init", "--bucket", "b", variables={"S3DICT_DRIVER": "memory"})
    assert isinstance(done.error, InvalidError)
    assert "unset S3DICT_DRIVER" in str(done.error)


def test_init_process_reports_an_error_on_one_line(moto: Endpoint, s3: Any, name: str) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-m", "s3dict", "init", "--endpoint-url", moto.url, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])

    done = run("--bucket", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert are_equal(OURS, rules_of(s3, name))
    wrong = run("--bucket", name, "--prefix", "x" * 201)
    assert (wrong.returncode, wrong.stderr.count("\n"), wrong.stdout) == (2, 1, "")
    assert wrong.stderr.startswith("s3dict: Invalid value for --prefix")


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
    assert done.returncode == 0, done.stderr
    there, virginia, blocks, first, second, right, elsewhere = json.loads(done.stdout)
    assert (there, virginia) == ("eu-central-1", None)
    assert dict.fromkeys((*BLOCKS, "BlockPublicAcls"), True) == blocks
    assert first["steps"][0]["detail"] == "created in-frankfurt in eu-central-1"
    assert {step["outcome"] for step in second["steps"]} == {"unchanged"}
    checks = {check["name"]: check for check in right["checks"]}
    assert (checks["region"]["status"], checks["region"]["detail"]) == ("ok", "eu-central-1")
    assert checks["credentials"]["detail"].startswith("arn:aws:sts::123456789012:")
    region = next(check for check in elsewhere["checks"] if check["name"] == "region")
    assert (region["status"], region["advice"]) == ("warning", "set AWS_DEFAULT_REGION=eu-central-1")
