"""Tells what became of each prediction, by the short way and by the application."""

from functools import lru_cache
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import InternalError
from service.http.connection import REFUSAL
from service.http.heads import Head
from service.http.lane import Exchange, Lane
from service.http.route import PREDICTION_PATHS, TIMELINE, name_of
from service.http.wire import Response
from service.metrics import Dialect
from service.predict import Predictor, Reply, Target, Timeline
from service.tracing import Asked, Tracing

_ROUTES: dict[tuple[Dialect, bool], str] = {
    (protocol, "{version}" in path): path for path, protocol in PREDICTION_PATHS.items()
}
"""The path of predictions by protocol, and by whether it names a version."""
_PATTERNS = [(path, protocol, compile_path(path)[0]) for path, protocol in PREDICTION_PATHS.items()]
_FAILED = 400


class _Error(msgspec.Struct):
    """What is read of an error's body."""

    code: str


class TracedExchange(Exchange):
    """One of which is told once it is over, where its trace is sampled."""

    timeline: Timeline | None = None

    def __init__(self, lane: "TracedLane", head: Head, request_id: bytes | None, chunks: list[bytes]) -> None:
        super().__init__(lane, head, request_id, chunks)
        tracing, target = lane.tracing, head.target
        route, path = _place(target)
        # Where a part of the body is there, its head was not parsed.
        asked = Asked(
            route=route,
            path=path,
            scheme=lane.scheme or "http",
            http_version="1.1" if chunks else lane.parser.get_http_version(),
            client=lane.client,
            protocol=target.protocol,
            model=target.model,
            version=target.version,
            request_id=request_id,
        )
        self.begun = tracing.begin(tracing.carrier_in(lane.came) if chunks else tracing.carrier(lane.headers), asked)

    def abandon(self) -> None:
        """Let go of the rows, and keep when that was."""
        if self.prediction is not None:
            self.timeline = self.prediction.timeline
        super().abandon()


class TracedLane(Lane):
    """A lane that tells what became of the predictions that it answers."""

    exchange_kind: type[Exchange] = TracedExchange
    came = b""
    """What has come, while it is read."""

    def __init__(self, *arguments: Any, tracing: Tracing, timing: Predictor, **named: Any) -> None:  # noqa: ANN401  # as of any lane
        super().__init__(*arguments, **named)
        self.tracing = tracing
        self._predictors = (self._predictor, timing)

    def data_received(self, data: bytes) -> None:
        """Read it, and have it at hand meanwhile."""
        self.came = data
        super().data_received(data)
        self.came = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell of the prediction that the client waited for."""
        exchange = self._running
        super().connection_lost(exc)
        if exchange is not None:
            self._tell(exchange, None, None)

    def reply(self, exchange: Exchange, reply: Reply) -> None:
        """Send a reply, and keep what it says of its making."""
        if isinstance(exchange, TracedExchange):
            exchange.timeline = reply.timeline
        super().reply(exchange, reply)

    def _predict(self, exchange: Exchange) -> None:
        is_told = isinstance(exchange, TracedExchange) and exchange.begun is not None
        self._predictor = self._predictors[is_told]
        super()._predict(exchange)

    def _answer(self, exchange: Exchange, response: Response) -> None:
        is_turn = exchange is self._running
        super()._answer(exchange, response)
        if is_turn:
            self._tell(exchange, response.status, response.body)

    def _tell(self, exchange: Exchange, status: int | None, body: bytes | None) -> None:
        if isinstance(exchange, TracedExchange) and exchange.begun is not None:
            self.tracing.tell(exchange.begun, status, _code(status, body), exchange.timeline)


class Traced:
    """The same of those that the application answers, whatever part of it does."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, and tell what was answered."""
        asked = _asked(scope) if scope["type"] == "http" and scope["method"] == "POST" else None
        begun = None if asked is None else self._tracing.begin(self._tracing.carrier(scope["headers"]), asked)
        if begun is None:
            await self._app(scope, receive, send)
            return
        status: int | None = None
        body: bytes | None = None

        async def heard(message: Message) -> None:
            nonlocal status, body
            await send(message)
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                body = message.get("body")

        try:
            await self._app(scope, receive, heard)
        except Exception:
            # It is answered so by what is around us.
            status, body = InternalError.status, None
            raise
        finally:
            refusal: Response | None = scope.get(REFUSAL)
            if refusal is not None:
                status, body = refusal.status, refusal.body
            self._tracing.tell(begun, status, _code(status, body), scope.get(TIMELINE))


def _asked(scope: Scope) -> Asked | None:
    """What a prediction asks; None for any other request."""
    for route, protocol, pattern in _PATTERNS:
        found = pattern.match(scope["path"])
        if found is not None:
            return Asked(
                route=route,
                path=scope["path"],
                scheme=scope["scheme"],
                http_version=scope["http_version"],
                client=scope["client"],
                protocol=protocol,
                model=found["model"],
                version=found.groupdict().get("version"),
                request_id=name_of(Request(scope)),
            )
    return None


@lru_cache(maxsize=4096)
def _place(target: Target) -> tuple[str, str]:
    """The route of a prediction, and its path, which was not encoded."""
    route = _ROUTES[target.protocol, target.version is not None]
    return route, route.format(model=target.model, version=target.version)


def _code(status: int | None, body: bytes | None) -> str | None:
    """The code of the error that a response tells; None where it tells none."""
    if status is None or status < _FAILED:
        return None
    return InternalError.code if body is None else msgspec.json.decode(body, type=_Error).code
