"""Behaviour of service.http.heads."""

import pytest

from service.http.heads import LONGEST, MOST, Head, Heads
from service.predict import Target

TARGET = Target("v1", "line", None)
RAW = b"POST /v1/models/line:predict HTTP/1.1\r\nHost: server\r\nContent-Length: 2\r\n\r\n"
HEAD = Head(TARGET, 2)


def test_a_head_that_was_read_is_known_with_any_body_of_its_length() -> None:
    """It says the same, whatever follows it."""
    heads = Heads()
    heads.keep(RAW + b"{}", HEAD, b"{}")
    assert heads.find(RAW + b"[]") == (HEAD, None)


def named(lines: bytes) -> bytes:
    """A request with more lines in its head."""
    return RAW.replace(b"\r\nContent", b"\r\n%bContent" % lines) + b"{}"


@pytest.mark.parametrize(
    ("lines", "request_id"),
    [
        (b"X-Request-Id: 7\r\n", b"7"),
        (b"x-request-id: a-b_c/%d\r\n", b"a-b_c/%d"),
        (b"traceparent: 00-1-2-01\r\n", None),
        (b"traceparent: 00-1-2-01\r\nX-REQUEST-ID: 8\r\n", b"8"),
        (b"X-Request-Id: 8\r\nTraceParent: 00-1-2-01\r\n", b"8"),
    ],
)
def test_the_name_of_a_request_is_not_a_part_of_what_its_head_says(lines: bytes, request_id: bytes | None) -> None:
    """A head that differs in nothing else is known, whatever the request is called, and its name is given."""
    heads = Heads()
    heads.keep(named(b"x-request-id: first\r\n"), Head(TARGET, 2), b"{}")
    assert heads.find(named(lines)) == (Head(TARGET, 2), request_id)
    heads.keep(RAW + b"{}", HEAD, b"{}")
    assert heads.find(named(lines)) == (HEAD, request_id)


@pytest.mark.parametrize(
    "lines",
    [
        b"X-Request-Id: 7\r\nX-Request-Id: 8\r\n",
        b"X-Request-Id: 7 8\r\n",
        b"X-Request-Id: 7\r\n 8\r\n",
        b"X-Request-Id:7\r\n",
        b"X-Request-Id: \r\n",
        b"X-Request-Id: \xc3\xbc\r\n",
        b"X-Request-Id: 7\n\r\n",
        b"X-Request-Id: %b\r\n" % (b"7" * 129),
        b"X-Request-Id : 7\r\n",
        b"X-Request-Ids: 7\r\n",
        b"Y: 1\r\n",
    ],
)
def test_a_name_that_is_not_plain_is_for_the_parser(lines: bytes) -> None:
    """It may be two, none, or more than a name."""
    heads = Heads()
    heads.keep(RAW + b"{}", HEAD, b"{}")
    assert heads.find(named(lines)) is None


@pytest.mark.parametrize(
    "data",
    [
        RAW,
        RAW + b"{",
        RAW + b"{}\r\n",
        RAW + b"{}" + RAW + b"{}",
        RAW[:-4] + b"\r\nX: y\r\n\r\n{}",
        RAW.replace(b"Host", b"host") + b"{}",
        RAW.replace(b"line", b"lime") + b"{}",
        b"\r\n" + RAW + b"{}",
        b"",
    ],
)
def test_anything_else_is_for_the_parser(data: bytes) -> None:
    """A part of a request, more than one, and one that differs in a byte."""
    heads = Heads()
    heads.keep(RAW + b"{}", HEAD, b"{}")
    assert heads.find(data) is None


@pytest.mark.parametrize(
    ("data", "head", "body"),
    [
        pytest.param(named(b"X-Request-Id:7\r\n"), HEAD, b"{}", id="a name that is not plain to see"),
        pytest.param(
            named(b"X-Request-Id:7\r\nX-Request-Id: 8\r\n"),
            Head(TARGET, 2),
            b"{}",
            id="two names, of which one is plain to see",
        ),
        pytest.param(RAW + b"{}", Head(TARGET, 2, keep_alive=False), b"{}", id="the last of its connection"),
        pytest.param(RAW + b"{}\r\n", HEAD, b"{}", id="an empty line behind it"),
        pytest.param(b"\r\n\r\n" + RAW + b"{}", HEAD, b"{}", id="empty lines before it"),
        pytest.param(RAW + b"{}" + RAW + b"[]", HEAD, b"{}", id="two"),
        pytest.param(RAW[:-2].replace(b"\r\n", b"\n") + b"\r\n{}", HEAD, b"{}", id="lines that end otherwise"),
        pytest.param(RAW[:-4] + b"\r\nX: %b\r\n\r\n{}" % (b"y" * LONGEST), HEAD, b"{}", id="a long one"),
        pytest.param(RAW.replace(b"2", b"0"), Head(TARGET, 0), b"", id="no body"),
    ],
)
def test_what_would_not_come_again_or_is_not_plain_is_not_kept(data: bytes, head: Head, body: bytes) -> None:
    """So nothing is ever read otherwise than the parser reads it."""
    heads = Heads()
    heads.keep(data, head, body)
    assert heads.find(data) is None
    assert heads.find(RAW + b"{}") is None


def test_no_more_than_so_many_are_kept() -> None:
    """Whoever sends ever other heads takes no more memory; the last of them are known."""
    heads = Heads()
    raws = [RAW.replace(b"server", b"%d" % number) + b"{}" for number in range(3 * MOST)]
    for raw in raws:
        heads.keep(raw, HEAD, b"{}")
    known = [heads.find(raw) is not None for raw in raws]
    assert known[-1]
    assert sum(known) <= MOST
