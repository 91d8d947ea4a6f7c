"""The cells of columns as elements of a tensor, and which of them do not fit it; the rules are those of HTTP."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from service.codec.tensors import DTYPES, Array, cast_doubles, element_type, limits
from service.manifest import TensorSpec
from service.scoring.arrow_types import holds_texts, widest_type

Mask = npt.NDArray[np.bool_]

_NUMBER = (
    r"^[+-]?(?:[nN][aA][nN](?:\([a-zA-Z0-9_]*\))?|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?"
    r"|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)$"
)
"""The spellings of a number that pyarrow reads, no more and no fewer."""
_INTEGER = r"^-?[0-9]+$"
_BLANKS = " \t"
"""What may stand around a number in text, as where pyarrow reads it itself."""
_SHORT = 18
"""Digits, or a sign and digits, that 64 bits can hold whatever they are."""
_LONGEST = 20
"""Digits of the largest integer of 64 bits."""


def stack(spec: TensorSpec, columns: Sequence[pa.Array]) -> tuple[Array, dict[int, Mask]]:
    """The columns side by side as an array (rows, columns), and where one has cells that do not fit, which.

    What stands in the array in the place of such a cell is any element. A column is of a type that `layout` lets
    pass, or of text.
    """
    out = np.empty((len(columns[0]), len(columns)), DTYPES[spec.datatype])
    misfits: dict[int, Mask] = {}
    # What is too large becomes infinite.
    with np.errstate(over="ignore"):
        for place, column in enumerate(columns):
            doubles = _doubles_as_they_lie(spec, column)
            if doubles is not None:
                out[:, place] = doubles
                continue
            out[:, place], fits = elements_of(spec, column)
            if not fits.all():
                misfits[place] = ~fits
    # One look at all of it, and a close one at each column only where something is wrong.
    if out.dtype.kind == "f" and not np.isfinite(out).all():
        for place, column in enumerate(columns):
            doubles = _doubles_as_they_lie(spec, column)
            if doubles is not None:
                fits = np.isfinite(out[:, place]) == (np.isfinite(doubles) if spec.allow_non_finite else True)
                if not fits.all():
                    misfits[place] = ~fits
    return out, misfits


def elements_of(spec: TensorSpec, column: pa.Array) -> tuple[Array, Mask]:
    """The cells of one column as an array of the tensor's datatype, and which of them fit it; the others are any."""
    if pa.types.is_null(column.type):
        return np.zeros(len(column), DTYPES[spec.datatype]), np.zeros(len(column), np.bool_)
    present = None
    if column.null_count:
        present = column.is_valid().to_numpy(zero_copy_only=False)
        column = _without_nulls(column)
    array, fits = _elements(spec, column)
    return array, fits if present is None else fits & present


def _doubles_as_they_lie(spec: TensorSpec, column: pa.Array) -> Array | None:
    """The floats of a column, without a copy, where they are those of a float tensor and none is missing."""
    if not pa.types.is_floating(column.type) or column.null_count or element_type(spec.datatype) is not float:
        return None
    array: Array = column.to_numpy()
    return array


