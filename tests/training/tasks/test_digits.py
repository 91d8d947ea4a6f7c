"""Behaviour of training.tasks.digits."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from service.manifest import ONNX_FILE
from training.errors import DataError, GateError
from training.loop import train
from training.pipeline import produce
from training.task import Data, Figures, Recipe, Split, Task, Trained
from training.tasks.digits import VERSION_1, DigitNetwork, from_mnist

MOMENT = Recipe(optimiser="Adam", learning_rate=0.01, epochs=1, batch_size=64)


@pytest.fixture(scope="module")
def trained() -> Trained:
    """Train the recipe from the best of its starts only, which gives the network that all of them give."""
    return train(dataclasses.replace(VERSION_1, seed=2, recipe=dataclasses.replace(VERSION_1.recipe, starts=1)))


def ungated(task: Task, recipe: Recipe = MOMENT) -> Task:
    """The task as a quick try whose network is good enough, however bad."""
    return dataclasses.replace(task, recipe=recipe, gate=lambda _: Figures({"none": 0.0}, {"none": 0.0}))


def parts(data: Data) -> Iterator[Split]:
    """All three parts of the data."""
    for part in (data.train, data.validation, data.test):
        assert part is not None
        yield part


def test_no_image_is_in_two_parts() -> None:
    """All 1,797 images are dealt out, each to one part; scikit-learn's images are all different."""
    train_part, validation, test = parts(VERSION_1.data())
    assert (len(train_part.targets), len(validation.targets), len(test.targets)) == (1257, 180, 360)
    every = torch.cat([train_part.inputs, validation.inputs, test.inputs]).flatten(1)
    assert len(torch.unique(every, dim=0)) == 1797


def test_every_part_has_a_tenth_of_each_digit() -> None:
    """The parts are stratified, so no digit is rare in any."""
    for part in parts(VERSION_1.data()):
        shares = torch.bincount(part.targets, minlength=10) / len(part.targets)
        assert shares == pytest.approx([0.1] * 10, abs=0.006)


def test_the_split_is_always_the_same() -> None:
    """It is seeded by itself, whatever was drawn before."""
    torch.manual_seed(1)
    first, second = VERSION_1.data(), VERSION_1.data()
    assert all(torch.equal(one.inputs, other.inputs) for one, other in zip(parts(first), parts(second), strict=True))


def test_the_recipe_passes_its_gate(trained: Trained) -> None:
    """The network reads at least 98.5 of 100 test digits, which is told beside a support vector machine's figure."""
    figures = VERSION_1.gate(trained)
    assert 0.985 <= figures.metrics["test_accuracy"] < 1
    assert 0.95 < figures.baseline["support_vector_machine"] < 1


def test_an_untrained_network_fails_the_gate(trained: Trained) -> None:
    """Fresh weights read about one digit in ten."""
    fresh = dataclasses.replace(trained, network=VERSION_1.network(trained.data).eval())
    with pytest.raises(GateError, match=r"of the test digits are read right, not 0\.985"):
        VERSION_1.gate(fresh)


def test_a_perfect_score_fails_the_gate(trained: Trained) -> None:
    """Who is right about every test row has seen them: here they are those that the network answers as it likes."""
    images = trained.data.held_out.inputs
    with torch.no_grad():
        agreeing = Split(images, trained.network(images).argmax(dim=1))
    with pytest.raises(GateError, match="the test accuracy is 1, and 1 is already too good"):
        VERSION_1.gate(dataclasses.replace(trained, data=dataclasses.replace(trained.data, test=agreeing)))


def test_every_plot_can_be_drawn(trained: Trained) -> None:
    """What it takes for what, what it gets wrong, what its first layer looks for."""
    figures = VERSION_1.plots(trained)
    assert set(figures) == {"confusion_matrix", "wrong_answers", "learned_filters"}
    wrong = round(VERSION_1.gate(trained).metrics["test_errors"])
    assert len(figures["wrong_answers"].axes) == min(wrong, 10)
    (image,) = figures["learned_filters"].axes[0].images
    drawn = image.get_array()
    assert drawn is not None
    assert np.ma.count(drawn) == 32 * 25


def test_a_network_without_errors_can_be_drawn(trained: Trained) -> None:
    """Nothing to show is no fault."""
    images = trained.data.train.inputs[:20]
    with torch.no_grad():
        agreeing = Split(images, trained.network(images).argmax(dim=1))
    figures = VERSION_1.plots(dataclasses.replace(trained, data=Data(agreeing)))
    assert not figures["wrong_answers"].axes


def test_the_graph_takes_raw_pixels() -> None:
    """After a moment of training, the exported graph scales 0…16 itself and answers with probabilities."""
    whole = VERSION_1.data()
    task = dataclasses.replace(
        ungated(VERSION_1), data=lambda: Data(*(Split(*(rows[:200] for rows in part)) for part in parts(whole)))
    )
    produced = produce(task)
    images = whole.train.inputs[:30]
    assert (images.min().item(), images.max().item()) == (0, 16)
    session = onnxruntime.InferenceSession(produced.files[ONNX_FILE], providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probability"], {"image": images.numpy()})
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(30), abs=1e-5)
    with torch.no_grad():
        layers: Tensor = produced.trained.network.layers(images[:, None] / 16)  # type: ignore[operator] # a module
    assert np.allclose(probabilities, layers.numpy(), atol=1e-5)


def test_images_are_bent_only_while_it_trains() -> None:
    """A network that serves answers the same image always the same way."""
    network, images = DigitNetwork(8, 16), VERSION_1.data().train.inputs[:5]
    network.layers = nn.Sequential(nn.Flatten())
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), images.flatten(1) / 16)


def test_mnist_files_train_the_same_network(mnist: Path) -> None:
    """The task reads the four files and makes a model for 28 by 28 pixels of them."""
    produced = produce(ungated(from_mnist(mnist), dataclasses.replace(MOMENT, epochs=2)))
    train_part, validation, test = parts(produced.trained.data)
    assert (train_part.inputs.shape, len(validation.targets), len(test.targets)) == ((360, 28, 28), 40, 50)
    assert train_part.inputs.max() == 255
    assert torch.bincount(validation.targets).tolist() == [4] * 10
    assert produced.manifest.name == "digits"
    assert produced.manifest.inputs[0].shape == (-1, 28, 28)
    assert produced.trained.history.train[-1] < produced.trained.history.train[0]


def test_mnist_is_held_to_the_same_gate(mnist: Path) -> None:
    """A network that has not learned is refused on MNIST's test files too."""
    task = from_mnist(mnist)
    untrained = train(dataclasses.replace(task, recipe=dataclasses.replace(MOMENT, learning_rate=0.0)))
    with pytest.raises(GateError, match=r"not 0\.985"):
        task.gate(untrained)


def test_a_damaged_file_is_named_with_its_offset(mnist: Path) -> None:
    """A file that was cut short is refused before anything is trained."""
    path = mnist / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte is cut off at offset 1000"):
        produce(from_mnist(mnist))


def test_too_few_images_of_a_digit_are_refused(mnist: Path) -> None:
    """A digit with a single image cannot be in two parts."""
    digits = [*[0] * 200, 9, *[1] * 199]
    (mnist / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 1, 144, *digits]))
    with pytest.raises(DataError, match="has a single training image of a 9, which cannot be in two parts"):
        from_mnist(mnist).data()


def test_too_few_images_are_refused(few_of_mnist: Path) -> None:
    """A tenth of them has to hold every digit."""
    with pytest.raises(DataError, match=r"has 45 training images, .* too few to hold each of 10 digits"):
        from_mnist(few_of_mnist).data()
