"""What the guide says about progress in notebooks, in a real kernel."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ..support.modes import Endpoint

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

CELLS = (
    """
from s3dict import Dict
from tqdm.auto import tqdm
squares = Dict.from_name("squares", create_if_missing=True)
squares.update(tqdm(((n, n * n) for n in range(300)), total=300))
""",
    """
sum(value for _, value in tqdm(squares.items(), total=squares.len()))
""",
    """
await squares.update.aio(tqdm(((n, n) for n in range(100)), total=100))
await squares.len.aio()
""",
)


def executed(cells: tuple[str, ...], variables: dict[str, str]) -> list[Any]:
    """Run the cells in a kernel of its own, and return their outputs."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(notebook, timeout=100, kernel_name="python3")
    client.execute(env=os.environ | variables | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"})
    return [cell["outputs"] for cell in notebook["cells"]]


@pytest.mark.slow
# The kernel and its client have sockets, which pyzmq closes when they are collected.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tqdm_shows_the_progress_of_bulk_calls_and_iterators(seaweedfs: Endpoint) -> None:
    variables = {
        "S3DICT_BUCKET": seaweedfs.bucket,
        "S3DICT_PREFIX": "notebook",
        "S3DICT_ENDPOINT_URL": seaweedfs.url,
    }
    written, read, in_loop = executed(CELLS, variables)
    assert "300/300" in shown(written)
    assert "300/300" in shown(read)
    assert read[-1]["data"]["text/plain"] == "8955050"
    assert "100/100" in shown(in_loop)
    assert in_loop[-1]["data"]["text/plain"] == "300"


def shown(outputs: list[Any]) -> str:
    return "".join(output.get("text", "") + str(output.get("data", {})) for output in outputs)
