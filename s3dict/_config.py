"""Settings: where things live, from arguments or from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache

from ._format.layout import validate_name, validate_prefix
from .errors import InvalidError

DEFAULT_PREFIX = "s3dict"
DEFAULT_ENVIRONMENT = "main"
DEFAULT_MAX_VALUE_BYTES = 100 * 1024 * 1024
DEFAULT_CONCURRENCY = 64
DEFAULT_TIMEOUT = timedelta(minutes=1)
MAX_TIMEOUT = timedelta(hours=1)
DEFAULT_LEASE = 30.0
DRIVERS = ("auto", "boto3", "obstore", "memory")


@dataclass(frozen=True, slots=True)
class Settings:
    """All of a Client but its secrets: what may be pickled, compared and shown."""

    bucket: str
    prefix: str = DEFAULT_PREFIX
    endpoint_url: str | None = None
    region_name: str | None = None
    environment_name: str = DEFAULT_ENVIRONMENT
    driver: str = "auto"
    max_value_bytes: int = DEFAULT_MAX_VALUE_BYTES
    concurrency: int = DEFAULT_CONCURRENCY
    cache_seconds: float | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT.total_seconds()

    @property
    def location(self) -> tuple[str, str, str | None, bool]:
        """What tells whether two clients see the same objects; the rest is how each goes about it."""
        return self.bucket, self.prefix, self.endpoint_url, self.driver == "memory"

    def validated(self) -> Settings:
        """The settings with a plain prefix. Raises InvalidError for what cannot work."""
        if not isinstance(self.bucket, str) or not self.bucket or "/" in self.bucket:
            raise InvalidError(
                f"Invalid bucket: {self.bucket!r}. It is the bucket's name alone, without s3:// or a path"
            )
        if self.driver not in DRIVERS:
            raise InvalidError(f"Unknown driver {self.driver!r}: choose one of {', '.join(DRIVERS)}")
        require_installed(self.driver)
        if self.max_value_bytes < 1 or self.concurrency < 1:
            raise InvalidError("max_value_bytes and concurrency are 1 or more")
        if self.cache_seconds is not None and self.cache_seconds <= 0:
            raise InvalidError("cache is a timedelta of more than nothing, or None for no cache")
        if not 0 < self.timeout_seconds <= MAX_TIMEOUT.total_seconds():
            raise InvalidError("timeout is a timedelta of more than nothing, and of an hour at most")
        validate_endpoint(self.endpoint_url)
        validate_name(self.environment_name, "environment")
        return replace(self, prefix=validate_prefix(self.prefix))


def require_installed(driver: str) -> None:
    """Raises InvalidError for a driver that needs an extra which is not there."""
    if driver == "obstore" and not is_installed("obstore"):
        raise InvalidError("The driver 'obstore' is not installed: pip install 's3-shared-dict[fast]'")


@lru_cache(maxsize=8)
def is_installed(package: str) -> bool:
    """Whether the package could be imported; it is not imported to find out."""
    from importlib.util import find_spec

    return find_spec(package) is not None


def settings_from_env() -> Settings:
    """Settings from ``S3DICT_*``. Raises InvalidError when no bucket is set."""
    bucket = os.environ.get("S3DICT_BUCKET")
    if not bucket:
        raise InvalidError(
            "No bucket is configured: set S3DICT_BUCKET (and S3DICT_ENDPOINT_URL for a store other than AWS), or pass "
            "client=Client('my-bucket'). To try it without one, `s3dict dev` runs a local S3 and prints what to set"
        )
    return Settings(
        bucket=bucket,
        prefix=os.environ.get("S3DICT_PREFIX") or DEFAULT_PREFIX,
        endpoint_url=os.environ.get("S3DICT_ENDPOINT_URL") or None,
        environment_name=os.environ.get("S3DICT_ENVIRONMENT") or DEFAULT_ENVIRONMENT,
        driver=os.environ.get("S3DICT_DRIVER") or "auto",
        timeout_seconds=timeout_from_env().total_seconds(),
    ).validated()


def timeout_from_env() -> timedelta:
    """The seconds in ``S3DICT_TIMEOUT``. Raises InvalidError for what is no number of them."""
    chosen = os.environ.get("S3DICT_TIMEOUT")
    if not chosen:
        return DEFAULT_TIMEOUT
    try:
        return timedelta(seconds=float(chosen))
    except (ValueError, OverflowError):
        raise InvalidError(
            f"Invalid S3DICT_TIMEOUT: {chosen!r}. It is a number of seconds, such as 10 or 0.5"
        ) from None


def signing_keys_from_env() -> tuple[bytes, ...]:
    """The keys in ``S3DICT_SIGNING_KEYS``, separated by commas."""
    return validate_signing_keys(key for key in os.environ.get("S3DICT_SIGNING_KEYS", "").split(",") if key)


def validate_signing_keys(keys: Iterable[str | bytes]) -> tuple[bytes, ...]:
    """The keys as bytes. Raises InvalidError for one that is too short to be a secret, without showing it."""
    if isinstance(keys, (str, bytes)):
        raise InvalidError("signing_keys is a sequence of keys, the first of which signs")
    encoded = tuple(key.encode() if isinstance(key, str) else bytes(key) for key in keys)
    if any(len(key) < 16 for key in encoded):
        raise InvalidError(
            "A signing key has fewer than 16 bytes: make one with `python -c 'import secrets; "
            "print(secrets.token_hex())'`"
        )
    return encoded


def env_fingerprint() -> int:
    """Changes when any setting in the environment does, credentials included. Holds none of them."""
    return hash(frozenset((k, v) for k, v in os.environ.items() if k.startswith(("S3DICT_", "AWS_"))))


def current_user() -> str:
    """Who creates a dict from here, as far as the machine can tell: the Lambda function, or user@host."""
    function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    if function:
        return f"lambda:{function}"
    import getpass
    import socket

    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError, ImportError):
        # No such user in this container's password file.
        return socket.gethostname()


def validate_endpoint(url: str | None) -> str | None:
    """The URL, if it is one. Raises InvalidError otherwise, which shows nothing of what may be a secret."""
    if url is None:
        return None
    if "@" in url:
        raise InvalidError("endpoint_url must not hold credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        sound = False
    shown, *more = re.split("[?#]", url, maxsplit=1)
    if not sound or more:
        raise InvalidError(
            f"Invalid endpoint_url: {shown!r}. It begins with http:// or https://, and has no query or fragment"
        )
    return url
