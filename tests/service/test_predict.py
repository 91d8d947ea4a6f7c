"""Behaviour of service.predict."""

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from service.catalog import Catalog
from service.config import Settings
from service.errors import Fault, ForwardpassError, UnavailableError
from service.metrics import Dialect, Metrics, ModelStats
from service.predict import Prediction, Predictor, Reply, Target
from tests.service.conftest import damage, publish


class Call(NamedTuple):
    """A request to predict, as a wire has read it."""

    protocol: Dialect
    model: str
    version: str | None
    body: bytes
    json_length: int | None = None

    @property
    def target(self) -> Target:
        """What it asks."""
        return Target(self.protocol, self.model, self.version)


class Desk:
    """A predictor with the models of a folder, and what it counts."""

    def __init__(self, root: Path, **options: object) -> None:
        self.metrics = Metrics()
        self.catalog = Catalog(Settings(models=root, **options), self.metrics)  # type: ignore[arg-type]  # by name
        self.predictor = Predictor(self.catalog, self.metrics)

    def stats(self, name: str) -> ModelStats:
        """The numbers of a model's first version."""
        return self.metrics.model(name, 1)

    def play(self, scene: Callable[[], Awaitable[None]]) -> None:
        """Run a scene on an event loop of its own, and close the models after it."""

        async def whole() -> None:
            self.catalog.load(asyncio.get_running_loop())
            await scene()
            await self.catalog.close()

        asyncio.run(whole())

    async def answer(self, call: Call) -> Reply:
        """The reply to a call, as a wire waits for it."""
        begun, settled = self.begin(call)
        if isinstance(begun, Reply):
            return begun
        await settled.wait()
        return begun.finish()

    def begin(self, call: Call) -> tuple[Prediction | Reply, asyncio.Event]:
        """What becomes of a call, and what is set once its outcome is there."""
        settled = asyncio.Event()
        return self.predictor.begin(call.target, call.body, call.json_length, settled.set), settled

    def answers(self, *calls: Call) -> list[Reply]:
        """The replies to calls that come at once."""
        replies: list[Reply] = []

        async def scene() -> None:
            replies.extend(await asyncio.gather(*map(self.answer, calls)))

        self.play(scene)
        return replies


def rows(model: str, instances: object, version: str | None = None) -> Call:
    """A call of version 1."""
    return Call("v1", model, version, json.dumps({"instances": instances}).encode())


def infer(model: str, inputs: list[dict[str, Any]], version: str | None = None, **more: Any) -> Call:  # noqa: ANN401  # JSON
    """A call of version 2."""
    return Call("v2", model, version, json.dumps({"inputs": inputs, **more}).encode())


def point(*values: float) -> dict[str, Any]:
    """The input of the model `line` with one row."""
    return {"name": "point", "shape": [1, 2], "datatype": "FP32", "data": list(values)}


def told(reply: Reply) -> Any:  # noqa: ANN401  # JSON
    """The JSON of a reply that is no error."""
    assert (reply.error, reply.json_length) == (None, None)
    return json.loads(reply.body)


def error(reply: Reply) -> ForwardpassError:
    """The error of a reply that has nothing else."""
    assert reply.error is not None
    assert (reply.body, reply.json_length) == (b"", None)
    return reply.error


def test_version_1_answers_rows(samples: Path) -> None:
    """Rows by position and by name get plain numbers, with or without the version in the call."""
    calls = [rows("line", [[1, 2], {"height": 2, "width": 1}]), rows("line", [[1, 2]], "1")]
    first, second = Desk(samples).answers(*calls)
    assert told(first) == {"predictions": [-2.0, -2.0]}
    assert told(second) == {"predictions": [-2.0]}


def test_version_2_answers_tensors(samples: Path) -> None:
    """The reply names the model, echoes the id and has the tensor."""
    (reply,) = Desk(samples).answers(infer("line", [point(1, 2)], "1", id="abc"))
    assert told(reply) == {
        "model_name": "line",
        "model_version": "1",
        "id": "abc",
        "outputs": [{"name": "value", "datatype": "FP32", "shape": [1, 1], "data": [-2.0]}],
    }


