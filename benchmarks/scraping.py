"""How long a scrape of `/metrics` takes, with every version of every model served and asked."""

from time import perf_counter

from benchmarks.golden import GoldenRows
from benchmarks.processes import ROOT
from benchmarks.servers import ours
from benchmarks.serving_results import Page
from benchmarks.wire import Request, ask, connect, receive

SCRAPES = 50


def measure() -> Page:
    """Scrape a server that has answered a request to each version."""
    versions = [GoldenRows(place) for place in sorted((ROOT / "models").glob("*/*"))]
    with ours(versions="all") as server:
        for version in versions:
            ask(server.port, version.request(version.count))
        scrape, milliseconds = Request("/metrics").written(server.port), []
        with connect(server.port) as connection:
            for _ in range(SCRAPES):
                began = perf_counter()
                connection.sendall(scrape)
                page = receive(connection).body
                milliseconds.append((perf_counter() - began) * 1e3)
    samples = [line for line in page.decode().splitlines() if not line.startswith("#")]
    return Page(len(samples), len(page), milliseconds)
