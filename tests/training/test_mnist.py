"""Behaviour of training.mnist."""

from pathlib import Path
from typing import Literal

import pytest
import torch

from training.errors import DataError
from training.mnist import mnist_part


@pytest.mark.parametrize(("part", "rows"), [("train", 400), ("t10k", 50)])
def test_a_part_is_its_images_with_their_digits(mnist: Path, part: Literal["train", "t10k"], rows: int) -> None:
    """Gzipped or not, the values are those of the files, as numbers that a network takes."""
    images, digits = mnist_part(mnist, part)
    assert images.shape == (rows, 28, 28)
    assert images.dtype == torch.float32
    assert (images.min().item(), images.max().item()) == (0, 255)
    assert digits.tolist() == [row % 10 for row in range(rows)]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error says both names under which the file was looked for."""
    with pytest.raises(DataError, match=r"has neither train-images-idx3-ubyte nor train-images-idx3-ubyte\.gz"):
        mnist_part(tmp_path, "train")


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("images-idx3", [0, 0, 8, 3, 0, 0, 0, 50, 0, 0, 0, 8, 0, 0, 0, 8, *[0] * 3200], "images of 8x8 .* at offset 8"),
        ("labels-idx1", [0, 0, 8, 1, 0, 0, 0, 49, *[0] * 49], "49 labels at offset 4 for 50 images in .*images-idx3"),
        ("labels-idx1", [0, 0, 8, 1, 0, 0, 0, 50, *[9] * 3, 10, *[11] * 46], "label 10 at offset 11"),
    ],
)
def test_files_that_do_not_fit_are_refused(mnist: Path, name: str, content: list[int], fault: str) -> None:
    """Intact files can still be no digits, or not belong to each other."""
    (mnist / f"t10k-{name}-ubyte").write_bytes(bytes(content))
    with pytest.raises(DataError, match=rf"t10k-{name}-ubyte has.* {fault}"):
        mnist_part(mnist, "t10k")
