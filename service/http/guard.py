"""uvicorn's protocol for HTTP/1.1 with the guards that it lacks: what a head may hold, what may take how long."""

from asyncio import AbstractEventLoop
from typing import Any, NamedTuple

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from service.errors import (
    ConnectionsError,
    DrainingError,
    ForwardpassError,
    HeadTooLargeError,
    MalformedError,
    MethodError,
    SlowError,
)
from service.http.connection import BODY, END, HEAD, IDLE, REPLY, Connection, is_delivered
from service.http.failures import Failures
from service.http.patience import Patience
from service.http.rounds import Rounds
from service.http.wire import REQUEST_ID, valid_request_id, write_error

_UPGRADING = {b"upgrade", b"connection", b"http2-settings"}
_LINGER = 1.0
"""Seconds in which what a client still sends is read and thrown away, after it was told why."""


class Limits(NamedTuple):
    """What one connection may cost, and how many there may be."""

    body: int
    """Bytes of a body."""
    head: int
    """Bytes of a request line with its headers."""
    head_seconds: float
    """From a request's first byte to the end of its head."""
    body_seconds: float
    """From there to the end of its body."""
    idle_seconds: float
    """Between two requests."""
    connections: int
    """Of all clients, at a time."""


class Guard(Connection):
    """One connection, whose requests go to the application.

    What is too large, too slow or no HTTP is refused in our own form, behind the replies that are due, and ends the
    connection.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
        *,
        limits: Limits,
        failures: Failures,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._failures = failures
        # uvicorn's own place for what the connections of a server share.
        self._rounds: Rounds = vars(server_state).setdefault("rounds", Rounds(self.loop))
        self._patience = Patience(self.loop.time(), limits.head_seconds, limits.body_seconds)
        self._chunk = 0
        """Bytes that have come lately."""
        self._head_bytes: int | None = None
        """Bytes of a head that did not come at once."""
        self._trailer_bytes = 0

    # What the transport calls

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  # asyncio's or uvloop's
        """Begin to look at the clock; refuse a connection that is one too many."""
        super().connection_made(transport)
        self._rounds.join(self)
        if len(self.connections) > self._limits.connections:
            # It takes no other's place while it ends.
            self.connections.discard(self)
            self._refuse(ConnectionsError(f"{self._limits.connections} clients are connected, which is all that may"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        self._rounds.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come; a request that is whole is begun from within."""
        self._chunk = len(data)
        while data and not self._broken:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as error:
                data = self._without_upgrade(data[error.args[0] :])
            except httptools.HttpParserError as error:
                self._refuse(MalformedError(f"this is no HTTP/1.1 request: {error}"))
        if self._stage == HEAD:
            # Of a head that began in these bytes only what is parsed, of another one all of them.
            before = self._head_bytes
            self._head_bytes = self._size_of_head() if before is None else before + self._chunk
            if self._head_bytes > self._limits.head:
                self._refuse(self._head_too_large())

    # What the parser calls

    def on_message_begin(self) -> None:
        """Gather the parts of a head; a scope is made of them where one is needed."""
        if self._broken:
            return
        self.url = b""
        self.headers = []
        self._wait_for(HEAD)
        self._head_bytes = None
        self._trailer_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what comes behind a body means nothing here, and is only counted."""
        if self._stage == HEAD:
            self.headers.append((name.lower(), value))
            return
        self._trailer_bytes += len(name) + len(value)
        if self._trailer_bytes > self._limits.head:
            self._refuse(self._head_too_large())

    def on_headers_complete(self) -> None:
        """Begin with the request."""
        if self._broken or self.parser.should_upgrade():
            return
        came_at_once = self._head_bytes is None and self._chunk <= self._limits.head
        if not came_at_once and self._size_of_head() > self._limits.head:
            self._refuse(self._head_too_large())
            return
        self._wait_for(BODY)
        self._begin()

    def on_message_complete(self) -> None:
        """Wait for nothing more, while the reply is made."""
        if self._broken or self.parser.should_upgrade():
            return
        cycle = self.cycle
        if cycle.response_complete:
            self._wait_for(IDLE)
            return
        self._stage = REPLY
        cycle.more_body = False
        cycle.message_event.set()
        self._all_read()

    # Our own

    def _wait_for(self, stage: int) -> None:
        self._stage = stage
        self._patience.restart()

    def _all_read(self) -> None:
        """Do what can be done once a request is whole; the application sees to it by itself."""

    def _refuse(self, error: ForwardpassError) -> None:
        """Read no more, tell the client why behind the replies that are due, and end the connection; but once."""
        if self._broken:
            return
        self._broken = True
        # Before its head is there, nobody knows what the client calls the request.
        request_id = self._request_id() if self._stage == BODY else None
        self._failures.tell(error, self.client, request_id)
        self._say_last(write_error(error), request_id)

    def _request_id(self) -> bytes | None:
        """What its client calls the request whose head came last; None where it gives it no name."""
        given = [value for name, value in self.headers if name == REQUEST_ID]
        return valid_request_id(b",".join(given)) if given else None

    def _without_upgrade(self, rest: bytes) -> bytes:
        """A request without its wish for another protocol, which a server may pass over (RFC 9110, 7.8), and the rest.

        It is for a parser that has seen nothing of it.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(MethodError("CONNECT: this server is no proxy"))
            return b""
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] not in _UPGRADING]
        wishes = [wish.strip() for name, value in self.headers if name == b"connection" for wish in value.split(b",")]
        lines += [b"connection: %b" % wish for wish in wishes if wish.lower() in (b"close", b"keep-alive")]
        self.parser = httptools.HttpRequestParser(self)
        return b"\r\n".join([*lines, b"", rest])

    def look(self, now: float) -> None:
        """End the connection where its time is over."""
        limits = self._limits
        seconds = (limits.idle_seconds, limits.head_seconds, limits.body_seconds, 0.0, _LINGER)[self._stage]
        if self._patience.is_stuck(now, self.transport.get_write_buffer_size()):
            self._cut_off()
        elif not self._patience.is_over(now, seconds, is_paused=self.flow.read_paused):
            return
        elif self._stage == END:
            if not self.transport.is_closing():
                self.transport.close()
            elif is_delivered(self.transport):
                # By TLS a client should answer its end, and few do.
                self._cut_off()
        elif self._stage == IDLE:
            self._hang_up()
        elif self._stage != REPLY:
            part = "head" if self._stage == HEAD else "body"
            self._refuse(SlowError(f"the request's {part} took longer than {seconds:g} s"))

    def refuse_unfinished(self) -> None:
        """Refuse a request of which not all has come, for the server has no more time."""
        if self._stage in (HEAD, BODY):
            self._refuse(DrainingError("the server stopped before this request had come"))

    def _cut_off(self) -> None:
        """End the connection at once, for all that look at it."""
        self._rounds.leave(self)
        self.connections.discard(self)
        self.transport.abort()

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)

    def _head_too_large(self) -> ForwardpassError:
        return HeadTooLargeError(
            f"the request's head has more than the {self._limits.head} bytes that the server takes"
        )
