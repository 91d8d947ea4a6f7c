"""Behaviour of service.http.patience."""

from service.http.patience import Patience


def test_what_comes_first_is_waited_for_from_the_beginning() -> None:
    """Whatever is looked at later."""
    patience = Patience(100, 10, 60)
    assert not patience.is_over(109.9, 3, is_paused=False)
    assert patience.is_over(110, 3, is_paused=False)


def test_another_wait_has_its_whole_time_from_the_next_look_on() -> None:
    """Also where the one before was nearly over."""
    patience = Patience(100, 10, 60)
    patience.restart()
    assert not patience.is_over(200, 3, is_paused=False)
    assert not patience.is_over(202.9, 3, is_paused=False)
    assert patience.is_over(203, 3, is_paused=False)


def test_while_it_is_paused_no_time_passes() -> None:
    """The client has all of it again behind the pause."""
    patience = Patience(100, 10, 60)
    assert not patience.is_over(200, 3, is_paused=True)
    assert not patience.is_over(202.9, 3, is_paused=False)
    assert patience.is_over(203, 3, is_paused=False)


def test_a_client_that_reads_nothing_is_stuck_after_its_time() -> None:
    """However much more there is for it to read."""
    patience = Patience(100, 10, 60)
    assert not patience.is_stuck(110, 0)
    assert not patience.is_stuck(120, 500)
    assert not patience.is_stuck(170, 700)
    assert patience.is_stuck(171, 700)


def test_a_client_that_reads_a_little_is_not_stuck() -> None:
    """It has its whole time for the next byte."""
    patience = Patience(100, 10, 60)
    assert not patience.is_stuck(120, 500)
    assert not patience.is_stuck(170, 499)
    assert not patience.is_stuck(230, 499)
    assert patience.is_stuck(231, 499)
