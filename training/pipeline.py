"""The way of one task from its data to a version that can be published."""

from dataclasses import dataclass

from service.manifest import GOLDEN_FILE, ONNX_FILE, TORCHSCRIPT_FILE, ModelManifest, Parity
from training.describe import describe
from training.export import export
from training.loop import OnEpoch, reproducible, train
from training.task import Figures, Task, Trained
from training.verify import golden, verify


@dataclass(frozen=True)
class Produced:
    """A trained task with the files of its version; the manifest names them once they are published."""

    trained: Trained
    figures: Figures
    parity: Parity
    manifest: ModelManifest
    files: dict[str, bytes]


def produce(task: Task, on_epoch: OnEpoch = lambda _epoch, _loss: None) -> Produced:
    """Train a task, then export and verify what it learned: the same task gives the same bytes.

    Raises `GateError` or `ParityError` where the result is not fit to be published.
    """
    trained = train(task, on_epoch)
    with reproducible(task.seed):
        figures = task.gate(trained)
        rows = trained.data.held_out.inputs
        exported = export(trained.network, rows, input_name=task.input.name, output_name=task.output.name)
        parity = verify(trained.network, exported, task.input, task.output, trained.data.train.inputs)
        answers = golden(trained.network, task.input, task.output, rows)
    return Produced(
        trained,
        figures,
        parity,
        describe(task, trained, figures, parity),
        {ONNX_FILE: exported.onnx, TORCHSCRIPT_FILE: exported.torchscript, GOLDEN_FILE: answers.render()},
    )
