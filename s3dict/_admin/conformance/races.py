"""What a store honours while many ask at once: every condition lets one of them through, and objects stay whole.

A store that looks first and writes afterwards honours each condition as long as requests come one by one. The time
between the two is longer for a larger body, so the contenders send small and large ones in turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import repeat

from ...errors import UnavailableError
from .harness import ConformanceError, Feature, Sandbox, expect

CONTENDERS = 16

_SMALL, _LARGE = 64, 32 * 1024
WRITERS = 4
"""Of the contenders, how many write while the others read."""

Attempt = Callable[[int], Awaitable[bool]]


def _body(contender: int, round_number: int) -> bytes:
    return bytes([contender]) * (_LARGE if round_number % 2 else _SMALL)


async def _race(bench: Sandbox, move: Attempt) -> list[int]:
    """The contenders that were told that they won. One that got no answer may have won, but was not told so."""

    async def contend(contender: int) -> tuple[int, bool]:
        try:
            return contender, await move(contender)
        except UnavailableError:
            return contender, False

    return [who async for who, won in bench.store.runtime.map(contend, range(CONTENDERS), CONTENDERS) if won]


async def _check_winner(bench: Sandbox, name: str, winners: Sequence[int], round_number: int) -> None:
    expect(len(winners) <= 1, f"{len(winners)} of {CONTENDERS} at once were told that they won")
    stored = await bench.body(name)
    if winners and stored != _body(winners[0], round_number):
        raise ConformanceError("one was told that it won, but what another wrote stands there")


def _summary(bench: Sandbox) -> str:
    return f"one of {CONTENDERS} in each of {bench.rounds} rounds"


async def _creations(bench: Sandbox) -> str:
    for round_number in range(bench.rounds):
        name = f"created-{round_number}"
        winners = await _race(bench, _putting(bench, name, round_number, None))
        await _check_winner(bench, name, winners, round_number)
    return _summary(bench)


async def _replacements(bench: Sandbox) -> str:
    for round_number in range(bench.rounds):
        etag = await bench.put("replaced", f"version {round_number}".encode())
        winners = await _race(bench, _putting(bench, "replaced", round_number, etag))
        await _check_winner(bench, "replaced", winners, round_number)
    return _summary(bench)


def _putting(bench: Sandbox, name: str, round_number: int, over: str | None) -> Attempt:
    return lambda contender: bench.put_if_match(name, _body(contender, round_number), over)


async def _removals(bench: Sandbox) -> str:
    for round_number in range(bench.rounds):
        etag = await bench.put("removed", f"version {round_number}".encode())
        winners = await _race(bench, _deleting(bench, "removed", etag))
        expect(len(winners) <= 1, f"{len(winners)} of {CONTENDERS} at once were told that they deleted it")
    return _summary(bench)


def _deleting(bench: Sandbox, name: str, over: str) -> Attempt:
    return lambda _: bench.delete_if_match(name, over)


async def _replacements_and_removals(bench: Sandbox) -> str:
    for round_number in range(bench.rounds):
        etag = await bench.put("contended", f"version {round_number}".encode())
        putting, deleting = _putting(bench, "contended", round_number, etag), _deleting(bench, "contended", etag)
        winners = await _race(bench, _alternating(putting, deleting))
        if winners and winners[0] % 2:
            expect(len(winners) == 1, f"{len(winners)} of {CONTENDERS} at once were told that they won")
            expect(await bench.body("contended") is None, "a deletion was told that it won, but the object is there")
        else:
            await _check_winner(bench, "contended", winners, round_number)
    return _summary(bench)


def _alternating(even: Attempt, odd: Attempt) -> Attempt:
    return lambda contender: (odd if contender % 2 else even)(contender)


async def _whole_objects(bench: Sandbox) -> str:
    """Each version is one byte, repeated: a mixture of two shows, and so does what is cut short."""
    await bench.put("whole", _body(0, 1))

    async def write_or_read(contender: int) -> bytes | None:
        if contender < WRITERS:
            await bench.put("whole", _body(contender, 1))
            return None
        return await bench.body("whole") or b""

    contenders = [number for _ in repeat(None, bench.rounds) for number in range(CONTENDERS)]
    async for body in bench.store.runtime.map(write_or_read, contenders, CONTENDERS):
        if body is not None and body not in _VERSIONS:
            raise ConformanceError(f"a read during overwrites gave {len(body)} bytes that nobody wrote so")
    return ""


_VERSIONS = frozenset(_body(writer, 1) for writer in range(WRITERS))
IMPACT = "nothing that is atomic would be: the store is not fit"

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
        "a pop may remove what was put meanwhile",
        _replacements_and_removals,
        depends_on="DELETE If-Match",
    ),
    Feature("whole objects", True, "a get during a put may raise IntegrityError", _whole_objects),
)
