"""What was measured of a server under too much load, beside bad clients, while it changes, and in the long run."""

import msgspec

from benchmarks.conditions import Conditions


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
    """How many reloads or replacements were done to their end meanwhile."""
    p50: float
    p99: float
    longest: float


class Lifecycle(msgspec.Struct, frozen=True):
    """What clients notice of reloads and of servers that are replaced, by what happens, repeat by repeat."""

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
    """How many had no answer, or another one."""
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
