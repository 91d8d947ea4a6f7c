"""Behaviour of service.batching.blame."""

import logging
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.blame import Part, attempt, isolate
from service.errors import ComputeError, ForwardpassError, InternalError

POISON = -1

Numbers = list[int]


class Model:
    """A model that doubles numbers, counts its runs and fails on `POISON`."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, parts: Sequence[Part[Numbers]]) -> list[Numbers]:
        """Double each part's rows."""
        self.runs += 1
        rows = [numbers[start:stop] for numbers, start, stop in parts]
        if any(POISON in own for own in rows):
            raise ComputeError(f"poison in {rows}")
        return [[2 * number for number in own] for own in rows]


def whole(*payloads: Numbers) -> list[Part[Numbers]]:
    """Parts with all rows of each payload."""
    return [(numbers, 0, len(numbers)) for numbers in payloads]


def results(model: Model, parts: Sequence[Part[Numbers]]) -> Sequence[Numbers | ForwardpassError]:
    """What each part gets."""
    outcome = attempt(model.run, parts)
    return isolate(model.run, parts, outcome) if isinstance(outcome, ForwardpassError) else outcome


def test_a_sound_batch_is_one_run() -> None:
    """Nothing is computed twice where nothing fails."""
    model = Model()
    assert results(model, whole([1, 2], [3])) == [[2, 4], [6]]
    assert model.runs == 1


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=300), data=st.data())
def test_one_culprit_fails_alone(sizes: list[int], data: st.DataObject) -> None:
    """Its neighbours have their results, it has the error of its own rows; in 2 * log2(rows) + 2 more runs at most."""
    payloads = [[0] * size for size in sizes]
    culprit = data.draw(st.integers(0, len(sizes) - 1))
    payloads[culprit][-1] = POISON
    model = Model()
    outcomes = results(model, whole(*payloads))
    for index, (numbers, outcome) in enumerate(zip(payloads, outcomes, strict=True)):
        if index == culprit:
            assert isinstance(outcome, ComputeError)
            assert str([numbers]) in outcome.message
        else:
            assert outcome == numbers
    assert model.runs - 1 <= 2 * math.log2(sum(sizes)) + 2


@given(payloads=st.lists(st.lists(st.integers(POISON, 3), min_size=1, max_size=5), min_size=1, max_size=100))
def test_many_culprits_cost_no_more_runs_than_one(payloads: list[Numbers]) -> None:
    """Each culprit has an error, each other its own results or the error of a run that it was in with a culprit."""
    model = Model()
    outcomes = results(model, whole(*payloads))
    for numbers, outcome in zip(payloads, outcomes, strict=True):
        if isinstance(outcome, ForwardpassError):
            assert isinstance(outcome, ComputeError)
            assert str(POISON) in outcome.message
            assert str(numbers) in outcome.message
        else:
            assert outcome == [2 * number for number in numbers]
            assert POISON not in numbers
    assert model.runs - 1 <= 2 * math.log2(sum(map(len, payloads))) + 2


def test_of_several_culprits_the_widest_group_is_halved_first() -> None:
    """So that where the runs do not suffice, nobody shares an error with a half that was never looked into."""
    payloads = [[POISON] if index in {0, 8, 15} else [0] for index in range(16)]
    outcomes = results(Model(), whole(*payloads))
    assert [index for index, one in enumerate(outcomes) if one != [0]] == [0, 1, 8, 9, 12, 13, 14, 15]


def test_the_runs_that_blame_may_take_are_by_rows() -> None:
    """A few large requests of which most are to blame are told apart to the last."""
    payloads = [[POISON] * 10 if index % 2 == 0 else [1] * 10 for index in range(5)]
    outcomes = results(Model(), whole(*payloads))
    assert [index for index, one in enumerate(outcomes) if one == [2] * 10] == [1, 3]


def test_only_the_rows_of_a_part_are_its_own() -> None:
    """A request is not to blame in this batch for a row that leaves in another."""
    model = Model()
    parts = [([POISON, 1, 2], 1, 3), ([3], 0, 1), ([4, POISON], 0, 2)]
    first, second, third = results(model, parts)
    assert (first, second) == ([2, 4], [6])
    assert isinstance(third, ComputeError)


def test_a_batch_that_is_only_too_large_is_answered_in_halves() -> None:
    """A failure that is no part's own, such as memory for so many rows, is nobody's error."""

    def run(parts: Sequence[Part[Numbers]]) -> list[Numbers]:
        if len(parts) > 2:
            raise ComputeError("too large")
        return [numbers for numbers, _, _ in parts]

    parts = whole([1], [2], [3], [4])
    outcome = attempt(run, parts)
    assert isinstance(outcome, ComputeError)
    assert isolate(run, parts, outcome) == [[1], [2], [3], [4]]


def test_a_fault_of_our_own_is_told_once_and_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a run raises that is not onnxruntime's failure is all its parts' error, explained in the log only."""
    runs = []

    def run(parts: Sequence[Part[Numbers]]) -> list[Numbers]:
        runs.append(parts)
        raise IndexError("the innards")

    parts = whole([1], [2])
    outcome = attempt(run, parts)
    assert isinstance(outcome, InternalError)
    assert isolate(run, parts, outcome) == [outcome, outcome]
    assert "innards" not in outcome.message
    assert "its log says why" in outcome.message
    assert (len(runs), len(caplog.records)) == (1, 1)
    assert "innards" in caplog.text


def test_a_run_that_loses_a_result_is_a_fault_of_our_own(caplog: pytest.LogCaptureFixture) -> None:
    """Better no answer than a neighbour's."""

    def run(parts: Sequence[Part[Numbers]]) -> list[Numbers]:
        return [numbers for numbers, _, _ in parts[1:]]

    assert isinstance(attempt(run, whole([1], [2])), InternalError)
    assert "2 requests has 1 results" in caplog.text


def test_the_log_says_once_what_failed(caplog: pytest.LogCaptureFixture) -> None:
    """With the rows, the requests and those of them that failed, however many runs it took."""
    results(Model(), whole([1, 2], [POISON], [3], [4]))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "a batch of 5 rows failed, by 1 of its 4 requests: poison in" in record.message
