"""The models that are served: it owns each one's runtime, codecs and batcher."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from service.batching.batcher import Batcher
from service.codec.oip import InferCodec
from service.codec.rows import RowsCodec
from service.codec.tensors import Inputs
from service.codec.words import Contexts, WordsCodec
from service.config import Settings
from service.errors import ModelError, NotReadyError, SettingsError, UnknownModelError, UnknownVersionError
from service.manifest import Golden, ModelManifest
from service.metrics import Metrics, ModelStats
from service.model.loading import load
from service.model.plan import Plan, plan
from service.model.runtime import Arrays, Part, Runtime, join, require_provider, split, stack
from service.model.store import find_models
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
    """A version in service, with everything that a request to it needs."""

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


class IndexEntry(NamedTuple):
    """One line of the repository's index."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class Catalog:
    """The models that lie at a path, each in its latest version or, where the settings say so, in all.

    A version that cannot be served stays out, with the reason in the log and the index, and the others are
    served. Raises `SettingsError` where there is no model at all, or none of a name that a setting has.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        require_provider(settings.provider)
        try:
            found = find_models(settings.models)
        except ModelError as error:
            raise SettingsError(f"models is {error.message}") from None
        self._settings = settings
        self._metrics = metrics
        first = -1 if settings.versions == "latest" else 0
        self._places = {
            (name, str(version)): place
            for name, versions in found.items()
            for version, place in list(versions.items())[first:]
        }
        self._selected = {name: [version for own, version in self._places if own == name] for name in found}
        self._refusing = _refusing(settings.refuse_outside, self.names)
        self._served: dict[tuple[str, str], ServedModel] = {}
        self._latest: dict[str, ServedModel] = {}
        """By name, those of the served that are meant where no version is named."""
        self._refused: dict[tuple[str, str], str] = {}
        metrics.ready = lambda: self.ready

    @property
    def ready(self) -> bool:
        """Whether every selected version answers."""
        return len(self._served) == sum(map(len, self._selected.values()))

    @property
    def names(self) -> list[str]:
        """The models, whether they answer or not."""
        return list(self._selected)

    @property
    def served(self) -> list[ServedModel]:
        """The versions that answer, those of one model in ascending order."""
        return list(self._served.values())

    def load(self, loop: asyncio.AbstractEventLoop) -> None:
        """Load every selected version, to be served on `loop`."""
        for one, place in self._places.items():
            try:
                model = self._served[one] = self._load(*one, place, loop)
                if one[1] == self._selected[one[0]][-1]:
                    self._latest[one[0]] = model
            except ModelError as error:
                self._refused[one] = error.message
                logger.error("%s version %s is not served: %s", *one, error.message)  # noqa: TRY400  # it says all
            except Exception as error:
                # Whatever a damaged model brings up, the others are served.
                self._refused[one] = f"it cannot be loaded: {error}"
                logger.exception("%s version %s is not served", *one)

    def find(self, name: str, version: str | None = None) -> ServedModel:
        """The model that answers under this name, in its latest version where none is named.

        Raises `UnknownModelError`, `UnknownVersionError` or `NotReadyError`.
        """
        model = self._latest.get(name) if version is None else self._served.get((name, version))
        if model is not None:
            return model
        versions = self.versions(name)
        version = versions[-1] if version is None else version
        if version not in versions:
            hint = "" if self._settings.versions == "all" else "; FORWARDPASS_VERSIONS=all serves older ones too"
            raise UnknownVersionError(f"{name} is served in version {', '.join(versions)}, not in {version!r}{hint}")
        reason = self._refused.get((name, version), "it is being loaded")
        raise NotReadyError(f"{name} version {version} is not served: {reason}")

    def versions(self, name: str) -> list[str]:
        """The selected versions of a model, ascending; raises `UnknownModelError`."""
        versions = self._selected.get(name)
        if versions is None:
            raise UnknownModelError(f"no model {name!r} is served: the models are {', '.join(self._selected)}")
        return versions

    def index(self) -> list[IndexEntry]:
        """Every selected version with its state, and what is to be known of it."""
        return [entry for name in self._selected for entry in self.entries(name)]

    def entries(self, name: str) -> list[IndexEntry]:
        """The selected versions of a model with their states; raises `UnknownModelError`."""
        return [self._entry(name, version) for version in self.versions(name)]

    async def close(self) -> None:
        """Answer what waits, refuse what comes."""
        await asyncio.gather(*(model.batcher.close() for model in self._served.values()))

    def _entry(self, name: str, version: str) -> IndexEntry:
        model = self._served.get((name, version))
        if model is None:
            return IndexEntry(name, version, "UNAVAILABLE", self._refused.get((name, version), ""))
        return IndexEntry(name, version, "READY", "; ".join(model.notes))

    def _load(self, name: str, version: str, place: Path, loop: asyncio.AbstractEventLoop) -> ServedModel:
        settings = self._settings
        loaded = load(place, name, provider=settings.provider, threads=settings.threads)
        decided = plan(loaded, settings.max_batch, settings.dependent_rows, settings.max_queue)
        manifest, notes = decided.manifest, loaded.notes + decided.notes
        obstacle = ""
        if manifest.batching == "none":
            obstacle = notes[0] if notes else "its manifest says so: each request is a run by itself"
        ranges = Ranges.of(manifest)
        if name in self._refusing and ranges is None and settings.refuse_outside != "all":
            notes += ("it knows no ranges that training saw, so it refuses no value outside them",)
        stats = self._metrics.model(name, int(version))
        run = (_whole if manifest.batching == "none" else _rows)(loaded.runtime, ranges, stats)
        batcher = self._batcher(run, decided, stats, loop)
        stats.queue_rows = lambda: batcher.waiting_rows
        for note in notes:
            logger.warning("%s version %s: %s", name, version, note)
        seconds = decided.curve.seconds(decided.max_batch)
        logger.info("%s version %s is ready: %d rows in %.0f µs", name, version, decided.max_batch, seconds * 1e6)
        # No request may have more rows than may wait: so none is refused for ever.
        max_rows = min(settings.max_queue, decided.max_request or settings.max_queue)
        return ServedModel(
            manifest=manifest,
            golden=loaded.golden,
            plan=decided,
            infer=InferCodec(manifest, max_rows, max_reply=settings.max_reply),
            rows=_row_dialect(manifest, max_rows, settings.max_reply),
            batcher=batcher,
            stats=stats,
            notes=notes,
            obstacle=obstacle,
            refuses=ranges if name in self._refusing else None,
        )

    def _batcher(
        self,
        run: Callable[[Sequence[Part]], list[Arrays]],
        decided: Plan,
        stats: ModelStats,
        loop: asyncio.AbstractEventLoop,
    ) -> Batcher[Arrays, Arrays]:
        settings = self._settings
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


def _refusing(setting: str, names: Sequence[str]) -> set[str]:
    """The models that refuse values outside the range of training; raises `SettingsError` for a name of none."""
    if setting in ("all", "none"):
        return set(names) if setting == "all" else set()
    wanted = [name.strip() for name in setting.split(",") if name.strip()]
    for name in wanted:
        if name not in names:
            raise SettingsError(f"refuse_outside names {name!r}, which is no model: the models are {', '.join(names)}")
    return set(wanted)


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
            ranges.count(arrays, stats.outside)
        return split(outputs, parts)

    return run


def _whole(runtime: Runtime, ranges: Ranges | None, stats: ModelStats) -> Callable[[Sequence[Part]], list[Arrays]]:
    """The same for a model that takes each request in a run of its own."""

    def run(parts: Sequence[Part]) -> list[Arrays]:
        results = []
        for arrays, _, _ in parts:
            results.append(runtime.run(arrays))
            if ranges is not None:
                ranges.count(arrays, stats.outside)
        return results

    return run
