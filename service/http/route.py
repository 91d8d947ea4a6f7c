"""The ASGI end of a prediction path: it gathers the body, waits for the answer and sends it."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from service.errors import DrainingError, RequestError, TooLargeError
from service.http.wire import JSON_LENGTH_HEADER, Response, expand, parse_json_length, write, write_error
from service.metrics import Metrics
from service.predict import LARGE, Call, Pending, Predictor, Protocol, Reply

T = TypeVar("T")


class PredictionRoute:
    """Answers the requests to one path, which names the model and maybe the version.

    The rows of a client that goes away while they wait are not computed.
    """

    def __init__(self, predictor: Predictor, metrics: Metrics, protocol: Protocol, max_body: int) -> None:
        self._predictor = predictor
        self._metrics = metrics
        self._protocol: Protocol = protocol
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        if request.method != "POST":
            # Said here: a route that takes only POST would leave the others to `/v1/models/{name}`.
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        try:
            response = await self._answer(request, receive)
        except ClientDisconnect:
            return
        except RequestError as error:
            self._metrics.unrouted[error.code] += 1
            response = write_error(error)
        except asyncio.CancelledError:
            # uvicorn's way to say that the time for requests in flight is over.
            response = write_error(DrainingError("the server stopped before this request was answered"))
        await _send(response, send)

    async def _answer(self, request: Request, receive: Receive) -> Response:
        """The response to a request whose client waits for it; raises `ClientDisconnect` where it does not.

        Raises a `RequestError` for a body or a header that cannot be read.
        """
        length = _header(request, JSON_LENGTH_HEADER)
        json_length = None if length is None else parse_json_length(length)
        body = await read_body(request, self._max_body)
        if coding := _header(request, "content-encoding"):
            body = await self._aside(len(body), expand, body, coding, self._max_body)
        path = request.path_params
        call = Call(self._protocol, path["model"], path.get("version"), body, json_length)
        begun = self._predictor.queue(await self._aside(len(body), self._predictor.read, call))
        reply = begun if isinstance(begun, Reply) else await self._finish(begun, receive)
        return await self._aside(len(reply.body), write, reply, _header(request, "accept-encoding"))

    async def _finish(self, pending: Pending, receive: Receive) -> Reply:
        """The reply, once the rows are computed; raises `ClientDisconnect` where nobody waits for it any more."""
        try:
            await _wait(pending, receive)
            encoded = await self._aside(LARGE if pending.is_large else 0, pending.encode)
        except BaseException:
            pending.abandon()
            raise
        return pending.end(encoded)

    async def _aside(self, size: int, function: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401  # its own
        """What the function gives; where it is about so many bytes, computed on another thread."""
        if size < LARGE:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._predictor.aside, function, *arguments)


def _header(request: Request, name: str) -> str | None:
    """A header; of one that comes several times all are meant."""
    values = request.headers.getlist(name)
    return ",".join(values) if values else None


async def read_body(request: Request, max_body: int) -> bytes:
    """The whole body of a request; raises `TooLargeError` once it is clear that it has more than `max_body` bytes."""
    too_large = TooLargeError(f"the body has more than the {max_body} bytes that the server takes")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_body:
        raise too_large
    size, chunks = 0, []
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_body:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


async def _wait(pending: Pending, receive: Receive) -> None:
    """Return once the answer is there; raise `ClientDisconnect` once the client is gone before."""
    # What runs on the event loop is done in its next turn; only what takes longer is worth a watch on the client.
    await asyncio.sleep(0)
    if pending.future.done():
        return
    # The body is read, so that the next message is that the client has gone.
    gone = asyncio.ensure_future(receive())
    try:
        await asyncio.wait((pending.future, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
    if not pending.future.done():
        raise ClientDisconnect


async def _send(response: Response, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
