"""Behaviour of service.http.wire."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import (
    BinaryError,
    CompressionError,
    ComputeError,
    EncodingError,
    Fault,
    ForbiddenError,
    QueueFullError,
    ShapeError,
    TooLargeError,
    UnauthorizedError,
)
from service.http.wire import SMALLEST_COMPRESSED, expand, parse_json_length, target_of, write, write_error
from service.predict import Reply, Target

LIMIT = 1 << 16

CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("coding", CODINGS)
@given(content=st.binary(max_size=LIMIT))
def test_what_a_client_compressed_is_what_is_read(coding: str, content: bytes) -> None:
    """Expanding is the inverse of compressing, for every coding that the server reads."""
    assert expand(CODINGS[coding](content), coding, LIMIT) == content


@pytest.mark.parametrize("header", ["identity", "", " Identity ", "GZIP", "gzip, identity", "deflate,gzip"])
def test_codings_are_undone_in_the_order_the_header_says(header: str) -> None:
    """The last coding was applied last; identity and the case of letters mean nothing."""
    body = b"content"
    for coding in header.lower().split(","):
        body = CODINGS.get(coding.strip(), bytes)(body)
    assert expand(body, header, LIMIT) == b"content"


def test_joined_gzip_files_are_one_body() -> None:
    """A body of several gzip streams is their contents, one after the other."""
    assert expand(gzip.compress(b"one ") + gzip.compress(b"two"), "gzip", LIMIT) == b"one two"


@pytest.mark.parametrize(
    ("body", "coding", "sentence"),
    [
        (b"", "gzip", "ends before its gzip stream does"),
        (b"plain", "gzip", "is not encoded as gzip"),
        (gzip.compress(b"content")[:-5], "gzip", "ends before its gzip stream does"),
        (gzip.compress(b"content") + b"rest", "gzip", "is not encoded as gzip"),
        (gzip.compress(b"content")[:-8] + bytes(8), "gzip", "incorrect data check"),
        (gzip.compress(b"") * 40, "gzip", "the body goes on for"),
        (zlib.compress(b"content") + b"rest", "deflate", "the body goes on for 4 bytes"),
        (zlib.compress(b"content")[2:-4], "deflate", "that of zlib, with its header"),
        (gzip.compress(b"content"), "deflate", "is not encoded as deflate"),
    ],
)
def test_a_body_that_is_not_what_its_header_says_is_refused(body: bytes, coding: str, sentence: str) -> None:
    """Damage, a missing part and a part too many are faults of the client, told as such."""
    with pytest.raises(CompressionError, match=sentence):
        expand(body, coding, LIMIT)


@pytest.mark.parametrize("header", ["br", "zstd", "gzip, br", "gzip;q=1", "*", ",".join(["gzip"] * 5)])
def test_a_coding_that_is_not_read_is_refused(header: str) -> None:
    """The sentence names what can be read, or how often."""
    with pytest.raises(EncodingError, match=r"gzip and deflate|4 at most"):
        expand(b"content", header, LIMIT)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_costs_no_more_than_the_limit(coding: str) -> None:
    """300 MB in 300 kB are refused once the limit is passed, in memory of that order."""
    bomb = CODINGS[coding](bytes(300_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match="expands to more than the 65536 bytes"):
            expand(bomb, coding, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < len(bomb) + 4 * LIMIT
    finally:
        tracemalloc.stop()


def test_the_limit_itself_is_allowed() -> None:
    """A body of just as many bytes as may come is read, one byte more is not."""
    assert len(expand(gzip.compress(bytes(LIMIT)), "gzip", LIMIT)) == LIMIT
    with pytest.raises(TooLargeError):
        expand(gzip.compress(bytes(LIMIT + 1)), "gzip", LIMIT)


@pytest.mark.parametrize(("header", "length"), [("0", 0), ("17", 17), ("007", 7)])
def test_a_length_is_read_from_its_header(header: str, length: int) -> None:
    """0 is one."""
    assert parse_json_length(header) == length


@pytest.mark.parametrize("header", ["", "-1", "+1", " 1", "1 ", "1.0", "ten", "0x1", "1_0", "٣", "9" * 19, "1, 1"])
def test_a_header_that_is_no_length_is_refused(header: str) -> None:
    """Only decimal digits are a length, and not endlessly many."""
    with pytest.raises(BinaryError, match="is no length"):
        parse_json_length(header)


LONG = json.dumps({"predictions": [0.5] * 1000}).encode()


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate", "gzip"),
        ("deflate, gzip;q=0.5", "deflate"),
        ("*", "gzip"),
        ("gzip;q=0, *", "deflate"),
        ("br, GZIP;Q=0.1", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("gzip, identity", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=much", None),
        ("br", None),
        ("", None),
        (None, None),
    ],
)
def test_a_reply_is_compressed_as_its_client_likes_best(accept: str | None, coding: str | None) -> None:
    """The header's weights decide; what it does not name is not used."""
    response = write(Reply(LONG), accept)
    headers = dict(response.headers)
    assert headers.get("content-encoding") == coding
    body = expand(response.body, coding, LIMIT) if coding else response.body
    assert body == LONG
    assert ("vary" in headers) == (coding is not None)


