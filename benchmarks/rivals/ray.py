"""The classifier on Ray Serve; `python -m benchmarks.rivals.ray PORT`."""

import signal
import sys

import ray
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.requests import Request

from benchmarks.rivals.model import Answer, Classifier


@serve.deployment(num_replicas=1, max_ongoing_requests=1000, logging_config=LoggingConfig(enable_access_log=False))
class Inference:
    """The replica behind Ray Serve's HTTP proxy."""

    def __init__(self) -> None:
        self._classifier = Classifier()

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.01)
    async def predict(self, rows: list[list[float]]) -> list[Answer]:
        """The answers to a batch."""
        return self._classifier.answers(rows)

    async def __call__(self, request: Request) -> Answer:
        """The answer to a request."""
        answer: Answer = await self.predict((await request.json())["features"])
        return answer


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Inference.bind())  # type: ignore[attr-defined]  # the decorator adds it
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    ray.shutdown()
