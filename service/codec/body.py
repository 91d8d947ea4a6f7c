"""A JSON body read into typed structures, its faults told with a JSON pointer."""

import functools
import re
from typing import Any, TypeVar

import msgspec

from service.errors import JsonError, RequestError, StructureError

T = TypeVar("T")

_PLACE = re.compile(r" - at `(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.?(?P<key>[^.\[\]]+)|\[(?P<index>\d+)\]")
_MISMATCH = re.compile(r"Expected `(?P<expected>.*)`, got `(?P<got>.*)`")
_MISSING = re.compile(r"Object missing required field `(?P<key>.*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>.*)`")


def read(decoder: msgspec.json.Decoder[T], text: bytes | memoryview, pointer: str = "") -> T:
    """The structure in `text`, which stands at `pointer` in the body.

    Raises `JsonError` for what is no JSON, `StructureError` for another structure.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise _structure_error(error, pointer) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JsonError.at(pointer, expected="JSON", got=f"{len(text)} bytes that are not: {error}") from None
    except RecursionError:
        raise JsonError.at(pointer, expected="JSON of moderate depth", got="nested too deeply") from None


def read_anything(text: bytes | memoryview, pointer: str) -> Any:  # noqa: ANN401  # JSON
    """Whatever JSON is in `text`, a number too large for a double as infinity; raises as `read` does."""
    return read(_ANYTHING, text, pointer)


def pointer_step(key: str) -> str:
    """A key as one step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


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
        return StructureError.at(f"{pointer}/{unknown['key']}", expected="absent", got="a key that is not known here")
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
