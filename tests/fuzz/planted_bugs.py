"""Mistakes to plant in the library, so that it can be seen that they are found."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest import mock

from s3dict._format import entry


class _Anything(bytes):
    """Equal to whatever it is compared with."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


def _unpickled_first(data: Any, signer: entry.EntrySigner, *expected: Any) -> entry.EntryBody | None:
    body = entry.unpack(data, replace(signer, keys=()))
    if body is not None and body.header.codec == "cloudpickle":
        pickle.loads(body.segments[0])
    return entry.unpack(data, signer, *expected)


PLANTED_BUGS: dict[str, tuple[str, Callable[[], AbstractContextManager[Any]]]] = {
    "checksum-off": ("entry", lambda: mock.patch("s3dict._format.entry._crc32", return_value=_Anything())),
    "signature-off": ("signed entry", lambda: mock.patch("s3dict._format.entry.EntrySigner.verify", return_value=None)),
    "signature-after-unpickling": (
        "value with signing keys",
        lambda: mock.patch("s3dict._core.entry_codec.unpack", _unpickled_first),
    ),
    "any-spelling": ("key", lambda: mock.patch("s3dict._format.keys.KeyCodec._canonical", return_value=_Anything())),
}
"""Each with the target that has to find it."""
