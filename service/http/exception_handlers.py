"""The reply to a request of the application that ends with an exception."""

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.errors import ForwardpassError, InternalError, MethodError, PathError
from service.http.failures import Failures
from service.http.route import name_of
from service.http.wire import REQUEST_ID, write_error


def add_exception_handlers(app: FastAPI, failures: Failures) -> None:
    """Let the application answer in our form, and the log tell what it was."""

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
