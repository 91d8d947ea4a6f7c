"""The list of instances that every request of version 1 holds, whatever an instance is."""

from typing import Any

import msgspec

from service.codec.body import LARGE, count_values, read
from service.codec.faults import describe
from service.errors import ShapeError


class _AnyRequest(msgspec.Struct):
    instances: list[Any]


class _RawRequest(msgspec.Struct):
    instances: msgspec.Raw


_ANY_REQUESTS = msgspec.json.Decoder(_AnyRequest, float_hook=float)
_RAW_REQUESTS = msgspec.json.Decoder(_RawRequest)
_POINTER = "/instances"


def refuse_floods(body: bytes, most_values: int, expected: str) -> None:
    """Raise a `ShapeError` where a large body's instances hold more than `most_values`, as `count_values` counts.

    It takes a fraction of the time that reading them would take, and the server's one loop waits meanwhile.
    """
    if len(body) > LARGE and count_values(bytes(read(_RAW_REQUESTS, body).instances)) > most_values:
        raise ShapeError.at(_POINTER, expected=expected, got="far more than that")


def read_instances(body: bytes, expected: str, max_rows: int) -> list[Any]:
    """The instances, at least one and at most `max_rows` of any kind; raises a `RequestError`."""
    instances = read(_ANY_REQUESTS, body).instances
    if not 0 < len(instances) <= max_rows:
        raise ShapeError.at(_POINTER, expected=expected, got=describe(instances))
    return instances
