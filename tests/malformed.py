"""The table of malformed requests: the bytes of each, and the status and the code that answer it.

They are meant for the models of `tests/zoo.py`.
"""

import gzip
import json
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

Json = dict[str, Any]

MAX_BODY = 16 * 1024 * 1024
"""The default of the setting `max_body`."""

BOMB_BYTES = 300 * 1024 * 1024

LEVELS = 250_000


@dataclass(frozen=True)
class Case:
    """A request and what answers it."""

    name: str
    request: bytes | Callable[[], bytes]
    """All that goes over the socket; a function makes what is too large to keep."""
    status: int
    code: str
    """The code in the reply. Empty for what is no HTTP: the parser's own 400 answers it, or the connection ends."""
    ends: bool = False
    """Whether the client ends its side of the connection after the last byte, so that no more can come."""

    @property
    def method(self) -> str:
        """The method, which decides whether the reply has a body."""
        return "POST" if callable(self.request) else self.request.split(b" ", 1)[0].decode("latin-1")

    def content(self) -> bytes:
        """What goes over the socket."""
        return self.request() if callable(self.request) else self.request


Headers = Sequence[tuple[str, str]]


def http(method: str, path: str, body: bytes = b"", headers: Headers = (), *, length: bool = True) -> bytes:
    """A request; the body's length is told unless `length` says otherwise."""
    lines = [f"{method} {path} HTTP/1.1".encode("latin-1"), b"Host: test", b"Connection: close"]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    lines += [f"{name}: {value}".encode("latin-1") for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def v1(body: bytes, model: str = "line", headers: Headers = ()) -> bytes:
    """A request of version 1."""
    return http("POST", f"/v1/models/{model}:predict", body, headers)


def v2(body: bytes, model: str = "line", headers: Headers = ()) -> bytes:
    """A request of version 2."""
    return http("POST", f"/v2/models/{model}/infer", body, headers)


def text(value: object) -> bytes:
    """JSON."""
    return json.dumps(value).encode()


def given(**changes: object) -> Json:
    """The valid input of the model `line`, with some keys changed or, where None, left out."""
    tensor = {"name": "point", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]} | changes
    return {key: value for key, value in tensor.items() if value is not ...}


def inputs(*tensors: object, **more: object) -> bytes:
    """The body of an infer request."""
    return text({"inputs": list(tensors)} | more)


def echo(datatype: str, data: str, shape: Sequence[int] = (1, 2)) -> bytes:
    """The body of an infer request to an echo, its data as they stand here."""
    head = {"name": "given", "shape": list(shape), "datatype": datatype}
    return text({"inputs": [head]}).replace(b'"}]', b'", "data": ' + data.encode() + b"}]")


def binary(body: bytes, blob: bytes, model: str, header: str | None = None) -> bytes:
    """A request with raw tensors behind its JSON; the header says where they begin unless it is given."""
    value = str(len(body)) if header is None else header
    return v2(body + blob, model, [("Inference-Header-Content-Length", value)])


def raw_input(size: object, **changes: object) -> Json:
    """The valid input of `line` as a raw tensor of this announced size."""
    return given(data=..., parameters={"binary_data_size": size}, **changes)


def raw_echo(datatype: str, blob: bytes, size: object = None) -> bytes:
    """A request to an echo with a raw tensor."""
    announced = len(blob) if size is None else size
    parameters = {"binary_data_size": announced}
    tensor = {"name": "given", "shape": [1, 2], "datatype": datatype, "parameters": parameters}
    return binary(inputs(tensor), blob, f"echo_{datatype.lower()}")


def chunked(*chunks: bytes, model: str = "line", headers: Headers = ()) -> bytes:
    """A request whose body comes in these chunks, as they stand."""
    coding = [("Transfer-Encoding", "chunked"), *headers]
    return http("POST", f"/v1/models/{model}:predict", b"".join(chunks), coding, length=False)


def chunk(content: bytes) -> bytes:
    """A chunk as it should be."""
    return b"%x\r\n%s\r\n" % (len(content), content)


V1_BODY = text({"instances": [[1.0, 2.0]]})
V2_BODY = inputs(given())
POINT = struct.pack("<2f", 1.0, 2.0)
RAW_BODY = inputs(raw_input(8))
GZIP = gzip.compress(V1_BODY, mtime=0)
ZLIB = zlib.compress(V1_BODY)


def raw_deflate(content: bytes) -> bytes:
    """Deflate without zlib's header and checksum."""
    return zlib.compress(content, wbits=-15)


