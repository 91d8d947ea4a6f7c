"""The FastAPI application: it routes; the answers come from the rooms behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from service.catalog import Catalog, IndexEntry
from service.config import Settings
from service.errors import (
    DrainingError,
    ForwardpassError,
    InternalError,
    MethodError,
    NotReadyError,
    PathError,
    TooLargeError,
)
from service.manifest import TensorSpec
from service.metrics import CONTENT_TYPE, Metrics
from service.openapi import prediction_paths
from service.predict import JSON_LENGTH_HEADER, Call, Predictor, Protocol, Reply, error_reply

NAME = "forwardpass"
VERSION = version(NAME)
EXTENSIONS = ["binary_tensor_data", "model_repository"]
PLATFORM = "onnxruntime_onnx"


def create_app(settings: Settings) -> FastAPI:
    """The application with the models that `settings` select; they are loaded when it starts.

    Raises `SettingsError` where there are no models to serve.
    """
    metrics = Metrics()
    catalog = Catalog(settings, metrics)
    predictor = Predictor(catalog, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        catalog.load(asyncio.get_running_loop())
        yield
        await catalog.close()

    app = FastAPIOffline(
        title="Forwardpass",
        version=VERSION,
        description="Predictions by the Open Inference Protocol (version 2) and by rows (version 1).",
        redoc_url=None,
        lifespan=lifespan,
        # Nothing leaves this process that its operator has not switched on.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    for path, protocol in _PREDICTION_PATHS.items():
        app.router.routes.append(Route(path, _Prediction(predictor, protocol, settings.max_body)))
    _add_server_routes(app, catalog, metrics)
    _add_model_routes(app, catalog)
    _add_error_handlers(app)

    def openapi() -> dict[str, Any]:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        # First what most readers come for; of several versions the last one, which its path without a number means.
        for path in document["paths"].values():
            for operation in path.values():
                # FastAPI's own: what a path here takes are strings, which are always valid.
                operation["responses"].pop("422", None)
        predictions = prediction_paths((model.manifest, model.golden) for model in catalog.served)
        document["paths"] = predictions | document["paths"]
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to make the document
    return app


_PREDICTION_PATHS: dict[str, Protocol] = {
    "/v1/models/{model}:predict": "v1",
    "/v1/models/{model}/versions/{version}:predict": "v1",
    "/v2/models/{model}/infer": "v2",
    "/v2/models/{model}/versions/{version}/infer": "v2",
}


class _Prediction:
    """The ASGI end of a prediction path: it gathers the body and sends the reply."""

    def __init__(self, predictor: Predictor, protocol: Protocol, max_body: int) -> None:
        self._predictor = predictor
        self._protocol = protocol
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method != "POST":
            # Said here: a route that takes only POST would leave the others to `/v1/models/{name}`.
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        try:
            reply = await self._predictor.answer(await self._read(request))
        except ClientDisconnect:
            return
        except asyncio.CancelledError:
            # uvicorn's way to say that the time for requests in flight is over.
            reply = error_reply(DrainingError("the server stopped before this request was answered"))
        await _response(reply)(scope, receive, send)

    async def _read(self, request: Request) -> Call:
        return Call(
            self._protocol,
            request.path_params["model"],
            request.path_params.get("version"),
            await self._read_body(request),
            request.headers.get("content-encoding"),
            request.headers.get(JSON_LENGTH_HEADER),
        )

    async def _read_body(self, request: Request) -> bytes:
        too_large = TooLargeError(f"the body has more than the {self._max_body} bytes that the server takes")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_body:
            raise too_large
        size, chunks = 0, []
        async for chunk in request.stream():
            size += len(chunk)
            if size > self._max_body:
                raise too_large
            chunks.append(chunk)
        return b"".join(chunks)


def _add_server_routes(app: FastAPI, catalog: Catalog, metrics: Metrics) -> None:
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

    @app.get("/metrics", tags=["server"], summary="Metrics in Prometheus' text format")
    async def page() -> Response:
        return Response(metrics.page(), media_type=CONTENT_TYPE)

    @app.post(
        "/v2/repository/index",
        tags=["server"],
        summary="Every model, its state and what keeps it from answering",
    )
    async def index() -> list[dict[str, str]]:
        return [entry._asdict() for entry in catalog.index()]


def _add_model_routes(app: FastAPI, catalog: Catalog) -> None:
    @app.get("/v1/models", tags=["models"], summary="The names of all models")
    async def names() -> dict[str, list[str]]:
        return {"models": catalog.names}

    @app.get("/v1/models/{name}", tags=["models"], summary="State of a model; version 1")
    async def status(name: str) -> dict[str, Any]:
        entries = catalog.entries(name)
        return {
            "name": name,
            "ready": all(entry.state == "READY" for entry in entries),
            "model_version_status": [_version_status(entry) for entry in entries],
        }

    @app.get("/v2/models/{name}/versions/{number}", tags=["models"], summary="Inputs and outputs of a version")
    @app.get("/v2/models/{name}", tags=["models"], summary="Inputs and outputs of a model")
    async def metadata(name: str, number: str | None = None) -> dict[str, Any]:
        manifest = catalog.find(name, number).manifest
        return {
            "name": name,
            "versions": catalog.versions(name),
            "platform": PLATFORM,
            "inputs": [_tensor(spec) for spec in manifest.inputs],
            "outputs": [_tensor(spec) for spec in manifest.outputs],
        }

    @app.get("/v2/models/{name}/versions/{number}/ready", tags=["models"], summary="Whether a version answers")
    @app.get("/v2/models/{name}/ready", tags=["models"], summary="Whether a model answers; 503 when not")
    async def ready(name: str, number: str | None = None) -> Response:
        try:
            catalog.find(name, number)
        except NotReadyError:
            return JSONResponse({"name": name, "ready": False}, 503)
        return JSONResponse({"name": name, "ready": True})

    @app.get("/v2/models/{name}/versions/{number}/manifest", tags=["models"], summary="The manifest of a version")
    @app.get("/v2/models/{name}/manifest", tags=["models"], summary="The manifest of a model")
    async def manifest(name: str, number: str | None = None) -> Response:
        return Response(catalog.find(name, number).manifest.render(), media_type="application/json")


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(ForwardpassError)
    async def known(_: Request, error: ForwardpassError) -> Response:
        return _response(error_reply(error))

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> Response:
        place = f"{request.method} {request.url.path}"
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = (error.headers or {}).get("Allow", "")
            reply = error_reply(MethodError(f"{place}: this path takes {allowed or 'another method'}"))
            return _response(reply._replace(headers=(("allow", allowed),) if allowed else ()))
        return _response(error_reply(PathError(f"{place}: nothing answers here; /docs lists the paths")))

    @app.exception_handler(Exception)
    async def unknown(_request: Request, _error: Exception) -> Response:
        return _response(error_reply(InternalError("the server failed on this request; its log says why")))


def _version_status(entry: IndexEntry) -> dict[str, Any]:
    ready = entry.state == "READY"
    status = {"error_code": "OK" if ready else "FAILED_PRECONDITION", "error_message": entry.reason}
    return {"version": entry.version, "state": "AVAILABLE" if ready else "END", "status": status}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _response(reply: Reply) -> Response:
    return Response(reply.body, reply.status, dict(reply.headers), reply.media_type)
