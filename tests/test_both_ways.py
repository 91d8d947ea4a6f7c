"""Both ways of a prediction answer alike, whatever comes: by the lane, and through the application without it."""

import asyncio
import gzip
import json
import re
import struct
from collections.abc import Sequence
from random import Random

from tests.server import ROOT, Server, running

STREAMS = 500
AT_ONCE = 50
PATIENCE = ("--head-seconds", "1", "--body-seconds", "1", "--idle-seconds", "1")
"""After so many seconds a server ends whatever is not whole: so that each stream has an end."""

ROW = b'{"instances": [[1, 2, 3]]}'
INPUT = {"name": "addends", "shape": [1, 3], "datatype": "FP32"}
JSON = json.dumps({"inputs": [{**INPUT, "data": [1, 2, 3]}], "id": "7"}).encode()
HEADER = json.dumps({"inputs": [{**INPUT, "parameters": {"binary_data_size": 12}}]}).encode()
BINARY = HEADER + struct.pack("<3f", 1, 2, 3)


def request(line: str, body: bytes = b"", *lines: str) -> bytes:
    """A request on the wire."""
    head = [line, "Host: server", *lines, *([f"Content-Length: {len(body)}"] if body else [])]
    return "\r\n".join([*head, "", ""]).encode() + body


PREDICT, INFER = "POST /v1/models/sum_of_three:predict HTTP/1.1", "POST /v2/models/sum_of_three/infer HTTP/1.1"
SOUND = [
    request(PREDICT, ROW),
    request(PREDICT, ROW, "X-Request-Id: one", "traceparent: 00-1-2-03"),
    request(PREDICT, ROW, "Accept-Encoding: gzip", "Connection: close"),
    request(PREDICT, ROW, "Expect: 100-continue"),
    request(PREDICT, gzip.compress(ROW, mtime=0), "Content-Encoding: gzip"),
    request(PREDICT.replace("1.1", "1.0"), ROW),
    request(PREDICT.replace("three:", "three/versions/1:"), ROW),
    request(PREDICT, b"", "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(ROW), ROW),
    request(INFER, JSON),
    request(INFER, BINARY, f"Inference-Header-Content-Length: {len(HEADER)}"),
    request("GET /v2/health/live HTTP/1.1"),
    request("GET /v1/models/sum_of_three:predict HTTP/1.1"),
]
PIECES = [
    b"\r\n",
    b"\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b"0",
    b"9",
    b"\xff",
    b"Content-Length: 5\r\n",
    b"Content-Length: 26\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Expect: 100-continue\r\n",
    b"X-Request-Id: two\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Inference-Header-Content-Length: 3\r\n",
    b" HTTP/1.0",
    b"?a=b",
    b"%3A",
]


def stream(seed: int) -> list[bytes]:
    """What one client sends, in parts: a few requests of which bytes were changed, always the same of a seed."""
    chance = Random(seed)  # noqa: S311  # no secret
    data = bytearray(b"".join(chance.choices(SOUND, k=chance.randint(1, 3))))
    for _ in range(chance.randint(0, 3)):
        at, until = sorted(chance.choices(range(len(data)), k=2))
        match chance.randrange(5):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                del data[at : min(until, at + 9)]
            case 2:
                data[at:at] = chance.choice(PIECES)
            case 3:
                data[at:at] = data[at : min(until, at + 40)]
            case _:
                # At the start of a line, where most of it means something.
                ends = [found.end() for found in re.finditer(rb"\r\n", data)]
                at = chance.choice(ends or [0])
                data[at:at] = chance.choice(PIECES)
    if chance.randrange(4) == 0:
        del data[chance.randrange(len(data)) + 1 :]
    cut = chance.randrange(len(data)) if chance.randrange(2) else 0
    return [bytes(part) for part in (data[:cut], data[cut:]) if part]


async def answers(server: Server, parts: Sequence[bytes]) -> tuple[list[bytes], bool]:
    """The replies up to the end of a connection, and whether that was a reset, in which the last may be lost."""
    reader, writer = await asyncio.open_connection(*server.endpoint)
    replies, is_reset = b"", False
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        while received := await asyncio.wait_for(reader.read(65536), 30):
            replies += received
    except ConnectionError:
        is_reset = True
    writer.close()
    return [plain(one) for one in re.split(rb"(?=HTTP/1\.1 [0-9]{3} )", replies) if one], is_reset


def plain(reply: bytes) -> bytes:
    """A reply without its date, and with its headers in a fixed order: what comes first means nothing."""
    head, end, body = reply.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    return b"\r\n".join([status, *sorted(one for one in headers if not one.startswith(b"date: "))]) + end + body


async def difference(seed: int, ways: Sequence[Server], room: asyncio.Semaphore) -> str:
    """How the ways differ on one stream; empty where they do not."""
    parts = stream(seed)
    async with room:
        (first, first_is_reset), (other, other_is_reset) = await asyncio.gather(*(answers(way, parts) for way in ways))
    if first == other:
        return ""
    # What was sent before a reset may not arrive; what did is the same.
    least = min(len(first), len(other))
    lost = (first_is_reset and len(first) <= len(other)) or (other_is_reset and len(other) <= len(first))
    if lost and first[:least] == other[:least]:
        return ""
    return f"stream {seed}: {parts}\n  lane: {first}\n  application: {other}"


def test_both_ways_answer_alike_whatever_comes() -> None:
    """With the same statuses, headers and bodies, and the same end of the connection, which each last reply tells."""
    model = str(ROOT / "models" / "sum_of_three")

    async def scene(ways: Sequence[Server]) -> list[str]:
        room = asyncio.Semaphore(AT_ONCE)
        return await asyncio.gather(*(difference(seed, ways, room) for seed in range(STREAMS)))

    with (
        running(model, *PATIENCE, "--versions", "all", "--lane", "on") as lane,
        running(model, *PATIENCE, "--versions", "all", "--lane", "off") as application,
    ):
        found = [one for one in asyncio.run(scene((lane, application))) if one]
    assert not found, "\n".join(found[:5])
