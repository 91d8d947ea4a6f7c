"""The classifier on LitServe; `python -m benchmarks.rivals.litserve PORT`."""

import sys
from typing import Any

from litserve import LitAPI, LitServer

from benchmarks.rivals.model import Answer, Classifier


class Inference(LitAPI):
    """The worker process behind LitServe's HTTP server."""

    def setup(self, device: str) -> None:  # noqa: ARG002  # LitServe gives it
        """Load the model."""
        self._classifier = Classifier()

    def decode_request(self, request: dict[str, Any]) -> list[float]:
        """The row of a request."""
        features: list[float] = request["features"]
        return features

    def batch(self, inputs: list[list[float]]) -> list[list[float]]:
        """The rows of a batch's requests, which make no array until the model is run."""
        return inputs

    def predict(self, rows: list[list[float]]) -> list[Answer]:
        """The answers to a batch."""
        return self._classifier.answers(rows)

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        """The answers to a batch's requests."""
        return output


if __name__ == "__main__":
    api = Inference(max_batch_size=64, batch_timeout=0.001)
    server = LitServer(api, accelerator="cpu", devices=1, workers_per_device=1, fast_queue=True)
    server.run("127.0.0.1", int(sys.argv[1]), log_level="warning", generate_client_file=False, access_log=False)
