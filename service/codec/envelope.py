"""The parts of an infer request as they lie in its body: typed JSON, then raw tensors."""

from typing import Annotated, NamedTuple

import msgspec

from service.codec.body import read
from service.errors import BinaryError

_Size = Annotated[int, msgspec.Meta(le=2**63 - 1)]
"""A number that the protocol has as a signed 64-bit integer."""
_Raw = msgspec.Raw | msgspec.UnsetType

# No structure is part of a cycle, so that the collector need not look at as many as a body can hold.


class InputParameters(msgspec.Struct, gc=False):
    """What may stand beside an input; any other parameter is ignored."""

    binary_data_size: _Size | None = None
    shared_memory_region: _Raw = msgspec.UNSET


class Input(msgspec.Struct, gc=False):
    """One tensor that comes in."""

    name: str
    shape: list[_Size]
    datatype: str
    data: _Raw = msgspec.UNSET
    parameters: InputParameters | None = None


class OutputParameters(msgspec.Struct, gc=False):
    """What may stand beside an output that is asked for; any other parameter is ignored."""

    binary_data: bool | None = None
    classification: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None
    shared_memory_region: _Raw = msgspec.UNSET


class Output(msgspec.Struct, gc=False):
    """One tensor that is asked for."""

    name: str
    parameters: OutputParameters | None = None


class Parameters(msgspec.Struct, gc=False):
    """What may stand beside the tensors; any other parameter is ignored."""

    binary_data_output: bool | None = None
    timeout: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    """Microseconds; 0 is no limit."""


class Envelope(msgspec.Struct, gc=False):
    """A request's JSON."""

    inputs: list[Input]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[Output] | None = None


class Parts(NamedTuple):
    """A request taken apart."""

    envelope: Envelope
    blobs: memoryview
    """What follows the JSON."""


_ENVELOPES = msgspec.json.Decoder(Envelope)


def take_apart(body: bytes, json_length: int | None) -> Parts:
    """The parts of a body whose first `json_length` bytes (all, where None) are JSON; raises a `RequestError`."""
    if json_length is None:
        return Parts(read(_ENVELOPES, body), memoryview(b""))
    if not 0 <= json_length <= len(body):
        expected = f"as long as its header Inference-Header-Content-Length says, at least {json_length} bytes"
        raise BinaryError.at("", expected=expected, got=f"{len(body)} bytes")
    view = memoryview(body)
    return Parts(read(_ENVELOPES, view[:json_length]), view[json_length:])
