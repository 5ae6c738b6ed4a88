"""The page, and the WebSocket between it and its server.

The page sends the chunks it shows (``{"show": [0, 1]}``) and its visitor's clicks (``{"box": 7, "checked": true}``).
The server sends chunks, as binary frames of a 4-byte number and a bitmap, followed by a JSON message with the number of
checked boxes and the clicks that were stored or failed. A page retries a click until it is stored.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fasthtml import common as html
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from .bitmaps import BOXES_PER_CHUNK
from .board import Board, Watcher, shared_boxes

__all__ = ["make_app"]

_HERE = Path(__file__).parent
_HEARTBEAT_SECONDS = 5.0
_MAX_CHUNKS_SHOWN = 8
_MAX_IN_FLIGHT = 256

_ICON = (
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><rect width='16' height='16' rx='4'"
    " fill='%236d5bd0'/><path d='M4 8.5 7 11l5-6' fill='none' stroke='white' stroke-width='2'/></svg>"
)
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}


def make_app(boxes: int) -> Any:
    """Return the application for a number of boxes. It serves everything a page needs: nothing comes from a CDN."""

    async def lifespan(app: Any) -> AsyncIterator[None]:
        app.state.board = board = Board(shared_boxes(), boxes)
        polling = asyncio.create_task(board.poll())
        yield
        polling.cancel()

    app: Any = html.FastHTML(
        default_hdrs=False,
        lifespan=lifespan,
        routes=[WebSocketRoute("/live", _live)],
        secret_key=secrets.token_hex(),  # unused here; without it, FastHTML writes a key file
    )
    document = html.to_xml(_page(boxes))

    def page() -> Response:
        return HTMLResponse(document, headers=_HEADERS)

    def style() -> Response:
        return FileResponse(_HERE / "page.css", headers=_HEADERS)

    def script() -> Response:
        return FileResponse(_HERE / "page.js", headers=_HEADERS)

    app.get("/")(page)
    app.get("/page.css")(style)
    app.get("/page.js")(script)
    return app


def _page(boxes: int) -> Any:
    return html.Html(
        html.Head(
            html.Title(f"{boxes:,} checkboxes"),
            html.Meta(charset="utf-8"),
            html.Meta(name="viewport", content="width=device-width, initial-scale=1, viewport-fit=cover"),
            html.Meta(name="color-scheme", content="light dark"),
            html.Link(rel="icon", href=_ICON),
            html.Link(rel="stylesheet", href="/page.css"),
            html.Script(src="/page.js", type="module"),
        ),
        html.Body(_header(boxes), _board(boxes), html.Noscript("This page needs JavaScript.")),
        lang="en",
    )


def _header(boxes: int) -> Any:
    return html.Header(
        html.Div(
            html.H1(f"{boxes:,} checkboxes"),
            html.P(html.Span(id="range"), html.Span(" · shared by all visitors", cls="motto"), cls="quiet"),
            cls="title",
        ),
        html.P(html.Strong("…", id="checked"), " checked", cls="quiet", id="count"),
        html.Form(
            html.Label("Go to box number", fr="number", cls="unseen"),
            html.Input(
                type="number",
                id="number",
                min=1,
                max=boxes,
                required=True,
                inputmode="numeric",
                placeholder="Go to box",
                autocomplete="off",
            ),
            html.Button("Go"),
            id="go",
        ),
        html.P("Connecting", id="state", cls="quiet", role="status", data_state="connecting"),
        html.Div(html.Div(id="share"), cls="progress", aria_hidden="true"),
    )


def _board(boxes: int) -> Any:
    return html.Main(
        html.P("Arrow keys move from box to box, the space bar checks.", id="keys", cls="unseen"),
        html.Div(
            id="board",
            role="group",
            aria_label="Checkboxes",
            aria_describedby="keys",
            data_boxes=boxes,
            data_chunk=BOXES_PER_CHUNK,
        ),
    )


async def _live(socket: WebSocket) -> None:
    if urlsplit(socket.headers.get("origin", "")).netloc != socket.headers.get("host"):
        await socket.close(code=1008, reason="Only pages of this server may connect")
        return
    await socket.accept()
    page = _OpenPage(socket, socket.app.state.board)
    pushing = asyncio.create_task(page.push())
    try:
        await page.receive()
    except (ValueError, KeyError, TypeError):
        await socket.close(code=1003, reason="Invalid message")
    finally:
        pushing.cancel()
        page.leave()


class _OpenPage:
    """The server's side of one WebSocket connection."""

    def __init__(self, socket: WebSocket, board: Board) -> None:
        self._socket = socket
        self._board = board
        self._watcher = Watcher()
        self._in_flight = 0
        self._saved: list[tuple[int, bool]] = []
        self._failed: list[int] = []
        board.watchers.add(self._watcher)

    def leave(self) -> None:
        """Stop notifying the page; its clicks in flight are still written."""
        self._board.watchers.discard(self._watcher)

    async def receive(self) -> None:
        """Handle messages until the page is closed. Raises ValueError, KeyError or TypeError for an invalid one."""
        with suppress(WebSocketDisconnect):
            while True:
                message = json.loads(await self._socket.receive_text())
                if "show" in message:
                    await self._show(message["show"])
                else:
                    await self._set(message["box"], message["checked"])

    async def push(self) -> None:
        """Send changes to the page, and a heartbeat when there are none."""
        with suppress(WebSocketDisconnect, RuntimeError):  # closed concurrently
            while True:
                for chunk in sorted(await self._watcher.changed_chunks(_HEARTBEAT_SECONDS)):
                    await self._socket.send_bytes(chunk.to_bytes(4, "big") + self._board.bitmap(chunk))
                await self._socket.send_json(self._summary())

    def _summary(self) -> dict[str, Any]:
        saved, self._saved = self._saved, []
        failed, self._failed = self._failed, []
        return {
            "checked": self._board.checked,
            "trouble": self._board.is_failing,
            "saved": saved,
            "failed": failed,
        }

    async def _show(self, chunks: list[int]) -> None:
        if len(chunks) > _MAX_CHUNKS_SHOWN or not all(type(chunk) is int for chunk in chunks):
            raise ValueError("invalid chunk numbers")
        await self._board.show(self._watcher, chunks)

    async def _set(self, box: int, checked: bool) -> None:
        if not (type(box) is int and type(checked) is bool and 0 <= box < self._board.boxes):
            raise ValueError("invalid box")
        write = self._board.set(box, checked)
        self._in_flight += 1
        write.add_done_callback(partial(self._finished, box, checked))
        if self._in_flight > _MAX_IN_FLIGHT:
            await asyncio.wait({write})

    def _finished(self, box: int, checked: bool, write: asyncio.Task[None]) -> None:
        self._in_flight -= 1
        if write.cancelled() or write.exception() is not None:
            self._failed.append(box)
        else:
            self._saved.append((box, checked))
        self._watcher.notify()
