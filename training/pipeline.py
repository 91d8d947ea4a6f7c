"""The way of one task from its data to a version that can be published."""

from dataclasses import dataclass
from functools import partial

from service.manifest import GOLDEN_FILE, ONNX_FILE, TORCHSCRIPT_FILE, ModelManifest, Parity
from training.card import card
from training.describe import describe
from training.draw import drawn
from training.export import export
from training.loop import reproducible, train
from training.task import Figures, OnEpoch, Task, Trained
from training.verify import golden, replay, verify


@dataclass(frozen=True)
class Produced:
    """A trained task with the files of its version; the manifest names them once they are published."""

    trained: Trained
    figures: Figures
    parity: Parity
    manifest: ModelManifest
    files: dict[str, bytes]


def produce(task: Task, on_epoch: OnEpoch = lambda _epoch, _loss: None) -> Produced:
    """Train a task, then export, verify and describe what it learned: the same task gives the same bytes.

    Raises `GateError`, `ExportError` or `ParityError` where the result is not fit to be published.
    """
    trained = (task.fit or train)(task, on_epoch)
    with reproducible(trained.seed):
        figures = task.gate(trained)
        rows = trained.data.held_out.inputs
        exported = export(trained.network, rows, task.input, task.output)
        examples = (
            partial(task.examples, trained.data)
            if task.examples
            else partial(drawn, task.input, trained.data.train.inputs)
        )
        parity = verify(trained.network, exported, task.input, task.output, examples)
        answers = golden(trained.network, task.input, task.output, rows)
        replay(exported.onnx, task.input, task.output, answers)
        manifest = describe(task, trained, figures, parity)
        page = card(task, trained, manifest)
    models = {ONNX_FILE: exported.onnx, TORCHSCRIPT_FILE: exported.torchscript, GOLDEN_FILE: answers.render()}
    return Produced(trained, figures, parity, manifest, {**models, **page})
