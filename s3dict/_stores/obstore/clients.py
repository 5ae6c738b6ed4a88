"""The way to a bucket with obstore: address, region, credentials and patience.

What boto3 would find in the environment is found here without importing it, which takes most of a second; what is more
than a few variables (profiles, SSO, roles to assume, the credentials of containers and instances) is left to it.
obstore reads variables of its own too (`AWS_ENDPOINT`, `AWS_SKIP_SIGNATURE`, …); all that would lead elsewhere than
boto3 goes is set explicitly, so that both of them, who share the work, do the same.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore.store import S3Store

from ...errors import InvalidError, PermissionDeniedError
from ..boto.requests import CONNECT_SECONDS, S3Request
from ..shared.timeouts import TimeoutVariants
from .errors import translate_obstore_exception
from .server_clock import ServerClock

if TYPE_CHECKING:
    import boto3
    from obstore.store import ClientConfig, S3Credential

    Provider = Callable[[], S3Credential]

MIN_VERSION = (0, 12)
"""Earlier releases tell less of what a server answered, and in other words."""
MEGABYTE = 1 << 20
SECONDS_PER_MEGABYTE = 8
IDLE_SECONDS = 4
"""Servers keep an idle connection for five seconds at least."""
CREDENTIAL_TTL = timedelta(minutes=10)
"""obstore asks again five minutes before that; boto3 gives nothing that ends within ten."""
_DOMAINS = {
    "cn-": "amazonaws.com.cn",
    "eusc-": "amazonaws.eu",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
}


_runtime_pid: int | None = None


def usable_in_this_process() -> bool:
    """False in a child that was forked after its parent had sent requests.

    The threads of obstore's runtime are not forked with it: the first request would wait for them for ever.
    """
    return _runtime_pid in (None, os.getpid())


@dataclass(frozen=True, slots=True)
class BucketEndpoint:
    """Where the bucket is, and whether its name is part of the host's."""

    bucket: str
    endpoint: str
    virtual_hosted: bool

    @property
    def url(self) -> str:
        return self.endpoint if self.virtual_hosted else f"{self.endpoint}/{self.bucket}"


class ObstoreClients:
    """The stores of obstore for one bucket, and its clock. Threads and event loops share it; a forked child must not.

    Making one reads nothing and connects to nothing.
    """

    def __init__(
        self,
        bucket: str,
        *,
        endpoint_url: str | None,
        region_name: str | None,
        session: boto3.Session | None,
        timeout: float,
    ) -> None:
        self.bucket = bucket
        self.timeout = timeout
        self._endpoint_url = endpoint_url
        self._region_name = region_name
        self._session = session
        self._hurried = TimeoutVariants[ObstoreClients]()
        self._lock = threading.Lock()
        self._store_options: dict[str, Any] = {}
        self._stores: dict[float, S3Store] = {}
        self._clock: ServerClock | None = None

    def with_timeout(self, timeout: float) -> ObstoreClients:
        """The way to the same bucket, with that timeout: by the same credentials, and the same clock."""
        return self._hurried.of(timeout, self._with_timeout)

    def _with_timeout(self, timeout: float) -> ObstoreClients:
        # To find credentials may take a request, or ask somebody for a code: once is enough.
        self._init()
        with_timeout = ObstoreClients(
            self.bucket,
            endpoint_url=self._endpoint_url,
            region_name=self._region_name,
            session=self._session,
            timeout=timeout,
        )
        with_timeout._store_options, with_timeout._clock = self._store_options, self._clock
        return with_timeout

    @property
    def clock(self) -> ServerClock:
        if self._clock is None:
            self._init()
        assert self._clock is not None
        return self._clock

    def store(self, size: int = 0) -> S3Store:
        """The store for a request with a body of that size: larger ones are waited for longer."""
        seconds = read_timeout(size, self.timeout)
        found = self._stores.get(seconds)
        return found if found is not None else self._make(seconds)

    def _make(self, seconds: float) -> S3Store:
        global _runtime_pid  # noqa: PLW0603 (the runtime is one for the process)
        self._init()
        _runtime_pid = os.getpid()
        with self._lock:
            if seconds not in self._stores:
                self._stores[seconds] = S3Store(client_options=_client_options(seconds), **self._store_options)
            return self._stores[seconds]

    def _init(self) -> None:
        with self._lock:
            if self._clock is not None:
                return
            _check_version()
            boto_session = self._session
            given = None if boto_session is not None else static_credentials(os.environ)
            signing_region = self._region_name or (
                boto_session.region_name if boto_session is not None else region_from_env(os.environ)
            )
            if (boto_session is None and given is None) or (signing_region is None and _has_aws_config(os.environ)):
                import boto3

                boto_session = boto_session or boto3.Session()
                signing_region = signing_region or boto_session.region_name
            signing_region = signing_region or "us-east-1"
            address = resolve_endpoint(self.bucket, self._endpoint_url, signing_region, os.environ)
            provider = (
                boto_credential_provider(boto_session) if boto_session is not None and given is None else lambda: given
            )
            self._store_options = _store_arguments(address, signing_region, provider)
            bundle = os.environ.get("AWS_CA_BUNDLE")
            self._clock = ServerClock(address.url, self._signed_url, ca_bundle=bundle, timeout=self.timeout)

    def _signed_url(self) -> str:
        """Of an object that need not be there: whatever the answer is, it has a Date."""
        path = "s3dict-clock"
        try:
            return obstore.sign(self.store(), "HEAD", path, timedelta(minutes=1))
        except Exception as error:
            translate_obstore_exception(error, S3Request("head_object", self.bucket, path, {}))
            raise


