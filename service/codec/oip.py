"""Open Inference Protocol, version 2: the bytes of an infer request and of its reply, JSON and binary tensors."""

from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from service.codec import tensors
from service.codec.envelope import Envelope, Input, take_apart
from service.codec.faults import describe
from service.codec.infer_input import InputReader
from service.codec.infer_output import OutputReader, Wanted, largest_classes
from service.codec.replies import MAX_REPLY, json_bytes, raw_bytes, too_large
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
_ENCODER = msgspec.json.Encoder()


class InferRequest(msgspec.Struct, frozen=True, gc=False):
    """A valid request: the arrays for the model, and what the reply shall look like."""

    inputs: Inputs
    wanted: tuple[Wanted, ...]
    id: str | None = None
    timeout: float | None = None
    """Seconds that the client wants to wait at most."""


class InferCodec:
    """Reads infer requests of at most `max_rows` rows for one model and writes their replies.

    A request whose reply would have more than about `max_reply` bytes is refused before it is computed, as far as
    the model says how large its outputs are.
    """

    def __init__(self, manifest: ModelManifest, max_rows: int, max_reply: int = MAX_REPLY) -> None:
        self._manifest = manifest
        self._in_rows = manifest.batching == "rows"
        most = max_rows if self._in_rows else None
        self._inputs = {spec.name: InputReader(spec, most) for spec in manifest.inputs}
        self._only = next(iter(self._inputs.values())) if self._in_rows and len(self._inputs) == 1 else None
        self._outputs = OutputReader(manifest)
        self._max_reply = max_reply
        # Bytes of a row of each output, or of all of it, as JSON and raw.
        shapes = [spec.row_shape if self._in_rows else spec.shape for spec in manifest.outputs]
        self._output_bytes = {
            binary: [count(spec.datatype, shape) for spec, shape in zip(manifest.outputs, shapes, strict=True)]
            for binary, count in ((False, json_bytes), (True, raw_bytes))
        }
        row_bytes = sum(map(max, *self._output_bytes.values()))
        self._always_sent = max_reply // row_bytes if row_bytes else max_rows
        """As many rows have no reply that is too long, whichever outputs it holds, and in whatever form."""
        # What every reply holds is written once. The brackets are closed where it is put together.
        head = {"model_name": manifest.name, "model_version": str(manifest.version)}
        self._head = _ENCODER.encode(head).removesuffix(b"}")
        self._described = [
            (b'{"name":%b,"datatype":' % _ENCODER.encode(spec.name), _ENCODER.encode(spec.datatype))
            for spec in manifest.outputs
        ]

    def decode(self, body: bytes, json_length: int | None = None) -> InferRequest:
        """The request in `body`, whose first `json_length` bytes (all, where None) are JSON.

        A length of 0 says that the body is one raw tensor. Raises a `RequestError` with every fault of the tensors;
        after it nothing needs to be checked again.
        """
        if json_length == 0:
            return self._decode_alone(body)
        envelope, blobs = take_apart(body, json_length)
        found: list[RequestError] = []
        inputs = self._read_plain(envelope, blobs) or self._read_inputs(envelope, blobs, found)
        if inputs is None:
            found.extend(islice(self._outputs.find_faults(envelope), MAX_FAULTS))
            raise merge(found)
        wanted = self._outputs.read(envelope)
        if envelope.outputs:
            found.extend(islice(self._outputs.too_many_classes(envelope, inputs.rows), MAX_FAULTS))
            if found:
                raise merge(found)
        if inputs.rows > self._always_sent:
            self._refuse_long_replies(wanted, inputs.rows, "/inputs")
        timeout = envelope.parameters.timeout if envelope.parameters else None
        return InferRequest(inputs, wanted, envelope.id, timeout / _MICROSECONDS if timeout else None)

    def encode(self, request: InferRequest, outputs: Sequence[Array]) -> tuple[bytes, int | None]:
        """The reply to `request` with the model's `outputs`, which stand in the manifest's order.

        Beside its bytes, how many of them are JSON where raw tensors follow, else None.
        """
        parts, blobs = [self._head], list[bytes | memoryview]()
        if request.id is not None:
            parts += (b',"id":', _ENCODER.encode(request.id))
        parts.append(b',"outputs":[')
        separator = b""
        for place, binary, classes in request.wanted:
            array, (named, datatype) = outputs[place], self._described[place]
            if classes is not None:
                array = largest_classes(self._manifest.outputs[place], array, classes, rows=self._in_rows)
                datatype = b'"BYTES"'
            parts += (separator, named, datatype, b',"shape":', _ENCODER.encode(array.shape))
            separator = b","
            if binary:
                blobs.append(tensors.to_bytes(array))
                parts.append(b',"parameters":{"binary_data_size":%d}}' % len(blobs[-1]))
            else:
                parts += (b',"data":', _ENCODER.encode(array.reshape(-1).tolist()), b"}")
        parts.append(b"]}")
        if not blobs:
            return b"".join(parts), None
        return b"".join([*parts, *blobs]), sum(map(len, parts))

    def _decode_alone(self, body: bytes) -> InferRequest:
        """The request whose body is the one input's bytes, of which all outputs come back as bytes too."""
        if len(self._inputs) > 1:
            hint = f"the inputs are {', '.join(self._inputs)}"
            raise UnsupportedError.at("", expected="described by a JSON part", got="one raw tensor alone", hint=hint)
        (reader,) = self._inputs.values()
        array = reader.read_alone(body)
        rows = len(array) if self._in_rows else 1
        wanted = self._outputs.every_raw()
        self._refuse_long_replies(wanted, rows, "")
        return InferRequest(Inputs((array,), rows), wanted)

    def _refuse_long_replies(self, wanted: Sequence[Wanted], rows: int, pointer: str) -> None:
        """Raise where the reply to so many rows at `pointer` would be too long."""
        size = rows * sum(self._output_bytes[binary][place] for place, binary, classes in wanted if classes is None)
        if size > self._max_reply:
            raise too_large(pointer, rows, size, self._max_reply)

    def _read_plain(self, envelope: Envelope, blobs: memoryview) -> Inputs | None:
        """The one input of a model that has no other, where it is as most are."""
        if self._only is None or len(envelope.inputs) != 1 or envelope.inputs[0].name != self._only.spec.name:
            return None
        array = self._only.read_plain(envelope.inputs[0], blobs)
        return None if array is None else Inputs((array,), len(array))

    def _read_inputs(self, envelope: Envelope, blobs: memoryview, found: list[RequestError]) -> Inputs | None:
        """The inputs; or None, with every fault `found`, those between inputs only where each input is sound."""
        arrays: dict[str, Array | None] = {}
        taken = 0
        for position, given in enumerate(envelope.inputs):
            name, pointer = given.name, f"/inputs/{position}"
            blob = blobs
            if given.parameters:
                # Taken whatever else is wrong, so that the next input finds its own bytes.
                end = taken + _blob_size(given)
                blob, taken = blobs[taken:end], end
            reader = self._inputs.get(name)
            try:
                if reader is None or name in arrays:
                    raise self._misnamed(name, pointer)
                # Held, so that a faulty input is not looked at again.
                arrays[name] = None
                arrays[name] = reader.read(given, blob, pointer)
            except RequestError as error:
                # Else it would keep the body alive: its frames know the list that it stands in.
                found.append(error.forget())
                if len(found) >= MAX_FAULTS:
                    return None
        left_over = len(blobs) - taken
        ordered = tuple([array for name in self._inputs if (array := arrays.get(name)) is not None])
        rows = len(ordered[0]) if self._in_rows and ordered else 1
        if not found and (
            len(ordered) < len(self._inputs)
            or left_over > 0
            or (len(ordered) > 1 and self._in_rows and {len(array) for array in ordered} != {rows})
        ):
            found.extend(islice(self._faults_between(envelope.inputs, left_over), MAX_FAULTS))
        return None if found else Inputs(ordered, rows)

    def _misnamed(self, name: str, pointer: str) -> RequestError:
        """The fault of an input that the model does not have, or that came before."""
        expected = "named once" if name in self._inputs else f"one of {', '.join(self._inputs)}"
        got = f"{describe(name)}{' again' if name in self._inputs else ''}"
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
