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
from service.http.configuration import configure
from service.keys import make_key

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


Connect = Callable[[], tuple[asyncio.Runner, Any]]


@pytest.fixture(scope="module")
def connect(samples: Path) -> Iterator[Connect]:
    """An event loop with a server's application on it, and what makes the protocol of another connection there."""
    yield from connecting(Settings(models=samples, lane="on", execution="inline"))


def connecting(settings: Settings) -> Iterator[Connect]:
    """The same of any settings."""
    app = create_app(settings)
    config = configure(app)
    config.load()
    life = app.router.lifespan_context(app)
    with asyncio.Runner() as runner:
        runner.run(life.__aenter__())
        protocol: Any = config.http_protocol_class
        yield lambda: (runner, protocol(config, ServerState(), {}, runner.get_loop()))
        runner.run(life.__aexit__(None, None, None))


STREAMS: dict[str, Any] = {
    "cuts": st.lists(st.integers(0, 2000), max_size=6),
    "by_request": st.booleans(),
}


@given(asked=st.lists(st.sampled_from(sorted(ASKS)), min_size=1, max_size=12), **STREAMS)
def test_every_request_has_its_reply_however_the_bytes_come(
    connect: Connect,
    asked: list[bytes],
    cuts: list[int],
    by_request: bool,  # noqa: FBT001  # drawn
) -> None:
    """Heads that came before, on this connection or in parts, are read as those that did not."""
    replies = replies_to(connect, asked, cuts, by_request=by_request)
    assert len(replies) == len(asked)
    for ask, reply in zip(asked, replies, strict=True):
        assert ASKS[ask] in reply


GOOD, NARROW = make_key("good", ["predict"]), make_key("narrow", ["metrics", "admin"])
KEYED = {
    ask.replace(b"Host", b"Authorization: Bearer %b\r\nHost" % key.encode()): answer
    for ask in (KNOWN % (len(ROW), ROW), KNOWN % (len(OTHER), OTHER), NAMED % (len(ROW), ROW))
    for key, answer in [
        (GOOD.text, ASKS[ask]),
        (NARROW.text, b'"code":"forbidden"'),
        (GOOD.text[:-1] + "-", b'"code":"unauthorized"'),
        (f"{GOOD.text}\r\nAuthorization: Bearer {GOOD.text}", b'"code":"unauthorized"'),
    ]
} | {KNOWN % (len(ROW), ROW): b'"code":"unauthorized"', NAMED % (len(ROW), ROW): b'"code":"unauthorized"'}


@pytest.fixture(scope="module")
def connect_with_keys(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connect]:
    """The same where keys are asked for."""
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    path.write_text(GOOD.lines + NARROW.lines)
    yield from connecting(Settings(models=samples, keys=path, lane="on", execution="inline"))


@given(asked=st.lists(st.sampled_from(sorted(KEYED)), min_size=1, max_size=12), **STREAMS)
def test_every_request_is_answered_by_its_own_key_however_the_bytes_come(
    connect_with_keys: Connect,
    asked: list[bytes],
    cuts: list[int],
    by_request: bool,  # noqa: FBT001  # drawn
) -> None:
    """No head that was good before, in whatever parts it came, opens anything to another."""
    replies = replies_to(connect_with_keys, asked, cuts, by_request=by_request)
    assert len(replies) == len(asked)
    for ask, reply in zip(asked, replies, strict=True):
        assert KEYED[ask] in reply


def replies_to(connect: Connect, asked: list[bytes], cuts: list[int], *, by_request: bool) -> list[bytes]:
    """The bodies that answer requests on one connection, of which the bytes come in parts: cut there, or each whole."""
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

    return runner.run(talk())
