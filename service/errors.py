"""The errors, in the order in which settings, a model and a request can meet them.

Every class carries its stable `code` and the HTTP `status` it has as a reply, as plain data; nothing here knows
how an error is sent. The README lists those that a caller can get.
"""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a request: where it stands, what was expected there, what came instead."""

    pointer: str
    """A JSON pointer (RFC 6901) into the request's body; empty for the body as a whole."""
    expected: str
    got: str
    hint: str = ""

    def __str__(self) -> str:
        """The fault as a sentence."""
        sentence = f"{self.pointer or 'the body'} should be {self.expected}, but is {self.got}"
        return f"{sentence}; {self.hint}" if self.hint else sentence


class ForwardpassError(Exception):
    """The root of the tree; `message` is one sentence a person can act on."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.faults = tuple(faults)

    def forget(self) -> Self:
        """The error without the frames that it came through, which would keep all that they know alive with it."""
        one: BaseException | None = self
        while one is not None:
            traceback.clear_frames(one.__traceback__)
            before = one.__context__
            one.__traceback__ = one.__context__ = one.__cause__ = None
            one = before
        return self


# Starting up


class SettingsError(ForwardpassError):
    """A setting is unknown or its value cannot be used; the process does not start."""

    code = "invalid_settings"


class ModelError(ForwardpassError):
    """A model cannot be served as it lies on disk."""

    code = "invalid_model"


class ManifestError(ModelError):
    """The manifest is missing, unreadable or contradicts itself or its folder."""

    code = "invalid_manifest"


class ChecksumError(ModelError):
    """A file of the model is missing or is not the one its manifest describes."""

    code = "checksum_mismatch"


class GraphError(ModelError):
    """onnxruntime cannot load the graph, or the graph is not what the manifest says."""

    code = "invalid_graph"


class GoldenError(ModelError):
    """The loaded model does not reproduce its golden rows."""

    code = "golden_mismatch"


# A request, from its first byte to the last


class RequestError(ForwardpassError):
    """The caller's own fault: the request cannot be answered as it stands."""

    code = "invalid_request"
    status = 400

    @classmethod
    def at(cls, pointer: str, *, expected: str, got: str, hint: str = "") -> Self:
        """The error of one fault, its sentence made of the fault's parts."""
        fault = Fault(pointer, expected, got, hint)
        return cls(str(fault), (fault,))


MAX_FAULTS = 16
"""An error lists no more faults than these, so that a bad request stays cheap."""


def merge(errors: Sequence[RequestError]) -> RequestError:
    """One error with the first faults of `errors` (at least one); its class and sentence are the first one's."""
    first = errors[0]
    faults = list(islice((fault for error in errors for fault in error.faults), MAX_FAULTS))
    others = len(faults) - 1
    if others < 1:
        return first
    return type(first)(f"{faults[0]} (and {others} more fault{'s' if others > 1 else ''})", faults)


class MalformedError(RequestError):
    """What came is no HTTP request; the connection is closed."""

    code = "malformed_http"


class HeadTooLargeError(RequestError):
    """The request line and headers are larger than the server takes; the connection is closed."""

    code = "head_too_large"
    status = 431


class SlowError(RequestError):
    """The request took too long to come; the connection is closed."""

    code = "too_slow"
    status = 408


class UnauthorizedError(RequestError):
    """The server asks for a key, and the request has none that is valid."""

    code = "unauthorized"
    status = 401


class ForbiddenError(RequestError):
    """The request's key is valid, but not for this path."""

    code = "forbidden"
    status = 403


class PathError(RequestError):
    """Nothing answers at this path."""

    code = "unknown_path"
    status = 404


class MethodError(RequestError):
    """The path exists, but not for this method."""

    code = "method_not_allowed"
    status = 405


class UnknownModelError(RequestError):
    """No model of this name is served."""

    code = "unknown_model"
    status = 404


class UnknownVersionError(RequestError):
    """The model is served, but not in this version."""

    code = "unknown_version"
    status = 404


class TooLargeError(RequestError):
    """The body is larger than the server takes."""

    code = "body_too_large"
    status = 413


class EncodingError(RequestError):
    """The body has a content encoding that the server does not read."""

    code = "unsupported_encoding"
    status = 415


class CompressionError(RequestError):
    """The body is not what its content encoding says, or ends too early."""

    code = "invalid_compression"


class JsonError(RequestError):
    """The body is not JSON."""

    code = "invalid_json"


class StructureError(RequestError):
    """The JSON is sound, but it is not a request: a key is missing or has the wrong type."""

    code = "invalid_structure"


class BinaryError(RequestError):
    """The binary part of the body does not fit what its JSON part announces."""

    code = "invalid_binary"


class UnsupportedError(RequestError):
    """The request asks for something of the protocol that would change its meaning and is not offered."""

    code = "unsupported"


class TensorError(RequestError):
    """An input or output is unknown, missing or named twice."""

    code = "tensor_mismatch"


class DatatypeError(RequestError):
    """A tensor's datatype is not the model's."""

    code = "datatype_mismatch"


class ShapeError(RequestError):
    """A tensor's shape is not the model's, or its data do not fill its shape."""

    code = "shape_mismatch"


class FeatureError(RequestError):
    """A row by names lacks a feature, or has one the model does not know."""

    code = "feature_mismatch"


class ElementError(RequestError):
    """An element is no number, not finite, or does not fit its datatype."""

    code = "invalid_value"


class RangeError(RequestError):
    """A feature's value is outside the range that training saw, and the operator has such values refused."""

    code = "out_of_range"


class ReplyTooLargeError(RequestError):
    """The reply would be larger than the server sends."""

    code = "reply_too_large"


class UnavailableError(ForwardpassError):
    """The server cannot answer now; the same request may succeed after `retry_after` seconds."""

    code = "unavailable"
    status = 503

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotReadyError(UnavailableError):
    """The model is known but not ready to answer."""

    code = "model_not_ready"


class QueueFullError(UnavailableError):
    """As many rows wait already as the server lets wait."""

    code = "queue_full"


class ConnectionsError(UnavailableError):
    """As many clients are connected as may be; the connection is closed."""

    code = "too_many_connections"


class DrainingError(UnavailableError):
    """The model is being taken out of service, or the server is stopping."""

    code = "draining"


class DeadlineError(ForwardpassError):
    """The request's own time limit passed, or was certain to pass, before it was computed."""

    code = "deadline_exceeded"
    status = 504


class ComputeError(ForwardpassError):
    """onnxruntime failed on a valid request."""

    code = "compute_failed"


class InternalError(ForwardpassError):
    """The server failed on this request for a reason of its own, which its log tells."""

    code = "internal"

    def __init__(self) -> None:
        super().__init__("the server failed on this request; its log says why")


# Asking a server how it is


class HealthError(ForwardpassError):
    """The server is not ready, or nobody can tell."""

    code = "not_healthy"


# Scoring a file


class ScoreError(ForwardpassError):
    """A file cannot be scored; nothing was written at the output's name."""

    code = "score_failed"


class RowError(ScoreError):
    """A row of the files is not valid, or the model fails on it, and the caller has that end the scoring."""

    code = "invalid_row"
