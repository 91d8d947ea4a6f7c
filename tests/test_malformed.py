"""Malformed requests against a real server: each is refused as the table says, and costs nobody else anything."""

import http.client
import json
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import errors
from tests.certificates import make_certificates
from tests.malformed import BOMB_BYTES, CASES, LARGE_BODIES, MAX_BODY, POINT, RAW_BODY, V1_BODY, V2_BODY, Case, text
from tests.server import Server, running
from tests.zoo import publish_zoo

PATIENCE = 60
"""Seconds after which a request counts as hanging, on a machine that has other things to do."""

GROWTH = 12 * MAX_BODY
"""Most bytes that the server's memory may grow by. A body of the largest size lies there as chunks, as a whole and
expanded; the objects that are made of it before it is refused are at most about ten times as large as their text (an
output that is asked for has some 15 bytes of text). A bomb that is expanded is larger."""

REPEATS = 4
"""How often a large body is sent again: one that were kept each time would be seen."""

KNOWN = ("/v1/models/line:predict", V1_BODY, b'{"predictions":[-2.0]}')
"""A path, a body, and the answer's bytes."""

in_plain = pytest.mark.parametrize("server", ["on", "off"], indirect=True, scope="module")
"""For what is about bodies only, once they are there, and takes long."""

CODES = {error.code for error in vars(errors).values() if isinstance(error, type) and hasattr(error, "code")}


