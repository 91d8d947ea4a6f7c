"""What a run measured, as it is kept."""

import datetime as dt
import os
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks import wrk

FOLDER = Path(__file__).parent / "results"
_LIBRARIES = ("uvicorn", "uvloop", "httptools", "onnxruntime", "numpy", "msgspec", "fastapi", "pydantic")


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """Where, with what and how long it was measured."""

    date: str
    processor: str
    cores: int
    python: str
    versions: dict[str, str]
    repeats: int
    seconds: int
    """Of each run."""


def conditions(repeats: int, seconds: int) -> Conditions:
    """Those of this machine, today."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return Conditions(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        processor=found[1].strip() if found else "unknown",
        cores=len(os.sched_getaffinity(0)),
        python=sys.version.split()[0],
        versions={**{name: version(name) for name in _LIBRARIES}, "wrk": wrk.version()},
        repeats=repeats,
        seconds=seconds,
    )


class Run(msgspec.Struct, frozen=True):
    """One run of wrk against one server; times are in microseconds."""

    requests_a_second: float
    p50: float
    p99: float
    cpu: float
    """The server's processor time for a request."""


class Cell(msgspec.Struct, frozen=True):
    """One request at one number of connections: the runs of each server, repeat by repeat."""

    workload: str
    connections: int
    runs: dict[str, list[Run]]


class Light(msgspec.Struct, frozen=True):
    """Predictions that cost little to compute."""

    conditions: Conditions
    cells: list[Cell]


class HeavyRun(msgspec.Struct, frozen=True):
    """One run of wrk against a model that costs much to compute, and bare onnxruntime's of the same batches."""

    rows_a_second: float
    bare_rows_a_second: float
    p50_ms: float
    p99_ms: float
    busy: float
    """The share of the time in which a batch was being computed."""
    batches: dict[int, int]
    """How many batches had how many rows."""
    largest_ms: float
    """What the largest of them takes bare."""


class HeavyCell(msgspec.Struct, frozen=True):
    """A model, by what a batch of 16 takes on one thread, served on so many threads."""

    model: str
    threads: int
    batch_of_16_ms: float
    runs: list[HeavyRun]


class Heavy(msgspec.Struct, frozen=True):
    """Models that cost much to compute."""

    conditions: Conditions
    connections: int
    cells: list[HeavyCell]


class CountingRun(msgspec.Struct, frozen=True):
    """Processor time for a request in microseconds: over HTTP, and in one process with and without counting."""

    over_http: float
    counted: float
    uncounted: float
    batch: int
    """How many requests shared a batch over HTTP, and so in the process."""


class Page(msgspec.Struct, frozen=True):
    """Scrapes of `/metrics`, with every version of every model served and asked."""

    samples: int
    bytes: int
    milliseconds: list[float]


class Metrics(msgspec.Struct, frozen=True):
    """What counting costs, by number of connections; and the page that shows the counts."""

    conditions: Conditions
    counting: dict[int, list[CountingRun]]
    page: Page


class Growth(msgspec.Struct, frozen=True):
    """The memory of one server after so many requests, in bytes."""

    resident: dict[int, int]


class Memory(msgspec.Struct, frozen=True):
    """What a server's memory grows by; each run has a server of its own."""

    conditions: Conditions
    runs: list[Growth]


class Footprint(msgspec.Struct, frozen=True):
    """What a server takes beside processor time."""

    versions: dict[str, str]
    """Of the server and of onnxruntime."""
    environment: int
    """Bytes on the disk of all that is installed for it."""
    starts: list[float]
    """Seconds from each start of its process to its first answer."""
    resident: list[int]
    """Bytes of memory of all its processes after each load."""


class Rivals(msgspec.Struct, frozen=True):
    """One row asked of other servers and of ours."""

    conditions: Conditions
    cells: list[Cell]
    footprints: dict[str, Footprint]


class Stretch(msgspec.Struct, frozen=True):
    """What a server did with what was offered to it for a while; milliseconds, from when requests were to leave on."""

    load: float
    """What was offered, as a multiple of what the server can compute."""
    offered_a_second: float
    answered_a_second: float
    p50_ms: float
    """Of requests that were accepted: those that were answered, and those that were told too late that they are not."""
    p99_ms: float
    late: int
    """How many were accepted, and not answered by their deadline."""
    refused: int
    refusal_p50_ms: float
    """From when the request really left on; 0 where none was refused."""
    refusal_p99_ms: float
    retry_after_ms: float
    """After how long refused ones were told to come again, the median; 0 where they were not."""
    lag_p99_ms: float
    """How much later requests left than they were to."""
    held: int
    """How many of them were late for want of a connection."""
    back_after_seconds: float | None
    """When latency was as it is without any haste, for good; where there was much haste before."""


