"""One prediction: a request as a value in, a reply as a value out. It knows neither sockets nor HTTP."""

import logging
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, NamedTuple, cast

import msgspec

from service.batching.job import Job
from service.catalog import Catalog
from service.codec.oip import InferRequest
from service.codec.tensors import Array, Inputs
from service.codec.words import Contexts
from service.errors import (
    DeadlineError,
    ForwardpassError,
    InternalError,
    RequestError,
    UnavailableError,
    UnsupportedError,
)
from service.metrics import Dialect, Metrics, Outcome
from service.served import RowDialect, ServedModel

logger = logging.getLogger(__name__)

LARGE = 1 << 18
"""From so many bytes on, reading a body or writing one takes milliseconds, which belong on another thread."""

Request = InferRequest | Inputs | Contexts
"""A valid request, as the codec of its protocol and model decodes it."""


class Target(NamedTuple):
    """What a request asks, and in which protocol."""

    protocol: Dialect
    model: str
    version: str | None
    """None for the latest."""


class Timeline(NamedTuple):
    """What became of a request's parts, as far as it came."""

    version: int
    """Of the model."""
    rows: int | None
    """None where its body could not be read."""
    phases: tuple[tuple[str, float, float], ...]
    """Names, beginnings and ends, on the clock `perf_counter`: decode, queue, compute, encode."""


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What a wire sends back: the body of the request's protocol, or the error that is there in its place."""

    body: bytes = b""
    json_length: int | None = None
    """How much of the body is JSON, where raw tensors follow."""
    error: ForwardpassError | None = None
    seconds: float = 0.0
    """From the body, which was there, to the error."""
    timeline: Timeline | None = None
    """Where the prediction keeps one."""


class Prediction(Job[tuple[Array, ...], tuple[Array, ...]]):
    """One request on its way: read, queued, computed, encoded; `told` is called once its outcome is there.

    `read` and `encode` may be called on any thread, which is for large ones; all else belongs to the event loop.
    """

    __slots__ = (
        "_began",
        "_content",
        "_encode_seconds",
        "_groups",
        "_model",
        "_outcome",
        "_protocol",
        "_read_seconds",
        "_reply",
        "_told",
    )

    def __init__(self, model: ServedModel, protocol: Dialect, told: Callable[[], None]) -> None:
        # What makes it a job is known when it is read; until then nothing of it waits.
        self.is_over = True
        self._began = perf_counter()
        self._model = model
        self._protocol: Dialect = protocol
        self._told = told
        self._groups: list[Group] = []
        """What is queued in its place, where its rows cannot be computed together."""

    def read(self, body: bytes, json_length: int | None = None) -> None:
        """Decode the body; of one of version 2 so many bytes are JSON (all, where None; it is one tensor, where 0)."""
        try:
            self._content: Request | Exception = self._decode(body, json_length)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a reply
            self._content = error
        self._read_seconds = perf_counter() - self._began

    def queue(self) -> Reply | None:
        """Queue its rows; a reply at once where that cannot be."""
        stats, content = self._model.stats, self._content
        stats.begin()
        if isinstance(content, Exception):
            return self._failure(content)
        try:
            if isinstance(content, Contexts):
                self._submit_groups(content)
            else:
                self._submit(content)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a reply
            return self._failure(error)
        return None

    def settle(self, outcome: Any) -> None:  # noqa: ANN401  # arrays, or those of each group, or an error
        """Take what came out of the queue."""
        self._outcome = outcome
        self._told()

    @property
    def timeline(self) -> Timeline | None:
        """When its phases were; this kind does not keep it."""
        return None

    @property
    def is_large(self) -> bool:
        """Whether the outputs, which must be there, are so many that their encoding had better not hold anybody up."""
        if isinstance(self._outcome, Exception):
            return False
        size = 0
        for outputs in self._outcome if self._groups else (self._outcome,):
            for output in outputs:
                size += output.nbytes
        return size >= LARGE

    def encode(self) -> None:
        """Write what the reply will hold, once the outcome is there."""
        began, outcome = perf_counter(), self._outcome
        try:
            self._reply: Reply | Exception = outcome if isinstance(outcome, Exception) else self._write(outcome)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a reply
            self._reply = error
        self._encode_seconds = perf_counter() - began

    def end(self) -> Reply:
        """The reply that was written, counted; to be called once."""
        reply, stats = self._reply, self._model.stats
        if isinstance(reply, Exception):
            return self._failure(reply)
        stats.answer(self._protocol, self._read_seconds, self._encode_seconds, perf_counter() - self._began)
        return reply

    def finish(self) -> Reply:
        """The reply, once the outcome is there; to be called once."""
        self.encode()
        return self.end()

    def abandon(self) -> None:
        """Let go of a request that nobody waits for any more; instead of `end`."""
        self._give_up()
        self._model.stats.end(self._protocol, "cancelled")

    def _decode(self, body: bytes, json_length: int | None) -> Request:
        model = self._model
        if self._protocol == "v2":
            request: Request = model.infer.decode(body, json_length)
        elif model.rows is None:
            name = model.manifest.name
            raise UnsupportedError(
                f"{name} takes no rows, since {model.obstacle}: ask it by version 2, POST /v2/models/{name}/infer"
            )
        else:
            request = model.rows.decode(body)
        if model.refuses is not None:
            model.refuses.refuse([group.arrays for group in groups_of(request)], by_row=self._protocol == "v1")
        return request

    def _submit(self, content: InferRequest | Inputs) -> None:
        now, deadline = perf_counter(), None
        if isinstance(content, InferRequest):
            inputs = content.inputs
            if content.timeout is not None:
                deadline = self._began + content.timeout
        else:
            inputs = content
        arrays, model = inputs.arrays, self._model
        Job.__init__(self, arrays, inputs.rows, model.plan.key(arrays), inputs.size, deadline, now)
        model.batcher.queue(self)

    def _submit_groups(self, contexts: Contexts) -> None:
        """Queue all of them, or none."""
        now, model = perf_counter(), self._model
        try:
            for inputs in contexts.groups:
                group = self._group(model.plan.key(inputs.arrays), inputs, now)
                model.batcher.queue(group)
                self._groups.append(group)
        except Exception:
            self._give_up()
            raise

    def _group(self, key: Hashable, inputs: Inputs, now: float) -> "Group":
        return Group(self, key, inputs, now)

    def _give_up(self) -> None:
        """Free the places of all its rows."""
        # The groups know it, and it shall not know them any longer: it would be kept until the collector comes.
        groups, self._groups = self._groups, []
        for job in groups or (self,):
            self._model.batcher.give_up(job)

    def group_settled(self) -> None:
        """Take what came out for the groups, once it is there for all of them or one has failed."""
        outcomes = [group.outcome for group in self._groups]
        failed = next((outcome for outcome in outcomes if isinstance(outcome, Exception)), None)
        if failed is not None:
            self._give_up()
            self.settle(failed)
        elif None not in outcomes:
            self.settle(outcomes)

    def _write(self, outcome: Any) -> Reply:  # noqa: ANN401  # as `settle` says
        content = self._content
        if isinstance(content, InferRequest):
            body, json_length = self._model.infer.encode(content, outcome)
            return Reply(body, json_length)
        # It decoded this request, so it is there.
        return Reply(cast("RowDialect", self._model.rows).encode(content, outcome))

    def _failure(self, error: Exception) -> Reply:
        """The reply to a request that failed, counted."""
        stats = self._model.stats
        if not isinstance(error, ForwardpassError):
            logger.error("the server failed on a request", exc_info=error)
            error = InternalError()
        if isinstance(error, RequestError):
            stats.invalid.add(error.code)
        seconds = perf_counter() - self._began
        stats.fail(self._protocol, _outcome(error), seconds)
        # The frames hold the request's body, which is large where it is refused for that.
        return Reply(error=error.forget(), seconds=seconds)


