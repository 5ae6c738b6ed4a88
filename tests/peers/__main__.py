"""`python -m tests.peers [NAME ...]`: run the tests of other projects over s3dict, and print or write the table."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from s3dict.testing.seaweedfs import LocalServer

from .catalogue import PEERS, Peer
from .report import Row, table, write
from .runs import UnavailableSuiteError, run

BACKENDS = ("memory", "obstore", "boto3")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    chosen = [peer for peer in PEERS if not options.names or peer.name in options.names]
    checkouts = dict(item.split("=", 1) for item in options.checkout)
    rows: list[Row] = []
    with ExitStack() as servers:
        for backend in options.backends:
            environment = servers.enter_context(_environment(backend))
            for peer in chosen:
                row = _run_one(peer, backend, environment, checkouts.get(peer.name), options.timeout)
                print(row.line(), flush=True)
                rows.append(row)
    print(table(rows))
    if options.write:
        write(rows)
    return int(any(row.counts is not None and row.counts.failures for row in rows))


def _run_one(peer: Peer, backend: str, environment: Mapping[str, str], checkout: str | None, seconds: float) -> Row:
    with tempfile.TemporaryDirectory(prefix="s3dict-peer-") as folder:
        settings = {**environment, "S3DICT_PREFIX": f"peer-{uuid4()}"}
        try:
            counts = run(peer, settings, Path(folder), None if checkout is None else Path(checkout), seconds)
        except UnavailableSuiteError as error:
            return Row(peer, backend, None, str(error))
    return Row(peer, backend, counts, "")


@contextmanager
def _environment(backend: str) -> Iterator[Mapping[str, str]]:
    if backend == "memory":
        yield {"S3DICT_DRIVER": "memory", "S3DICT_BUCKET": "peers"}
        return
    with tempfile.TemporaryDirectory(prefix="s3dict-peers-") as folder, LocalServer(Path(folder)) as server:
        yield {**server.environment(), "S3DICT_DRIVER": backend}
        server.kill()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *(peer.name for peer in PEERS)], help="default: all")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument(
        "--checkout", action="append", default=[], metavar="NAME=FOLDER", help="a clone of its repository"
    )
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one suite")
    parser.add_argument("--write", action="store_true", help="write the table into the guide")
    return parser


if __name__ == "__main__":
    sys.exit(main())
