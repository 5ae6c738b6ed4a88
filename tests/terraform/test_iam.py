"""The library under the module's policies, and the policies themselves.

The policies are those of `terraform/tests/rendered/`, which `terraform test` compares with the module, so that these
tests need no Terraform. The matrix is run twice. moto's IAM interprets actions and resources independently; but it
takes every condition for a denial, so they are removed for it, and it does not authorise the keys of a DeleteObjects.
The authorizer beside this file knows both, and answers 403 to a GET of a missing key that the caller may not list; it
is our own reading of AWS's documents.

What that leaves unproved is AWS itself: that it evaluates `s3:prefix` with the key where no object answers a GET,
`s3:if-none-match`, and the KMS statements, which no server here asks for.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.s3.models import s3_backends

from s3dict import Client, Dict, PermissionDeniedError, memoize
from s3dict._admin.doctor import Status, diagnose
from s3dict._admin.provision import Outcome, provision
from s3dict._format.layout import SWEEP_DAYS, DictId, Layout

from .authorizer import Authorizer
from .conftest import As
from .policies import BUCKET, Ask, Policy, rendered

POLICIES = ("reader-prod", "reader-dev", "writer-prod", "writer-dev", "admin")
TTLS = [*(timedelta(days=days) * 7 / 8 for days in SWEEP_DAYS), None]
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

Operation = Callable[[Dict[Any, Any], Client], Any]


def hold(context: Any) -> None:
    with context:
        pass


def double(n: int) -> int:
    return 2 * n


def put_if_version(d: Dict[Any, Any]) -> None:
    seen = d.entry("k")
    assert seen is not None
    d.put("k", 2, if_version=seen.version)


READS: dict[str, Operation] = {
    "from_name": lambda d, client: Dict.from_name("d", create_if_missing=True, client=client).hydrate(),
    "from_id": lambda d, client: Dict.from_id(d.hydrate().object_id, client).info(),
    "objects.list": lambda d, client: Dict.objects.list(client=client),
    "get": lambda d, client: d["k"],
    "get of a missing key": lambda d, client: d.get("missing"),
    "contains": lambda d, client: "k" in d,
    "contains of a missing key": lambda d, client: "missing" in d,
    "entry": lambda d, client: d.entry("k"),
    "get_many": lambda d, client: d.get_many(["k", "missing"]),
    "setdefault of a key that is there": lambda d, client: d.setdefault("k", 0),
    "keys": lambda d, client: list(d.keys()),
    "values": lambda d, client: list(d.values()),
    "items": lambda d, client: list(d.items()),
    "len": lambda d, client: d.len(),
}
WRITES: dict[str, Operation] = {
    "objects.create": lambda d, client: Dict.objects.create("new", client=client),
    "put": lambda d, client: d.put("k", 1),
    "put skip_if_exists": lambda d, client: d.put("new", 1, skip_if_exists=True),
    "put if_version": lambda d, client: put_if_version(d),
    "setdefault": lambda d, client: d.setdefault("default", 1),
    "modify": lambda d, client: d.modify("k", lambda n: n + 1),
    "update": lambda d, client: d.update(a=1, b=2),
    "pop": lambda d, client: d.pop("k"),
    "pop_many": lambda d, client: d.pop_many(["l"]),
    "get_or_compute": lambda d, client: d.get_or_compute("computed", lambda: 1),
    "memoize": lambda d, client: memoize(d)(double)(1),
    "lock": lambda d, client: hold(d.lock("l")),
    "ephemeral": lambda d, client: hold(Dict.ephemeral(client=client)),
    "objects.delete": lambda d, client: Dict.objects.delete("d", client=client),
}


def denial(operation: Operation, client: Client) -> PermissionDeniedError | None:
    """Each time with a handle of its own, which has to look the dict up."""
    try:
        operation(Dict.from_name("d", client=client), client)
    except PermissionDeniedError as error:
        return error
    return None


def attempt(operation: Operation, client: Client) -> str:
    return "allowed" if denial(operation, client) is None else "denied"


def outcomes(operations: dict[str, Operation], client: Client) -> dict[str, str]:
    return {name: attempt(operation, client) for name, operation in operations.items()}


@pytest.fixture
def filled(acting_as: As) -> Client:
    """A writer's client, who made a dict with a few entries."""
    client = acting_as("writer-prod", environment_name="prod")
    Dict.from_name("d", create_if_missing=True, client=client).update(k=1, l=2)
    return client