class Group(Job[tuple[Array, ...], tuple[Array, ...]]):
    """Rows of a prediction that can be computed together."""

    __slots__ = ("outcome", "whole")

    def __init__(self, whole: Prediction, key: Hashable, inputs: Inputs, now: float) -> None:
        super().__init__(inputs.arrays, inputs.rows, key, inputs.size, None, now)
        self.whole = whole
        self.outcome: tuple[Array, ...] | ForwardpassError | None = None

    def settle(self, outcome: tuple[Array, ...] | ForwardpassError) -> None:
        """Tell the prediction, and know it no longer."""
        self.outcome = outcome
        whole = self.whole
        del self.whole
        whole.group_settled()


class Predictor:
    """Answers prediction requests with the models of a catalog.

    Whatever is wrong with a request, a model or the server is a reply too: nothing is raised.
    """

    def __init__(
        self,
        catalog: Catalog,
        metrics: Metrics,
        kind: type[Prediction] = Prediction,
        aside: ThreadPoolExecutor | None = None,
    ) -> None:
        self._catalog = catalog
        self._metrics = metrics
        self._kind = kind
        self.aside = aside or ThreadPoolExecutor(1, "aside")
        """Where large bodies are read and written. One thread, since they would wait for each other in several too,
        and each would keep the memory that it once needed."""

    def open(self, target: Target, told: Callable[[], None]) -> Reply | Prediction:
        """A prediction that is to be read and queued; a reply at once where there is no such model."""
        protocol, name, version = target
        try:
            return self._kind(self._catalog.find(name, version), protocol, told)
        except ForwardpassError as error:
            self._metrics.unrouted.add(error.code)
            return Reply(error=error.forget())

    def begin(
        self, target: Target, body: bytes, json_length: int | None, told: Callable[[], None]
    ) -> Reply | Prediction:
        """Read a request and queue its rows; a reply at once where that cannot be."""
        prediction = self.open(target, told)
        if isinstance(prediction, Reply):
            return prediction
        prediction.read(body, json_length)
        return prediction.queue() or prediction


def groups_of(request: Request) -> tuple[Inputs, ...]:
    """What of a request can be computed together: all of it, but for contexts of several lengths."""
    if isinstance(request, Contexts):
        return request.groups
    return (request if isinstance(request, Inputs) else request.inputs,)


def _outcome(error: ForwardpassError) -> Outcome:
    if isinstance(error, RequestError):
        return "invalid"
    if isinstance(error, UnavailableError):
        return "refused"
    return "expired" if isinstance(error, DeadlineError) else "failed"
