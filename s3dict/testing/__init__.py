"""For tests of what is built on s3dict: a clock to move, faults to inject, and what every store must do.

The pytest plugin's fixtures give the clients: ``s3dict_client``, and ``s3dict_memory_client`` where `Clock` or `faults`
is needed.
"""

from __future__ import annotations

from tests.stores.contract import AsyncStoreContract, StoreContract

from .clock import Clock
from .faults import Fault, faults

__all__ = ["AsyncStoreContract", "Clock", "Fault", "StoreContract", "faults"]
