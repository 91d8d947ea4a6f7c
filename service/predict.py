"""One prediction: a request as a value in, a reply as a value out. It knows neither sockets nor HTTP."""

import logging
from asyncio import Future, gather
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from time import perf_counter
from typing import Any, Literal, NamedTuple, cast

from service.catalog import Catalog, RowDialect, ServedModel
from service.codec.oip import InferRequest
from service.codec.tensors import Array, Inputs
from service.codec.words import Contexts
from service.errors import (
    MAX_FAULTS,
    DeadlineError,
    ForwardpassError,
    InternalError,
    RangeError,
    RequestError,
    UnavailableError,
    UnsupportedError,
    merge,
)
from service.metrics import Metrics, ModelStats, Outcome
from service.ranges import Ranges

logger = logging.getLogger(__name__)

Protocol = Literal["v1", "v2"]

LARGE = 1 << 18
"""From so many bytes on, reading a body or writing one takes milliseconds, which belong on another thread."""

Request = InferRequest | Inputs | Contexts
"""A valid request, as the codec of its protocol and model decodes it."""


class Call(NamedTuple):
    """A request to predict, as a wire has read it."""

    protocol: Protocol
    model: str
    version: str | None
    body: bytes
    json_length: int | None = None
    """How much of a body of version 2 is JSON, where raw tensors follow; 0 for a body that is one raw tensor."""


class Reply(NamedTuple):
    """What a wire sends back: the body of the call's protocol, or the error that is there in its place."""

    body: bytes = b""
    json_length: int | None = None
    """How much of the body is JSON, where raw tensors follow."""
    error: ForwardpassError | None = None


class Read(NamedTuple):
    """A call whose body has been read: the request in it, or what is wrong with it."""

    model: ServedModel
    protocol: Protocol
    content: Request | Exception
    began: float
    """When its reading began, on the clock `perf_counter`."""
    seconds: float


class Pending:
    """A valid request whose rows are in the queue; `future` is done when they are computed."""

    __slots__ = ("_began", "_model", "_protocol", "_request", "future")

    def __init__(self, read: Read, request: Request, future: "Future[Any]") -> None:
        self._model = read.model
        self._protocol: Protocol = read.protocol
        self._began = read.began
        self._request = request
        self.future = future

    @property
    def is_large(self) -> bool:
        """Whether the outputs, which must be there, are so many that their encoding had better not hold anybody up."""
        if self.future.exception() is not None:
            return False
        groups = self.future.result() if isinstance(self._request, Contexts) else (self.future.result(),)
        size: int = sum(output.nbytes for outputs in groups for output in outputs)
        return size >= LARGE

    def encode(self) -> "Encoded":
        """The reply's content, once `future` is done; on any thread."""
        began = perf_counter()
        try:
            reply = _encode(self._model, self._request, self.future.result())
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a reply
            return Encoded(error, 0.0)
        return Encoded(reply, perf_counter() - began)

    def end(self, encoded: "Encoded") -> Reply:
        """The reply, counted; to be called once."""
        stats = self._model.stats
        if isinstance(encoded.content, Exception):
            return _failure(stats, self._protocol, self._began, encoded.content)
        stats.encode.observe(encoded.seconds)
        stats.duration.observe(perf_counter() - self._began)
        stats.end(self._protocol, "ok")
        return encoded.content

    def finish(self) -> Reply:
        """The reply, once `future` is done; to be called once."""
        return self.end(self.encode())

    def abandon(self) -> None:
        """Let go of a request that nobody waits for any more; instead of `finish`."""
        self.future.cancel()
        self.future.add_done_callback(_look_away)
        self._model.stats.end(self._protocol, "cancelled")


def _look_away(future: "Future[Any]") -> None:
    """Look at an error that nobody waits for, so that it is no news to asyncio."""
    if not future.cancelled():
        future.exception()


class Encoded(NamedTuple):
    """What a reply will be, and how long it took to write."""

    content: Reply | Exception
    seconds: float


