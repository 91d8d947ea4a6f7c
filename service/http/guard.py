"""uvicorn's protocol for HTTP/1.1 with the guards that it lacks: what a head may hold, what may take how long."""

from asyncio import AbstractEventLoop, TimerHandle
from typing import Any, NamedTuple

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.errors import (
    ConnectionsError,
    ForwardpassError,
    HeadTooLargeError,
    MalformedError,
    MethodError,
    SlowError,
)
from service.http.failures import Failures
from service.http.wire import REQUEST_ID, Response, head_of, write_error
from service.predict import LARGE

LAST_REPLY = (b"connection", b"close")
"""Among the headers of every response: it ends its connection, since the server drains."""

_UPGRADING = {b"upgrade", b"connection", b"http2-settings"}
_LINGER = 1.0
"""Seconds in which what a client still sends is read and thrown away, after it was told why."""
_TICK = 0.5
"""Seconds between two looks at a connection's clock: so much later than its limit it may end."""


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


# What a connection waits for; plain numbers, since an enumeration's members cost several times as much to look up.
IDLE = 0
HEAD = 1
BODY = 2
REPLY = 3
"""Nothing: its client waits for us."""


class Guard(HttpToolsProtocol):
    """One connection, whose requests go to the application.

    What is too large, too slow or no HTTP is refused in our own form, behind the replies that are due, and ends the
    connection.
    """

    cycle: Any
    """uvicorn's cycle of ASGI messages, or what a subclass has in its place."""

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
        self._stage = IDLE
        self._due = 0.0
        """When the connection ends unless what it waits for comes, on the loop's clock."""
        self._chunk = 0
        """Bytes that have come lately."""
        self._head_bytes: int | None = None
        """Bytes of a head that did not come at once."""
        self._trailer_bytes = 0
        self._broken = False
        """Whether nothing more is read, since it could not be understood or took too long."""
        self._lingers = False
        """Whether all is said, and the connection only waits for its client to end."""
        self._watch: TimerHandle | None = None
        self._unread = 0
        """Bytes that waited for the client to read, at the last look."""
        self._unread_since = 0.0
        """Since when it has read none of them, on the loop's clock."""
        self._farewell: Response | None = None
        """What is said before the connection ends, behind the replies that are due."""
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._default_lines = b""
        """What uvicorn puts into every response, as it was last."""
        self._served: Any = None
        """The cycle whose turn it is: replies go out in the order of the requests."""

    # What the transport calls

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  # asyncio's or uvloop's
        """Begin to look at the clock; refuse a connection that is one too many."""
        super().connection_made(transport)
        self._unread_since = self.loop.time()
        self._due = self._unread_since + self._limits.head_seconds
        self._watch = self.loop.call_later(_TICK, self._look)
        if len(self.connections) > self._limits.connections:
            # It takes no other's place while it ends.
            self.connections.discard(self)
            self._refuse(ConnectionsError(f"{self._limits.connections} clients are connected, which is all that may"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more, and tell whoever is at work that the client has gone."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)
        # uvicorn tells it to the last request of the connection, which is another one where they come in a row.
        if self._served is not None and not self._served.response_complete:
            self._served.disconnected = True
            self._served.message_event.set()
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Parse what has come; a request that is whole is begun from within."""
        stage, self._chunk = self._stage, len(data)
        while data and not self._broken:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as error:
                data = self._without_upgrade(data[error.args[0] :])
            except httptools.HttpParserError as error:
                self._refuse(MalformedError(f"this is no HTTP/1.1 request: {error}"))
        if self._stage == HEAD and not self._broken:
            # Of a head that began in these bytes only what is parsed, of another one all of them.
            before = self._head_bytes
            self._head_bytes = self._size_of_head() if before is None else before + self._chunk
            if self._head_bytes > self._limits.head:
                self._refuse(self._head_too_large())
        if self._stage != stage:
            self._due = self.loop.time() + self._patience()

    # What the parser calls

    def on_message_begin(self) -> None:
        """Gather the parts of a head; a scope is made of them where one is needed."""
        self.url = b""
        self.headers = []
        self._stage = HEAD
        self._head_bytes = None
        self._trailer_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what comes behind a body means nothing here, and is only counted."""
        if self._stage == HEAD:
            self.headers.append((name.lower(), value))
            return
        self._trailer_bytes += len(name) + len(value)
        if self._trailer_bytes > self._limits.head and not self._broken:
            self._refuse(self._head_too_large())

    def on_headers_complete(self) -> None:
        """Begin with the request."""
        if self._broken or self.parser.should_upgrade():
            return
        came_at_once = self._head_bytes is None and self._chunk <= self._limits.head
        if not came_at_once and self._size_of_head() > self._limits.head:
            self._refuse(self._head_too_large())
            return
        self._stage = BODY
        self._begin()

    def on_body(self, body: bytes) -> None:
        """Hand a part of the body on; the first, until it is read, as it is, where uvicorn would copy it twice."""
        if self._broken:
            return
        cycle = self.cycle
        if cycle.body or cycle.response_complete:
            if isinstance(cycle.body, bytes):
                cycle.body = bytearray(cycle.body)
            super().on_body(body)
            return
        # uvicorn makes `bytes` of it, which these are already.
        cycle.body = body
        if len(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Wait for nothing more, while the reply is made."""
        if self._broken or self.parser.should_upgrade():
            return
        cycle = self.cycle
        if cycle.response_complete:
            self._rest()
            return
        self._stage = REPLY
        cycle.more_body = False
        cycle.message_event.set()
        self._all_read()

    # What uvicorn calls

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401  # uvicorn's
        self._served = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on with the next request; as uvicorn does, without a timer for each reply."""
        self.server_state.total_requests += 1
        if self._lingers or self.transport.is_closing():
            return
        if self.pipeline:
            # In a turn of its own: many that are answered at once would lead ever deeper into themselves. Nothing
            # more is read meanwhile.
            self.loop.call_soon(self._next)
            return
        if self._farewell is not None:
            self._send(self._farewell, keep_alive=False)
            return
        if self._stage == REPLY:
            self._rest()
        self.flow.resume_reading()

    def shutdown(self) -> None:
        """End the connection behind the replies that are due; where a head has begun to come, behind its reply too."""
        if self._stage != HEAD and not self._lingers:
            super().shutdown()

    # Our own

    def _next(self) -> None:
        """Begin with the request that has waited longest."""
        if self.pipeline and not self._lingers and not self.transport.is_closing():
            self._start_asgi_task(*self.pipeline.pop())

    def _all_read(self) -> None:
        """Do what can be done once a request is whole; the application sees to it by itself."""

    def _rest(self) -> None:
        """Wait for the next request."""
        self._stage = IDLE
        self._due = self.loop.time() + self._limits.idle_seconds

    def _begin(self) -> None:
        """Let uvicorn answer by the application: with its scope, which holds the very list of headers."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.headers.extend(headers)
        self.expect_100_continue = (b"expect", b"100-continue") in [(name, value.lower()) for name, value in headers]
        super().on_headers_complete()

    def _send(self, response: Response, *, keep_alive: bool, request_id: bytes | None = None) -> None:
        """Write a response, and close the connection behind it where it shall not be kept."""
        body = response.body
        defaults = self.server_state.default_headers
        if defaults is not self._default_headers:
            # The date among them is another one each second.
            self._default_lines = b"".join([b"%b: %b\r\n" % header for header in defaults if header != LAST_REPLY])
            if LAST_REPLY not in defaults:
                self._default_headers = defaults
            elif not self.pipeline:
                # What waits behind it came before, and is answered too.
                keep_alive = False
        parts = [head_of(response.status, response.headers, keep_alive=keep_alive), self._default_lines]
        if request_id is not None:
            parts.append(b"%b: %b\r\n" % (REQUEST_ID, request_id))
        parts.append(b"content-length: %d\r\n\r\n" % len(body))
        if len(body) < LARGE:
            parts.append(body)
        self.transport.write(b"".join(parts))
        if len(body) >= LARGE:
            # By itself, since it is large to copy.
            self.transport.write(body)
        if not keep_alive:
            self._hang_up()

    def _hang_up(self) -> None:
        """End the connection; where its client may still be sending, after it has ended too, or a moment.

        At once, the system would tell the client that what it sent was not read, and throw the response away.
        """
        if self._broken and self.transport.can_write_eof():
            self._lingers = True
            self._due = self.loop.time() + _LINGER
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()

    def _refuse(self, error: ForwardpassError) -> None:
        """Read no more, tell the client why behind the replies that are due, and end the connection."""
        self._broken = True
        self._failures.tell(error, self.client)
        cycle, response = self.cycle, write_error(error)
        if cycle is None or cycle.response_complete:
            self._send(response, keep_alive=False)
        elif self._stage == BODY:
            self._end(response)
        else:
            self._farewell = response

    def _end(self, response: Response) -> None:
        """End the last request, whose body does not come as it should."""
        cycle = self.cycle
        if self.pipeline:
            # Its turn has not come: in its place this is said.
            self.pipeline.popleft()
            self._farewell = response
            return
        cycle.disconnected = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        if cycle.response_started:
            self.transport.close()
        else:
            self._send(response, keep_alive=False)

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

    def _look(self) -> None:
        """End the connection where its time is over."""
        self._watch = self.loop.call_later(_TICK, self._look)
        if self._is_stuck():
            self.transport.abort()
            return
        if self.flow.read_paused:
            # Nothing can come while we do not read: the client has its whole time from then on.
            self._due = self.loop.time() + self._patience()
        if self.loop.time() < self._due:
            return
        if self._lingers or (self._stage == IDLE and not self._broken):
            self.transport.close()
        elif self._stage != REPLY and not self._broken:
            part = "head" if self._stage == HEAD else "body"
            self._refuse(SlowError(f"the request's {part} took longer than {self._patience():g} s"))

    def _is_stuck(self) -> bool:
        """Whether the client has read nothing of what waits for it, for as long as a body may take."""
        before, self._unread = self._unread, self.transport.get_write_buffer_size()
        if self._unread == 0 or self._unread < before:
            self._unread_since = self.loop.time()
        return self.loop.time() - self._unread_since > self._limits.body_seconds

    def _patience(self) -> float:
        """How long to wait for what is waited for."""
        limits = self._limits
        return (limits.idle_seconds, limits.head_seconds, limits.body_seconds, 0.0)[self._stage]

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)

    def _head_too_large(self) -> ForwardpassError:
        return HeadTooLargeError(
            f"the request's head has more than the {self._limits.head} bytes that the server takes"
        )
