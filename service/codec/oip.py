"""Open Inference Protocol, version 2: the bytes of an infer request and of its reply, JSON and binary tensors."""

import functools
import math
from collections.abc import Container, Sequence
from itertools import islice
from typing import Annotated, Any, NamedTuple

import msgspec

from service.codec import tensors
from service.codec.body import nested_lists, read, read_anything
from service.codec.tensors import Array, Inputs
from service.errors import (
    MAX_FAULTS,
    BinaryError,
    DatatypeError,
    ElementError,
    RequestError,
    ShapeError,
    TensorError,
    UnsupportedError,
    merge,
)
from service.manifest import VARIABLE, ModelManifest, TensorSpec

_REFUSED_PARAMETERS = ("shared_memory_region", "classification")
"""Parameters that change what a tensor means and that are not offered; any other unknown one is ignored."""


class _Input(msgspec.Struct):
    name: str
    shape: list[Annotated[int, msgspec.Meta(le=2**63 - 1)]]
    datatype: str
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] | None = None


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[_Output] | None = None


_REQUESTS = msgspec.json.Decoder(_Request, float_hook=float)


class Wanted(NamedTuple):
    """One output that the reply shall hold: its place in the manifest, and whether as raw bytes."""

    place: int
    binary: bool


class InferRequest(NamedTuple):
    """A valid request: the arrays for the model, and what the reply shall look like."""

    inputs: Inputs
    wanted: tuple[Wanted, ...]
    id: str | None = None


class InferReply(NamedTuple):
    """A reply's body; `json_length` is the length of its JSON part where raw tensors follow, else None."""

    body: bytes
    json_length: int | None


