"""The short way from a prediction's bytes to its reply: past the application, with no scope, task or messages."""

import re
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from uvicorn.config import Config
from uvicorn.server import ServerState

from service.errors import DrainingError, RequestError
from service.http.guard import Guard, Limits
from service.http.wire import JSON_LENGTH_HEADER, Response, parse_json_length, write, write_error
from service.metrics import Metrics
from service.predict import LARGE, Call, Encoded, Pending, Predictor, Protocol, Reply

T = TypeVar("T")

_NAME = rb"([A-Za-z0-9_.-]+)"
_PATH = re.compile(
    rb"/v1/models/%b(?:/versions/%b)?:predict|/v2/models/%b(?:/versions/%b)?/infer" % (_NAME, _NAME, _NAME, _NAME)
)
_ACCEPTS = b"accept-encoding"
_JSON_LENGTH = JSON_LENGTH_HEADER.encode()
_READ = {b"content-length", b"content-encoding", _ACCEPTS, _JSON_LENGTH}


class Target(NamedTuple):
    """What the path of a prediction names."""

    protocol: Protocol
    model: str
    version: str | None


@lru_cache(maxsize=4096)
def target_of(url: bytes) -> Target | None:
    """What the URL of a prediction names; None for any other, and for one that would have to be decoded."""
    found = _PATH.fullmatch(url)
    if found is None:
        return None
    model, version, other_model, other_version = (None if one is None else one.decode() for one in found.groups())
    return Target("v2", other_model or "", other_version) if model is None else Target("v1", model, version)


class _Silent:
    """In the place of the event by which uvicorn wakes a task of its own."""

    @staticmethod
    def set() -> None:
        """Wake nobody."""


class Exchange:
    """One prediction and its reply, in the place where uvicorn has a cycle of ASGI messages and its task."""

    __slots__ = (
        "accept_encoding",
        "chunks",
        "disconnected",
        "json_length",
        "keep_alive",
        "lane",
        "more_body",
        "pending",
        "refusal",
        "response_complete",
        "target",
    )

    message_event = _Silent

    def __init__(
        self, lane: "Lane", target: Target, accepts: bytes | None, json_length: bytes | None, *, keep_alive: bool
    ) -> None:
        self.lane = lane
        self.target = target
        self.accept_encoding = None if accepts is None else accepts.decode("latin-1")
        self.json_length = None if json_length is None else json_length.decode("latin-1")
        self.keep_alive = keep_alive
        self.refusal: Response | None = None
        """What is known to be the answer before its turn."""
        self.chunks: list[bytes] = []
        self.more_body = True
        self.pending: Pending | None = None
        self.disconnected = False
        self.response_complete = False

    def computed(self, _: "Future[Any]") -> None:
        """Reply, now that the outputs or an error are there; unless nobody waits any more."""
        pending = self.pending
        if pending is None:
            return
        if pending.is_large:
            self.lane.aside(pending.encode).add_done_callback(self._encoded)
        else:
            self.pending = None
            self.lane.reply(self, pending.finish())

    def _encoded(self, made: "Future[Encoded]") -> None:
        pending, self.pending = self.pending, None
        if pending is not None:
            self.lane.reply(self, pending.end(made.result()))

    def abandon(self) -> None:
        """Let go of the rows of a client that is gone."""
        if self.pending is not None:
            pending, self.pending = self.pending, None
            pending.abandon()

    def cancel(self, msg: str) -> None:
        """End it, as uvicorn ends its tasks when the time for requests in flight is over."""
        del msg
        # Not now: uvicorn is walking through the set that an ended exchange leaves.
        self.lane.loop.call_soon(self.lane.give_up, self)


