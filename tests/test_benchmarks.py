"""What the benchmarks compare is comparable, and their page says what they measured."""

from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from benchmarks.light import ROOM, run
from benchmarks.processes import Server
from benchmarks.report import README, written
from benchmarks.servers import empty, ours, usual
from benchmarks.wire import HOST, ask
from benchmarks.workloads import NEW_HEADS, ONE_ROW, OTHERS, Workload
from benchmarks.wrk import load


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    """Those that compute an answer."""
    with ExitStack() as stack:
        yield {
            "lane": stack.enter_context(ours(max_queue=ROOM)),
            "route": stack.enter_context(ours(max_queue=ROOM, lane="off")),
            "usual": stack.enter_context(usual()),
        }


def test_the_tables_of_the_page_are_what_was_measured() -> None:
    """`make bench-report` writes them."""
    assert written(README.read_text()) == README.read_text()


@pytest.mark.parametrize("workload", [ONE_ROW, *OTHERS], ids=lambda workload: workload.title)
def test_every_server_that_is_compared_answers_alike(servers: dict[str, Server], workload: Workload) -> None:
    """The empty application sends our own reply, both of our ways the same one, and the usual one as many rows."""
    reply = ask(servers["lane"].port, workload.request)
    with empty(reply) as constant:
        sent = ask(constant.port, workload.request)
    assert sent.undated() == reply.undated()
    assert ask(servers["route"].port, workload.request).body == reply.body
    if workload.usual:
        usual_reply = ask(servers["usual"].port, workload.request)
        assert usual_reply.body.count(b'"label"') == reply.body.count(b'"label"')


def test_a_run_measures_what_the_server_did(servers: dict[str, Server]) -> None:
    """Latency and processor time fit the rate: one connection has one request on its way at a time."""
    seen = run(servers["lane"], ONE_ROW.request, connections=1, seconds=1)
    between = 1e6 / seen.requests_a_second
    assert 0 < seen.p50 <= seen.p99
    assert 0 < seen.p50 < 2 * between
    assert 0 < seen.cpu < 2 * between


def test_heads_never_seen_before_are_just_that() -> None:
    """Each request has a header of its own, and is the one row all the same."""
    seen: list[str | None] = []
    bodies: set[bytes] = set()

    class Recorder(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            seen.append(self.headers["X-Other"])
            bodies.add(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response_only(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with ThreadingHTTPServer((HOST, 0), Recorder) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        load(server.server_port, NEW_HEADS.request, connections=1, seconds=1)
        server.shutdown()
        thread.join()
    assert len(seen) > 1
    assert None not in seen
    assert len(set(seen)) == len(seen)
    assert bodies == {ONE_ROW.request.body}
