"""The card of a version: a page for people, with its plots."""

import json
import math
import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from service.manifest import VARIABLE, Feature, ModelManifest, TensorSpec
from training import plots
from training.task import ALLOWED, Data, Task, Trained, best_place
from training.two_classes import THRESHOLD

CARD_FILE = "README.md"
ADDRESS = "127.0.0.1:8080"
NAMED = 8
"""Features up to which the example names each; more of them are given by their places."""
LIKELIEST = 3
"""Words that the example of a word model shows."""


def card(task: Task, trained: Trained, manifest: ModelManifest) -> dict[str, bytes]:
    """Write the card's files: `README.md` and the plots that it shows. Equal trainings give equal bytes."""
    figures = {"losses": plots.losses(trained.history, loss=_loss_name(task.loss)), **task.plots(trained)}
    pages = [
        _head(manifest),
        results(manifest),
        *(f"![{name.replace('_', ' ')}]({name}.png)" for name in figures if name != "losses"),
        "## How it was trained",
        _recipe(task, trained, manifest),
        "![training and validation loss](losses.png)",
        "## What goes in, what comes out",
        *_tensors(manifest),
        "## Ask it",
        *_example(trained, manifest),
        "## The network",
        _layers(trained.network, trained.data.held_out.inputs[:1]),
        "## The files",
        _parity(manifest),
    ]
    text = "\n\n".join(pages) + "\n"
    return {CARD_FILE: text.encode(), **{f"{name}.png": plots.png(figure) for name, figure in figures.items()}}


def _head(manifest: ModelManifest) -> str:
    return f"# {manifest.name}, version {manifest.version}\n\n{manifest.description}"


def results(manifest: ModelManifest) -> str:
    """The part of the card that says how good the version is; empty where the manifest does not say."""
    training = manifest.training
    if training is None:
        return ""
    rows = [(f"`{name}`", _number(value)) for name, value in training.metrics.items()]
    rows += [
        ("allowed, at most" if name == ALLOWED else f"to beat: `{name}`", _number(value))
        for name, value in training.baseline.items()
    ]
    table = _table(("figure", "value"), [tuple(f"**{cell}**" for cell in rows[0]), *rows[1:]])
    return f"## How good it is\n\n{table}\n\nThe gate it passed: {training.gate}"


def _recipe(task: Task, trained: Trained, manifest: ModelManifest) -> str:
    training = manifest.training
    if training is None:
        return ""
    rows = [("source", training.source), ("data", training.data), ("rows", _rows(trained.data))]
    rows += [(name.replace("_", " "), str(value)) for name, value in training.recipe.items()]
    rows.append(("seed", str(training.seed)))
    rows.append(("epochs it took", _course(task, trained)))
    environment = training.environment
    libraries = ", ".join(f"{name} {version}" for name, version in environment.libraries.items())
    machine = f"Python {environment.python} on {environment.cpu_capability}, threads: {environment.threads}"
    rows.append(("same bytes with", f"{machine}; {libraries}"))
    return _table(("", ""), rows)


def _rows(data: Data) -> str:
    parts = {"to learn from": data.train, "to watch": data.validation, "held out": data.test}
    counts = [f"{len(split.inputs):,} {purpose}" for purpose, split in parts.items() if split is not None]
    if data.test is not None and data.test is data.validation:
        counts = [*counts[:1], f"{len(data.test.inputs):,} held out, whose loss is also watched"]
    return "; ".join(counts)


def _course(task: Task, trained: Trained) -> str:
    history = trained.history
    course = f"{len(history.train)} of {task.recipe.epochs}"
    if task.recipe.patience is not None and history.validation:
        course += f"; the weights are those of epoch {1 + best_place(history.validation)}"
    if task.recipe.starts > 1:
        course += f"; start {1 + trained.seed - task.seed} of {task.recipe.starts} had the best validation loss"
    return course


def _tensors(manifest: ModelManifest) -> Iterable[str]:
    for purpose, specs in (("Input", manifest.inputs), ("Output", manifest.outputs)):
        for spec in specs:
            shape = ", ".join(["rows", *("any" if length == VARIABLE else str(length) for length in spec.row_shape)])
            yield f"{purpose} `{spec.name}`: {spec.datatype} [{shape}]. {spec.description}".rstrip()
            if spec.features is not None:
                header = ("feature", "unit", "least seen", "most seen", "meaning")
                yield _table(header, [_feature(feature) for feature in spec.features])
            if spec.labels is not None:
                yield "Classes: " + ", ".join(f"`{label}`" for label in spec.labels) + "."
            if spec.vocabulary is not None:
                yield f"It knows {len(spec.vocabulary) - 1:,} words; `{spec.vocabulary[0]}` stands for all others."


def _feature(feature: Feature) -> tuple[str, ...]:
    ranges = ("" if end is None else _number(end) for end in (feature.minimum, feature.maximum))
    return (f"`{feature.name}`", feature.unit or "", *ranges, feature.description)


