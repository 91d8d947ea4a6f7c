"""Every path of the application but those of predictions."""

import asyncio
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse

from service.catalog import Catalog, IndexEntry
from service.config import Settings
from service.errors import DrainingError, NotReadyError, UnsupportedError
from service.http.route import read_body
from service.http.triton import configuration, metadata, require_no_override, statistics, wants_only_ready
from service.manifest import ModelManifest
from service.metrics import Metrics
from service.page import CONTENT_TYPE, Page

NAME = "forwardpass"
VERSION = version(NAME)
EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]


def add_endpoints(app: FastAPI, catalog: Catalog, metrics: Metrics, settings: Settings) -> None:
    """Let the application answer there."""
    _add_server_routes(app, catalog, metrics)
    _add_repository_routes(app, catalog, settings)
    _add_model_routes(app, catalog, metrics, settings.max_queue)


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


def _version_status(entry: IndexEntry) -> dict[str, Any]:
    ready = entry.state == "READY"
    status = {"error_code": "OK" if ready else "FAILED_PRECONDITION", "error_message": entry.reason}
    return {"version": entry.version, "state": "AVAILABLE" if ready else "END", "status": status}
