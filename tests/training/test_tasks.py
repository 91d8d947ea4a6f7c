"""Behaviour of training.tasks."""

import pytest
import torch

from training.task import Task
from training.tasks import TASKS

EVERY_TASK = [pytest.param(task, id=task.title) for versions in TASKS.values() for task in versions]


@pytest.mark.parametrize("name", TASKS)
def test_a_name_leads_to_its_versions_in_order(name: str) -> None:
    """Each task stands under its own name, version 1 first, with none left out."""
    assert [(task.name, task.version) for task in TASKS[name]] == [
        (name, version) for version in range(1, len(TASKS[name]) + 1)
    ]


@pytest.mark.parametrize("task", EVERY_TASK)
def test_a_network_takes_and_gives_the_announced_rows(task: Task) -> None:
    """Data, fresh network and tensor specifications agree on the shape of a row."""
    data = task.data()
    with torch.no_grad():
        outputs = task.network(data)(data.train.inputs)
    assert data.train.inputs.shape[1:] == task.input.row_shape
    assert outputs.shape == data.train.targets.shape
    assert outputs.shape[1:] == task.output.row_shape


@pytest.mark.parametrize("task", EVERY_TASK)
def test_every_feature_explains_itself(task: Task) -> None:
    """A caller can learn the meaning of each column from the manifest."""
    assert task.input.features
    assert all(feature.description for feature in task.input.features)
