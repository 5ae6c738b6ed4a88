"""What a store honours while many ask at once: every condition lets one of them through, and objects stay whole.

A store that looks first and writes afterwards honours each condition as long as requests come one by one. The time
between the two is longer for a larger body, so the contenders send small and large ones in turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import repeat

from ...errors import UnavailableError
from .harness import Bench, Feature, FlawError, require

CONTENDERS = 16

_SMALL, _LARGE = 64, 32 * 1024
_OVERWRITINGS = 4
"""Of the contenders, how many write while the others read."""

_Move = Callable[[int], Awaitable[bool]]


def _body(contender: int, turn: int) -> bytes:
    return bytes([contender]) * (_LARGE if turn % 2 else _SMALL)


async def _race(bench: Bench, move: _Move) -> list[int]:
    """The contenders that were told that they won. One that got no answer may have won, but was not told so."""

    async def contend(contender: int) -> tuple[int, bool]:
        try:
            return contender, await move(contender)
        except UnavailableError:
            return contender, False

    return [who async for who, won in bench.store.map(contend, range(CONTENDERS), CONTENDERS) if won]


async def _settle(bench: Bench, name: str, winners: Sequence[int], turn: int) -> None:
    require(len(winners) <= 1, f"{len(winners)} of {CONTENDERS} at once were told that they won")
    standing = await bench.body(name)
    if winners and standing != _body(winners[0], turn):
        raise FlawError("one was told that it won, but what another wrote stands there")


def _told(bench: Bench) -> str:
    return f"one of {CONTENDERS} in each of {bench.rounds} rounds"


async def _creations(bench: Bench) -> str:
    for turn in range(bench.rounds):
        name = f"created-{turn}"
        winners = await _race(bench, _putting(bench, name, turn, None))
        await _settle(bench, name, winners, turn)
    return _told(bench)


async def _replacements(bench: Bench) -> str:
    for turn in range(bench.rounds):
        etag = await bench.put("replaced", f"version {turn}".encode())
        winners = await _race(bench, _putting(bench, "replaced", turn, etag))
        await _settle(bench, "replaced", winners, turn)
    return _told(bench)


def _putting(bench: Bench, name: str, turn: int, over: str | None) -> _Move:
    return lambda contender: bench.put_over(name, _body(contender, turn), over)


async def _removals(bench: Bench) -> str:
    for turn in range(bench.rounds):
        etag = await bench.put("removed", f"version {turn}".encode())
        winners = await _race(bench, _deleting(bench, "removed", etag))
        require(len(winners) <= 1, f"{len(winners)} of {CONTENDERS} at once were told that they deleted it")
    return _told(bench)


def _deleting(bench: Bench, name: str, over: str) -> _Move:
    return lambda _: bench.delete_over(name, over)


async def _replacements_and_removals(bench: Bench) -> str:
    for turn in range(bench.rounds):
        etag = await bench.put("contended", f"version {turn}".encode())
        putting, deleting = _putting(bench, "contended", turn, etag), _deleting(bench, "contended", etag)
        winners = await _race(bench, _in_turn(putting, deleting))
        if winners and winners[0] % 2:
            require(len(winners) == 1, f"{len(winners)} of {CONTENDERS} at once were told that they won")
            require(await bench.body("contended") is None, "a deletion was told that it won, but the object is there")
        else:
            await _settle(bench, "contended", winners, turn)
    return _told(bench)


def _in_turn(even: _Move, odd: _Move) -> _Move:
    return lambda contender: (odd if contender % 2 else even)(contender)


async def _whole_objects(bench: Bench) -> str:
    """Each version is one byte, repeated: a mixture of two shows, and so does what is cut short."""
    await bench.put("whole", _body(0, 1))

    async def write_or_read(contender: int) -> bytes | None:
        if contender < _OVERWRITINGS:
            await bench.put("whole", _body(contender, 1))
            return None
        return await bench.body("whole") or b""

    contenders = [number for _ in repeat(None, bench.rounds) for number in range(CONTENDERS)]
    async for body in bench.store.map(write_or_read, contenders, CONTENDERS):
        if body is not None and body not in _VERSIONS:
            raise FlawError(f"a read during overwrites gave {len(body)} bytes that nobody wrote so")
    return ""


_VERSIONS = frozenset(_body(writer, 1) for writer in range(_OVERWRITINGS))
_CANNOT = "nothing that is atomic would be: the store is not fit"

FEATURES = (
    Feature("race of PUT If-None-Match", True, _CANNOT, _creations, depends_on="PUT If-None-Match"),
    Feature("race of PUT If-Match", True, _CANNOT, _replacements, depends_on="PUT If-Match"),
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
