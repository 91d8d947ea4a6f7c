"""Who is compared: how each is started and asked, and how its answer is read."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT, Server, started
from benchmarks.rivals.model import Answer
from benchmarks.wire import Request, ask, posted
from benchmarks.workloads import COLUMNS, rows

ROW = rows(1)[0]


def _itself(reply: Any) -> Answer:  # noqa: ANN401  # any JSON
    answer: Answer = reply
    return answer


def _first(reply: Any) -> Answer:  # noqa: ANN401  # any JSON
    answer: Answer = reply[0]
    return answer


def _outputs(reply: Any) -> Answer:  # noqa: ANN401  # any JSON
    return {output["name"]: output["data"][0] for output in reply["outputs"]}


@dataclass(frozen=True)
class Rival:
    """Another server with the same model; `{0}` to `{2}` stand for free ports, of which the first is asked."""

    name: str
    """As the package index has it."""
    command: tuple[str, ...]
    """A program of its environment with its arguments."""
    request: Request
    read: Callable[[Any], Answer] = _itself
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> Path:
        """Where it is installed."""
        return ROOT / f".venv-rival-{self.name}"

    def started(self) -> AbstractContextManager[Server]:
        """Run it, from its first answer on."""
        program, *arguments = self.command
        command = [str(self.environment / "bin" / program), *arguments]
        return started(command, lambda port: ask(port, self.request), self.variables)


RIVALS = (
    Rival(
        "mosec",
        ("python", "-m", "benchmarks.rivals.mosec", "--address", "127.0.0.1", "--port", "{0}", "--log-level", "error"),
        posted("/inference", {"features": ROW}),
    ),
    Rival("litserve", ("python", "-m", "benchmarks.rivals.litserve", "{0}"), posted("/predict", {"features": ROW})),
    Rival(
        "mlserver",
        ("mlserver", "start", "benchmarks/rivals/mlserver"),
        posted(
            "/v2/models/binary_classifier/infer",
            {"inputs": [{"name": "features", "shape": [1, COLUMNS], "datatype": "FP32", "data": ROW}]},
        ),
        _outputs,
        {
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": "{0}",
            "MLSERVER_GRPC_PORT": "{1}",
            "MLSERVER_METRICS_PORT": "{2}",
        },
    ),
    Rival(
        "bentoml",
        ("bentoml", "serve", "benchmarks.rivals.bentoml:Inference", "--host", "127.0.0.1", "--port", "{0}"),
        posted("/predict", {"features": [ROW]}),
        _first,
        {"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Rival(
        "ray",
        ("python", "-m", "benchmarks.rivals.ray", "{0}"),
        posted("/", {"features": ROW}),
        # What its pages on performance advise; its usage statistics would leave the machine.
        variables={
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
        },
    ),
)
