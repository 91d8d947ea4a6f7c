"""The HTTP server around the application: uvicorn, its socket, and the protocol that its connections speak."""

import asyncio
import fcntl
import logging
import os
import socket
import sys
import termios
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.config import Settings
from service.errors import SettingsError
from service.http.guard import Guard, Limits
from service.http.heads import Heads
from service.http.lane import Lane
from service.http.tls import context

WRITTEN_AGAINST = "0.54."
"""The releases of uvicorn whose internals the lane is built on."""

_TICK = 0.05
"""Seconds between two looks at the connections that are closed and not yet ended."""

logger = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """A server that says where it listens, and waits for no client of TLS that has all that it asked for."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, listen, and say so."""
        if self.config.is_ssl:
            # uvicorn's own way leaves it to the loop how long a client may take for the parts that TLS adds.
            await super().startup([])
            self.servers += [await self._listen_with_tls(one) for one in sockets or []]
        else:
            await super().startup(sockets)
        for one in sockets or []:
            host, port = one.getsockname()[:2]
            place = f"[{host}]" if ":" in host else host
            scheme = "https" if self.config.is_ssl else "http"
            logger.info("listening on %s://%s:%d, documentation at /docs", scheme, place, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in order."""
        if not self.config.is_ssl:
            await super().shutdown(sockets)
            return
        letting_go = asyncio.ensure_future(self._let_go())
        try:
            await super().shutdown(sockets)
        finally:
            letting_go.cancel()

    async def _listen_with_tls(self, listener: socket.socket) -> asyncio.Server:
        settings: Settings = self.config.loaded_app.state.settings
        make: Any = self.config.http_protocol_class
        protocol = partial(make, config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        return await asyncio.get_running_loop().create_server(
            protocol,
            sock=listener,
            ssl=self.config.ssl,
            ssl_handshake_timeout=settings.head_seconds,
            ssl_shutdown_timeout=settings.body_seconds,
            backlog=self.config.backlog,
        )

    async def _let_go(self) -> None:
        """Drop each closed connection whose client has received everything: few clients answer the end of TLS."""
        while True:
            await asyncio.sleep(_TICK)
            for connection in list(self.server_state.connections):
                transport = connection.transport
                if transport.is_closing() and _is_delivered(transport):
                    transport.abort()


def _is_delivered(transport: asyncio.Transport) -> bool:
    """Whether the client's system has acknowledged all that was sent; if so, nothing waits here to be sent either."""
    unsent = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(unsent, sys.byteorder) == 0


def configure(app: FastAPI) -> uvicorn.Config:
    """How uvicorn is to serve an application made by `create_app`; raises `SettingsError` for TLS that cannot be."""
    settings: Settings = app.state.settings
    tls = context(settings)
    return uvicorn.Config(
        app,
        http=_protocol(app, settings),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        timeout_graceful_shutdown=settings.drain_seconds,
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; raises `SettingsError` where none can."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        # The system's own words; a name that is not found has none, its number being of another kind.
        reason = os.strerror(number) if number and number > 0 else error
        raise SettingsError(f"cannot listen on {host} port {port}: {reason}") from None


def _protocol(app: FastAPI, settings: Settings) -> type[Guard] | str:
    if not uvicorn.__version__.startswith(WRITTEN_AGAINST):
        logger.warning(
            "uvicorn is %s, and ours is written against %sx: it serves unguarded, and predictions take the long way",
            uvicorn.__version__,
            WRITTEN_AGAINST,
        )
        return "httptools"
    limits = Limits(
        body=settings.max_body,
        head=settings.max_head,
        head_seconds=settings.head_seconds,
        body_seconds=settings.body_seconds,
        idle_seconds=settings.idle_seconds,
    )
    # uvicorn calls what it takes for a class.
    if settings.lane == "off":
        return partial(Guard, limits=limits)  # type: ignore[return-value]  # as it says
    predictor, metrics = app.state.predictor, app.state.metrics
    return partial(Lane, limits=limits, heads=Heads(), predictor=predictor, metrics=metrics)  # type: ignore[return-value]  # the same