def _store_arguments(address: BucketEndpoint, region: str, provider: Any) -> dict[str, Any]:
    return {
        "bucket": address.bucket,
        "region": region,
        "endpoint": address.endpoint,
        "aws_endpoint_url_s3": address.endpoint,
        "virtual_hosted_style_request": address.virtual_hosted,
        "credential_provider": provider,
        # Whether a request may be sent again is known to its sender alone: every sending is one of ours.
        "retry_config": {"max_retries": 0},
        # Without one, SeaweedFS takes a PUT whose sender dies between head and body for one of an empty object. This is
        # computed for the signature anyway.
        "checksum_algorithm": "SHA256",
        # As boto3 does, whatever obstore's own variables say.
        "conditional_put": "etag",
        "skip_signature": False,
        "unsigned_payload": False,
        "request_payer": False,
        "s3_express": False,
        "disable_bulk_delete": False,
    }


def _client_options(seconds: float) -> ClientConfig:
    options: ClientConfig = {
        # boto3 speaks http where the URL says so. AWS is https.
        "allow_http": True,
        "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, seconds)),
        "read_timeout": timedelta(seconds=seconds),
        # That for the whole of an answer, 30 seconds by default, would end large values on slow links.
        "timeout": timedelta(days=365),
        # A request that meets a connection which the server has just closed fails, and of a write on a condition nobody
        # knows then whether it was made. A machine that was suspended, as by Lambda, wakes among such connections.
        "pool_idle_timeout": timedelta(seconds=IDLE_SECONDS),
        "user_agent": f"s3dict obstore/{obstore.__version__}",
    }
    if bundle := os.environ.get("AWS_CA_BUNDLE"):
        options["root_certificate"] = _certificates(bundle)
    return options


def _certificates(bundle: str) -> bytes:
    try:
        with open(bundle, "rb") as certificates:
            return certificates.read()
    except OSError as error:
        raise InvalidError(f"AWS_CA_BUNDLE names a file that cannot be read: {error}") from error


def read_timeout(size: int, timeout: float) -> float:
    """How many seconds an answer to a body of that size is waited for, where the client has that timeout.

    obstore's read timeout counts from the beginning of the request, with the time to send the body; it is fixed for a
    store. So there is one for small bodies, and one for each power of two of megabytes that is used.
    """
    if size <= MEGABYTE:
        return timeout
    return timeout + SECONDS_PER_MEGABYTE * (1 << (size // MEGABYTE).bit_length())


def resolve_endpoint(
    bucket: str, endpoint_url: str | None, region: str, environment: Mapping[str, str]
) -> BucketEndpoint:
    """By path on a custom endpoint; on AWS by the host's name where the bucket's may be part of it, as boto3 does."""
    if endpoint_url is not None:
        return BucketEndpoint(bucket, endpoint_url.rstrip("/"), False)
    service = "s3-fips" if _is_on(environment, "AWS_USE_FIPS_ENDPOINT") else "s3"
    dualstack = ".dualstack" if _is_on(environment, "AWS_USE_DUALSTACK_ENDPOINT") else ""
    domain = next((domain for prefix, domain in _DOMAINS.items() if region.startswith(prefix)), "amazonaws.com")
    host = f"{service}{dualstack}.{region}.{domain}"
    if re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", bucket):
        return BucketEndpoint(bucket, f"https://{bucket}.{host}", True)
    return BucketEndpoint(bucket, f"https://{host}", False)


def region_from_env(environment: Mapping[str, str]) -> str | None:
    return environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION") or None


def static_credentials(environment: Mapping[str, str]) -> S3Credential | None:
    """The credentials in the environment, which boto3 prefers to all others; None where they are not, or will end."""
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret or environment.get("AWS_CREDENTIAL_EXPIRATION"):
        return None
    token = environment.get("AWS_SECURITY_TOKEN") or environment.get("AWS_SESSION_TOKEN") or None
    return {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": None}


def boto_credential_provider(session: boto3.Session) -> Provider:
    """The credentials of a boto3 session, which keeps them fresh. Raises PermissionDeniedError when it has none."""
    lent = session.get_credentials()
    if lent is None:
        raise PermissionDeniedError(
            "There are no usable credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role"
        )

    def provide() -> S3Credential:
        frozen: Any = lent.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + CREDENTIAL_TTL,
        }

    return provide


def _has_aws_config(environment: Mapping[str, str]) -> bool:
    return os.path.isfile(os.path.expanduser(environment.get("AWS_CONFIG_FILE") or "~/.aws/config"))


def _is_on(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "").lower() == "true"


def _check_version() -> None:
    release = getattr(obstore, "__version__", "0")
    if tuple(int(number) for number in re.findall(r"\d+", release)[:2]) < MIN_VERSION:
        raise InvalidError(
            f"obstore {release} is too old: pip install -U 's3-shared-dict[fast]', or set the driver to 'boto3'"
        )
