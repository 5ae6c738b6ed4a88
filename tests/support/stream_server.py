"""A TCP server in its own thread, for proxies."""

from __future__ import annotations

import asyncio
import socket
import threading
from asyncio import StreamReader, StreamWriter
from typing import Self

__all__ = ["STREAM_LIMIT", "StreamServer"]

STREAM_LIMIT = 1 << 20
"""The most bytes of a request line, a header or a chunk's size."""


class StreamServer:
    """Serves on a free port of 127.0.0.1, in its own thread, until it is closed.

    A subclass says in `_converse` how it serves a connection, and calls this constructor last: it starts to serve.
    """

    def __init__(self, name: str) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted connections inherit it
        self.url = "http://{}:{}".format(*self._listener.getsockname())
        self._loop = asyncio.new_event_loop()
        self._closed = asyncio.Event()
        self._conversations: dict[asyncio.Task[None], StreamWriter] = {}
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop every connection, whatever is in flight on it."""
        self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join()

    async def _converse(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve one client connection to its end."""
        raise NotImplementedError

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, sock=self._listener, limit=STREAM_LIMIT)
        await self._closed.wait()
        while accepting := asyncio.all_tasks() - {asyncio.current_task(), *self._conversations}:
            await asyncio.wait(accepting)  # asyncio's own: cancelled, they would leave sockets open
        server.close()
        for conversation, writer in self._conversations.items():
            writer.transport.abort()  # here, since a conversation that has not begun cannot do it
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        conversation = self._loop.create_task(self._converse(reader, writer))
        self._conversations[conversation] = writer
        conversation.add_done_callback(self._conversations.pop)
