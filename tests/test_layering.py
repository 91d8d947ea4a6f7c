"""Who may import whom: the rooms' order, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STANDARD = sys.stdlib_module_names

ALLOWED: dict[str, set[str]] = {
    "service.errors": set(),
    "service.manifest": {"pydantic", "service.errors"},
    "service.cpu": set(),
    "service.logs": set(),
    "service.config": {"pydantic", "pydantic_settings", "service.cpu", "service.errors"},
    "service.keys": {"service.errors"},
    "service.codec.texts": {"numpy", "service.errors"},
    "service.codec.tensors": {"msgspec", "numpy", "service.codec.texts", "service.manifest"},
    "service.codec.faults": {"numpy", "service.codec.tensors", "service.errors", "service.manifest"},
    "service.codec.ranking": {"numpy", "service.codec.tensors"},
    "service.codec.room": {"numpy"},
    "service.codec.replies": {"service.codec.tensors", "service.errors", "service.manifest"},
    "service.codec.body": {"msgspec", "numpy", "service.errors"},
    "service.codec.envelope": {"msgspec", "service.codec.body", "service.errors"},
    "service.codec.infer_input": {
        "msgspec",
        "service.codec.body",
        "service.codec.envelope",
        "service.codec.faults",
        "service.codec.tensors",
        "service.codec.texts",
        "service.codec.words",
        "service.errors",
        "service.manifest",
    },
    "service.codec.infer_output": {
        "msgspec",
        "numpy",
        "service.codec.envelope",
        "service.codec.faults",
        "service.codec.ranking",
        "service.codec.tensors",
        "service.errors",
        "service.manifest",
    },
    "service.codec.instances": {"msgspec", "service.codec.body", "service.codec.faults", "service.errors"},
    "service.codec.oip": {
        "msgspec",
        "service.codec.envelope",
        "service.codec.faults",
        "service.codec.infer_input",
        "service.codec.infer_output",
        "service.codec.replies",
        "service.codec.tensors",
        "service.errors",
        "service.manifest",
    },
    "service.codec.rows": {
        "msgspec",
        "service.codec.body",
        "service.codec.faults",
        "service.codec.instances",
        "service.codec.replies",
        "service.codec.tensors",
        "service.codec.texts",
        "service.errors",
        "service.manifest",
    },
    "service.codec.words": {
        "msgspec",
        "numpy",
        "service.codec.body",
        "service.codec.faults",
        "service.codec.instances",
        "service.codec.ranking",
        "service.codec.replies",
        "service.codec.tensors",
        "service.errors",
        "service.manifest",
    },
    "service.batching.scheduler": set(),
    "service.batching.slowness": set(),
    "service.batching.job": {"service.errors"},
    "service.batching.admission": {"service.batching.scheduler", "service.errors"},
    "service.batching.blame": {"service.errors"},
    "service.batching.batcher": {
        "service.batching.admission",
        "service.batching.blame",
        "service.batching.job",
        "service.batching.scheduler",
        "service.batching.slowness",
        "service.errors",
        "service.metrics",
    },
    "service.exposition": set(),
    "service.numbers": set(),
    "service.metrics": {"service.numbers"},
    "service.page": {"prometheus_client", "service.exposition", "service.metrics", "service.numbers"},
    "service.exits": set(),
    "service.workers": {"service.exits"},
    "service.ranges": {"numpy", "service.codec.tensors", "service.errors", "service.manifest"},
    "service.model.sealed": set(),
    "service.model.store": {"service.errors", "service.manifest", "service.model.sealed"},
    "service.model.runtime": {
        "numpy",
        "onnxruntime",
        "service.codec.tensors",
        "service.errors",
        "service.manifest",
        "service.model.graph_file",
        "service.model.sealed",
    },
    "service.model.proof": {
        "numpy",
        "service.codec.tensors",
        "service.errors",
        "service.manifest",
        "service.model.runtime",
    },
    "service.model.cost": set(),
    "service.model.sample": {
        "numpy",
        "service.codec.tensors",
        "service.errors",
        "service.manifest",
        "service.model.runtime",
    },
    "service.model.trial": {
        "numpy",
        "service.codec.tensors",
        "service.errors",
        "service.model.cost",
        "service.model.runtime",
        "service.model.sample",
    },
    "service.model.plain": {"service.errors", "service.manifest", "service.model.runtime", "service.model.sample"},
    "service.model.graph_file": set(),
    "service.model.imprint": {"service.errors", "service.model.graph_file", "service.model.store"},
    "service.model.loading": {
        "service.errors",
        "service.manifest",
        "service.model.graph_file",
        "service.model.plain",
        "service.model.proof",
        "service.model.runtime",
        "service.model.store",
    },
    "service.model.plan": {
        "service.errors",
        "service.manifest",
        "service.model.cost",
        "service.model.loading",
        "service.model.runtime",
        "service.model.sample",
        "service.model.trial",
    },
    "service.selection": {"service.errors"},
    "service.served": {
        "service.batching.batcher",
        "service.codec.oip",
        "service.codec.rows",
        "service.codec.tensors",
        "service.codec.words",
        "service.config",
        "service.manifest",
        "service.metrics",
        "service.model.loading",
        "service.model.plan",
        "service.model.runtime",
        "service.ranges",
    },
    "service.retirement": {"service.batching.batcher", "service.served"},
    "service.catalog": {
        "service.config",
        "service.errors",
        "service.metrics",
        "service.model.imprint",
        "service.model.runtime",
        "service.model.store",
        "service.retirement",
        "service.selection",
        "service.served",
    },
    "service.watch": {"watchfiles"},
    "service.predict": {
        "msgspec",
        "service.batching.job",
        "service.catalog",
        "service.codec.oip",
        "service.codec.tensors",
        "service.codec.words",
        "service.errors",
        "service.metrics",
        "service.served",
    },
    "service.timed": {
        "msgspec",
        "service.codec.tensors",
        "service.codec.words",
        "service.metrics",
        "service.predict",
        "service.served",
    },
    "service.tracing": {"opentelemetry", "service.errors", "service.predict"},
    "service.http.wire": {"msgspec", "service.errors", "service.predict"},
    "service.http.route": {
        "starlette",
        "service.codec.room",
        "service.errors",
        "service.http.failures",
        "service.metrics",
        "service.predict",
        "service.http.wire",
    },
    "service.http.access": {
        "starlette",
        "service.errors",
        "service.http.failures",
        "service.http.route",
        "service.http.wire",
        "service.keys",
        "service.metrics",
    },
    "service.http.failures": {"service.errors", "service.logs", "service.predict"},
    "service.http.triton": {
        "msgspec",
        "service.codec.body",
        "service.errors",
        "service.manifest",
        "service.metrics",
    },
    "service.http.openapi": {"fastapi", "service.codec.tensors", "service.codec.words", "service.manifest"},
    "service.http.head_as_get": {"starlette"},
    "service.http.endpoints": {
        "fastapi",
        "service.catalog",
        "service.config",
        "service.errors",
        "service.http.route",
        "service.http.triton",
        "service.manifest",
        "service.metrics",
        "service.page",
    },
    "service.http.exception_handlers": {
        "fastapi",
        "starlette",
        "service.errors",
        "service.http.failures",
        "service.http.route",
        "service.http.wire",
    },
    "service.http.app": {
        "fastapi",
        "fastapi_offline",
        "starlette",
        "service.catalog",
        "service.config",
        "service.errors",
        "service.http.access",
        "service.http.endpoints",
        "service.http.exception_handlers",
        "service.http.failures",
        "service.http.head_as_get",
        "service.http.openapi",
        "service.http.request_ids",
        "service.http.route",
        "service.http.traced",
        "service.keys",
        "service.metrics",
        "service.predict",
        "service.timed",
        "service.tracing",
        "service.watch",
    },
    "service.http.patience": set(),
    "service.http.rounds": set(),
    "service.http.connection": {"uvicorn", "service.http.wire", "service.predict"},
    "service.http.guard": {
        "httptools",
        "uvicorn",
        "service.errors",
        "service.http.connection",
        "service.http.failures",
        "service.http.patience",
        "service.http.rounds",
        "service.http.wire",
    },
    "service.http.heads": {"msgspec", "service.predict"},
    "service.http.lane": {
        "uvicorn",
        "service.errors",
        "service.http.connection",
        "service.http.failures",
        "service.http.guard",
        "service.http.heads",
        "service.http.wire",
        "service.keys",
        "service.metrics",
        "service.predict",
    },
    "service.http.request_ids": {"starlette", "service.http.route", "service.http.wire"},
    "service.http.traced": {
        "msgspec",
        "starlette",
        "service.errors",
        "service.http.connection",
        "service.http.heads",
        "service.http.lane",
        "service.http.route",
        "service.http.wire",
        "service.metrics",
        "service.predict",
        "service.tracing",
    },
    "service.http.tls": {"service.config", "service.errors"},
    "service.health": {"service.config", "service.errors", "service.http.tls"},
    "service.http.configuration": {
        "fastapi",
        "uvicorn",
        "service.config",
        "service.http.guard",
        "service.http.heads",
        "service.http.lane",
        "service.http.tls",
        "service.http.traced",
    },
    "service.http.server": {
        "uvicorn",
        "service.config",
        "service.cpu",
        "service.exits",
        "service.greeting",
        "service.http.connection",
        "service.http.guard",
        "service.logs",
        "service.workers",
    },
    "service.http.listeners": {"service.errors"},
    "service.http.crew": {
        "service.exits",
        "service.http.listeners",
        "service.http.server",
        "service.logs",
        "service.metrics",
        "service.workers",
    },
    "service.greeting": {"service.config", "service.cpu"},
    "service.machine": {
        "service.config",
        "service.cpu",
        "service.http.configuration",
        "service.model.runtime",
        "service.open_files",
    },
    "service.open_files": set(),
    "service.scoring.reading.formats": {"service.errors"},
    "service.scoring.reading.sources": {"service.errors", "service.scoring.reading.formats"},
    "service.scoring.reading.streams": {"pyarrow", "service.errors", "service.scoring.reading.sources"},
    "service.scoring.reading.blocks": {"numpy", "pyarrow", "service.errors"},
    "service.scoring.reading.text_file": {
        "service.errors",
        "service.scoring.reading.blocks",
        "service.scoring.reading.sources",
        "service.scoring.reading.streams",
    },
    "service.scoring.reading.csv_records": {
        "numpy",
        "service.codec.faults",
        "service.errors",
        "service.scoring.reading.blocks",
        "service.scoring.reading.sources",
        "service.scoring.reading.text_file",
    },
    "service.scoring.reading.csv_file": {
        "numpy",
        "pyarrow",
        "service.codec.faults",
        "service.scoring.reading.blocks",
        "service.scoring.reading.csv_records",
        "service.scoring.reading.sources",
        "service.scoring.reading.text_file",
    },
    "service.scoring.reading.json_types": {"msgspec", "pyarrow"},
    "service.scoring.reading.json_judges": {"pyarrow", "service.codec.faults"},
    "service.scoring.reading.json_rows": {
        "msgspec",
        "numpy",
        "pyarrow",
        "service.codec.faults",
        "service.scoring.reading.blocks",
        "service.scoring.reading.json_judges",
    },
    "service.scoring.reading.json_lines": {
        "numpy",
        "pyarrow",
        "service.errors",
        "service.scoring.reading.blocks",
        "service.scoring.reading.json_rows",
        "service.scoring.reading.json_types",
        "service.scoring.reading.sources",
        "service.scoring.reading.text_file",
    },
    "service.scoring.reading.parquet_file": {
        "pyarrow",
        "service.errors",
        "service.scoring.reading.blocks",
        "service.scoring.reading.sources",
    },
    "service.scoring.reading.arrow_file": {
        "pyarrow",
        "service.errors",
        "service.scoring.reading.blocks",
        "service.scoring.reading.sources",
        "service.scoring.reading.streams",
    },
    "service.scoring.reading.opening": {
        "pyarrow",
        "service.scoring.reading.arrow_file",
        "service.scoring.reading.blocks",
        "service.scoring.reading.csv_file",
        "service.scoring.reading.json_lines",
        "service.scoring.reading.parquet_file",
        "service.scoring.reading.sources",
    },
    "service.scoring.arrow_types": {"pyarrow", "service.codec.tensors", "service.manifest"},
    "service.scoring.predictions": {
        "numpy",
        "pyarrow",
        "service.codec.tensors",
        "service.codec.words",
        "service.errors",
        "service.manifest",
        "service.scoring.arrow_types",
    },
    "service.scoring.layout": {
        "pyarrow",
        "service.codec.tensors",
        "service.errors",
        "service.manifest",
        "service.scoring.arrow_types",
        "service.scoring.reading.formats",
        "service.scoring.predictions",
    },
    "service.scoring.values": {
        "numpy",
        "pyarrow",
        "service.codec.tensors",
        "service.manifest",
        "service.scoring.arrow_types",
    },
    "service.scoring.lists": {
        "msgspec",
        "numpy",
        "pyarrow",
        "service.codec.body",
        "service.codec.faults",
        "service.codec.tensors",
        "service.codec.words",
        "service.manifest",
        "service.scoring.arrow_types",
        "service.scoring.layout",
        "service.scoring.values",
    },
    "service.scoring.misfits": {
        "pyarrow",
        "service.codec.faults",
        "service.codec.tensors",
        "service.codec.words",
        "service.errors",
        "service.manifest",
        "service.scoring.arrow_types",
        "service.scoring.reading.blocks",
        "service.scoring.layout",
        "service.scoring.lists",
    },
    "service.scoring.scorer": {
        "numpy",
        "pyarrow",
        "service.codec.tensors",
        "service.errors",
        "service.manifest",
        "service.model.runtime",
        "service.scoring.reading.blocks",
        "service.scoring.layout",
        "service.scoring.lists",
        "service.scoring.misfits",
        "service.scoring.predictions",
        "service.scoring.values",
    },
    "service.scoring.writing.results": {
        "msgspec",
        "pyarrow",
        "service.scoring.reading.blocks",
        "service.scoring.scorer",
    },
    "service.scoring.writing.sinks": {
        "msgspec",
        "numpy",
        "pyarrow",
        "service.scoring.reading.blocks",
        "service.scoring.reading.formats",
    },
    "service.scoring.writing.target": {"service.errors"},
    "service.scoring.writing.journal": {
        "msgspec",
        "pyarrow",
        "service.errors",
        "service.scoring.writing.identity",
        "service.scoring.writing.results",
        "service.scoring.writing.target",
    },
    "service.scoring.progress": {"rich"},
    "service.scoring.recipe": {
        "pyarrow",
        "service.errors",
        "service.manifest",
        "service.model.loading",
        "service.model.runtime",
        "service.scoring.layout",
        "service.scoring.scorer",
    },
    "service.scoring.on_ray": {
        "pyarrow",
        "ray",
        "service.cpu",
        "service.errors",
        "service.scoring.recipe",
        "service.scoring.writing.results",
        "service.scoring.scorer",
        "service.scoring.reading.sources",
        "service.scoring.walk",
    },
    "service.scoring.walk": {
        "pyarrow",
        "service.errors",
        "service.scoring.reading.blocks",
        "service.scoring.reading.opening",
        "service.scoring.writing.results",
        "service.scoring.reading.sources",
    },
    "service.scoring.local": {
        "pyarrow",
        "service.scoring.writing.results",
        "service.scoring.scorer",
        "service.scoring.walk",
    },
    "service.scoring.writing.identity": {
        "msgspec",
        "service.manifest",
        "service.model.graph_file",
        "service.model.runtime",
        "service.scoring.recipe",
        "service.scoring.reading.sources",
    },
    "service.scoring.writing.output": {
        "pyarrow",
        "service.errors",
        "service.scoring.reading.blocks",
        "service.scoring.reading.formats",
        "service.scoring.reading.sources",
        "service.scoring.scorer",
        "service.scoring.writing.results",
        "service.scoring.writing.sinks",
        "service.scoring.writing.target",
    },
    "service.scoring.run": {
        "service.errors",
        "service.scoring.progress",
        "service.scoring.writing.journal",
        "service.scoring.writing.output",
        "service.scoring.writing.results",
    },
    "service.score": {
        "pyarrow",
        "service.cpu",
        "service.errors",
        "service.manifest",
        "service.model.loading",
        "service.model.plan",
        "service.model.store",
        "service.scoring.reading.formats",
        "service.scoring.writing.identity",
        "service.scoring.writing.journal",
        "service.scoring.layout",
        "service.scoring.local",
        "service.scoring.on_ray",
        "service.scoring.progress",
        "service.scoring.recipe",
        "service.scoring.writing.results",
        "service.scoring.scorer",
        "service.scoring.reading.sources",
        "service.scoring.writing.output",
        "service.scoring.writing.target",
        "service.scoring.walk",
        "service.scoring.run",
    },
    "service.inspection": {
        "service.config",
        "service.errors",
        "service.manifest",
        "service.model.plan",
        "service.model.store",
        "service.served",
    },
    "service.__main__": {"service", "training.__main__"},
}


def _modules(room: str) -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in sorted((ROOT / room).rglob("*.py"))
        if path.name != "__init__.py"
    }


def _imports(path: Path) -> set[str]:
    """Everything that the module imports, wherever in it, that is not of the standard library."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in names if _is_module(name)}
            found |= modules or {node.module or ""}
    return {name for name in found if name.split(".")[0] not in STANDARD}


