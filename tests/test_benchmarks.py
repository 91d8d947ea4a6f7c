"""What the benchmarks compare is comparable, and their page says what they measured."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from benchmarks.bare import loop
from benchmarks.conditions import conditions
from benchmarks.crowd import crowded
from benchmarks.goals import goals
from benchmarks.light import ROOM, run
from benchmarks.mixture import mixture
from benchmarks.openloop import BROKEN, NOTHING, Plan, Seen, offer, offered
from benchmarks.operating_results import (
    ENDS,
    QUIET_ONE,
    QUIET_TWO,
    RELOADS,
    KillRun,
    Lifecycle,
    Mark,
    Passage,
    Slow,
    Soak,
    SteadyRun,
    Workers,
)
from benchmarks.overload import stretch
from benchmarks.pace import again
from benchmarks.phases import Phase, moments
from benchmarks.processes import Server, free_ports
from benchmarks.reloading import Publisher
from benchmarks.report import README, written
from benchmarks.rows import write
from benchmarks.scoring import VERSION, costs
from benchmarks.scoring_results import BARE_BATCHES, BARE_BLOCKS, SCORE, FileCell, Interruption, ScoreRun, Scoring
from benchmarks.servers import empty, ours, usual
from benchmarks.tables import tables
from benchmarks.wire import HOST, ask
from benchmarks.workloads import NEW_HEADS, ONE_ROW, OTHERS, Workload
from benchmarks.wrk import load
from service.score import score


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


def test_phases_follow_one_another_and_every_request_is_answered(servers: dict[str, Server]) -> None:
    """As many leave as are due, in the order of their moments, and each is timed from then on."""
    due = moments([Phase(100, 0.5), Phase(1000, 0.5)], seed=1)
    assert due.tolist() == sorted(due) == moments([Phase(100, 0.5), Phase(1000, 0.5)], seed=1).tolist()
    seen = offered(Plan([servers["lane"].port], [ONE_ROW.request], due))
    assert seen.counts() == {200: len(due)}
    assert ((seen.waited > 0) & (seen.waited <= seen.latency + 1e-3)).all()
    few, many = seen.within(0, 0.5), seen.within(0.5, 0.5)
    assert 25 < len(few.due) < 100
    assert 400 < len(many.due) < 600
    assert len(few.due) + len(many.due) == len(due)
    for phase in (few, many):
        assert 0 <= phase.due.min() < phase.due.max() < 0.5
        assert 0 < phase.percentile(50) <= phase.percentile(99)


def test_where_all_are_due_at_once_there_is_one_on_each_connection(servers: dict[str, Server]) -> None:
    """Whatever waits for one is late, and said to be."""
    seen = offer(Plan([servers["lane"].port], [ONE_ROW.request], np.zeros(200), connections=2))
    assert seen.counts() == {200: 200}
    assert (seen.latency[2:] > seen.latency[:-2]).all()
    assert seen.held.sum() == 198


def test_what_waits_behind_a_slow_answer_is_late_too() -> None:
    """Where a server keeps a client from sending, latency counts it: nothing is left out."""
    stall = 0.4

    class Stalling(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        first = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.first:
                self.first = False
                Event().wait(stall)
            self.send_response_only(200)
            self.send_header("content-length", "0")
            self.end_headers()

    with ThreadingHTTPServer((HOST, 0), Stalling) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        due = moments([Phase(200, stall / 2)], seed=0)
        seen = offered(Plan([server.server_port], [ONE_ROW.request], due, connections=1))
        server.shutdown()
        thread.join()
    ended = seen.due + seen.latency
    assert len(ended) == seen.held.sum() + 1 > 10
    assert min(ended) >= stall
    assert all(earlier < later for earlier, later in pairwise(ended))


def test_who_was_accepted_and_told_too_late_was_not_refused() -> None:
    """And all is as before after the last window above the normal latency."""
    ok = [(0.01 * place, 0.0, 0.5 if place < 30 else 0.015, 200, 0) for place in range(100)]
    gone = [(0.1, 0.001, 0.24, 504, 0), (0.2, 0.0, 0.25, 504, 0)]
    refused = [(0.3, 0.01, 0.011, 504, 0), (0.4, 0.0, 0.003, 503, 700), (0.5, 0.0, 0.002, 503, 700)]
    found = stretch(5, 1, _seen(ok + refused, gone), normal=0.02)
    assert (found.late, found.refused, found.retry_after_ms) == (2, 3, 700)
    assert (found.offered_a_second, found.answered_a_second) == (105, 100 - 1)
    assert found.refusal_p50_ms == pytest.approx(2)
    assert found.back_after_seconds == pytest.approx(0.3)
    with pytest.raises(RuntimeError, match="lost"):
        stretch(5, 1, _seen([*ok, (0.1, 0.0, 30.0, NOTHING, 0)], []), normal=None)


_Told = tuple[float, float, float, int, int]
"""When a request was due, its lag, latency, status and `retry_after_ms`."""


def _seen(in_time: list[_Told], too_late: list[_Told]) -> Seen:
    """What came back, to those that were told in time and to those that were not."""
    due, lag, latency, status, retry_after_ms = map(np.array, zip(*in_time, *too_late, strict=True))
    none = np.zeros(len(due), np.int16)
    late = np.arange(len(due)) >= len(in_time)
    return Seen(due, lag, latency, status, retry_after_ms, late, held=none.astype(bool), again=none)


def test_the_crowd_is_there(servers: dict[str, Server]) -> None:
    """Slow clients send, others vanish, and who asks meanwhile is answered."""
    with crowded(servers["lane"].port) as crowd:
        load(servers["lane"].port, ONE_ROW.request, connections=1, seconds=1)
    assert crowd["bytes sent slowly"] >= 100
    assert crowd["clients vanished"] > 10


@pytest.mark.parametrize(
    ("told", "tries", "status", "retried"),
    [(b"", 1, NOTHING, 0), (b"", 10, 200, 2), (b"HTTP/1.1 200 OK\r\n", 10, BROKEN, 0)],
    ids=["lost", "sent again", "broken off"],
)
def test_a_request_is_sent_again_while_no_byte_of_an_answer_has_come(
    told: bytes, tries: int, status: int, retried: int
) -> None:
    """As often as it may be; one that was answered in part never is."""
    left = [told, told]

    class Losing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if left:
                self.wfile.write(left.pop())
                self.close_connection = True
                return
            self.send_response_only(200)
            self.send_header("content-length", "0")
            self.end_headers()

    with ThreadingHTTPServer((HOST, 0), Losing) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        seen = offer(Plan([server.server_port], [ONE_ROW.request], np.zeros(1), connections=1, tries=tries))
        server.shutdown()
        thread.join()
    assert (seen.status.tolist(), seen.again.tolist()) == ([status], [retried])


def test_a_port_that_refuses_is_left_to_the_others(servers: dict[str, Server]) -> None:
    """And where nobody listens at all, nothing is measured."""
    nobody = free_ports()[0]
    seen = offer(Plan([nobody, servers["lane"].port], [ONE_ROW.request], np.zeros(10), connections=1))
    assert seen.counts() == {200: 10}
    with pytest.raises(RuntimeError, match="nobody listens"):
        offer(Plan([nobody], [ONE_ROW.request], np.zeros(10)))


def test_a_connection_that_ends_with_its_answer_is_replaced() -> None:
    """Each request is answered on one of its own, and none is sent twice."""
    asked = []

    class Ending(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.client_address)
            self.send_response_only(200)
            self.send_header("connection", "close")
            self.send_header("content-length", "0")
            self.end_headers()

    with ThreadingHTTPServer((HOST, 0), Ending) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        seen = offer(Plan([server.server_port], [ONE_ROW.request], np.zeros(3), connections=1))
        server.shutdown()
        thread.join()
    assert seen.counts() == {200: 3}
    assert len(set(asked)) == len(asked) == 3


def test_what_is_done_again_keeps_its_pace() -> None:
    """What takes too long is done less often, and does not count where it ends too late."""
    began = time.monotonic()
    times: list[float] = []
    assert 1 <= again(0.5, 0.1, lambda: times.append(time.monotonic() - began)) <= 5
    assert all(moment >= 0.1 * (place + 0.5) for place, moment in enumerate(times))
    assert again(0.1, 1, lambda: time.sleep(0.2)) == 0


def test_requests_of_random_sizes_are_answered_as_is_due(servers: dict[str, Server]) -> None:
    """Among them are all models, and every fault."""
    mixed = mixture(400)
    plan = Plan([servers["lane"].port], [one.request for one in mixed], np.zeros(len(mixed)))
    assert offer(plan).status.tolist() == [one.status for one in mixed]
    assert {one.status for one in mixed} == {200, 400, 404}


def test_what_is_published_anew_is_loaded(tmp_path: Path) -> None:
    """A new version, and another one in its place; before, it is not taken for loaded."""
    publisher = Publisher(tmp_path / "models")
    with ours(tmp_path / "models") as server:
        for _ in range(2):
            publisher.publish()
            assert not publisher.is_served(server.port)
            end = time.monotonic() + 30
            while not publisher.is_served(server.port):
                assert time.monotonic() < end


def test_what_is_worse_than_its_goal_is_missed() -> None:
    """Of reloads, ends, kills, memory and slow clients, each by its worst or its middle run."""
    here = conditions(3, 1)
    calm, rough = Passage(70_000, 0, 0, 0, 1, 2, 9), Passage(70_000, 0, 5, 40, 1, 2.9, 9)
    slow = Passage(70_000, 1, 5, 5, 1, 3.1, 9)
    passages = {QUIET_ONE: [calm] * 3, RELOADS: [rough, slow, rough], QUIET_TWO: [calm] * 3, ENDS: [slow, slow, rough]}
    lifecycle = Lifecycle(here, 1000, passages)
    marks = [[Mark(0, 10**8, 10**8), Mark(5, 12 * 10**7, 10**8), Mark(10, 10**8, 10**8)]]
    soak = Soak(here, marks, marks)
    killed = KillRun(100, 90, 10, 99, [4, 6], [0.5, 1.0], 5, 4)
    workers = Workers(here, 4, 1000, [killed, msgspec.structs.replace(killed, connections=[4], counted=101, ready=[3])])
    quiet, beside = SteadyRun(1, 2, 0, 0.5, {}), [SteadyRun(1, p99, 0, 0.5, {}) for p99 in (2.9, 3.1, 9)]
    assert [goal.met for goal in goals(Slow(here, 1000, [quiet] * 3, beside))] == [False]
    assert [goal.met for goal in goals(Slow(here, 1000, [quiet] * 3, beside[:2] + beside[:1]))] == [True]
    assert [goal.met for goal in goals(lifecycle)] == [False, True, True, False, True, False]
    assert [goal.met for goal in goals(soak)] == [False, True, False, True]
    assert [goal.met for goal in goals(workers)] == [False, False, False]
    assert [goal.met for goal in goals(Workers(here, 4, 1000, [killed]))] == [True, True, True]
    assert all("10 MB" in tables(soak) and "requests a second" in tables(part) for part in (lifecycle, workers))


@pytest.mark.parametrize("suffix", ["parquet", "csv", "arrow", "jsonl"])
def test_the_bare_loop_writes_what_the_scorer_writes(tmp_path: Path, suffix: str) -> None:
    """For every format and both sizes of a run, so that it is the same work that is compared."""
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    write(3000, [source])
    score("binary_classifier/2", source, target, models=VERSION.parents[1])
    for batch in (2048, 1 << 20):
        other = tmp_path / f"{batch}.{suffix}"
        assert loop(VERSION, source, other, batch) == 3000
        if suffix == "parquet":
            assert parquet.read_table(other).equals(parquet.read_table(target))
        elif suffix == "arrow":
            assert pa.ipc.open_file(other).read_all().equals(pa.ipc.open_file(target).read_all())
        else:
            assert other.read_bytes() == target.read_bytes()


def test_it_is_measured_what_scoring_takes(tmp_path: Path) -> None:
    """The whole process, and its loop by itself."""
    (cell,) = costs(tmp_path, 2000, ["Parquet"], 1)
    assert list(cell.runs) == [BARE_BATCHES, BARE_BLOCKS, SCORE]
    for (one,) in cell.runs.values():
        assert 0 < 2000 / one.rows_a_second < one.seconds
        assert one.cpu_seconds > 0
        assert one.peak_bytes > 1 << 26
    assert not list(tmp_path.iterdir())


def test_scoring_is_compared_with_the_faster_bare_loop() -> None:
    """At the larger size, with all that the processes took; and memory with that at the smaller one."""

    def cell(name: str, rows: int, own: float, peak: int) -> FileCell:
        seconds = {BARE_BATCHES: 8.0, BARE_BLOCKS: 7.5, SCORE: own}
        return FileCell(name, rows, {who: [ScoreRun(took, 1, 1.0, peak)] for who, took in seconds.items()})

    few = [cell("Parquet", 10, 99, 100), cell("CSV", 10, 99, 100)]
    killed = Interruption("CSV", 10, 20, 9, is_identical=True, undisturbed_seconds=1.0, seconds=20.0)
    good = Scoring(conditions(1, 1), [*few, cell("Parquet", 100, 9, 115), cell("CSV", 100, 10, 115)], [killed])
    bad = Scoring(good.conditions, [*few, cell("Parquet", 100, 10, 116), cell("CSV", 100, 11, 116)], [killed])
    assert [goal.met for goal in goals(good)] == [True, True, True, True, True]
    assert [goal.met for goal in goals(bad)] == [False, False, False, False, True]
    other = msgspec.structs.replace(killed, is_identical=False)
    assert not goals(msgspec.structs.replace(good, interruptions=[killed, other]))[-1].met
    assert "75%" in tables(good)