class InferCodec:
    """Reads infer requests of at most `max_rows` rows for one model and writes their replies."""

    def __init__(self, manifest: ModelManifest, max_rows: int) -> None:
        self._manifest = manifest
        self._max_rows = max_rows
        self._inputs = {spec.name: spec for spec in manifest.inputs}
        self._outputs = {spec.name: index for index, spec in enumerate(manifest.outputs)}

    def decode(self, body: bytes, json_length: int | None = None) -> InferRequest:
        """The request in `body`, whose first `json_length` bytes (all, where None) are JSON.

        Raises a `RequestError` with every fault of the tensors; after it nothing needs to be checked again.
        """
        blobs = _Blobs(memoryview(body), json_length)
        request = read(_REQUESTS, blobs.json)
        found: list[RequestError] = []
        arrays = self._read_inputs(request.inputs, blobs, found)
        wanted = self._read_outputs(request, found)
        if not found:
            found.extend(blobs.left_over())
        if not found:
            found.extend(_unequal_batches(request.inputs))
        if found:
            raise merge(found)
        ordered = tuple(arrays[spec.name] for spec in self._manifest.inputs)
        return InferRequest(Inputs(ordered, len(ordered[0])), wanted, request.id)

    def encode(self, request: InferRequest, outputs: Sequence[Array]) -> InferReply:
        """The reply to `request` with the model's `outputs`, which stand in the manifest's order."""
        described: list[dict[str, Any]] = []
        blobs: list[bytes] = []
        for place, binary in request.wanted:
            spec, array = self._manifest.outputs[place], outputs[place]
            tensor: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": array.shape}
            if binary:
                blobs.append(tensors.to_bytes(array))
                tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
            else:
                tensor["data"] = array.reshape(-1).tolist()
            described.append(tensor)
        reply = {"model_name": self._manifest.name, "model_version": str(self._manifest.version)}
        if request.id is not None:
            reply["id"] = request.id
        text = msgspec.json.encode(reply | {"outputs": described})
        return InferReply(b"".join([text, *blobs]), len(text) if blobs else None)

    def _read_inputs(self, inputs: Sequence[_Input], blobs: "_Blobs", found: list[RequestError]) -> dict[str, Array]:
        arrays: dict[str, Array] = {}
        for position, given in enumerate(inputs):
            pointer = f"/inputs/{position}"
            # Taken whatever else is wrong, so that the next input finds its own bytes.
            size = (given.parameters or {}).get("binary_data_size")
            blob = blobs.take(size)
            try:
                spec = self._spec(given.name, arrays, f"{pointer}/name")
                arrays[given.name] = self._read_input(spec, given, size, blob, pointer)
            except RequestError as error:
                found.append(error)
                if len(found) == MAX_FAULTS:
                    break
        missing = [] if found else [name for name in self._inputs if name not in arrays]
        found.extend(
            TensorError.at("/inputs", expected=f"a list with the input {name!r}", got="without it") for name in missing
        )
        return arrays

    def _read_input(
        self,
        spec: TensorSpec,
        given: _Input,
        size: Any,  # noqa: ANN401  # JSON
        blob: memoryview,
        pointer: str,
    ) -> Array:
        wrong = _refused(given.parameters, f"{pointer}/parameters")
        if given.datatype != spec.datatype:
            got = tensors.describe(given.datatype)
            wrong.append(DatatypeError.at(f"{pointer}/datatype", expected=spec.datatype, got=got))
        wrong += _wrong_dimensions(spec, given.shape, self._max_rows, f"{pointer}/shape")
        if (size is None) == (given.data is msgspec.UNSET):
            expected = "an input with either data or parameters.binary_data_size"
            wrong.append(
                TensorError.at(pointer, expected=expected, got="with neither" if size is None else "with both")
            )
        if wrong:
            raise merge(wrong)
        shape = tuple(given.shape)
        if isinstance(given.data, msgspec.Raw):
            return _read_data(spec, given.data, shape, f"{pointer}/data")
        place = f"{pointer}/parameters/binary_data_size"
        needed = math.prod(shape) * tensors.DTYPES[spec.datatype].itemsize
        if type(size) is not int or size != needed:
            hint = f"{math.prod(shape)} elements of {spec.datatype}"
            raise BinaryError.at(place, expected=str(needed), got=tensors.describe(size), hint=hint)
        if len(blob) < needed:
            raise BinaryError.at(place, expected=f"{len(blob)} bytes or fewer, as are left", got=str(needed))
        array = tensors.from_bytes(spec, blob, shape)
        if array is None:
            numbers = "finite numbers" if spec.vocabulary is None else f"ids from 0 to {len(spec.vocabulary) - 1}"
            expected = "bytes 0 and 1" if spec.datatype == "BOOL" else numbers
            raise ElementError.at(pointer, expected=expected, got="a tensor with others")
        return array

    def _spec(self, name: str, known: Container[str], pointer: str) -> TensorSpec:
        """The input of this name, which is not among those `known` already."""
        spec = self._inputs.get(name)
        if spec is None:
            expected = f"one of {', '.join(self._inputs)}"
            raise TensorError.at(pointer, expected=expected, got=tensors.describe(name))
        if name in known:
            raise TensorError.at(pointer, expected="named once", got=f"{tensors.describe(name)} again")
        return spec

    def _read_outputs(self, request: _Request, found: list[RequestError]) -> tuple[Wanted, ...]:
        binary = _flag(request.parameters, "binary_data_output", default=False)
        if not request.outputs:
            return tuple(Wanted(index, binary) for index in range(len(self._manifest.outputs)))
        wanted: dict[int, Wanted] = {}
        for position, output in enumerate(request.outputs):
            index = self._outputs.get(output.name)
            if index is None or index in wanted:
                names = ", ".join(self._outputs)
                expected = "named once" if index in wanted else f"one of {names}"
                found.append(
                    TensorError.at(f"/outputs/{position}/name", expected=expected, got=tensors.describe(output.name))
                )
                continue
            found.extend(_refused(output.parameters, f"/outputs/{position}/parameters"))
            wanted[index] = Wanted(index, _flag(output.parameters, "binary_data", default=binary))
        return tuple(wanted.values())


