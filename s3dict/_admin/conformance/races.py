"""Checks of concurrent requests: each condition lets one of them succeed, and a read returns one whole version.

A store that checks the condition and writes later passes as long as requests come one by one. The time between the two
is longer for a larger body, so the contenders send small and large ones in turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import repeat

from ...errors import UnavailableError
from .harness import IMPACT, ConformanceError, Feature, Sandbox, expect

CONTENDERS = 16

_SMALL, _LARGE = 64, 32 * 1024
WRITERS = 4
"""Of the contenders, how many write while the others read."""

Attempt = Callable[[int], Awaitable[bool]]


def _body(contender: int, round_number: int) -> bytes:
    return bytes([contender]) * (_LARGE if round_number % 2 else _SMALL)


async def _race(sandbox: Sandbox, attempt: Attempt) -> list[int]:
    """Return the contenders whose request succeeded. One without a response may have won, but cannot know it."""

    async def contend(contender: int) -> tuple[int, bool]:
        try:
            return contender, await attempt(contender)
        except UnavailableError:
            return contender, False

    return [who async for who, won in sandbox.store.runtime.map(contend, range(CONTENDERS), CONTENDERS) if won]


async def _check_winner(sandbox: Sandbox, name: str, winners: Sequence[int], round_number: int) -> None:
    expect(len(winners) <= 1, f"{len(winners)} of {CONTENDERS} concurrent requests succeeded")
    stored = await sandbox.body(name)
    if winners and stored != _body(winners[0], round_number):
        raise ConformanceError("a successful write was overwritten by a concurrent one")


def _summary(sandbox: Sandbox) -> str:
    return f"one of {CONTENDERS} in each of {sandbox.rounds} rounds"


async def _creations(sandbox: Sandbox) -> str:
    for round_number in range(sandbox.rounds):
        name = f"created-{round_number}"
        winners = await _race(sandbox, _putting(sandbox, name, round_number, None))
        await _check_winner(sandbox, name, winners, round_number)
    return _summary(sandbox)


async def _replacements(sandbox: Sandbox) -> str:
    for round_number in range(sandbox.rounds):
        etag = await sandbox.put("replaced", f"version {round_number}".encode())
        winners = await _race(sandbox, _putting(sandbox, "replaced", round_number, etag))
        await _check_winner(sandbox, "replaced", winners, round_number)
    return _summary(sandbox)


def _putting(sandbox: Sandbox, name: str, round_number: int, etag: str | None) -> Attempt:
    return lambda contender: sandbox.impatient.put_if_match(name, _body(contender, round_number), etag)


async def _removals(sandbox: Sandbox) -> str:
    for round_number in range(sandbox.rounds):
        etag = await sandbox.put("removed", f"version {round_number}".encode())
        winners = await _race(sandbox, _deleting(sandbox, "removed", etag))
        expect(len(winners) <= 1, f"{len(winners)} of {CONTENDERS} concurrent deletions succeeded")
    return _summary(sandbox)


def _deleting(sandbox: Sandbox, name: str, etag: str) -> Attempt:
    return lambda _: sandbox.impatient.delete_if_match(name, etag)


async def _replacements_and_removals(sandbox: Sandbox) -> str:
    for round_number in range(sandbox.rounds):
        etag = await sandbox.put("contended", f"version {round_number}".encode())
        putting, deleting = _putting(sandbox, "contended", round_number, etag), _deleting(sandbox, "contended", etag)
        winners = await _race(sandbox, _alternating(putting, deleting))
        if winners and winners[0] % 2:
            expect(len(winners) == 1, f"{len(winners)} of {CONTENDERS} concurrent requests succeeded")
            expect(await sandbox.body("contended") is None, "a deletion succeeded, but the object exists")
        else:
            await _check_winner(sandbox, "contended", winners, round_number)
    return _summary(sandbox)


def _alternating(even: Attempt, odd: Attempt) -> Attempt:
    return lambda contender: (odd if contender % 2 else even)(contender)


async def _whole_objects(sandbox: Sandbox) -> str:
    """Each version is one byte, repeated: a mixture of two versions is detected, and so is a truncated one."""
    await sandbox.put("whole", _body(0, 1))

    async def write_or_read(contender: int) -> bytes | None:
        if contender < WRITERS:
            await sandbox.is_throttled("whole", _body(contender, 1))
            return None
        return await sandbox.body("whole") or b""

    contenders = [number for _ in repeat(None, sandbox.rounds) for number in range(CONTENDERS)]
    async for body in sandbox.store.runtime.map(write_or_read, contenders, CONTENDERS):
        if body is not None and body not in _VERSIONS:
            raise ConformanceError(f"a read during overwrites returned {len(body)} bytes that no request wrote")
    return ""


_VERSIONS = frozenset(_body(writer, 1) for writer in range(WRITERS))
FEATURES = (
    Feature("race of PUT If-None-Match", True, IMPACT, _creations, depends_on="PUT If-None-Match"),
    Feature("race of PUT If-Match", True, IMPACT, _replacements, depends_on="PUT If-Match"),
    Feature(
        "race of DELETE If-Match",
        True,
        "two pops of one entry may both get it",
        _removals,
        depends_on="DELETE If-Match",
    ),
    Feature(
        "race of PUT and DELETE",
        True,
        "a pop may remove what was put concurrently",
        _replacements_and_removals,
        depends_on="DELETE If-Match",
    ),
    Feature("whole objects", True, "a get during a put may raise IntegrityError", _whole_objects),
)
