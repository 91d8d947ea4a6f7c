"""What HTTP adds to a prediction: content codings, the headers of raw tensors, statuses, the form of errors."""

import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from http import HTTPStatus

import msgspec

from service.errors import (
    BinaryError,
    CompressionError,
    EncodingError,
    ForbiddenError,
    ForwardpassError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)
from service.predict import Reply, Target

JSON_TYPE = "application/json"
BINARY_TYPE = "application/octet-stream"
JSON_LENGTH_HEADER = "inference-header-content-length"
REQUEST_ID = b"x-request-id"

_JSON: tuple[tuple[str, str], ...] = (("content-type", JSON_TYPE),)

_CHALLENGES: dict[type[ForwardpassError], str] = {
    UnauthorizedError: 'Bearer realm="forwardpass"',
    ForbiddenError: 'Bearer realm="forwardpass", error="insufficient_scope"',
}
"""What a refusal for want of a key asks for (RFC 6750, 3)."""

SMALLEST_COMPRESSED = 1024
"""A reply of fewer bytes goes out as it is, whatever the client accepts: it would hardly shrink."""

_NAME = rb"([A-Za-z0-9_.-]+)"
_PATH = re.compile(
    rb"/v1/models/%b(?:/versions/%b)?:predict|/v2/models/%b(?:/versions/%b)?/infer" % (_NAME, _NAME, _NAME, _NAME)
)
_LENGTH = re.compile(r"[0-9]{1,18}")
_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_GZIP, _ZLIB = 31, 15
"""The window of 32 KiB, by the container around it, as zlib wants them named."""
_WINDOWS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}
_MOST_CODINGS = 4
_MOST_STREAMS = 16
"""Each costs a copy of what is left of the body, so that many small ones would cost seconds."""
_FASTEST = 1


class Response(msgspec.Struct, frozen=True, gc=False):
    """What goes out."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@lru_cache(maxsize=4096)
def target_of(url: bytes) -> Target | None:
    """What the URL of a prediction names; None for any other, and for one that would have to be decoded."""
    found = _PATH.fullmatch(url)
    if found is None:
        return None
    model, version, other_model, other_version = (None if one is None else one.decode() for one in found.groups())
    return Target("v2", other_model or "", other_version) if model is None else Target("v1", model, version)


def valid_request_id(header: bytes) -> bytes | None:
    """The header X-Request-Id, which every reply gives back: None where it is no 1 to 128 visible characters."""
    return header if _REQUEST_ID.fullmatch(header) else None


def parse_json_length(header: str) -> int:
    """The length in the header `Inference-Header-Content-Length`; raises `BinaryError` where it is none."""
    if not _LENGTH.fullmatch(header):
        raise BinaryError(f"the header Inference-Header-Content-Length is {header[:40]!r}, which is no length")
    return int(header)


def expand(body: bytes, content_encoding: str, max_body: int) -> bytes:
    """The body without the codings that the header lists, the last applied first; at most `max_body` bytes.

    Raises `EncodingError` for a coding that is not known, `CompressionError` for a body that does not have it, and
    `TooLargeError`.
    """
    codings = [one.strip().lower() for one in content_encoding.split(",")]
    if len(codings) > _MOST_CODINGS:
        raise EncodingError(f"the body is encoded {len(codings)} times: the server takes {_MOST_CODINGS} at most")
    for coding in reversed(codings):
        if coding in ("", "identity"):
            continue
        window = _WINDOWS.get(coding)
        if window is None:
            raise EncodingError(f"the body is encoded as {coding[:40]!r}: the server reads gzip and deflate")
        body = b"".join(_inflate(body, coding, window, max_body))
    return body


def write(reply: Reply, accept_encoding: str | None) -> Response:
    """The response with the answer to a request that accepts these encodings (its header, None where it had none)."""
    body = reply.body
    headers = _JSON
    if reply.json_length is not None:
        headers = (("content-type", BINARY_TYPE), (JSON_LENGTH_HEADER, str(reply.json_length)))
    if accept_encoding is not None and len(body) >= SMALLEST_COMPRESSED and (coding := _coding(accept_encoding)):
        body = zlib.compress(body, _FASTEST, wbits=_WINDOWS[coding])
        headers = (*headers, ("content-encoding", coding), ("vary", "accept-encoding"))
    return Response(200, headers, body)


def write_error(error: ForwardpassError) -> Response:
    """The response that tells a caller of an error, in the form that both dialects share."""
    content: dict[str, object] = {"error": error.message, "code": error.code}
    if error.faults:
        content["faults"] = [asdict(fault) for fault in error.faults]
    headers = _JSON
    if isinstance(error, UnavailableError):
        content["retry_after_ms"] = math.ceil(error.retry_after * 1000)
        headers = (*headers, ("retry-after", str(max(1, math.ceil(error.retry_after)))))
    elif (challenge := _CHALLENGES.get(type(error))) is not None:
        headers = (*headers, ("www-authenticate", challenge))
    return Response(error.status, headers, msgspec.json.encode(content))


def _inflate(body: bytes, coding: str, window: int, max_body: int) -> Iterator[bytes]:
    """The contents of the streams in `body`: one, or of gzip several, as where files were joined."""
    room = max_body
    for _ in range(_MOST_STREAMS if window == _GZIP else 1):
        stream = zlib.decompressobj(window)
        try:
            # One byte more than may come, to see whether it would.
            content = stream.decompress(body, room + 1)
        except zlib.error as error:
            hint = " (deflate is that of zlib, with its header)" if coding == "deflate" else ""
            raise CompressionError(f"the body is not encoded as {coding}, as its header says{hint}: {error}") from None
        room -= len(content)
        if room < 0:
            raise TooLargeError(f"the body expands to more than the {max_body} bytes that the server takes")
        if not stream.eof:
            raise CompressionError(f"the body ends before its {coding} stream does: a part of it is missing")
        yield content
        body = stream.unused_data
        if not body:
            return
    raise CompressionError(f"behind its {coding} stream the body goes on for {len(body)} bytes")


@lru_cache(maxsize=256)
def head_of(status: int, headers: tuple[tuple[str, str], ...], *, keep_alive: bool) -> bytes:
    """The first lines of a response on the wire."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers)]
    if not keep_alive:
        lines.append("connection: close")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


@lru_cache(maxsize=64)
def _coding(accept: str) -> str | None:
    """The coding to use of those a client accepts (RFC 9110, 12.5.3): its favourite, gzip where it has several."""
    weights: dict[str, float] = {}
    for one in accept.split(","):
        name, *parameters = (part.strip().lower() for part in one.split(";"))
        weights[name] = _weight(parameters)
    rest = weights.get("*", 0.0)
    offered = {coding: weights.get(coding, rest) for coding in ("gzip", "deflate")}
    best = max(offered, key=lambda coding: offered[coding])
    return best if offered[best] > 0.0 and offered[best] >= weights.get("identity", 0.0) else None


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
