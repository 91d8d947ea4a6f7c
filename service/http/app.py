"""The FastAPI application: it routes; the answers come from the rooms behind it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from service.errors import (
    DrainingError,
    ForwardpassError,
    InternalError,
    MethodError,
    NotReadyError,
    PathError,
    SettingsError,
    UnsupportedError,
)

try:
    from fastapi import FastAPI, Request, Response
except ValueError as error:
    # It imports OpenTelemetry where that is installed, whether anybody uses it or not.
    raise SettingsError(f"one of OpenTelemetry's variables, OTEL_*, cannot be used: {error}") from None

from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.catalog import Catalog, IndexEntry
from service.config import Settings, names_of
from service.http.access import Access, describe
from service.http.failures import Failures
from service.http.openapi import document
from service.http.request_ids import RequestIds
from service.http.route import PREDICTION_PATHS, PredictionRoute, name_of, read_body
from service.http.triton import configuration, metadata, require_no_override, statistics, wants_only_ready
from service.http.wire import REQUEST_ID, write_error
from service.keys import KeyRing
from service.manifest import ModelManifest
from service.metrics import Metrics
from service.page import CONTENT_TYPE, Page
from service.predict import Predictor
from service.timed import TimedPrediction
from service.watch import watch

if TYPE_CHECKING:
    from service.tracing import Tracing

NAME = "forwardpass"
VERSION = version(NAME)
EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]


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

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
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

    app = FastAPIOffline(
        title="Forwardpass",
        version=VERSION,
        description="Predictions by the Open Inference Protocol (version 2) and by rows (version 1).",
        redoc_url=None,
        lifespan=lifespan,
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
    _add_server_routes(app, catalog, metrics)
    _add_repository_routes(app, catalog, settings)
    _add_model_routes(app, catalog, metrics, settings.max_queue)
    _add_error_handlers(app, failures)

    def openapi() -> dict[str, Any]:
        content = document(app, [(model.manifest, model.golden) for model in catalog.served], settings.max_queue)
        return content if keys is None else describe(content)

    if keys is not None:
        # Behind the next, so that it sees each request as the routes do.
        app.add_middleware(Access, keys=keys, routes=app.router.routes, metrics=metrics, failures=failures)
    if tracing is not None:
        from service.http.traced import Traced  # noqa: PLC0415  # the same

        # Around the look at the key, so that it tells of what is refused there too.
        app.add_middleware(Traced, tracing=tracing)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RequestIds)
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


class HeadAsGet:
    """What answers GET answers HEAD: uvicorn leaves out the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


