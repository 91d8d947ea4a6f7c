"""Several processes that do the same work: how they are started, replaced and ended."""

import gc
import logging
import mmap
import os
import signal
from dataclasses import dataclass
from time import monotonic
from typing import NoReturn, Protocol

from service.exits import FAILURE, SUCCESS, status_after

HURRY = signal.SIGUSR1
"""What a worker is sent that is to end at once, after it was told to end."""

_HEARD = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
_KILL_SECONDS = 5.0
"""Beyond the time that a worker has to end; who takes longer hangs."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a worker is replaced that never came to work: twice as many each time."""
_NEVER, _NOW, _BEFORE = range(3)
"""Whether a worker of a number is at work."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """What a worker knows of its supervisor."""

    number: int
    end: int
    """A file that can be read from the moment on at which the worker is to end: told to, or left alone."""
    at_work: mmap.mmap
    """Of each number whether a worker of it is at work, or was before; shared by all."""

    @property
    def is_first(self) -> bool:
        """Whether it speaks for all: it has number 0, and none of that number was at work yet."""
        return self.number == 0 and self.at_work[0] == _NEVER

    def tell_ready(self) -> None:
        """Say that it is at work. One that is, and ends unasked, is replaced at once."""
        self.at_work[self.number] = _NOW


class Duty(Protocol):
    """What workers are for; all but `work` is called in the supervisor."""

    def work(self, worker: Worker) -> int:
        """Be a worker, until it is to end; the exit status of its process."""

    def replaced(self) -> None:
        """Note that a worker has ended unasked."""

    def rest(self, number: int) -> None:
        """Expect no worker of this number for a while."""

    def end(self) -> None:
        """Prepare for the end, of which all are told then."""


class Supervisor:
    """Keeps `count` workers on duty, each in a process that is forked from this one.

    Whoever ends unasked is replaced: at once if it was at work, else after a pause. Nothing is looked at from time to
    time: the system says what happens.
    """

    def __init__(self, count: int, duty: Duty, *, seconds: float) -> None:
        self._count = count
        self._duty = duty
        self._seconds = seconds
        """How long a worker may take to end."""
        self._at_work = mmap.mmap(-1, count)
        self._end, self._alive = os.pipe()
        """As long as this process has the second open, the first has nothing to be read."""
        self._running: dict[int, int] = {}
        """The numbers of the workers, by process."""
        self._due: dict[int, float] = {}
        """When the numbers are to have a worker again that have none."""
        self._pauses: dict[int, float] = {}
        self._deadline: float | None = None
        """When workers are killed that have not ended; None as long as they are to work."""
        self._status = SUCCESS

    def run(self) -> int:
        """Keep them until SIGTERM or SIGINT, and until every worker has ended then; the exit status for this process.

        Another signal of these hurries them. Where no worker ever comes to work and one fails, all are ended, with
        status 1.
        """
        # Whoever started this process may have ignored it, and then it would never come.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        # Shared pages stay shared as long as nobody writes to them, such as the collector.
        gc.freeze()
        self._due = dict.fromkeys(range(self._count), 0.0)
        while self._running or self._due:
            self._start_due(mask)
            heard = self._listen()
            if heard == signal.SIGCHLD:
                self._reap()
            elif heard is None:
                self._kill_late()
            elif self._deadline is None:
                self._status = status_after(heard)
                self._tell_to_end()
            else:
                self._send(HURRY)
        return self._status

    def _start_due(self, mask: set[int | signal.Signals]) -> None:
        now = monotonic()
        for number in [number for number, when in self._due.items() if when <= now]:
            try:
                process = os.fork()
            except OSError as error:
                logger.warning("worker %d cannot be started: %s", number, error.strerror)
                self._put_off(number)
                continue
            if process == 0:
                self._be(number, mask)
            del self._due[number]
            self._running[process] = number

    def _be(self, number: int, mask: set[int | signal.Signals]) -> NoReturn:
        """Be a worker, to the end of its process."""
        status = FAILURE
        try:
            # So that the end of the supervisor is the end of the last who has it.
            os.close(self._alive)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            status = self._duty.work(Worker(number, self._end, self._at_work))
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else FAILURE
        except BaseException:
            logger.exception("worker %d fails", number)
        finally:
            # Nothing of what this process was before is to be done at its end.
            os._exit(status)

    def _listen(self) -> int | None:
        """The next signal, or None where something is due before one comes."""
        times = [*self._due.values(), *([] if self._deadline is None else [self._deadline])]
        if not times:
            return signal.sigwaitinfo(_HEARD).si_signo
        heard = signal.sigtimedwait(_HEARD, max(0.0, min(times) - monotonic()))
        return None if heard is None else heard.si_signo

    def _reap(self) -> None:
        """Take note of all that have ended."""
        while self._running:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                return
            number = self._running.pop(process, None)
            if number is None or self._deadline is not None:
                continue
            how = _how_it_ended(os.waitstatus_to_exitcode(status))
            if not any(self._at_work[:]):
                logger.error("worker %d (process %d) ended %s before any was at work", number, process, how)
                self._status = FAILURE
                self._tell_to_end()
                continue
            logger.warning("worker %d (process %d) ended %s and is replaced", number, process, how)
            self._duty.replaced()
            if self._at_work[number] == _NOW:
                self._at_work[number] = _BEFORE
                self._pauses.pop(number, None)
                self._due[number] = 0.0
            else:
                self._put_off(number)

    def _put_off(self, number: int) -> None:
        """Start a worker again after a pause."""
        self._duty.rest(number)
        pause = self._pauses.get(number, _FIRST_PAUSE)
        self._pauses[number] = min(2 * pause, _LONGEST_PAUSE)
        self._due[number] = monotonic() + pause

    def _tell_to_end(self) -> None:
        self._deadline = monotonic() + self._seconds + _KILL_SECONDS
        self._due.clear()
        self._duty.end()
        os.close(self._alive)
        for process, number in self._running.items():
            if self._at_work[number] != _NOW:
                # It has nothing to end, and may be long in coming to where it looks.
                os.kill(process, signal.SIGTERM)

    def _kill_late(self) -> None:
        """Kill who has not ended in time, if it is time for that."""
        if self._deadline is not None and monotonic() >= self._deadline:
            logger.error("%d workers have not ended in time and are killed", len(self._running))
            self._send(signal.SIGKILL)
            self._deadline = monotonic() + _KILL_SECONDS

    def _send(self, what: signal.Signals) -> None:
        for process in self._running:
            # What has ended is still there until it is waited for.
            os.kill(process, what)


def _how_it_ended(status: int) -> str:
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
