"""Behaviour of service.scoring.reading.csv_records."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.scoring.reading.csv_records import cut, header_of
from service.scoring.reading.formats import Form
from service.scoring.reading.sources import File
from service.scoring.reading.text_file import BrokenError

FILE = File("a.csv", 1, 1, Form("csv", None))


def read_by_sign(text: str) -> tuple[list[int], str]:
    """Where records end, read sign by sign, and how the text ends: in a cell that is open, wrong, or sound."""
    ends: list[int] = []
    is_open, place = False, 0
    while place < len(text):
        sign, behind = text[place], text[place + 1 : place + 2]
        if is_open and sign == '"' and behind == '"':
            place += 1
        elif is_open and sign == '"':
            if behind not in {"", ",", "\n", "\r"}:
                return ends, "wrong"
            is_open = False
        elif sign == "\r" and behind not in {"", "\n"} and not is_open:
            return ends, "wrong"
        elif sign == '"' and (not place or text[place - 1] in ",\n\r"):
            is_open = True
        elif sign == "\n" and not is_open:
            ends.append(place + 1)
        place += 1
    return ends, "open" if is_open else "sound"


@settings(max_examples=500)
@given(text=st.text(st.sampled_from('"",,\n\n\ra'), max_size=20))
@example(text='a"b\n"c\n""",d\n')
@example(text='1,"x\n2,"y\n')
def test_a_text_is_cut_behind_its_last_whole_record(text: str) -> None:
    """As who reads it sign by sign would: a line end in a quoted cell ends no record."""
    ends, state = read_by_sign(text)
    for is_last in (False, True):
        if is_last and state == "sound":
            assert cut(text.encode(), is_last=is_last) == len(text)
        elif ends or (state != "wrong" and not is_last):
            assert cut(text.encode(), is_last=is_last) == (ends[-1] if ends else 0)
        else:
            with pytest.raises(BrokenError):
                cut(text.encode(), is_last=is_last)


@pytest.mark.parametrize(
    ("text", "end", "names"),
    [
        ("a,b\n1,2\n", 4, ["a", "b"]),
        ("a,b", 3, ["a", "b"]),
        ("\r\n\na\r\n1", 6, ["a"]),
        ('"a\n"",",b\n1\n', 10, ['a\n",', "b"]),
        ('5",,6"\n"', 7, ['5"', "", '6"']),
    ],
)
def test_a_header_is_the_first_record(text: str, end: int, names: list[str]) -> None:
    """That is not blank; quotes around a name are no part of it."""
    assert header_of(text.encode(), FILE) == (end, names)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a,b\r1,2\r", "a CR stands alone: expected are LF or CR LF"),
        (b'a,"b"\r\r\n', "a CR stands alone: "),
        (b"\x1f\xff\r1", "expected is text in UTF-8, got b'"),
    ],
)
def test_a_record_with_a_lone_cr_is_refused(text: bytes, said: str) -> None:
    """It would be two rows to some and one to others, or, where all lines end so, all rows names of columns."""
    assert cut(b"a,b\r\n" + text, is_last=True) == 5
    with pytest.raises(BrokenError, match=f"^{re.escape(said)}"):
        cut(text, is_last=True)
