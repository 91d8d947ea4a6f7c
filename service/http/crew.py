"""What the workers of a server do, and its supervisor for them."""

from service.exits import SUCCESS
from service.http.listeners import Listeners
from service.http.server import Server
from service.logs import mark
from service.metrics import Metrics
from service.workers import Worker


class Crew:
    """Serves by several processes, each of which listens on a socket of its own and counts by itself."""

    def __init__(self, server: Server, listeners: Listeners, metrics: Metrics) -> None:
        self._server = server
        self._listeners = listeners
        self._metrics = metrics

    def work(self, worker: Worker) -> int:
        """Serve as this worker."""
        mark(worker=worker.number)
        self._listeners.keep(worker.number)
        self._metrics.numbers.take(worker.number)
        self._server.serve_as(worker, [self._listeners.of(worker.number)])
        return SUCCESS

    def replaced(self) -> None:
        """Count it."""
        self._metrics.restarts.add()

    def rest(self, number: int) -> None:
        """Send nobody there."""
        self._listeners.rest(number)

    def end(self) -> None:
        """Keep no socket open that its worker closes."""
        self._listeners.close()