def test_version_2_answers_raw_bytes(samples: Path) -> None:
    """A body with raw tensors gets raw tensors where it asks for them, the JSON's length beside them."""
    blob = np.array([[1, 2], [3, 4]], "<f4").tobytes()
    described = {"name": "point", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": len(blob)}}
    text = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    (reply,) = Desk(samples).answers(Call("v2", "line", None, text + blob, json_length=len(text)))
    assert reply.json_length is not None
    (output,) = json.loads(reply.body[: reply.json_length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(reply.body[reply.json_length :], "<f4").tolist() == [-2.0, -3.5]


def test_both_protocols_give_the_same_numbers(committed: Path) -> None:
    """A row is one row, whatever the wire."""
    row = np.random.default_rng(3).normal(size=20).astype(np.float32).tolist()
    tensor = {"name": "features", "shape": [1, 20], "datatype": "FP32", "data": row}
    first, second = Desk(committed).answers(rows("binary_classifier", [row]), infer("binary_classifier", [tensor]))
    assert [told(first)["predictions"][0]["probability"]] == told(second)["outputs"][0]["data"]


def test_labels_and_several_outputs_come_by_name(samples: Path) -> None:
    """A prediction is an object wherever there is more than one number to tell apart."""
    vote, species, pair = Desk(samples).answers(
        rows("vote", [[-2], [3]]), rows("species", [[1, 2, 3]]), rows("pair", [{"left": [1, 2], "right": [5]}])
    )
    assert [prediction["label"] for prediction in told(vote)["predictions"]] == ["no", "yes"]
    (prediction,) = told(species)["predictions"]
    assert prediction["label"] == "virginica"
    assert sum(prediction["probability"].values()) == pytest.approx(1)
    assert told(pair) == {"predictions": [{"half": [0.5, 1.0], "twice": 10}]}


def test_an_infinite_output_is_valid_json(samples: Path) -> None:
    """What JSON cannot say is null there, in both versions."""
    tensor = {"name": "number", "shape": [2, 1], "datatype": "FP32", "data": [0, 2]}
    first, second = Desk(samples).answers(rows("inverse", [[0], [2]]), infer("inverse", [tensor]))
    assert told(first) == {"predictions": [None, 0.5]}
    assert told(second)["outputs"][0]["data"] == [None, 0.5]


def test_rows_of_different_lengths_are_answered_together(samples: Path) -> None:
    """Requests that cannot share a batch do not keep each other from an answer."""
    replies = Desk(samples).answers(*(rows("tokens", [list(range(length))]) for length in (2, 3, 4, 3)))
    assert [told(reply)["predictions"][0] for reply in replies] == [
        [100 + number for number in range(length)] for length in (2, 3, 4, 3)
    ]


def test_a_faulty_request_does_not_touch_its_neighbours(samples: Path) -> None:
    """Requests that come at once are answered each for itself."""
    desk = Desk(samples)
    replies = desk.answers(rows("line", [[1, 2]]), rows("line", [[1, "x"]]), rows("line", []), rows("line", [[0, 1]]))
    assert [reply.error is None for reply in replies] == [True, False, False, True]
    assert told(replies[3]) == {"predictions": [-1.25]}
    assert desk.stats("line").batch_rows.total == 2


def test_all_faults_are_told_at_once(samples: Path) -> None:
    """A reply points to each place, with what is expected there and what came."""
    (reply,) = Desk(samples).answers(rows("line", [[1, "x"], [1]]))
    assert error(reply).code == "invalid_value"
    assert error(reply).message.endswith("(and 1 more fault)")
    assert [fault.pointer for fault in error(reply).faults] == ["/instances/0/1", "/instances/1"]
    assert error(reply).faults[0] == Fault("/instances/0/1", "a number", "'x'")


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        (rows("lime", [[1, 2]]), 404, "unknown_model"),
        (rows("line", [[1, 2]], "2"), 404, "unknown_version"),
        (Call("v1", "line", None, b""), 400, "invalid_json"),
        (Call("v1", "line", None, b"\xff"), 400, "invalid_json"),
        (Call("v1", "line", None, b'{"instances":' + b"[" * 100_000), 400, "invalid_json"),
        (Call("v2", "line", None, b"{}"), 400, "invalid_structure"),
        (Call("v2", "line", None, b"null"), 400, "invalid_structure"),
        (infer("line", [point(1, 2)])._replace(json_length=10**18), 400, "invalid_binary"),
        (rows("line", [[1, 2, 3]]), 400, "shape_mismatch"),
        (rows("line", [{"width": 1}]), 400, "feature_mismatch"),
        (infer("line", []), 400, "tensor_mismatch"),
        (infer("line", [point(1, 2) | {"datatype": "FP64"}]), 400, "datatype_mismatch"),
        (rows("lookup", [[7]]), 500, "compute_failed"),
    ],
)
def test_whatever_is_wrong_is_a_reply(call: Call, status: int, code: str, samples: Path) -> None:
    """Each error comes back with its status and code, in the form of both protocols."""
    (reply,) = Desk(samples).answers(call)
    assert (error(reply).status, error(reply).code) == (status, code)
    assert len(error(reply).message.splitlines()) == 1


def test_a_model_that_is_not_ready_says_when_to_come_again(tmp_path: Path) -> None:
    """The error has the reason, and the time."""
    damage(publish(tmp_path, "line"))
    (reply,) = Desk(tmp_path).answers(rows("line", [[1, 2]]))
    refused = error(reply)
    assert isinstance(refused, UnavailableError)
    assert (refused.code, refused.retry_after) == ("model_not_ready", 1.0)
    assert "model.onnx" in refused.message


def test_a_full_queue_refuses(samples: Path) -> None:
    """As many rows as may wait are answered; what comes beyond them is told when to come again."""
    desk = Desk(samples, max_queue=2, execution="inline")
    replies = desk.answers(*(rows("line", [[1, 2]]) for _ in range(4)))
    assert [told(reply) for reply in replies[:2]] == [{"predictions": [-2.0]}] * 2
    assert [error(reply).code for reply in replies[2:]] == ["queue_full"] * 2
    assert desk.stats("line").requests.by_labels == {("v1", "ok"): 2, ("v1", "refused"): 2}


def test_all_or_none_of_a_request_is_computed(committed: Path) -> None:
    """Where a part of it finds no room, the parts that did give theirs up."""
    contexts = [{"context": ["the"]}, {"context": ["the"]}, {"context": ["the", "value"]}]
    desk = Desk(committed, max_queue=4, execution="inline")
    first, second, third = desk.answers(*(rows("next_word_rnn", contexts[:count]) for count in (2, 3, 1)))
    assert len(told(first)["predictions"]) == 2
    assert error(second).code == "queue_full"
    assert len(told(third)["predictions"]) == 1
    assert desk.stats("next_word_rnn").batch_rows.total == 3


def test_a_draining_server_refuses(samples: Path) -> None:
    """What comes after the end began is told so."""
    desk = Desk(samples)

    async def scene() -> None:
        await desk.catalog.close()
        assert error(await desk.answer(rows("line", [[1, 2]]))).code == "draining"

    desk.play(scene)


def test_requests_are_counted_by_protocol_and_outcome(samples: Path) -> None:
    """Each call ends in one count, and an invalid one in one of its code."""
    desk = Desk(samples)
    desk.answers(
        rows("line", [[1, 2]]),
        rows("line", [[1, 2]]),
        infer("line", [point(1, 2)]),
        rows("line", [[1]]),
        rows("line", [["x", 1]]),
        infer("line", []),
        rows("lookup", [[7]]),
        rows("lime", []),
        rows("line", [], "2"),
    )
    stats = desk.stats("line")
    assert stats.requests.by_labels == {("v1", "ok"): 2, ("v2", "ok"): 1, ("v1", "invalid"): 2, ("v2", "invalid"): 1}
    assert stats.invalid.by_labels == {("shape_mismatch",): 1, ("invalid_value",): 1, ("tensor_mismatch",): 1}
    assert desk.stats("lookup").ended("failed") == 1
    assert desk.stats("lookup").invalid.by_labels == {}
    assert desk.metrics.unrouted.by_labels == {("unknown_model",): 1, ("unknown_version",): 1}
    assert stats.in_flight == 0


def test_an_answer_is_timed_by_phase(samples: Path) -> None:
    """Each answered request is one observation of each phase; one that is refused early has only some."""
    desk = Desk(samples)
    desk.answers(rows("line", [[1, 2]]), infer("line", [point(1, 2)]), rows("line", []))
    stats = desk.stats("line")
    for histogram, count in ((stats.decode, 2), (stats.queue, 2), (stats.encode, 2), (stats.duration, 2)):
        assert sum(histogram.counts) == count
    assert sum(stats.compute.counts) == sum(stats.batch_rows.counts) == 1


def test_an_abandoned_request_is_counted_and_hurts_nobody(samples: Path) -> None:
    """A caller that has gone leaves its neighbour's answer as it is, and its rows are not computed."""
    desk = Desk(samples, execution="inline")

    async def scene() -> None:
        gone, _ = desk.begin(rows("line", [[1, 2]]))
        stays, stays_settled = desk.begin(rows("line", [[0, 1]]))
        assert isinstance(stays, Prediction)
        assert isinstance(gone, Prediction)
        assert desk.stats("line").in_flight == 2
        gone.abandon()
        await stays_settled.wait()
        assert told(stays.finish()) == {"predictions": [-1.25]}

    desk.play(scene)
    assert desk.stats("line").requests.by_labels == {("v1", "ok"): 1, ("v1", "cancelled"): 1}
    assert desk.stats("line").in_flight == 0
    assert desk.stats("line").batch_rows.total == 1


def test_a_request_that_failed_can_be_abandoned(samples: Path) -> None:
    """An error that comes as its caller goes is no news to anybody."""
    desk = Desk(samples, execution="inline")
    unwatched: list[object] = []

    async def scene() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unwatched.append(context))
        gone, gone_settled = desk.begin(rows("lookup", [[7]]))
        assert isinstance(gone, Prediction)
        await gone_settled.wait()
        gone.abandon()
        del gone
        gc.collect()

    desk.play(scene)
    assert not unwatched


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_contexts_can_be_abandoned_at_any_time(turns: int, committed: Path) -> None:
    """Before, while and after they are computed: nothing is raised, nothing is news to asyncio, all is counted."""
    desk = Desk(committed, execution="inline")
    unwatched: list[object] = []

    async def scene() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unwatched.append(context))
        gone, _ = desk.begin(rows("next_word_rnn", [{"context": ["the"]}, {"context": ["the", "value"]}]))
        assert isinstance(gone, Prediction)
        for _ in range(turns):
            await asyncio.sleep(0)
        gone.abandon()
        del gone
        for _ in range(3):
            await asyncio.sleep(0)
        gc.collect()

    desk.play(scene)
    assert not unwatched
    assert desk.stats("next_word_rnn").requests.by_labels == {("v1", "cancelled"): 1}
    assert desk.stats("next_word_rnn").in_flight == 0


