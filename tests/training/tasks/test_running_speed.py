"""Behaviour of training.tasks.running_speed."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from training.errors import GateError
from training.loop import reproducible
from training.pipeline import Produced, produce
from training.task import Data, Trained
from training.tasks.running_speed import (
    GRADIENT_TOLERANCE,
    VERSION_1,
    Gradients,
    HalfSquaredError,
    SpeedNetwork,
    autograd,
)

MAXIMA = torch.tensor([3.0, 9.0])


class Skewed(SpeedNetwork):
    """Computes one gradient a little wrong."""

    def gradients(self, inputs: Tensor, targets: Tensor) -> Gradients:
        """Be off by more than the tolerance in one of the weights."""
        hidden_weights, output_weights = super().gradients(inputs, targets)
        output_weights[0] += 10 * GRADIENT_TOLERANCE
        return Gradients(hidden_weights, output_weights)


@pytest.fixture(scope="module")
def produced() -> Produced:
    """Train the published version."""
    return produce(VERSION_1)


def _untrained() -> tuple[SpeedNetwork, Data]:
    with reproducible(VERSION_1.seed):
        data = VERSION_1.data()
        network = VERSION_1.network(data)
    assert isinstance(network, SpeedNetwork)
    return network, data


def _short(epochs: int, on_epoch: list[tuple[int, float]]) -> Trained:
    assert VERSION_1.fit is not None
    task = dataclasses.replace(VERSION_1, recipe=dataclasses.replace(VERSION_1.recipe, epochs=epochs))
    return VERSION_1.fit(task, lambda epoch, loss: on_epoch.append((epoch, loss)))


def _numbers(limit: float) -> st.SearchStrategy[float]:
    return st.floats(-limit, limit, allow_subnormal=False)


@st.composite
def _cases(draw: st.DrawFn) -> tuple[SpeedNetwork, Tensor, Tensor]:
    """Draw weights, rows and targets, all in double precision, so that rounding hides no mistake."""
    rows = draw(st.integers(1, 8))

    def drawn(height: int, width: int, limit: float) -> Tensor:
        values = draw(st.lists(_numbers(limit), min_size=height * width, max_size=height * width))
        return torch.tensor(values, dtype=torch.float64).reshape(height, width)

    network = SpeedNetwork(MAXIMA).double()
    network.hidden_weights = drawn(2, 3, 5)
    network.output_weights = drawn(3, 1, 5)
    return network, drawn(rows, 2, 20), drawn(rows, 1, 200)


def test_the_rows_are_the_tutorials() -> None:
    """Age and weight of three runners with their speeds; nothing is held out."""
    data = VERSION_1.data()
    assert data.train.inputs.tolist() == [[2, 9], [1, 5], [3, 6]]
    assert data.train.targets.tolist() == [[92], [100], [89]]
    assert data.test is None


@settings(deadline=None)
@given(_cases())
def test_hand_written_gradients_are_autograds(case: tuple[SpeedNetwork, Tensor, Tensor]) -> None:
    """Whatever the weights, the rows and how many there are."""
    network, inputs, targets = case
    for by_hand, by_autograd in zip(
        network.gradients(inputs, targets), autograd(network, inputs, targets), strict=True
    ):
        torch.testing.assert_close(by_hand, by_autograd, rtol=0, atol=GRADIENT_TOLERANCE)


def test_hand_written_gradients_are_the_slope_of_the_loss() -> None:
    """Autograd aside: moving a weight a little changes the loss by its gradient."""
    network, data = _untrained()
    network.double()
    inputs, targets = (column.double() for column in data.train)
    gradients, loss, step = network.gradients(inputs, targets), HalfSquaredError(), 1e-6
    for name, gradient in gradients._asdict().items():
        weights = getattr(network, name).view(-1)
        for place, expected in enumerate(gradient.flatten().tolist()):
            weights[place] += step
            above = loss(network(inputs), targets).item()
            weights[place] -= 2 * step
            below = loss(network(inputs), targets).item()
            weights[place] += step
            assert (above - below) / (2 * step) == pytest.approx(expected, abs=1e-8)


def test_the_graph_takes_raw_columns_and_gives_miles_per_hour(produced: Produced) -> None:
    """Age and weight are divided by the training columns' maxima, 3 and 9, and 1 stands for 100 mph."""
    network = produced.trained.network
    assert isinstance(network, SpeedNetwork)
    assert network.maxima.tolist() == [3, 9]
    row = torch.tensor([[4.0, 8.0]])
    hidden = torch.sigmoid(torch.tensor([[4 / 3, 8 / 9]]) @ network.hidden_weights)
    torch.testing.assert_close(network(row), 100 * torch.sigmoid(hidden @ network.output_weights))


