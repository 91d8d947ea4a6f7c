"""The requests that are measured."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.wire import JSON, Request, posted

COLUMNS = 20
CLASSIFIER = "binary_classifier"
# With Host and Content-Length they are eight.
_REAL_CLIENT = (
    ("User-Agent", "python-httpx/0.28.1"),
    ("Accept", "*/*"),
    ("Accept-Encoding", "gzip, deflate"),
    ("Connection", "keep-alive"),
    *JSON,
    ("X-Request-Id", "0b7c1f0e-6f9d-4d2a-9f5e-3a8f5f0c9d11"),
)


class Workload(NamedTuple):
    """A request, and whether somebody who writes an endpoint by hand would take it."""

    title: str
    request: Request
    usual: bool


def rows(count: int) -> list[list[float]]:
    """So many rows of numbers with four decimals."""
    drawn = random.Random(count)  # noqa: S311  # no secret
    return [[round(drawn.uniform(-1, 1), 4) for _ in range(COLUMNS)] for _ in range(count)]


def predict(model: str, instances: Sequence[object], headers: tuple[tuple[str, str], ...] = JSON) -> Request:
    """A request of version 1."""
    return posted(f"/v1/models/{model}:predict", {"instances": instances}, headers)


def binary(count: int) -> Request:
    """So many rows of the classifier as one raw tensor, to be answered with another."""
    tensor = np.array(rows(count), np.float32).tobytes()
    given = {
        "name": "features",
        "shape": [count, COLUMNS],
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(tensor)},
    }
    head = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    headers = (("Content-Type", "application/octet-stream"), ("Inference-Header-Content-Length", str(len(head))))
    return Request(f"/v2/models/{CLASSIFIER}/infer", head + tensor, headers)


def image() -> list[list[float]]:
    """A digit written by hand: the first that the model's golden rows have."""
    golden = json.loads(Path("models/digits/1/golden.json").read_text())
    first: list[list[float]] = golden["inputs"]["image"][0]
    return first


ONE_ROW = Workload("1 row, JSON", predict(CLASSIFIER, rows(1)), usual=True)
EIGHT_HEADERS = Workload("1 row, JSON, eight headers", predict(CLASSIFIER, rows(1), _REAL_CLIENT), usual=True)
LARGE_BINARY = Workload("256 rows, binary", binary(256), usual=False)
NEW_HEADS = Workload("1 row, JSON, heads never seen before", ONE_ROW.request._replace(new_heads=True), usual=True)
OTHERS = (
    EIGHT_HEADERS,
    NEW_HEADS,
    Workload("8 rows, JSON", predict(CLASSIFIER, rows(8)), usual=True),
    Workload("64 rows, JSON", predict(CLASSIFIER, rows(64)), usual=True),
    Workload("digits, 1 image, JSON", predict("digits", [image()]), usual=True),
    Workload("1 row, binary", binary(1), usual=False),
    LARGE_BINARY,
)
"""What is measured at 64 connections only."""
