"""Checks of settings that would otherwise fail far from where they were made."""

from __future__ import annotations

import re

from ...errors import InvalidError

_BUCKET = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?")
_DIRECTORY_SUFFIXES = ("--x-s3", "--xa-s3")
_REGION = re.compile(r"(?![0-9]+$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_NORMAL_ENDPOINT = re.compile(
    r"https?://(?:(?!-)[a-z0-9-]{1,63}(?<!-)\.)*(?!-)[a-z0-9-]{1,63}(?<!-)"
    r"(?!:(?:80|443)$)(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}))?"
)
"""Valid endpoints in the spelling of `normalise_endpoint`, for which `urllib` need not be loaded: that takes longer
than a request."""
# Text, and not compiled here: `re` compiles each when it is first needed, which a usual cold start does not pay for.
_ACCESS_POINT = r"arn:aws[a-z-]*:s3:([a-z0-9-]+):[0-9]{12}:accesspoint[:/][a-z0-9-]{3,50}"
_DIRECTORY_BUCKET = r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?--([a-z0-9]+(?:-[a-z0-9]+){1,3})--xa?-s3"
_HOST = r"(?:(?!-)[a-z0-9-]{1,63}(?<!-)\.)*(?!-)[a-z0-9-]{1,63}(?<!-)\.?|\[[0-9a-f:.]+(?:%25[a-z0-9]+)?\]"
_PATH = r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*"
_OWN_HEADERS = (
    "authorization|proxy-authorization|host|date|range|expect|connection|te|trailer|transfer-encoding|upgrade"
    "|content-(?:length|encoding|md5|type)|if-.*|x-amz-(?:date|content-sha256|security-token|s3session-token"
    "|copy-source.*|checksum-.*|sdk-.*|trailer|decoded-content-length|metadata-directive|tagging-directive)"
)
_NOT_PLAIN = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ufeff]")


def check_plain(name: str, value: str) -> None:
    """Raise InvalidError, without the value, if it contains a blank or control character."""
    found = _NOT_PLAIN.search(value)
    if found is None:
        return
    kind = "a line break" if found[0] in "\r\n" else "a blank" if found[0] in " \xa0" else "a control character"
    where = "ends in" if found.end() == len(value) else "begins with" if found.start() == 0 else "contains"
    raise InvalidError(f"{name} {where} {kind}: remove it")


def check_credential(name: str, value: str) -> None:
    """Raise InvalidError, without the value, for what no credential is: text with blanks, quotes around it, or accents.

    A secret key may have letters of any alphabet on other stores than AWS; the others are sent in headers.
    """
    check_plain(name, value)
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        raise InvalidError(f"{name} is in quotes: remove them")
    if not value.isascii() and "secret" not in name.lower():
        raise InvalidError(f"{name} contains a character that is not ASCII: copy it again, without formatting")


def check_region(region: str) -> None:
    """Raise InvalidError for a region that no driver can sign for."""
    check_plain("the region", region)
    if not _REGION.fullmatch(region):
        raise InvalidError(f"Invalid region: {region!r}. It has letters, digits and hyphens, as in eu-west-1")


def check_header(name: str, value: str) -> None:
    """Raise InvalidError for a header that cannot be sent, or that a request has for itself, without its value."""
    if re.fullmatch(_OWN_HEADERS, name.lower()):
        raise InvalidError(f"headers must not contain {name!r}: each request has its own, which belongs to its meaning")
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        raise InvalidError(f"Invalid header name in headers: {name!r}")
    if value != value.strip() or not value.isprintable() or not value.isascii():
        raise InvalidError(f"The value of the header {name} begins or ends with a blank, or has a control character")


def is_bucket_name(bucket: str) -> bool:
    return _BUCKET.fullmatch(bucket) is not None and ".." not in bucket