def _example(trained: Trained, manifest: ModelManifest) -> Iterable[str]:
    """Show a request with a row the network has not learned from, in short numbers, and what it answers."""
    source, target = manifest.inputs[0], manifest.outputs[0]
    # Integers round to themselves.
    row = trained.data.held_out.inputs[:1].double().round(decimals=2).to(trained.data.held_out.inputs.dtype)
    with torch.no_grad():
        output = trained.network(row)[0]
    body = json.dumps({"instances": [_instance(source, row[0])]})
    path = f"{ADDRESS}/v1/models/{manifest.name}/versions/{manifest.version}:predict"
    yield (
        "A server answers for the latest version of a model; for it to answer for older ones too, start it with "
        "`FORWARDPASS_VERSIONS=all`."
    )
    yield f"```sh\ncurl -X POST {path} \\\n  -d '{body.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'\n```"
    yield f"It answers {_answer(source, target, output)}."


def _instance(source: TensorSpec, row: Tensor) -> object:
    if source.vocabulary is not None:
        return {"context": [source.vocabulary[index] for index in row.tolist()]}
    # Minus zero is zero to a reader.
    values = [round(value, 2) + 0 for value in row.flatten().tolist()]
    if source.features is not None and len(source.features) <= NAMED:
        return {feature.name: value for feature, value in zip(source.features, values, strict=True)}
    return _nested(values, row.shape)


def _nested(values: Sequence[object], shape: Sequence[int]) -> list[object]:
    if len(shape) == 1:
        return list(values)
    step = len(values) // shape[0]
    return [_nested(values[start : start + step], shape[1:]) for start in range(0, len(values), step)]


def _answer(source: TensorSpec, target: TensorSpec, output: Tensor) -> str:
    if source.vocabulary is not None:
        # Without the first: it stands for all other words.
        likeliest = 1 + output[1:].argsort(descending=True, stable=True)[:LIKELIEST]
        return "with " + ", ".join(f"“{source.vocabulary[i]}” ({_number(output[i].item())})" for i in likeliest)
    if target.labels is None:
        numbers = ", ".join(_number(value) for value in output.flatten().tolist())
        return f"with `{target.name}` {numbers}"
    if output.numel() == 1:
        probability = output.item()
        return f"`{target.labels[probability > THRESHOLD]}`, with `{target.name}` {_number(probability)}"
    best = int(output.argmax())
    return f"`{target.labels[best]}`, with `{target.name}` {_number(output[best].item())} for it"


def _layers(network: nn.Module, row: Tensor) -> str:
    """Tabulate the modules that compute, in the order in which they do."""
    shapes: dict[str, str] = {}
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: shapes.update({name: _shape(output)}))
        for name, module in network.named_modules()
        if _computes(module)
    ]
    with torch.no_grad():
        network(row)
    for hook in hooks:
        hook.remove()
    modules = dict(network.named_modules())
    rows, seen, parameters, buffers = [], set[int](), 0, 0
    for name, shape in shapes.items():
        module = modules[name]
        # A weight that two layers share is one weight.
        fresh = {id(weight): weight.numel() for weight in module.parameters(recurse=False) if id(weight) not in seen}
        seen |= fresh.keys()
        fixed = sum(buffer.numel() for buffer in module.buffers(recurse=False))
        rows.append((_kind(module), shape, f"{sum(fresh.values()):,}", f"{fixed:,}"))
        parameters += sum(fresh.values())
        buffers += fixed
    return _table(
        ("layer", "gives a row", "parameters", "buffers"), [*rows, ("in all", "", f"{parameters:,}", f"{buffers:,}")]
    )


def _computes(module: nn.Module) -> bool:
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return bool(own) or not list(module.children())


def _kind(module: nn.Module) -> str:
    return f"`{type(module).__name__}({module.extra_repr()})`"


def _shape(output: Tensor | tuple[Tensor, ...]) -> str:
    """The shape of a row; a recurrent layer's state, which follows its output, is not told."""
    tensor = output if isinstance(output, Tensor) else output[0]
    return str(list(tensor.shape[1:]))


def _parity(manifest: ModelManifest) -> str:
    if manifest.parity is None:
        return ""
    parity = manifest.parity
    sizes = ", ".join(str(size) for size in parity.batch_sizes)
    return (
        f"`model.onnx` and `model.pt` (TorchScript) answer as the network in PyTorch does: at batches of {sizes} rows "
        f"the largest differences are {parity.onnxruntime:.1e} and {parity.torchscript:.1e}. "
        "`golden.json` holds rows with known answers, `manifest.json` the checksum of every file."
    )


def _loss_name(loss: nn.Module) -> str:
    """`CrossEntropyLoss` as words: cross entropy loss."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", type(loss).__name__).split()
    return " ".join(word if word.isupper() else word.lower() for word in words)


def _number(value: float) -> str:
    """Four digits, and whole numbers whole."""
    return f"{value:,.0f}" if value == math.floor(value) and abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
