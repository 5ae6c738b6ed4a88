"""A FastMCP server whose tools remember in a Dict.

Run it with ``python -m s3dict.examples.mcp_server --port 8000``, and once more on another port with the same
``S3DICT_*`` variables: both know the same notes.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from .bucket import example_bucket

try:
    from fastmcp import FastMCP

    from ..integrations.py_key_value import S3DictStore
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is not installed: pip install 's3-shared-dict[frameworks,local]'")

server = FastMCP("notes")
store = S3DictStore(name_prefix="mcp-")


@server.tool
async def remember(name: str, text: str) -> str:
    """Store a note for a week."""
    await store.put(name, {"text": text}, collection="notes", ttl=7 * 86400)
    return f"remembered {name}"


@server.tool
async def recall(name: str) -> str:
    """Return a note."""
    note = await store.get(name, collection="notes")
    return "unknown" if note is None else str(note["text"])


if __name__ == "__main__":
    parser = ArgumentParser(description="An MCP server whose notes are in a Dict")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    with example_bucket() as bucket:
        print(f"http://127.0.0.1:{port}/mcp over {bucket}", flush=True)
        server.run(transport="http", host="127.0.0.1", port=port, show_banner=False)