def test_writer_may_do_everything_in_its_environment(filled: Client) -> None:
    everything = READS | WRITES
    assert outcomes(everything, filled) == dict.fromkeys(everything, "allowed")


@pytest.mark.parametrize("ttl", TTLS, ids=str)
def test_writer_and_a_reader_share_a_dict_of_any_ttl(ttl: timedelta | None, acting_as: As) -> None:
    writer = acting_as("writer-dev", environment_name="dev")
    Dict.from_name("d", create_if_missing=True, ttl=ttl, client=writer)["k"] = 1
    shared: Dict[str, int] = Dict.from_name("d", client=acting_as("reader-dev", environment_name="dev"))
    assert (list(shared.items()), shared.len(), "missing" in shared) == ([("k", 1)], 1, False)


def test_reader_reads_everything_and_writes_nothing(filled: Client, acting_as: As) -> None:
    reader = acting_as("reader-prod", environment_name="prod")
    assert outcomes(READS, reader) == dict.fromkeys(READS, "allowed")
    assert outcomes(WRITES, reader) == dict.fromkeys(WRITES, "denied")
    with pytest.raises(PermissionDeniedError, match="could not be deleted"):
        Dict.from_name("d", client=reader).clear()
    assert dict(Dict.from_name("d", client=filled).items()) == {"k": 1, "l": 2}


def test_reader_reads_old_entries_though_it_may_not_refresh_them(
    filled: Client, acting_as: As, request: pytest.FixtureRequest
) -> None:
    for key in s3_backends["123456789012"]["aws"].buckets[BUCKET].keys.values():
        key.last_modified -= timedelta(days=3)
    shared: Dict[str, int] = Dict.from_name("d", client=acting_as("reader-prod", environment_name="prod"))
    assert (shared["k"], "l" in shared, dict(shared.items())) == (1, True, {"k": 1, "l": 2})
    if filled.endpoint_url == (authorizer := request.getfixturevalue("authorizer")).url:
        assert {ask.action for ask in authorizer.denied} == {"s3:PutObject"}


@pytest.mark.parametrize("stranger", ["writer-dev", "reader-dev"])
def test_another_environment_is_out_of_reach(stranger: str, filled: Client, acting_as: As) -> None:
    trespassing = acting_as(stranger, environment_name="prod")
    # Of what a writer of another environment may do, these touch no named dict of this one.
    apart = {name for name in ("ephemeral",) if stranger.startswith("writer")}
    everything = {name: operation for name, operation in (READS | WRITES).items() if name not in apart}
    assert outcomes(everything, trespassing) == dict.fromkeys(everything, "denied")
    assert dict(Dict.from_name("d", client=filled).items()) == {"k": 1, "l": 2}


def test_ephemeral_dicts_require_their_own_permission(acting_as: As) -> None:
    with Dict.ephemeral(client=acting_as("writer-prod", environment_name="prod")) as scratch:
        scratch["k"] = 1
        assert Dict.from_id(scratch.object_id, acting_as("reader-prod", environment_name="prod"))["k"] == 1
        for stranger in ("writer-dev", "reader-dev"):
            with pytest.raises(PermissionDeniedError):
                Dict.from_id(scratch.object_id, acting_as(stranger, environment_name="dev")).hydrate()
    with pytest.raises(PermissionDeniedError), Dict.ephemeral(client=acting_as("writer-dev", environment_name="dev")):
        pass


