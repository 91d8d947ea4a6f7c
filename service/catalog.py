"""The models that are served: it owns each one's runtime, codecs and batcher."""

import asyncio
import logging
import os
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from service.batcher import Batcher
from service.codec.oip import InferCodec
from service.codec.rows import RowsCodec
from service.codec.tensors import Array, Inputs
from service.codec.words import Contexts, WordsCodec
from service.config import Settings
from service.errors import ModelError, NotReadyError, SettingsError, UnknownModelError, UnknownVersionError
from service.manifest import Golden, ModelManifest
from service.metrics import Metrics, ModelStats
from service.runtime import Runtime, require_provider
from service.store import find_versions, open_version

logger = logging.getLogger(__name__)

INLINE_SECONDS = 0.0005
"""A model whose largest batch takes less than this runs on the event loop: a hand-over to a thread costs more."""


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
    golden: Golden
    infer: InferCodec
    rows: RowDialect
    batcher: Batcher[tuple[Array, ...], tuple[Array, ...]]
    stats: ModelStats


class IndexEntry(NamedTuple):
    """One line of the repository's index."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class Catalog:
    """The models of a folder, each in its latest version or, where the settings say so, in all.

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
        first = -1 if settings.versions == "latest" else 0
        self._selected = {name: [str(v) for v in versions[first:]] for name, versions in find_versions(root).items()}
        if not self._selected:
            raise SettingsError(f"models is {root}, which holds no folder <name>/<version>")
        self._served: dict[tuple[str, str], ServedModel] = {}
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
        for one in [(name, version) for name, versions in self._selected.items() for version in versions]:
            try:
                self._served[one] = self._load(*one, loop)
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
        versions = self.versions(name)
        version = versions[-1] if version is None else version
        model = self._served.get((name, version))
        if model is not None:
            return model
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
        """Every selected version with its state."""
        return [entry for name in self._selected for entry in self.entries(name)]

    def entries(self, name: str) -> list[IndexEntry]:
        """The selected versions of a model with their states; raises `UnknownModelError`."""
        return [
            IndexEntry(
                name,
                version,
                "READY" if (name, version) in self._served else "UNAVAILABLE",
                self._refused.get((name, version), ""),
            )
            for version in self.versions(name)
        ]

    async def close(self) -> None:
        """Answer what waits, refuse what comes."""
        await asyncio.gather(*(model.batcher.close() for model in self._served.values()))

    def _load(self, name: str, version: str, loop: asyncio.AbstractEventLoop) -> ServedModel:
        settings = self._settings
        stored = open_version(settings.models / name / version)
        runtime = Runtime(
            stored.graph,
            stored.manifest,
            stored.golden,
            stored.graph_path,
            provider=settings.provider,
            threads=settings.threads,
        )
        # Whoever shares a batch changes nobody's answer: a model of which that is not so computes row by row.
        max_batch = settings.max_batch
        if not runtime.keeps_rows_apart(max_batch):
            max_batch = 1
            logger.warning("%s version %s is computed row by row: in a batch its answers differ", name, version)
        seconds = runtime.seconds_for(max_batch)
        stats = self._metrics.model(name, int(version))
        inline = seconds < INLINE_SECONDS if settings.execution == "auto" else settings.execution == "inline"
        batcher: Batcher[tuple[Array, ...], tuple[Array, ...]] = Batcher(
            runtime.run_batch,
            runtime.join,
            stats,
            loop,
            max_batch=max_batch,
            max_queue=settings.max_queue,
            batch_seconds=seconds,
            inline=inline,
        )
        stats.queue_rows = lambda: batcher.waiting_rows
        logger.info(
            "%s version %s is ready: %d rows in %.0f µs, %s",
            name,
            version,
            max_batch,
            seconds * 1e6,
            "on the event loop" if inline else "on a thread of its own",
        )
        manifest = stored.manifest
        # No request may have more rows than may wait: so none is refused for ever.
        infer = InferCodec(manifest, settings.max_queue)
        rows = (WordsCodec if manifest.kind == "next_word" else RowsCodec)(manifest, settings.max_queue)
        return ServedModel(manifest, stored.golden, infer, rows, batcher, stats)
