"""Behaviour of training.tasks.diabetes_progression."""

import dataclasses

import pytest
import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

from training.errors import GateError
from training.loop import reproducible, train
from training.pipeline import Produced, produce
from training.task import Data, Split
from training.tasks import ten_features
from training.tasks.diabetes_progression import MARGIN, VERSION_1, Rescale, Standardise


class Remembering(nn.Module):
    """Answers each row it knows with its target, off by `error`."""

    def __init__(self, rows: Split, error: float) -> None:
        super().__init__()
        self.rows, self.error = rows, error

    def forward(self, measured: Tensor) -> Tensor:
        """Look each row up."""
        known = {tuple(row): target for row, target in zip(*(part.tolist() for part in self.rows), strict=True)}
        return torch.tensor([known[tuple(row)] for row in measured.tolist()]) + self.error


@pytest.fixture(scope="module")
def produced() -> Produced:
    """Train the published version."""
    return produce(VERSION_1)


def _parts(data: Data) -> tuple[Split, Split, Split]:
    assert data.validation is not None
    assert data.test is not None
    return data.train, data.validation, data.test


def test_every_patient_is_in_one_part() -> None:
    """264 train, 89 are watched, 89 held out: all 442 rows of the source, each once."""
    parts = _parts(VERSION_1.data())
    assert [len(part.inputs) for part in parts] == [264, 89, 89]
    rows = sorted(map(tuple, torch.cat([torch.cat(part, dim=1) for part in parts]).tolist()))
    measured, progressions = load_diabetes(return_X_y=True, scaled=False)
    source = torch.cat([torch.as_tensor(measured), torch.as_tensor(progressions)[:, None]], dim=1).float()
    assert rows == sorted(map(tuple, source.tolist()))


def test_features_keep_their_units() -> None:
    """Ages are years and not deviations; the ratio is the ratio of the two columns it is named after."""
    inputs = torch.cat([part.inputs for part in _parts(VERSION_1.data())])
    names = [feature.name for feature in VERSION_1.input.features or ()]
    assert names == load_diabetes().feature_names
    columns = dict(zip(names, inputs.T, strict=True))
    assert (columns["age"].min(), columns["age"].max()) == (19, 79)
    assert set(columns["sex"].tolist()) == {1, 2}
    ratio = columns["s1"] / columns["s3"]
    # Most of its rows are rounded to whole numbers.
    assert (columns["s4"] - ratio).abs().quantile(0.95) < 0.6


def test_the_scaling_is_part_of_the_network_and_knows_training_rows_only() -> None:
    """Its buffers are the training columns' means and deviations; raw rows go in, the target's own unit comes out."""
    data = VERSION_1.data()
    network = VERSION_1.network(data)
    assert isinstance(network, nn.Sequential)
    first, last = network[0], network[-1]
    assert isinstance(first, Standardise)
    assert isinstance(last, Rescale)
    assert torch.equal(first.mean, data.train.inputs.mean(dim=0))
    assert torch.equal(last.mean, data.train.targets.mean(dim=0))
    standardised = first(data.train.inputs)
    torch.testing.assert_close(standardised.mean(dim=0), torch.zeros(10), rtol=0, atol=1e-5)
    torch.testing.assert_close(standardised.std(dim=0), torch.ones(10))
    # Over training rows the answers of even a fresh network are about as large as the targets.
    with torch.no_grad():
        assert 50 < network(data.train.inputs).mean() < 250


def test_rescaling_undoes_standardising() -> None:
    """Back and forth leads to where it began."""
    rows = VERSION_1.data().train.inputs
    torch.testing.assert_close(Rescale(rows)(Standardise(rows)(rows)), rows)


def test_it_is_the_network_of_ten_features() -> None:
    """Between the scalings lie the same layers."""
    network = VERSION_1.network(VERSION_1.data())
    other = ten_features.VERSION_1.network(ten_features.VERSION_1.data())
    assert [str(layer) for layer in list(network.children())[1:-1]] == [str(layer) for layer in other.children()]


def test_the_published_recipe_passes_the_gate(produced: Produced) -> None:
    """On rows it has not seen it explains about as much as ridge regression, and not all."""
    r2, ridge = produced.figures.metrics["test_r2"], produced.figures.baseline["ridge_regression"]
    assert ridge - MARGIN <= r2 < 0.9
    assert 0.4 < ridge < 0.6


def test_it_stopped_and_went_back_to_its_best_epoch(produced: Produced) -> None:
    """The weights are those with the smallest validation loss."""
    trained = produced.trained
    _, watched, _ = _parts(trained.data)
    with torch.no_grad():
        loss = VERSION_1.loss(trained.network(watched.inputs), watched.targets).item()
    assert loss == min(trained.history.validation)


def test_an_untrained_network_fails_the_gate(produced: Produced) -> None:
    """Random weights explain less than ridge regression does, which stands in the refusal."""
    with reproducible(VERSION_1.seed):
        network = VERSION_1.network(produced.trained.data)
    with pytest.raises(GateError, match=r"R² is -?0\.\d+ on the test rows; ridge regression gets 0\.4"):
        VERSION_1.gate(dataclasses.replace(produced.trained, network=network))


@pytest.mark.parametrize("error", [0.0, 1.0, 8.0])
def test_a_network_that_knows_the_test_rows_fails_the_gate(produced: Produced, error: float) -> None:
    """Nobody predicts real patients perfectly, or almost: off by 8 everywhere is an R² of 0.988."""
    knowing = Remembering(produced.trained.data.held_out, error)
    with pytest.raises(GateError, match=r"R² on the test rows is .*, and 0\.95 is already too good"):
        VERSION_1.gate(dataclasses.replace(produced.trained, network=knowing))


def test_an_answer_that_is_no_number_fails_the_gate(produced: Produced) -> None:
    """Weights that ran away are refused."""
    nowhere = Remembering(produced.trained.data.held_out, torch.nan)
    with pytest.raises(GateError, match="nan"):
        VERSION_1.gate(dataclasses.replace(produced.trained, network=nowhere))


def test_it_draws_its_answers_beside_ridge_regressions(produced: Produced) -> None:
    """Two panels of the same rows, each with its R²."""
    (figure,) = VERSION_1.plots(produced.trained).values()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    figures = produced.figures
    assert titles == [
        f"The network: R² {figures.metrics['test_r2']:.3f}",
        f"Ridge regression: R² {figures.baseline['ridge_regression']:.3f}",
    ]


def test_a_moment_of_training_gives_the_same_weights_twice() -> None:
    """To the last bit."""
    recipe = dataclasses.replace(VERSION_1.recipe, epochs=2, starts=2)
    one, other = (train(dataclasses.replace(VERSION_1, recipe=recipe)) for _ in range(2))
    for name, weights in one.network.state_dict().items():
        assert torch.equal(weights, other.network.state_dict()[name])
