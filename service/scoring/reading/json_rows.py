"""Lines of JSON as rows: all at once, and one by one where that fails."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

from service.codec.faults import describe
from service.scoring.reading.blocks import RowFault
from service.scoring.reading.json_judges import MISFIT, judge_of

_LONGEST_QUOTE = 41
_NOT_BLANK = re.compile(rb"\S")
_BRACES = b"{}"
_DECODER = msgspec.json.Decoder()
_UNREAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def parse(text: bytes, schema: pa.Schema) -> pa.RecordBatch:
    """The objects of a text as rows of these columns; what else they hold is passed over, what they lack is null.

    Raises `pa.ArrowInvalid` where one is faulty.
    """
    if _NOT_BLANK.search(text) is None:
        return pa.RecordBatch.from_pylist([], schema)
    table = arrow_json.read_json(
        pa.BufferReader(text),
        # The block is the whole text: where it is cut is decided elsewhere.
        arrow_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    ).select(schema.names)
    batch = pa.RecordBatch.from_arrays([column.chunk(0) for column in table.columns], schema=schema)
    # Whether strings are UTF-8.
    batch.validate(full=True)
    return batch


def count_objects(text: bytes) -> int | None:
    """How many lines are not blank; None where one of them does not begin and end with the braces of an object.

    If all do, and the text is sound JSON, then no object goes over a line's end: between a brace that closes and
    one that opens a comma would have to stand. With as many objects as lines, each has its own.
    """
    signs = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(signs == ord("\n"))
    if not text.endswith(b"\n"):
        ends = np.append(ends, len(text))
    starts = np.concatenate(([0], ends[:-1] + 1))
    lasts = np.maximum(ends - 1, starts)
    lasts = np.where((signs[lasts] == ord("\r")) & (lasts > starts), lasts - 1, lasts)
    others = np.flatnonzero((signs[starts] != _BRACES[0]) | (signs[lasts] != _BRACES[1]))
    count = len(ends) - len(others)
    for place in others.tolist():
        line = text[starts[place] : ends[place]].strip()
        if line and (line[0] != _BRACES[0] or line[-1] != _BRACES[1]):
            return None
        count += bool(line)
    return count


def take_apart(lines: Sequence[bytes], schema: pa.Schema) -> tuple[dict[int, bytes], list[RowFault]]:
    """The lines that `parse` takes, by their places, and what is wrong with the others, in their order.

    A float may stand for an integer: it is written as one.
    """
    objects, sound, faults = _objects(lines, schema)
    faults += _fit(objects, sound, schema)
    for place in list(_refused(list(sound), sound, schema)):
        faults.append(_refusal(place, sound.pop(place), schema))
    return sound, sorted(faults, key=lambda fault: fault.row)


def _objects(
    lines: Sequence[bytes], schema: pa.Schema
) -> tuple[dict[int, dict[str, Any]], dict[int, bytes], list[RowFault]]:
    """The objects there are by their places, the lines that hold one, and what is wrong with the others.

    Where this reader fails, the fast one is the judge, which knows NaN: such a line is sound, but its object not seen.
    """
    objects: dict[int, dict[str, Any]] = {}
    sound: dict[int, bytes] = {}
    faults: list[RowFault] = []
    for place, line in enumerate(lines):
        try:
            value = _DECODER.decode(line)
        except _UNREAD:
            if _is_read(line, schema):
                sound[place] = line
            else:
                faults.append(_refusal(place, line, schema))
            continue
        if isinstance(value, dict):
            sound[place], objects[place] = line, value
        else:
            faults.append(RowFault(place, "", "a JSON object", describe(value)))
    return objects, sound, faults


def _fit(objects: Mapping[int, dict[str, Any]], sound: dict[int, bytes], schema: pa.Schema) -> list[RowFault]:
    """What is wrong with the values of objects; `sound` loses the lines of those and gets others where it must."""
    faults: list[RowFault] = []
    changed: set[int] = set()
    for field in schema:
        judge = judge_of(field.type)
        values = [owner.get(field.name) for owner in objects.values()]
        if judge.fits(values):
            continue
        for (place, owner), value in zip(objects.items(), values, strict=True):
            fitting = judge.fitting(value)
            if fitting is MISFIT:
                faults.append(RowFault(place, field.name, *judge.fault(value)))
            elif fitting is not value:
                owner[field.name] = fitting
                changed.add(place)
    for place in {fault.row for fault in faults}:
        del sound[place]
    for place in changed & sound.keys():
        owner = objects[place]
        sound[place] = msgspec.json.encode({name: owner[name] for name in schema.names if name in owner})
    return faults


def _is_read(line: bytes, schema: pa.Schema) -> bool:
    try:
        return bool(parse(line, schema).num_rows == 1)
    except pa.ArrowInvalid:
        return False


def _refused(places: Sequence[int], lines: Mapping[int, bytes], schema: pa.Schema) -> Iterator[int]:
    """The places of the lines that `parse` does not take, found by halves."""
    try:
        parse(b"\n".join([lines[place] for place in places]), schema)
    except pa.ArrowInvalid:
        if len(places) == 1:
            yield places[0]
            return
        middle = len(places) // 2
        yield from _refused(places[:middle], lines, schema)
        yield from _refused(places[middle:], lines, schema)


def _refusal(place: int, line: bytes, schema: pa.Schema) -> RowFault:
    """What is wrong with a line that `parse` does not take."""
    pairs: list[tuple[str, Any]] = []

    def keep(found: list[tuple[str, Any]]) -> dict[str, Any]:
        # The outermost object is the last one.
        pairs[:] = found
        return dict(found)

    try:
        value = json.loads(line, object_pairs_hook=keep)
    except (ValueError, RecursionError):
        return RowFault(place, "", "a JSON object", _quoted(line))
    if not isinstance(value, dict):
        return RowFault(place, "", "a JSON object", describe(value))
    names = [name for name, _ in pairs]
    for field in schema:
        own, judge = value.get(field.name), judge_of(field.type)
        if names.count(field.name) > 1:
            return RowFault(place, field.name, "one value", f"{names.count(field.name)}")
        if judge.fitting(own) is MISFIT:
            return RowFault(place, field.name, *judge.fault(own))
        expected = _unwritten(own)
        if expected is not None:
            return RowFault(place, field.name, expected, describe(own))
    return RowFault(place, "", "an object of the columns' types", _quoted(line))


def _unwritten(value: Any) -> str | None:  # noqa: ANN401  # JSON
    """What a value should be that JSON can write and no column hold: too large, or with half a character in it."""
    if isinstance(value, float) and math.isinf(value):
        return "a number"
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "text in UTF-8"
    return None


def _quoted(line: bytes) -> str:
    """The beginning of a line that may be very long."""
    return describe(line[:_LONGEST_QUOTE].decode(errors="replace"))
