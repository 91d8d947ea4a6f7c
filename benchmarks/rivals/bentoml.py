"""The classifier on BentoML; `bentoml serve benchmarks.rivals.bentoml:Inference --port PORT`."""

import bentoml

from benchmarks.rivals.model import Answer, Classifier


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Inference:
    """The service, which BentoML runs in a process of its own."""

    def __init__(self) -> None:
        self._classifier = Classifier()

    @bentoml.api(batchable=True, max_batch_size=100, max_latency_ms=60000)
    def predict(self, features: list[list[float]]) -> list[Answer]:
        """The answers to the rows of a batch."""
        return self._classifier.answers(features)
