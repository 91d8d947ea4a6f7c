"""The ASGI end of a prediction path: it gathers the body, waits for the answer and sends it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any, TypeVar, cast

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from service.codec.room import joined, room_for
from service.errors import DrainingError, ForwardpassError, RequestError, TooLargeError
from service.http.failures import Failures
from service.http.wire import (
    JSON_LENGTH_HEADER,
    REQUEST_ID,
    Response,
    expand,
    parse_json_length,
    valid_request_id,
    write,
    write_error,
)
from service.metrics import Dialect, Metrics
from service.predict import LARGE, Prediction, Predictor, Reply, Target

T = TypeVar("T")

PREDICTION_PATHS: dict[str, Dialect] = {
    "/v1/models/{model}:predict": "v1",
    "/v1/models/{model}/versions/{version}:predict": "v1",
    "/v2/models/{model}/infer": "v2",
    "/v2/models/{model}/versions/{version}/infer": "v2",
}

TIMELINE = "forwardpass.timeline"
"""Where a scope says when the phases of its prediction were, if that is kept."""


class PredictionRoute:
    """Answers the requests to one path, which names the model and maybe the version.

    The rows of a client that goes away while they wait are not computed.
    """

    def __init__(
        self, predictor: Predictor, metrics: Metrics, failures: Failures, protocol: Dialect, max_body: int
    ) -> None:
        self._predictor = predictor
        self._metrics = metrics
        self._failures = failures
        self._protocol: Dialect = protocol
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        if request.method != "POST":
            # Said here: a route that takes only POST would leave the others to `/v1/models/{name}`.
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        except RequestError as error:
            self._metrics.unrouted.add(error.code)
            response = self._failure(request, error)
        except asyncio.CancelledError:
            # uvicorn's way to say that the time for requests in flight is over.
            response = self._failure(request, DrainingError("the server stopped before this request was answered"))
        await respond(request, response, send)

    async def _answer(self, request: Request) -> Response:
        """The response to a request whose client waits for it; raises `ClientDisconnect` where it does not.

        Raises a `RequestError` for a body or a header that cannot be read.
        """
        length = _header(request, JSON_LENGTH_HEADER)
        json_length = None if length is None else parse_json_length(length)
        if self._protocol == "v2" and json_length is not None:
            body = await _read_tensors(request, self._max_body, json_length)
        else:
            body = await read_body(request, self._max_body)
        if coding := _header(request, "content-encoding"):
            body = await self._aside(len(body), expand, body, coding, self._max_body)
        settled = asyncio.Event()
        begun = self._predictor.open(self._target(request), settled.set)
        reply = begun if isinstance(begun, Reply) else await self._predict(begun, body, json_length, settled, request)
        if reply.timeline is not None:
            request.scope[TIMELINE] = reply.timeline
        if reply.error is not None:
            return self._failure(request, reply.error, reply.seconds)
        return await self._aside(len(reply.body), write, reply, _header(request, "accept-encoding"))

    def _failure(self, request: Request, error: ForwardpassError, seconds: float | None = None) -> Response:
        """The response that says why a prediction has no answer; the log says it too."""
        self._failures.tell_of(error, self._target(request), request.client, name_of(request), seconds)
        return write_error(error)

    def _target(self, request: Request) -> Target:
        return Target(self._protocol, request.path_params["model"], request.path_params.get("version"))

    async def _predict(
        self, prediction: Prediction, body: bytes, json_length: int | None, settled: asyncio.Event, request: Request
    ) -> Reply:
        """The reply to a body, once it is computed; raises `ClientDisconnect` where nobody waits for it any more."""
        await self._aside(len(body), prediction.read, body, json_length)
        refused = prediction.queue()
        if refused is not None:
            return refused
        try:
            await _wait(settled, request.receive)
            await self._aside(LARGE if prediction.is_large else 0, prediction.encode)
        except BaseException:
            request.scope[TIMELINE] = prediction.timeline
            prediction.abandon()
            raise
        return prediction.end()

    async def _aside(self, size: int, function: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401  # its own
        """What the function gives; where it is about so many bytes, computed on another thread."""
        if size < LARGE:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._predictor.aside, function, *arguments)


def _header(request: Request, name: str) -> str | None:
    """A header; of one that comes several times all are meant."""
    values = request.headers.getlist(name)
    return ",".join(values) if values else None


def name_of(request: Request) -> bytes | None:
    """The name that its client gave a request; None where it gave none that can be given back."""
    given = _header(request, REQUEST_ID.decode())
    return None if given is None else valid_request_id(given.encode("latin-1"))


async def read_body(request: Request, max_body: int) -> bytes:
    """The whole body of a request; raises `TooLargeError` once it is clear that it has more than `max_body` bytes."""
    return b"".join([part async for part in _parts(request, max_body)])


async def _read_tensors(request: Request, max_body: int, json_length: int) -> bytes:
    """The same of a body with raw tensors behind so many bytes of JSON, to be read in place: each part is copied once.

    It is a view, which whoever reads a body takes for bytes.
    """
    parts = _parts(request, max_body)
    length = _announced(request)
    if length is None:
        return cast("bytes", joined([part async for part in parts], json_length))
    room, size = None, 0
    async for part in parts:
        if room is None:
            # Not before there is something to put into it.
            room = room_for(length, json_length)
        room[size : size + len(part)] = part
        size += len(part)
    return b"" if room is None else cast("bytes", room[:size].toreadonly())


async def _parts(request: Request, max_body: int) -> AsyncIterator[bytes]:
    """The parts of a body as they come; raises `TooLargeError` once it is clear that they are too many bytes."""
    size, announced = 0, _announced(request) or 0
    if announced <= max_body:
        async for part in request.stream():
            size += len(part)
            if size > max_body:
                break
            yield part
    if max(size, announced) > max_body:
        # Made here: held by a name, it and the part that it comes with would wait for the collector.
        raise TooLargeError(f"the body has more than the {max_body} bytes that the server takes")


def _announced(request: Request) -> int | None:
    """How long the body is, as its head says; None where it does not."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


async def _wait(settled: asyncio.Event, receive: Receive) -> None:
    """Return once the outcome is there; raise `ClientDisconnect` once the client is gone before."""
    # What runs on the event loop is done in its next turn; only what takes longer is worth a watch on the client.
    await asyncio.sleep(0)
    if settled.is_set():
        return
    # The body is read, so that the next message is that the client has gone.
    gone, done = asyncio.ensure_future(receive()), asyncio.ensure_future(settled.wait())
    try:
        await asyncio.wait((done, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        done.cancel()
    if not settled.is_set():
        raise ClientDisconnect


async def respond(request: Request, response: Response, send: Send) -> None:
    """Send the response to a request, with the name that its client gave it."""
    request_id = name_of(request)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    if request_id is not None:
        headers.append((REQUEST_ID, request_id))
    headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