def _without_nulls(column: pa.Array) -> pa.Array:
    """The column with any value in the place of a missing one."""
    if pa.types.is_decimal(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    return column.fill_null("" if holds_texts(column.type) else pa.scalar(0, pa.int8()).cast(column.type))


def _elements(spec: TensorSpec, column: pa.Array) -> tuple[Array, Mask]:
    wanted = element_type(spec.datatype)
    if pa.types.is_decimal(column.type):
        # Not to doubles at once, which pyarrow does not round correctly.
        column = column.cast(pa.string())
    if holds_texts(column.type):
        if wanted is str:
            texts: Array = column.to_numpy(zero_copy_only=False)
            return texts, np.ones(len(texts), np.bool_)
        return _from_text(spec, column)
    array: Array = column.to_numpy(zero_copy_only=False)
    if array.dtype.kind in "iu" and wanted is int:
        return _from_integers(spec, array)
    if array.dtype.kind == "b" and wanted is bool:
        return array, np.ones(len(array), np.bool_)
    if wanted is str or (array.dtype.kind == "b"):
        return np.zeros(len(array), DTYPES[spec.datatype]), np.zeros(len(array), np.bool_)
    return cast_doubles(spec, array.astype(np.float64, copy=False))


def _from_integers(spec: TensorSpec, array: Array) -> tuple[Array, Mask]:
    least, most = limits(spec) or (0, 1)
    there = np.iinfo(array.dtype)
    fits = np.ones(len(array), np.bool_)
    # A bound beyond what the column can hold keeps nothing out, and cannot be compared with.
    if least > there.min:
        fits &= array >= least
    if most < there.max:
        fits &= array <= most
    return array.astype(DTYPES[spec.datatype]), fits


def _from_text(spec: TensorSpec, texts: pa.Array) -> tuple[Array, Mask]:
    if not pa.types.is_string(texts.type):
        texts = texts.cast(pa.string())
    trimmed = pc.ascii_trim(texts, _BLANKS)
    if element_type(spec.datatype) is not int:
        doubles, are_numbers = _doubles(trimmed)
        array, fits = cast_doubles(spec, doubles)
        return array, fits & are_numbers
    all_plain = _plain_integers(spec, trimmed)
    if all_plain is not None:
        return all_plain
    # Not by way of doubles, which hold no more than 53 bits.
    plain = pc.replace_substring_regex(pc.replace_substring_regex(trimmed, r"\.0*$", ""), r"^\+([0-9])", r"\1")
    is_plain = pc.match_substring_regex(plain, _INTEGER)
    array, fits = _integers(spec, pc.if_else(is_plain, plain, "0"))
    if pc.all(is_plain).as_py():
        return array, fits
    doubles, are_numbers = _doubles(pc.if_else(is_plain, "0", trimmed))
    others, fit = cast_doubles(spec, doubles)
    are_plain = is_plain.to_numpy(zero_copy_only=False)
    return np.where(are_plain, array, others), np.where(are_plain, fits, fit & are_numbers)


def _doubles(texts: pa.Array) -> tuple[npt.NDArray[np.float64], Mask]:
    """The numbers that texts are, correctly rounded, and which of the texts are any."""
    try:
        return pc.cast(texts, pa.float64()).to_numpy(), np.ones(len(texts), np.bool_)
    except pa.ArrowInvalid:
        are_numbers = pc.match_substring_regex(texts, _NUMBER)
    doubles = pc.cast(pc.if_else(are_numbers, texts, "0"), pa.float64()).to_numpy()
    return doubles, are_numbers.to_numpy(zero_copy_only=False)


def _plain_integers(spec: TensorSpec, texts: pa.Array) -> tuple[Array, Mask] | None:
    """The integers that texts are, and which of them fit; None where one is not just digits and perhaps a minus."""
    # pyarrow would read 0x10, which no other way does.
    if pc.any(pc.match_substring(texts, "x", ignore_case=True)).as_py():
        return None
    try:
        return _from_integers(spec, pc.cast(texts, widest_type(spec)).to_numpy())
    except pa.ArrowInvalid:
        return None


def _integers(spec: TensorSpec, digits: pa.Array) -> tuple[Array, Mask]:
    """The integers that texts of digits, with a sign or without one, are, and which of them fit."""
    plain = _plain_integers(spec, digits)
    if plain is not None:
        return plain
    is_short = pc.less_equal(pc.binary_length(digits), _SHORT)
    if spec.datatype == "UINT64":
        is_short = pc.and_(is_short, pc.invert(pc.starts_with(digits, "-")))
    array, fits = _from_integers(spec, pc.cast(pc.if_else(is_short, digits, "0"), widest_type(spec)).to_numpy())
    least, most = limits(spec) or (0, 1)
    # Very long ones, and those below zero where none may be: few, unless the column is nothing else.
    for place in np.flatnonzero(~is_short.to_numpy(zero_copy_only=False)).tolist():
        text = digits[place].as_py()
        magnitude = text.lstrip("-0") or "0"
        value = int(f"-{magnitude}" if text[0] == "-" else magnitude) if len(magnitude) <= _LONGEST else most + 1
        fits[place] = least <= value <= most
        array[place] = value if fits[place] else 0
    return array, fits