def validate_bucket(bucket: object) -> str:
    """Return the bucket's name, or the ARN of an access point. Raises InvalidError for anything else."""
    if not isinstance(bucket, str) or not bucket:
        raise InvalidError(f"Invalid bucket: {bucket!r}. It is the bucket's name alone, without s3:// or a path")
    check_plain("The bucket's name", bucket)
    if bucket.startswith("arn:"):
        return _validate_arn(bucket)
    if bucket.endswith(_DIRECTORY_SUFFIXES) and (zone_of(bucket) is None or len(bucket) > 63):
        raise InvalidError(
            f"Invalid bucket: {bucket!r}. The name of a directory bucket (S3 Express) is NAME--ZONE--x-s3, that of an "
            "access point to one NAME--ZONE--xa-s3, with at most 63 characters; a zone is use1-az4, for example"
        )
    if not is_bucket_name(bucket):
        raise InvalidError(f"Invalid bucket: {bucket!r}. It is the bucket's name alone, without s3:// or a path")
    return bucket


def zone_of(bucket: str) -> str | None:
    """Return the zone in the name of a directory bucket (S3 Express), or of an access point to one; None for others.

    As in botocore, the name decides, at every endpoint.
    """
    if not bucket.endswith(_DIRECTORY_SUFFIXES):
        return None
    match = re.fullmatch(_DIRECTORY_BUCKET, bucket)
    return None if match is None else match[1]


def _validate_arn(arn: str) -> str:
    if re.fullmatch(_ACCESS_POINT, arn) is None:
        raise InvalidError(
            f"Invalid bucket: {arn!r}. Of ARNs, only those of access points in a region are supported "
            "(arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME); the alias of an access point works too"
        )
    return arn


def validate_endpoint(url: str | None, source: str = "endpoint_url") -> str | None:
    """Return a valid URL. Raises InvalidError for any other, without the parts that may be secret."""
    if url is None or _NORMAL_ENDPOINT.fullmatch(url):
        return url
    if "@" in url:
        raise InvalidError(f"{source} must not hold credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    check_plain(source, url)
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_valid = False
    url_for_message, *rest = re.split("[?#]", url, maxsplit=1)
    if not is_valid or rest:
        raise InvalidError(
            f"Invalid {source}: {url_for_message!r}. It begins with http:// or https://, without query and fragment"
        )
    return url


def is_ip_address(authority: str) -> bool:
    """Return whether the host of a URL is an address, which no bucket's name can be put in front of."""
    return re.match(r"\[|[0-9.]+(?:[:/]|$)", authority) is not None


def normalise_endpoint(url: str, source: str) -> str:
    """Return the endpoint in the one spelling that all drivers send and sign in the same way.

    Scheme and host are in lower case, without the port that is the default, and slashes in the path are single.

    Raises:
        InvalidError: The URL is one that not all drivers accept.
    """
    if _NORMAL_ENDPOINT.fullmatch(url):
        return url
    from urllib.parse import urlsplit

    validate_endpoint(url, source)
    parts = urlsplit(url)
    host, _, port = parts.netloc.lower().rpartition(":")
    if not host or not port.isdigit():
        host, port = parts.netloc.lower(), ""
    if not re.fullmatch(_HOST, host):
        advice = "write it as xn--..." if not host.isascii() else "it has letters, digits, hyphens and dots"
        raise InvalidError(
            f"Invalid endpoint: {parts.scheme}://{parts.netloc} ({source}): its host is invalid: {advice}"
        )
    path = re.sub("/+", "/", parts.path).rstrip("/")
    if not re.fullmatch(_PATH, path):
        # boto3 encodes other characters, and ends a path at a semicolon; obstore sends some, and fails at others.
        raise InvalidError(
            f"Invalid endpoint: {url} ({source}): its path is invalid: it has ASCII letters, digits, hyphens, dots, "
            "underscores and tildes, and no segment is . or .."
        )
    default = {"http": "80", "https": "443"}[parts.scheme]
    suffix = f":{port}" if port and port != default else ""
    return f"{parts.scheme}://{host}{suffix}{path}"
