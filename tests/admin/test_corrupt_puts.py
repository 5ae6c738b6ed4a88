"""Puts that are damaged on purpose: what proves nothing about the store is not taken for its word."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from s3dict import Client, UnavailableError
from s3dict._admin.conformance import suite
from s3dict._admin.conformance.corrupt_puts import CorruptPuts
from s3dict._admin.conformance.suite import FEATURES, Outcome, run_suite
from s3dict._stores.shared.threads import run_blocking

from ..support.faulty_server import MisbehavingServer
from ..support.proxy import Fault, FaultKind, Proxy


def damaged_puts(url: str) -> CorruptPuts:
    puts = CorruptPuts.of(Client("b", endpoint_url=url, driver="boto3"))
    assert puts is not None
    return puts


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as misbehaving:
        boto3.client("s3", endpoint_url=misbehaving.url).create_bucket(Bucket="b")
        yield misbehaving


@pytest.mark.parametrize("kind", ["slow-down", "internal-error", "lost-request"])
def test_corrupt_put_without_response_is_not_a_rejection(server: MisbehavingServer, kind: FaultKind) -> None:
    with Proxy(server.url) as proxy:
        puts = damaged_puts(proxy.url)
        for put in (puts.put_with_wrong_md5, puts.put_with_wrong_sha256):
            proxy.script(Fault(kind, "PutObject"))
            with pytest.raises(UnavailableError):
                run_blocking(put("k", b"damaged"))


def test_put_that_never_connected_was_not_interrupted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        url = f"http://127.0.0.1:{closing.getsockname()[1]}"
    with pytest.raises(UnavailableError):
        run_blocking(damaged_puts(url).put_truncated("k", bytes(10_000)))


def test_interrupted_put_is_skipped_behind_a_proxy(server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "FEATURES", [feature for feature in FEATURES if feature.name == "whole puts"])
    client = Client("b", endpoint_url=server.url, driver="boto3")
    store, puts = client._store(aio=False), damaged_puts("http://store.example")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:8080")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    [finding] = run_blocking(run_suite(store, "scratch", puts, rounds=1))
    assert (finding.verdict, finding.detail) == (Outcome.SKIPPED, "the store is reached through a proxy")
    assert damaged_puts(server.url).why_not_truncated() == ""


def certified(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a private authority")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    signed = made.add_extension(address, critical=False).sign(key, hashes.SHA256())
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
    return certificate, secret


class Listener:
    """Takes all that is sent to it through TLS, and answers nothing."""

    def __init__(self, certificate: Path, secret: Path) -> None:
        self.received = b""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, secret)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def _receive(self) -> None:
        connection, _ = self._listening.accept()
        with connection, suppress(OSError), self._context.wrap_socket(connection, server_side=True) as opened:
            while part := opened.recv(4096):
                self.received += part

    def close(self) -> None:
        self._thread.join()
        self._listening.close()


@pytest.mark.parametrize("trusted", [True, False])
def test_interrupted_put_trusts_a_configured_private_ca(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    certificate, secret = certified(tmp_path)
    if trusted:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    listener = Listener(certificate, secret)
    putting = damaged_puts(listener.url).put_truncated("k", bytes(10_000))
    try:
        if trusted:
            run_blocking(putting)
        else:
            with pytest.raises(UnavailableError, match="certificate"):
                run_blocking(putting)
    finally:
        listener.close()
    head, _, body = listener.received.partition(b"\r\n\r\n")
    assert (head.startswith(b"PUT /b/k HTTP/1.1\r\n"), len(body)) == (trusted, 5000 if trusted else 0)
