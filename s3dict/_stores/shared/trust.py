"""Which certificates are trusted, by the rules of botocore, for all drivers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._record import Record
from ...errors import InvalidError


class Trust(Record):
    """The certificates to trust.

    Args:
        verify: Whether certificates are verified.
        bundle: The file of the trusted certificates; None for the system's, and those of certifi.
        source: Where `bundle` was configured.
    """

    verify: bool = True
    bundle: str | None = None
    source: str = ""

    @property
    def botocore_verify(self) -> bool | str:
        """The argument `verify` of a botocore client."""
        return self.bundle or self.verify

    def certificates(self) -> bytes | None:
        """Return the content of the bundle. Raises InvalidError, naming the setting, if it holds no certificate."""
        if self.bundle is None:
            return None
        try:
            with open(self.bundle, "rb") as file:
                content = file.read()
        except OSError as error:
            raise InvalidError(
                f"{self.source} names a file that cannot be read: {self.bundle}: {error.strerror}"
            ) from error
        if b"-----BEGIN CERTIFICATE-----" not in content and b"-----BEGIN TRUSTED CERTIFICATE-----" not in content:
            raise InvalidError(f"{self.source} names a file without a certificate (PEM): {self.bundle}")
        return content

    def holds_certificate_of(self, url: str) -> bool:
        """Return whether a certificate authority in the bundle is the certificate of the server at `url` itself.

        ``openssl req -x509`` makes such certificates. rustls, and so obstore, accepts none, and has no option for it.
        """
        if self.bundle is None or not url.startswith("https:"):
            return False
        from ssl import PROTOCOL_TLS_CLIENT, SSLContext, SSLError
        from urllib.parse import urlsplit

        context, host = SSLContext(PROTOCOL_TLS_CLIENT), urlsplit(url).hostname
        try:
            context.load_verify_locations(self.bundle)
        except SSLError:
            return False
        return any(host in host_names(authority) for authority in context.get_ca_certs())


def host_names(certificate: Mapping[str, Any]) -> set[str]:
    # The value of another kind may be a tuple: a DirName, in a certificate authority that most bundles contain.
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    names += [value for part in certificate["subject"] for kind, value in part if kind == "commonName"]
    return {name.lower() for name in names}


def resolve_trust(verify: bool | str | None, environment: Mapping[str, str], profile_bundle: str | None) -> Trust:
    """Return the trust: of the argument, AWS_CA_BUNDLE, the profile or REQUESTS_CA_BUNDLE, in this order.

    Raises:
        InvalidError: The bundle cannot be read, or holds no certificate.
    """
    if verify is False:
        return Trust(verify=False)
    if verify is True:
        return Trust()
    candidates = (
        (verify if isinstance(verify, str) else None, "Client(verify=...)"),
        (environment.get("AWS_CA_BUNDLE"), "AWS_CA_BUNDLE"),
        (profile_bundle, "ca_bundle in the profile"),
        (environment.get("REQUESTS_CA_BUNDLE"), "REQUESTS_CA_BUNDLE"),
    )
    for bundle, source in candidates:
        if bundle:
            trust = Trust(True, bundle, source)
            trust.certificates()
            return trust
    return Trust()
