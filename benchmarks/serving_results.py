"""What was measured of predictions over HTTP, on our server and on others."""

import msgspec

from benchmarks.conditions import Conditions


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
