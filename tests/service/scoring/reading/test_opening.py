"""Behaviour of service.scoring.reading.opening."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from service.scoring.reading.opening import open_input
from tests.service.scoring.conftest import file_at, rows_of

ROWS = [{"a": 0.1 + 0.2, "b": 1.0}, {"a": -5e-324, "b": 1.7976931348623157e308}]


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet", "x.arrow"])
def test_every_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    """To the last bit."""
    path = tmp_path / name
    table = pa.Table.from_pylist(ROWS)
    if name == "x.csv":
        path.write_text("a,b\n" + "".join(f"{row['a']!r},{row['b']!r}\n" for row in ROWS))
    elif name == "x.jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)))
    elif name == "x.parquet":
        parquet.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    opened = open_input(file_at(path))
    assert opened.schema.names == ["a", "b"]
    assert rows_of(opened, {"a": pa.float64(), "b": pa.float64()}) == ROWS
