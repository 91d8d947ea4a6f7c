"""The least that uvicorn can do: read a request's body and answer a constant.

Run as `python -m benchmarks.empty PORT`. Standard input says what to answer: a line with the headers as JSON, then
the body.
"""

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def answering(headers: list[tuple[bytes, bytes]], reply: bytes) -> App:
    """An application that answers every request alike."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply})

    return app


if __name__ == "__main__":
    named = json.loads(sys.stdin.buffer.readline())
    uvicorn.run(
        answering([(name.encode(), value.encode()) for name, value in named], sys.stdin.buffer.read()),
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        ws="none",
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
    )
