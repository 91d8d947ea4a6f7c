"""The servers that `make bench` compares."""

import json
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.processes import Server, started
from benchmarks.wire import Reply, Request, ask, connect


def ours(path: Path | None = None, port: int | None = None, **settings: str) -> AbstractContextManager[Server]:
    """Our server, with the models at a path (by default `models`) and its settings as a user has them.

    It takes a free port where none is named, and is there once it, or one of its workers, is ready.
    """
    command = [sys.executable, "-m", "service", "serve", *([] if path is None else [str(path)])]
    variables = {f"FORWARDPASS_{name.upper()}": value for name, value in settings.items()}
    ready = Request("/v2/health/ready")
    return started([*command, "--log-level", "error", "--port", "{0}"], lambda at: ask(at, ready), variables, port=port)


def usual() -> AbstractContextManager[Server]:
    """The usual endpoint."""
    return _module("benchmarks.usual")


def empty(reply: Reply) -> AbstractContextManager[Server]:
    """The empty application, which answers with the same headers and body; uvicorn adds the date itself."""
    return _module("benchmarks.empty", given=json.dumps(reply.undated().headers).encode() + b"\n" + reply.body)


def _module(*command: str, given: bytes = b"") -> AbstractContextManager[Server]:
    """A Python module that takes a port as its last argument, from the moment on at which it listens."""
    return started([sys.executable, "-m", *command, "{0}"], lambda port: connect(port).close(), given=given)