def test_a_short_reply_goes_out_as_it_is() -> None:
    """Compressing a few bytes would cost more than it saves."""
    response = write(Reply(b"x" * (SMALLEST_COMPRESSED - 1)), "gzip")
    assert response.body == b"x" * (SMALLEST_COMPRESSED - 1)
    assert dict(response.headers) == {"content-type": "application/json"}


def test_a_reply_with_raw_tensors_says_where_they_begin() -> None:
    """Its type is that of bytes, and its header has the length of the JSON before them, compressed or not."""
    for accept in (None, "gzip"):
        headers = dict(write(Reply(LONG, json_length=5), accept).headers)
        assert headers["content-type"] == "application/octet-stream"
        assert headers["inference-header-content-length"] == "5"


def test_an_error_has_one_form() -> None:
    """A sentence, the code, and each fault with where, what and instead of what."""
    error = ShapeError.at("/inputs/0/shape/1", expected="3", got="2", hint="as many as there are addends")
    response = write_error(error)
    assert response.status == 400
    assert json.loads(response.body) == {
        "error": error.message,
        "code": "shape_mismatch",
        "faults": [
            {"pointer": "/inputs/0/shape/1", "expected": "3", "got": "2", "hint": "as many as there are addends"}
        ],
    }
    assert error.faults == (Fault("/inputs/0/shape/1", "3", "2", "as many as there are addends"),)


@pytest.mark.parametrize(
    ("seconds", "header", "milliseconds"), [(0.0, "1", 0), (0.0301, "1", 31), (1.2, "2", 1200), (30.0, "30", 30_000)]
)
def test_a_refusal_says_when_to_come_again(seconds: float, header: str, milliseconds: int) -> None:
    """Whole seconds, rounded up, for every client; milliseconds for who reads the body."""
    response = write_error(QueueFullError("full", retry_after=seconds))
    assert response.status == 503
    assert dict(response.headers)["retry-after"] == header
    assert json.loads(response.body)["retry_after_ms"] == milliseconds


def test_a_refusal_for_want_of_a_key_says_how_to_send_one() -> None:
    """As RFC 6750 has it; whether a key was wrong or missing is not told, that a valid one is too narrow is."""
    challenge = 'Bearer realm="forwardpass"'
    for error, expected in (
        (UnauthorizedError("none"), challenge),
        (ForbiddenError("narrow"), f'{challenge}, error="insufficient_scope"'),
    ):
        assert dict(write_error(error).headers)["www-authenticate"] == expected


def test_a_failure_has_no_faults() -> None:
    """What is not the caller's fault points to nothing in the request."""
    assert json.loads(write_error(ComputeError("it fails")).body) == {"error": "it fails", "code": "compute_failed"}


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (b"/v1/models/line:predict", Target("v1", "line", None)),
        (b"/v1/models/line/versions/3:predict", Target("v1", "line", "3")),
        (b"/v2/models/line/infer", Target("v2", "line", None)),
        (b"/v2/models/a.b-c_1/versions/12/infer", Target("v2", "a.b-c_1", "12")),
        (b"/v1/models/stats:predict", Target("v1", "stats", None)),
    ],
)
def test_the_paths_of_predictions_are_known(url: bytes, target: Target) -> None:
    """They name the protocol, the model and maybe its version."""
    assert target_of(url) == target


@pytest.mark.parametrize(
    "url",
    [
        b"/",
        b"/v1/models/line",
        b"/v1/models/line:classify",
        b"/v1/models/line:predict/",
        b"/v1/models/line:predict?x=1",
        b"/v1/models/l%69ne:predict",
        b"/v1/models/a/b:predict",
        b"/v2/models/line/versions/infer",
        b"/v2/models//infer",
        b"/v2/models/line/ready",
        b"http://server/v2/models/line/infer",
        "/v2/models/ü/infer".encode(),
    ],
)
def test_all_other_paths_are_the_applications(url: bytes) -> None:
    """It decodes what has to be decoded, and says what is wrong with the rest."""
    assert target_of(url) is None
