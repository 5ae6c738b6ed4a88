"""``python -m tests.compatibility``: which S3 servers s3dict works on, as seen here and now."""

from __future__ import annotations

import argparse
import time

from .results import Result, load, save
from .run import NAMES, tried
from .table import markdown, write_readme


def main() -> int:
    """Return 1 when the library takes a store for what it is not, or a test fails on one that it supports."""
    arguments = _parse()
    results: dict[str, Result] = {}
    missing: dict[str, str] = {}
    for name in arguments.only or NAMES:
        began = time.monotonic()
        try:
            results[name] = tried(name, full=arguments.full)
        except RuntimeError as error:
            print(f"{name}: skipped: {error}", flush=True)
            missing[name] = str(error).partition("\n")[0]
            continue
        _tell(name, results[name], time.monotonic() - began)
        if arguments.write:
            # Here already: an interrupted run leaves what it has found.
            _keep(results, missing)
    print(markdown(results, missing))
    return int(not all(result.is_right for result in results.values()))


def _tell(name: str, result: Result, seconds: float) -> None:
    print(f"{seconds:4.0f} s: {name} {result.version}: {result.verdict}", flush=True)
    for counts in (result.suite, result.races):
        for failed in counts.failed if counts else ():
            print(f"    failed: {failed}", flush=True)


def _keep(results: dict[str, Result], missing: dict[str, str]) -> None:
    known = {**load(), **results}
    ordered = {name: known[name] for name in NAMES if name in known}
    save(ordered)
    write_readme(markdown(ordered, {name: why for name, why in missing.items() if name not in known}))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.compatibility", description=main.__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=NAMES, help="of these servers: %(choices)s")
    parser.add_argument("--full", action="store_true", help="more rounds, and the tests on each server: an hour or two")
    parser.add_argument("--write", action="store_true", help="put the results into tests/compatibility/README.md")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
