"""The batches that a model of ours has computed, as the server tells of them."""

import json
from typing import NamedTuple

from benchmarks.processes import Server
from benchmarks.wire import Request, ask


class Computed(NamedTuple):
    """How many batches had how many rows, and how long they all took."""

    batches: dict[int, int]
    seconds: float

    def since(self, before: "Computed") -> "Computed":
        """What has come to it."""
        more = {rows: count - before.batches.get(rows, 0) for rows, count in self.batches.items()}
        return Computed({rows: count for rows, count in more.items() if count}, self.seconds - before.seconds)


def computed(server: Server, model: str) -> Computed:
    """All that a model has computed so far."""
    (stats,) = json.loads(ask(server.port, Request(f"/v2/models/{model}/stats")).body)["model_stats"]
    batches = {one["batch_size"]: one["compute_infer"]["count"] for one in stats["batch_stats"]}
    return Computed(batches, stats["inference_stats"]["compute_infer"]["ns"] / 1e9)
