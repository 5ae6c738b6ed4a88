"""Chunks of boxes: bytes, in which the bit of a checked box is set. The lowest bit of the first byte is box 0."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BOXES_PER_CHUNK", "EMPTY", "count_checked", "is_checked", "with_boxes"]

BOXES_PER_CHUNK = 10_000
EMPTY = bytes(BOXES_PER_CHUNK // 8)


def with_boxes(bitmap: bytes, wanted: Mapping[int, bool]) -> bytes:
    """The bitmap with these boxes checked or not, and the others as they are."""
    changed = bytearray(bitmap)
    for place, checked in wanted.items():
        byte, bit = divmod(place, 8)
        if checked:
            changed[byte] |= 1 << bit
        else:
            changed[byte] &= ~(1 << bit)
    return bytes(changed)


def is_checked(bitmap: bytes, place: int) -> bool:
    byte, bit = divmod(place, 8)
    return bool(bitmap[byte] >> bit & 1)


def count_checked(bitmap: bytes) -> int:
    return int.from_bytes(bitmap, "little").bit_count()
