"""What the benchmarks compare is comparable, and their page says what they measured."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from benchmarks.light import ROOM, run
from benchmarks.report import README, written
from benchmarks.servers import Server, empty, ours, usual
from benchmarks.wire import ask
from benchmarks.workloads import ONE_ROW, OTHERS, Workload


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
    assert (sent.size, sent.body) == (reply.size, reply.body)
    assert ask(servers["route"].port, workload.request).body == reply.body
    if workload.usual:
        usual_reply = ask(servers["usual"].port, workload.request)
        assert usual_reply.body.count(b'"label"') == reply.body.count(b'"label"')


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_a_run_measures_what_the_server_did(servers: dict[str, Server]) -> None:
    """Latency and processor time fit the rate: one connection has one request on its way at a time."""
    seen = run(servers["lane"], ONE_ROW.request, connections=1, seconds=1)
    between = 1e6 / seen.requests_a_second
    assert 0 < seen.p50 <= seen.p99
    assert 0 < seen.p50 < 2 * between
    assert 0 < seen.cpu < 2 * between
