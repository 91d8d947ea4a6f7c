"""What a server of ours tells of itself."""

import json
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from benchmarks.wire import Request, ask


class Computed(NamedTuple):
    """How many batches had how many rows, and how long they all took."""

    batches: dict[int, int]
    seconds: float

    def since(self, before: "Computed") -> "Computed":
        """What has come to it."""
        more = {rows: count - before.batches.get(rows, 0) for rows, count in self.batches.items()}
        return Computed({rows: count for rows, count in more.items() if count}, self.seconds - before.seconds)


def computed(port: int, model: str) -> Computed:
    """All batches that a model has computed so far."""
    stats = _statistics(port, model)
    batches = {one["batch_size"]: one["compute_infer"]["count"] for one in stats["batch_stats"]}
    return Computed(batches, stats["inference_stats"]["compute_infer"]["ns"] / 1e9)


def unanswered(port: int, model: str) -> tuple[int, float]:
    """How many requests for a model had no answer so far, and the seconds that they all took."""
    failed = _statistics(port, model)["inference_stats"]["fail"]
    return failed["count"], failed["ns"] / 1e9


def samples(port: int, name: str, **labels: str) -> list[Sample]:
    """The samples on the page of `/metrics` that have this name, and these labels among theirs."""
    families = text_string_to_metric_families(ask(port, Request("/metrics")).body.decode())
    named = (sample for family in families for sample in family.samples if sample.name == name)
    return [sample for sample in named if sample.labels.items() >= labels.items()]


def _statistics(port: int, model: str) -> Any:  # noqa: ANN401  # as the protocol nests it
    (stats,) = json.loads(ask(port, Request(f"/v2/models/{model}/stats")).body)["model_stats"]
    return stats
