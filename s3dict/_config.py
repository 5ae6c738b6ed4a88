"""Settings of a client, from arguments or from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

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
    """All settings of a Client except secrets: they may be pickled, compared and shown."""

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
        """The identity of the objects that a client accesses; the other settings are how it accesses them."""
        return self.bucket, self.prefix, self.endpoint_url, self.driver == "memory"

    @classmethod
    def from_fields(cls, values: dict[str, Any]) -> Settings:
        """Return the settings in a pickle, which another release may have written: unknown fields are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    def validated(self) -> Settings:
        """Return the settings with a normalised prefix. Raises InvalidError for an invalid setting."""
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
            raise InvalidError("cache is more than 0 seconds, or None for no cache")
        if not 0 < self.timeout_seconds <= MAX_TIMEOUT.total_seconds():
            raise InvalidError("timeout is more than 0 seconds, and an hour at most")
        validate_endpoint(self.endpoint_url)
        validate_name(self.environment_name, "environment")
        return replace(self, prefix=validate_prefix(self.prefix))


def require_installed(driver: str) -> None:
    """Raise InvalidError for a driver that needs an extra that is not installed."""
    if driver == "obstore" and not is_installed("obstore"):
        raise InvalidError("The driver 'obstore' is not installed: pip install obstore")


@lru_cache(maxsize=8)
def is_installed(package: str) -> bool:
    """Return whether the package can be imported, without importing it."""
    from importlib.util import find_spec

    return find_spec(package) is not None


def settings_from_env() -> Settings:
    """Return the settings in ``S3DICT_*``. Raises InvalidError if no bucket is set."""
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
    """Return the timeout in ``S3DICT_TIMEOUT``. Raises InvalidError if it is not a number of seconds."""
    value = os.environ.get("S3DICT_TIMEOUT")
    if not value:
        return DEFAULT_TIMEOUT
    try:
        return timedelta(seconds=float(value))
    except (ValueError, OverflowError):
        raise InvalidError(f"Invalid S3DICT_TIMEOUT: {value!r}. It is a number of seconds, such as 10 or 0.5") from None


def signing_keys_from_env() -> tuple[bytes, ...]:
    """Return the keys in ``S3DICT_SIGNING_KEYS``, which are separated by commas."""
    return validate_signing_keys(key for key in os.environ.get("S3DICT_SIGNING_KEYS", "").split(",") if key)


def validate_signing_keys(keys: Iterable[str | bytes]) -> tuple[bytes, ...]:
    """Return the keys as bytes. Raises InvalidError for one that is too short to be a secret, without showing it."""
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
    """Return a number that changes with any setting in the environment, credentials included. It reveals none."""
    return hash(frozenset((k, v) for k, v in os.environ.items() if k.startswith(("S3DICT_", "AWS_"))))


def current_user() -> str:
    """Return the creator of a dict, as far as it is known: the Lambda function, or user@host."""
    function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    if function:
        return f"lambda:{function}"
    import getpass
    import socket

    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError, ImportError):
        # The container's password file lacks the user.
        return socket.gethostname()


def validate_endpoint(url: str | None) -> str | None:
    """Return a valid URL. Raises InvalidError for any other, without the parts that may be secret."""
    if url is None:
        return None
    if "@" in url:
        raise InvalidError("endpoint_url must not hold credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_valid = False
    url_for_message, *rest = re.split("[?#]", url, maxsplit=1)
    if not is_valid or rest:
        raise InvalidError(
            f"Invalid endpoint_url: {url_for_message!r}. It begins with http:// or https://, without query and fragment"
        )
    return url
