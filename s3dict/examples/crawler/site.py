"""A generated site on 127.0.0.1 that logs each page it serves."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORKER, CLAIM = "X-Worker", "X-Claim"
"""The request headers that carry a worker's name and the token of its claim."""

_CHILDREN, _OTHER_LINKS = 4, 4


@dataclass(frozen=True, slots=True)
class Served:
    """One page that was served, with the worker and claim that requested it."""

    path: str
    worker: str
    claim: int


class Site:
    """Serve a number of pages, all reachable from ``/0``, while the context is open."""

    def __init__(self, pages: int) -> None:
        self.paths = frozenset(f"/{number}" for number in range(pages))
        self.log: list[Served] = []
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, name="crawler-site", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self._server.server_port

    def page(self, path: str) -> str | None:
        if path not in self.paths:
            return None
        number = int(path[1:])
        links = "".join(f'<li><a href="/{link}">Page {link}</a>' for link in self._links(number))
        return f"<!doctype html><title>Page {number}</title><ul>{links}</ul>"

    def _links(self, number: int) -> Iterator[int]:
        """Yield the page's children in a tree of all pages, and some random others."""
        first = _CHILDREN * number + 1
        yield from range(first, min(first + _CHILDREN, len(self.paths)))
        yield from random.Random(number).choices(range(len(self.paths)), k=_OTHER_LINKS)

    def __enter__(self) -> Site:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # connections of killed workers may stay open

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore the error: a worker was killed before it read the response."""


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet per response; the second of two would wait for an acknowledgement of the first

        def do_GET(self) -> None:
            page = site.page(self.path)
            if page is not None:
                site.log.append(Served(self.path, self.headers[WORKER], int(self.headers[CLAIM])))
            body = (page or "Not found").encode()
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 (its name in the library)
            pass

    return Handler
