"""obstore's stores for one bucket: endpoint, region, credentials and timeouts.

What boto3 would find in the environment is found here without importing it, which takes most of a second; what takes
more than a few variables (profiles, SSO, roles to assume, the credentials of containers and instances) is left to it.
obstore reads variables of its own too (`AWS_ENDPOINT`, `AWS_SKIP_SIGNATURE`, …); all options that they could change
are set explicitly, so that both drivers, which share the work of one client, do the same.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore.store import S3Store

from ...errors import InvalidError
from ..shared.connection import Connection
from ..shared.messages import S3Request
from ..shared.timeouts import CONNECT_SECONDS, HasTimeoutVariants
from .credentials import boto_credential_provider, static_credentials
from .errors import translate_obstore_exception
from .server_clock import ServerClock

if TYPE_CHECKING:
    from obstore.store import ClientConfig

MIN_VERSION = (0, 12)
"""Earlier releases report less of a response, and in other words."""
MEGABYTE = 1 << 20
SECONDS_PER_MEGABYTE = 8
IDLE_SECONDS = 4
"""Servers keep an idle connection for at least five seconds."""
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
    """Return False in a child that was forked after its parent had used obstore.

    The threads of obstore's runtime are not forked with it: the first request would wait for them indefinitely.
    """
    return _runtime_pid in (None, os.getpid())


@dataclass(frozen=True, slots=True)
class BucketEndpoint:
    """Where the bucket is, and whether its name is part of the host name."""

    bucket: str
    endpoint: str
    virtual_hosted: bool

    @property
    def url(self) -> str:
        return self.endpoint if self.virtual_hosted else f"{self.endpoint}/{self.bucket}"


class ObstoreClients(HasTimeoutVariants):
    """Makes obstore's stores for one bucket, and its clock. Threads and event loops share it; a forked child must not.

    Making one reads nothing and connects to nothing.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.timeout)
        self.connection = connection
        self._lock = threading.RLock()
        self._store_options: dict[str, Any] = {}
        self._stores: dict[float, S3Store] = {}
        self._clock: ServerClock | None = None

    @property
    def bucket(self) -> str:
        return self.connection.bucket

    def _with_timeout(self, timeout: float) -> ObstoreClients:
        # Finding credentials may take a request, or a code that a person types: once is enough.
        self._init()
        variant = ObstoreClients(self.connection.with_timeout(timeout))
        variant._store_options, variant._clock = self._store_options, self._clock
        return variant

    @property
    def clock(self) -> ServerClock:
        if self._clock is None:
            self._init()
        assert self._clock is not None
        return self._clock

    def store(self, size: int = 0) -> S3Store:
        """Return the store for a request with a body of `size` bytes: the timeout grows with it."""
        seconds = read_timeout(size, self.timeout)
        store = self._stores.get(seconds)
        return store if store is not None else self._make(seconds)

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
            connection = self.connection
            session = connection.session
            static = None if session is not None else static_credentials(os.environ)
            region = connection.region_name or (
                session.region_name if session is not None else region_from_env(os.environ)
            )
            if (session is None and static is None) or (region is None and _has_aws_config(os.environ)):
                import boto3

                session = session or boto3.Session()
                region = region or session.region_name
            region = region or "us-east-1"
            endpoint = resolve_endpoint(connection.bucket, connection.endpoint_url, region, os.environ)
            provider = boto_credential_provider(session) if session is not None and static is None else lambda: static
            self._store_options = _store_options(endpoint, region, provider)
            bundle = os.environ.get("AWS_CA_BUNDLE")
            self._clock = ServerClock(
                endpoint.url,
                self._signed_url,
                ca_bundle=bundle,
                timeout=self.timeout,
                observer=self.connection.observer,
            )

    def _signed_url(self) -> str:
        """Return the signed URL of an object that need not exist: any response has a Date."""
        path = "s3dict-clock"
        try:
            return obstore.sign(self.store(), "HEAD", path, timedelta(minutes=1))
        except Exception as error:
            translate_obstore_exception(error, S3Request("head_object", self.bucket, path, {}))
            raise


