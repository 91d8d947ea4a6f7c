"""The models that are served: which versions answer, and how one takes another's place."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from service.config import Settings
from service.errors import ModelError, NotReadyError, SettingsError, UnknownModelError, UnknownVersionError
from service.metrics import Metrics, Version
from service.model.imprint import Imprint, imprint, is_gone
from service.model.runtime import require_provider
from service.model.store import find_models
from service.retirement import Retirement
from service.selection import Selection
from service.served import Prepared, ServedModel, names_in, prepare, serve

logger = logging.getLogger(__name__)

_Key = tuple[str, str]
"""A model's name, and a version as it is written."""


class IndexEntry(NamedTuple):
    """One line of the repository's index."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class _Refusal(NamedTuple):
    """Why a version is not served as it lies on disk, and how it lay there."""

    reason: str
    imprint: Imprint


class Catalog:
    """The models that lie at a path, in the versions that the settings select.

    A version that cannot be served stays out, with the reason in the log, the index and the metrics; the others are
    served, and so is what it was to take the place of. Raises `SettingsError` where there is no model at all, or none
    of a name that a setting has.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        require_provider(settings.provider)
        self._settings = settings
        self._metrics = metrics
        self._selection = Selection(settings.versions)
        self._left_out: set[str] = set()
        """What was said at the last look of what is left out."""
        try:
            found = self._find()
        except ModelError as error:
            raise SettingsError(f"models is {error.message}") from None
        self._selection.require(found)
        self._selected = {name: self._selection.of(name, versions) for name, versions in found.items()}
        """What is to be served: of each model the versions, ascending, and where they lie."""
        self._awaited = {(name, version) for name, versions in self._selected.items() for version in versions}
        """What was selected at start and has not answered yet."""
        _require_models(settings.refuse_outside, self.names)
        self._served: dict[_Key, ServedModel] = {}
        self._latest: dict[str, ServedModel] = {}
        """By name, those of the served that are meant where no version is named."""
        self._places: dict[_Key, tuple[Path, Imprint]] = {}
        """Where the served lay when they were loaded, and how."""
        self._refused: dict[_Key, _Refusal] = {}
        self._unloaded: set[str] = set()
        """The models that somebody asked to unload."""
        self._missing = ""
        """Why nothing was found at the last look, if so."""
        self._changing = asyncio.Lock()
        """Held by whoever changes what is served: changes come one after the other."""
        self._retirement = Retirement()
        self.draining = False
        """Whether the server is about to stop: it is not ready from then on, though every model still answers."""
        metrics.ready = lambda: self.ready
        metrics.selected = self._kinds

    @property
    def ready(self) -> bool:
        """Whether every version that was selected at start has answered; what comes later and fails is no matter."""
        return not self.draining and not self._awaited

    @property
    def names(self) -> list[str]:
        """The models, whether they answer or not."""
        return sorted(self._selected)

    @property
    def served(self) -> list[ServedModel]:
        """The versions that answer, by name, those of one model in ascending order."""
        return [self._served[key] for key in sorted(self._served, key=_order)]

    def load(self, loop: asyncio.AbstractEventLoop) -> None:
        """Load every selected version, to be served on `loop`, at start: before anything is asked."""
        for name, versions in self._selected.items():
            for version, place in versions.items():
                self._take((name, version), place, imprint(place), self._attempt((name, version), place), loop)

    async def rescan(self) -> None:
        """Serve what lies on disk now: load what is new or another one, let go of what is gone.

        The event loop goes on meanwhile. Where the whole place is gone, or empty, all goes on as it is: that is more
        likely a disk that failed than somebody's wish.
        """
        async with self._changing:
            try:
                found = await asyncio.to_thread(self._find)
            except ModelError as error:
                if error.message != self._missing:
                    logger.warning("what is served goes on as it is: %s", error.message)
                self._missing = error.message
                return
            self._missing = ""
            for name in sorted({*found, *self._selected}):
                await self._change(name, found.get(name, {}))

    async def load_model(self, name: str) -> None:
        """Load the selected versions of one model as they lie on disk now, those again that could not be served.

        Raises `UnknownModelError` where there is none, and `NotReadyError` where one of them cannot be served.
        """
        async with self._changing:
            try:
                versions = (await asyncio.to_thread(self._find)).get(name, {})
            except ModelError as error:
                raise NotReadyError(f"{name} is not loaded: {error.message}") from None
            if not versions:
                raise UnknownModelError(f"no model {name!r} lies where the models are")
            if not self._selection.of(name, versions):
                raise UnknownModelError(f"{name} lies where the models are, but in no version that is selected")
            self._unloaded.discard(name)
            for key in [key for key in self._refused if key[0] == name]:
                del self._refused[key]
            await self._change(name, versions)
            for version in self._selected[name]:
                refusal = self._refused.get((name, version))
                if refusal is not None:
                    raise NotReadyError(f"{name} version {version} is not loaded: {refusal.reason}")

    async def unload_model(self, name: str) -> None:
        """Serve no version of this model until it is loaded again; raises `UnknownModelError`.

        What is queued for it is answered.
        """
        async with self._changing:
            self.versions(name)
            self._unloaded.add(name)
            self._awaited = {key for key in self._awaited if key[0] != name}
            for key in [key for key in self._served if key[0] == name]:
                self._take_out(key)

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
            hint = "" if self._selection.all else "; FORWARDPASS_VERSIONS=all serves older ones too"
            raise UnknownVersionError(f"{name} is served in version {', '.join(versions)}, not in {version!r}{hint}")
        raise NotReadyError(f"{name} version {version} is not served: {self._reason(name, version)}")

    def versions(self, name: str) -> list[str]:
        """The versions of a model that are selected or still served, ascending; raises `UnknownModelError`."""
        if name not in self._selected:
            raise UnknownModelError(f"no model {name!r} is served: the models are {', '.join(self.names)}")
        served = {version for own, version in self._served if own == name}
        return sorted(served.union(self._selected[name]), key=int)

    def index(self) -> list[IndexEntry]:
        """Every selected version with its state, and what is to be known of it."""
        return [entry for name in self.names for entry in self.entries(name)]

    def entries(self, name: str) -> list[IndexEntry]:
        """The versions of a model with their states; raises `UnknownModelError`."""
        return [self._entry(name, version) for version in self.versions(name)]

    def _kinds(self) -> list[tuple[Version, str | None]]:
        """Every selected version with the kind of its model; None where it does not answer."""
        keys = [(entry.name, entry.version) for entry in self.index()]
        models = [self._served.get(key) for key in keys]
        return [
            (Version(*key), None if model is None else model.manifest.kind)
            for key, model in zip(keys, models, strict=True)
        ]

    async def close(self) -> None:
        """Answer what waits, refuse what comes."""
        await asyncio.gather(*(model.batcher.close() for model in self._served.values()), self._retirement.close())

    def _find(self) -> dict[str, dict[int, Path]]:
        """What lies on disk now, on any thread; what is left out of it is logged once, as long as it is."""
        left_out: set[str] = set()
        try:
            return find_models(self._settings.models, left_out.add)
        finally:
            # Also where nothing else is there: it may be why.
            for said in sorted(left_out - self._left_out):
                logger.warning("%s", said)
            self._left_out = left_out

    def _entry(self, name: str, version: str) -> IndexEntry:
        model = self._served.get((name, version))
        if model is None:
            return IndexEntry(name, version, "UNAVAILABLE", self._reason(name, version, ""))
        refusal = self._refused.get((name, version))
        notes = model.notes
        if refusal is not None:
            notes = (*notes, f"it is served as it was, for what lies there now cannot be: {refusal.reason}")
        return IndexEntry(name, version, "READY", "; ".join(notes))

    def _reason(self, name: str, version: str, otherwise: str = "it is being loaded") -> str:
        if name in self._unloaded:
            return "it was unloaded"
        refusal = self._refused.get((name, version))
        return otherwise if refusal is None else refusal.reason

    async def _change(self, name: str, found: Mapping[int, Path]) -> None:
        """Serve of a model what is selected of these versions."""
        loop = asyncio.get_running_loop()
        wanted = self._selected[name] = self._selection.of(name, found)
        for version, place in wanted.items():
            key = name, version
            now = await asyncio.to_thread(imprint, place)
            if not self._is_known(key, now):
                self._take(key, place, now, await asyncio.to_thread(self._attempt, key, place), loop)
        self._let_go(name)

    def _is_known(self, key: _Key, now: Imprint) -> bool:
        """Whether what lies there is what is served, or what was refused."""
        if key in self._places and self._places[key][1].content == now.content:
            # Whatever was refused in its place has left it again.
            self._refused.pop(key, None)
            return True
        return key in self._refused and self._refused[key].imprint == now

    def _attempt(self, key: _Key, place: Path) -> Prepared | str:
        """The version, ready to be served, or why it cannot be; on any thread."""
        try:
            return prepare(place, key[0], self._settings)
        except ModelError as error:
            return error.message
        except Exception as error:
            # Whatever a damaged model brings up, the others are served.
            logger.exception("%s version %s failed to load", *key)
            return f"it cannot be loaded: {error!r}"

    def _take(
        self, key: _Key, place: Path, now: Imprint, made: Prepared | str, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Put a version in the place of what answers under its name, in one step; or keep why it cannot be."""
        outcome = "failed" if isinstance(made, str) else "ok"
        self._metrics.loads.add(*key, outcome)
        if isinstance(made, str):
            before = self._refused.get(key)
            self._refused[key] = _Refusal(made, now)
            if before is None or before.reason != made:
                done = "goes on as it was" if key in self._served else "is not served"
                logger.error("%s version %s %s: %s", *key, done, made)
            return
        model = serve(made, self._settings, self._metrics.model(key[0], int(key[1])), loop)
        self._retire(key)
        self._served[key] = model
        self._places[key] = place, now
        self._refused.pop(key, None)
        self._awaited.discard(key)
        self._find_latest(key[0])

    def _let_go(self, name: str) -> None:
        """Retire what is no longer selected, once something else of the model answers or nothing of it is left."""
        wanted = self._selected[name]
        answers = any((name, version) in self._served for version in wanted)
        for key in [key for key in self._served if key[0] == name and key[1] not in wanted]:
            if answers or (not wanted and is_gone(self._places[key][0])):
                self._take_out(key)
        for key in [key for key in self._refused if key[0] == name and key[1] not in wanted]:
            del self._refused[key]
        if any(key[0] == name for key in self._awaited):
            # Another version may be selected by now: while nothing answers, that one is awaited.
            awaited = {key for key in self._awaited if key[0] != name or key[1] in wanted}
            self._awaited = awaited if answers else awaited | {(name, version) for version in wanted}
        if not wanted and name not in self._latest:
            del self._selected[name]

    def _take_out(self, key: _Key) -> None:
        """Serve a version no longer, in favour of none of its number."""
        self._retire(key)
        self._metrics.retire(*key)

    def _retire(self, key: _Key) -> None:
        """Take a version out of service, if it is in it; it ends when the last request that knows it has."""
        model = self._served.pop(key, None)
        if model is None:
            return
        del self._places[key]
        self._find_latest(key[0])
        self._retirement.add(model)
        logger.info("%s version %s is no longer served", *key)

    def _find_latest(self, name: str) -> None:
        """Let the last of the versions that answer be the one that is meant where none is named."""
        versions = [int(version) for own, version in self._served if own == name]
        if versions:
            self._latest[name] = self._served[name, str(max(versions))]
        else:
            self._latest.pop(name, None)


def _order(key: _Key) -> tuple[str, int]:
    return key[0], int(key[1])


def _require_models(setting: str, names: list[str]) -> None:
    """Raise `SettingsError` where the rule about values outside the range names what is no model."""
    for name in names_in(setting):
        if name not in names:
            raise SettingsError(f"refuse_outside names {name!r}, which is no model: the models are {', '.join(names)}")
