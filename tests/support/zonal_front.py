"""The host names of AWS on loopback: a proxy that ends TLS for the endpoints of directory buckets.

    with ZonalFront(server.url, tmp_path) as front:
        monkeypatch.setenv("HTTPS_PROXY", front.url)
        client = Client("dicts--use1-az4--x-s3", region_name="us-east-1", verify=str(front.authority))

Clients connect through it (CONNECT) to any host of `HOSTS`, with certificates of an authority of its own, and what they
send goes to the one server.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from .http_wire import read_request, read_response, write_message
from .stream_server import STREAM_LIMIT, StreamServer

__all__ = ["HOSTS", "ZonalFront"]

HOSTS = ("*.s3express-use1-az4.us-east-1.amazonaws.com", "s3express-control.us-east-1.amazonaws.com")


class ZonalFront(StreamServer):
    """Ends TLS, and passes requests on to a server.

    Args:
        target: The URL of the server.
        directory: Where the certificates are written.
    """

    def __init__(self, target: str, directory: Path) -> None:
        self.authority = _make_certificates(directory)
        self.hosts: list[str] = []
        """The hosts that clients have connected to, with the port."""
        self._target = urlsplit(target)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(directory / "front.pem", directory / "front.key")
        super().__init__(f"front of {target}")

    async def _converse(self, reader: StreamReader, writer: StreamWriter) -> None:
        upstream: StreamWriter | None = None
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.hosts.append(request.split()[1].decode())
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.start_tls(self._context)
            up_reader, upstream = await asyncio.open_connection(
                self._target.hostname, self._target.port, limit=STREAM_LIMIT
            )
            while True:
                call = await read_request(reader, writer)
                await write_message(upstream, call)
                answer, reusable = await read_response(up_reader, call.method)
                await write_message(writer, answer.without_body() if call.method == "HEAD" else answer)
                if not reusable or (call.header("connection") or "").lower() == "close":
                    return
        except (OSError, IncompleteReadError):
            pass  # one side hung up
        finally:
            for side in (writer, upstream):
                if side is not None:
                    with suppress(OSError):
                        side.close()


def _make_certificates(directory: Path) -> Path:
    """Write the authority's certificate, and the front's, and return the path of the first."""
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9"
    names = ",".join(f"DNS:{host}" for host in HOSTS)
    for command in (
        f"req -x509 {key} -keyout authority.key -out authority.pem -subj /CN=authority",
        f"req {key} -keyout front.key -out front.csr -subj /CN=front -addext subjectAltName={names}"
        " -addext basicConstraints=CA:FALSE",
        "x509 -req -in front.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 9"
        " -copy_extensions copy -out front.pem",
    ):
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True, cwd=directory)
    return directory / "authority.pem"
