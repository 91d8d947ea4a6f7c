"""Finished trainings, and files of data, that several tests look at."""

import dataclasses
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from training.pipeline import Produced, produce
from training.tasks import TASKS


@pytest.fixture(scope="session")
def sum_of_three() -> Produced:
    """Train the first version of sum_of_three, without the two hundred others that its card shows."""
    return produce(dataclasses.replace(TASKS["sum_of_three"][0], plots=lambda _: {}))


@pytest.fixture(scope="session")
def binary_classifier() -> Produced:
    """Train the first version of binary_classifier."""
    return produce(TASKS["binary_classifier"][0])


def write_mnist(folder: Path, part: str, rows: int, *, packed: bool) -> None:
    """Write so many images, a bar whose place is the digit, with their labels as MNIST does."""
    digits = (np.arange(rows) % 10).astype(np.uint8)
    images = np.random.default_rng(rows).integers(0, 40, (rows, 28, 28), dtype=np.uint8)
    for image, digit in zip(images, digits, strict=True):
        image[2 * digit + 4 : 2 * digit + 7, 4:24] = 255
    for name, values in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", digits)):
        content = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A folder with 400 training and 50 test images, the training files gzipped."""
    write_mnist(tmp_path, "train", 400, packed=True)
    write_mnist(tmp_path, "t10k", 50, packed=False)
    return tmp_path


@pytest.fixture
def few_of_mnist(tmp_path: Path) -> Path:
    """A folder with 45 training images and no others."""
    write_mnist(tmp_path, "train", 45, packed=False)
    return tmp_path
