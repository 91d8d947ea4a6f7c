"""The contract of a model's folder: what its manifest.json and golden.json say, as checked values.

A version lies in `<models>/<name>/<version>/` with model.onnx, model.pt, manifest.json and golden.json.
The manifest names every other file with its checksum, so that whoever trusts the manifest can check the rest.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)

from service.errors import ManifestError

MANIFEST_FILE = "manifest.json"
GOLDEN_FILE = "golden.json"
ONNX_FILE = "model.onnx"
TORCHSCRIPT_FILE = "model.pt"

GOLDEN_TOLERANCE = 1e-5
"""Largest allowed |a - b| / max(1, |b|) between two runtimes' answers to the same row."""

VARIABLE = -1
"""A dimension whose length each request chooses."""

NAME_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"
RESERVED_NAMES = {"stats"}
"""`/v2/models/stats` is the statistics of all models, so no model can have that name."""

Datatype = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BF16",
    "BYTES",
]
"""The element types of the Open Inference Protocol; the BYTES of an ONNX graph are text in UTF-8."""

Kind = Literal["regression", "binary_classification", "classification", "next_word", "tensors"]
"""What the numbers mean. A `next_word` model takes a context of word ids, (rows, length), and gives the probability
of each word of its vocabulary to come next; `tensors` is a graph of which nothing more is known."""

Batching = Literal["rows", "none"]
"""Whether a run takes several requests. With `rows` the first dimension of every tensor counts rows, as many as a run
likes; with `none` a request is a run of its own, whose tensors have the shapes of the graph."""


def _not_zero(length: int) -> int:
    if length == 0:
        raise ValueError("a dimension of length 0 holds nothing")
    return length


