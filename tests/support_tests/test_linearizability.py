"""The checker accepts what a register can explain, rejects what it cannot, and says why, in time."""

from __future__ import annotations

import multiprocessing
import operator
import os
import signal
import time
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.support.history import Recorder, load_history
from tests.support.linearizability import (
    ABSENT,
    UNKNOWN,
    Call,
    Contains,
    Entry,
    Get,
    Modify,
    NotLinearizableError,
    Operation,
    Pop,
    Put,
    State,
    Versioned,
    assert_linearizable,
    find_violation,
)

from .simulation import Bug, Simulation

INCREMENT = Modify(partial(operator.add, 1), default=0)
FIRST, SECOND = Versioned("a", 1), Versioned("b", 2)


def op(call: Call, invoked_at: int, returned_at: int | None, result: object = UNKNOWN) -> Operation:
    return Operation("p", "key", call, invoked_at, returned_at, result)


def in_turn(*calls: tuple[Call, object]) -> list[Operation]:
    """Operations that do not overlap."""
    return [op(call, 2 * turn, 2 * turn + 1, result) for turn, (call, result) in enumerate(calls)]


def at_once(*calls: tuple[Call, object]) -> list[Operation]:
    """Operations that all overlap, after everything that is in turn, and before time 2000."""
    return [op(call, 1000 + number, 2000 - number, result) for number, (call, result) in enumerate(calls)]


def is_linearizable(*histories: list[Operation]) -> bool:
    return find_violation(operation for history in histories for operation in history) is None


class TestOneAfterTheOther:
    @pytest.mark.parametrize(
        "history",
        [
            in_turn((Get(), ABSENT), (Contains(), False), (Entry(), ABSENT), (Pop(), ABSENT)),
            in_turn((Put("a"), True), (Get(), "a"), (Contains(), True), (Pop(), "a"), (Get(), ABSENT)),
            in_turn((Put("a"), True), (Put("b"), True), (Get(), "b"), (Put("c", skip_if_exists=True), False)),
            in_turn((Put("a", skip_if_exists=True), True), (Pop(), "a"), (Put("b", skip_if_exists=True), True)),
            in_turn((INCREMENT, 1), (INCREMENT, 2), (Get(), 2), (Modify(operator.neg), -2)),
            in_turn((Modify(operator.neg), ABSENT), (Get(), ABSENT)),
            in_turn((Put("a"), True), (Entry(), FIRST), (Put("b", if_version=1), True), (Entry(), SECOND)),
            in_turn((Put("a"), True), (Entry(), FIRST), (Put("b"), True), (Put("c", if_version=1), False)),
            in_turn((Put("a"), True), (Entry(), FIRST), (Entry(), FIRST), (Get(), "a")),
        ],
    )
    def test_right_results_are_accepted(self, history: list[Operation]) -> None:
        assert_linearizable(history)

    @pytest.mark.parametrize(
        "history",
        [
            pytest.param(in_turn((Put("a"), True), (Put("b"), True), (Get(), "a")), id="stale read"),
            pytest.param(in_turn((Get(), "a")), id="value from nowhere"),
            pytest.param(in_turn((Put("a"), True), (Get(), ABSENT)), id="lost write"),
            pytest.param(in_turn((Put("a"), True), (Contains(), False)), id="lost write, contains"),
            pytest.param(in_turn((Put("a"), True), (Entry(), ABSENT)), id="lost write, entry"),
            pytest.param(in_turn((Put("a"), True), (Pop(), "a"), (Pop(), "a")), id="popped twice"),
            pytest.param(in_turn((Put("a"), True), (Pop(), "a"), (Get(), "a")), id="risen from the dead"),
            pytest.param(in_turn((Put("a", skip_if_exists=True), False)), id="loser without a winner"),
            pytest.param(in_turn((INCREMENT, 1), (INCREMENT, 1)), id="lost update"),
            pytest.param(in_turn((INCREMENT, 1), (INCREMENT, 2), (Get(), 1)), id="lost update, read"),
            pytest.param(in_turn((Put(1), True), (INCREMENT, ABSENT)), id="nothing to modify, though there was"),
            pytest.param(
                in_turn((Put("a", skip_if_exists=True), True), (Put("b", skip_if_exists=True), True)),
                id="two winners",
            ),
            pytest.param(
                in_turn((Put("a"), True), (Entry(), FIRST), (Put("b"), True), (Put("c", if_version=1), True)),
                id="overwritten in spite of its version",
            ),
            pytest.param(
                in_turn((Put("a"), True), (Entry(), FIRST), (Put("b", if_version=1), False)),
                id="refused in spite of its version",
            ),
            pytest.param(
                in_turn((Put("a"), True), (Entry(), FIRST), (Put("a"), True), (Entry(), FIRST)),
                id="a new write with an old version",
            ),
            pytest.param(
                in_turn((Put("a"), True), (Entry(), FIRST), (Entry(), Versioned("a", 2))),
                id="a new version without a write",
            ),
        ],
    )
    def test_anomalies_are_rejected(self, history: list[Operation]) -> None:
        assert not is_linearizable(history)


