"""For pickles of 0.1: see `s3dict._legacy`."""

from __future__ import annotations

from s3dict._manager import DictManager

__all__ = ["DictManager"]
