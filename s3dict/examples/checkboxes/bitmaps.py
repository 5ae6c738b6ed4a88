"""Chunks of boxes: bitmaps with a set bit for each checked box. Box 0 is the lowest bit of the first byte."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BOXES_PER_CHUNK", "EMPTY", "count_checked", "is_checked", "with_boxes"]

BOXES_PER_CHUNK = 10_000
EMPTY = bytes(BOXES_PER_CHUNK // 8)


def with_boxes(bitmap: bytes, wanted: Mapping[int, bool]) -> bytes:
    """Return the bitmap with these boxes set to the given state and all others unchanged."""
    changed = bytearray(bitmap)
    for index, checked in wanted.items():
        byte, bit = divmod(index, 8)
        if checked:
            changed[byte] |= 1 << bit
        else:
            changed[byte] &= ~(1 << bit)
    return bytes(changed)


def is_checked(bitmap: bytes, index: int) -> bool:
    byte, bit = divmod(index, 8)
    return bool(bitmap[byte] >> bit & 1)


def count_checked(bitmap: bytes) -> int:
    return int.from_bytes(bitmap, "little").bit_count()
