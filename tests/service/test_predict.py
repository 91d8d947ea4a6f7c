"""Behaviour of service.predict."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.catalog import Catalog
from service.config import Settings
from service.errors import ComputeError, Fault, QueueFullError, ShapeError, UnavailableError
from service.metrics import Metrics, ModelStats
from service.predict import JSON_LENGTH_HEADER, Call, Predictor, Reply, error_reply
from tests.service.conftest import damage, publish


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

    def answers(self, *calls: Call) -> list[Reply]:
        """The replies to calls that come at once."""
        replies: list[Reply] = []

        async def scene() -> None:
            replies.extend(await asyncio.gather(*map(self.predictor.answer, calls)))

        self.play(scene)
        return replies


def rows(model: str, instances: object, version: str | None = None, **more: str) -> Call:
    """A call of version 1."""
    return Call("v1", model, version, json.dumps({"instances": instances}).encode(), **more)


def infer(model: str, inputs: list[dict[str, Any]], version: str | None = None, **more: Any) -> Call:  # noqa: ANN401  # JSON
    """A call of version 2."""
    return Call("v2", model, version, json.dumps({"inputs": inputs, **more}).encode())


def point(*values: float) -> dict[str, Any]:
    """The input of the model `line` with one row."""
    return {"name": "point", "shape": [1, 2], "datatype": "FP32", "data": list(values)}


def told(reply: Reply) -> Any:  # noqa: ANN401  # JSON
    """The JSON of a reply."""
    assert reply.media_type == "application/json"
    return json.loads(reply.body)


def test_version_1_answers_rows(samples: Path) -> None:
    """Rows by position and by name get plain numbers, with or without the version in the call."""
    calls = [rows("line", [[1, 2], {"height": 2, "width": 1}]), rows("line", [[1, 2]], "1")]
    first, second = Desk(samples).answers(*calls)
    assert (first.status, told(first)) == (200, {"predictions": [-2.0, -2.0]})
    assert (second.status, told(second)) == (200, {"predictions": [-2.0]})


def test_version_2_answers_tensors(samples: Path) -> None:
    """The reply names the model, echoes the id and has the tensor."""
    (reply,) = Desk(samples).answers(infer("line", [point(1, 2)], "1", id="abc"))
    assert reply.status == 200
    assert told(reply) == {
        "model_name": "line",
        "model_version": "1",
        "id": "abc",
        "outputs": [{"name": "value", "datatype": "FP32", "shape": [1, 1], "data": [-2.0]}],
    }


def test_version_2_answers_raw_bytes(samples: Path) -> None:
    """A body with raw tensors gets raw tensors where it asks for them, the JSON's length in the header."""
    blob = np.array([[1, 2], [3, 4]], "<f4").tobytes()
    described = {"name": "point", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": len(blob)}}
    text = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    (reply,) = Desk(samples).answers(Call("v2", "line", None, text + blob, json_length=str(len(text))))
    assert (reply.status, reply.media_type) == (200, "application/octet-stream")
    ((header, length),) = reply.headers
    assert header == JSON_LENGTH_HEADER
    (output,) = json.loads(reply.body[: int(length)])["outputs"]
    assert output["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(reply.body[int(length) :], "<f4").tolist() == [-2.0, -3.5]


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
    assert [reply.status for reply in replies] == [200, 400, 400, 200]
    assert told(replies[3]) == {"predictions": [-1.25]}
    assert desk.stats("line").batch_rows.total == 2


def test_all_faults_are_told_at_once(samples: Path) -> None:
    """A reply points to each place, with what is expected there and what came."""
    (reply,) = Desk(samples).answers(rows("line", [[1, "x"], [1]]))
    content = told(reply)
    assert (reply.status, content["code"]) == (400, "invalid_value")
    assert content["error"].endswith("(and 1 more fault)")
    assert [fault["pointer"] for fault in content["faults"]] == ["/instances/0/1", "/instances/1"]
    assert content["faults"][0] == {"pointer": "/instances/0/1", "expected": "a number", "got": "'x'", "hint": ""}


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
        (rows("line", [[1, 2]], content_encoding="br"), 415, "unsupported_encoding"),
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
    content = told(reply)
    assert (reply.status, content["code"]) == (status, code)
    assert content["error"]
    assert len(content["error"].splitlines()) == 1


@pytest.mark.parametrize("encoding", [None, "", "identity"])
def test_a_body_as_it_is_is_read(encoding: str | None, samples: Path) -> None:
    """Saying that nothing was encoded is saying nothing."""
    call = rows("line", [[1, 2]])._replace(content_encoding=encoding)
    assert Desk(samples).answers(call)[0].status == 200


@pytest.mark.parametrize("length", ["", "x", "-1", "+1", " 2", "1.5", "0x2", "1_0", "²", "٣", "9" * 19, "9" * 5000])
def test_a_length_that_is_none_is_refused(length: str, samples: Path) -> None:
    """The header with the JSON's length holds digits, as many as a length can have."""
    (reply,) = Desk(samples).answers(infer("line", [point(1, 2)])._replace(json_length=length))
    content = told(reply)
    assert (reply.status, content["code"]) == (400, "invalid_binary")
    assert "Inference-Header-Content-Length" in content["error"]
    assert len(content["error"]) < 200


def test_a_length_beyond_the_body_is_refused(samples: Path) -> None:
    """A body that lacks bytes is the caller's fault."""
    (reply,) = Desk(samples).answers(infer("line", [point(1, 2)])._replace(json_length="9" * 18))
    assert (reply.status, told(reply)["code"]) == (400, "invalid_binary")


def test_a_model_that_is_not_ready_says_when_to_come_again(tmp_path: Path) -> None:
    """The reply has the reason, and the time in whole seconds and in milliseconds."""
    damage(publish(tmp_path, "line"))
    (reply,) = Desk(tmp_path).answers(rows("line", [[1, 2]]))
    assert (reply.status, told(reply)["code"]) == (503, "model_not_ready")
    assert reply.headers == (("retry-after", "1"),)
    assert told(reply)["retry_after_ms"] == 1000


def test_a_full_queue_refuses(samples: Path) -> None:
    """As many rows as may wait are answered; what comes beyond them is told when to come again."""
    desk = Desk(samples, max_queue=2, execution="inline")
    replies = desk.answers(*(rows("line", [[1, 2]]) for _ in range(4)))
    assert [reply.status for reply in replies] == [200, 200, 503, 503]
    assert told(replies[2])["code"] == "queue_full"
    assert dict(replies[2].headers) == {"retry-after": "1"}
    assert desk.stats("line").requests == {("v1", "ok"): 2, ("v1", "refused"): 2}


def test_a_draining_server_refuses(samples: Path) -> None:
    """What comes after the end began is told so."""
    desk = Desk(samples)

    async def scene() -> None:
        await desk.catalog.close()
        reply = await desk.predictor.answer(rows("line", [[1, 2]]))
        assert (reply.status, told(reply)["code"]) == (503, "draining")

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
    assert stats.requests == {("v1", "ok"): 2, ("v2", "ok"): 1, ("v1", "invalid"): 2, ("v2", "invalid"): 1}
    assert stats.invalid == {"shape_mismatch": 1, "invalid_value": 1, "tensor_mismatch": 1}
    assert desk.stats("lookup").requests == {("v1", "failed"): 1}
    assert desk.stats("lookup").invalid == {}
    assert desk.metrics.unrouted == {"unknown_model": 1, "unknown_version": 1}
    assert stats.in_flight == 0


def test_an_answer_is_timed_by_phase(samples: Path) -> None:
    """Each answered request is one observation of each phase; one that is refused early has only some."""
    desk = Desk(samples)
    desk.answers(rows("line", [[1, 2]]), infer("line", [point(1, 2)]), rows("line", []))
    stats = desk.stats("line")
    for histogram, count in ((stats.decode, 2), (stats.queue, 2), (stats.encode, 2), (stats.duration, 2)):
        assert sum(histogram.counts) == count
    assert sum(stats.compute.counts) == sum(stats.batch_rows.counts) == 1


def test_a_cancelled_request_is_counted_and_hurts_nobody(samples: Path) -> None:
    """A caller that has gone leaves its neighbour's answer as it is."""
    desk = Desk(samples, execution="inline")

    async def scene() -> None:
        gone, stays = (asyncio.ensure_future(desk.predictor.answer(rows("line", [[1, 2]]))) for _ in range(2))
        await asyncio.sleep(0)
        assert desk.stats("line").in_flight == 2
        gone.cancel()
        assert told(await stays) == {"predictions": [-2.0]}
        with pytest.raises(asyncio.CancelledError):
            await gone

    desk.play(scene)
    assert desk.stats("line").requests == {("v1", "ok"): 1, ("v1", "cancelled"): 1}
    assert desk.stats("line").in_flight == 0


@pytest.mark.parametrize(
    ("seconds", "header", "milliseconds"), [(0.0, "1", 0), (0.0001, "1", 1), (1.0, "1", 1000), (2.2, "3", 2200)]
)
def test_the_time_to_come_again_is_rounded_up(seconds: float, header: str, milliseconds: int) -> None:
    """The header has whole seconds and never none, the body milliseconds."""
    reply = error_reply(QueueFullError("full", retry_after=seconds))
    assert reply.headers == (("retry-after", header),)
    assert told(reply) == {"error": "full", "code": "queue_full", "retry_after_ms": milliseconds}


def test_an_error_is_told_with_its_faults_only_where_it_has_some() -> None:
    """Statuses and codes are the error's own."""
    fault = Fault("/inputs/0/shape/1", "20", "19", "count again")
    reply = error_reply(ShapeError("wrong", [fault]))
    assert (reply.status, reply.headers) == (400, ())
    assert told(reply) == {
        "error": "wrong",
        "code": "shape_mismatch",
        "faults": [{"pointer": "/inputs/0/shape/1", "expected": "20", "got": "19", "hint": "count again"}],
    }
    assert told(error_reply(ComputeError("failed"))) == {"error": "failed", "code": "compute_failed"}
    assert error_reply(UnavailableError("later")).status == 503
