"""The short way from a prediction's bytes to its reply: past the application, with no scope, task or messages."""

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from typing import Any, TypeVar

from uvicorn.config import Config
from uvicorn.server import ServerState

from service.errors import DrainingError, ForwardpassError, RequestError
from service.http.connection import IDLE, REPLY
from service.http.failures import Failures
from service.http.guard import Guard, Limits
from service.http.heads import LONGEST, Head, Heads
from service.http.wire import (
    JSON_LENGTH_HEADER,
    REQUEST_ID,
    Response,
    parse_json_length,
    target_of,
    valid_request_id,
    write,
    write_error,
)
from service.keys import KeyRing
from service.metrics import Metrics
from service.predict import LARGE, Prediction, Predictor, Reply, Target

T = TypeVar("T")

_ACCEPTS = b"accept-encoding"
_JSON_LENGTH = JSON_LENGTH_HEADER.encode()


class _Silent:
    """In the place of the event by which uvicorn wakes a task of its own."""

    @staticmethod
    def set() -> None:
        """Wake nobody."""


class Exchange:
    """One prediction and its reply, in the place where uvicorn has a cycle of ASGI messages and its task."""

    message_event = _Silent

    # Of most of them this is never changed.
    more_body = False
    disconnected = False
    response_complete = False
    refusal: Response | None = None
    """What is known to be the answer before its turn."""
    prediction: Prediction | None = None

    def __init__(self, lane: "Lane", head: Head, request_id: bytes | None, chunks: list[bytes]) -> None:
        self.lane = lane
        self.head = head
        self.request_id = request_id
        self.chunks = chunks
        """What has come of the body."""
        self.keep_alive = head.keep_alive

    def computed(self) -> None:
        """Reply, now that the outputs or an error are there."""
        prediction = self.prediction
        if prediction is None:
            return
        if prediction.is_large:
            self.lane.aside(prediction.encode).add_done_callback(self._encoded)
        else:
            self.prediction = None
            self.lane.reply(self, prediction.finish())

    def _encoded(self, _: "Future[None]") -> None:
        prediction, self.prediction = self.prediction, None
        if prediction is not None:
            self.lane.reply(self, prediction.end())

    def abandon(self) -> None:
        """Let go of the rows of a client that is gone."""
        if self.prediction is not None:
            prediction, self.prediction = self.prediction, None
            prediction.abandon()

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

    exchange_kind: type[Exchange] = Exchange
    """What a prediction is here."""

    def __init__(  # noqa: PLR0913  # uvicorn's own four, then ours
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
        *,
        limits: Limits,
        failures: Failures,
        heads: Heads,
        predictor: Predictor,
        metrics: Metrics,
        keys: KeyRing | None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop, limits=limits, failures=failures)
        self._heads = heads
        self._predictor = predictor
        self._metrics = metrics
        self._keys = keys
        """Of those who may predict; None where anybody may."""
        self._small = min(LARGE, limits.body + 1)
        """How long a body has to be, not to be answered here."""
        self._running: Exchange | None = None
        """The exchange whose turn it is: replies go out in the order of the requests."""
        self._held: Exchange | None = None
        """The exchange that waits for its client to read what was sent before."""
        self._data: bytes | None = None
        """What has come at the start of a request, while it is parsed."""

    # What the transport, the parser and uvicorn call

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of all that the client waited for."""
        super().connection_lost(exc)
        if self._running is not None:
            self._running.abandon()
            self.tasks.discard(self._running)
        # An exchange knows its connection, which shall not know it any longer: they would wait for the collector.
        self._running = self._held = self.cycle = None

    def resume_writing(self) -> None:
        """Go on with the exchange that was held."""
        super().resume_writing()
        if self._held is not None:
            held, self._held = self._held, None
            self._predict(held)

    def data_received(self, data: bytes) -> None:
        """Predict at once where all of it is known but the body; else parse it."""
        if self._stage != IDLE or self._broken:
            super().data_received(data)
            return
        found = self._heads.find(data)
        if found is None:
            self._data = data
            super().data_received(data)
            self._data = None
            return
        head, request_id = found
        self._stage = REPLY
        self.cycle = self._running = exchange = self.exchange_kind(self, head, request_id, [data[-head.length :]])
        self.tasks.add(exchange)  # type: ignore[arg-type]  # in the place of a task
        self._predict(exchange)

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
        exchange = self._running
        if exchange is None or exchange is not self.cycle:
            return
        if self._data is not None and len(exchange.chunks) == 1:
            self._heads.keep(self._data, exchange.head, exchange.chunks[0])
        self._predict(exchange)

    def reply(self, exchange: Exchange, reply: Reply) -> None:
        """Send a prediction's reply; a large one that is to be compressed is so on another thread."""
        if reply.error is not None:
            self._fail(exchange, reply.error, reply.seconds)
            return
        accept = exchange.head.accept_encoding
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
        self._fail(exchange, DrainingError("the server stopped before this request was answered"))

    def _begin(self) -> None:
        """Choose the way."""
        # What is kept of a URL shall be short.
        is_short = len(self.url) <= LONGEST
        target = target_of(self.url) if is_short and self.parser.get_method() == b"POST" else None
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
        fields = dict(self.headers)
        if len(fields) < len(self.headers):
            # Of a header that comes twice both are meant.
            fields = {}
            for name, value in self.headers:
                fields[name] = b"%b,%b" % (fields[name], value) if name in fields else value
        if self._keys is not None and not self._keys.allows(fields.get(b"authorization"), "predict"):
            # Refused there. So no head is ever remembered here of which the key was not looked at and found good.
            return None
        length = int(fields.get(b"content-length", self._small))
        if length >= self._small or b"content-encoding" in fields or b"expect" in fields:
            return None
        accepts, json_length, request_id = fields.get(_ACCEPTS), fields.get(_JSON_LENGTH), fields.get(REQUEST_ID)
        head = Head(
            target,
            length,
            None if accepts is None else accepts.decode("latin-1"),
            None if json_length is None else json_length.decode("latin-1"),
            self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive(),
        )
        named = None if request_id is None else valid_request_id(request_id)
        exchange = self.exchange_kind(self, head, named, [])
        exchange.more_body = True
        return exchange

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
        head, chunks, exchange.chunks = exchange.head, exchange.chunks, []
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        length = None
        if head.json_length is not None:
            try:
                length = parse_json_length(head.json_length)
            except RequestError as error:
                self._metrics.unrouted.add(error.code)
                self._fail(exchange, error)
                return
        begun = self._predictor.begin(head.target, body, length, exchange.computed)
        if isinstance(begun, Reply):
            self.reply(exchange, begun)
        else:
            exchange.prediction = begun

    def _fail(self, exchange: Exchange, error: ForwardpassError, seconds: float | None = None) -> None:
        """Say why a prediction has no answer, to its client and in the log."""
        self._failures.tell_of(error, exchange.head.target, self.client, exchange.request_id, seconds)
        self._answer(exchange, write_error(error))

    def _answer(self, exchange: Exchange, response: Response) -> None:
        """Send a response in its turn, and go on."""
        if exchange is not self._running:
            exchange.refusal = response
            return
        self._running = None
        self.tasks.discard(exchange)
        exchange.response_complete = True
        self._send(response, keep_alive=exchange.keep_alive, request_id=exchange.request_id)
        self.on_response_complete()

    def _end(self, response: Response, request_id: bytes | None) -> None:
        if isinstance(self.cycle, Exchange):
            self.cycle.keep_alive = False
            self._answer(self.cycle, response)
        else:
            super()._end(response, request_id)
