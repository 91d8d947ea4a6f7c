"""How a line of the log is written: for the eye, or as a JSON object.

Whatever a client has sent, a record is one line and no other: what cannot be printed is written out. What belongs to
a record beside its sentence is given to the logger as `extra=beside(…)`.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

LONGEST = 200
"""Most characters of a field: a client may choose some of them."""

_PLAIN = re.compile(r"[^\s\"'=\\]+")
_INDENT = "    "


def set_up(log_format: str, level: str, stream: TextIO) -> None:
    """Have all that is logged written to `stream` from this severity on, as `eye` or `json`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if log_format == "json" else EyeFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])


def mark(**fields: object) -> None:
    """Have these fields in every record from now on."""

    def add(record: logging.LogRecord) -> bool:
        record.fields = {**fields, **getattr(record, "fields", {})}
        return True

    for handler in logging.getLogger().handlers:
        handler.addFilter(add)


def beside(fields: Mapping[str, object], table: Sequence[str] = ()) -> dict[str, Any]:
    """What a record has beside its sentence: fields, and a table that stands for some of them before the eye."""
    return {"fields": fields, "table": table}


class EyeFormatter(logging.Formatter):
    """Time, severity, sentence and `name=value` of each field; what else there is stands indented below it.

    A record that has a table shows it in place of its fields.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, without the end of its last line."""
        below = list(getattr(record, "table", ()))
        if record.exc_info:
            below += self.formatException(record.exc_info).split("\n")
        fields = {} if getattr(record, "table", ()) else getattr(record, "fields", {})
        record.message = " ".join([record.getMessage().strip(), *(f"{name}={_word(fields[name])}" for name in fields)])
        record.asctime = self.formatTime(record)
        return "\n".join([printable(self.formatMessage(record)), *(_INDENT + printable(line) for line in below)])


class JsonFormatter(logging.Formatter):
    """One object in one line of ASCII: time (UTC, ISO 8601), level, logger and message, then the record's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON, without the end of the line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        content: dict[str, object] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage().strip(),
        }
        content |= {name: _cut(value) for name, value in getattr(record, "fields", {}).items()}
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        # All that JSON leaves as it is, of what a terminal would not print.
        return json.dumps(content, default=str).replace("\x7f", "\\u007f")


def printable(text: str) -> str:
    """The text with what cannot be printed written out: line ends, control characters, halves of characters."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _word(value: object) -> str:
    """A field's value before the eye: one word, or in quotes."""
    text = str(_cut(value))
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _cut(value: object) -> object:
    return f"{value[:LONGEST]}…" if isinstance(value, str) and len(value) > LONGEST else value