class Lane(Guard):
    """One connection, of which a POST to a prediction's path is answered by `predictor` once its body is there.

    Everything else goes to the application; so does a prediction whose body is large, compressed, of no announced
    length or yet to be asked for.
    """

    def __init__(  # noqa: PLR0913  # uvicorn's own four, then ours
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
        *,
        limits: Limits,
        predictor: Predictor,
        metrics: Metrics,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop, limits=limits)
        self._predictor = predictor
        self._metrics = metrics
        self._small = min(LARGE, limits.body + 1)
        """How long a body has to be, not to be answered here."""
        self._running: Exchange | None = None
        """The exchange whose turn it is: replies go out in the order of the requests."""
        self._held: Exchange | None = None
        """The exchange that waits for its client to read what was sent before."""

    # What the transport, the parser and uvicorn call

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of all that the client waited for."""
        super().connection_lost(exc)
        if self._running is not None:
            self._running.abandon()
            self.tasks.discard(self._running)
        self._running = self._held = None

    def resume_writing(self) -> None:
        """Go on with the exchange that was held."""
        super().resume_writing()
        if self._held is not None:
            held, self._held = self._held, None
            self._predict(held)

    def on_body(self, body: bytes) -> None:
        """Keep a part of a prediction's body."""
        exchange = self.cycle
        if isinstance(exchange, Exchange):
            exchange.chunks.append(body)
        else:
            super().on_body(body)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401  # uvicorn's or ours
        if isinstance(cycle, Exchange):
            self._start(cycle)
        else:
            super()._start_asgi_task(cycle, app)

    # Our own

    def _all_read(self) -> None:
        """Predict, where it is a prediction's turn."""
        if self.cycle is self._running and self._running is not None:
            self._predict(self._running)

    def reply(self, exchange: Exchange, reply: Reply) -> None:
        """Send a prediction's reply; a large one that is to be compressed is so on another thread."""
        accept = exchange.accept_encoding
        if accept is None or len(reply.body) < LARGE:
            self._answer(exchange, write(reply, accept))
            return
        made = self.aside(write, reply, accept)
        made.add_done_callback(lambda done: self._answer(exchange, done.result()))

    def aside(self, function: Callable[..., T], *arguments: Any) -> "Future[T]":  # noqa: ANN401  # its own
        """What the function gives, computed on another thread."""
        return self.loop.run_in_executor(self._predictor.aside, function, *arguments)

    def give_up(self, exchange: Exchange) -> None:
        """End an exchange for which the server has no more time."""
        exchange.abandon()
        exchange.keep_alive = False
        self._answer(exchange, write_error(DrainingError("the server stopped before this request was answered")))

    def _begin(self) -> None:
        """Choose the way."""
        target = target_of(self.url) if self.parser.get_method() == b"POST" else None
        exchange = None if target is None else self._exchange(target)
        if exchange is None:
            super()._begin()
            return
        waiting = self.cycle is not None and not self.cycle.response_complete
        self.cycle = exchange
        if waiting:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))  # type: ignore[arg-type]  # in the place of a cycle
        else:
            self._start(exchange)

    def _exchange(self, target: Target) -> Exchange | None:
        """The exchange that these headers begin; None where the application has to see to it."""
        fields: dict[bytes, bytes] = {}
        for name, value in self.headers:
            if name in _READ:
                # Of a header that comes twice both are meant.
                fields[name] = fields[name] + b"," + value if name in fields else value
        length = fields.get(b"content-length")
        if length is None or int(length) >= self._small or b"content-encoding" in fields or self.expect_100_continue:
            return None
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        return Exchange(self, target, fields.get(_ACCEPTS), fields.get(_JSON_LENGTH), keep_alive=keep_alive)

    def _start(self, exchange: Exchange) -> None:
        """Begin with an exchange, now that all replies before it are sent."""
        self._running = exchange
        self.tasks.add(exchange)  # type: ignore[arg-type]  # in the place of a task
        if exchange.refusal is not None:
            self._answer(exchange, exchange.refusal)
        elif not exchange.more_body:
            self._predict(exchange)
        else:
            self.flow.resume_reading()

    def _predict(self, exchange: Exchange) -> None:
        if self.flow.write_paused:
            # Its client does not read: nothing more is computed for it meanwhile.
            self._held = exchange
            return
        chunks, exchange.chunks = exchange.chunks, []
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        try:
            length = None if exchange.json_length is None else parse_json_length(exchange.json_length)
        except RequestError as error:
            self._metrics.unrouted[error.code] += 1
            self._answer(exchange, write_error(error))
            return
        begun = self._predictor.begin(Call(*exchange.target, body, length))
        if isinstance(begun, Reply):
            self.reply(exchange, begun)
        else:
            exchange.pending = begun
            begun.future.add_done_callback(exchange.computed)

    def _answer(self, exchange: Exchange, response: Response) -> None:
        """Send a response in its turn, and go on."""
        if exchange is not self._running:
            exchange.refusal = response
            return
        self._running = None
        self.tasks.discard(exchange)
        exchange.response_complete = True
        self._send(response, keep_alive=exchange.keep_alive)
        self.on_response_complete()

    def _end(self, response: Response) -> None:
        if isinstance(self.cycle, Exchange):
            self.cycle.keep_alive = False
            self._answer(self.cycle, response)
        else:
            super()._end(response)
