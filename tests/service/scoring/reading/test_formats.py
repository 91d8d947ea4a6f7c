"""Behaviour of service.scoring.reading.formats."""

import pytest

from service.errors import ScoreError
from service.scoring.reading.formats import Form, form_by_suffix, form_given, form_of


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.csv", Form("csv", None)),
        ("a/b.x/c.CSV", Form("csv", None)),
        ("a.csv.gz", Form("csv", "gzip")),
        ("a.jsonl", Form("jsonl", None)),
        ("a.ndjson.zst", Form("jsonl", "zstd")),
        ("a.parquet", Form("parquet", None)),
        ("a.pq", Form("parquet", None)),
        ("a.arrow", Form("arrow", None)),
        ("a.ipc.gz", Form("arrow", "gzip")),
        ("a.feather", Form("arrow", None)),
    ],
)
def test_a_name_says_its_form(name: str, form: Form) -> None:
    """By its end, in whichever case."""
    assert form_of(name) == form == form_by_suffix(name)


@pytest.mark.parametrize("name", ["a", "a.txt", "csv", "a.csv.bz2", "a.parquet.gz", "a.gz", "a.csv.gz.gz", "a.csv/b"])
def test_another_name_is_told_what_there_is(name: str) -> None:
    """And how to say the format else."""
    assert form_by_suffix(name) is None
    with pytest.raises(ScoreError) as caught:
        form_of(name)
    assert caught.value.message.startswith(f"{name}: its name does not say its format: known are .csv, .jsonl, ")
    assert "--format csv|jsonl|parquet|arrow" in caught.value.message


@pytest.mark.parametrize(
    ("text", "form"), [("csv", Form("csv", None)), ("jsonl.gz", Form("jsonl", "gzip")), ("arrow", Form("arrow", None))]
)
def test_a_form_can_be_given(text: str, form: Form) -> None:
    """As the end of a name."""
    assert form_given(text) == form


@pytest.mark.parametrize("text", ["", "xml", "parquet.gz", ".csv.bz2", "gz"])
def test_an_unknown_form_is_refused(text: str) -> None:
    """With those there are."""
    with pytest.raises(ScoreError, match="expected one of csv, jsonl, parquet, arrow, all but parquet also with"):
        form_given(text)
