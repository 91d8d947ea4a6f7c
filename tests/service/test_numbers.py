"""Behaviour of service.numbers."""

import os
import threading
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.numbers import Numbers, Owner, SharedNumbers

RED, BLUE = Owner("red"), Owner("blue", ("line", "1"))
NOW, LAST = Owner("now"), Owner("last")


def shared(workers: int = 2) -> SharedNumbers:
    """Numbers of several workers."""
    return SharedNumbers(workers, gauges=frozenset({"now"}), latest=frozenset({"last"}))


def in_a_child(work: Callable[[], None]) -> None:
    """Do something in a process that is forked from this one, and wait for its end."""
    process = os.fork()
    if not process:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(process, 0)[1] == 0


def held(numbers: Numbers) -> dict[tuple[Owner, tuple[str, ...]], list[float]]:
    """All that can be read."""
    total = numbers.total(lambda _: True)
    return {(owner, labels): list(cells) for owner in total.owners() for labels, cells in total.of(owner).items()}


@pytest.mark.parametrize("numbers", [Numbers(), shared()])
def test_cells_are_the_same_for_the_same_labels(numbers: Numbers) -> None:
    """They begin at zero, and what is written to them stays."""
    cells = numbers.cells(RED, ("a",), 3)
    assert list(cells) == [0, 0, 0]
    cells[1] += 2
    cells[-1] += 0.5
    numbers.cells(RED, ("b",))[0] += 7
    numbers.cells(BLUE)[0] += 1
    assert numbers.cells(RED, ("a",), 3) is cells
    assert held(numbers) == {(RED, ("a",)): [0, 2, 0.5], (RED, ("b",)): [7], (BLUE, ()): [1]}


def test_workers_are_added_up() -> None:
    """Each counts by itself, in a process of its own; what only one has counted is there too."""
    numbers = shared()
    numbers.cells(RED, ("a",))[0] += 100

    def count(worker: int) -> None:
        numbers.take(worker)
        numbers.cells(RED, ("a",))[0] += 1 + worker
        numbers.cells(BLUE, (str(worker),), 2)[1] += 5

    in_a_child(lambda: count(0))
    in_a_child(lambda: count(1))
    assert held(numbers) == {(RED, ("a",)): [103], (BLUE, ("0",)): [0, 5], (BLUE, ("1",)): [0, 5]}


def test_who_takes_a_place_counts_on() -> None:
    """Nothing is lost with the process that counted it, but what told of its moment; of times the last counts."""
    numbers = shared()

    def count(worker: int, last: float) -> None:
        numbers.take(worker)
        for owner in (RED, NOW):
            numbers.cells(owner)[0] += 3
        numbers.cells(LAST)[0] = last

    for worker, last in ((0, 5), (1, 9), (0, 7)):
        in_a_child(partial(count, worker, last))
    assert held(numbers) == {(RED, ()): [9], (NOW, ()): [6], (LAST, ()): [9]}


def test_only_what_is_wanted_is_added_up() -> None:
    """The rest would take the time of whoever reads."""
    numbers = shared()
    numbers.cells(RED)[0] += 1
    numbers.cells(LAST)[0] += 1
    assert numbers.total(lambda owner: owner == LAST).owners() == [LAST]


def test_what_finds_no_room_is_counted_by_its_worker_alone() -> None:
    """The others, and what was there before, go on."""
    numbers = shared()
    numbers.take(0)
    before = numbers.cells(RED)
    many = numbers.cells(Owner("many"), (), 1 << 20)
    many[0] += 1
    before[0] += 1
    assert (many[0], before[0]) == (1, 1)
    assert held(numbers) == {(RED, ()): [1]}
    for number in range(10_000):
        numbers.cells(Owner("names"), (f"{number:01000}",))[0] += 1
    assert len(numbers.of(Owner("names"))) == 10_000
    assert 5_000 < len(held(numbers)) < 10_000


@settings(max_examples=30, deadline=None)
@given(
    counted=st.lists(
        st.tuples(st.integers(0, 2), st.text(max_size=4), st.lists(st.text(max_size=4), max_size=2), st.integers(1, 9)),
        max_size=20,
    )
)
def test_any_names_are_added_up(counted: list[tuple[int, str, list[str], int]]) -> None:
    """Whatever they are made of."""
    numbers = shared(3)

    def count(worker: int) -> None:
        numbers.take(worker)
        for own, family, labels, more in counted:
            if own == worker:
                numbers.cells(Owner(f"x{family}"), tuple(labels))[0] += more

    for worker in range(3):
        in_a_child(partial(count, worker))
    expected: dict[tuple[Owner, tuple[str, ...]], list[float]] = {}
    for _, family, labels, more in counted:
        key = Owner(f"x{family}"), tuple(labels)
        expected[key] = [expected.get(key, [0])[0] + more]
    assert held(numbers) == expected


def test_threads_count_into_the_same_cells() -> None:
    """Whoever is first makes them; nobody's are lost."""
    numbers = shared()
    numbers.take(0)
    barrier, found = threading.Barrier(8), []

    def look() -> None:
        barrier.wait()
        found.extend([numbers.cells(RED, (str(number),)) for number in range(200)])

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for cells in found:
        cells[0] += 1
    assert held(numbers) == {(RED, (str(number),)): [8] for number in range(200)}