class Predictor:
    """Answers prediction requests with the models of a catalog.

    Whatever is wrong with a request, a model or the server is a reply too: nothing is raised. Reading a call and
    encoding a reply may be done on any thread, which is for large ones; all else belongs to the event loop.
    """

    def __init__(self, catalog: Catalog, metrics: Metrics) -> None:
        self._catalog = catalog
        self._metrics = metrics
        self.aside = ThreadPoolExecutor(1, "aside")
        """Where large bodies are read and written. One thread, since they would wait for each other in several too,
        and each would keep the memory that it once needed."""

    def begin(self, call: Call) -> Reply | Pending:
        """Read a call and queue its rows; a reply at once where that cannot be."""
        return self.queue(self.read(call))

    def read(self, call: Call) -> Read | ForwardpassError:
        """Decode a call; the error where there is no such model."""
        began = perf_counter()
        try:
            model = self._catalog.find(call.model, call.version)
        except ForwardpassError as error:
            return error
        content: Request | Exception
        try:
            content = _decode(model, call)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a reply
            content = error
        return Read(model, call.protocol, content, began, perf_counter() - began)

    def queue(self, read: Read | ForwardpassError) -> Reply | Pending:
        """Queue the rows of a call that was read; a reply at once where that cannot be."""
        if isinstance(read, ForwardpassError):
            self._metrics.unrouted[read.code] += 1
            return Reply(error=read.forget())
        stats, content = read.model.stats, read.content
        stats.in_flight += 1
        if isinstance(content, Exception):
            return _failure(stats, read.protocol, read.began, content)
        stats.decode.observe(read.seconds)
        try:
            future = _submit(read.model, content, read.began)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a reply
            return _failure(stats, read.protocol, read.began, error)
        return Pending(read, content, future)


def _decode(model: ServedModel, call: Call) -> Request:
    if call.protocol == "v2":
        request: Request = model.infer.decode(call.body, call.json_length)
    elif model.rows is None:
        raise UnsupportedError(
            f"{call.model} takes no rows, since {model.obstacle}: ask it by version 2, "
            f"POST /v2/models/{call.model}/infer"
        )
    else:
        request = model.rows.decode(call.body)
    if model.refuses is not None:
        _refuse_outside(model.refuses, request, call.protocol)
    return request


def _refuse_outside(ranges: Ranges, request: Request, protocol: Protocol) -> None:
    """Raise where a feature's value lies outside the range that training saw."""
    outside = (one for group in _groups(request) for one in ranges.outside(group.arrays))
    found = [
        RangeError.at(
            f"/instances/{one.row}" if protocol == "v1" else "/inputs",
            expected=f"{one.feature} {_range(one.minimum, one.maximum)}",
            got=f"{one.value}" if protocol == "v1" else f"{one.value} in row {one.row} of {one.input}",
            hint="training saw no such value",
        )
        for one in islice(outside, MAX_FAULTS)
    ]
    if found:
        raise merge(found)


def _range(minimum: float | None, maximum: float | None) -> str:
    if minimum is None:
        return f"at most {maximum}"
    return f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"


def _groups(request: Request) -> tuple[Inputs, ...]:
    """What of a request can be computed together: all of it, but for contexts of several lengths."""
    if isinstance(request, Contexts):
        return request.groups
    return (request if isinstance(request, Inputs) else request.inputs,)


def _submit(model: ServedModel, request: Request, began: float) -> "Future[Any]":
    """Queue a request's rows; the future has its outputs, of contexts those of each group."""
    if isinstance(request, Inputs):
        return _queue(model, request, None)
    if isinstance(request, InferRequest):
        return _queue(model, request.inputs, None if request.timeout is None else began + request.timeout)
    futures: list[Future[tuple[Array, ...]]] = []
    try:
        futures.extend(_queue(model, group, None) for group in request.groups)
    except ForwardpassError:
        # All or none of a request is computed.
        for future in futures:
            future.cancel()
        raise
    return gather(*futures)


def _queue(model: ServedModel, inputs: Inputs, deadline: float | None) -> "Future[tuple[Array, ...]]":
    key = model.plan.key(inputs.arrays)
    return model.batcher.submit(inputs.arrays, inputs.rows, key, size=inputs.size, deadline=deadline)


def _encode(model: ServedModel, request: Request, outputs: Any) -> Reply:  # noqa: ANN401  # as `_submit` says
    if isinstance(request, InferRequest):
        return Reply(*model.infer.encode(request, outputs))
    # It decoded this request, so it is there.
    return Reply(cast("RowDialect", model.rows).encode(request, outputs))


def _failure(stats: ModelStats, protocol: Protocol, began: float, error: Exception) -> Reply:
    """The reply to a request that failed, counted."""
    if not isinstance(error, ForwardpassError):
        logger.error("the server failed on a request", exc_info=error)
        error = InternalError()
    if isinstance(error, RequestError):
        stats.invalid[error.code] += 1
    stats.failed_seconds += perf_counter() - began
    stats.end(protocol, _outcome(error))
    # The frames hold the request's body, which is large where it is refused for that.
    return Reply(error=error.forget())


def _outcome(error: ForwardpassError) -> Outcome:
    if isinstance(error, RequestError):
        return "invalid"
    if isinstance(error, UnavailableError):
        return "refused"
    return "expired" if isinstance(error, DeadlineError) else "failed"
