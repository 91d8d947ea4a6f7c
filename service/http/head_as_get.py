"""Answers HEAD as what answers GET."""

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """What answers GET answers HEAD: uvicorn leaves out the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)
