"""A request as the bytes that go over the wire, and the reply to it."""

import json
import socket
from http import HTTPStatus
from http.client import HTTPResponse
from typing import NamedTuple

HOST = "127.0.0.1"
JSON = (("Content-Type", "application/json"),)
_SECONDS = 30


class Request(NamedTuple):
    """What is asked, by POST where there is a body; the client adds `Host` and `Content-Length`."""

    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    new_heads: bool = False
    """Whether wrk adds a header `X-Other` that no request before had."""

    def written(self, port: int) -> bytes:
        """The whole request."""
        own = (("Host", f"{HOST}:{port}"), ("Content-Length", str(len(self.body))), *self.headers)
        method = "POST" if self.body else "GET"
        lines = (f"{method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in own))
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def posted(path: str, content: object, headers: tuple[tuple[str, str], ...] = JSON) -> Request:
    """A request with JSON as its body."""
    return Request(path, json.dumps(content).encode(), headers)


class Reply(NamedTuple):
    """What came back."""

    headers: tuple[tuple[str, str], ...]
    body: bytes

    def undated(self) -> "Reply":
        """Without the time at which it was sent."""
        return Reply(tuple(header for header in self.headers if header[0] != "date"), self.body)


def connect(port: int) -> socket.socket:
    """A connection to a server on this machine."""
    return socket.create_connection((HOST, port), timeout=_SECONDS)


def receive(connection: socket.socket) -> Reply:
    """The next reply on a connection, in chunks or not; raises `RuntimeError` for any but 200."""
    reply = HTTPResponse(connection)
    reply.begin()
    body = reply.read()
    if reply.status != HTTPStatus.OK:
        raise RuntimeError(f"the server answers {reply.status}: {body.decode(errors='replace')}")
    return Reply(tuple((name.lower(), value) for name, value in reply.getheaders()), body)


def ask(port: int, request: Request) -> Reply:
    """The reply to a request on a connection of its own; raises `RuntimeError` for any but 200."""
    with connect(port) as connection:
        connection.sendall(request.written(port))
        return receive(connection)