@pytest.fixture(scope="module", params=["on", "off", "on, by TLS", "off, by TLS"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """The zoo, served with the default settings; predictions take the short way or not, in plain or by TLS."""
    root = tmp_path_factory.mktemp("zoo")
    publish_zoo(root)
    lane, _, tls = request.param.partition(", ")
    certificates = make_certificates(tmp_path_factory.mktemp("certificates")) if tls else None
    with running("--models", str(root), "--lane", lane, certificates=certificates) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    """A client that keeps its connection."""
    with server.client(PATIENCE) as client:
        yield client


@pytest.fixture(scope="module")
def most_memory(server: Server, client: httpx.Client) -> int:
    """Bytes that the server may have used at its peak, whatever it is sent."""
    path, body, _ = KNOWN
    client.post(path, content=body).raise_for_status()
    return memory(server, "VmRSS") + GROWTH


def memory(server: Server, kind: str) -> int:
    """The memory of the server's process in bytes: VmRSS, which it has, or VmHWM, the most since `forget_peak`."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (kilobytes,) = re.findall(rf"^{kind}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(kilobytes) * 1024


def forget_peak(server: Server) -> None:
    """Let Linux measure the most memory of the server's process anew."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def exchange(server: Server, content: bytes, case: Case) -> tuple[int, str, bytes] | None:
    """The status, content type and body that answer a request; None where the connection ends without an answer."""
    with server.connect(PATIENCE) as connection:
        try:
            connection.sendall(content)
            if case.ends:
                # Of the connection below TLS too, behind whose own end a client reads no more.
                socket.socket.shutdown(connection, socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            # The server has answered before all of it was there.
            pass
        reply = http.client.HTTPResponse(connection, method=case.method)
        try:
            reply.begin()
            return reply.status, reply.getheader("content-type", ""), reply.read()
        except (ConnectionResetError, ssl.SSLEOFError):
            return None
        finally:
            reply.close()


def check_still_exact(server: Server, client: httpx.Client, most_memory: int) -> None:
    """The same process gives a known row's exact answer, within its memory, and has logged no traceback."""
    path, body, answer = KNOWN
    assert client.post(path, content=body).content == answer
    assert server.process.poll() is None
    assert memory(server, "VmHWM") <= most_memory
    tracebacks = [line for line in server.log if "Traceback" in line]
    # Told once, and not to every test that follows.
    server.log.clear()
    assert not tracebacks


def check_form(body: bytes) -> Any:  # noqa: ANN401  # JSON
    """The error in a body, which has the form that both dialects share."""
    error = json.loads(body)
    assert error["error"]
    assert error["code"] in CODES
    assert len(error.get("faults", [])) <= errors.MAX_FAULTS
    for fault in error.get("faults", []):
        assert set(fault) == {"pointer", "expected", "got", "hint"}
        assert fault["pointer"] == "" or fault["pointer"].startswith("/")
    # Whatever was sent, what comes back is for a person to read.
    assert len(body) < 16 * 1024
    return error


def check_refusal(server: Server, content: bytes, case: Case) -> None:
    """The case's content is answered as the case says."""
    reply = exchange(server, content, case)
    if not case.code:
        assert reply is None or reply[0] == case.status
        return
    assert reply is not None, "the connection ended without an answer"
    status, content_type, body = reply
    assert status == case.status, body
    if case.method != "HEAD":
        assert content_type == "application/json"
        assert check_form(body)["code"] == case.code, body


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_malformed_request_is_refused_and_the_next_one_answered(
    server: Server, client: httpx.Client, most_memory: int, case: Case
) -> None:
    """It gets its status and code in the errors' one form; the server then answers exactly, in bounded memory."""
    forget_peak(server)
    check_refusal(server, case.content(), case)
    check_still_exact(server, client, most_memory)


@in_plain
@pytest.mark.parametrize("case", LARGE_BODIES, ids=lambda case: case.name)
def test_refusing_the_largest_bodies_again_and_again_keeps_none_of_them(
    server: Server, client: httpx.Client, most_memory: int, case: Case
) -> None:
    """What is made of them to say what is wrong is bounded, and gone with the reply."""
    content = case.content()
    forget_peak(server)
    check_refusal(server, content, case)
    # A reply may be there before the body that it refuses is let go; the next request's is not.
    check_still_exact(server, client, most_memory)
    before = memory(server, "VmRSS")
    for _ in range(REPEATS):
        check_refusal(server, content, case)
    check_still_exact(server, client, most_memory)
    assert memory(server, "VmRSS") - before < REPEATS * MAX_BODY / 2


def test_the_table_has_no_name_twice_and_a_bomb_that_is_larger_than_the_bound() -> None:
    """Every case is told apart, and the bound on memory would notice a bomb that is expanded."""
    assert len({case.name for case in CASES}) == len(CASES) >= 150
    assert BOMB_BYTES > GROWTH


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["FP32", "INT64", "BYTES", "line", "point", "value", "binary_data_size", "classification"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)

REQUESTS = (
    ("/v1/models/line:predict", V1_BODY),
    ("/v1/models/line:predict", text({"instances": [{"width": 1.0, "height": 2.0}, [3.0, 4.0]]})),
    ("/v1/models/words:predict", text({"instances": [{"context": ["the", "value"]}, {"context": ["of"]}]})),
    ("/v2/models/line/infer", V2_BODY),
    ("/v2/models/line/infer", RAW_BODY + POINT),
    ("/v2/models/echo_bytes/infer", V2_BODY.replace(b"[1.0, 2.0]", b'["a", "b"]').replace(b"FP32", b"BYTES")),
    (
        "/v2/models/species/infer",
        text(
            {
                "id": "7",
                "parameters": {"timeout": 60_000_000, "binary_data_output": False},
                "inputs": [{"name": "petal", "shape": [1, 3], "datatype": "FP32", "data": [[1, 2, 3]]}],
                "outputs": [{"name": "probability", "parameters": {"classification": 2}}],
            }
        ),
    ),
)


def places(value: Any, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:  # noqa: ANN401  # JSON
    """The way to every value within a JSON value, itself included."""
    yield here
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from places(inner, (*here, step))


def replaced(value: Any, place: tuple[str | int, ...], other: Any) -> Any:  # noqa: ANN401  # JSON
    """The JSON value with another one in this place."""
    if not place:
        return other
    step, rest = place[0], place[1:]
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[step] = replaced(value[step], rest, other)
    return copy


@st.composite
def changed_structures(draw: st.DrawFn) -> tuple[str, bytes]:
    """A valid request with another JSON value somewhere in it."""
    path, body = draw(st.sampled_from([one for one in REQUESTS if one[1] != RAW_BODY + POINT]))
    value = json.loads(body)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(list(places(value))))
        value = replaced(value, place, draw(JSON_VALUES))
    return path, text(value)


@st.composite
def changed_bytes(draw: st.DrawFn) -> tuple[str, bytes]:
    """A valid request with some bytes taken out, put in or doubled."""
    path, body = draw(st.sampled_from(REQUESTS))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        stop = draw(st.integers(start, min(len(body), start + 8)))
        middle = draw(
            st.binary(max_size=4) | st.sampled_from([b"[", b"]", b'"', b",", b"-", b"e9", body[start:stop] * 2])
        )
        body = body[:start] + middle + body[stop:]
    return path, body


def lengths(body: bytes) -> st.SearchStrategy[str | None]:
    """What the header of the JSON's length may say."""
    return st.none() | st.sampled_from([str(len(RAW_BODY)), "0", str(len(body))]) | st.integers(-9, 999).map(str)


@in_plain
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changed=changed_structures() | changed_bytes(), data=st.data())
def test_whatever_becomes_of_a_valid_request_it_is_answered_or_refused(
    server: Server, client: httpx.Client, most_memory: int, changed: tuple[str, bytes], data: st.DataObject
) -> None:
    """Any change to a valid body gives an answer or an error in the one form, never a fault of the server's own."""
    forget_peak(server)
    path, body = changed
    length = data.draw(lengths(body))
    headers = {} if length is None else {"Inference-Header-Content-Length": length}
    reply = client.post(path, content=body, headers=headers)
    # A time limit may have become one that nobody can keep.
    assert reply.status_code in (200, 400, 504), reply.text
    if reply.status_code != httpx.codes.OK:
        check_form(reply.content)
    check_still_exact(server, client, most_memory)
