"""A request as the bytes that go over the wire, and the reply to it."""

import socket
from typing import NamedTuple

HOST = "127.0.0.1"
_SECONDS = 30


class Request(NamedTuple):
    """What is asked; the client adds `Host` and `Content-Length`."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...]

    def written(self, port: int) -> bytes:
        """The whole request."""
        own = (("Host", f"{HOST}:{port}"), ("Content-Length", str(len(self.body))), *self.headers)
        lines = (f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in own))
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class Reply(NamedTuple):
    """What came back: its headers, its body, and how many bytes it was on the wire."""

    headers: tuple[tuple[str, str], ...]
    body: bytes
    size: int


def connect(port: int) -> socket.socket:
    """A connection to a server on this machine."""
    return socket.create_connection((HOST, port), timeout=_SECONDS)


def ask(port: int, request: Request) -> Reply:
    """The reply to a request; raises `RuntimeError` for any but 200."""
    with connect(port) as connection, connection.makefile("rb") as stream:
        connection.sendall(request.written(port))
        status = stream.readline()
        size, headers = len(status), []
        while (line := stream.readline()).strip():
            size += len(line)
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        body = stream.read(int(dict(headers)["content-length"]))
    if b" 200 " not in status:
        raise RuntimeError(f"{request.path} answers {status.decode().strip()}: {body.decode(errors='replace')}")
    return Reply(tuple(headers), body, size + len(line) + len(body))
