"""Open Inference Protocol, version 2: the bytes of an infer request and of its reply, JSON and binary tensors."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from service.codec import tensors
from service.codec.envelope import Envelope, Input, take_apart
from service.codec.infer_input import InputReader
from service.codec.infer_output import OutputReader, Wanted, largest_classes
from service.codec.tensors import Array, Inputs
from service.errors import (
    MAX_FAULTS,
    BinaryError,
    RequestError,
    ShapeError,
    TensorError,
    UnsupportedError,
    merge,
)
from service.manifest import ModelManifest

_MICROSECONDS = 1_000_000


class InferRequest(NamedTuple):
    """A valid request: the arrays for the model, and what the reply shall look like."""

    inputs: Inputs
    wanted: tuple[Wanted, ...]
    id: str | None = None
    timeout: float | None = None
    """Seconds that the client wants to wait at most."""


class InferReply(NamedTuple):
    """A reply's body; `json_length` is the length of its JSON part where raw tensors follow, else None."""

    body: bytes
    json_length: int | None


class InferCodec:
    """Reads infer requests of at most `max_rows` rows for one model and writes their replies."""

    def __init__(self, manifest: ModelManifest, max_rows: int) -> None:
        self._manifest = manifest
        self._in_rows = manifest.batching == "rows"
        most = max_rows if self._in_rows else None
        self._inputs = {spec.name: InputReader(spec, most) for spec in manifest.inputs}
        self._outputs = OutputReader(manifest)

    def decode(self, body: bytes, json_length: int | None = None) -> InferRequest:
        """The request in `body`, whose first `json_length` bytes (all, where None) are JSON.

        A length of 0 says that the body is one raw tensor. Raises a `RequestError` with every fault of the tensors;
        after it nothing needs to be checked again.
        """
        if json_length == 0:
            return self._decode_alone(body)
        envelope, blobs = take_apart(body, json_length)
        try:
            inputs = self._read_inputs(envelope, blobs)
            wanted = self._outputs.read(envelope)
        except RequestError as error:
            found = list(islice(self._find_faults(envelope, blobs), MAX_FAULTS))
            raise merge(found or [error]) from None
        timeout = envelope.parameters.timeout if envelope.parameters else None
        return InferRequest(inputs, wanted, envelope.id, timeout / _MICROSECONDS if timeout else None)

    def encode(self, request: InferRequest, outputs: Sequence[Array]) -> InferReply:
        """The reply to `request` with the model's `outputs`, which stand in the manifest's order."""
        described: list[dict[str, Any]] = []
        blobs: list[bytes] = []
        for place, binary, classes in request.wanted:
            spec, array = self._manifest.outputs[place], outputs[place]
            datatype = spec.datatype
            if classes is not None:
                datatype, array = "BYTES", largest_classes(spec, array, classes, rows=self._in_rows)
            tensor: dict[str, Any] = {"name": spec.name, "datatype": datatype, "shape": array.shape}
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

    def _decode_alone(self, body: bytes) -> InferRequest:
        """The request whose body is the one input's bytes, of which all outputs come back as bytes too."""
        if len(self._inputs) > 1:
            hint = f"the inputs are {', '.join(self._inputs)}"
            raise UnsupportedError.at("", expected="described by a JSON part", got="one raw tensor alone", hint=hint)
        (reader,) = self._inputs.values()
        array = reader.read_alone(body)
        return InferRequest(Inputs((array,), len(array) if self._in_rows else 1), self._outputs.every_raw())

    def _read_inputs(self, envelope: Envelope, blobs: memoryview) -> Inputs:
        """The inputs; raises the first fault that is met."""
        arrays: dict[str, Array] = {}
        taken = 0
        for position, given in enumerate(envelope.inputs):
            name, pointer = given.name, f"/inputs/{position}"
            if name not in self._inputs or name in arrays:
                raise self._misnamed(name, pointer)
            blob = blobs
            if given.parameters:
                end = taken + _blob_size(given)
                blob, taken = blobs[taken:end], end
            arrays[name] = self._inputs[name].read(given, blob, pointer)
        if len(arrays) < len(self._inputs):
            raise next(self._faults_between(envelope.inputs, 0))
        ordered = tuple([arrays[name] for name in self._inputs])
        rows = len(ordered[0]) if self._in_rows else 1
        uneven = self._in_rows and {len(array) for array in ordered} != {rows}
        if uneven or taken < len(blobs):
            raise next(self._faults_between(envelope.inputs, len(blobs) - taken))
        return Inputs(ordered, rows)

    def _find_faults(self, envelope: Envelope, blobs: memoryview) -> Iterator[RequestError]:
        """Every fault of the tensors, those between inputs only where each input is sound."""
        seen: set[str] = set()
        sound = True
        taken = 0
        for position, given in enumerate(envelope.inputs):
            pointer = f"/inputs/{position}"
            # Taken whatever else is wrong, so that the next input finds its own bytes.
            end = taken + _blob_size(given)
            try:
                if given.name not in self._inputs or given.name in seen:
                    raise self._misnamed(given.name, pointer)
                self._inputs[given.name].read(given, blobs[taken:end], pointer)
            except RequestError as error:
                sound = False
                yield error
            seen.add(given.name)
            taken = end
        if sound:
            yield from self._faults_between(envelope.inputs, len(blobs) - taken)
        yield from self._outputs.find_faults(envelope)

    def _misnamed(self, name: str, pointer: str) -> RequestError:
        """The fault of an input that the model does not have, or that came before."""
        expected = "named once" if name in self._inputs else f"one of {', '.join(self._inputs)}"
        got = f"{tensors.describe(name)}{' again' if name in self._inputs else ''}"
        return TensorError.at(f"{pointer}/name", expected=expected, got=got)

    def _faults_between(self, inputs: Sequence[Input], left_over: int) -> Iterator[RequestError]:
        """Every fault of sound inputs against each other and against the body."""
        if len(inputs) < len(self._inputs):
            names = {given.name for given in inputs}
            for name in self._inputs:
                if name not in names:
                    yield TensorError.at("/inputs", expected=f"a list with the input {name!r}", got="without it")
            return
        if left_over:
            expected = "used up by the inputs' binary_data_size"
            yield BinaryError.at("", expected=expected, got=f"{left_over} bytes longer")
        if not self._in_rows:
            return
        rows = inputs[0].shape[0]
        for position, given in enumerate(inputs):
            if given.shape[0] != rows:
                place, got = f"/inputs/{position}/shape/0", str(given.shape[0])
                yield ShapeError.at(place, expected=f"{rows}, as the first input has", got=got)


def _blob_size(given: Input) -> int:
    """How many of the raw bytes an input claims."""
    return max((given.parameters.binary_data_size if given.parameters else None) or 0, 0)
