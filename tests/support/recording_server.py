"""An HTTP server on the loopback interface that records requests; a function makes its responses."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Response = tuple[int, Mapping[str, str | None], bytes]
"""Status, headers and body. A header that is None is left out, also one that is sent otherwise."""


@dataclass
class Recorded:
    method: str
    path: str
    headers: dict[str, str]
    """Names are in lower case."""


@dataclass
class RecordingServer:
    url: str
    requests: list[Recorded] = field(default_factory=list)


def error(status: int, code: str, message: str = "", **headers: str) -> Response:
    return status, headers, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def not_found(_: Recorded) -> Response:
    return error(404, "NoSuchKey")


@contextmanager
def recording_server(
    respond: Callable[[Recorded], Response] = not_found,
    certificate: tuple[str, str] | None = None,
    host: str = "127.0.0.1",
    client_authority: str | None = None,
) -> Iterator[RecordingServer]:
    """Start a server; with TLS if there is a certificate (the files of certificate and key).

    With `client_authority` (a file of certificates), it accepts no client without a certificate.
    """
    recorded: list[Recorded] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # a body would wait 40 ms for the acknowledgement of its headers

        def log_message(self, format: str, *_: Any) -> None:  # noqa: A002 (its name)
            pass

        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            recorded.append(Recorded(self.command, self.path, headers))
            status, more, body = respond(recorded[-1])
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **more}.items():
                if value is not None:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

    for method in ("GET", "PUT", "HEAD", "POST", "DELETE", "CONNECT"):
        setattr(Handler, f"do_{method}", Handler.handle_any)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    with Server((host, 0), Handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            if client_authority is not None:
                context.load_verify_locations(client_authority)
                context.verify_mode = ssl.CERT_REQUIRED
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        scheme = "http" if certificate is None else "https"
        try:
            yield RecordingServer(f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.server_port}", recorded)
        finally:
            server.shutdown()
            thread.join()
