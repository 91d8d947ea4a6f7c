"""One prediction: a request as a value in, a reply as a value out. It knows neither sockets nor a framework."""

import logging
import math
import re
from asyncio import CancelledError, Future, gather
from dataclasses import asdict
from time import perf_counter
from typing import Any, Literal, NamedTuple

import msgspec

from service.catalog import Catalog, ServedModel
from service.codec.oip import InferRequest
from service.codec.tensors import Array, Inputs
from service.codec.words import Contexts
from service.errors import BinaryError, EncodingError, ForwardpassError, InternalError, RequestError, UnavailableError
from service.metrics import Metrics, ModelStats

logger = logging.getLogger(__name__)

Protocol = Literal["v1", "v2"]

Request = InferRequest | Inputs | Contexts
"""A valid request, as the codec of its protocol and model decodes it."""

JSON_TYPE = "application/json"
BINARY_TYPE = "application/octet-stream"
JSON_LENGTH_HEADER = "inference-header-content-length"

_LENGTH = re.compile(r"[0-9]{1,18}")


class Call(NamedTuple):
    """A request to predict, as a transport has read it."""

    protocol: Protocol
    model: str
    version: str | None
    body: bytes
    content_encoding: str | None = None
    json_length: str | None = None
    """The header `Inference-Header-Content-Length`, as it came."""


class Reply(NamedTuple):
    """What a transport sends back."""

    status: int
    body: bytes
    media_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()


class Pending:
    """A valid request whose rows are in the queue; `future` is done when they are computed."""

    __slots__ = ("_began", "_model", "_protocol", "_request", "future")

    def __init__(
        self,
        model: ServedModel,
        protocol: Protocol,
        request: Request,
        future: "Future[Any]",
        began: float,
    ) -> None:
        self._model = model
        self._protocol: Protocol = protocol
        self._request = request
        self._began = began
        self.future = future

    def finish(self) -> Reply:
        """The reply, once `future` is done; to be called once."""
        stats = self._model.stats
        try:
            outputs = self.future.result()
            computed = perf_counter()
            reply = _encode(self._model, self._request, outputs)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a reply
            return _failure(stats, self._protocol, error)
        ended = perf_counter()
        stats.encode.observe(ended - computed)
        stats.duration.observe(ended - self._began)
        stats.end(self._protocol, "ok")
        return reply

    def abandon(self) -> None:
        """Let go of a request that nobody waits for any more; instead of `finish`."""
        self.future.cancel()
        self._model.stats.end(self._protocol, "cancelled")


class Predictor:
    """Answers prediction requests with the models of a catalog."""

    def __init__(self, catalog: Catalog, metrics: Metrics) -> None:
        self._catalog = catalog
        self._metrics = metrics

    async def answer(self, call: Call) -> Reply:
        """The reply to a request; whatever is wrong with it, with the model or with the server is a reply too."""
        begun = self.begin(call)
        if isinstance(begun, Reply):
            return begun
        try:
            await begun.future
        except CancelledError:
            begun.abandon()
            raise
        except Exception:  # noqa: BLE001, S110  # `finish` tells it
            pass
        return begun.finish()

    def begin(self, call: Call) -> Reply | Pending:
        """Decode a request and queue its rows; a reply at once where it cannot be."""
        try:
            model = self._catalog.find(call.model, call.version)
        except ForwardpassError as error:
            self._metrics.unrouted[error.code] += 1
            return error_reply(error)
        began = perf_counter()
        model.stats.in_flight += 1
        try:
            request = _decode(model, call)
            model.stats.decode.observe(perf_counter() - began)
            future = _submit(model, request)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is a reply
            return _failure(model.stats, call.protocol, error)
        return Pending(model, call.protocol, request, future, began)


def error_reply(error: ForwardpassError) -> Reply:
    """The reply that tells a caller of an error, in the form of both protocols."""
    content: dict[str, object] = {"error": error.message, "code": error.code}
    if error.faults:
        content["faults"] = [asdict(fault) for fault in error.faults]
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, UnavailableError):
        content["retry_after_ms"] = math.ceil(error.retry_after * 1000)
        headers = (("retry-after", str(max(1, math.ceil(error.retry_after)))),)
    return Reply(error.status, msgspec.json.encode(content), headers=headers)


def _decode(model: ServedModel, call: Call) -> Request:
    if call.content_encoding and call.content_encoding.lower() != "identity":
        raise EncodingError(f"the body is encoded as {call.content_encoding!r}: send it as it is")
    if call.protocol == "v1":
        return model.rows.decode(call.body)
    if call.json_length is None:
        return model.infer.decode(call.body)
    if not _LENGTH.fullmatch(call.json_length):
        raise BinaryError(
            f"the header Inference-Header-Content-Length is {call.json_length[:40]!r}, which is no length"
        )
    return model.infer.decode(call.body, int(call.json_length))


def _submit(model: ServedModel, request: Request) -> "Future[Any]":
    """Queue a request's rows; the future has its outputs, of contexts those of each group."""
    if not isinstance(request, Contexts):
        return _submit_group(model, request if isinstance(request, Inputs) else request.inputs)
    futures: list[Future[tuple[Array, ...]]] = []
    try:
        futures.extend(_submit_group(model, group) for group in request.groups)
    except ForwardpassError:
        # All or none of a request is computed.
        for future in futures:
            future.cancel()
        raise
    return gather(*futures)


def _submit_group(model: ServedModel, inputs: Inputs) -> "Future[tuple[Array, ...]]":
    key = tuple(array.shape[1:] for array in inputs.arrays)
    return model.batcher.submit(inputs.arrays, inputs.rows, key)


def _encode(model: ServedModel, request: Request, outputs: Any) -> Reply:  # noqa: ANN401  # as `_submit` says
    if isinstance(request, Inputs | Contexts):
        return Reply(200, model.rows.encode(request, outputs))
    body, json_length = model.infer.encode(request, outputs)
    if json_length is None:
        return Reply(200, body)
    return Reply(200, body, BINARY_TYPE, ((JSON_LENGTH_HEADER, str(json_length)),))


def _failure(stats: ModelStats, protocol: Protocol, error: Exception) -> Reply:
    """The reply to a request that failed, counted."""
    if not isinstance(error, ForwardpassError):
        logger.error("the server failed on a request", exc_info=error)
        error = InternalError("the server failed on this request; its log says why")
    if isinstance(error, RequestError):
        outcome = "invalid"
        stats.invalid[error.code] += 1
    else:
        outcome = "refused" if isinstance(error, UnavailableError) else "failed"
    stats.end(protocol, outcome)
    return error_reply(error)
