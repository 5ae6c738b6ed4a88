"""The instructions of a get and a put of 1 KiB, counted by valgrind, so that a busy machine does not change the result.

    python -m tests.benchmarks.cpu_instructions

Each count is the difference between two processes that make a different number of calls against the stub.
"""

from __future__ import annotations

from .cold_start import BUCKET, instructions, run
from .servers import stub_ports

FEW, MANY = 50, 250
RAW = """
import obstore
from obstore.store import S3Store
store = S3Store({bucket!r}, endpoint={endpoint!r}, client_options=dict(allow_http=True))
value = b"v" * 1024
def put(): obstore.put(store, "cpu/key", value)
def get(): return bytes(obstore.get(store, "cpu/key").bytes())
"""
OURS = """
from s3dict import Client, Dict
d = Dict.from_name("cpu", create_if_missing=True, client=Client({bucket!r}, endpoint_url={endpoint!r}))
value = "v" * 1024
def put(): d.put("key", value)
def get(): return d.get("key")
"""
TARGETS = {"get": 1.5, "put": 1.4}


def main() -> None:
    with stub_ports() as ports:
        place = {"bucket": BUCKET, "endpoint": f"http://127.0.0.1:{ports['at_once']}"}
        for operation, target in TARGETS.items():
            ours, raw = (_per_call(program.format(**place), operation) for program in (OURS, RAW))
            verdict = "reached" if ours / raw <= target else "missed"
            print(
                f"{operation}: s3dict {ours:,.0f}, raw obstore {raw:,.0f} instructions, "
                f"ratio {ours / raw:.2f} (target {target}: {verdict})"
            )


def _per_call(program: str, operation: str) -> float:
    def counted(n: int) -> int:
        return instructions(f"{program}\nput()\nfor _ in range({n}): {operation}()")

    run(f"{program}\nput(); {operation}()")
    return (counted(MANY) - counted(FEW)) / (MANY - FEW)


if __name__ == "__main__":
    main()