def test_admin_may_do_everything_everywhere(acting_as: As) -> None:
    everything = READS | WRITES
    for environment in ("prod", "dev"):
        client = acting_as("admin", environment_name=environment)
        Dict.from_name("d", create_if_missing=True, client=client).update(k=1, l=2)
        assert outcomes(everything, client) == dict.fromkeys(everything, "allowed")


@pytest.mark.parametrize("enforcing", ["authorizer"], indirect=True)
def test_every_grant_is_needed(enforcing: str, filled: Client, acting_as: As, authorizer: Authorizer) -> None:
    writer = Policy("writer-prod")
    outcomes(READS | WRITES, filled)
    assert writer.grants("s3") == authorizer.used
    Dict.from_name("d", create_if_missing=True, client=filled)["k"] = 1
    authorizer.used.clear()
    outcomes(READS, acting_as("reader-prod", environment_name="prod"))
    assert Policy("reader-prod").grants("s3") == authorizer.used


# moto asks IAM for s3:HeadBucket, which AWS does not have.
@pytest.mark.parametrize("enforcing", ["authorizer"], indirect=True)
def test_admin_finds_by_init_what_terraform_made(enforcing: str, acting_as: As, owner: Any) -> None:
    owner.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": rendered("lifecycle")})
    steps = {step.name: step.outcome for step in provision(acting_as("admin"))}
    assert steps["sweep rules"] == Outcome.UNCHANGED


@pytest.mark.parametrize("enforcing", ["authorizer"], indirect=True)
def test_admin_installs_sweep_rules_by_init(enforcing: str, acting_as: As, owner: Any) -> None:
    steps = {step.name: step.outcome for step in provision(acting_as("admin"))}
    assert steps["sweep rules"] == Outcome.CHANGED
    installed = owner.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert {rule["ID"] for rule in rendered("lifecycle")} == {rule["ID"] for rule in installed}


@pytest.mark.parametrize("enforcing", ["authorizer"], indirect=True)
@pytest.mark.parametrize("policy", ["admin", "writer-prod", "reader-prod"])
def test_doctor_finds_nothing_wrong(policy: str, enforcing: str, filled: Client, acting_as: As, owner: Any) -> None:
    owner.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": rendered("lifecycle")})
    client = acting_as(policy, environment_name="prod")
    checks = diagnose(client, read_only=policy.startswith("reader"))
    assert [check for check in checks if check.status is Status.FAILED] == []


@pytest.mark.parametrize("enforcing", ["authorizer"], indirect=True)
def test_capabilities_are_written_once(enforcing: str, filled: Client, authorizer: Authorizer) -> None:
    session = boto3.Session("writer-dev", "unchecked-secret")
    client = session.client("s3", endpoint_url=authorizer.url)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=BUCKET, Key="s3dict/store.json", Body=b"{}", IfNoneMatch="*")
    with pytest.raises(ClientError, match="AccessDenied"):
        client.put_object(Bucket=BUCKET, Key="s3dict/store.json", Body=b"{}")
    client.close()


@pytest.mark.parametrize("name", POLICIES)
def test_parliament_knows_all_actions_and_finds_their_resources_fit(name: str) -> None:
    # Who installs lifecycle rules can have all of the bucket deleted, beyond the prefix too.
    known = ["RESOURCE_POLICY_PRIVILEGE_ESCALATION"] if name == "admin" else []
    assert _findings(rendered(name)) == known


def test_parliament_finds_mistakes() -> None:
    wrong = rendered("reader-prod")
    wrong["Statement"][0]["Action"] = ["s3:GetObjects"]
    wrong["Statement"][1]["Resource"] = [f"arn:aws:s3:::{BUCKET}/*"]
    assert set(_findings(wrong)) == {"RESOURCE_MISMATCH", "UNKNOWN_ACTION"}


