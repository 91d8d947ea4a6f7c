"""Behaviour of service.http.lane; that both ways give the same is seen by the tests of whole servers."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from service.config import Settings
from service.http.app import create_app
from service.http.server import configure

KNOWN = b"POST /v1/models/line:predict HTTP/1.1\r\nHost: server\r\nContent-Length: %d\r\n\r\n%b"
ROW, OTHER, LONGER = b'{"instances": [[1, 2]]}', b'{"instances": [[3, 4]]}', b'{"instances": [[3.5, 4.25]]}'
NAMED = KNOWN.replace(b"Host", b"X-Request-Id: 7\r\nHost")
ASKS = {
    KNOWN % (len(ROW), ROW): b'{"predictions":[-2.0]}',
    KNOWN % (len(OTHER), OTHER): b'{"predictions":[-3.5]}',
    KNOWN % (len(LONGER), LONGER): b'{"predictions":[-3.5625]}',
    NAMED % (len(ROW), ROW): b'{"predictions":[-2.0]}',
    NAMED.replace(b"7", b"8") % (len(ROW), ROW): b'{"predictions":[-2.0]}',
    NAMED.replace(b"7", b"7 8") % (len(ROW), ROW): b'{"predictions":[-2.0]}',
    KNOWN % (len(ROW), b"x" * len(ROW)): b'"code":"invalid_json"',
    KNOWN % (len(ROW), ROW) + b"\r\n": b'{"predictions":[-2.0]}',
    b"\r\n" + KNOWN % (len(ROW), ROW): b'{"predictions":[-2.0]}',
    b"GET /v2/health/live HTTP/1.1\r\nHost: server\r\n\r\n": b'{"live":true}',
}


class Client(asyncio.Transport):
    """A client that keeps what it is sent, and sends no more than is read."""

    def __init__(self) -> None:
        super().__init__()
        self.received = b""
        self.may_send = asyncio.Event()
        self.may_send.set()

    def write(self, data: Any) -> None:  # noqa: ANN401  # as asyncio has it
        """Receive."""
        self.received += data

    def pause_reading(self) -> None:
        """Wait."""
        self.may_send.clear()

    def resume_reading(self) -> None:
        """Go on."""
        self.may_send.set()

    def close(self) -> None:
        """End the connection."""

    def is_closing(self) -> bool:
        """Whether the server has ended the connection, which none of these requests lets it."""
        return False

    async def answered(self, count: int) -> list[bytes]:
        """The bodies of so many replies, once they are there."""
        while self.received.count(b"HTTP/1.1 ") < count:  # noqa: ASYNC110  # in each turn of the loop one may come
            await asyncio.sleep(0)
        return [reply.partition(b"\r\n\r\n")[2] for reply in self.received.split(b"HTTP/1.1 ")[1:]]


@pytest.fixture(scope="module")
def connect(samples: Path) -> Iterator[Callable[[], tuple[asyncio.Runner, Any]]]:
    """An event loop with a server's application on it, and what makes the protocol of another connection there."""
    app = create_app(Settings(models=samples, lane="on", execution="inline"))
    config = configure(app)
    config.load()
    life = app.router.lifespan_context(app)
    with asyncio.Runner() as runner:
        runner.run(life.__aenter__())
        protocol: Any = config.http_protocol_class
        yield lambda: (runner, protocol(config, ServerState(), {}, runner.get_loop()))
        runner.run(life.__aexit__(None, None, None))


@given(
    asked=st.lists(st.sampled_from(sorted(ASKS)), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 2000), max_size=6),
    by_request=st.booleans(),
)
def test_every_request_has_its_reply_however_the_bytes_come(
    connect: Callable[[], tuple[asyncio.Runner, Any]],
    asked: list[bytes],
    cuts: list[int],
    by_request: bool,  # noqa: FBT001  # drawn
) -> None:
    """Heads that came before, on this connection or in parts, are read as those that did not."""
    stream = b"".join(asked)
    places = {0, len(stream)} | {cut for cut in cuts if cut < len(stream)}
    if by_request:
        places |= {sum(map(len, asked[:count])) for count in range(len(asked))}
    runner, protocol = connect()

    async def talk() -> list[bytes]:
        client = Client()
        protocol.connection_made(client)
        borders = sorted(places)
        for start, stop in pairwise(borders):
            await client.may_send.wait()
            protocol.data_received(stream[start:stop])
            await asyncio.sleep(0)
        replies = await asyncio.wait_for(client.answered(len(asked)), 30)
        protocol.connection_lost(None)
        return replies

    replies = runner.run(talk())
    assert len(replies) == len(asked)
    for ask, reply in zip(asked, replies, strict=True):
        assert ASKS[ask] in reply
