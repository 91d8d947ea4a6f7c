"""Requests of random sizes to every model, as JSON and as raw tensors, some of them not valid."""

import json
import random
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from benchmarks.golden import GoldenRows
from benchmarks.processes import ROOT
from benchmarks.wire import Request
from benchmarks.workloads import CLASSIFIER, ONE_ROW, binary, predict, rows

LARGEST = 300
"""Most rows of a request."""
_NUMBERS = 6000
"""Most numbers of one and its answer together, where rows have many."""
_INVALID = 0.05
_FAVOUR = 4
"""How many times as often as another model the classifier is asked, in each of two forms."""


class Expected(NamedTuple):
    """A request, and the status of the answer that is due to it."""

    request: Request
    status: int


def mixture(count: int) -> list[Expected]:
    """So many; as many of them have one to ten rows as have ten to a hundred."""
    drawn = random.Random(count)  # noqa: S311  # no secret
    makers = [*[(binary, LARGEST), (_named, LARGEST)] * _FAVOUR, *map(_of_model, sorted((ROOT / "models").iterdir()))]
    faults = _faults()
    mixed = []
    for _ in range(count):
        make, most = drawn.choice(makers)
        request = make(round(most ** drawn.random()))
        mixed.append(drawn.choice(faults) if drawn.random() < _INVALID else Expected(request, HTTPStatus.OK))
    return mixed


def _named(count: int) -> Request:
    """So many rows for the classifier, of version 1."""
    return predict(CLASSIFIER, rows(count))


def _of_model(folder: Path) -> tuple[Callable[[int], Request], int]:
    """What makes requests of so many golden rows of a model, of version 2; and the most rows that it is to make."""
    golden = GoldenRows(max(folder.iterdir(), key=lambda path: int(path.name)))
    return golden.request, min(LARGEST, _NUMBERS // golden.width)


def _faults() -> list[Expected]:
    """Each with a fault of its own."""
    request = ONE_ROW.request
    odd = rows(LARGEST)
    odd[-1][-1] = float("nan")
    binary_request = binary(LARGEST)
    return [
        Expected(request._replace(body=request.body[:-1]), HTTPStatus.BAD_REQUEST),
        Expected(predict(CLASSIFIER, [row[1:] for row in rows(LARGEST)]), HTTPStatus.BAD_REQUEST),
        Expected(request._replace(body=json.dumps({"instances": odd}).encode()), HTTPStatus.BAD_REQUEST),
        Expected(predict(CLASSIFIER, ["x" * 10_000]), HTTPStatus.BAD_REQUEST),
        Expected(predict("no_such_model", rows(1)), HTTPStatus.NOT_FOUND),
        Expected(binary_request._replace(body=binary_request.body[:-4]), HTTPStatus.BAD_REQUEST),
    ]
