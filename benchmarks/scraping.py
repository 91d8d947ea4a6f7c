"""How long a scrape of `/metrics` takes, with every version of every model served and asked."""

from pathlib import Path
from time import perf_counter

from benchmarks.results import Page
from benchmarks.servers import ours
from benchmarks.wire import Request, ask, connect, posted, receive
from service.manifest import GOLDEN_FILE, MANIFEST_FILE, Golden, ModelManifest

SCRAPES = 50


def measure() -> Page:
    """Scrape a server that has answered a request to each version."""
    requests = [_golden(path) for path in sorted(Path("models").glob(f"*/*/{MANIFEST_FILE}"))]
    with ours(versions="all") as server:
        for request in requests:
            ask(server.port, request)
        scrape, milliseconds = Request("/metrics").written(server.port), []
        with connect(server.port) as connection:
            for _ in range(SCRAPES):
                began = perf_counter()
                connection.sendall(scrape)
                page = receive(connection).body
                milliseconds.append((perf_counter() - began) * 1e3)
    samples = [line for line in page.decode().splitlines() if not line.startswith("#")]
    return Page(len(samples), len(page), milliseconds)


def _golden(path: Path) -> Request:
    """The golden rows of a version as a request to it."""
    manifest = ModelManifest.model_validate_json(path.read_bytes())
    golden = Golden.model_validate_json((path.parent / GOLDEN_FILE).read_bytes())
    inputs = [
        {"name": spec.name, "datatype": spec.datatype, "shape": _shape(golden.inputs[spec.name]), "data": data}
        for spec in manifest.inputs
        for data in [golden.inputs[spec.name]]
    ]
    return posted(f"/v2/models/{manifest.name}/versions/{manifest.version}/infer", {"inputs": inputs}, headers=())


def _shape(nested: object) -> list[int]:
    """The lengths of lists in lists."""
    return [len(nested), *_shape(nested[0])] if isinstance(nested, list) else []
