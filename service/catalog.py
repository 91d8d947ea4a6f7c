"""The models that are served: it owns each one's runtime, codecs and batcher."""

import asyncio
import logging
import os
from dataclasses import dataclass
from typing import Literal, NamedTuple

from service.batcher import Batcher
from service.codec.oip import InferCodec
from service.codec.rows import RowsCodec
from service.codec.tensors import Array
from service.config import Settings
from service.errors import ModelError, NotReadyError, SettingsError, UnknownModelError, UnknownVersionError
from service.manifest import Golden, ModelManifest
from service.metrics import Metrics, ModelStats
from service.runtime import Runtime, require_provider
from service.store import find_versions, open_version

logger = logging.getLogger(__name__)

INLINE_SECONDS = 0.0005
"""A model whose largest batch takes less than this runs on the event loop: a hand-over to a thread costs more."""


@dataclass(frozen=True)
class ServedModel:
    """A version in service, with everything that a request to it needs."""

    manifest: ModelManifest
    golden: Golden
    infer: InferCodec
    rows: RowsCodec
    batcher: Batcher[tuple[Array, ...], tuple[Array, ...]]
    stats: ModelStats


class IndexEntry(NamedTuple):
    """One line of the repository's index."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class Catalog:
    """The latest version of every model in the models' folder.

    A version that cannot be served stays out, with the reason in the log and the index, and the others are
    served. Raises `SettingsError` where the folder holds no model at all.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        root = settings.models
        if not os.path.isdir(root):  # noqa: PTH112  # which is false, not an error, for a name that is too long
            raise SettingsError(f"models is {root}, which is no folder")
        require_provider(settings.provider)
        self._settings = settings
        self._metrics = metrics
        self._selected = {name: versions[-1] for name, versions in find_versions(root).items()}
        if not self._selected:
            raise SettingsError(f"models is {root}, which holds no folder <name>/<version>")
        self._served: dict[str, ServedModel] = {}
        self._refused: dict[str, str] = {}
        metrics.ready = lambda: self.ready

    @property
    def ready(self) -> bool:
        """Whether every selected model answers."""
        return len(self._served) == len(self._selected)

    @property
    def names(self) -> list[str]:
        """The models, whether they answer or not."""
        return list(self._selected)

    @property
    def served(self) -> list[ServedModel]:
        """The versions that answer."""
        return list(self._served.values())

    def load(self, loop: asyncio.AbstractEventLoop) -> None:
        """Load every selected version, to be served on `loop`."""
        for name, version in self._selected.items():
            try:
                self._served[name] = self._load(name, version, loop)
            except ModelError as error:
                self._refused[name] = error.message
                logger.error("%s version %d is not served: %s", name, version, error.message)  # noqa: TRY400  # no trace
            except Exception as error:
                # Whatever a damaged model brings up, the others are served.
                self._refused[name] = f"it cannot be loaded: {error}"
                logger.exception("%s version %d is not served", name, version)

    def find(self, name: str, version: str | None = None) -> ServedModel:
        """The model that answers under this name, in its latest version where none is named.

        Raises `UnknownModelError`, `UnknownVersionError` or `NotReadyError`.
        """
        model = self._served.get(name)
        if model is not None and version in (None, str(model.manifest.version)):
            return model
        entry = self.entry(name)
        if version not in (None, entry.version):
            raise UnknownVersionError(f"{name} is served in version {entry.version}, not in {version!r}")
        raise NotReadyError(f"{name} version {entry.version} is not served: {entry.reason or 'it is being loaded'}")

    def entry(self, name: str) -> IndexEntry:
        """The state of a model's selected version, with why it does not answer; raises `UnknownModelError`."""
        if name not in self._selected:
            raise UnknownModelError(f"no model {name!r} is served: the models are {', '.join(self._selected)}")
        state: Literal["READY", "UNAVAILABLE"] = "READY" if name in self._served else "UNAVAILABLE"
        return IndexEntry(name, str(self._selected[name]), state, self._refused.get(name, ""))

    def index(self) -> list[IndexEntry]:
        """Every selected version with its state."""
        return [self.entry(name) for name in self._selected]

    async def close(self) -> None:
        """Answer what waits, refuse what comes."""
        await asyncio.gather(*(model.batcher.close() for model in self._served.values()))

    def _load(self, name: str, version: int, loop: asyncio.AbstractEventLoop) -> ServedModel:
        settings = self._settings
        stored = open_version(settings.models / name / str(version))
        runtime = Runtime(
            stored.graph,
            stored.manifest,
            stored.golden,
            stored.graph_path,
            provider=settings.provider,
            threads=settings.threads,
        )
        seconds = runtime.seconds_for(settings.max_batch)
        stats = self._metrics.model(name, version)
        inline = seconds < INLINE_SECONDS if settings.execution == "auto" else settings.execution == "inline"
        batcher: Batcher[tuple[Array, ...], tuple[Array, ...]] = Batcher(
            runtime.run_batch,
            runtime.join,
            stats,
            loop,
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
            batch_seconds=seconds,
            inline=inline,
        )
        stats.queue_rows = lambda: batcher.waiting_rows
        logger.info(
            "%s version %d is ready: %d rows in %.0f µs, %s",
            name,
            version,
            settings.max_batch,
            seconds * 1e6,
            "on the event loop" if inline else "on a thread of its own",
        )
        manifest = stored.manifest
        # No request may have more rows than may wait: so none is refused for ever.
        infer, rows = InferCodec(manifest, settings.max_queue), RowsCodec(manifest, settings.max_queue)
        return ServedModel(manifest, stored.golden, infer, rows, batcher, stats)
