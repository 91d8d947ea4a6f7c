"""Behaviour of training.tasks."""

import dataclasses

import pytest
import torch

from service.manifest import VARIABLE, TensorSpec
from training.pipeline import produce
from training.task import Data, Figures, Split, Task
from training.tasks import TASKS

EVERY_TASK = [pytest.param(task, id=task.title) for versions in TASKS.values() for task in versions]


@pytest.mark.parametrize("name", TASKS)
def test_a_name_leads_to_its_versions_in_order(name: str) -> None:
    """Each task stands under its own name, version 1 first, with none left out."""
    assert [(task.name, task.version) for task in TASKS[name]] == [
        (name, version) for version in range(1, len(TASKS[name]) + 1)
    ]


def fits(rows: torch.Tensor, spec: TensorSpec) -> bool:
    """Whether rows have the announced shape, in which a variable length may be any."""
    return len(rows.shape) == len(spec.shape) and all(
        announced in (VARIABLE, length) for length, announced in zip(rows.shape, spec.shape, strict=True)
    )


@pytest.mark.parametrize("task", EVERY_TASK)
def test_a_network_takes_and_gives_the_announced_rows(task: Task) -> None:
    """Data, fresh network and tensor specifications agree on the shape of a row."""
    data = task.data()
    rows = data.held_out.inputs[:3]
    with torch.no_grad():
        outputs = task.network(data).eval()(rows)
    assert fits(rows, task.input)
    assert fits(outputs, task.output)
    assert len(outputs) == len(rows)


@pytest.mark.parametrize("task", EVERY_TASK)
def test_every_input_explains_itself(task: Task) -> None:
    """A caller can learn the meaning of each column from the manifest, or of all that have no names."""
    assert task.input.features or task.input.description
    assert all(feature.description for feature in task.input.features or ())


def a_part(data: Data, rows: int = 40) -> Data:
    """The first rows of each part of the data."""

    def first(split: Split | None) -> Split | None:
        return None if split is None else Split(split.inputs[:rows], split.targets[:rows])

    return Data(Split(data.train.inputs[:rows], data.train.targets[:rows]), first(data.validation), first(data.test))


@pytest.mark.parametrize("task", EVERY_TASK)
def test_every_task_goes_its_whole_way_in_a_moment(task: Task) -> None:
    """One epoch on a part of the data, without gate and plots: a task that is broken is found in seconds."""
    momentary = dataclasses.replace(
        task,
        # A task that trains itself knows its own data.
        data=task.data if task.fit is not None else lambda: a_part(task.data()),
        recipe=dataclasses.replace(task.recipe, epochs=1, starts=1),
        gate=lambda _: Figures({"none": 0.0}, {"none": 0.0}),
        plots=lambda _: {},
    )
    produced = produce(momentary)
    assert (produced.manifest.name, produced.manifest.version) == (task.name, task.version)
    assert {"model.onnx", "model.pt", "golden.json", "README.md"} <= set(produced.files)
