"""The classifier on mosec; `python -m benchmarks.rivals.mosec --port PORT`."""

from typing import Any

from mosec import Server, Worker

from benchmarks.rivals.model import Answer, Classifier


class Inference(Worker):
    """The worker process behind mosec's HTTP server."""

    def __init__(self) -> None:
        super().__init__()
        self._classifier = Classifier()

    def forward(self, data: list[dict[str, Any]]) -> list[Answer]:
        """The answers to the requests of a batch."""
        return self._classifier.answers([request["features"] for request in data])


if __name__ == "__main__":
    server = Server()
    server.append_worker(Inference, num=1, max_batch_size=32, max_wait_time=1)
    server.run()
