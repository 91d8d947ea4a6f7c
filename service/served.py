"""One version in service, with everything that a request to it needs, made of what lies on disk."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from service.batching.batcher import Batcher
from service.codec.oip import InferCodec
from service.codec.rows import RowsCodec
from service.codec.tensors import Inputs
from service.codec.words import Contexts, WordsCodec
from service.config import Settings
from service.manifest import Golden, ModelManifest
from service.metrics import ModelStats
from service.model.loading import Loaded, load
from service.model.plan import Plan, plan
from service.model.runtime import Arrays, Part, Runtime, join, split, stack
from service.ranges import Ranges

logger = logging.getLogger(__name__)

_INLINE = {"inline": True, "thread": False, "auto": None}
"""What the setting says to the batcher; None lets it decide by what a batch will cost."""


class RowDialect(Protocol):
    """What version 1 says of a model's rows: the codec that suits its kind."""

    def decode(self, body: bytes) -> Inputs | Contexts:
        """The request in `body`, or a `RequestError`."""

    def encode(self, request: Any, outputs: Any) -> bytes:  # noqa: ANN401  # each codec has its own request
        """The reply to the request that `decode` gave."""


@dataclass(frozen=True)
class ServedModel:
    """A version in service; whatever lies on disk from now on, it stays as it is."""

    manifest: ModelManifest
    golden: Golden | None
    """None for an ONNX file alone."""
    plan: Plan
    infer: InferCodec
    rows: RowDialect | None
    """None for a model that takes requests whole."""
    batcher: Batcher[Arrays, Arrays]
    stats: ModelStats
    notes: tuple[str, ...] = ()
    """What is to be known of how it is served."""
    obstacle: str = ""
    """What keeps it from taking rows, as a sentence; empty where it takes them."""
    refuses: Ranges | None = None
    """The ranges outside of which values are refused, where the operator says so."""


@dataclass(frozen=True)
class Prepared:
    """A version that computes as it should, and how it will be run: all of it but its place on the event loop."""

    loaded: Loaded
    plan: Plan
    ranges: Ranges | None
    infer: InferCodec
    rows: RowDialect | None


def prepare(place: Path, name: str, settings: Settings) -> Prepared:
    """Open a version, replay its golden rows and try it out; on any thread, for it takes a while.

    Raises the `ModelError` that says why it cannot be served.
    """
    loaded = load(place, name, provider=settings.provider, threads=settings.threads)
    decided = plan(loaded, settings.max_batch, settings.dependent_rows, settings.max_queue)
    manifest = decided.manifest
    # No request may have more rows than may wait: so none is refused for ever.
    max_rows = min(settings.max_queue, decided.max_request or settings.max_queue)
    infer = InferCodec(manifest, max_rows, max_reply=settings.max_reply)
    return Prepared(loaded, decided, Ranges.of(manifest), infer, _row_dialect(manifest, max_rows, settings.max_reply))


def serve(prepared: Prepared, settings: Settings, stats: ModelStats, loop: asyncio.AbstractEventLoop) -> ServedModel:
    """What a prepared version is that answers on `loop`, counted in `stats`; it may be called on any thread."""
    loaded, decided, ranges = prepared.loaded, prepared.plan, prepared.ranges
    manifest, notes = decided.manifest, loaded.notes + decided.notes
    obstacle = ""
    if manifest.batching == "none":
        obstacle = notes[0] if notes else "its manifest says so: each request is a run by itself"
    refuses = settings.refuse_outside == "all" or manifest.name in names_in(settings.refuse_outside)
    if refuses and ranges is None and settings.refuse_outside != "all":
        notes += ("it knows no ranges that training saw, so it refuses no value outside them",)
    run = (_whole if manifest.batching == "none" else _rows)(loaded.runtime, ranges, stats)
    batcher = _batcher(run, decided, settings, stats, loop)
    for note in notes:
        logger.warning("%s version %s: %s", manifest.name, manifest.version, note)
    seconds = decided.curve.seconds(decided.max_batch)
    logger.info(
        "%s version %s is ready: %d rows in %.0f µs",
        manifest.name,
        manifest.version,
        decided.max_batch,
        seconds * 1e6,
    )
    return ServedModel(
        manifest=manifest,
        golden=loaded.golden,
        plan=decided,
        infer=prepared.infer,
        rows=prepared.rows,
        batcher=batcher,
        stats=stats,
        notes=notes,
        obstacle=obstacle,
        refuses=ranges if refuses else None,
    )


def names_in(setting: str) -> list[str]:
    """The models that a setting names, with commas between them; none for `all` and `none`."""
    return [] if setting in ("all", "none") else [name.strip() for name in setting.split(",") if name.strip()]


def _batcher(
    run: Callable[[Sequence[Part]], list[Arrays]],
    decided: Plan,
    settings: Settings,
    stats: ModelStats,
    loop: asyncio.AbstractEventLoop,
) -> Batcher[Arrays, Arrays]:
    return Batcher(
        run,
        join,
        stats,
        loop,
        max_batch=decided.max_batch,
        max_queue=settings.max_queue,
        max_queue_bytes=settings.max_queue_bytes,
        cost=decided.seconds,
        inline=_INLINE[settings.execution],
    )


def _row_dialect(manifest: ModelManifest, max_rows: int, max_reply: int) -> RowDialect | None:
    """What version 1 says of a model's rows; None where it has none."""
    if manifest.batching == "none":
        return None
    return (WordsCodec if manifest.kind == "next_word" else RowsCodec)(manifest, max_rows, max_reply=max_reply)


def _rows(runtime: Runtime, ranges: Ranges | None, stats: ModelStats) -> Callable[[Sequence[Part]], list[Arrays]]:
    """A function that computes the rows of several requests in one run, and counts the values that are outside."""

    def run(parts: Sequence[Part]) -> list[Arrays]:
        arrays = stack(parts)
        outputs = runtime.run_batch(arrays)
        if ranges is not None:
            stats.count_outside(ranges.count(arrays))
        return split(outputs, parts)

    return run


def _whole(runtime: Runtime, ranges: Ranges | None, stats: ModelStats) -> Callable[[Sequence[Part]], list[Arrays]]:
    """The same for a model that takes each request in a run of its own."""

    def run(parts: Sequence[Part]) -> list[Arrays]:
        results = []
        for arrays, _, _ in parts:
            results.append(runtime.run(arrays))
            if ranges is not None:
                stats.count_outside(ranges.count(arrays))
        return results

    return run
