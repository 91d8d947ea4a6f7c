"""Behaviour of service.codec.body."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.codec.body import below, count_values, nested_lists, read, read_anything
from service.errors import JsonError, RequestError, StructureError


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    """A structure in a structure."""

    number: int


class Outer(msgspec.Struct):
    """A structure with a list of others, beside keys of any kind."""

    items: list[Inner]
    open: dict[str, Any] | None = None


OUTERS = msgspec.json.Decoder(Outer)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)


def refusal(text: bytes, pointer: str = "") -> RequestError:
    """The error that reading an Outer raises."""
    with pytest.raises(RequestError) as caught:
        read(OUTERS, text, pointer)
    return caught.value


@given(value=JSON)
@settings(deadline=None)
def test_any_json_is_read_as_it_is(value: object) -> None:
    """What was written comes back, from bytes and from a view of bytes."""
    text = json.dumps(value).encode()
    assert read_anything(text, "") == value
    assert read_anything(memoryview(text), "") == value


@given(content=st.binary(max_size=64))
@settings(deadline=None)
def test_bytes_are_json_or_a_fault(content: bytes) -> None:
    """Reading bytes of any kind raises nothing but a `RequestError` with one fault."""
    try:
        read_anything(content, "/here")
    except RequestError as error:
        assert [fault.pointer for fault in error.faults] == ["/here"]  # noqa: PT017  # either outcome is right


def test_a_number_too_large_for_a_double_is_infinite() -> None:
    """Its place can then be told by whoever knows the datatype."""
    assert read_anything(b"[1e400, -1e400]", "") == [float("inf"), float("-inf")]


def test_of_a_key_given_twice_the_last_counts() -> None:
    """Duplicate keys are read as every other reader of JSON does."""
    assert read_anything(b'{"a": 1, "a": 2}', "") == {"a": 2}
    assert read(OUTERS, b'{"items": 5, "items": []}'.replace(b"5", b"[]")).items == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe",
        b"NaN",
        b"[1,]",
        b"[01]",
        b"{'a': 1}",
        b'"\\ud800"',
        b'"\xed\xa0\x80"',
        b'["\xff"]',
        b"{} {}",
        b"[" * 250_000,
        b"[" * 250_000 + b"]" * 250_000,
        b'{"a":' * 250_000 + b"1" + b"}" * 250_000,
    ],
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    """Empty, cut off, marked, misspelt, with half a character or nested without end: one fault in a short sentence."""
    with pytest.raises(JsonError) as caught:
        read_anything(text, "")
    (fault,) = caught.value.faults
    assert fault.pointer == ""
    assert fault.expected.startswith("JSON")
    assert len(caught.value.message) < 200


def test_a_fault_stands_below_where_the_text_stands() -> None:
    """The pointer of a text that is a part of the body leads to that part."""
    with pytest.raises(StructureError) as caught:
        read_anything(b"[0, " + b"1" * 5000 + b"]", "/inputs/0/data")
    assert caught.value.faults[0].pointer == "/inputs/0/data/1"
    assert refusal(b'{"items": [{}]}', "/x").faults[0].pointer == "/x/items/0"
    assert refusal(b"nonsense", "/x").faults[0].pointer == "/x"


@pytest.mark.parametrize(
    ("text", "pointer", "expected", "got"),
    [
        (b"[]", "", "an object", "a list"),
        (b"{}", "", "an object with the key 'items'", "without it"),
        (b'{"items": 5}', "/items", "a list", "an integer"),
        (b'{"items": [{"number": 1}, {}]}', "/items/1", "an object with the key 'number'", "without it"),
        (b'{"items": [{"number": "a"}]}', "/items/0/number", "an integer", "a string"),
        (b'{"items": [{"number": 1, "more": 2}]}', "/items/0/more", "absent", "a key that is not known here"),
        (b'{"items": [], "open": []}', "/open", "an object or null", "a list"),
        (b'{"items": [], "open": {"a": {"b": 1e400}}}', "/open", "made of smaller numbers", "out of range"),
        (b'{"items": [{"number": 1e400}]}', "/items/0/number", "made of smaller numbers", "out of range"),
    ],
)
def test_another_structure_is_told_with_its_place(text: bytes, pointer: str, expected: str, got: str) -> None:
    """The fault points at the nearest place that can be told, and says what was expected there."""
    error = refusal(text)
    assert type(error) is StructureError
    (fault,) = error.faults
    assert (fault.pointer, fault.expected, fault.got) == (pointer, expected, got)


@given(key=st.text(max_size=128))
def test_a_key_is_one_step_of_a_pointer(key: str) -> None:
    """The step holds no slash, and undoing the two escapes in their order gives the key back."""
    root, _, step = below("", key).partition("/")
    assert root == ""
    assert "/" not in step
    assert step.replace("~1", "/").replace("~0", "~") == key


def test_a_key_too_long_to_repeat_is_told_by_its_object() -> None:
    """So that an error is not as long as what it refuses."""
    assert below("/here", "a" * 129) == "/here"
    text = b'{"items": [{"number": 1, "' + b"a" * 1_000_000 + b'": 2}]}'
    assert refusal(text).faults[0].pointer == "/items/0"
    assert len(refusal(text).message) < 200


def test_a_byte_order_mark_is_named() -> None:
    """Many editors write one, and it is not to be seen."""
    with pytest.raises(JsonError, match="byte order mark"):
        read_anything(b"\xef\xbb\xbf{}", "")


@pytest.mark.parametrize(
    ("text", "alone"),
    [
        (rb'["\ud800"]', True),
        (rb'["\ude00", 2]', True),
        (rb'["\uD83D\ud83d\ude00"]', True),
        (rb'["\ud83d\ude00\uDE00"]', True),
        (rb'["\\\ud800 and more"]', True),
        (rb'["\ud83d\ude00"', False),
        (rb'["\\ud800"', False),
        (rb'["\u0041', False),
        (b'["a', False),
    ],
)
def test_half_a_character_is_named(text: bytes, alone: bool) -> None:  # noqa: FBT001  # a table
    """And is not told as a text that is cut off, unless it is that."""
    with pytest.raises(JsonError) as caught:
        read_anything(text, "/x")
    assert ("stand in pairs" in str(caught.value)) == alone
    assert ("truncated" in str(caught.value)) == (not alone)


@pytest.mark.parametrize(
    ("text", "values"),
    [(rb'["\\", ",[{"]', 2), (rb'["\"", ",[{"]', 2), (rb'["\\\",", 1, 2]', 3), (rb'["\\\\", ",", ["\\"]]', 4)],
)
def test_an_escaped_backslash_escapes_nothing(text: bytes, values: int) -> None:
    """So the quotation mark after it ends the string."""
    assert count_values(text) == values


@given(value=JSON)
@settings(deadline=None)
def test_the_cost_of_a_text_is_counted_outside_of_its_strings(value: object) -> None:
    """Commas, and brackets that open, as many as the text without its strings has."""

    def cost(value: Any) -> int:  # noqa: ANN401  # JSON
        if not isinstance(value, list | dict):
            return 0
        inner = list(value.values()) if isinstance(value, dict) else value
        return 1 + max(len(inner) - 1, 0) + sum(map(cost, inner))

    assert count_values(json.dumps(value).encode()) == cost(value)
    assert count_values(json.dumps(value, ensure_ascii=False).encode(errors="replace")) == cost(value)


@pytest.mark.parametrize(("depth", "text"), [(0, b"1"), (1, b"[1]"), (3, b"[[[1]], []]")])
def test_lists_are_nested_as_deep_as_asked(depth: int, text: bytes) -> None:
    """A decoder of the type takes elements at that depth, and at no other."""
    decoder = msgspec.json.Decoder(nested_lists(int, depth))
    assert decoder.decode(text) == json.loads(text)
    with pytest.raises(msgspec.ValidationError):
        decoder.decode(b"[" + text + b"]")