def test_a_request_whose_time_is_over_is_not_computed(samples: Path) -> None:
    """A limit of a microsecond is over when the request is decoded; one of a minute is not."""
    desk = Desk(samples, execution="inline")
    late, punctual = desk.answers(
        infer("line", [point(1, 2)], parameters={"timeout": 1}),
        infer("line", [point(1, 2)], parameters={"timeout": 60_000_000}),
    )
    assert (error(late).code, error(late).status) == ("deadline_exceeded", 504)
    assert told(punctual)["outputs"][0]["data"] == [-2.0]
    assert desk.stats("line").requests.by_labels == {("v2", "expired"): 1, ("v2", "ok"): 1}
    assert desk.stats("line").batch_rows.total == 1


def test_a_model_without_rows_is_asked_by_version_2(tmp_path: Path) -> None:
    """Version 1 says which path to take instead."""
    publish(tmp_path, "whole")
    square = {"name": "square", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}
    refused, answered = Desk(tmp_path).answers(rows("whole", [[[1, 2], [3, 4]]]), infer("whole", [square]))
    assert error(refused).code == "unsupported"
    assert "POST /v2/models/whole/infer" in error(refused).message
    assert told(answered)["outputs"] == [{"name": "trace", "datatype": "FP32", "shape": [2], "data": [4.0, 6.0]}]


def test_values_outside_the_training_range_are_counted(samples: Path) -> None:
    """They are answered, and each is one more of its feature."""
    desk = Desk(samples)
    (reply,) = desk.answers(rows("line", [[0, 2], [9, -9], [0, 9]]))
    assert len(told(reply)["predictions"]) == 3
    assert desk.stats("line").outside.by_labels == {("width",): 1, ("height",): 2}


def test_values_outside_the_training_range_are_refused_where_the_operator_says_so(samples: Path) -> None:
    """Every one of them is a fault, in the words of its feature."""
    first, second, inside = Desk(samples, refuse_outside="line").answers(
        rows("line", [[0, 2], [9, -9]]), infer("line", [point(9, 0)]), rows("line", [[0, 2]])
    )
    assert [error(reply).code for reply in (first, second)] == ["out_of_range"] * 2
    assert [(fault.pointer, fault.expected, fault.got) for fault in error(first).faults] == [
        ("/instances/1", "width from -1.0 to 2.5", "9.0"),
        ("/instances/1", "height from -1.0 to 2.5", "-9.0"),
    ]
    assert error(second).faults[0].got == "9.0 in row 0 of point"
    assert told(inside) == {"predictions": [-2.5]}
