"""MNIST's own files, as rows of images and digits."""

from pathlib import Path
from typing import Literal

from training.errors import DataError
from training.idx import read_idx
from training.task import Split

MNIST_SIDE, MNIST_INK = 28, 255
"""Height and width of its images in pixels, and the value of a pixel that is all ink."""
DIGITS = 10


def mnist_part(folder: Path, part: Literal["train", "t10k"]) -> Split:
    """Read the images and labels of a part, gzipped or not: (rows, 28, 28) FP32 from 0 to 255, (rows,) digits.

    Raises `DataError` where a file is missing, damaged, holds something else or does not fit the other one; it names
    the file, and the offset of the fault.
    """
    image_file = _file(folder, f"{part}-images-idx3-ubyte")
    digit_file = _file(folder, f"{part}-labels-idx1-ubyte")
    images, digits = read_idx(image_file, 3), read_idx(digit_file, 1)
    if images.shape[1:] != (MNIST_SIDE, MNIST_SIDE):
        size = f"{images.shape[1]}x{images.shape[2]} pixels"
        raise DataError(f"{image_file} has images of {size} at offset 8, not {MNIST_SIDE}x{MNIST_SIDE}")
    if len(images) != len(digits):
        raise DataError(f"{digit_file} has {len(digits)} labels at offset 4 for {len(images)} images in {image_file}")
    if digits.max() >= DIGITS:
        row = int((digits >= DIGITS).int().argmax())
        # The labels begin after eight bytes of header.
        raise DataError(f"{digit_file} has the label {digits[row]} at offset {8 + row}, which is no digit")
    return Split(images.float(), digits.long())


def _file(folder: Path, name: str) -> Path:
    """Where a file lies, as it is or gzipped."""
    found = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if not found:
        raise DataError(f"{folder} has neither {name} nor {name}.gz")
    return found[0]