def _store_options(endpoint: BucketEndpoint, region: str, provider: Any) -> dict[str, Any]:
    return {
        "bucket": endpoint.bucket,
        "region": region,
        "endpoint": endpoint.endpoint,
        "aws_endpoint_url_s3": endpoint.endpoint,
        "virtual_hosted_style_request": endpoint.virtual_hosted,
        "credential_provider": provider,
        # Only the caller knows whether a request may be retried.
        "retry_config": {"max_retries": 0},
        # Without one, SeaweedFS stores an empty object if the sender dies between the headers and the body. SHA256 is
        # computed for the signature anyway.
        "checksum_algorithm": "SHA256",
        # As boto3 does, whatever obstore's own variables contain.
        "conditional_put": "etag",
        "skip_signature": False,
        "unsigned_payload": False,
        "request_payer": False,
        "s3_express": False,
        "disable_bulk_delete": False,
    }


def _client_options(seconds: float) -> ClientConfig:
    options: ClientConfig = {
        # The URL decides, as with boto3.
        "allow_http": True,
        "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, seconds)),
        "read_timeout": timedelta(seconds=seconds),
        # This one is for the whole response: its default of 30 seconds would end large values on slow links.
        "timeout": timedelta(days=365),
        # A request over a connection that the server has just closed fails, and then the outcome of a conditional write
        # is unknown. A process that was suspended, as by Lambda, resumes with such connections.
        "pool_idle_timeout": timedelta(seconds=IDLE_SECONDS),
        "user_agent": f"s3dict obstore/{obstore.__version__}",
    }
    if bundle := os.environ.get("AWS_CA_BUNDLE"):
        options["root_certificate"] = _certificates(bundle)
    return options


def _certificates(bundle: str) -> bytes:
    try:
        with open(bundle, "rb") as file:
            return file.read()
    except OSError as error:
        raise InvalidError(f"AWS_CA_BUNDLE names a file that cannot be read: {error}") from error


def read_timeout(size: int, timeout: float) -> float:
    """Return the read timeout, in seconds, for a request with a body of `size` bytes.

    obstore's read timeout starts with the request, so it includes the time to send the body, and it is fixed for a
    store. So there is one store for small bodies, and one for each power of two of megabytes that is used.
    """
    if size <= MEGABYTE:
        return timeout
    return timeout + SECONDS_PER_MEGABYTE * (1 << (size // MEGABYTE).bit_length())


def resolve_endpoint(
    bucket: str, endpoint_url: str | None, region: str, environment: Mapping[str, str]
) -> BucketEndpoint:
    """Return where the bucket is: in the path on a custom endpoint; on AWS in the host name if it fits, as in boto3."""
    if endpoint_url is not None:
        return BucketEndpoint(bucket, endpoint_url.rstrip("/"), False)
    service = "s3-fips" if env_flag(environment, "AWS_USE_FIPS_ENDPOINT") else "s3"
    dualstack = ".dualstack" if env_flag(environment, "AWS_USE_DUALSTACK_ENDPOINT") else ""
    domain = next((domain for prefix, domain in _DOMAINS.items() if region.startswith(prefix)), "amazonaws.com")
    host = f"{service}{dualstack}.{region}.{domain}"
    if re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", bucket):
        return BucketEndpoint(bucket, f"https://{bucket}.{host}", True)
    return BucketEndpoint(bucket, f"https://{host}", False)


def region_from_env(environment: Mapping[str, str]) -> str | None:
    return environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION") or None


def _has_aws_config(environment: Mapping[str, str]) -> bool:
    return os.path.isfile(os.path.expanduser(environment.get("AWS_CONFIG_FILE") or "~/.aws/config"))


def env_flag(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "").lower() == "true"


def _check_version() -> None:
    release = getattr(obstore, "__version__", "0")
    if tuple(int(number) for number in re.findall(r"\d+", release)[:2]) < MIN_VERSION:
        raise InvalidError(f"obstore {release} is too old: pip install -U obstore, or set the driver to 'boto3'")
