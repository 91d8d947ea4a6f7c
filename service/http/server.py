"""uvicorn's server for the application, with an orderly end."""

import asyncio
import logging
import signal
import socket
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn

from service import greeting
from service.config import Settings
from service.cpu import usable_cpus
from service.exits import exit_at_once
from service.http.connection import LAST_REPLY, is_delivered
from service.http.guard import Guard
from service.logs import beside
from service.workers import HURRY, Worker

_TICK = 0.05
"""Seconds between two looks at the connections that are not yet ended."""
_LAST = 1.0
"""Seconds for what is left to do when there is no more time: to say so, and to end what is computed."""

logger = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """A server that says where it listens, and ends in order.

    At the first signal it is ready no longer and goes on serving for the drain delay, each reply being the last of its
    connection; then it listens no more, and finishes what is in flight. A second signal hurries.
    """

    _loop: asyncio.AbstractEventLoop | None = None
    """Where it runs, from the moment it listens."""
    _worker: Worker | None = None
    """Which of several this is, if it is."""
    _all_end = False
    """Whether the other workers end too."""
    _until = 0.0
    """When the wait for what is in flight is over, on the loop's clock."""

    def serve_as(self, worker: Worker, sockets: list[socket.socket]) -> None:
        """Run as one of several, which end when their supervisor says so."""
        self._worker = worker
        self.run(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, listen, and say so; raises `OSError` where it cannot listen."""
        if self.config.is_ssl:
            # uvicorn's own way leaves it to the loop how long a client may take for the parts that TLS adds.
            await super().startup([])
            self.servers += [await self._listen_with_tls(one) for one in sockets or []]
        else:
            await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        if self._worker is not None:
            is_first = self._worker.is_first
            self._follow(self._worker)
            if not is_first:
                logger.info("serves")
                return
        for one in sockets or []:
            host, port = one.getsockname()[:2]
            place = f"[{host}]" if ":" in host else host
            scheme = "https" if self.config.is_ssl else "http"
            self._greet(f"{scheme}://{place}:{port}")

    def _follow(self, worker: Worker) -> None:
        """Be at work, and end when the supervisor says so, or is gone."""
        loop = asyncio.get_running_loop()

        def end() -> None:
            loop.remove_reader(worker.end)
            self._all_end = True
            self._drain_at("supervisor")

        loop.add_reader(worker.end, end)
        loop.add_signal_handler(HURRY, self._hurry, "supervisor")
        self.config.loaded_app.state.metrics.show_process(worker.number)
        worker.tell_ready()

    def _greet(self, address: str) -> None:
        models: dict[str, list[str]] = {}
        for entry in self.config.loaded_app.state.catalog.index():
            models.setdefault(entry.name, []).extend([entry.version] if entry.state == "READY" else [])
        known = (self._settings, models, usable_cpus())
        content = {"address": address, **greeting.fields(*known)}
        logger.info("listening on %s, documentation at /docs", address, extra=beside(content, greeting.table(*known)))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note a signal; the loop acts on it. The first is raised again at the end, and decides the exit status."""
        if self._loop is None:
            # Nothing is in flight yet, and models may take long to load.
            exit_at_once(sig, frame)
        if not self._captured_signals:
            self._captured_signals.append(sig)
        self._loop.call_soon_threadsafe(self._stop, signal.Signals(sig).name)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen no more, finish what is in flight as long as there is time, refuse the rest, and end."""
        loop = asyncio.get_running_loop()
        self._drain()
        seconds = 0 if self.force_exit else self._settings.drain_seconds
        self._until = loop.time() + seconds
        if self._worker is not None and not (self._all_end or self.force_exit):
            await self._outlast()
        waiting = [connection for one in sockets or [] for connection in _accepted(one)]
        for server in self.servers:
            server.close()
        for one in sockets or []:
            one.close()
        # Not one after the other: TLS begins with what its client says.
        taken = [asyncio.ensure_future(self._take(connection)) for connection in waiting]
        # What has come by now is read before its connection could be closed as an idle one.
        await asyncio.sleep(_TICK)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        logger.info("no longer listening; %d requests in flight may take %d s more", self._in_flight, seconds)
        await self._finish()
        await self._give_up()
        for task in taken:
            task.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.lifespan.shutdown(), max(_LAST, self._until - loop.time()))
        logger.info("ended")

    @property
    def _settings(self) -> Settings:
        settings: Settings = self.config.loaded_app.state.settings
        return settings

    @property
    def _in_flight(self) -> int:
        """How many connections wait for a reply."""
        connections: set[Any] = self.server_state.connections
        cycles = [connection.cycle for connection in connections]
        return sum(cycle is not None and not cycle.response_complete for cycle in cycles)

    def _stop(self, name: str) -> None:
        """Begin to end, or hurry; a worker hurries for its supervisor alone, which may be sent the same signals."""
        if not self.config.loaded_app.state.catalog.draining:
            self._drain_at(name)
        elif self._worker is None:
            self._hurry(name)

    def _hurry(self, name: str) -> None:
        logger.info("%s again: waiting for nothing more", name)
        self.should_exit = self.force_exit = True
        self._until = 0.0

    def _drain_at(self, name: str) -> None:
        """Begin to end, if that has not begun."""
        if self.config.loaded_app.state.catalog.draining:
            return
        self._drain()
        flying, delay = self._in_flight, self._settings.drain_delay
        logger.info("%s: draining, with %d requests in flight; new ones are taken for %g s more", name, flying, delay)
        asyncio.get_running_loop().call_later(delay, self._leave)

    def _leave(self) -> None:
        self.should_exit = True

    def _drain(self) -> None:
        """Be ready no longer, and let each reply be the last of its connection; again, it does nothing."""
        app, state = self.config.loaded_app, self.server_state
        if app.state.catalog.draining:
            return
        app.state.catalog.draining = True
        self.config.encoded_headers = [*self.config.encoded_headers, LAST_REPLY]
        state.default_headers = [*state.default_headers, LAST_REPLY]
        connections: set[Any] = state.connections
        for connection in connections:
            # What has begun took its headers before.
            if connection.cycle is not None:
                connection.cycle.keep_alive = False

    async def _outlast(self) -> None:
        """Finish what is in flight while listening, as one of several that ends alone.

        What comes to its socket waits for the one in its place, who comes only once this one has ended.
        """
        loop = asyncio.get_running_loop()
        begun = set(self.server_state.connections)
        await asyncio.sleep(_TICK)
        for connection in begun & self.server_state.connections:
            connection.shutdown()
        while begun & self.server_state.connections and loop.time() < self._until and not self._all_end:  # noqa: ASYNC110  # the connections are uvicorn's, which tells nobody
            await asyncio.sleep(_TICK)
        # What has come since is hardly longer in flight than anything else.
        self._until = max(self._until, loop.time() + min(_LAST, self._settings.drain_seconds))

    async def _finish(self) -> None:
        """Wait until every connection has ended, while there is time.

        Each one of TLS that is closed is dropped once its client has received everything: few answer the end of TLS.
        """
        loop, state = asyncio.get_running_loop(), self.server_state
        while (state.connections or state.tasks) and loop.time() < self._until:
            await asyncio.sleep(_TICK)
            for connection in list(state.connections) if self.config.is_ssl else ():
                transport = connection.transport
                if transport.is_closing() and is_delivered(transport):
                    transport.abort()

    async def _give_up(self) -> None:
        """Refuse what there is no more time for, and cut off who does not read."""
        state = self.server_state
        left = list(state.connections)
        if not left and not state.tasks:
            return
        for connection in left:
            if connection.transport.get_write_buffer_size():
                # Nothing else can be said to this client any more.
                connection.transport.abort()
            elif isinstance(connection, Guard):
                connection.refuse_unfinished()
        await asyncio.sleep(_TICK)
        refused = list(state.tasks)
        for task in refused:
            task.cancel(msg="there is no more time")
        logger.warning("no more time for %d connections; %d requests are refused", len(left), len(refused))
        self._until = asyncio.get_running_loop().time() + _LAST
        await self._finish()
        for connection in list(state.connections):
            connection.transport.abort()

    async def _listen_with_tls(self, listener: socket.socket) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(
            self._protocol, sock=listener, backlog=self.config.backlog, **self._tls
        )

    async def _take(self, connection: socket.socket) -> None:
        """Serve a connection that was accepted when nothing listens any more."""
        with suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection, **self._tls)

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    @property
    def _tls(self) -> dict[str, Any]:
        """How long the parts of a connection that TLS adds may take; nothing without TLS."""
        if not self.config.is_ssl:
            return {}
        return {
            "ssl": self.config.ssl,
            "ssl_handshake_timeout": self._settings.head_seconds,
            "ssl_shutdown_timeout": self._settings.body_seconds,
        }


def _accepted(listener: socket.socket) -> list[socket.socket]:
    """The connections that wait to be accepted, which would be reset when their listener closes."""
    accepted = []
    with suppress(OSError):
        while True:
            accepted.append(listener.accept()[0])
    return accepted
