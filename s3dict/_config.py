"""Settings of a client, from arguments or from the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import lru_cache
from types import NoneType
from typing import Any

from ._format.layout import validate_name, validate_prefix
from ._record import Record, replace
from ._stores.shared.validation import check_header, check_plain, validate_bucket, validate_endpoint, zone_of
from .errors import InvalidError

DEFAULT_PREFIX = "s3dict"
DEFAULT_ENVIRONMENT = "main"
DEFAULT_MAX_VALUE_BYTES = 100 * 1024 * 1024
DEFAULT_CONCURRENCY = 64
DEFAULT_TIMEOUT = timedelta(minutes=1)
MAX_TIMEOUT = timedelta(hours=1)
DEFAULT_LEASE = 30.0
MIN_KEY_BYTES = 16
ADDRESSING_STYLES = ("auto", "path", "virtual")
CHECKSUM_MODES = ("when_supported", "when_required")
SSE_ALGORITHMS = ("AES256", "aws:kms", "aws:kms:dsse")
_FLAGS = {"": None, "true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
DRIVERS = ("auto", "boto3", "obstore", "memory")


_PROXY_AND_TRUST_VARIABLES = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)


class Settings(Record):
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
    addressing_style: str | None = None
    verify: bool | str | None = None
    checksums: str | None = None
    sse: str | None = None
    kms_key_id: str | None = None
    requester_pays: bool = False
    expected_bucket_owner: str | None = None

    @property
    def location(self) -> tuple[str, str, str | None, bool]:
        """The identity of the objects that a client accesses; the other settings are how it accesses them."""
        return self.bucket, self.prefix, self.endpoint_url, self.driver == "memory"

    @classmethod
    def from_fields(cls, values: dict[str, Any]) -> Settings:
        """Return the settings in a pickle, which another release may have written: unknown fields are left out."""
        return cls(**{name: value for name, value in values.items() if name in cls.__match_args__})

    def validated(self) -> Settings:
        """Return the settings with a normalised prefix. Raises InvalidError for an invalid setting."""
        validate_bucket(self.bucket)
        self._validate_types()
        if self.driver not in DRIVERS:
            raise InvalidError(f"Unknown driver {self.driver!r}: choose one of {', '.join(DRIVERS)}")
        require_installed(self.driver)
        if self.cache_seconds is not None and self.cache_seconds <= 0:
            raise InvalidError("cache is more than 0 seconds, or None for no cache")
        if not 0 < self.timeout_seconds <= MAX_TIMEOUT.total_seconds():
            raise InvalidError("timeout is more than 0 seconds, and an hour at most")
        validate_endpoint(self.endpoint_url)
        self._validate_connection()
        validate_name(self.environment_name, "environment")
        return replace(self, prefix=validate_prefix(self.prefix))

    def _validate_types(self) -> None:
        """Raise InvalidError for a setting of the wrong type, such as the id of an account as a number."""
        for name in ("max_value_bytes", "concurrency"):
            number = getattr(self, name)
            if not isinstance(number, int) or number < 1:
                raise InvalidError(f"Invalid {name}: {number!r}. It is a whole number, 1 or more")
        for name in ("endpoint_url", "region_name", "kms_key_id", "expected_bucket_owner"):
            text = getattr(self, name)
            if not isinstance(text, (str, NoneType)):
                raise InvalidError(f"Invalid {name}: {text!r}. It is a string")
        if not isinstance(self.verify, (bool, str, NoneType)):
            raise InvalidError(f"Invalid verify: {self.verify!r}. It is True, False, or the path of a file")
        if not isinstance(self.requester_pays, bool):
            raise InvalidError(f"Invalid requester_pays: {self.requester_pays!r}. It is True or False")

    def _validate_connection(self) -> None:
        """Raise InvalidError for a setting of the connection that is unknown or cannot be sent."""
        for name, value, choices in (
            ("addressing_style", self.addressing_style, ADDRESSING_STYLES),
            ("checksums", self.checksums, CHECKSUM_MODES),
            ("sse", self.sse, SSE_ALGORITHMS),
        ):
            if value is not None and value not in choices:
                raise InvalidError(f"Invalid {name}: {value!r}. It is one of {', '.join(choices)}")
        if self.kms_key_id is not None and self.sse not in ("aws:kms", "aws:kms:dsse"):
            raise InvalidError("kms_key_id needs sse='aws:kms' or 'aws:kms:dsse'")
        if (self.sse or self.requester_pays) and zone_of(self.bucket) is not None:
            raise InvalidError(
                f"Leave out sse and requester_pays: {self.bucket!r} is a directory bucket, which encrypts new objects "
                "by its own default alone, and whose owner pays"
            )
        for name in ("region_name", "kms_key_id", "expected_bucket_owner"):
            check_plain(name, getattr(self, name) or "")
        if isinstance(self.verify, str) and not os.path.isfile(self.verify):
            raise InvalidError(f"verify names a file that does not exist: {self.verify!r}")


def require_installed(driver: str) -> None:
    """Raise InvalidError for a driver that needs an extra that is not installed."""
    if driver == "obstore" and not is_installed("obstore"):
        raise InvalidError("The driver 'obstore' is not installed: pip install obstore")


@lru_cache(maxsize=8)
def is_installed(package: str) -> bool:
    """Return whether the package can be imported, without importing it."""
    from importlib.util import find_spec

    return find_spec(package) is not None


def settings_from_env(**chosen: Any) -> Settings:
    """Return the settings in ``S3DICT_*``, but those that are `chosen`. Raises InvalidError if there is no bucket."""
    bucket = chosen.get("bucket") or os.environ.get("S3DICT_BUCKET")
    if not bucket:
        raise InvalidError(
            "No bucket is configured: set S3DICT_BUCKET (and S3DICT_ENDPOINT_URL for a store other than AWS), or pass "
            "client=Client('my-bucket'). To try it without one, `s3dict dev` runs a local S3 and prints what to set"
        )
    settings = Settings(
        bucket=bucket,
        prefix=os.environ.get("S3DICT_PREFIX") or DEFAULT_PREFIX,
        endpoint_url=os.environ.get("S3DICT_ENDPOINT_URL") or None,
        environment_name=os.environ.get("S3DICT_ENVIRONMENT") or DEFAULT_ENVIRONMENT,
        driver=os.environ.get("S3DICT_DRIVER") or "auto",
        timeout_seconds=timeout_from_env().total_seconds(),
        region_name=os.environ.get("S3DICT_REGION") or None,
        addressing_style=os.environ.get("S3DICT_ADDRESSING_STYLE") or None,
        verify=_verify_from_env(),
        checksums=os.environ.get("S3DICT_CHECKSUMS") or None,
        sse=os.environ.get("S3DICT_SSE") or None,
        kms_key_id=os.environ.get("S3DICT_KMS_KEY_ID") or None,
        requester_pays=_flag_from_env("S3DICT_REQUESTER_PAYS") or False,
        expected_bucket_owner=os.environ.get("S3DICT_EXPECTED_BUCKET_OWNER") or None,
    )
    return replace(settings, **chosen).validated()


def _verify_from_env() -> bool | str | None:
    """Return the flag or the path of a bundle of certificates in ``S3DICT_VERIFY``."""
    value = os.environ.get("S3DICT_VERIFY") or None
    return value if value is not None and os.path.isfile(value) else _flag_from_env("S3DICT_VERIFY")


def _flag_from_env(name: str) -> bool | None:
    value = os.environ.get(name, "")
    if value.lower() not in _FLAGS:
        expected = "true, false, or the path of a file that exists" if name == "S3DICT_VERIFY" else "true or false"
        raise InvalidError(f"Invalid {name}: {value!r}. It is {expected}")
    return _FLAGS[value.lower()]


def headers_from_env() -> tuple[tuple[str, str], ...]:
    """Return the headers in ``S3DICT_HEADERS``: ``Name=value``, separated by commas. The values are secret."""
    items = [item.partition("=") for item in os.environ.get("S3DICT_HEADERS", "").split(",") if item.strip()]
    if not all(separator for _, separator, _ in items):
        # Without the text, which may be a secret.
        raise InvalidError("Invalid S3DICT_HEADERS: it is Name=value, separated by commas")
    return validate_headers({name.strip(): value.strip() for name, _, value in items})


def validate_headers(headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """Return the headers as pairs. Raises InvalidError, without a value, for one that cannot be sent."""
    if headers is None:
        return ()
    pairs = headers.items() if isinstance(headers, Mapping) else [(None, None)]
    for name, value in pairs:
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidError("headers maps names to values, both of which are strings")
        check_header(name, value)
    if len({name.lower() for name in headers}) < len(headers):
        raise InvalidError("headers contains a name twice, in upper and lower case")
    return tuple(sorted(headers.items()))


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
    value = os.environ.get("S3DICT_SIGNING_KEYS", "")
    keys = [key for key in value.split(",") if key]
    if value and not keys:
        # Without one, nothing would be verified.
        raise InvalidError("S3DICT_SIGNING_KEYS contains no key: it is keys, separated by commas")
    # With blanks, as 0.1 took them: what such a key has signed can still be read. Without them as well, to verify.
    return validate_signing_keys(
        [*keys, *(bare for key in keys if MIN_KEY_BYTES <= len(bare := key.strip()) < len(key))]
    )


def validate_signing_keys(keys: Iterable[str | bytes]) -> tuple[bytes, ...]:
    """Return the keys as bytes. Raises InvalidError for one that is too short to be a secret, without showing it."""
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable):
        raise InvalidError("signing_keys is a sequence of keys, the first of which signs")
    encoded = tuple(key.encode() if isinstance(key, str) else bytes(key) for key in keys)
    if any(len(key) < MIN_KEY_BYTES for key in encoded):
        raise InvalidError(
            "A signing key has fewer than 16 bytes: make one with `python -c 'import secrets; "
            "print(secrets.token_hex())'`"
        )
    return encoded


def env_fingerprint() -> int:
    """Return a number that changes with any setting in the environment, credentials included. It reveals none."""
    return hash(
        frozenset(
            (k, v)
            for k, v in os.environ.items()
            if k.startswith(("S3DICT_", "AWS_")) or k.upper() in _PROXY_AND_TRUST_VARIABLES
        )
    )


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
