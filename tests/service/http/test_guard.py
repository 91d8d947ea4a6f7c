"""Behaviour of service.http.guard."""

import asyncio
import contextlib
import json
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest

from service.config import Settings
from service.http.app import create_app
from tests.certificates import Certificates
from tests.service.conftest import COMMITTED, serving
from tests.service.http.test_lane import Client, connecting

BODY = b'{"instances": [[1, 2]]}'
PREDICT = b"POST /v1/models/line:predict HTTP/1.1\r\nHost: server\r\nContent-Length: %d\r\n" % len(BODY)
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: server\r\n"
WHOLE = PREDICT + b"\r\n" + BODY
MAX_HEAD = 2048

Talk = Callable[..., "BinaryIO"]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "TLS"])
def trust(certificates: Certificates, request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    """What a client needs of a server that speaks TLS, and None of one that does not."""
    return certificates.trust() if request.param else None


@pytest.fixture(scope="module", params=["on", "off"])
def client(
    samples: Path, certificates: Certificates, trust: ssl.SSLContext | None, request: pytest.FixtureRequest
) -> Iterator[httpx.Client]:
    """A client of an impatient server, whose predictions take the short way or not, in plain or by TLS."""
    settings = Settings(
        models=samples,
        lane=request.param,
        max_head=MAX_HEAD,
        head_seconds=0.2,
        body_seconds=0.3,
        idle_seconds=0.4,
        tls_certificate=trust and certificates.server,
        tls_key=trust and certificates.server_key,
    )
    with serving(create_app(settings), trust) as client:
        yield client


@pytest.fixture
def talk(client: httpx.Client, trust: ssl.SSLContext | None) -> Iterator[Talk]:
    """Send pieces of bytes over a connection of their own; what comes back is read from the stream."""
    opened: list[socket.socket] = []

    def send(*pieces: bytes) -> BinaryIO:
        connection = socket.create_connection((client.base_url.host, client.base_url.port), timeout=20)
        if trust is not None:
            connection = trust.wrap_socket(connection, server_hostname=client.base_url.host)
        opened.append(connection)
        for piece in pieces:
            connection.sendall(piece)
        return connection.makefile("rb")

    yield send
    for connection in opened:
        connection.close()


def reply(stream: BinaryIO) -> tuple[int, dict[str, str], bytes]:
    """The next reply of a connection: its status, headers and body."""
    status, *lines = [line.decode().strip() for line in iter(stream.readline, b"\r\n")]
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, stream.read(int(headers["content-length"]))


def refusal(stream: BinaryIO, status: int, code: str) -> None:
    """The next reply is an error of our form, and the connection ends behind it."""
    actual, headers, body = reply(stream)
    assert (actual, json.loads(body)["code"], headers["connection"]) == (status, code, "close")
    assert headers["content-type"] == "application/json"
    assert stream.read() == b""


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nHost", b"G", PREDICT], ids=["line", "letter", "prediction"])
def test_a_head_that_does_not_end_is_refused(start: bytes, talk: Talk) -> None:
    """A client has its time for the head, whatever it asks for."""
    refusal(talk(start), 408, "too_slow")


@pytest.mark.parametrize("head", [PREDICT, b"POST /v2/repository/index HTTP/1.1\r\nHost: s\r\nContent-Length: 9\r\n"])
def test_a_body_that_does_not_end_is_refused(head: bytes, talk: Talk) -> None:
    """A client has its time for the body, wherever it is to go."""
    refusal(talk(head + b"\r\n{"), 408, "too_slow")


def test_the_clock_stands_while_the_server_does_not_read() -> None:
    """A body that waits behind a prediction that takes long, in a connection that is not read meanwhile, is in time."""
    slow = json.dumps({"instances": [{"context": ["a"] * 4096}] * 15}, separators=(",", ":")).encode()
    head = b"POST /v1/models/next_word_lstm:predict HTTP/1.1\r\nHost: server\r\nContent-Length: %d\r\n\r\n"
    quick = b'{"instances": [{"context": ["a"]}]}'
    settings = Settings(models=COMMITTED / "next_word_lstm", body_seconds=0.01, max_batch=1, execution="thread")
    with serving(create_app(settings)) as client:
        address = (client.base_url.host, client.base_url.port)
        with socket.create_connection(address, timeout=60) as connection, connection.makefile("rb") as stream:
            # Several times, so that the server looks at its clock while one of them is computed.
            for _ in range(4):
                connection.sendall(head % len(slow) + slow + head % len(quick))
                # Once another request is answered, the server has read these.
                assert client.get("/v2/health/live").status_code == 200
                connection.sendall(quick)
                assert [reply(stream)[0] for _ in range(2)] == [200, 200]


def test_a_connection_without_a_request_is_closed(talk: Talk) -> None:
    """Nothing is said to who has not begun."""
    assert talk().read() == b""


def test_an_idle_connection_is_closed(talk: Talk) -> None:
    """After a reply there is a time for the next request, and then an end without a word."""
    stream = talk(WHOLE)
    assert reply(stream)[0] == 200
    assert stream.read() == b""


@pytest.mark.parametrize("pieces", [1, 2, 100])
@pytest.mark.parametrize("head", [PREDICT, LIVE], ids=["prediction", "health"])
def test_a_head_that_is_too_large_is_refused(head: bytes, pieces: int, talk: Talk) -> None:
    """Whether it comes at once or bit by bit."""
    whole = head + b"X-Filler: " + b"x" * MAX_HEAD + b"\r\n\r\n"
    size = len(whole) // pieces + 1
    try:
        stream = talk(*(whole[start : start + size] for start in range(0, len(whole), size)))
    except (BrokenPipeError, ConnectionResetError):
        return  # refused before it was all sent
    refusal(stream, 431, "head_too_large")


@pytest.mark.parametrize("head", [PREDICT, LIVE], ids=["prediction", "health"])
def test_a_large_head_is_read(head: bytes, talk: Talk) -> None:
    """As large as may be, also beside a body."""
    filler = MAX_HEAD - len(head) - 60
    body = BODY if head is PREDICT else b""
    assert reply(talk(head + b"X-Filler: " + b"x" * filler + b"\r\n\r\n" + body))[0] == 200


@pytest.mark.parametrize("nonsense", [b"\x16\x03\x01\x02\x00\x01", b"HELLO\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
def test_what_is_no_http_is_refused(nonsense: bytes, talk: Talk) -> None:
    """In the form of every other error."""
    refusal(talk(nonsense), 400, "malformed_http")


CHUNKED = b"Host: server\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HELLO\r\n\r\n",
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        b"POST /v1/models/line:predict HTTP/1.1\r\n" + CHUNKED + b"zz\r\n",
        b"POST /v2/repository/index HTTP/1.1\r\n" + CHUNKED + b"zz\r\n",
    ],
    ids=["line", "header", "prediction", "other"],
)
@pytest.mark.parametrize("before", [WHOLE, LIVE + b"\r\n"], ids=["predictions", "others"])
def test_what_was_asked_before_nonsense_is_answered(nonsense: bytes, before: bytes, talk: Talk) -> None:
    """The replies that are due are sent, then what is wrong is said, and the connection ends."""
    stream = talk(before * 3 + nonsense)
    assert [reply(stream)[0] for _ in range(3)] == [200] * 3
    refusal(stream, 400, "malformed_http")


@pytest.mark.parametrize("count", [700, 2000])
def test_many_requests_in_a_row_are_all_answered(count: int, talk: Talk) -> None:
    """However many come at once, and where in them a piece of the stream ends."""
    empty = b"POST /v2/models/line/infer HTTP/1.1\r\nHost: server\r\nContent-Length: 0\r\n\r\n"
    upgrade = LIVE + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    for request, status in ((WHOLE, 200), (empty, 400), (upgrade, 200)):
        whole = request * count
        stream = talk(whole[:-20], whole[-20:])
        assert [reply(stream)[0] for _ in range(count)] == [status] * count


@pytest.mark.parametrize(
    "follower",
    [LIVE + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n", LIVE + b"X-Filler: " + b"x" * MAX_HEAD + b"\r\n\r\n"],
    ids=["upgrade", "large"],
)
def test_a_request_is_answered_once_whatever_follows_it(follower: bytes, client: httpx.Client, talk: Talk) -> None:
    """What comes behind it is another request, and counted as such."""
    before = client.get("/metrics").text
    assert json.loads(reply(talk(WHOLE + follower))[2]) == {"predictions": [-2.0]}
    invalid = 'forwardpass_requests_total{model="line",outcome="invalid"'
    assert client.get("/metrics").text.count(invalid) == before.count(invalid)


@pytest.mark.parametrize("behind", [b"HELLO\r\n\r\n", LIVE + b"X: " + b"x" * MAX_HEAD + b"\r\n\r\n", WHOLE])
def test_what_comes_behind_a_refused_request_is_not_read(
    behind: bytes, talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    """It is refused once, whatever comes in the same piece, and nothing fails."""
    refusal(talk(LIVE + b"X-Filler: " + b"x" * MAX_HEAD + b"\r\n\r\n" + behind), 431, "head_too_large")
    assert reply(talk(WHOLE))[0] == 200
    assert not caplog.records


class Reader(Client):
    """A client that has read all that it was sent, and of which half a connection cannot be closed."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits for it."""
        return 0

    def can_write_eof(self) -> bool:
        """As it is by TLS."""
        return False


def test_each_of_several_bodies_in_a_row_has_its_own_time(samples: Path) -> None:
    """Also where a piece ends one of them and begins the next."""
    settings = Settings(models=samples, head_seconds=1, body_seconds=10, execution="inline")
    connections = connecting(settings)
    runner, protocol = next(connections)()

    async def talk() -> None:
        client = Reader()
        protocol.connection_made(client)
        start = runner.get_loop().time()
        protocol.data_received(WHOLE[:-5])
        for seconds in (0, 9):
            protocol.look(start + seconds)
        protocol.data_received(WHOLE[-5:] + WHOLE[:-5])
        await client.answered(1)
        while protocol.flow.read_paused:  # noqa: ASYNC110  # nobody tells of it
            # The second has its turn, and its time, a moment after the answer to the first.
            await asyncio.sleep(0)
        for seconds in (9, 18):
            protocol.look(start + seconds)
        assert client.received.count(b"HTTP/1.1 200") == client.received.count(b"HTTP/1.1") == 1
        protocol.look(start + 20)
        await client.answered(2)
        assert b"HTTP/1.1 408" in client.received
        protocol.connection_lost(None)

    runner.run(talk())
    assert next(connections, None) is None


def test_trailers_are_bounded(talk: Talk) -> None:
    """What comes behind a body of chunks means nothing, and may not come without end."""
    head = b"POST /v1/models/line:predict HTTP/1.1\r\n" + CHUNKED + b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n"
    assert json.loads(reply(talk(head + b"a: b\r\n\r\n"))[2]) == {"predictions": [-2.0]}
    refusal(talk(head, *[b"a: b\r\n" * 100] * 50), 431, "head_too_large")


@pytest.mark.parametrize("nonsense", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_000])
def test_a_client_that_is_still_sending_is_told_why(nonsense: bytes, talk: Talk) -> None:
    """What it sends is read for a moment: else the system would throw away the answer that it has not read yet."""
    status = reply(talk(nonsense, *[b"x" * 1000] * 3000))[0]
    assert status == (400 if nonsense.startswith(b"nonsense") else 431)


def test_requests_in_a_row_are_answered_in_order(talk: Talk) -> None:
    """Predictions and all else, whichever of them takes longer."""
    bodies = [b'{"instances": [[%d, 0]]}' % number for number in range(20)]
    head = b"POST /v1/models/line:predict HTTP/1.1\r\nHost: server\r\nContent-Length: %d\r\n\r\n"
    stream = talk(b"".join(head % len(body) + body + LIVE + b"\r\n" for body in bodies))
    for number in range(20):
        assert json.loads(reply(stream)[2]) == {"predictions": [number / 2]}
        assert json.loads(reply(stream)[2]) == {"live": True}


def test_a_request_may_come_byte_by_byte(talk: Talk) -> None:
    """Wherever it is divided, it is the same request."""
    stream = talk(*(WHOLE[place : place + 1] for place in range(len(WHOLE))))
    assert json.loads(reply(stream)[2]) == {"predictions": [-2.0]}


@pytest.mark.parametrize("wish", [b"h2c", b"websocket", b"TLS/1.0"])
def test_a_wish_for_another_protocol_is_passed_over(wish: bytes, talk: Talk) -> None:
    """A server need not grant it, and the body is read all the same; so is the next request."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n" % wish
    stream = talk(PREDICT + upgrade + BODY + WHOLE)
    for _ in range(2):
        assert json.loads(reply(stream)[2]) == {"predictions": [-2.0]}


@pytest.mark.parametrize(
    ("version", "connection"), [(b"1.1", b"Upgrade, close"), (b"1.0", b"Upgrade")], ids=["close", "HTTP/1.0"]
)
def test_a_wish_for_another_protocol_keeps_no_connection_that_should_end(
    version: bytes, connection: bytes, talk: Talk
) -> None:
    """What is passed over is the wish alone."""
    wish = b"Connection: %b\r\nUpgrade: h2c\r\n\r\n" % connection
    _, headers, _ = reply(talk(PREDICT.replace(b"HTTP/1.1", b"HTTP/%b" % version) + wish + BODY))
    assert headers.get("connection") == "close"


@pytest.mark.parametrize("rows", [10_000, 30_000], ids=["small", "large"])
def test_a_client_that_reads_nothing_of_its_replies_is_let_go(rows: int, talk: Talk) -> None:
    """It may take its time with them, but not keep them here for ever. Its own system holds many megabytes of them."""
    body = json.dumps({"instances": [[1, 2]] * rows}).encode()
    ask = b"POST /v1/models/line:predict HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        # Over TLS what comes while the connection ends is read, and thrown away.
        stream, answered = talk(*[ask] * 5000), 0
        while chunk := stream.read(1 << 20):
            answered += chunk.count(b"HTTP/1.1 200")
        assert answered < 5000


def test_this_server_is_no_proxy(talk: Talk) -> None:
    """CONNECT asks for a tunnel, which there is none."""
    refusal(talk(b"CONNECT server:443 HTTP/1.1\r\nHost: server:443\r\n\r\n"), 405, "method_not_allowed")


def test_a_client_may_ask_whether_to_send_the_body(talk: Talk) -> None:
    """It is told to go on before it does."""
    stream = talk(PREDICT + b"Expect: 100-continue\r\n\r\n")
    assert stream.readline() == b"HTTP/1.1 100 Continue\r\n"


def test_a_client_that_asks_and_sends_nonsense_is_refused_and_nothing_fails(
    client: httpx.Client, talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not told to go on behind the refusal."""
    asks = b"POST /v1/models/line:predict HTTP/1.1\r\nExpect: 100-continue\r\n"
    refusal(talk(asks + CHUNKED + b"zz\r\n"), 400, "malformed_http")
    assert client.get("/v2/health/live").is_success
    assert not caplog.records


def test_an_old_client_is_answered_once(talk: Talk) -> None:
    """HTTP/1.0 has one request a connection."""
    stream = talk(WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"))
    status, headers, body = reply(stream)
    assert (status, headers["connection"], json.loads(body)) == (200, "close", {"predictions": [-2.0]})
    assert stream.read() == b""


def test_a_client_that_wants_the_connection_closed_has_it_closed(talk: Talk) -> None:
    """The reply says so too."""
    stream = talk(PREDICT + b"Connection: close\r\n\r\n" + BODY)
    assert reply(stream)[1]["connection"] == "close"
    assert stream.read() == b""


def test_clients_that_go_away_leave_no_trace(
    client: httpx.Client, talk: Talk, trust: ssl.SSLContext | None, caplog: pytest.LogCaptureFixture
) -> None:
    """In the middle of a head, of a body, of many requests in a row: the others are answered, the log is silent."""
    with caplog.at_level(logging.WARNING):
        for pieces in ((PREDICT,), (PREDICT + b"\r\n{",), (WHOLE * 50,), ((LIVE + b"\r\n") * 50,)):
            talk(*pieces).close()
        with httpx.Client(base_url=client.base_url, verify=trust or True) as other:
            for _ in range(20):
                assert other.get("/v2/health/live").status_code == 200
    assert not [message for message in caplog.messages if "no HTTP/1.1" not in message]


@pytest.mark.parametrize("lane", ["on", "off"])
def test_one_client_too_many_is_told_so_and_hurts_nobody(
    lane: str, samples: Path, certificates: Certificates, trust: ssl.SSLContext | None
) -> None:
    """Whether or not it has asked anything; a place that is left is another's."""
    settings = Settings(
        models=samples,
        lane=lane,
        max_connections=3,
        tls_certificate=trust and certificates.server,
        tls_key=trust and certificates.server_key,
    )
    with serving(create_app(settings), trust) as client, contextlib.ExitStack() as opened:

        def connect() -> tuple[socket.socket, BinaryIO]:
            connection = socket.create_connection((client.base_url.host, client.base_url.port), timeout=20)
            if trust is not None:
                connection = trust.wrap_socket(connection, server_hostname=client.base_url.host)
            return opened.enter_context(connection), opened.enter_context(connection.makefile("rb"))

        # Each is served before the next one comes, so that all three are there.
        there = []
        for _ in range(3):
            there.append(connect())
            there[-1][0].sendall(WHOLE)
            assert reply(there[-1][1])[0] == 200
        for _ in range(5):
            connection, stream = connect()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                # By TLS it may have ended before.
                connection.sendall(WHOLE)
            refusal(stream, 503, "too_many_connections")
        for connection, stream in there:
            connection.sendall(WHOLE)
            assert reply(stream)[0] == 200
        for one in there.pop():
            one.close()
        for _ in range(1000):
            # Until the server has seen that it has gone.
            connection, stream = connect()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                connection.sendall(WHOLE)
            status = reply(stream)[0]
            if status == 200:
                break
        assert status == 200
