"""Behaviour of service.http.connection; how it is with a real server is seen in the tests of the guard."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.config import Settings
from service.http.connection import LAST_REPLY
from tests.service.http.test_lane import Client, connecting

BODY = b'{"instances": [[1, 2]]}'
PREDICT = b"POST /v1/models/line:predict HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: s\r\n\r\n"
OK, BAD = b"HTTP/1.1 200 OK", b"HTTP/1.1 400 Bad Request"


class Ending(Client):
    """A client that notes when the connection ends."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()

    def can_write_eof(self) -> bool:
        """As it is by TLS."""
        return False

    def close(self) -> None:
        """Note it."""
        self.ended.set()

    def is_closing(self) -> bool:
        """Whether it has ended."""
        return self.ended.is_set()


@pytest.fixture(scope="module", params=["on", "off"])
def connect(samples: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], tuple[asyncio.Runner, Any]]]:
    """An event loop with an application on it, and what makes another connection to it."""
    yield from connecting(Settings(models=samples, lane=request.param, execution="inline"))


def received(connect: Callable[[], tuple[asyncio.Runner, Any]], data: bytes, *, is_draining: bool = False) -> bytes:
    """What a client receives that sends this at once, until the connection ends."""
    runner, protocol = connect()

    async def talk() -> bytes:
        client = Ending()
        protocol.connection_made(client)
        if is_draining:
            protocol.server_state.default_headers = [LAST_REPLY]
        protocol.data_received(data)
        await asyncio.wait_for(client.ended.wait(), 30)
        protocol.connection_lost(None)
        return client.received

    return runner.run(talk())


@pytest.mark.parametrize("before", [PREDICT * 3, LIVE * 3, PREDICT + LIVE + PREDICT, b""])
def test_the_last_word_comes_behind_the_replies_that_are_due(
    before: bytes, connect: Callable[[], tuple[asyncio.Runner, Any]]
) -> None:
    """Once, and it says that the connection ends."""
    said = received(connect, before + b"HELLO\r\n\r\n")
    due = before.count(b"HTTP/1.1")
    assert said.count(OK) == due
    assert said.count(BAD) == said.count(b"connection: close\r\n") == 1
    assert said.rfind(OK) < said.find(BAD)


@pytest.mark.parametrize("request_", [PREDICT, LIVE])
def test_nothing_is_answered_behind_the_reply_that_ends_the_connection(
    request_: bytes, connect: Callable[[], tuple[asyncio.Runner, Any]]
) -> None:
    """What its client sent nevertheless is not read."""
    said = received(connect, request_.replace(b"Host", b"Connection: close\r\nHost") + request_)
    assert said.count(b"HTTP/1.1") == said.count(OK) == said.count(b"connection: close\r\n") == 1


@pytest.mark.parametrize("request_", [PREDICT, LIVE])
def test_while_the_server_drains_a_reply_ends_its_connection(
    request_: bytes, connect: Callable[[], tuple[asyncio.Runner, Any]]
) -> None:
    """And says so once, whoever writes it."""
    said = received(connect, request_, is_draining=True)
    assert said.count(OK) == said.count(b"connection: close\r\n") == 1
