"""What a manifest says about a finished training."""

import importlib.metadata
import platform
from dataclasses import fields

import torch
from pydantic import JsonValue
from torch import Tensor

from service.manifest import Environment, ModelManifest, Parity, TensorSpec, Training
from training.loop import THREADS
from training.task import Figures, Recipe, Task, Trained

LIBRARIES = (
    *("torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime"),
    *("numpy", "scipy", "scikit-learn"),
    *("matplotlib", "contourpy", "pillow"),
)
"""What computes the weights, the models' files, the figures of data and baselines, the plots."""


def describe(task: Task, trained: Trained, figures: Figures, parity: Parity) -> ModelManifest:
    """Build the version's manifest, complete but for its files."""
    return ModelManifest(
        schema=1,
        name=task.name,
        version=task.version,
        kind=task.kind,
        description=task.description,
        inputs=(with_ranges(task.input, trained.data.train.inputs),),
        outputs=(task.output,),
        training=Training(
            source=task.source,
            data=task.dataset,
            recipe={"loss": type(task.loss).__name__, **_chosen(task.recipe)},
            seed=trained.seed,
            metrics=figures.metrics,
            baseline=figures.baseline,
            gate=task.condition,
            environment=environment(),
        ),
        parity=parity,
    )


def _chosen(recipe: Recipe) -> dict[str, JsonValue]:
    """Take from a recipe what it says beyond the defaults."""
    return {
        field.name: getattr(recipe, field.name)
        for field in fields(recipe)
        if getattr(recipe, field.name) != field.default
    }


def with_ranges(spec: TensorSpec, rows: Tensor) -> TensorSpec:
    """Add to each feature of `spec` the range of its column in `rows`, whose last dimension the features are."""
    if spec.features is None:
        return spec
    columns = rows.flatten(0, -2).double()
    ranges = zip(spec.features, columns.amin(dim=0).tolist(), columns.amax(dim=0).tolist(), strict=True)
    features = tuple(
        feature.model_copy(update={"minimum": minimum, "maximum": maximum}) for feature, minimum, maximum in ranges
    )
    return spec.model_copy(update={"features": features})


def environment() -> Environment:
    """Look up what of this machine decides a training's bytes."""
    return Environment(
        python=platform.python_version(),
        libraries={library: importlib.metadata.version(library) for library in LIBRARIES},
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        threads=THREADS,
    )