class TestConcurrent:
    def test_any_order_of_concurrent_operations_will_do(self) -> None:
        writes = at_once((Put("a"), True), (Put("b"), True), (Pop(), "a"), (Get(), "b"))
        assert is_linearizable(writes, [op(Get(), 3000, 3001, ABSENT)])
        assert is_linearizable(writes, [op(Get(), 3000, 3001, "b")])
        assert not is_linearizable(writes, [op(Get(), 3000, 3001, "a")])

    def test_one_of_two_contenders_wins(self) -> None:
        first, second = Put("a", skip_if_exists=True), Put("b", skip_if_exists=True)
        assert is_linearizable(at_once((first, True), (second, False)))
        assert not is_linearizable(at_once((first, True), (second, True)))
        assert not is_linearizable(at_once((first, False), (second, False)))

    def test_one_of_two_pops_returns_the_value(self) -> None:
        start = in_turn((Put("a"), True))
        assert is_linearizable(start, at_once((Pop(), "a"), (Pop(), ABSENT)))
        assert not is_linearizable(start, at_once((Pop(), "a"), (Pop(), "a")))

    def test_increments_do_not_share_a_number(self) -> None:
        assert is_linearizable(at_once((INCREMENT, 2), (INCREMENT, 1), (INCREMENT, 3)))
        assert not is_linearizable(at_once((INCREMENT, 2), (INCREMENT, 1), (INCREMENT, 2)))

    def test_reads_never_go_back(self) -> None:
        write = op(Put("b"), 100, 200, True)
        new, old = op(Get(), 110, 120, "b"), op(Get(), 130, 140, "a")
        assert not is_linearizable(in_turn((Put("a"), True)), [write, new, old])

    def test_operations_that_meet_at_one_instant_are_concurrent(self) -> None:
        assert is_linearizable([op(Get(), 0, 10, "a"), op(Put("a"), 10, 20, True)])


class TestUncertain:
    LOST = op(Put("b"), 5, None)

    @pytest.mark.parametrize("value", ["a", "b"])
    def test_uncertain_write_may_be_applied_or_not(self, value: Hashable) -> None:
        history = in_turn((Put("a"), True))
        assert is_linearizable(history, [self.LOST, op(Get(), 10, 11, value)])

    def test_uncertain_write_may_be_applied_later(self) -> None:
        reads = [op(Get(), 10, 11, "a"), op(Get(), 900, 901, "b")]
        assert is_linearizable(in_turn((Put("a"), True)), [self.LOST, *reads])

    def test_uncertain_write_is_not_applied_before_its_invocation(self) -> None:
        assert not is_linearizable([op(Get(), 1, 2, "b"), self.LOST])

    def test_uncertain_write_is_applied_once(self) -> None:
        reads = in_turn((Put("a"), True)), [op(Get(), 10, 11, "b"), op(Put("c"), 12, 13, True)]
        assert not is_linearizable([self.LOST], *reads, [op(Get(), 14, 15, "b")])

    def test_uncertain_write_keeps_its_condition(self) -> None:
        lost = op(Put("b", skip_if_exists=True), 5, None)
        assert not is_linearizable(in_turn((Put("a"), True)), [lost, op(Get(), 10, 11, "b")])

    def test_pop_may_know_what_it_would_have_popped(self) -> None:
        puts = in_turn((Put("a"), True), (Put("b"), True))
        lost = op(Pop(), 10, None, "a")
        assert is_linearizable(puts, [lost, op(Get(), 11, 12, "b")])
        assert not is_linearizable(puts, [lost, op(Get(), 11, 12, ABSENT)])

    def test_modify_may_have_happened(self) -> None:
        lost = [op(INCREMENT, 5, None), op(INCREMENT, 6, None)]
        assert is_linearizable(in_turn((INCREMENT, 1)), lost, [op(INCREMENT, 10, 11, 4)])
        assert not is_linearizable(in_turn((INCREMENT, 1)), lost, [op(INCREMENT, 10, 11, 5)])

    def test_unfinished_read_constrains_nothing(self) -> None:
        assert is_linearizable([op(Get(), 0, None), op(Get(), 1, 2, ABSENT)])


