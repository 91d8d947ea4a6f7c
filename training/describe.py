"""What a manifest says about a finished training."""

import importlib.metadata
import platform
from dataclasses import asdict

import torch
from torch import Tensor

from service.manifest import Environment, ModelManifest, Parity, TensorSpec, Training
from training.loop import THREADS
from training.task import Figures, Task, Trained

LIBRARIES = ("torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "scikit-learn", "numpy")


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
            recipe={"loss": type(task.loss).__name__, **asdict(task.recipe)},
            seed=task.seed,
            metrics=figures.metrics,
            baseline=figures.baseline,
            gate=task.condition,
            environment=environment(),
        ),
        parity=parity,
    )


def with_ranges(spec: TensorSpec, rows: Tensor) -> TensorSpec:
    """Add to each feature of `spec` the range of its column in `rows`, (rows, features)."""
    if spec.features is None:
        return spec
    ranges = zip(spec.features, rows.amin(dim=0).tolist(), rows.amax(dim=0).tolist(), strict=True)
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
