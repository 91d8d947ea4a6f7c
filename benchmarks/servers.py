"""The servers that `make bench` compares."""

import json
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.processes import Server, started
from benchmarks.wire import Reply, connect


def ours(path: Path | None = None, **settings: str) -> AbstractContextManager[Server]:
    """Our server, with the models at a path (by default `models`) and its settings as a user has them."""
    where = [] if path is None else [str(path)]
    variables = {f"FORWARDPASS_{name.upper()}": value for name, value in settings.items()}
    return _module("service", "serve", *where, "--log-level", "error", "--port", variables=variables)


def usual() -> AbstractContextManager[Server]:
    """The usual endpoint."""
    return _module("benchmarks.usual")


def empty(reply: Reply) -> AbstractContextManager[Server]:
    """The empty application, which answers with the same headers and body; uvicorn adds the date itself."""
    return _module("benchmarks.empty", given=json.dumps(reply.undated().headers).encode() + b"\n" + reply.body)


def _module(
    *command: str, variables: Mapping[str, str] | None = None, given: bytes = b""
) -> AbstractContextManager[Server]:
    """A Python module that takes a port as its last argument, from the moment on at which it listens."""
    return started([sys.executable, "-m", *command, "{0}"], lambda port: connect(port).close(), variables, given)
