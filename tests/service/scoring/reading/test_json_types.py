"""Behaviour of service.scoring.reading.json_types."""

import pyarrow as pa
import pytest

from service.scoring.reading.json_types import column_type, infer, merged, type_of

LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "null"),
        (True, "bool"),
        (1, "int64"),
        (-LARGEST - 1, "int64"),
        (LARGEST + 1, "uint64"),
        (2**64, "double"),
        (-LARGEST - 2, "double"),
        (1.0, "double"),
        ("2020-01-01", "string"),
        ([], "list<item: null>"),
        ([1, None, 2.5], "list<item: double>"),
        ([[1], [], ["x"]], "list<item: list<item: int64>>"),
        ([{"x": 1}, {"y": True, "x": 0.5}], "list<item: struct<x: double, y: bool>>"),
        ({"x": [1]}, "struct<x: list<item: int64>>"),
    ],
)
def test_a_value_makes_a_type(value: object, name: str) -> None:
    """Of integers one that holds them all, where there is one."""
    assert str(type_of(value)) == name


def test_types_are_merged_in_either_order() -> None:
    """Where one type holds the values of both; else the first stays."""
    for first, second, both in [
        (pa.int64(), pa.float64(), pa.float64()),
        (pa.int64(), pa.uint64(), pa.uint64()),
        (pa.null(), pa.string(), pa.string()),
        (pa.list_(pa.int64()), pa.list_(pa.float64()), pa.list_(pa.float64())),
    ]:
        assert merged(first, second) == merged(second, first) == both
    assert merged(pa.string(), pa.int64()) == pa.string()
    assert merged(pa.int64(), pa.string()) == pa.int64()


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ([1, None], "int64"),
        ([1, LARGEST + 1], "uint64"),
        ([1, 0.5], "double"),
        (["x", 1], "string"),
        ([None], "string"),
        ([[None], [[1]]], "list<item: list<item: int64>>"),
        ([{"x": None}, {"y": True}], "struct<x: string, y: bool>"),
    ],
)
def test_values_make_the_type_of_a_column(values: list[object], name: str) -> None:
    """One that holds them all, or the first of them; text where nothing is known."""
    assert str(column_type(values)) == name


def types_of(text: str) -> dict[str, str] | None:
    """The columns that are found in a text."""
    schema = infer(text.encode())
    return None if schema is None else {field.name: str(field.type) for field in schema}


def test_columns_come_in_the_order_in_which_they_appear() -> None:
    """With the types of what stands there; text is text, also where it looks like a time."""
    text = '{"b":1,"a":1.5}\n{"t":"2020-01-01T00:00:00","a":2,"l":[[1]],"n":null}\n{"o":{"x":true},"n":null}'
    assert types_of(text) == {
        "b": "int64",
        "a": "double",
        "t": "string",
        "l": "list<item: list<item: int64>>",
        "n": "string",
        "o": "struct<x: bool>",
    }


@pytest.mark.parametrize(
    "fault", ["x", "[1]", '{"a":', '{"a":"x"}', '{"a":[1,"x"]}', '{"a":1,"a":2}', "\x00", '"\ud800"']
)
def test_faulty_lines_do_not_hide_columns(fault: str) -> None:
    """What the others hold is found, and a column's first type counts."""
    lines = ['{"a":1,"b":null}', fault, '{"a":1.5,"b":"2020-01-01"}', '{"c":[1]}']
    text = "\n".join(lines).encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    assert types_of(text) == {"a": "double", "b": "string", "c": "list<item: int64>"}


def test_a_nan_does_not_hide_columns() -> None:
    """Some programs write it."""
    assert types_of('{"a":NaN,"b":1}\n') == {"a": "double", "b": "int64"}


def test_what_is_nested_deeply_does_no_harm() -> None:
    """It is a value of one column, of some type or none."""
    for depth in (10, 500, 100_000):
        line = f'{{"a":1,"z":{"[" * depth}1{"]" * depth}}}'.encode()
        assert (infer(line) is None) == (depth == 100_000)


def test_without_an_object_there_are_no_columns() -> None:
    """Neither in other JSON nor in other text; an object may be empty."""
    assert [types_of(text) for text in ("[1]\n2", "a,b\n1,2", '{\n"a":1\n', "{}")] == [None, None, None, None]