def _add_server_routes(app: FastAPI, catalog: Catalog, metrics: Metrics) -> None:
    shown = Page(metrics)

    @app.get("/", tags=["server"], summary="A sign of life; a browser is sent to /docs")
    async def home(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("/docs")
        return JSONResponse({"status": "alive"})

    @app.get("/v2", tags=["server"], summary="Name, version and protocol extensions of the server")
    async def server() -> dict[str, Any]:
        return {"name": NAME, "version": VERSION, "extensions": EXTENSIONS}

    @app.get("/v2/health/live", tags=["server"], summary="Whether the process answers")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", tags=["server"], summary="Whether every selected model answers; 503 when not")
    async def ready() -> Response:
        return JSONResponse({"ready": catalog.ready}, 200 if catalog.ready else 503)

    @app.get(
        "/metrics",
        tags=["server"],
        summary="Metrics in Prometheus' text format",
        response_class=PlainTextResponse,
    )
    async def page() -> Response:
        return Response(shown.render(), media_type=CONTENT_TYPE)


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


def _add_repository_routes(app: FastAPI, catalog: Catalog, settings: Settings) -> None:
    @app.post(
        "/v2/repository/index",
        tags=["server"],
        summary="Every model, its state and what keeps it from answering",
    )
    async def index(request: Request) -> list[dict[str, str]]:
        only_ready = wants_only_ready(await read_body(request, settings.max_body))
        return [entry._asdict() for entry in catalog.index() if entry.state == "READY" or not only_ready]

    def require_control(name: str) -> None:
        if settings.model_control != "explicit":
            catalog.versions(name)
            raise UnsupportedError(
                "models are loaded as they come and go on disk; FORWARDPASS_MODEL_CONTROL=explicit lets requests do it"
            )

    @app.post("/v2/repository/models/{name}/load", tags=["server"], summary="Load a model as it lies on disk now")
    async def load(name: str, request: Request) -> Response:
        require_control(name)
        require_no_override(await read_body(request, settings.max_body))
        try:
            await catalog.load_model(name)
        except asyncio.CancelledError:
            # uvicorn's way to say that the time for requests in flight is over.
            raise DrainingError("the server stopped before the model was loaded") from None
        return Response()

    @app.post("/v2/repository/models/{name}/unload", tags=["server"], summary="Serve a model no longer")
    async def unload(name: str) -> Response:
        require_control(name)
        await catalog.unload_model(name)
        return Response()


def _add_model_routes(app: FastAPI, catalog: Catalog, metrics: Metrics, max_rows: int) -> None:
    @app.get("/v1/models", tags=["models"], summary="The names of all models")
    async def names() -> dict[str, list[str]]:
        return {"models": catalog.names}

    @app.get("/v2/models/stats", tags=["models"], summary="Counts and durations of all models")
    async def all_stats() -> dict[str, Any]:
        return _counted(metrics, [model.manifest for model in catalog.served])

    @app.get("/v1/models/{name}", tags=["models"], summary="State of a model; version 1")
    async def status(name: str) -> dict[str, Any]:
        entries = catalog.entries(name)
        return {
            "name": name,
            "ready": not catalog.draining and any(entry.state == "READY" for entry in entries),
            "model_version_status": [_version_status(entry) for entry in entries],
        }

    @app.get("/v2/models/{name}/versions/{number}", tags=["models"], summary="Inputs and outputs of a version")
    @app.get("/v2/models/{name}", tags=["models"], summary="Inputs and outputs of a model")
    async def tensors(name: str, number: str | None = None) -> dict[str, Any]:
        return metadata(catalog.find(name, number).manifest, catalog.versions(name))

    @app.get("/v2/models/{name}/versions/{number}/ready", tags=["models"], summary="Whether a version answers")
    @app.get("/v2/models/{name}/ready", tags=["models"], summary="Whether a model answers; 503 when not")
    async def ready(name: str, number: str | None = None) -> Response:
        try:
            catalog.find(name, number)
        except NotReadyError:
            return JSONResponse({"name": name, "ready": False}, 503)
        return JSONResponse({"name": name, "ready": not catalog.draining}, 503 if catalog.draining else 200)

    @app.get("/v2/models/{name}/versions/{number}/manifest", tags=["models"], summary="The manifest of a version")
    @app.get("/v2/models/{name}/manifest", tags=["models"], summary="The manifest of a model")
    async def manifest(name: str, number: str | None = None) -> Response:
        return Response(catalog.find(name, number).manifest.render(), media_type="application/json")

    @app.get("/v2/models/{name}/versions/{number}/config", tags=["models"], summary="A version's configuration")
    @app.get("/v2/models/{name}/config", tags=["models"], summary="A model's configuration, as Triton has it")
    async def config(name: str, number: str | None = None) -> dict[str, Any]:
        return configuration(catalog.find(name, number).manifest, max_rows)

    @app.get("/v2/models/{name}/versions/{number}/stats", tags=["models"], summary="Counts and durations of a version")
    @app.get("/v2/models/{name}/stats", tags=["models"], summary="Counts and durations of a model")
    async def stats(name: str, number: str | None = None) -> dict[str, Any]:
        return _counted(metrics, [catalog.find(name, number).manifest])


def _counted(metrics: Metrics, manifests: Sequence[ModelManifest]) -> dict[str, Any]:
    """Counts and durations of versions, of all workers together."""
    total = metrics.total()
    return {"model_stats": [statistics(one, total(one.name, one.version)) for one in manifests]}


def _add_error_handlers(app: FastAPI, failures: Failures) -> None:
    def failure(request: Request, error: ForwardpassError) -> Response:
        path = request.scope["path"]
        failures.tell(error, request.client, name_of(request), method=request.method, path=path)
        made = write_error(error)
        return Response(made.body, made.status, dict(made.headers))

    @app.exception_handler(ForwardpassError)
    async def known(request: Request, error: ForwardpassError) -> Response:
        return failure(request, error)

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> Response:
        place = f"{request.method} {request.url.path}"
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = (error.headers or {}).get("Allow", "")
            response = failure(request, MethodError(f"{place}: this path takes {allowed or 'another method'}"))
            response.headers["allow"] = allowed
            return response
        return failure(request, PathError(f"{place}: nothing answers here; /docs lists the paths"))

    @app.exception_handler(ClientDisconnect)
    async def gone(_request: Request, _error: Exception) -> Response:
        # Nobody reads it.
        return Response()

    @app.exception_handler(Exception)
    async def unknown(request: Request, _error: Exception) -> Response:
        response, name = failure(request, InternalError()), name_of(request)
        if name is not None:
            # It is sent from around everything else.
            response.headers[REQUEST_ID.decode()] = name.decode()
        return response


def _version_status(entry: IndexEntry) -> dict[str, Any]:
    ready = entry.state == "READY"
    status = {"error_code": "OK" if ready else "FAILED_PRECONDITION", "error_message": entry.reason}
    return {"version": entry.version, "state": "AVAILABLE" if ready else "END", "status": status}
