"""Behaviour of service.errors."""

import re
from collections.abc import Iterator

import pytest

from service.errors import (
    MAX_FAULTS,
    ElementError,
    Fault,
    ForwardpassError,
    QueueFullError,
    RequestError,
    ShapeError,
    UnavailableError,
    merge,
)


def tree(root: type[ForwardpassError]) -> Iterator[type[ForwardpassError]]:
    """Walk a class and all that inherit from it."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


TREE = [kind for kind in tree(ForwardpassError) if kind.__module__ == "service.errors"]


def test_no_two_errors_share_a_code() -> None:
    """A code leads to one class only."""
    codes = [kind.code for kind in TREE]
    assert sorted(set(codes)) == sorted(codes)


@pytest.mark.parametrize("kind", TREE)
def test_every_error_says_what_it_is(kind: type[ForwardpassError]) -> None:
    """A class has a docstring of its own, a code of small letters and an HTTP status of errors."""
    assert "__doc__" in vars(kind)
    assert (kind.__doc__ or "").strip()
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)
    assert kind.status in range(400, 600)


@pytest.mark.parametrize("kind", TREE)
def test_only_the_callers_faults_are_4xx(kind: type[ForwardpassError]) -> None:
    """A status below 500 means that the request is at fault, and such a request never gets one from 500 on."""
    assert (kind.status < 500) == issubclass(kind, RequestError)


@pytest.mark.parametrize("kind", [kind for kind in TREE if issubclass(kind, UnavailableError)])
def test_whoever_is_turned_away_learns_when_to_come_back(kind: type[UnavailableError]) -> None:
    """An error of the moment is a 503 with a time in seconds, one where nobody knows better."""
    assert kind.status == 503
    assert kind("busy").retry_after == 1.0
    assert kind("busy", 0.25).retry_after == 0.25


def test_an_error_is_its_sentence() -> None:
    """What is printed is the message, and an error may come without faults."""
    error = QueueFullError("too many")
    assert (str(error), error.message, error.faults) == ("too many", "too many", ())


def test_a_fault_is_told_as_a_sentence() -> None:
    """Place, expectation and what came, and the hint behind a semicolon."""
    assert str(Fault("/a/0", "3", "4")) == "/a/0 should be 3, but is 4"
    assert str(Fault("/a/0", "3", "4", "count again")) == "/a/0 should be 3, but is 4; count again"


def test_a_fault_of_the_whole_body_says_so() -> None:
    """The empty pointer is read as the body."""
    assert str(Fault("", "JSON", "empty")) == "the body should be JSON, but is empty"


def test_an_error_at_a_place_has_one_fault() -> None:
    """The sentence of the error is that of its fault."""
    error = ShapeError.at("/a", expected="3", got="4", hint="count again")
    assert isinstance(error, ShapeError)
    assert error.faults == (Fault("/a", "3", "4", "count again"),)
    assert error.message == str(error.faults[0])


def test_a_single_error_merges_into_itself() -> None:
    """Nothing is added to one fault alone."""
    error = ShapeError.at("/a", expected="3", got="4")
    assert merge([error]) is error


def test_merged_errors_keep_every_fault_in_order() -> None:
    """The class and the first sentence are the first error's, and the others are counted."""
    first = ShapeError.at("/a", expected="1", got="2")
    second = ElementError.at("/b", expected="3", got="4")
    third = ShapeError.at("/c", expected="5", got="6")
    both = merge([first, second])
    assert type(both) is ShapeError
    assert both.faults == first.faults + second.faults
    assert both.message == f"{first.message} (and 1 more fault)"
    all_three = merge([both, third])
    assert all_three.faults == first.faults + second.faults + third.faults
    assert all_three.message == f"{first.message} (and 2 more faults)"


def test_a_merged_error_stays_small() -> None:
    """However many faults come together, the first are kept and the rest dropped."""
    errors = [ElementError.at(f"/{index}", expected="1", got="2") for index in range(MAX_FAULTS + 5)]
    merged = merge([merge(errors[:3]), *errors[3:]])
    assert [fault.pointer for fault in merged.faults] == [f"/{index}" for index in range(MAX_FAULTS)]