def test_the_tutorials_slip_would_answer_otherwise(produced: Produced) -> None:
    """Divided by its own maximum the tutorial's query (4, 8) becomes (0.5, 1): a row of age 1.5 and weight 9."""
    network = produced.trained.network
    query = torch.tensor([[4.0, 8.0]])
    slip = query / query.max() * MAXIMA
    assert slip.tolist() == [[1.5, 9]]
    assert abs(network(query) - network(slip)).item() > 0.01


def test_its_weights_are_saved_although_nothing_trains_them() -> None:
    """They are buffers: in `state_dict`, and no parameters; and the network still has PyTorch's own modes."""
    network, _ = _untrained()
    assert set(network.state_dict()) == {"maxima", "hidden_weights", "output_weights"}
    assert not list(network.parameters())
    assert not network.eval().training
    assert network.train().training


def test_a_step_moves_each_weight_against_its_gradient() -> None:
    """By the gradient itself, as the step size is 1."""
    network, data = _untrained()
    gradients = network.gradients(*data.train)
    trained = _short(1, [])
    for name, gradient in gradients._asdict().items():
        torch.testing.assert_close(trained.network.get_buffer(name), network.get_buffer(name) - gradient)


def test_it_tells_each_epochs_loss_as_the_step_found_it() -> None:
    """The first is the untrained network's: half the summed squared error of the scaled speeds."""
    network, data = _untrained()
    told: list[tuple[int, float]] = []
    trained = _short(3, told)
    assert told == list(enumerate(trained.history.train, 1))
    errors = (network(data.train.inputs) - data.train.targets) / 100
    assert told[0][1] == pytest.approx((errors**2).sum().item() / 2)
    assert told[2][1] < told[0][1]


def test_the_published_recipe_passes_the_gate(produced: Produced) -> None:
    """A thousand steps, a small error, right gradients; and for honesty the error of the mean stands beside it."""
    metrics, baseline = produced.figures.metrics, produced.figures.baseline
    assert len(produced.trained.history.train) == 1000
    assert metrics["mean_squared_error"] <= baseline["allowed"] == 0.005
    assert metrics["gradient_difference"] <= GRADIENT_TOLERANCE
    # As the description says: no closer than always answering the mean.
    of_the_mean = metrics["mean_squared_error_of_the_mean"]
    assert of_the_mean == pytest.approx((0.0167**2 + 0.0633**2 + 0.0467**2) / 3, rel=1e-2)
    assert metrics["mean_squared_error"] >= of_the_mean


def test_an_untrained_network_fails_the_gate(produced: Produced) -> None:
    """Its error is far too large."""
    network, _ = _untrained()
    with pytest.raises(GateError, match=r"the mean squared error is 0\..* allowed is 0\.005"):
        VERSION_1.gate(dataclasses.replace(produced.trained, network=network))


def test_an_answer_that_is_no_number_fails_the_gate(produced: Produced) -> None:
    """Weights that ran away are refused."""
    network, _ = _untrained()
    network.output_weights = torch.full((3, 1), torch.nan)
    with pytest.raises(GateError, match="nan"):
        VERSION_1.gate(dataclasses.replace(produced.trained, network=network))


def test_a_wrong_gradient_fails_the_gate(produced: Produced) -> None:
    """However well the network answers."""
    skewed = Skewed(MAXIMA)
    skewed.load_state_dict(produced.trained.network.state_dict())
    with pytest.raises(GateError, match="a gradient differs from autograd's by 1e-05"):
        VERSION_1.gate(dataclasses.replace(produced.trained, network=skewed))


def test_a_network_without_gradients_is_no_network_for_the_gate(produced: Produced) -> None:
    """There is nothing to compare; the answers alone are not enough."""

    class Exact(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            return torch.tensor([[92.0], [100.0], [89.0]])

    with pytest.raises(TypeError, match="Exact"):
        VERSION_1.gate(dataclasses.replace(produced.trained, network=Exact()))


def test_it_draws_the_speeds_around_its_rows(produced: Produced) -> None:
    """One plane over age and weight, each row with the speed wanted and the speed answered."""
    (figure,) = VERSION_1.plots(produced.trained).values()
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("age", "weight")
    assert [text.get_text().split(",")[0] for text in axes.texts] == ["92 wanted", "100 wanted", "89 wanted"]


def test_the_same_training_gives_the_same_weights() -> None:
    """To the last bit."""
    one, other = _short(20, []), _short(20, [])
    for name, weights in one.network.state_dict().items():
        assert torch.equal(weights, other.network.state_dict()[name])