@cache
def bomb(window: int) -> bytes:
    """A few hundred kilobytes that expand to `BOMB_BYTES`; 31 is gzip's window, 15 is zlib's."""
    packer = zlib.compressobj(9, wbits=window)
    block = bytes(1024 * 1024)
    blocks = [packer.compress(block) for _ in range(BOMB_BYTES // len(block))]
    return b"".join([*blocks, packer.flush()])


def _header_cases() -> Iterator[Case]:
    total = len(RAW_BODY) + len(POINT)
    for name, value in {
        "negative": "-1",
        "a word": "all",
        "empty": "",
        "with a sign": f"+{len(RAW_BODY)}",
        "a float": f"{len(RAW_BODY)}.0",
        "an exponent": "1e2",
        "hexadecimal": "0x10",
        "with a space in it": "1 0",
        "two numbers": f"{len(RAW_BODY)}, {len(RAW_BODY)}",
        "one past the body": str(total + 1),
        "far past the body": "999999999999999999",
        "of 30 digits": "9" * 30,
        "of 5,000 digits": "9" * 5000,
        "in other digits": "\xd9\xa3",
        "no text": "\xff\xfe",
    }.items():
        yield Case(f"json length {name}", binary(RAW_BODY, POINT, "line", value), 400, "invalid_binary")
    twice = [("Inference-Header-Content-Length", str(len(RAW_BODY))), ("Inference-Header-Content-Length", "5")]
    yield Case("json length twice", v2(RAW_BODY + POINT, "line", twice), 400, "invalid_binary")
    for name, value in {"cuts the json": str(len(RAW_BODY) - 1), "reaches into the tensor": str(total)}.items():
        yield Case(f"json length {name}", binary(RAW_BODY, POINT, "line", value), 400, "invalid_json")
    yield Case("raw tensor without its header", v2(RAW_BODY + POINT), 400, "invalid_json")


def _length_cases() -> Iterator[Case]:
    for name, values in {
        "a word": ["all"],
        "negative": ["-5"],
        "with a sign": ["+5"],
        "a list": ["5, 5"],
        "two of them": ["5", "6"],
        "hexadecimal": ["0x10"],
        "beyond 64 bits": ["99999999999999999999999"],
        "a float": ["5.0"],
    }.items():
        headers = [("Content-Length", value) for value in values]
        broken = http("POST", "/v1/models/line:predict", V1_BODY, headers, length=False)
        yield Case(f"content length {name}", broken, 400, "", ends=True)
    announced = [("Content-Length", str(len(V1_BODY) + 50))]
    short = http("POST", "/v1/models/line:predict", V1_BODY, announced, length=False)
    yield Case("body shorter than announced", short, 400, "", ends=True)
    huge = [("Content-Length", str(MAX_BODY + 1))]
    yield Case(
        "body announced one byte too large",
        http("POST", "/v1/models/line:predict", b"", huge, length=False),
        413,
        "body_too_large",
    )
    huge = [("Content-Length", str(2**62))]
    yield Case(
        "body announced as exabytes",
        http("POST", "/v2/models/line/infer", b"", huge, length=False),
        413,
        "body_too_large",
    )
    yield Case("body one byte too large", lambda: v1(b" " * (MAX_BODY + 1)), 413, "body_too_large")
    none = http("POST", "/v1/models/line:predict", length=False)
    yield Case("no body at all v1", none, 400, "invalid_json")
    yield Case("no body at all v2", http("POST", "/v2/models/line/infer", length=False), 400, "invalid_json")
    less = chunk(V1_BODY[:-5])
    yield Case("body longer than announced", v1(V1_BODY[:-5]) + V1_BODY[-5:], 400, "invalid_json")
    yield Case("chunks of half the json", chunked(less, b"0\r\n\r\n"), 400, "invalid_json")


def _transfer_cases() -> Iterator[Case]:
    good = chunk(V1_BODY)
    for name, body in {
        "size no number": b"zz\r\n" + V1_BODY + b"\r\n0\r\n\r\n",
        "size negative": b"-5\r\n" + V1_BODY + b"\r\n0\r\n\r\n",
        "size beyond 64 bits": b"fffffffffffffffff\r\n" + V1_BODY + b"\r\n0\r\n\r\n",
        "size empty": b"\r\n" + V1_BODY + b"\r\n0\r\n\r\n",
        "without its line end": good[:-2] + b"0\r\n\r\n",
        "never closed": good,
        "cut in its size": good + b"1",
        "cut in its content": good[:-7],
        "size larger than its content": b"ff\r\n" + V1_BODY,
    }.items():
        yield Case(f"chunk {name}", chunked(body), 400, "", ends=True)
    for name, value in {
        "gzip alone": "gzip",
        "unknown": "secret",
        "chunked not last": "chunked, gzip",
        "almost chunked": "xchunked",
        "chunked twice": "chunked, chunked",
    }.items():
        coded = http(
            "POST", "/v1/models/line:predict", good + b"0\r\n\r\n", [("Transfer-Encoding", value)], length=False
        )
        yield Case(f"transfer coding {name}", coded, 400, "", ends=True)
    both = http("POST", "/v1/models/line:predict", good + b"0\r\n\r\n", [("Transfer-Encoding", "chunked")])
    yield Case("chunked and with a length", both, 400, "", ends=True)
    yield Case("chunks that are no json", chunked(chunk(b"one"), chunk(b"two"), b"0\r\n\r\n"), 400, "invalid_json")
    yield Case("no chunk but the last", chunked(b"0\r\n\r\n"), 400, "invalid_json")
    large = 1024 * 1024
    yield Case("one chunk too large", lambda: chunked(chunk(bytes(MAX_BODY + 1)), b"0\r\n\r\n"), 413, "body_too_large")
    yield Case(
        "chunks too large together", lambda: chunked(*[chunk(bytes(large))] * 17, b"0\r\n\r\n"), 413, "body_too_large"
    )
    yield Case("chunks too large without an end", lambda: chunked(*[chunk(bytes(large))] * 17), 413, "body_too_large")


def _http_cases() -> Iterator[Case]:
    """What is no HTTP at all."""
    for name, request in {
        "nothing": b"",
        "one byte": b"x",
        "blank lines": b"\r\n\r\n\r\n",
        "prose": b"one and two and three\r\n\r\n",
        "unknown method": b"BREW /v2 HTTP/1.1\r\nHost: test\r\n\r\n",
        "method in lower case": b"get /v2 HTTP/1.1\r\nHost: test\r\n\r\n",
        "no target": b"GET HTTP/1.1\r\nHost: test\r\n\r\n",
        "version 9.9": b"GET /v2 HTTP/9.9\r\nHost: test\r\n\r\n",
        "no version number": b"GET /v2 HTTP\r\nHost: test\r\n\r\n",
        "another protocol": b"GET /v2 SMTP/1.1\r\nHost: test\r\n\r\n",
        "space in the target": b"GET /v2 /x HTTP/1.1\r\nHost: test\r\n\r\n",
        "header without a colon": b"GET /v2 HTTP/1.1\r\nHost test\r\n\r\n",
        "header with a space in its name": b"GET /v2 HTTP/1.1\r\nHo st: test\r\n\r\n",
        "header without a name": b"GET /v2 HTTP/1.1\r\n: test\r\n\r\n",
        "zero byte in a header": b"GET /v2 HTTP/1.1\r\nHost: te\0st\r\n\r\n",
        "zero byte in the target": b"GET /v2\0 HTTP/1.1\r\nHost: test\r\n\r\n",
        "headers that never end": b"GET /v2 HTTP/1.1\r\nHost: test\r\n",
        "the start of TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
        "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    }.items():
        yield Case(f"http {name}", request, 400, "", ends=True)


def _coding_cases() -> Iterator[Case]:
    for value in ("br", "zstd", "compress", "gzip;q=1", "gzip br", "gzip, br", "br, gzip", "*", "g\xfcip", "x" * 4000):
        yield Case(
            f"content coding {value[:20]}", v1(GZIP, headers=[("Content-Encoding", value)]), 415, "unsupported_encoding"
        )
    damaged = {
        "with another magic": b"\x1f\x8c" + GZIP[2:],
        "with another method": GZIP[:2] + b"\x07" + GZIP[3:],
        "with a wrong checksum": GZIP[:-8] + bytes([GZIP[-8] ^ 1]) + GZIP[-7:],
        "with a wrong length": GZIP[:-1] + b"\x01",
        "with a damaged block": GZIP[:10] + b"\xff\xff" + GZIP[12:],
        "cut in its header": GZIP[:5],
        "cut in its middle": GZIP[: len(GZIP) // 2],
        "cut before its checksum": GZIP[:-8],
        "cut by one byte": GZIP[:-1],
        "with something behind": GZIP + b"and more",
        "with half another behind": GZIP + GZIP[:12],
        "that is plain json": V1_BODY,
        "that is zlib": ZLIB,
        "that is nothing": b"",
    }
    for name, body in damaged.items():
        yield Case(f"gzip {name}", v1(body, headers=[("Content-Encoding", "gzip")]), 400, "invalid_compression")
    damaged = {
        "without its header": raw_deflate(V1_BODY),
        "with a wrong checksum": ZLIB[:-1] + bytes([ZLIB[-1] ^ 1]),
        "cut in its middle": ZLIB[: len(ZLIB) // 2],
        "cut by one byte": ZLIB[:-1],
        "with something behind": ZLIB + b"and more",
        "that is plain json": V1_BODY,
        "that is gzip": GZIP,
        "that is nothing": b"",
    }
    for name, body in damaged.items():
        yield Case(f"deflate {name}", v1(body, headers=[("Content-Encoding", "deflate")]), 400, "invalid_compression")
    yield Case("gzip cut, version 2", v2(GZIP[:-1], headers=[("Content-Encoding", "gzip")]), 400, "invalid_compression")
    yield Case(
        "gzip twice, said once", v1(gzip.compress(GZIP), headers=[("Content-Encoding", "gzip")]), 400, "invalid_json"
    )
    yield Case(
        "gzip once, said twice", v1(GZIP, headers=[("Content-Encoding", "gzip, gzip")]), 400, "invalid_compression"
    )
    yield Case(
        "gzip five times",
        v1(GZIP, headers=[("Content-Encoding", "gzip, gzip, gzip, gzip, gzip")]),
        415,
        "unsupported_encoding",
    )
    yield Case("gzip of nothing", v1(gzip.compress(b""), headers=[("Content-Encoding", "gzip")]), 400, "invalid_json")
    yield Case("gzip of no json", v1(gzip.compress(b"?"), headers=[("Content-Encoding", "gzip")]), 400, "invalid_json")
    yield Case("gzip sent without its header", v1(GZIP), 400, "invalid_json")
    packed = gzip.compress(RAW_BODY + POINT)
    lengths = [("Content-Encoding", "gzip"), ("Inference-Header-Content-Length", str(len(packed)))]
    yield Case(
        "gzip with the length of the packed body",
        v2(packed, headers=lengths),
        400,
        "invalid_binary" if len(packed) > len(RAW_BODY + POINT) else "invalid_json",
    )
    gzipped, deflated = [("Content-Encoding", "gzip")], [("Content-Encoding", "deflate")]
    yield Case("gzip bomb, version 1", lambda: v1(bomb(31), headers=gzipped), 413, "body_too_large")
    yield Case("gzip bomb, version 2", lambda: v2(bomb(31), headers=gzipped), 413, "body_too_large")
    yield Case("deflate bomb", lambda: v2(bomb(15), headers=deflated), 413, "body_too_large")
    twice = [("Content-Encoding", "gzip, gzip")]
    yield Case("gzip bomb in gzip", lambda: v2(gzip.compress(bomb(31)), headers=twice), 413, "body_too_large")


_BAD_JSON: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "blank": lambda _: b" \t\r\n",
    "prose": lambda _: b"one and two and three",
    "cut": lambda body: body[:-1],
    "cut in half": lambda body: body[: len(body) // 2],
    "with something behind": lambda body: body + b"x",
    "twice": lambda body: body + body,
    "with a zero byte behind": lambda body: body + b"\0",
    "with a byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "in UTF-16": lambda body: body.decode().encode("utf-16"),
    "in UTF-32": lambda body: body.decode().encode("utf-32"),
    "with a comma after the last key": lambda body: body[:-1] + b",}",
    "with a comma after the last element": lambda body: body.replace(b"2.0]", b"2.0,]"),
    "with two commas": lambda body: body.replace(b"1.0, 2", b"1.0,, 2"),
    "without a comma": lambda body: body.replace(b"1.0, 2", b"1.0 2"),
    "without a colon": lambda body: body.replace(b'":', b'"', 1),
    "in single quotes": lambda body: body.replace(b'"', b"'"),
    "with a comment": lambda body: b"/* yes */" + body,
    "with NaN": lambda body: body.replace(b"2.0", b"NaN"),
    "with nan": lambda body: body.replace(b"2.0", b"nan"),
    "with Infinity": lambda body: body.replace(b"2.0", b"Infinity"),
    "with -Infinity": lambda body: body.replace(b"2.0", b"-Infinity"),
    "with a plus sign": lambda body: body.replace(b"2.0", b"+2.0"),
    "with a leading zero": lambda body: body.replace(b"2.0", b"02.0"),
    "with a bare point": lambda body: body.replace(b"2.0", b"2."),
    "with a leading point": lambda body: body.replace(b"2.0", b".2"),
    "with a bare exponent": lambda body: body.replace(b"2.0", b"2e"),
    "with a minus alone": lambda body: body.replace(b"2.0", b"-"),
    "with a hexadecimal number": lambda body: body.replace(b"2.0", b"0x2"),
    "with an underscore": lambda body: body.replace(b"2.0", b"2_0"),
    "with True": lambda body: body.replace(b"2.0", b"True"),
    "with a name": lambda body: body.replace(b"2.0", b"undefined"),
    "with an open string": lambda body: body.replace(b"2.0", b'"2.0'),
    "nested 250,000 lists deep": lambda body: body.replace(b"2.0", b"[" * LEVELS + b"]" * LEVELS),
    "nested 250,000 objects deep": lambda body: body.replace(b"2.0", b'{"a":' * LEVELS + b"1" + b"}" * LEVELS),
    "nested 250,000 deep in an unknown key": lambda body: b'{"x":' + b"[" * LEVELS + b"]" * LEVELS + b"," + body[1:],
}

_NO_OBJECTS = {"a list": [], "a number": 5, "null": None, "a string": "inputs", "true": True, "a list of one": [{}]}


def _json_cases() -> Iterator[Case]:
    for name, change in _BAD_JSON.items():
        yield Case(f"v1 json {name}", v1(change(V1_BODY)), 400, "invalid_json")
        yield Case(f"v2 json {name}", v2(change(V2_BODY)), 400, "invalid_json")
    for dialect, request in {"v1": v1, "v2": v2}.items():
        yield Case(f"{dialect} json of 250,000 open lists", request(b"[" * LEVELS), 400, "invalid_structure")
    for name, value in _NO_OBJECTS.items():
        yield Case(f"v1 top level {name}", v1(text(value)), 400, "invalid_structure")
        yield Case(f"v2 top level {name}", v2(text(value)), 400, "invalid_structure")
    for name, string in {
        "no UTF-8": b'"\xff\xfe"',
        "a lone high surrogate": rb'"\ud800x"',
        "a lone low surrogate": rb'"\udc00x"',
        "an unknown escape": rb'"\x41"',
        "half an escape": rb'"\u00"',
        "a bare line end": b'"a\nb"',
        "a zero byte": b'"a\0b"',
    }.items():
        yield Case(f"v2 id with {name}", v2(b'{"id": ' + string + b", " + V2_BODY[1:]), 400, "invalid_json")
        context = b'{"instances": [{"context": ["the", ' + string + b"]}]}"
        yield Case(f"word with {name}", v1(context, "words"), 400, "invalid_json")


def _v1_structure_cases() -> Iterator[Case]:
    for name, body in {
        "no instances": {},
        "instances misspelt": {"instance": [[1.0, 2.0]]},
        "the other dialect": json.loads(V2_BODY),
        "instances null": {"instances": None},
        "instances an object": {"instances": {"width": 1, "height": 2}},
        "instances a string": {"instances": "12"},
        "instances a number": {"instances": 12},
        "instances true": {"instances": True},
    }.items():
        yield Case(f"v1 {name}", v1(text(body)), 400, "invalid_structure")
    for name, instances in {
        "no instance": [],
        "an instance null": [None],
        "an instance a number": [5],
        "an instance a string": ["12"],
        "an instance true": [True],
        "an empty instance": [[]],
        "a short instance": [[1.0]],
        "a long instance": [[1.0, 2.0, 3.0]],
        "one short of several": [[1.0, 2.0], [1.0], [3.0, 4.0]],
        "a flat list": [1.0, 2.0],
        "an instance nested deeper": [[[1.0, 2.0]]],
        "more instances than may wait": [[1.0, 2.0]] * 32769,
    }.items():
        yield Case(f"v1 {name}", v1(text({"instances": instances})), 400, "shape_mismatch")
    for name, instance in {
        "null": [1.0, None],
        "a numeral": [1.0, "2"],
        "true": [1.0, True],
        "a list": [1.0, [2.0]],
        "an object": [1.0, {}],
        "beyond FP32": [1.0, 1e39],
        "a string in a named row": {"width": "1", "height": 2},
        "null in a named row": {"width": None, "height": 2},
        "a list in a named row": {"width": [1], "height": 2},
    }.items():
        yield Case(f"v1 a value that is {name}", v1(text({"instances": [instance]})), 400, "invalid_value")
    for name, instance in {
        "missing": {"width": 1.0},
        "unknown": {"width": 1.0, "height": 2.0, "depth": 3.0},
        "in another case": {"Width": 1.0, "height": 2.0},
        "all missing": {},
        "with a blank": {"width ": 1.0, "height": 2.0},
    }.items():
        yield Case(f"v1 feature {name}", v1(text({"instances": [instance]})), 400, "feature_mismatch")
    for name, instance in {"a list": [1.0, 2.0], "a number": 5, "null": None}.items():
        yield Case(
            f"v1 row of several inputs is {name}", v1(text({"instances": [instance]}), "pair"), 400, "invalid_structure"
        )
    yield Case("v1 input missing", v1(text({"instances": [{"left": [1, 2]}]}), "pair"), 400, "feature_mismatch")
    third = {"left": [1, 2], "right": [5], "middle": [1]}
    yield Case("v1 input unknown", v1(text({"instances": [third]}), "pair"), 400, "feature_mismatch")
    yield Case(
        "v1 rows of unequal length", v1(text({"instances": [[1, 2], [1, 2, 3]]}), "tokens"), 400, "shape_mismatch"
    )


def _v2_structure_cases() -> Iterator[Case]:
    for name, body in {
        "no inputs": {},
        "inputs misspelt": {"input": [given()]},
        "the other dialect": json.loads(V1_BODY),
        "inputs null": {"inputs": None},
        "inputs an object": {"inputs": given()},
        "inputs a string": {"inputs": "point"},
        "inputs a number": {"inputs": 5},
        "id a number": {"inputs": [given()], "id": 5},
        "id a list": {"inputs": [given()], "id": ["a"]},
        "parameters a list": {"inputs": [given()], "parameters": []},
        "parameters a string": {"inputs": [given()], "parameters": "binary"},
        "outputs an object": {"inputs": [given()], "outputs": {"name": "value"}},
        "outputs a string": {"inputs": [given()], "outputs": "value"},
        "an output null": {"inputs": [given()], "outputs": [None]},
        "an output a string": {"inputs": [given()], "outputs": ["value"]},
        "an output without a name": {"inputs": [given()], "outputs": [{}]},
        "an output's name a number": {"inputs": [given()], "outputs": [{"name": 5}]},
        "an output's parameters a list": {"inputs": [given()], "outputs": [{"name": "value", "parameters": []}]},
    }.items():
        yield Case(f"v2 {name}", v2(text(body)), 400, "invalid_structure")
    tensors: dict[str, object] = {
        "null": None,
        "a list": [],
        "a string": "point",
        "without a name": given(name=...),
        "without a shape": given(shape=...),
        "without a datatype": given(datatype=...),
        "with a number as name": given(name=5),
        "with null as name": given(name=None),
        "with a string as shape": given(shape="1,2"),
        "with null as shape": given(shape=None),
        "with a number as shape": given(shape=2),
        "with an object as shape": given(shape={}),
        "with a numeral in its shape": given(shape=["1", 2]),
        "with half a dimension": given(shape=[1.5, 2]),
        "with null in its shape": given(shape=[None, 2]),
        "with true in its shape": given(shape=[True, 2]),
        "with a list in its shape": given(shape=[[1], 2]),
        "with a number as datatype": given(datatype=32),
        "with null as datatype": given(datatype=None),
        "with a list of parameters": given(parameters=[]),
        "with a number for parameters": given(parameters=8),
    }
    for name, tensor in tensors.items():
        yield Case(f"v2 an input {name}", v2(inputs(tensor)), 400, "invalid_structure")
    left = {"name": "left", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    right = {"name": "right", "shape": [1, 1], "datatype": "INT64", "data": [5]}
    for name, body, model in (
        ("no input", inputs(), "line"),
        ("an unknown input", inputs(given(name="Point")), "line"),
        ("an input with an empty name", inputs(given(name="")), "line"),
        ("an input with neither data nor size", inputs(given(data=...)), "line"),
        ("an input with data and size", inputs(given(parameters={"binary_data_size": 8})), "line"),
        ("an input twice", inputs(given(), given()), "line"),
        ("one input of two", inputs(left), "pair"),
        ("one input twice and the other never", inputs(left, left), "pair"),
        ("a third input", inputs(left, right, given()), "pair"),
        ("an unknown output", inputs(given(), outputs=[{"name": "half"}]), "line"),
        ("an output twice", inputs(given(), outputs=[{"name": "value"}, {"name": "value"}]), "line"),
        ("an output with an empty name", inputs(given(), outputs=[{"name": ""}]), "line"),
    ):
        yield Case(f"v2 {name}", v2(body, model), 400, "tensor_mismatch")
    wide = right | {"shape": [2, 1], "data": [5, 6]}
    yield Case("v2 unequal batches", v2(inputs(left, wide), "pair"), 400, "shape_mismatch")


def _shape_cases() -> Iterator[Case]:
    for name, shape in {
        "of no dimension": [],
        "of one dimension": [2],
        "of three dimensions": [1, 2, 1],
        "of 10,000 dimensions": [1] * 10_000,
        "with the dimensions exchanged": [2, 1],
        "with a wrong width": [1, 3],
        "with a negative row count": [-1, 2],
        "with a negative width": [1, -2],
        "negative twice": [-1, -2],
        "of no row": [0, 2],
        "of no column": [1, 0],
        "of more rows than may wait": [32769, 2],
        "of 2^40 rows": [2**40, 2],
        "of 2^62 rows": [2**62, 2],
        "of -2^63-1 rows": [-(2**63) - 1, 2],
        "of more elements than data": [2, 2],
    }.items():
        yield Case(f"v2 shape {name}", v2(inputs(given(shape=shape))), 400, "shape_mismatch")
    for name, length in {"2^63": 2**63, "2^64": 2**64, "5,000 digits": 10**5000 - 1}.items():
        body = inputs(given(shape=[0, 2])).replace(b"[0,", b"[" + _digits(length) + b",")
        yield Case(f"v2 shape of {name} rows", v2(body), 400, "invalid_structure")
    ids = {"name": "ids", "datatype": "INT64", "data": [1, 2, 3]}
    for name, shape in {"2^62 wide": [1, 2**62], "of a product beyond 64 bits": [4096, 2**62]}.items():
        yield Case(f"v2 shape {name}", v2(inputs(ids | {"shape": shape}), "tokens"), 400, "shape_mismatch")
        raw = {"name": "ids", "datatype": "INT64", "shape": shape, "parameters": {"binary_data_size": 8}}
        yield Case(f"v2 raw shape {name}", binary(inputs(raw), bytes(8), "tokens"), 400, "invalid_binary")
    overflow = {"name": "ids", "datatype": "INT64", "shape": [8, 2**61], "parameters": {"binary_data_size": 0}}
    yield Case("v2 raw shape whose size overflows to 0", binary(inputs(overflow), b"", "tokens"), 400, "invalid_binary")
    for name, data in {
        "too few": [1.0],
        "too many": [1.0, 2.0, 3.0],
        "none": [],
        "of a row too long": [[1.0, 2.0, 3.0]],
        "of rows too short": [[1.0], [2.0]],
        "of a row too many": [[1.0, 2.0], [3.0, 4.0]],
        "nested too deeply": [[[1.0, 2.0]]],
        "an empty row": [[]],
        "a string": "1, 2",
        "a number": 1.0,
        "an object": {"0": 1.0, "1": 2.0},
        "null": None,
        "true": True,
    }.items():
        yield Case(f"v2 data {name}", v2(inputs(given(data=data))), 400, "shape_mismatch")
    for name, data in {"ragged": [[1.0, 2.0], [3.0]], "ragged to 4": [[1.0, 2.0, 3.0], [4.0]]}.items():
        yield Case(f"v2 data {name}", v2(inputs(given(shape=[2, 2], data=data))), 400, "shape_mismatch")


def _digits(number: int) -> bytes:
    """The number as text, of which Python by itself writes 4,300 digits at most."""
    return b"9" * 5000 if number == 10**5000 - 1 else str(number).encode()


_INTEGERS = {f"{sign}INT{bits}": bits for sign in ("", "U") for bits in (8, 16, 32, 64)}


def _number_cases() -> Iterator[Case]:
    for datatype, bits in _INTEGERS.items():
        unsigned = datatype.startswith("U")
        most = 2**bits - 1 if unsigned else 2 ** (bits - 1) - 1
        least = 0 if unsigned else -(2 ** (bits - 1))
        model = f"echo_{datatype.lower()}"
        for name, value in {"above": most + 1, "below": least - 1}.items():
            yield Case(f"{datatype} {name} its range", v2(echo(datatype, f"[0, {value}]"), model), 400, "invalid_value")
        yield Case(f"{datatype} with a fraction", v2(echo(datatype, "[0, 1.5]"), model), 400, "invalid_value")
    for name, value in {
        "a numeral": '"1"',
        "true": "true",
        "null": "null",
        "1e30": "1e30",
        "1e400": "1e400",
        "100 digits": "9" * 100,
        "a list": "[1]",
    }.items():
        yield Case(f"INT64 that is {name}", v2(echo("INT64", f"[0, {value}]"), "echo_int64"), 400, "invalid_value")
        yield Case(
            f"INT64 over version 1 that is {name}",
            v1(f'{{"instances": [[0, {value}]]}}'.encode(), "counter"),
            400,
            "invalid_value",
        )
    for datatype, values in {
        "FP16": ["65520.0", "-1e5", "1e400"],
        "FP32": ["1e39", "-3.5e38", "1e400", "9" * 100, '"1"', "true", "null"],
        "FP64": ["1e309", "-1e400", "9" * 400, '"nan"', "false"],
        "BOOL": ["1", "2", "0.0", '"true"', "null"],
        "BYTES": ["5", "1.5", "true", "null", "{}"],
    }.items():
        for value in values:
            body = echo(datatype, f"[{value}, {value}]")
            name = value if len(value) < 20 else f"{len(value)} digits"
            yield Case(f"{datatype} that is {name}", v2(body, f"echo_{datatype.lower()}"), 400, "invalid_value")
    for datatype in ("INT64", "FP32", "FP64"):
        # More than msgspec takes for a number at all.
        long = v2(echo(datatype, f"[0, {'9' * 5000}]"), f"echo_{datatype.lower()}")
        yield Case(f"{datatype} of 5,000 digits", long, 400, "invalid_structure")
    long = v1(f'{{"instances": [[0, {"9" * 5000}]]}}'.encode(), "counter")
    yield Case("INT64 of 5,000 digits over version 1", long, 400, "invalid_structure")
    surrogate = v2(echo("BYTES", r'["a", "\ud800b"]'), "echo_bytes")
    yield Case("BYTES with a lone surrogate", surrogate, 400, "invalid_json")
    yield Case("BF16 as JSON", v2(echo("BF16", "[1.0, 2.0]"), "echo_bf16"), 400, "unsupported")


def _datatype_cases() -> Iterator[Case]:
    for datatype in ("FP33", "fp32", "float32", "TYPE_FP32", "", " FP32", "FP64", "FP16", "INT64", "BYTES", "BF16"):
        name = datatype or "nothing"
        yield Case(f"v2 datatype {name}", v2(inputs(given(datatype=datatype))), 400, "datatype_mismatch")
    whole = inputs(raw_input(8, datatype="FP64"))
    yield Case("v2 datatype of a raw tensor", binary(whole, POINT, "line"), 400, "datatype_mismatch")


def _binary_cases() -> Iterator[Case]:
    for name, size in {"negative": -8, "too small": 7, "too large": 9, "nothing": 0, "exabytes": 2**62}.items():
        yield Case(f"raw size {name}", binary(inputs(raw_input(size)), POINT, "line"), 400, "invalid_binary")
    no_sizes: dict[str, object] = {"a numeral": "8", "half": 8.5, "true": True, "a list": [8], "beyond 64 bits": 2**70}
    for name, value in no_sizes.items():
        yield Case(f"raw size {name}", binary(inputs(raw_input(value)), POINT, "line"), 400, "invalid_structure")
    yield Case("raw tensor a byte short", binary(RAW_BODY, POINT[:-1], "line"), 400, "invalid_binary")
    yield Case("raw tensor missing", binary(RAW_BODY, b"", "line"), 400, "invalid_binary")
    yield Case("raw tensor missing, without the header", v2(RAW_BODY), 400, "invalid_binary")
    yield Case("a byte left over", binary(RAW_BODY, POINT + b"\0", "line"), 400, "invalid_binary")
    yield Case("bytes that no input claims", binary(V2_BODY, POINT, "line"), 400, "invalid_binary")
    left = {"name": "left", "shape": [1, 2], "datatype": "FP32"}
    right = {"name": "right", "shape": [1, 1], "datatype": "INT64"}
    for name, sizes in {
        "exchanged": (4, 12),
        "of the first too large": (16, 8),
        "of the second missing": (8, 0),
    }.items():
        pair = [
            tensor | {"parameters": {"binary_data_size": size}}
            for tensor, size in zip((left, right), sizes, strict=True)
        ]
        yield Case(f"raw sizes {name}", binary(inputs(*pair), bytes(sum(sizes)), "pair"), 400, "invalid_binary")


def _raw_value_cases() -> Iterator[Case]:
    for datatype, bits in {
        "FP16": (0x7E00, 0x7C00, 0xFC00, 0x7C01),
        "BF16": (0x7FC0, 0x7F80, 0xFF80, 0x7F81),
    }.items():
        for name, number in zip(("NaN", "infinity", "minus infinity", "a signalling NaN"), bits, strict=True):
            yield Case(
                f"raw {datatype} {name}", raw_echo(datatype, struct.pack("<2H", 0, number)), 400, "invalid_value"
            )
    for datatype, code in {"FP32": "f", "FP64": "d"}.items():
        for name, value in {"NaN": math.nan, "infinity": math.inf, "minus infinity": -math.inf}.items():
            yield Case(
                f"raw {datatype} {name}", raw_echo(datatype, struct.pack(f"<2{code}", 0, value)), 400, "invalid_value"
            )
    yield Case("raw BOOL 2", raw_echo("BOOL", b"\x00\x02"), 400, "invalid_value")
    yield Case("raw BOOL 255", raw_echo("BOOL", b"\x00\xff"), 400, "invalid_value")
    one = struct.pack("<I", 1) + b"a"
    for name, blob in {
        "of one element": one,
        "of three elements": one * 3,
        "with half a length": one + b"\x01\x00",
        "with a length beyond its end": one + struct.pack("<I", 2) + b"a",
        "with a length of 4 GiB": one + b"\xff\xff\xff\xff" + b"a",
        "with big-endian lengths": (struct.pack(">I", 1) + b"a") * 2,
        "with a byte behind the last": one * 2 + b"a",
        "without lengths": b"ab",
        "of nothing": b"",
    }.items():
        yield Case(f"raw BYTES {name}", raw_echo("BYTES", blob), 400, "invalid_binary")
    for name, content in {"no UTF-8": b"\xff", "half a character": b"\xc3", "a surrogate": b"\xed\xa0\x80"}.items():
        blob = one + struct.pack("<I", len(content)) + content
        yield Case(f"raw BYTES {name}", raw_echo("BYTES", blob), 400, "invalid_value")
    for name, blob, model in (
        ("empty", b"", "line"),
        ("of half a row", POINT[:4], "line"),
        ("of a row and a byte", POINT + b"\0", "line"),
        ("of more rows than may wait", POINT * 32769, "line"),
        ("with two inputs", bytes(16), "pair"),
    ):
        code = "unsupported" if model == "pair" else "invalid_binary"
        yield Case(f"lone raw tensor {name}", binary(b"", blob, model, "0"), 400, code)


def _parameter_cases() -> Iterator[Case]:
    region = {"shared_memory_region": "r", "shared_memory_byte_size": 8}
    for name, body in {
        "an input's shared memory": inputs(given(data=..., parameters=region)),
        "an input's shared memory beside data": inputs(given(parameters=region)),
        "an output's shared memory": inputs(given(), outputs=[{"name": "value", "parameters": region}]),
    }.items():
        yield Case(f"v2 {name}", v2(body), 400, "unsupported")
    counts: tuple[object, ...] = (-1, 0, 1.5, "x", "3", True, [3], 2**70)
    for value in counts:
        outputs = [{"name": "value", "parameters": {"classification": value}}]
        yield Case(f"v2 classification {value!r}", v2(inputs(given(), outputs=outputs)), 400, "invalid_structure")
    flags: tuple[object, ...] = ("yes", "true", 1, 0, [True], {})
    for value in flags:
        outputs = [{"name": "value", "parameters": {"binary_data": value}}]
        yield Case(f"v2 binary_data {value!r}", v2(inputs(given(), outputs=outputs)), 400, "invalid_structure")
        yield Case(
            f"v2 binary_data_output {value!r}",
            v2(inputs(given(), parameters={"binary_data_output": value})),
            400,
            "invalid_structure",
        )
    times: tuple[object, ...] = (-1, 1.5, "soon", "5", True, [5], {})
    for value in times:
        yield Case(
            f"v2 timeout {value!r}", v2(inputs(given(), parameters={"timeout": value})), 400, "invalid_structure"
        )


def _path_cases() -> Iterator[Case]:
    for name, path, code in (
        ("of nothing", "/v3/models/line/infer", "unknown_path"),
        ("of version 2 in version 1", "/v1/models/line/infer", "unknown_path"),
        ("without a model", "/v2/models//infer", "unknown_path"),
        ("with two slashes", "/v2//models/line/infer", "unknown_path"),
        ("without a version", "/v2/models/line/versions//infer", "unknown_path"),
        ("in capitals", "/V2/MODELS/line/INFER", "unknown_path"),
        ("with an encoded slash", "/v2/models/a%2Fb/infer", "unknown_path"),
        ("up and away", "/v2/models/../../../../etc/passwd", "unknown_path"),
        ("with a line end", "/v2/models/line/infer%0d%0aX:%20y", "unknown_path"),
        ("of an unknown model, v1", "/v1/models/nothing:predict", "unknown_model"),
        ("of an unknown model, v2", "/v2/models/nothing/infer", "unknown_model"),
        ("of an unknown model with a version", "/v2/models/nothing/versions/1/infer", "unknown_model"),
        ("of the statistics", "/v2/models/stats/infer", "unknown_model"),
        ("of two dots", "/v2/models/../infer", "unknown_model"),
        ("of two encoded dots", "/v2/models/%2e%2e/infer", "unknown_model"),
        ("of a zero byte", "/v2/models/line%00/infer", "unknown_model"),
        ("of bytes that are no text", "/v2/models/%ff%fe/infer", "unknown_model"),
        ("of half an escape", "/v2/models/line%2/infer", "unknown_model"),
        ("of another case", "/v2/models/LINE/infer", "unknown_model"),
        ("of a blank", "/v2/models/%20/infer", "unknown_model"),
        ("of 8,000 letters, v1", f"/v1/models/{'m' * 8000}:predict", "unknown_model"),
        ("of 8,000 letters, v2", f"/v2/models/{'m' * 8000}/infer", "unknown_model"),
        ("of version 0", "/v2/models/line/versions/0/infer", "unknown_version"),
        ("of version 99", "/v2/models/line/versions/99/infer", "unknown_version"),
        ("of version -1", "/v2/models/line/versions/-1/infer", "unknown_version"),
        ("of version 01", "/v2/models/line/versions/01/infer", "unknown_version"),
        ("of version 1.0", "/v2/models/line/versions/1.0/infer", "unknown_version"),
        ("of version abc", "/v2/models/line/versions/abc/infer", "unknown_version"),
        ("of version latest", "/v2/models/line/versions/latest/infer", "unknown_version"),
        ("of a version in other digits", "/v2/models/line/versions/%D9%A1/infer", "unknown_version"),
        ("of a version of 5,000 digits", f"/v2/models/line/versions/{'9' * 5000}/infer", "unknown_version"),
        ("of version abc, v1", "/v1/models/line/versions/abc:predict", "unknown_version"),
        ("of version 99, v1", "/v1/models/line/versions/99:predict", "unknown_version"),
    ):
        yield Case(f"path {name}", http("POST", path, V1_BODY if "v1" in path else V2_BODY), 404, code)
    for path, code in {
        "/nothing": "unknown_path",
        "/v2/models/nothing": "unknown_model",
        "/v2/models/nothing/ready": "unknown_model",
        "/v2/models/nothing/config": "unknown_model",
        "/v2/models/nothing/stats": "unknown_model",
        "/v2/models/nothing/manifest": "unknown_model",
        "/v2/models/line/versions/99": "unknown_version",
        "/v2/models/line/versions/x/ready": "unknown_version",
        "/v2/models/line/versions/99/config": "unknown_version",
        "/v2/models/line/versions/99/stats": "unknown_version",
        "/v1/models/nothing": "unknown_model",
    }.items():
        yield Case(f"GET {path}", http("GET", path), 404, code)
    for method, path in (
        ("GET", "/v1/models/line:predict"),
        ("GET", "/v2/models/line/infer"),
        ("GET", "/v2/models/line/versions/1/infer"),
        ("PUT", "/v2/models/line/infer"),
        ("PATCH", "/v2/models/line/infer"),
        ("DELETE", "/v2/models/line/infer"),
        ("OPTIONS", "/v2/models/line/infer"),
        ("TRACE", "/v2/models/line/infer"),
        ("PROPFIND", "/v2/models/line/infer"),
        ("HEAD", "/v2/models/line/infer"),
        # What a colon is part of would be the name of a model, of which one can ask.
        ("POST", "/v1/models/line:classify"),
        ("POST", "/v2/models/line:predict"),
        ("POST", "/v2"),
        ("POST", "/v2/health/ready"),
        ("POST", "/v2/models/line"),
        ("POST", "/v2/models/line/ready"),
        ("POST", "/v2/models/stats"),
        ("POST", "/v1/models"),
        ("DELETE", "/v1/models/line"),
        ("GET", "/v2/repository/index"),
    ):
        yield Case(f"method {method} {path}", http(method, path), 405, "method_not_allowed")


def _repository_cases() -> Iterator[Case]:
    index = "/v2/repository/index"
    for name, body, code in (
        ("prose", b"all of them", "invalid_json"),
        ("a list", b"[]", "invalid_structure"),
        ("a number for its flag", b'{"ready": 1}', "invalid_structure"),
        ("bytes that are no text", b'{"ready": "\xff"}', "invalid_structure"),
    ):
        yield Case(f"index of {name}", http("POST", index, body), 400, code)
    yield Case("index too large", lambda: http("POST", index, bytes(MAX_BODY + 1)), 413, "body_too_large")
    short = http("POST", index, b"{", [("Content-Length", "9")], length=False)
    yield Case("index shorter than announced", short, 400, "", ends=True)
    for verb in ("load", "unload"):
        path = f"/v2/repository/models/line/{verb}"
        yield Case(f"{verb} where it is switched off", http("POST", path, b"{}"), 400, "unsupported")
        yield Case(f"{verb} of nothing", http("POST", path.replace("line", "nothing"), b"{}"), 404, "unknown_model")
        yield Case(f"{verb} by GET", http("GET", path), 405, "method_not_allowed")


def _long_cases() -> Iterator[Case]:
    """What is long is not repeated whole to whoever sent it."""
    long = "n" * 1_000_000
    for name, request, code in (
        ("name", v2(inputs(given(name=long))), "tensor_mismatch"),
        ("datatype", v2(inputs(given(datatype=long))), "datatype_mismatch"),
        ("output", v2(inputs(given(), outputs=[{"name": long}])), "tensor_mismatch"),
        ("feature", v1(text({"instances": [{"width": 1, "height": 2, long: 3}]})), "feature_mismatch"),
        ("value", v1(text({"instances": [[1, long]]})), "invalid_value"),
        ("word's neighbour", v1(text({"instances": [{"context": ["the"], long: 1}]}), "words"), "feature_mismatch"),
        ("coding", v1(GZIP, headers=[("Content-Encoding", "gzip, " + long[:4000])]), "unsupported_encoding"),
    ):
        yield Case(f"a long {name}", request, 415 if name == "coding" else 400, code)
    wrong = [[1.0, "x"]] * 8192
    yield Case("8,192 wrong rows", v1(text({"instances": wrong})), 400, "invalid_value")
    every = {f"f{index}": 1 for index in range(10_000)}
    yield Case("10,000 unknown features", v1(text({"instances": [every]})), 400, "feature_mismatch")
    data = {"name": "given", "shape": [8192, 2], "datatype": "INT8", "data": [1000] * 16384}
    yield Case("16,384 wrong numbers", v2(inputs(data), "echo_int8"), 400, "invalid_value")


def _word_cases() -> Iterator[Case]:
    for name, instance, code in (
        ("an empty context", {"context": []}, "shape_mismatch"),
        ("a context that is a string", {"context": "the value of"}, "shape_mismatch"),
        ("a context that is null", {"context": None}, "shape_mismatch"),
        ("a context that is an object", {"context": {"0": "the"}}, "shape_mismatch"),
        ("a number for a word", {"context": ["the", 5]}, "invalid_value"),
        ("null for a word", {"context": ["the", None]}, "invalid_value"),
        ("a list for a word", {"context": [["the"]]}, "invalid_value"),
        ("true for a word", {"context": [True]}, "invalid_value"),
        ("no context", {}, "feature_mismatch"),
        ("a misspelt context", {"contexts": ["the"]}, "feature_mismatch"),
        ("a second key", {"context": ["the"], "count": 5}, "feature_mismatch"),
        ("a bare list", ["the", "value"], "invalid_structure"),
        ("a bare word", "the", "invalid_structure"),
        ("a number", 5, "invalid_structure"),
        ("null", None, "invalid_structure"),
    ):
        yield Case(f"words: {name}", v1(text({"instances": [instance]}), "words"), 400, code)
        second = v1(text({"instances": [{"context": ["the"]}, instance]}), "words")
        yield Case(f"words: {name} after a good one", second, 400, code)
    yield Case("words: no instance", v1(text({"instances": []}), "words"), 400, "shape_mismatch")
    for name, ids in {"beyond the last": [1, 6], "below 0": [-1, 1]}.items():
        tensor = {"name": "context", "shape": [1, 2], "datatype": "INT64"}
        yield Case(f"words: an id {name}", v2(inputs(tensor | {"data": ids}), "words"), 400, "invalid_value")
        raw = inputs(tensor | {"parameters": {"binary_data_size": 16}})
        yield Case(f"words: a raw id {name}", binary(raw, struct.pack("<2q", *ids), "words"), 400, "invalid_value")


def filled(before: bytes, unit: bytes, after: bytes) -> bytes:
    """A body of the largest size, made of as many units, a comma after each but the last, as fit between the ends."""
    count = (MAX_BODY - len(before) - len(after)) // (len(unit) + 1)
    return b"".join([before, b",".join([unit] * count), after])


_DATA = b'{"inputs": [{"name": "point", "shape": [1, 2], "datatype": "FP32", "data": ['

LARGE_BODIES: tuple[Case, ...] = (
    Case("no json", lambda: v1(b"x" * MAX_BODY), 400, "invalid_json"),
    Case("one open string", lambda: v2(b'"' + b"x" * (MAX_BODY - 1)), 400, "invalid_json"),
    Case("instances", lambda: v1(filled(b'{"instances": [', b"1", b"]}")), 400, "shape_mismatch"),
    Case("empty instances", lambda: v1(filled(b'{"instances": [', b"[]", b"]}")), 400, "shape_mismatch"),
    Case("objects", lambda: v1(filled(b'{"instances": [', b"{}", b"]}")), 400, "shape_mismatch"),
    Case("one instance", lambda: v1(filled(b'{"instances": [[', b"1", b"]]}")), 400, "shape_mismatch"),
    Case("features", lambda: v1(filled(b'{"instances": [{', b'"x": 1', b"}]}")), 400, "shape_mismatch"),
    Case("contexts", lambda: v1(filled(b'{"instances": [', b'{"context": []}', b"]}"), "words"), 400, "shape_mismatch"),
    Case("words", lambda: v1(filled(b'{"instances": [{"context": [', b'""', b"]}]}"), "words"), 400, "shape_mismatch"),
    Case("inputs", lambda: v2(filled(b'{"inputs": [', b"{}", b"]}")), 400, "invalid_structure"),
    Case(
        "outputs", lambda: v2(filled(V2_BODY[:-1] + b', "outputs": [', b'{"name": "x"}', b"]}")), 400, "tensor_mismatch"
    ),
    Case("numbers", lambda: v2(filled(_DATA, b"1", b"]}]}")), 400, "shape_mismatch"),
    Case("lists", lambda: v2(filled(_DATA, b"[]", b"]}]}")), 400, "shape_mismatch"),
    Case(
        "dimensions",
        lambda: v2(filled(V2_BODY.split(b"[1,")[0] + b"[", b"1", b'], "datatype": "FP32"}]}')),
        400,
        "shape_mismatch",
    ),
    Case(
        "a name",
        lambda: v2(filled(b'{"inputs": [{"shape": [1, 2], "datatype": "FP32", "name": "', b"x", b'"}]}')),
        400,
        "tensor_mismatch",
    ),
    Case("bytes left over", lambda: binary(RAW_BODY, bytes(MAX_BODY - len(RAW_BODY)), "line"), 400, "invalid_binary"),
    Case(
        "bytes that are no gzip",
        lambda: v1(bytes(MAX_BODY), headers=[("Content-Encoding", "gzip")]),
        400,
        "invalid_compression",
    ),
    Case("bytes for no model", lambda: v2(bytes(MAX_BODY), "nothing"), 404, "unknown_model"),
    Case(
        "bytes with a json length that is none",
        lambda: binary(b"", bytes(MAX_BODY), "line", "all"),
        400,
        "invalid_binary",
    ),
    Case("bytes for the index", lambda: http("POST", "/v2/repository/index", bytes(MAX_BODY)), 400, "invalid_json"),
)
"""Requests of the largest size that the server reads, all of them malformed: each is sent again and again."""

CASES: tuple[Case, ...] = (
    *_header_cases(),
    *_length_cases(),
    *_transfer_cases(),
    *_http_cases(),
    *_coding_cases(),
    *_json_cases(),
    *_v1_structure_cases(),
    *_v2_structure_cases(),
    *_shape_cases(),
    *_number_cases(),
    *_datatype_cases(),
    *_binary_cases(),
    *_raw_value_cases(),
    *_parameter_cases(),
    *_path_cases(),
    *_repository_cases(),
    *_long_cases(),
    *_word_cases(),
)
