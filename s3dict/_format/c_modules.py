"""What hashlib and pickle take from modules in C, without the rest that they load: OpenSSL, and picklers in Python."""

from __future__ import annotations

try:
    from _blake2 import blake2b
    from _pickle import PickleBuffer, dumps, loads
except ImportError:
    from hashlib import blake2b
    from pickle import PickleBuffer, dumps, loads

__all__ = ["PickleBuffer", "blake2b", "dumps", "loads"]
