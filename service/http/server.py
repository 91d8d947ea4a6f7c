"""The HTTP server around the application: uvicorn, its socket, and the protocol that its connections speak."""

import logging
import os
import socket
from functools import partial

import uvicorn
from fastapi import FastAPI

from service.config import Settings
from service.errors import SettingsError
from service.http.guard import Guard, Limits
from service.http.lane import Lane

WRITTEN_AGAINST = "0.54."
"""The releases of uvicorn whose internals the lane is built on."""

logger = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """A server that says where it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, listen, and say so."""
        await super().startup(sockets)
        for one in sockets or []:
            host, port = one.getsockname()[:2]
            place = f"[{host}]" if ":" in host else host
            logger.info("listening on http://%s:%d, documentation at /docs", place, port)


def configure(app: FastAPI) -> uvicorn.Config:
    """How uvicorn is to serve an application made by `create_app`."""
    settings: Settings = app.state.settings
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
    return partial(Lane, limits=limits, predictor=predictor, metrics=metrics)  # type: ignore[return-value]  # the same
