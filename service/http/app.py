"""The FastAPI application, put together of its parts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from service.errors import SettingsError

try:
    from fastapi import FastAPI
except ValueError as error:
    # It imports OpenTelemetry where that is installed, whether anybody uses it or not.
    raise SettingsError(f"one of OpenTelemetry's variables, OTEL_*, cannot be used: {error}") from None

from fastapi_offline import FastAPIOffline
from starlette.routing import Route

from service.catalog import Catalog
from service.config import Settings, names_of
from service.http.access import Access, describe
from service.http.endpoints import NAME, VERSION, add_endpoints
from service.http.exception_handlers import add_exception_handlers
from service.http.failures import Failures
from service.http.head_as_get import HeadAsGet
from service.http.openapi import document
from service.http.request_ids import RequestIds
from service.http.route import PREDICTION_PATHS, PredictionRoute
from service.keys import KeyRing
from service.metrics import Metrics
from service.predict import Predictor
from service.timed import TimedPrediction
from service.watch import watch

if TYPE_CHECKING:
    from service.tracing import Tracing


def create_app(settings: Settings) -> FastAPI:
    """The application with the models that `settings` select; they are loaded when it starts.

    Raises `SettingsError` where there are no models to serve, or where the file of keys cannot be used.
    """
    keys = None if settings.keys is None else KeyRing.load(settings.keys)
    metrics, failures = Metrics(settings.workers), Failures()
    catalog = Catalog(settings, metrics)
    tracing = _tracing(settings)
    predictor = Predictor(catalog, metrics)
    timing = predictor if tracing is None else Predictor(catalog, metrics, TimedPrediction, predictor.aside)
    app = FastAPIOffline(
        title="Forwardpass",
        version=VERSION,
        description="Predictions by the Open Inference Protocol (version 2) and by rows (version 1).",
        redoc_url=None,
        lifespan=partial(_life, settings=settings, catalog=catalog, failures=failures, tracing=tracing),
        # Nothing leaves this process that its operator has not switched on.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    # What the server around it needs, to answer predictions by a shorter way.
    app.state.settings, app.state.predictor, app.state.metrics = settings, predictor, metrics
    app.state.keys, app.state.failures, app.state.tracing = keys, failures, tracing
    app.state.timing_predictor = timing
    # And to say that it is about to stop.
    app.state.catalog = catalog
    for path, protocol in PREDICTION_PATHS.items():
        route = PredictionRoute(timing, metrics, failures, protocol, settings.max_body)
        app.router.routes.append(Route(path, route))
    add_endpoints(app, catalog, metrics, settings)
    add_exception_handlers(app, failures)
    _add_middleware(app)

    def openapi() -> dict[str, Any]:
        content = document(app, [(model.manifest, model.golden) for model in catalog.served], settings.max_queue)
        return content if keys is None else describe(content)

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to make the document
    return app


def _tracing(settings: Settings) -> "Tracing | None":
    """What tells a collector of predictions; None where nobody asked for it, there or by OpenTelemetry's variables."""
    if settings.tracing == "off":
        return None
    try:
        from service.tracing import Tracing  # noqa: PLC0415  # few have what it needs

        tracing = Tracing(NAME, VERSION)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"tracing ({names_of('tracing')}) is {settings.tracing!r}, which needs {error.name}, which is not "
            "installed: pip install 'forwardpass[cpu,otel]'"
        ) from None
    except ValueError as error:
        raise SettingsError(f"one of OpenTelemetry's variables, OTEL_*, cannot be used: {error}") from None
    return tracing if tracing.is_on else None


@asynccontextmanager
async def _life(
    _: FastAPI, settings: Settings, catalog: Catalog, failures: Failures, tracing: "Tracing | None"
) -> AsyncIterator[None]:
    """Load the models, and end what is behind the application when it ends."""
    if tracing is not None:
        tracing.start()
    # On a thread of its own: a signal that comes while onnxruntime computes is answered at once.
    await asyncio.to_thread(catalog.load, asyncio.get_running_loop())
    async with _watching(catalog, settings):
        yield
    await catalog.close()
    failures.close()
    if tracing is not None:
        await tracing.close()


@asynccontextmanager
async def _watching(catalog: Catalog, settings: Settings) -> AsyncIterator[None]:
    """Meanwhile serve what comes where the models lie, unless that is left to requests."""
    if settings.model_control == "explicit":
        yield
        return
    stop = asyncio.Event()
    task = asyncio.ensure_future(watch(settings.models, catalog.rescan, stop))
    try:
        yield
    finally:
        stop.set()
        await task


def _add_middleware(app: FastAPI) -> None:
    """Put before the routes what every request passes; what is added last it passes first."""
    state = app.state
    if state.keys is not None:
        # Behind the next, so that it sees each request as the routes do.
        app.add_middleware(
            Access, keys=state.keys, routes=app.router.routes, metrics=state.metrics, failures=state.failures
        )
    if state.tracing is not None:
        from service.http.traced import Traced  # noqa: PLC0415  # few have what it needs

        # Around the look at the key, so that it tells of what is refused there too.
        app.add_middleware(Traced, tracing=state.tracing)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RequestIds)