def _is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").exists() or place.is_dir()


def _permits(allowed: set[str], name: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in allowed)


@pytest.mark.parametrize("module", _modules("service"))
def test_a_module_of_the_service_imports_only_what_its_place_allows(module: str) -> None:
    """Each import of a module is one that the table above allows it; a new module needs a line there."""
    assert module in ALLOWED, f"{module} has no place in the layering yet"
    foreign = {name for name in _imports(_modules("service")[module]) if not _permits(ALLOWED[module], name)}
    assert not foreign, f"{module} may not import {', '.join(sorted(foreign))}"


def test_the_table_names_no_module_that_is_gone() -> None:
    """The layering lists just the modules there are."""
    assert set(ALLOWED) == set(_modules("service"))


@pytest.mark.parametrize("module", ALLOWED)
def test_the_table_allows_nothing_that_is_not_used(module: str) -> None:
    """Who stops importing another has no leave to begin again unseen."""
    imported = _imports(_modules("service")[module])
    unused = {one for one in ALLOWED[module] if not any(_permits({one}, name) for name in imported)}
    assert not unused, f"{module} does not import {', '.join(sorted(unused))}"


def test_training_knows_of_the_service_only_the_file_contract() -> None:
    """Training imports the manifest and the errors it raises, and nothing else of the service."""
    for module, path in _modules("training").items():
        foreign = {name for name in _imports(path) if name.split(".")[0] == "service"}
        assert foreign <= {"service.errors", "service.manifest"}, module


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("service.http.app", ["torch", "training", "pyarrow", "opentelemetry.sdk", "opentelemetry.exporter"]),
        ("service.score", ["torch", "training", "fastapi", "starlette", "uvicorn", "prometheus_client"]),
        ("service.inspection", ["torch", "training", "fastapi", "pyarrow", "prometheus_client"]),
        ("service.health", ["numpy", "msgspec", "fastapi", "uvicorn", "onnxruntime", "prometheus_client"]),
        ("service.__main__", ["torch", "training", "fastapi", "pyarrow", "onnxruntime", "prometheus_client"]),
    ],
)
def test_importing_a_module_brings_in_nothing_that_it_does_not_need(module: str, absent: list[str]) -> None:
    """Also through what it imports, a process pays only for the libraries of its own job."""
    program = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_packages_of_the_service_are_empty() -> None:
    """Importing one runs nothing; what a room offers is its modules."""
    for path in (ROOT / "service").rglob("__init__.py"):
        assert path.read_text() == "", path
