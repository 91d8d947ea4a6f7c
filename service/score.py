"""Batch scoring: files of rows in, one file of predictions out, by the same rules and runtime as the service."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

import pyarrow as pa

from service.cpu import usable_cpus
from service.errors import ModelError, ScoreError
from service.manifest import ModelManifest
from service.model.loading import Loaded, load
from service.model.plan import DependentRows, Plan, plan
from service.model.store import find_models
from service.scoring import local
from service.scoring.layout import Layout, as_read, match, types_of
from service.scoring.progress import display
from service.scoring.reading.formats import form_given, form_of
from service.scoring.reading.sources import STANDARD_INPUT, File, find_files
from service.scoring.recipe import Recipe
from service.scoring.run import Results, run
from service.scoring.scorer import OnError, Scorer
from service.scoring.walk import Inputs
from service.scoring.writing.identity import identity_of
from service.scoring.writing.journal import Journal
from service.scoring.writing.output import Output
from service.scoring.writing.results import Place
from service.scoring.writing.target import Target, rejected_rows_of

Engine = Literal["local", "ray"]

logger = logging.getLogger(__name__)

_OUTPUT_FLAG = "--output-format"


class Summary(NamedTuple):
    """What was scored."""

    model: str
    version: int
    rows: int
    """That were scored, and stand in the output."""
    rejected: int
    """Rows that were not valid, and do not."""
    resumed: int
    """Of all these, those that an earlier run had scored."""
    seconds: float
    """That it took, opening the model and the files included."""
    rejects: Path | None
    """The file that tells of the rejected rows, where there is one."""


def score(  # noqa: PLR0913  # a model, files, and how to run
    model: str,
    source: str | Path,
    target: str | Path,
    *,
    models: str | Path = "models",
    format: str | None = None,  # noqa: A002  # as the command calls it
    output_format: str | None = None,
    columns: Mapping[str, str] | None = None,
    keep: Sequence[str] = (),
    on_error: OnError = "fail",
    resume: bool = False,
    overwrite: bool = False,
    engine: Engine = "local",
    provider: str = "cpu",
    threads: int = 1,
    max_batch: int = 2048,
    dependent_rows: DependentRows = "alone",
    progress: TextIO | None = None,
) -> Summary:
    """Score every row of `source` and write the predictions, in order, to the file `target`.

    `model` is `<name>` (its latest version) or `<name>/<version>` of those that lie at `models`. `source` is a file,
    a folder, a pattern such as `rows/*.csv`, or `-`, standard input. CSV, JSON Lines, Parquet and Arrow IPC are told by
    the files' names, plain or with `.gz` or `.zst`, or by `format` and `output_format`. Columns are found by the names
    of the model's features; `columns` says which column stands for a feature where it has another name. The columns
    that `keep` names (`*`: all) are carried through; behind them each output becomes a column, or one for each of its
    labels or elements, followed by its label.

    A row that is not valid ends the scoring, with `on_error` "skip" it is left out, and with "quarantine" told in
    `<target>.rejected.csv` too. `target` appears whole or not at all. What a run that was ended has done lies beside
    it: `resume` goes on from there to the same bytes. `overwrite` replaces what lies at `target`, or unfinished beside
    it. `engine` "ray" computes on the cluster that `RAY_ADDRESS` names. `threads` are those of one run of the model; as
    many runs are at a time as there are CPUs for them. How far it has come is shown on `progress`, where it is a
    terminal, and else logged.

    Raises `ScoreError` for files that cannot be used and rows that are not valid, the `ModelError`s of opening the
    model, and `SettingsError` for a provider that is missing.
    """
    began = time.monotonic()
    place, loaded, decided = _open(
        Path(models), model, provider=provider, threads=threads, max_batch=max_batch, dependent_rows=dependent_rows
    )
    manifest = decided.manifest
    if str(target) == STANDARD_INPUT:
        raise ScoreError("standard output cannot hold an output, which appears only once it is whole: name a file")
    output = Path(target)
    form = form_given(output_format, _OUTPUT_FLAG) if output_format else form_of(str(output), _OUTPUT_FLAG)
    files = _files(source, format, output, resume=resume)
    inputs = Inputs(files)
    layout = _layout(inputs, manifest, columns or {}, keep)
    types = types_of(layout, files[0].form)
    there = as_read(inputs.at(0).schema, types)
    recipe = Recipe(place, manifest.name, provider, threads, manifest, decided.max_batch, layout, there, on_error)
    scorer = recipe.scorer(loaded.runtime)
    results = _engine(engine, inputs, types, recipe, scorer)
    options: dict[str, Any] = {"columns": dict(columns or {}), "output": list(form)}
    if dependent_rows != "alone":
        options |= {"dependent-rows": dependent_rows, "max-batch": decided.max_batch}
    identity = identity_of(recipe, files, options)
    with Target(output, overwrite=overwrite, resume=resume, quarantine=on_error == "quarantine") as own:
        written = Output(own, form, scorer.schema, files, on_error)
        shown = display(sum(file.bytes for file in files), progress)
        with Journal(own.path, own.parts, identity, scorer.schema) as journal, shown:
            journal.begin(resume=resume, overwrite=overwrite)
            resumed = run(results, written, journal, shown, resumable=not files[0].is_standard_input)
            try:
                inputs.check()
            except ScoreError:
                # Nobody can go on with what was made of a file that is another now.
                journal.discard()
                raise
            if not written.rows:
                raise ScoreError(f"{files[0].name if len(files) == 1 else source}: it has no rows")
            own.finish()
    rejects = own.rejected if on_error == "quarantine" and written.rejected else None
    seconds = time.monotonic() - began
    scored = written.rows - written.rejected
    return Summary(manifest.name, manifest.version, scored, written.rejected, resumed, seconds, rejects)


def _open(  # noqa: PLR0913  # a model, and how to run it
    models: Path, model: str, *, provider: str, threads: int, max_batch: int, dependent_rows: DependentRows
) -> tuple[Path, Loaded, Plan]:
    """Where the model lies, the model, and how its rows become runs; raises `ScoreError` for one that has no rows."""
    place, name = _find(models, model)
    loaded = load(place, name, provider=provider, threads=threads)
    decided = plan(loaded, max_batch, dependent_rows)
    notes = loaded.notes + decided.notes
    if decided.manifest.batching == "none":
        why = "".join(f": {note}" for note in notes[:1])
        raise ScoreError(f"{name} takes requests whole, not rows, so it cannot score the rows of a file{why}")
    for note in notes:
        logger.warning("%s: %s", name, note)
    return place, loaded, decided


def _files(source: str | Path, given: str | None, output: Path, *, resume: bool) -> tuple[File, ...]:
    """The files to be scored; raises `ScoreError` where the output would be read: now, or by the next run over them."""
    files = find_files(source, given)
    if resume and files[0].is_standard_input:
        raise ScoreError("standard input is gone once it is read, so that nothing can be resumed: score a file")
    # Of links that lead in a circle `Path.resolve` makes an error; where they are written to, the system tells.
    resolved = os.path.realpath(output)
    own = {resolved, os.path.realpath(rejected_rows_of(output))}
    if any(os.path.realpath(file.path) in own for file in files if not file.is_standard_input):
        raise ScoreError(f"{output}, or its file of rejected rows, is to be scored itself: name another")
    if Path(source).is_dir() and Path(resolved).is_relative_to(os.path.realpath(source)):
        raise ScoreError(f"{output} lies in the folder {source}, of which the next run would score it: name another")
    return files


def _find(models: Path, model: str) -> tuple[Path, str]:
    """Where the version lies, and the model's name."""
    name, _, version = model.partition("/")
    try:
        found = find_models(models)
    except ModelError as error:
        raise ScoreError(f"models is {error.message}") from None
    if name not in found:
        raise ScoreError(f"{models} holds no model {name!r}: it holds {', '.join(found)}")
    places = {str(number): place for number, place in found[name].items()}
    if version and version not in places:
        raise ScoreError(f"{models} holds {name} in the versions {', '.join(places)}, not in {version!r}")
    return places[version or list(places)[-1]], name


