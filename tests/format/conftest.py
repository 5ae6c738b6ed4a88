from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("s3dict", deadline=None)
settings.load_profile("s3dict")

PeakOf = Callable[[Callable[[], object]], int]


@pytest.fixture
def peak_of() -> PeakOf:
    """Run a function; return the bytes in use at its peak beyond those in use before."""

    def measure(function: Callable[[], object]) -> int:
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            function()
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()

    return measure
