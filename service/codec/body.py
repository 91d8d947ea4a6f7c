"""A JSON body read into typed structures, its faults told with a JSON pointer."""

import functools
import re
from typing import Any, TypeVar

import msgspec
import numpy as np

from service.errors import JsonError, RequestError, StructureError

T = TypeVar("T")

LARGE = 1 << 16
"""A text of no more bytes is read at once; a longer one is worth a look at how much there is to read in it."""
_LONGEST_KEY = 128
"""A longer key is not repeated whole to whoever sent it."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_PLACE = re.compile(r" - at `(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.?(?P<key>[^.\[\]]+)|\[(?P<index>\d+)\]")
_LONE_SURROGATE = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\(?!u[dD][89a-fA-F][0-9a-fA-F]{2}).)*+"
    rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}",
    re.DOTALL,
)
"""Matches a text up to half a character that stands alone: whatever else it holds is passed over."""
_MISMATCH = re.compile(r"Expected `(?P<expected>.*)`, got `(?P<got>.*)`")
_MISSING = re.compile(r"Object missing required field `(?P<key>.*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>.*)`", re.DOTALL)
_BOUND = re.compile(r"Expected `int` (?P<side><=|>=) (?P<bound>-?\d+)")


def read(decoder: msgspec.json.Decoder[T], text: bytes | memoryview, pointer: str = "") -> T:
    """The structure in `text`, which stands at `pointer` in the body.

    Raises `JsonError` for what is no JSON, `StructureError` for another structure.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise _structure_error(error, pointer) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if bytes(memoryview(text)[:3]) == _BYTE_ORDER_MARK:
            got = "text behind a byte order mark (EF BB BF)"
            raise JsonError.at(pointer, expected="JSON from its first byte on", got=got) from None
        if _LONE_SURROGATE.match(text):
            # Told otherwise as cut off or malformed, whatever follows it.
            expected = r"JSON whose \ud800 to \udfff stand in pairs, each pair one character"
            raise JsonError.at(pointer, expected=expected, got="text with one of them alone") from None
        raise JsonError.at(pointer, expected="JSON", got=f"{len(text)} bytes that are not: {error}") from None
    except RecursionError:
        raise JsonError.at(pointer, expected="JSON of moderate depth", got="nested too deeply") from None


def read_anything(text: bytes | memoryview, pointer: str) -> Any:  # noqa: ANN401  # JSON
    """Whatever JSON is in `text`, a number too large for a double as infinity; raises as `read` does."""
    return read(_ANYTHING, text, pointer)


def below(pointer: str, key: str) -> str:
    """The JSON pointer (RFC 6901) of an object's key; of the object itself where the key is too long to repeat."""
    if len(key) > _LONGEST_KEY:
        return pointer
    return f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"


def count_values(text: bytes) -> int:
    """What reading a JSON text costs: how many commas and opening brackets stand outside of its strings.

    Found in a fraction of the time that reading it takes. A text with n elements in lists nested to a depth of d
    has at most (d + 1) * n of them.
    """
    if b'"' in text:
        # Without the escapes every quotation mark begins or ends a string.
        octets = np.frombuffer(text.replace(rb"\\", b"").replace(rb"\"", b""), np.uint8)
        inside = np.logical_xor.accumulate(octets == ord('"'))
        text = octets[~inside].tobytes()
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def nested_lists(element: Any, depth: int) -> Any:  # noqa: ANN401  # a type made of data
    """The type of lists nested to `depth` around elements of a type."""
    return functools.reduce(lambda inner, _: list[inner], range(depth), element)  # type: ignore[valid-type]  # the same


def _structure_error(error: msgspec.ValidationError, pointer: str) -> RequestError:
    """What msgspec says of the structure at `pointer`, as our error."""
    sentence = str(error)
    if place := _PLACE.search(sentence):
        # Below a key of an open object msgspec tells no way.
        steps = _STEP.finditer(place["path"].removeprefix("$").partition("[...]")[0])
        pointer += "".join(f"/{step['key'] or step['index']}" for step in steps)
        sentence = sentence[: place.start()]
    if mismatch := _MISMATCH.fullmatch(sentence):
        return StructureError.at(pointer, expected=_words(mismatch["expected"]), got=_words(mismatch["got"]))
    if missing := _MISSING.fullmatch(sentence):
        return StructureError.at(pointer, expected=f"an object with the key {missing['key']!r}", got="without it")
    if unknown := _UNKNOWN.fullmatch(sentence):
        key = below(pointer, unknown["key"])
        return StructureError.at(key, expected="absent", got="a key that is not known here")
    if limit := _BOUND.fullmatch(sentence):
        edge, got = ("least", "below that") if limit["side"] == ">=" else ("most", "above that")
        return StructureError.at(pointer, expected=f"an integer, at {edge} {limit['bound']}", got=got)
    if sentence.endswith("out of range"):
        return StructureError.at(pointer, expected="made of smaller numbers", got="out of range")
    return StructureError.at(pointer, expected="a value of the protocol", got=sentence)


def _words(types: str) -> str:
    """JSON types as msgspec lists them, for a person."""
    return " or ".join(_WORDS.get(one, one) for one in types.split(" | "))


_WORDS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "an integer",
    "object": "an object",
    "str": "a string",
}
_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=float)
