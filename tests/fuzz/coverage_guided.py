"""``python -m tests.fuzz.coverage_guided TARGET [PLANT] -- LIBFUZZER…``: atheris on one target, until it breaks."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from importlib import import_module
from typing import Any

atheris: Any = import_module("atheris")  # it has no types

with atheris.instrument_imports(include=["s3dict", "json"]):
    from .fuzz_targets import TARGETS
    from .planted_bugs import PLANTED_BUGS


def main() -> None:
    own, libfuzzer = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    name, *planted = own
    with ExitStack() as stack:
        for plant in planted:
            stack.enter_context(PLANTED_BUGS[plant][1]())
        atheris.Setup([sys.argv[0], *libfuzzer], TARGETS[name].check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
