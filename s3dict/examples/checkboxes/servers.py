"""The server processes: each listens on its own port and is restarted when it is killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

import uvicorn

from s3dict import Error, InvalidError

__all__ = ["listen", "run_servers"]

_RESTART_SECONDS = 0.5
_STOP_SECONDS = 5.0
# The largest WebSocket message that a page may send, in bytes.
_MAX_MESSAGE_BYTES = 1024

# A forked child would keep its siblings' sockets and the parent's connections.
_processes = multiprocessing.get_context("spawn")


def listen(host: str, first_port: int, servers: int) -> list[socket.socket]:
    """Return listening sockets on consecutive ports, or on free ports if `first_port` is 0.

    They stay open in this process while a server is restarted, so browsers that connect in between wait.

    Raises:
        InvalidError: A port is in use.
    """
    with ExitStack() as opened:
        ports = [first_port + number if first_port else 0 for number in range(servers)]
        sockets = [opened.enter_context(_listening(host, port)) for port in ports]
        opened.pop_all()
    return sockets


def run_servers(sockets: Sequence[socket.socket], boxes: int) -> None:
    """Serve the boxes on each of the sockets until Ctrl-C. Raises Error if a server exits by itself."""
    servers = [_start(listening, boxes) for listening in sockets]
    try:
        while True:
            wait([server.sentinel for server in servers])
            time.sleep(_RESTART_SECONDS)
            servers = [
                server if server.exitcode is None else _restart(server, listening, boxes)
                for server, listening in zip(servers, sockets, strict=True)
            ]
    except KeyboardInterrupt:
        print("Stopping.", flush=True)
    finally:
        _stop(servers)


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=128)
    except (OSError, OverflowError) as error:
        raise InvalidError(f"Cannot listen on {host}:{port}: {error}. Choose another --port.") from None


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{host}:{port}"


def _start(listening: socket.socket, boxes: int) -> SpawnProcess:
    process = _processes.Process(target=_serve, args=(listening, boxes))
    process.start()
    print(f"{_url(listening)} is served by process {process.pid}", flush=True)
    return process


def _restart(exited: SpawnProcess, listening: socket.socket, boxes: int) -> SpawnProcess:
    assert exited.exitcode is not None
    if exited.exitcode >= 0:  # it was not killed, so a new process would exit in the same way
        raise Error(f"The server at {_url(listening)} has exited")
    return _start(listening, boxes)


def _stop(servers: Sequence[SpawnProcess]) -> None:
    for server in servers:
        server.terminate()
    for server in servers:
        server.join(_STOP_SECONDS)
        server.kill()


def _serve(listening: socket.socket, boxes: int) -> None:
    from .web import make_app

    config = uvicorn.Config(
        make_app(boxes),
        log_level="warning",
        timeout_graceful_shutdown=1,
        ws="websockets-sansio",
        ws_max_size=_MAX_MESSAGE_BYTES,
    )
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve_while_parent_lives(uvicorn.Server(config), listening))


async def _serve_while_parent_lives(server: uvicorn.Server, listening: socket.socket) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_reader(parent.sentinel)
        server.should_exit = True

    loop.add_reader(parent.sentinel, stop)
    await server.serve(sockets=[listening])
