"""The statuses with which a process ends."""

import os
import signal
from types import FrameType
from typing import NoReturn

SUCCESS, FAILURE, USAGE = 0, 1, 2
REJECTED = 3
"""Done, but not for all rows of a file."""
SIGNALLED = 128
"""What is added to a signal's number to make an exit status of it."""


def status_after(number: int) -> int:
    """The status of a server that a signal asked to stop: success after SIGTERM, which asks for just that."""
    return SUCCESS if number == signal.SIGTERM else SIGNALLED + number


def exit_at_once(number: int, _frame: FrameType | None) -> NoReturn:
    """Handle a signal to a server that has nothing in flight. An exception could be lost in what it interrupts."""
    os._exit(status_after(number))
