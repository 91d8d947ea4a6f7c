"""How much longer runs take than when they were measured at start: others share the machine."""

MOST = 4.0
"""Beyond this it is no measure of what the next run takes; and nobody shall be refused for ever."""
_UP, _DOWN = 0.09, 0.01
"""Steps that are in balance where one run of ten takes longer than predicted. Steps, and no mean: a single run that was
held up for a second says nothing of the others."""


class Slowness:
    """A factor on predicted seconds, at least 1, so that nine runs of ten take no longer."""

    def __init__(self) -> None:
        self.factor = 1.0

    def note(self, took: float, measured: float) -> None:
        """Learn from a run of which the measurements at start said `measured` seconds."""
        step = _UP if took > self.factor * measured else -_DOWN
        self.factor = min(MOST, max(1.0, self.factor + step))
