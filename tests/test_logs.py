"""What the operator of a whole server reads in its log."""

import json
from typing import Any

import pytest

from tests.server import Server, running

ROWS = {"instances": [[1, 2, 3]]}
BAD = {"instances": [[1, 2, "very private"]]}
PREDICT = "/v1/models/sum_of_three:predict"


def records(server: Server) -> list[dict[str, Any]]:
    """The log of a server that has ended, which writes JSON."""
    return [json.loads(line) for line in server.log]


@pytest.mark.parametrize("lane", ["on", "off"])
def test_a_failure_is_a_line_and_a_success_is_none(lane: str) -> None:
    """Either way with model, code, name and client; with nothing of the body or of a key."""
    with running("--log-format", "json", "--lane", lane) as server:
        with server.client() as client:
            headers = {"X-Request-Id": "one", "Authorization": "Bearer very-secret"}
            assert client.post(PREDICT, json=ROWS, headers=headers).is_success
            assert client.post(PREDICT, json=BAD, headers=headers).status_code == 400
            assert client.post("/v2/models/none/versions/7/infer", content=b"{}").status_code == 404
            assert client.get("/nothing%0Ahere?key=very-secret").status_code == 404
            with server.connect() as connection:
                connection.sendall(b"HELLO\r\n\r\n")
                assert connection.recv(12) == b"HTTP/1.1 400"
        assert server.stop() == 0
    told = [record for record in records(server) if record["logger"] == "service.http.failures"]
    assert [(one["level"], one["status"], one["code"]) for one in told] == [
        ("info", 400, "invalid_value"),
        ("info", 404, "unknown_model"),
        ("info", 404, "unknown_path"),
        ("info", 400, "malformed_http"),
    ]
    assert told[0].items() >= {"protocol": "v1", "model": "sum_of_three", "request_id": "one"}.items()
    assert 0 < told[0]["ms"] < 1000
    assert told[1].items() >= {"protocol": "v2", "model": "none", "version": "7"}.items()
    assert told[2].items() >= {"method": "GET", "path": "/nothing\nhere"}.items()
    assert all(one["client"].startswith("127.0.0.1:") for one in told)
    text = "".join(server.log)
    assert "very" not in text
    assert "three" not in text.replace("sum_of_three", "")


def test_a_flood_of_bad_requests_is_counted() -> None:
    """Ten lines tell of it, and one of the rest, also where the server ends within the second."""
    with running("--log-format", "json") as server:
        with server.client() as client:
            for _ in range(200):
                client.post(PREDICT, content=b"{")
        assert server.stop() == 0
    told = [record for record in records(server) if record.get("code") == "invalid_json"]
    assert len(told) < 200 / 2
    assert sum(record.get("more", 1) for record in told) == 200


@pytest.mark.parametrize("log_format", ["eye", "json"])
def test_a_server_greets(log_format: str) -> None:
    """With its models, what computes them, its limits and its address, in a few lines or as an object."""
    with running("--log-format", log_format, "--versions", "all") as server:
        server.stop()
    if log_format == "json":
        (greeting,) = [record for record in records(server) if "address" in record]
        assert greeting["address"] == server.url
        assert greeting["models"]["sum_of_three"] == ["1", "2"]
        assert greeting.items() >= {"provider": "cpu", "threads": 1, "max_connections": 10_000}.items()
        return
    (at,) = [place for place, line in enumerate(server.log) if "listening on" in line]
    lines = [line for line in server.log[at + 1 :] if line.startswith("    ")]
    assert len(lines) < 15
    assert f"    {'sum_of_three':<20}  versions 1, 2\n" in lines
    assert any("cpu, 1 thread a run" in line for line in lines)
