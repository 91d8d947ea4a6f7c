"""A convolutional network that reads handwritten digits."""

import dataclasses
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC
from torch import Tensor, nn
from torch.nn import functional

from service.manifest import TensorSpec
from training import plots
from training.errors import DataError, GateError
from training.gate import refuse_too_good
from training.loss import CrossEntropy
from training.mnist import MNIST_INK, MNIST_SIDE, mnist_part
from training.task import Data, Figures, Recipe, Split, Task, Trained

DIGITS = tuple("0123456789")
SIDE, INK = 8, 16
"""Height and width of scikit-learn's images in pixels, and the value of a pixel that is all ink."""
FILTERS = (32, 64)
"""How many 5x5 filters the first and the second layer learn."""
WOBBLE = 0.1
"""How far, as a standard deviation, training bends the identity with which an image is looked at."""
LEAST_ACCURACY = 0.985
SVM_ROWS = 10_000
"""Rows that the support vector machine learns from at most: its time grows with their square."""
SHOWN = 10
"""Wrong answers that the card shows at most."""


class DigitNetwork(nn.Module):
    """Takes images of `side` by `side` pixels, (rows, side, side), to the ten digits' probabilities, (rows, 10).

    A pixel is a number from 0, the paper, to `ink`. While it trains, it sees every image a little bent.
    """

    def __init__(self, side: int, ink: float) -> None:
        super().__init__()
        self.ink = ink
        few, many = FILTERS
        self.layers = nn.Sequential(
            # Each filter looks at 5x5 pixels; two more on every side let it look at the rim as well.
            nn.Conv2d(1, few, kernel_size=5, padding=2),
            nn.ReLU(),
            # Of each 2x2 answers of a filter the strongest is kept: where exactly it was matters less.
            nn.MaxPool2d(2),
            nn.Conv2d(few, many, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            # Three answers in ten are left out in each training step, so that none is relied on alone.
            nn.Dropout(0.3),
            nn.Linear(many * (side // 4) ** 2, len(DIGITS)),
            nn.Softmax(dim=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Scale the pixels to 0…1, give each image its one channel, and filter."""
        scaled = images.unsqueeze(1) / self.ink
        if self.training:
            scaled = _bend(scaled)
        probabilities: Tensor = self.layers(scaled)
        return probabilities


def _bend(images: Tensor) -> Tensor:
    """Turn, stretch, slant and shift each image, (rows, 1, side, side), at random: a digit it stays."""
    identity = torch.eye(2, 3)
    maps = identity + WOBBLE * torch.randn(len(images), *identity.shape)
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def _data() -> Data:
    """1,257 training, 180 validation and 360 test rows: (rows, 8, 8) pixels from 0 to 16, (rows,) digits."""
    digits = load_digits()
    every = Split(torch.as_tensor(digits.images, dtype=torch.float32), torch.as_tensor(digits.target))
    rest, test = _stratified(every, held_out=360)
    train, validation = _stratified(rest, held_out=180)
    return Data(train, validation, test)


def _stratified(rows: Split, held_out: int) -> tuple[Split, Split]:
    """Part rows in two, the second with so many, each digit with the same share in both."""
    kept, held = train_test_split(
        torch.arange(len(rows.targets)), test_size=held_out, stratify=rows.targets, random_state=0
    )
    return Split(rows.inputs[kept], rows.targets[kept]), Split(rows.inputs[held], rows.targets[held])


def _network(_: Data) -> nn.Module:
    """(rows, 8, 8) → (rows, 10)."""
    return DigitNetwork(SIDE, INK)


def _answers(network: nn.Module, images: Tensor) -> Tensor:
    """The likeliest digit of each image, (rows,)."""
    with torch.no_grad():
        # A few at a time: the filters' answers are much larger than the images.
        return torch.cat([network(part).argmax(dim=1) for part in torch.split(images, 256)])


def _gate(trained: Trained) -> Figures:
    """Set the accuracy on the test rows beside that of a support vector machine."""
    images, digits = trained.data.held_out
    wrong = int((_answers(trained.network, images) != digits).sum())
    accuracy = 1 - wrong / len(digits)
    if not accuracy >= LEAST_ACCURACY:
        raise GateError(f"{accuracy:.4f} of the test digits are read right, not {LEAST_ACCURACY} ({wrong} are wrong)")
    # Some of the digits are hardly legible: a network that errs nowhere has seen them.
    refuse_too_good("the test accuracy", accuracy, 1)
    return Figures(
        metrics={"test_accuracy": accuracy, "test_errors": wrong},
        baseline={"support_vector_machine": _svm_accuracy(trained.data)},
    )


def _svm_accuracy(data: Data) -> float:
    """Accuracy on the test rows of scikit-learn's machine as it comes: radial basis functions, C = 1.

    It learns from the validation rows too: it has no other use for them.
    """
    images, digits = (column[-SVM_ROWS:] for column in data.seen)
    machine = SVC(kernel="rbf").fit(images.flatten(1).numpy(), digits.numpy())
    return float(machine.score(data.held_out.inputs.flatten(1).numpy(), data.held_out.targets.numpy()))


def _plots(trained: Trained) -> dict[str, Figure]:
    """What it takes for what, the digits it gets wrong, and what its first layer looks for."""
    images, digits = trained.data.held_out
    return {
        "confusion_matrix": plots.confusion(digits, _answers(trained.network, images), DIGITS),
        "wrong_answers": _wrong_answers(trained),
        "learned_filters": _learned_filters(trained.network),
    }


@plots.styled()
def _wrong_answers(trained: Trained) -> Figure:
    """Draw test digits that are read wrong, those first of which the network is surest."""
    images, digits = trained.data.held_out
    wrong = torch.nonzero(_answers(trained.network, images) != digits).flatten()
    with torch.no_grad():
        surest, answers = trained.network(images[wrong]).max(dim=1)
    shown = surest.argsort(descending=True, stable=True)[:SHOWN].tolist()
    columns = min(5, max(len(shown), 3))
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(1.5 * columns + 0.8, 1.6 * rows + 0.6))
    figure.suptitle(f"Read wrong: {len(wrong)} of {len(digits):,} test digits", x=0.01, ha="left", weight="bold")
    for place, number in enumerate(shown, start=1):
        axes = figure.add_subplot(rows, columns, place, xticks=[], yticks=[])
        axes.imshow(images[wrong[number]].numpy(), cmap="gray_r")
        axes.grid(visible=False)
        axes.spines[:].set(visible=True, color=plots.PALE)
        truth = f"is {DIGITS[digits[wrong[number]]]}"
        read = f"read as {DIGITS[answers[number]]}, {surest[number]:.0%} sure"
        axes.set_title(f"{truth}\n{read}", loc="center", weight="normal", size=9)
    return figure


@plots.styled()
def _learned_filters(network: nn.Module) -> Figure:
    """Draw the weights of the first layer's filters, side by side and all on one scale."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    filters = first.weight.detach()[:, 0]
    # The gaps between them are no numbers, which have a colour of their own.
    tiles = functional.pad(filters, (1, 0, 1, 0), value=torch.nan)
    height, width = tiles.shape[1:]
    columns = 8
    wall = tiles.reshape(-1, columns, height, width).permute(0, 2, 1, 3).reshape(-1, columns * width)
    figure = Figure(figsize=(6.4, 3.3))
    axes = figure.subplots()
    axes.set_title("What the first layer looks for")
    most = float(filters.abs().max())
    colours = plots.BLUE_TO_ORANGE.with_extremes(bad=plots.GREY)
    image = axes.imshow(wall[1:, 1:].numpy(), cmap=colours, vmin=-most, vmax=most)
    axes.axis("off")
    figure.colorbar(image, label="weight", shrink=0.8).outline.set_visible(False)
    return figure


VERSION_1 = Task(
    name="digits",
    version=1,
    kind="classification",
    description="Which digit was written by hand, from an image of 8x8 pixels.",
    source="Introductory PyTorch tutorial: a convolutional network with 5x5 filters, pooling and a softmax",
    dataset="scikit-learn's load_digits(), 1,797 images; 360 held out for the test and 180 of the rest for "
    "validation by train_test_split(stratify=digits, random_state=0)",
    data=_data,
    network=_network,
    loss=CrossEntropy(),
    recipe=Recipe(
        optimiser="Adam",
        learning_rate=0.005,
        epochs=40,
        batch_size=64,
        weight_decay=1e-4,
        annealed=True,
        patience=10,
        starts=3,
    ),
    seed=0,
    input=TensorSpec(
        name="image",
        datatype="FP32",
        shape=(-1, SIDE, SIDE),
        description=f"Rows of pixels from the top, each from the left: 0 is paper, {INK} is ink.",
    ),
    output=TensorSpec(
        name="probability",
        datatype="FP32",
        shape=(-1, len(DIGITS)),
        description="How likely each digit is; they sum to 1.",
        labels=DIGITS,
    ),
    condition=f"The test accuracy is at least {LEAST_ACCURACY}, and not perfect.",
    gate=_gate,
    plots=_plots,
)


def from_mnist(folder: Path) -> Task:
    """The same network for MNIST's four files in `folder`, gzipped or not: (rows, 28, 28) pixels from 0 to 255.

    Its data raises `DataError` where a file is missing or not what its name says. An epoch takes a minute.
    """
    return dataclasses.replace(
        VERSION_1,
        description=f"Which digit was written by hand, from an image of {MNIST_SIDE}x{MNIST_SIDE} pixels.",
        dataset="MNIST's own files, 70,000 images; its test set held out for the test and a tenth of its training "
        "set for validation by train_test_split(stratify=digits, random_state=0)",
        data=partial(_mnist, folder),
        network=_mnist_network,
        # Forty times the rows need fewer epochs, and no second try.
        recipe=dataclasses.replace(VERSION_1.recipe, learning_rate=0.001, epochs=6, patience=2, starts=1),
        input=TensorSpec(
            name="image",
            datatype="FP32",
            shape=(-1, MNIST_SIDE, MNIST_SIDE),
            description=f"Rows of pixels from the top, each from the left: 0 is paper, {MNIST_INK} is ink.",
        ),
        condition=f"{VERSION_1.condition} The support vector machine beside it learns from {SVM_ROWS:,} rows.",
    )


def _mnist(folder: Path) -> Data:
    """A tenth of MNIST's training set becomes validation rows."""
    every = mnist_part(folder, "train")
    counts = torch.bincount(every.targets)
    if (counts == 1).any():
        digit = int((counts == 1).int().argmax())
        raise DataError(f"{folder} has a single training image of a {digit}, which cannot be in two parts")
    watched, digits = len(every.targets) // 10, int((counts > 0).sum())
    if watched < digits:
        raise DataError(
            f"{folder} has {len(every.targets)} training images, of which a tenth is watched: too few to hold "
            f"each of {digits} digits"
        )
    train, validation = _stratified(every, held_out=watched)
    return Data(train, validation, mnist_part(folder, "t10k"))


def _mnist_network(_: Data) -> nn.Module:
    """(rows, 28, 28) → (rows, 10)."""
    return DigitNetwork(MNIST_SIDE, MNIST_INK)