def _findings(document: Any) -> list[str]:
    with warnings.catch_warnings():
        # It reads its files without closing them, by a deprecated part of setuptools.
        warnings.simplefilter("ignore")
        from parliament import analyze_policy_string

        return [finding.issue for finding in analyze_policy_string(json.dumps(document)).findings]


@pytest.mark.parametrize("name", POLICIES)
def test_readable_keys_may_be_listed(name: str) -> None:
    """Otherwise AWS answers 403 to a GET of it where it is missing, and not 404."""
    policy = Policy(name)
    for pattern in policy.patterns("s3:GetObject"):
        key = pattern.removeprefix(f"{BUCKET}/").replace("*", "missing")
        assert policy.permits(Ask("s3:ListBucket", BUCKET, {"s3:prefix": key}))


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "admin"])
def test_only_admins_may_list_the_whole_bucket(name: str) -> None:
    for context in ({}, {"s3:prefix": ""}, {"s3:prefix": "s3dict/"}, {"s3:prefix": "s3dict/manifests/"}):
        assert not Policy(name).permits(Ask("s3:ListBucket", BUCKET, context))


@pytest.mark.parametrize("name", [name for name in POLICIES if name.startswith("reader")])
def test_reader_is_granted_no_write(name: str) -> None:
    actions = {grant.action for service in ("s3", "kms") for grant in Policy(name).grants(service)}
    assert actions == {"s3:GetObject", "s3:ListBucket", "kms:Decrypt"}


@pytest.mark.parametrize("ttl", TTLS, ids=str)
@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"])
def test_writer_reaches_the_paths_of_its_own_environment_alone(action: str, ttl: timedelta | None) -> None:
    # An environment or a dict may be named like any part of a path.
    names = ("prod", "dev", "named", "sweep-8d", "keep", ULID)
    granted = {
        environment
        for environment in names
        for name in names
        for path in _paths(DictId(ULID, environment, name), ttl)
        if Policy("writer-prod").permits(Ask(action, f"{BUCKET}/{path}"))
    }
    assert granted == {"prod"}


def _paths(dict_id: DictId, ttl: timedelta | None) -> tuple[str, ...]:
    layout = Layout("s3dict")
    data = layout.data(dict_id, ttl)
    return layout.manifest_path(dict_id), f"{data.entries}00", f"{data.locks}00"


def test_other_prefixes_are_out_of_reach() -> None:
    asks = [Ask("s3:GetObject", f"{BUCKET}/{prefix}/manifests/prod/d.json") for prefix in ("s3dict2", "other/s3dict")]
    assert [(name, ask) for name in POLICIES for ask in asks if Policy(name).permits(ask)] == []


def grants(name: str, error: PermissionDeniedError, prefix: str) -> bool:
    """Return whether the policy would have allowed what the error says was lacking."""
    path = str(error.resource).removeprefix("arn:aws:s3:::").replace("*", "00")
    context = {"s3:prefix": prefix} if error.action == "s3:ListBucket" else {"s3:if-none-match": "*"}
    return Policy(name).permits(Ask(str(error.action), path, context))


@pytest.mark.parametrize("enforcing", ["authorizer"], indirect=True)
@pytest.mark.parametrize("stranger", ["reader-prod", "reader-dev", "writer-dev"])
def test_denial_names_the_least_policy_that_would_have_allowed_it(
    stranger: str, enforcing: str, filled: Client, acting_as: As, authorizer: Authorizer
) -> None:
    trespassing = acting_as(stranger, environment_name="prod")
    for name, operation in (READS | WRITES).items():
        authorizer.denied.clear()
        error = denial(operation, trespassing)
        if error is None:
            assert name in READS or name == "ephemeral", name
            continue
        asked = authorizer.denied[-1].context.get("s3:prefix", "")
        assert error.policy in ("reader", "writer"), name
        assert grants(f"{error.policy}-prod", error, asked), name
        assert not grants(stranger, error, asked), name
        assert error.policy == "reader" or not grants("reader-prod", error, asked), name