class TestRepeated:
    """A, then another's B, then A again, while one put of A runs."""

    MIDDLE = (op(Get(), 10, 11, "a"), op(Put("b"), 12, 13, True), op(Get(), 14, 15, "b"))

    def test_put_may_take_effect_again(self) -> None:
        repeated = op(Put("a", may_repeat=True), 0, 100, True)
        assert is_linearizable([repeated, *self.MIDDLE, op(Get(), 16, 17, "a")])
        assert is_linearizable([repeated, *self.MIDDLE, op(Get(), 200, 201, "a")])

    def test_certain_put_is_not_applied_again(self) -> None:
        assert not is_linearizable([op(Put("a"), 0, 100, True), *self.MIDDLE, op(Get(), 16, 17, "a")])

    def test_retried_put_is_not_applied_after_its_return(self) -> None:
        repeated = op(Put("a", may_repeat=True), 0, 100, True)
        assert not is_linearizable([repeated, *self.MIDDLE, op(Get(), 200, 201, "b"), op(Get(), 202, 203, "a")])

    def test_retried_put_does_not_restore_its_version(self) -> None:
        repeated = op(Put("a", may_repeat=True), 0, 100, True)
        seen = [
            op(Entry(), 5, 6, FIRST),
            op(Entry(), 16, 17, FIRST),
            op(Put("c", if_version=1), 18, 19, True),
        ]
        assert not is_linearizable([repeated, *self.MIDDLE, *seen])


class TestAgainstSimulations:
    @pytest.mark.parametrize("seed", range(12))
    def test_right_implementation_is_accepted_in_time(self, seed: int) -> None:
        history = Simulation(seed, processes=4 + seed % 5).run()
        assert_linearizable(history)

    @pytest.mark.parametrize("seed", range(6))
    def test_correct_implementation_with_few_values_is_accepted_in_time(self, seed: int) -> None:
        assert_linearizable(Simulation(seed, values=3).run())

    @pytest.mark.parametrize("bug", ["unconditional", "stale"])
    @pytest.mark.parametrize("seed", range(6))
    def test_wrong_implementation_is_rejected_in_time(self, seed: int, bug: Bug) -> None:
        history = Simulation(seed, bug=bug).run()
        assert find_violation(history) is not None

    def test_brute_force_comes_to_the_same_verdicts(self) -> None:
        histories = list(small_histories(1000))
        expected = [can_be_ordered(enumerate(history), State()) for history in histories]
        assert [is_linearizable(history) for history in histories] == expected
        assert 100 < expected.count(False) < 900, "both verdicts should be common"


def small_histories(number: int) -> Iterator[list[Operation]]:
    """Of few operations, most with one wrong result."""
    for seed in range(number):
        random = Random(seed)
        values = random.choice([None, 2])
        history = Simulation(seed, processes=2, operations=8, uncertain=0.1, repeated=0, values=values).run()
        completed = [each for each in history if each.returned_at is not None]
        for one, other in zip(completed, random.sample(completed, len(completed)), strict=True):
            if type(one.call) is type(other.call) and random.random() < 0.5:
                history[history.index(one)] = replace(one, result=other.result)
        yield [without_repetition(each) for each in history]


def without_repetition(operation: Operation) -> Operation:
    call = operation.call
    return replace(operation, call=replace(call, may_repeat=False)) if isinstance(call, Put) else operation


def can_be_ordered(history: Iterable[tuple[int, Operation]], state: State) -> bool:
    """Try every order."""
    rest = list(history)
    if all(each.returned_at is None for _, each in rest):
        return True
    first_return = min(each.returned_at for _, each in rest if each.returned_at is not None)
    for number, each in rest:
        after = each.call.apply(state, number, each.result) if each.invoked_at <= first_return else None
        if after is not None and can_be_ordered([other for other in rest if other[0] != number], after):
            return True
    return False


