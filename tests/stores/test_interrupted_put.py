"""A writer that dies in the middle of a put, between the request's head and its body, leaves what was there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from s3dict import Client, UnavailableError

from ..support.modes import Endpoint, Harness, Mode, client_at
from ..support.retries import quick


class Guillotine:
    """Passes the head of each request on to the server, and then drops both connections."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = parts.hostname or "", parts.port or 80
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://{}:{}".format(*self._listener.getsockname())
        self.passed_on = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, socket.create_connection(self._target) as server:
                    head, _, _ = self._read_head(connection).partition(b"\r\n\r\n")
                    server.sendall(head + b"\r\n\r\n")
                    server.shutdown(socket.SHUT_WR)
                    self.passed_on += head.startswith(b"PUT ")
                    while server.recv(4096):  # what the server does with it, it has done when it answers
                        pass

    def _read_head(self, connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data and (more := connection.recv(4096)):
            data += more
        return data


@pytest.fixture
def guillotine(endpoint: Endpoint) -> Iterator[Guillotine]:
    guillotine = Guillotine(endpoint.url)
    yield guillotine
    guillotine.close()


@pytest.mark.backends("seaweedfs", "seaweedfs-rust")
@pytest.mark.puts_whole_objects
async def test_interrupted_put_keeps_the_old_value(client: Client, mode: Mode, guillotine: Guillotine) -> None:
    d = Harness(client, mode).named("d", create_if_missing=True)
    await d.put("k", "old")
    dying = Harness(client, mode).with_id(d.object_id)
    await dying.hydrate()  # so that nothing but the put meets its end
    loaded, relayed = dying.wrapped._state.loaded, quick(client_at(guillotine.url, client), writes=2)
    dying.wrapped._state.bind(relayed)
    dying.wrapped._state.remember(relayed, loaded)
    with pytest.raises(UnavailableError):
        await dying.put("k", "new")
    assert guillotine.passed_on == 2
    assert await d.get("k") == "old"