class OverloadRun(msgspec.Struct, frozen=True):
    """One walk through all loads; memory is in bytes."""

    stretches: list[Stretch]
    server_refusal_ms: float
    """What requests without an answer took by the server's own count, on average; 0 where there are none."""
    resident_before: int
    resident_most: int
    resident_after: int


class Overload(msgspec.Struct, frozen=True):
    """More requests than can be computed, with deadlines and without."""

    conditions: Conditions
    capacity: float
    """Rows that the server computes a second when it always has some."""
    deadline_ms: float
    queue: int
    """Most rows that wait."""
    runs: dict[str, list[OverloadRun]]
    """By what bounds the queue: `deadline` or `room`."""


class SteadyRun(msgspec.Struct, frozen=True):
    """What ordinary clients met; milliseconds, from when requests were to leave on."""

    p50_ms: float
    p99_ms: float
    lag_p99_ms: float
    cpu: float
    """The server's processor time, as a share of one core."""
    crowd: dict[str, int]
    """What others did meanwhile, where there were any, and how often."""


class Slow(msgspec.Struct, frozen=True):
    """A steady load of ordinary clients, alone and beside others that are slow, idle or vanish."""

    conditions: Conditions
    rate: float
    """Requests that left a second."""
    quiet: list[SteadyRun]
    crowded: list[SteadyRun]


QUIET_ONE, RELOADS, QUIET_TWO, ENDS = "one server", "its model reloaded", "two servers", "ended and replaced in turn"
"""What happens to the servers of a passage."""


class Passage(msgspec.Struct, frozen=True):
    """A steady load on servers of which some end, or whose model is reloaded; times are in milliseconds."""

    requests: int
    failed: int
    retried: int
    """How often a request was sent again, since no byte of an answer had come."""
    events: int
    """How many reloads or ends there were."""
    p50: float
    p99: float
    longest: float


class Lifecycle(msgspec.Struct, frozen=True):
    """What clients notice of reloads and of servers that are exchanged, by what happens, repeat by repeat."""

    conditions: Conditions
    capacity: float
    """Requests a second that one server can answer."""
    passages: dict[str, list[Passage]]


class Mark(msgspec.Struct, frozen=True):
    """The memory of a server after so many requests or reloads, in bytes."""

    done: int
    resident: int
    anonymous: int
    """What of it is no copy of a file."""


class Soak(msgspec.Struct, frozen=True):
    """What a server's memory grows by over many requests and over many reloads.

    Each run has servers of its own; its first mark is after the warm-up.
    """

    conditions: Conditions
    requests: list[list[Mark]]
    reloads: list[list[Mark]]


class KillRun(msgspec.Struct, frozen=True):
    """A load in which workers were killed; the p99 are in milliseconds."""

    requests: int
    answered: int
    lost: int
    counted: int
    """How many of them the server's own page has."""
    connections: list[int]
    """How many each worker had that was killed: on each there may have been one request."""
    ready: list[float]
    """Seconds from each kill until the process in the worker's place had answered."""
    p99: float
    quiet_p99: float
    """Of the same load before, when none was killed."""


class Workers(msgspec.Struct, frozen=True):
    """What is lost where workers are killed."""

    conditions: Conditions
    workers: int
    capacity: float
    """Requests a second that all can answer."""
    runs: list[KillRun]


Part = Light | Heavy | Metrics | Memory | Rivals | Overload | Slow | Lifecycle | Soak | Workers
"""Each is kept in a file of its own."""

P = TypeVar("P", Light, Heavy, Metrics, Memory, Rivals, Overload, Slow, Lifecycle, Soak, Workers)


def store(folder: Path, part: Part) -> None:
    """Keep a part's figures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{type(part).__name__.lower()}.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(_rounded(msgspec.to_builtins(part, str_keys=True)))) + b"\n"
    )


def stored(folder: Path, kind: type[P]) -> P:
    """The figures of a part that were kept."""
    return msgspec.json.decode((folder / f"{kind.__name__.lower()}.json").read_bytes(), type=kind)


def _rounded(value: object) -> object:
    """The value with no more digits than were measured."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value
