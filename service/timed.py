"""A prediction that remembers when each of its phases was."""

from collections.abc import Callable, Hashable
from time import perf_counter
from typing import Any

from msgspec.structs import replace

from service.codec.tensors import Inputs
from service.codec.words import Contexts
from service.metrics import Dialect
from service.predict import Group, Prediction, Reply, Request, Timeline, groups_of
from service.served import ServedModel


class _Leaving:
    """A job that tells when rows of it leave the queue."""

    __slots__ = ()

    @property
    def taken(self) -> int:
        """How many of its rows have left the queue."""
        return self._gone

    @taken.setter
    def taken(self, rows: int) -> None:
        self._gone = rows  # type: ignore[misc]  # its place is in a subclass: only one base may have any
        if rows:
            self.leave()

    def leave(self) -> None:
        """Note that rows leave the queue, on any thread."""
        raise NotImplementedError


class TimedPrediction(_Leaving, Prediction):
    """One whose replies have a timeline.

    Its rows wait until the first of them leave the queue, and are computed until all of what came out is back on the
    event loop.
    """

    __slots__ = ("_encoded", "_gone", "_left", "_settled")

    def __init__(self, model: ServedModel, protocol: Dialect, told: Callable[[], None]) -> None:
        super().__init__(model, protocol, told)
        self.since = self._left = self._settled = self._encoded = 0.0

    def leave(self) -> None:
        """Note that rows leave the queue, on any thread."""
        self._left = self._left or perf_counter()

    def settle(self, outcome: Any) -> None:  # noqa: ANN401  # as of any prediction
        """Take what came out of the queue."""
        self._settled = perf_counter()
        super().settle(outcome)

    def encode(self) -> None:
        """Write what the reply will hold."""
        super().encode()
        self._encoded = perf_counter()

    def end(self) -> Reply:
        """The reply, with its timeline."""
        return replace(super().end(), timeline=self.timeline)

    @property
    def timeline(self) -> Timeline:
        """When its phases were; one that has not ended ends now."""
        now, phases = perf_counter(), []
        content: Request | Exception | None = getattr(self, "_content", None)
        if content is not None:
            phases.append(("decode", self._began, self._began + self._read_seconds))
        if self.since:
            phases.append(("queue", self.since, self._left or self._settled or now))
        if self._left:
            phases.append(("compute", self._left, self._settled or now))
        if self._encoded:
            phases.append(("encode", self._encoded - self._encode_seconds, self._encoded))
        rows = None
        if content is not None and not isinstance(content, Exception):
            rows = sum(inputs.rows for inputs in groups_of(content))
        return Timeline(self._model.manifest.version, rows, tuple(phases))

    def _submit_groups(self, contexts: Contexts) -> None:
        self.since = perf_counter()
        super()._submit_groups(contexts)

    def _group(self, key: Hashable, inputs: Inputs, now: float) -> Group:
        return _TimedGroup(self, key, inputs, now)

    def _failure(self, error: Exception) -> Reply:
        return replace(super()._failure(error), timeline=self.timeline)


class _TimedGroup(_Leaving, Group):
    """Rows that tell their prediction when they leave."""

    __slots__ = ("_gone",)

    whole: TimedPrediction

    def leave(self) -> None:
        """Tell the prediction that rows leave the queue."""
        self.whole.leave()