class _Blobs:
    """The raw tensors behind a body's JSON, handed out in order."""

    def __init__(self, body: memoryview, json_length: int | None) -> None:
        if json_length is not None and not 0 <= json_length <= len(body):
            raise BinaryError.at(
                "",
                expected=f"as long as its header Inference-Header-Content-Length says, at least {json_length} bytes",
                got=f"{len(body)} bytes",
            )
        if json_length == 0:
            raise UnsupportedError.at(
                "", expected="described by a JSON part", got="one raw tensor alone", hint="this is not offered"
            )
        end = len(body) if json_length is None else json_length
        self.json = body[:end]
        self._rest = body[end:]

    def take(self, size: Any) -> memoryview:  # noqa: ANN401  # JSON
        """The next `size` bytes, or those that are left; none where `size` is no size."""
        count = max(size, 0) if type(size) is int else 0
        blob, self._rest = self._rest[:count], self._rest[count:]
        return blob

    def left_over(self) -> list[RequestError]:
        """The fault that bytes are left which no input claims, if any are."""
        if not self._rest:
            return []
        expected = "used up by the inputs' binary_data_size"
        return [BinaryError.at("", expected=expected, got=f"{len(self._rest)} bytes longer")]


def _read_data(spec: TensorSpec, text: msgspec.Raw, shape: tuple[int, ...], pointer: str) -> Array:
    """The tensor that stands as JSON, flat or nested."""
    layout = shape if _depth(text) > 1 else (math.prod(shape),)
    try:
        values = _data_decoder(tensors.element_type(spec.datatype), len(layout)).decode(text)
        array = tensors.from_lists(spec, values, layout)
    except msgspec.ValidationError:
        array = None
    if array is None:
        array = _second_look(spec, read_anything(text, pointer), layout, pointer)
    return array.reshape(shape)


def _second_look(spec: TensorSpec, values: Any, layout: tuple[int, ...], pointer: str) -> Array:  # noqa: ANN401  # JSON
    """The array of values that the fast way did not take, or the error with every fault that explains it."""
    found = list(islice(tensors.find_faults(spec, values, layout, pointer), MAX_FAULTS))
    array = tensors.from_lists(spec, tensors.with_integers(spec, values), layout) if not found else None
    if array is None:
        raise merge(found)
    return array


@functools.cache
def _data_decoder(element: type, depth: int) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(nested_lists(element, depth))


def _depth(text: msgspec.Raw) -> int:
    """How many lists open before the first element."""
    depth = 0
    for octet in memoryview(text):
        if octet == ord("["):
            depth += 1
        elif octet not in b" \t\r\n":
            break
    return depth


def _wrong_dimensions(spec: TensorSpec, shape: Sequence[int], max_rows: int, pointer: str) -> list[RequestError]:
    if len(shape) != len(spec.shape):
        expected = f"{len(spec.shape)} dimensions {list(spec.shape)}"
        return [ShapeError.at(pointer, expected=expected, got=f"{len(shape)} dimensions")]
    wrong: list[RequestError] = []
    for axis, (wanted, got) in enumerate(zip(spec.shape, shape, strict=True)):
        most = max_rows if axis == 0 else got
        if wanted == VARIABLE and not 1 <= got <= most:
            expected = f"1 to {max_rows}" if axis == 0 else "1 or more"
            wrong.append(ShapeError.at(f"{pointer}/{axis}", expected=expected, got=str(got)))
        elif wanted not in (VARIABLE, got):
            wrong.append(ShapeError.at(f"{pointer}/{axis}", expected=str(wanted), got=str(got)))
    return wrong


def _unequal_batches(inputs: Sequence[_Input]) -> list[RequestError]:
    rows = inputs[0].shape[0]
    return [
        ShapeError.at(
            f"/inputs/{position}/shape/0", expected=f"{rows}, as the first input has", got=str(given.shape[0])
        )
        for position, given in enumerate(inputs)
        if given.shape[0] != rows
    ]


def _refused(parameters: dict[str, Any] | None, pointer: str) -> list[RequestError]:
    return [
        UnsupportedError.at(f"{pointer}/{name}", expected="absent", got="a parameter that is not offered")
        for name in _REFUSED_PARAMETERS
        if parameters and name in parameters
    ]


def _flag(parameters: dict[str, Any] | None, name: str, *, default: bool) -> bool:
    value = parameters.get(name) if parameters else None
    return default if value is None else value is True
