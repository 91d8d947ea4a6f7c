"""Behaviour of training.tasks."""

import pytest
import torch

from service.manifest import VARIABLE, TensorSpec
from training.task import Task
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
