"""What a file of rows is: its format and compression, told by its name or given by the caller."""

from typing import Literal, NamedTuple, get_args

from service.errors import ScoreError

Format = Literal["csv", "jsonl", "parquet", "arrow"]
Compression = Literal["gzip", "zstd"]

_FORMATS: dict[str, Format] = {
    "csv": "csv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
    "pq": "parquet",
    "arrow": "arrow",
    "ipc": "arrow",
    "feather": "arrow",
}
_COMPRESSIONS: dict[str, Compression] = {"gz": "gzip", "zst": "zstd"}
SUFFIXES = ", ".join(f".{name}" for name in _FORMATS)
_KNOWN = f"{SUFFIXES}, all but Parquet's also with .gz or .zst behind"


class Form(NamedTuple):
    """A format, and how its bytes are compressed as a whole. Parquet compresses inside, so it never is."""

    format: Format
    compression: Compression | None


def form_of(name: str, flag: str = "--format") -> Form:
    """What a file of this name holds. Raises `ScoreError` where its suffix does not say, and no `flag` does."""
    form = form_by_suffix(name)
    if form is None:
        given = "|".join(get_args(Format))
        raise ScoreError(f"{name}: its name does not say its format: known are {_KNOWN}; or give {flag} {given}")
    return form


def form_given(text: str, flag: str = "--format") -> Form:
    """The form that the caller names with a `flag`, as `csv` or `jsonl.gz`. Raises `ScoreError` for an unknown one."""
    form = form_by_suffix(f".{text}")
    if form is None:
        given = ", ".join(get_args(Format))
        raise ScoreError(f"{flag}: expected one of {given}, all but parquet also with .gz or .zst, got {text!r}")
    return form


def form_by_suffix(name: str) -> Form | None:
    """The form that the end of a name says, in whichever case; None where it says none."""
    stem, dot, last = name.lower().rpartition(".")
    compression = _COMPRESSIONS.get(last)
    if compression is not None:
        _, dot, last = stem.rpartition(".")
    found = _FORMATS.get(last) if dot else None
    if found is None or (found == "parquet" and compression is not None):
        return None
    return Form(found, compression)
