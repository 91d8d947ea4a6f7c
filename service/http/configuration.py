"""What uvicorn is told of how to serve the application."""

import logging
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.config import Settings
from service.http.guard import Guard, Limits
from service.http.heads import Heads
from service.http.lane import Lane
from service.http.tls import context

WRITTEN_AGAINST = "0.54."
"""The releases of uvicorn whose internals the guards and the lane are built on."""

logger = logging.getLogger(__name__)


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
    )


def lane_works() -> bool:
    """Whether the uvicorn that is installed is one that the guards and the lane are built on."""
    return uvicorn.__version__.startswith(WRITTEN_AGAINST)


def _protocol(app: FastAPI, settings: Settings) -> type[Guard] | str:
    if not lane_works():
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
        connections=settings.max_connections,
    )
    state = app.state
    # uvicorn calls what it takes for a class.
    if settings.lane == "off":
        return partial(Guard, limits=limits, failures=state.failures)  # type: ignore[return-value]  # as it says
    kind: type[Lane] = Lane
    more: dict[str, Any] = {"predictor": state.predictor, "metrics": state.metrics, "keys": state.keys}
    if state.tracing is not None:
        from service.http.traced import TracedLane  # noqa: PLC0415  # it needs what few have installed

        kind = TracedLane
        more |= {"tracing": state.tracing, "timing": state.timing_predictor}
    return partial(kind, limits=limits, failures=state.failures, heads=Heads(), **more)  # type: ignore[return-value]  # the same
