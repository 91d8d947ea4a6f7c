"""Behaviour of service.logs."""

import io
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.logs import LONGEST, EyeFormatter, JsonFormatter, beside, mark, printable

FORGED = "a\n2026-01-01 00:00:00,000 ERROR all is lost\r\x1b[31m\x00\x85\u2028\udc80\x7f"
TEXTS = st.text(st.characters())


def written(formatter: logging.Formatter, log: Callable[[logging.Logger], Any]) -> str:
    """What a handler with this formatter writes of what is logged."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.Logger("some.place")  # noqa: LOG001  # of no other's handlers
    logger.addHandler(handler)
    log(logger)
    return stream.getvalue()


def test_a_line_for_the_eye() -> None:
    """Time, severity, sentence, and each field as a word, in quotes where it is none."""
    fields = {"status": 400, "model": "line", "path": "a b", "id": "", "name": "x=1"}
    line = written(EyeFormatter(), lambda logger: logger.warning("it is %s", "so", extra=beside(fields)))
    assert re.fullmatch(
        r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING it is so status=400 model=line path="a b" id="" name="x=1"\n',
        line,
    )


def test_a_line_as_json() -> None:
    """Its time is UTC, and the fields keep their types."""
    fields = {"status": 400, "ms": 0.5, "model": "línea"}
    line = written(JsonFormatter(), lambda logger: logger.info("it is %s", "so", extra=beside(fields)))
    assert line.isascii()
    content = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", content.pop("time"))
    assert content == {"level": "info", "logger": "some.place", "message": "it is so", **fields}


@pytest.mark.parametrize("formatter", [EyeFormatter(), JsonFormatter()])
@given(sentence=TEXTS, value=TEXTS)
def test_no_text_breaks_or_forges_a_line(formatter: logging.Formatter, sentence: str, value: str) -> None:
    """Whatever is in a sentence or a field, the record is one line that can be printed."""
    line = written(formatter, lambda logger: logger.info("%s%s", FORGED, sentence, extra=beside({"model": value})))
    assert line.endswith("\n")
    assert line[:-1].isprintable()


def test_a_field_has_a_bound() -> None:
    """As a client may have chosen it."""
    line = written(JsonFormatter(), lambda logger: logger.info("x", extra=beside({"path": "y" * 10_000})))
    assert json.loads(line)["path"] == "y" * LONGEST + "…"


def fail() -> None:
    """Raise an exception whose message has line ends."""
    raise ValueError(FORGED)


def failing(logger: logging.Logger) -> None:
    """Log an exception whose message would forge a line."""
    try:
        fail()
    except ValueError:
        logger.exception("it fails")


def test_an_exception_stands_indented_below_its_line() -> None:
    """So that nothing in it looks like a line of its own."""
    first, *rest = written(EyeFormatter(), failing).splitlines()
    assert first.endswith("ERROR it fails")
    assert "Traceback" in rest[0]
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_an_exception_is_a_field_of_json() -> None:
    """In the same line."""
    (line,) = written(JsonFormatter(), failing).splitlines()
    assert "ValueError: a\n" in json.loads(line)["exception"]


def test_a_table_stands_for_the_fields_before_the_eye_only() -> None:
    """A program has the fields."""
    extra = beside({"models": {"line": ["1"]}}, ["line  1", "cpu   2"])
    assert written(EyeFormatter(), lambda logger: logger.info("here", extra=extra)).endswith(
        " INFO here\n    line  1\n    cpu   2\n"
    )
    (line,) = written(JsonFormatter(), lambda logger: logger.info("here", extra=extra)).splitlines()
    assert json.loads(line)["models"] == {"line": ["1"]}


def test_what_can_be_printed_stays() -> None:
    """Letters of every language do; the rest is written out."""
    assert printable("línea 線 …") == "línea 線 …"
    assert printable("a\nb\x1b\u2028\udc80") == r"a\nb\x1b\u2028\udc80"


def test_a_mark_is_in_every_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs it, before its own fields, which win over it; also of a record that has none."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EyeFormatter())
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    mark(worker=3, of=4)
    logging.getLogger("some.place").warning("plain")
    logging.getLogger("another").warning("full", extra=beside({"status": 400, "of": 5}))
    plain, full = stream.getvalue().splitlines()
    assert plain.endswith(" WARNING plain worker=3 of=4")
    assert full.endswith(" WARNING full worker=3 of=5 status=400")
