"""Gives what a client calls its request back with whatever the application answers."""

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.route import name_of
from service.http.wire import REQUEST_ID


class RequestIds:
    """Puts a valid `X-Request-Id` of a request into its reply, where it is not there already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        request_id = name_of(Request(scope)) if scope["type"] == "http" else None
        if request_id is None:
            await self._app(scope, receive, send)
            return

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(name, value) for name, value in message["headers"] if name != REQUEST_ID]
                message = {**message, "headers": [*headers, (REQUEST_ID, request_id)]}
            await send(message)

        await self._app(scope, receive, named)