ModelName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Key = Annotated[str, StringConstraints(pattern=r'^[^"\\\x00-\x1f]+$')]
"""A name that JSON writes without escapes."""
Dimension = Annotated[int, Field(ge=VARIABLE), AfterValidator(_not_zero)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Document(_Frozen):
    """A value that is a file."""

    indent: ClassVar[int | None] = None

    @classmethod
    def parse(cls, content: bytes, where: str) -> Self:
        """The value in `content`; `where` names the file in the `ManifestError` that a fault raises."""
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = "/".join(str(part) for part in first["loc"])
            raise ManifestError(f"{where}: {place + ': ' if place else ''}{first['msg']}") from None

    def render(self) -> bytes:
        """The file's bytes: equal values give equal ones."""
        return self.model_dump_json(indent=self.indent, by_alias=True, exclude_none=True).encode() + b"\n"


class Feature(_Frozen):
    """One column of an input: its name, unit and meaning, and the range that training saw."""

    name: Key
    unit: str | None = None
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None


class TensorSpec(_Frozen):
    """One input or output. -1 in `shape` is a length that each request chooses.

    The first dimension is the batch, except in a model of which `batching` says that it has none.
    """

    name: Key
    datatype: Datatype
    shape: tuple[Dimension, ...]
    description: str = ""
    features: tuple[Feature, ...] | None = None
    """Names of the last dimension's columns, in order."""
    labels: tuple[Text, ...] | None = None
    """Names of the classes, one a column of a table's; two for a single probability (of the second)."""
    vocabulary: tuple[Text, ...] | None = None
    """The words whose ids, which are their places here, the tensor holds; the first stands for all others."""
    allow_non_finite: bool = False
    """Whether NaN and the infinities are values of this tensor when they come in."""

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row: all dimensions but the batch."""
        return self.shape[1:]

    @model_validator(mode="after")
    def _names_fit_the_shape(self) -> Self:
        width = self.shape[-1] if len(self.shape) > 1 else None
        if self.features is not None:
            if len(self.features) != width:
                raise ValueError(f"{self.name}: {len(self.features)} features for shape {list(self.shape)}")
            _refuse_twins([feature.name for feature in self.features], f"{self.name}: feature")
        if self.labels is not None:
            if len(self.shape) != 2 or len(self.labels) != (2 if width == 1 else width):  # noqa: PLR2004  # a table
                raise ValueError(f"{self.name}: {len(self.labels)} labels for shape {list(self.shape)}")
            _refuse_twins(list(self.labels), f"{self.name}: label")
        if self.vocabulary is not None and len(set(self.vocabulary)) != len(self.vocabulary):
            raise ValueError(f"{self.name}: a word of the vocabulary is there twice")
        return self


class FileEntry(_Frozen):
    """What a file of the version must be."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class Environment(_Frozen):
    """What decides a training's bytes beside recipe and seed: the same environment trains the same bytes."""

    python: str
    libraries: dict[str, str]
    cpu_capability: str
    threads: PositiveInt


class Training(_Frozen):
    """Where the weights come from."""

    source: str
    data: str
    recipe: dict[str, JsonValue]
    seed: int
    metrics: dict[str, float]
    """Figures of the finished network by name, such as `test_accuracy`."""
    baseline: dict[str, float]
    """The same kind of figure for what the network must beat, by the baseline's name."""
    gate: str
    """The condition, in words, that these figures met before the version was published."""
    environment: Environment


class Parity(_Frozen):
    """Largest absolute difference of each runtime's answers from eager PyTorch's, over all `batch_sizes`."""

    batch_sizes: tuple[PositiveInt, ...]
    torchscript: float
    onnxruntime: float


class ModelManifest(_Document):
    """One version of one model: its name, its tensors, its files and its origin."""

    indent = 2

    # `schema` would hide a method of pydantic's.
    schema_version: Literal[1] = Field(1, alias="schema")
    name: ModelName
    version: PositiveInt
    kind: Kind
    batching: Batching = "rows"
    max_batch: PositiveInt | None = None
    """Most rows of one run, for a graph that takes no more; None leaves it to the server."""
    description: str = ""
    inputs: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    outputs: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    files: dict[FileName, FileEntry] = Field(default_factory=dict)
    training: Training | None = None
    parity: Parity | None = None

    @cached_property
    def output_columns(self) -> tuple[tuple[TensorSpec, str | None], ...]:
        """Each output with the key under which its label stands in a row's answer, if it has labels.

        The key is `label` where one output is labelled, `<output>_label` where several are.
        """
        several = sum(output.labels is not None for output in self.outputs) > 1
        return tuple(
            (output, None if output.labels is None else f"{output.name}_label" if several else "label")
            for output in self.outputs
        )

    @model_validator(mode="after")
    def _names_are_unambiguous(self) -> Self:
        if self.name in RESERVED_NAMES:
            raise ValueError(f"{self.name} is a path of the protocol and cannot name a model")
        if self.batching == "rows":
            _refuse_other_batches([*self.inputs, *self.outputs])
        _refuse_twins([tensor.name for tensor in self.inputs], "input")
        if self.kind == "next_word":
            _refuse_other_words(self.inputs, self.outputs)
        keys = [key for output, label in self.output_columns for key in (output.name, label) if key is not None]
        _refuse_twins(keys, "output")
        return self


class Golden(_Document):
    """Rows with known answers, by tensor name and as nested lists: replayed before a model is called ready."""

    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]


def is_model_name(text: str) -> bool:
    """Whether a model can be called this."""
    return re.fullmatch(NAME_PATTERN, text) is not None and text not in RESERVED_NAMES


def _refuse_twins(names: Sequence[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} is named twice")


def _refuse_other_batches(specs: Sequence[TensorSpec]) -> None:
    for spec in specs:
        if not spec.shape or spec.shape[0] != VARIABLE:
            raise ValueError(f"{spec.name}: shape {list(spec.shape)} has no variable first dimension to batch in")


def _refuse_other_words(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """What takes words must have one input of ids and one output with a probability for each word."""
    words = inputs[0].vocabulary or ()
    takes = [(spec.datatype, spec.shape) for spec in inputs]
    gives = [(spec.datatype, spec.shape) for spec in outputs]
    if not words or takes != [("INT64", (VARIABLE, VARIABLE))] or gives != [("FP32", (VARIABLE, len(words)))]:
        raise ValueError("a next_word model takes one INT64 [-1, -1] with a vocabulary and gives one FP32 [-1, words]")
