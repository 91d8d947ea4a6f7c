"""One prediction: a request as a value in, a reply as a value out. It knows neither sockets nor a framework."""

import math
import re
from asyncio import CancelledError
from dataclasses import asdict
from time import perf_counter
from typing import Literal, NamedTuple

import msgspec

from service.catalog import Catalog, ServedModel
from service.codec.oip import InferRequest
from service.codec.tensors import Array, Inputs
from service.errors import BinaryError, EncodingError, ForwardpassError, RequestError, UnavailableError
from service.metrics import Metrics

Protocol = Literal["v1", "v2"]

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


class Predictor:
    """Answers prediction requests with the models of a catalog."""

    def __init__(self, catalog: Catalog, metrics: Metrics) -> None:
        self._catalog = catalog
        self._metrics = metrics

    async def answer(self, call: Call) -> Reply:
        """The reply to a request; whatever is wrong with it or with the model is a reply too."""
        try:
            model = self._catalog.find(call.model, call.version)
        except ForwardpassError as error:
            self._metrics.unrouted[error.code] += 1
            return error_reply(error)
        stats = model.stats
        stats.in_flight += 1
        outcome = "failed"
        try:
            reply = await _answer(model, call)
            outcome = "ok"
        except ForwardpassError as error:
            outcome = _outcome(error)
            if outcome == "invalid":
                stats.invalid[error.code] += 1
            reply = error_reply(error)
        except CancelledError:
            outcome = "cancelled"
            raise
        finally:
            stats.in_flight -= 1
            stats.requests[call.protocol, outcome] += 1
        return reply


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


async def _answer(model: ServedModel, call: Call) -> Reply:
    stats = model.stats
    began = perf_counter()
    if call.content_encoding not in (None, "", "identity"):
        raise EncodingError(f"the body is encoded as {call.content_encoding!r}: send it as it is")
    request = _decode(model, call)
    inputs = request if isinstance(request, Inputs) else request.inputs
    decoded = perf_counter()
    stats.decode.observe(decoded - began)
    key = tuple(array.shape[1:] for array in inputs.arrays)
    outputs = await model.batcher.submit(inputs.arrays, inputs.rows, key)
    computed = perf_counter()
    reply = _encode(model, request, outputs)
    ended = perf_counter()
    stats.encode.observe(ended - computed)
    stats.duration.observe(ended - began)
    return reply


def _decode(model: ServedModel, call: Call) -> InferRequest | Inputs:
    if call.protocol == "v1":
        return model.rows.decode(call.body)
    if call.json_length is None:
        return model.infer.decode(call.body)
    if not _LENGTH.fullmatch(call.json_length):
        raise BinaryError(
            f"the header Inference-Header-Content-Length is {call.json_length[:40]!r}, which is no length"
        )
    return model.infer.decode(call.body, int(call.json_length))


def _encode(model: ServedModel, request: InferRequest | Inputs, outputs: tuple[Array, ...]) -> Reply:
    if isinstance(request, Inputs):
        return Reply(200, model.rows.encode(outputs))
    body, json_length = model.infer.encode(request, outputs)
    if json_length is None:
        return Reply(200, body)
    return Reply(200, body, BINARY_TYPE, ((JSON_LENGTH_HEADER, str(json_length)),))


def _outcome(error: ForwardpassError) -> str:
    """The error's class as a metric counts it."""
    if isinstance(error, RequestError):
        return "invalid"
    return "refused" if isinstance(error, UnavailableError) else "failed"
