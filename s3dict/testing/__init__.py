"""Testing what is built on s3dict: a clock that can be moved and faults that can be injected.

The pytest plugin's fixtures give the clients: ``s3dict_client``, and ``s3dict_memory_client`` where `Clock` or `faults`
is needed.
"""

from __future__ import annotations

from .clock import Clock
from .faults import Fault, faults

__all__ = ["Clock", "Fault", "faults"]