def _layout(inputs: Inputs, manifest: ModelManifest, names: Mapping[str, str], keep: Sequence[str]) -> Layout:
    """The layout that all files have; raises `ScoreError` where one has another."""
    first = inputs.files[0]
    there = inputs.at(0).schema
    layout = match(manifest, there, names, keep, where=first.name, form=first.form)
    for index, file in enumerate(inputs.files[1:], 1):
        if file.form.format != first.form.format:
            raise ScoreError(f"{file.name} is no {first.form.format} as {first.name} is: score one format at a time")
        schema = inputs.at(index).schema
        own = match(manifest, schema, names, keep, where=file.name, form=file.form)
        if own != layout:
            raise ScoreError(f"{file.name}: its columns are other than those of {first.name}, which come to one output")
        for name in layout.keep:
            one, other = schema.field(name).type, there.field(name).type
            if one != other:
                raise ScoreError(f"{file.name}: the column {name!r} is of type {one}, but in {first.name} of {other}")
    return layout


def _engine(
    engine: Engine, inputs: Inputs, types: Mapping[str, pa.DataType], recipe: Recipe, scorer: Scorer
) -> Callable[[Place | None], Results]:
    """What gives the results of all blocks behind a place, in order."""
    if engine == "ray":
        # Only who asks for it has it, and waits for it.
        from service.scoring import on_ray  # noqa: PLC0415

        return lambda after: on_ray.run(inputs.files, types, after, recipe)
    threads = usable_cpus().shared_by(recipe.threads)
    return lambda after: local.run(inputs, types, after, scorer, threads)