class TestExplanation:
    def test_violation_ends_with_the_first_impossible_result(self) -> None:
        history = in_turn((Put("a"), True), (Get(), "a"), (Get(), "b"), (Get(), "c"))
        violation = find_violation(history)
        assert violation is not None
        assert (history[2], tuple(history[:3])) == (violation.impossible, violation.operations)

    def test_violation_report_is_readable(self) -> None:
        lost = Operation("p2", "key", Pop(), 1_000_000, None)
        history = [*in_turn((Put("a", skip_if_exists=True), True)), lost]
        history.append(Operation("p3", "key", Get(), 2_000_000, 3_500_000, "b"))
        with pytest.raises(NotLinearizableError) as raised:
            assert_linearizable(history)
        assert str(raised.value).splitlines() == [
            "Key 'key': no order of these operations explains the one marked by >",
            "       0.000 …      0.000 ms  p: put(value='a', skip_if_exists=True) -> True",
            "       1.000 …          ? ms  p2: pop() -> unknown",
            ">      2.000 …      3.500 ms  p3: get() -> 'b'",
        ]

    def test_violation_report_shows_the_end_of_a_long_history(self) -> None:
        history = in_turn(*[(Put(number), True) for number in range(99)], (Get(), 0))
        with pytest.raises(NotLinearizableError, match="70 before"):
            assert_linearizable(history)

    def test_keys_are_checked_one_by_one(self) -> None:
        right = in_turn((Put("a"), True), (Get(), "a"))
        wrong = [replace(each, key="other") for each in in_turn((Get(), "a"))]
        assert_linearizable(right)
        with pytest.raises(NotLinearizableError, match="Key 'other'"):
            assert_linearizable(right + wrong)


class GaveUpError(Exception):
    pass


def fail(error: Exception) -> None:
    raise error


class TestRecording:
    def test_recorded_history_is_loaded(self, tmp_path: Path) -> None:
        with Recorder(tmp_path, "p1") as recorder, recorder.operation("key", Put("a")) as operation:
            operation.result = True
        with Recorder(tmp_path, "p2") as recorder, recorder.operation("key", Modify(INCREMENT.function)):
            fail(KeyError("key"))
        put, modify = load_history(tmp_path)
        assert (put.process, put.key, put.call, put.result) == ("p1", "key", Put("a"), True)
        assert (modify.process, modify.key, modify.result) == ("p2", "key", ABSENT)
        assert put.returned_at is not None
        assert put.invoked_at <= put.returned_at <= modify.invoked_at

    def test_uncertain_outcome_does_not_return(self, tmp_path: Path) -> None:
        with Recorder(tmp_path, "p", uncertain=(GaveUpError,)) as recorder:
            with recorder.operation("key", Put("a")):
                fail(GaveUpError())
            with recorder.operation("key", Pop()) as operation:
                operation.result = "a"
                fail(GaveUpError())
        history = load_history(tmp_path)
        assert [(each.returned_at, each.result) for each in history] == [(None, UNKNOWN), (None, "a")]

    def test_any_other_error_is_passed_on(self, tmp_path: Path) -> None:
        with (
            Recorder(tmp_path, "p") as recorder,
            pytest.raises(GaveUpError),
            recorder.operation("key", Put("a")),
        ):
            fail(GaveUpError())
        assert [each.returned_at for each in load_history(tmp_path)] == [None]

    def test_unfinished_operations_of_a_killed_process_are_recorded(self, tmp_path: Path) -> None:
        process = multiprocessing.get_context("spawn").Process(target=begin_and_die, args=(tmp_path,))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        history = load_history(tmp_path)
        assert [(each.call, each.result) for each in history] == [(Put("a"), True), (Pop(), UNKNOWN)]
        assert time.monotonic_ns() > history[0].invoked_at


def begin_and_die(directory: Path) -> None:
    recorder = Recorder(directory, "p")
    with recorder.operation("key", Put("a")) as operation:
        operation.result = True
    with recorder.operation("key", Pop()):
        os.kill(os.getpid(), signal.SIGKILL)
