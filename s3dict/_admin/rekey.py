"""Signing the entries of a dict with the newest key, without unpickling any of them.

An entry is rewritten from its bytes, on the condition that it has not changed: a concurrent write is kept, with the
signature of its writer. Whatever is signed with the newest key is skipped, so an interrupted run is simply repeated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .._core.conditional import Applied, WriteIds, conditional_put, get_object
from .._core.entries import Entries
from .._core.iteration import HEADER_READ_BYTES, map_entries
from .._dict import Dict
from .._format.entry import (
    MAX_PRELUDE_BYTES,
    WRITE_ID_BYTES,
    EntryBody,
    EntrySigner,
    pack,
    read_header,
    read_prelude,
)
from .._record import replace
from .._stores.base import ObjectMeta, StoredObject
from .._stores.shared.threads import iterate_blocking, run_blocking
from ..errors import IntegrityError, InvalidError

__all__ = ["KeyState", "Rekeyed", "rekey"]

MAX_CONFLICTS = 5
"""How many concurrent writes of one entry are followed in one run; another run follows those after them."""


class KeyState(Enum):
    """By which key an entry was signed when it was read."""

    NEWEST = "newest key"
    OLDER = "older key"
    UNSIGNED = "unsigned"
    UNKNOWN = "unknown key"
    """Signed with none of the keys, or altered."""


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """An entry that was examined, and whether it was signed again.

    Args:
        path: The object's name.
        state: By which key it was signed.
        signed: Whether it is signed with the newest key now, by this run.
    """

    path: str
    state: KeyState
    signed: bool = False


def rekey(handle: Dict[Any, Any], *, dry_run: bool = False, sign_unsigned: bool = False) -> Iterator[Rekeyed]:
    """Sign all entries with the first signing key of the handle's client; yield each as it is done.

    Expired entries are left out. Signing an entry writes it, so its version changes and its ttl starts again; an expiry
    of its own is kept. A value is never deserialized.

    Args:
        handle: The dict.
        dry_run: Examine the entries, and write nothing.
        sign_unsigned: Also sign entries without a signature, which any process with write access may have written.

    Raises:
        InvalidError: The client has no signing keys.

    Requests: a listing, 1 for each entry, and for each that is signed 2 more.
    """
    if not handle.client._signing_keys:
        raise InvalidError("There is no key to sign with: set S3DICT_SIGNING_KEYS, or pass signing_keys to the client")
    entries = run_blocking(handle._open()).paced()

    async def examine(line: ObjectMeta) -> Rekeyed | None:
        with entries.error_context():
            try:
                return await _rekey_entry(entries, line.path, dry_run, sign_unsigned)
            except IntegrityError:
                # Also where the header is signed, and the payload is not the one that was signed with it.
                return Rekeyed(line.path, KeyState.UNKNOWN)

    return iterate_blocking(map_entries(entries, examine))


async def _rekey_entry(entries: Entries, path: str, dry_run: bool, sign_unsigned: bool) -> Rekeyed | None:
    """Examine an entry, and sign it where that is asked for; None where it has been removed or has expired."""
    state = KeyState.NEWEST
    for _ in range(MAX_CONFLICTS):
        first = await get_object(entries.store, path, HEADER_READ_BYTES)
        if first is None or read_prelude(first.body).is_tombstone or entries.expiry.is_expired(first):
            return None
        state = _state_of(entries, first, path)
        to_sign = state is KeyState.OLDER or (state is KeyState.UNSIGNED and sign_unsigned)
        if dry_run or not to_sign:
            return Rekeyed(path, state)
        if await _sign(entries, path, first.etag, with_keys=state is KeyState.OLDER):
            return Rekeyed(path, state, signed=True)
        # Another process wrote or removed it between the requests: examine what is stored now.
    return Rekeyed(path, state)


def _state_of(entries: Entries, first: StoredObject, path: str) -> KeyState:
    """Return the key by which the header was signed. One that is longer than what was read counts as unknown."""
    prelude, signer = read_prelude(first.body), entries.codec.signer
    for state, keys in ((KeyState.NEWEST, signer.keys[:1]), (KeyState.OLDER, signer.keys), (KeyState.UNSIGNED, ())):
        try:
            header = read_header(first.body, prelude, replace(signer, keys=keys))
            entries.codec.verify_name(header, entries.object_name(path))
        except IntegrityError:
            continue
        # A signed header has a digest of the payload: without one it has never been signed.
        return KeyState.UNKNOWN if state is KeyState.UNSIGNED and header.digest else state
    return KeyState.UNKNOWN


async def _sign(entries: Entries, path: str, etag: str, *, with_keys: bool) -> bool:
    """Write the entry again with a signature of the newest key; return False if it is no longer the one that was read.

    Two requests: the whole entry is read, and checked again with its payload, before it is signed.
    """
    found = await get_object(entries.store, path)
    if found is None or found.etag != etag:
        return False
    signer = entries.codec.signer
    codec = entries.codec if with_keys else replace(entries.codec, signer=replace(signer, keys=()))
    body = codec.decode(found.body)
    if body is None:
        return False
    write_id = os.urandom(WRITE_ID_BYTES)
    signed = _packed(body, write_id, signer, found)
    outcome = await conditional_put(
        entries.store,
        path,
        signed,
        WriteIds(write_id, body.write_id, prefix_bytes=MAX_PRELUDE_BYTES),
        if_match=entries.capabilities.if_match(found.etag),
    )
    return isinstance(outcome, Applied)


def _packed(body: EntryBody, write_id: bytes, signer: EntrySigner, found: StoredObject) -> bytes:
    # A relative ttl would start again: its deadline is kept instead.
    expiry = None if body.expiry is None else body.expiry.fixed(found.last_modified)
    return pack(write_id, body.header.key, body.header.codec, body.segments, signer, expiry)
