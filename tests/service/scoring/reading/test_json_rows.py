"""Behaviour of service.scoring.reading.json_rows."""

import json

import pyarrow as pa
import pytest

from service.scoring.reading.json_rows import parse, take_apart

SCHEMA = pa.schema([("a", pa.float64()), ("n", pa.int64()), ("s", pa.string()), ("l", pa.list_(pa.float64()))])


def test_what_is_nested_deeply_does_no_harm() -> None:
    """Whether it is asked for or not."""
    for depth in (10, 500, 100_000):
        nested = f"{'[' * depth}1{']' * depth}"
        line = f'{{"a":1,"z":{nested}}}'.encode()
        assert parse(line, SCHEMA).num_rows == 1
        assert list(take_apart([line], SCHEMA)[0]) == [0]
        _, faults = take_apart([f'{{"a":{nested}}}'.encode()], SCHEMA)
        assert len(faults) == 1


def test_what_is_not_asked_for_is_passed_over() -> None:
    """And what is missing is null."""
    batch = parse(b'{"z":[1,"x"],"a":2}\n\n{"n":9007199254740993,"a":null}\n', SCHEMA)
    assert batch.schema == SCHEMA
    assert batch.to_pylist() == [
        {"a": 2.0, "n": None, "s": None, "l": None},
        {"a": None, "n": 9007199254740993, "s": None, "l": None},
    ]
    assert parse(b" \n", SCHEMA).num_rows == 0


@pytest.mark.parametrize(
    ("line", "column", "expected", "got"),
    [
        ('{"a":"x"}', "a", "a number", "'x'"),
        ('{"a":true}', "a", "a number", "true"),
        ('{"a":1e400}', "a", "a number", "a number too large"),
        ('{"n":1.5}', "n", "an integer", "1.5"),
        ('{"n":1e400}', "n", "an integer", "a number too large"),
        ('{"s":1}', "s", "a string", "1"),
        ('{"l":[1,"x"]}', "l", "a list of numbers", "one with 'x'"),
        ('{"a":1,"a":2}', "a", "one value", "2"),
        ("[1]", "", "a JSON object", "a list of 1"),
        ("1", "", "a JSON object", "1"),
        ('{"a":1', "", "a JSON object", "'{\"a\":1'"),
        ("a,b", "", "a JSON object", "'a,b'"),
        ('{"a":1} {"a":2}', "", "a JSON object", '\'{"a":1} {"a":2}\''),
        ("[" * 100_000, "", "a JSON object", f"'{'[' * 39}…"),
    ],
)
def test_a_faulty_line_is_told(line: str, column: str, expected: str, got: str) -> None:
    """The lines around it are sound."""
    lines = [b'{"a":1}', line.encode(), b'{"a":NaN}']
    sound, faults = take_apart(lines, SCHEMA)
    assert sound == {0: lines[0], 2: lines[2]}
    assert faults == [(1, column, expected, got)]


def test_bad_utf_8_is_told() -> None:
    """In text that is asked for."""
    sound, faults = take_apart([b'{"s":"\xff"}', b'{"s":"x"}'], SCHEMA)
    assert list(sound) == [1]
    assert [(fault.row, fault.expected) for fault in faults] == [(0, "a JSON object")]


@pytest.mark.parametrize(
    ("name", "value", "got"), [("s", '"\\ud800"', r"'\ud800'"), ("t", '["\\udfff"]', "a list of 1")]
)
def test_half_a_character_is_told(name: str, value: str, got: str) -> None:
    """JSON can write it, and UTF-8 cannot."""
    schema = pa.schema([("s", pa.string()), ("t", pa.list_(pa.string()))])
    sound, faults = take_apart([f'{{"{name}":{value}}}'.encode(), b'{"s":"\\ud83d\\ude00"}'], schema)
    assert list(sound) == [1]
    assert faults == [(0, name, "text in UTF-8", got)]


def test_every_fault_of_a_row_is_told() -> None:
    """In the order of the columns."""
    _, faults = take_apart([b'{"s":1,"a":"x","l":2}', b"1"], SCHEMA)
    assert [(fault.row, fault.column) for fault in faults] == [(0, "a"), (0, "s"), (0, "l"), (1, "")]


def test_a_whole_float_is_read_as_an_integer() -> None:
    """Nothing else of its line changes, to the last bit."""
    values = {"n": 3.0, "a": 0.1 + 0.2, "s": "é\n", "l": [5e-324, 1.7976931348623157e308], "other": [{}]}
    sound, faults = take_apart([json.dumps(values).encode()], SCHEMA)
    assert not faults
    assert parse(sound[0], SCHEMA).to_pylist() == [{name: values[name] for name in SCHEMA.names}]
