"""uvicorn's protocol for HTTP/1.1: requests in a row are answered in their order, and the end comes behind them."""

import fcntl
import sys
import termios
from asyncio import AbstractEventLoop, Transport
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.http.wire import REQUEST_ID, Response, head_of
from service.predict import LARGE

LAST_REPLY = (b"connection", b"close")
"""Among the headers of every response: it ends its connection, since the server drains."""

REFUSAL = "forwardpass.refusal"
"""Where a scope says what was answered in the place of its application, if that was so."""

# What a connection waits for; plain numbers, since an enumeration's members cost several times as much to look up.
IDLE = 0
HEAD = 1
BODY = 2
REPLY = 3
"""Nothing: its client waits for us."""
END = 4
"""All is said: its client is to end too."""


class Connection(HttpToolsProtocol):
    """One connection, whose requests go to the application; what it waits for is seen by a subclass."""

    cycle: Any
    """uvicorn's cycle of ASGI messages, or what a subclass has in its place."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._stage = IDLE
        self._broken = False
        """Whether nothing more is read: it could not be understood, took too long, or comes behind the end."""
        self._farewell: Response | None = None
        """What is said before the connection ends, behind the replies that are due."""
        self._default_headers: list[tuple[bytes, bytes]] = []
        self._default_lines = b""
        """What uvicorn puts into every response, as it was last."""
        self._served: Any = None
        """The cycle whose turn it is: replies go out in the order of the requests."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever is at work that the client has gone."""
        super().connection_lost(exc)
        # uvicorn tells it to the last request of the connection, which is another one where they come in a row.
        if self._served is not None and not self._served.response_complete:
            self._served.disconnected = True
            self._served.message_event.set()
        self.pipeline.clear()

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

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401  # uvicorn's
        self._served = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on with the next request; as uvicorn does, without a timer for each reply."""
        self.server_state.total_requests += 1
        if self.transport.is_closing() and self._stage == REPLY:
            # uvicorn has ended it.
            self._wait_for(END)
        if self._stage == END or self.transport.is_closing():
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
            self._wait_for(IDLE)
        self.flow.resume_reading()

    def shutdown(self) -> None:
        """End the connection behind the replies that are due; where a head has begun to come, behind its reply too."""
        if self._stage not in (HEAD, END):
            super().shutdown()

    def _next(self) -> None:
        """Begin with the request that has waited longest."""
        if self.pipeline and self._stage != END and not self.transport.is_closing():
            self._start_asgi_task(*self.pipeline.pop())

    def _wait_for(self, stage: int) -> None:
        """Note what is waited for."""
        self._stage = stage

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
        self._wait_for(END)
        if self._broken and self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self._broken = True
            self.transport.close()

    def _say_last(self, response: Response, request_id: bytes | None = None) -> None:
        """Send this behind the replies that are due, and end the connection; the name is that of the last request."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._send(response, keep_alive=False)
        elif self._stage == BODY:
            self._end(response, request_id)
        else:
            self._farewell = response

    def _end(self, response: Response, request_id: bytes | None) -> None:
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
            cycle.scope[REFUSAL] = response
            self._send(response, keep_alive=False, request_id=request_id)


def is_delivered(transport: Transport) -> bool:
    """Whether the client's system has acknowledged all that was sent; if so, nothing waits here to be sent either."""
    connection = transport.get_extra_info("socket")
    if connection is None:
        # It has ended below TLS, which is about to be told.
        return False
    unsent = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(unsent, sys.byteorder) == 0
