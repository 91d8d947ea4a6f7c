"""Asks a server, by its URL, all that the KServe SDK's inference client can, and prints what it got as JSON.

It runs in the SDK's own environment, which has none of the project's packages.
"""

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

POINTS = np.array([[1.0, 2.0], [0.25, -3.5]], np.float32)


def request(model: str, name: str, rows: Any, datatype: str, *, binary: bool, **more: Any) -> Any:  # noqa: ANN401  # arrays, and the SDK's own
    """A request with one input."""
    tensor = InferInput(name, list(rows.shape), datatype)
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return InferRequest(model, [tensor], **more)


def first(response: Any) -> list[Any]:  # noqa: ANN401  # the SDK has no types
    """The elements of a response's first output."""
    elements: list[Any] = response.outputs[0].as_numpy().reshape(-1).tolist()
    return elements


async def ask_v1(url: str) -> dict[str, Any]:
    """What the client of version 1 gets."""
    async with InferenceRESTClient(RESTConfig(protocol="v1", retries=0)) as client:
        try:
            missing: Any = await client.is_model_ready(url, "nothing")
        except httpx.HTTPStatusError as error:
            missing = error.response.status_code
        named = [{"width": width, "height": height} for width, height in POINTS.tolist()]
        return {
            "live": await client.is_server_live(url),
            "ready": await client.is_model_ready(url, "line"),
            "missing model": missing,
            "by position": await client.infer(url, {"instances": POINTS.tolist()}, model_name="line"),
            "by name": await client.infer(url, {"instances": named}, model_name="line"),
        }


async def ask_v2(url: str) -> dict[str, Any]:
    """What the client of version 2 gets."""
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:

        async def infer(made: Any) -> Any:  # noqa: ANN401  # the SDK has no types
            return await client.infer(url, made, model_name=made.model_name)

        try:
            wrong = request("line", "point", POINTS[:, :1], "FP32", binary=False)
            refused: Any = first(await infer(wrong))
        except httpx.HTTPStatusError as error:
            refused = error.response.status_code
        plain = await infer(request("line", "point", POINTS, "FP32", binary=False, request_id="the id"))
        raw = request("line", "point", POINTS, "FP32", binary=True)
        outputs = [RequestedOutput("value", {"binary_data": True})]
        raw_reply = request("line", "point", POINTS, "FP32", binary=True, request_outputs=outputs)
        everything_raw = {"binary_data_output": True}
        half = request("echo_fp16", "given", POINTS.astype(np.float16), "FP16", binary=True, parameters=everything_raw)
        words = np.array([["grün".encode(), "☃".encode()]], np.object_)
        texts = first(await infer(request("echo_bytes", "given", words, "BYTES", binary=True)))
        return {
            "live": await client.is_server_live(url),
            "server ready": await client.is_server_ready(url),
            "ready": await client.is_model_ready(url, "line"),
            "missing model": await client.is_model_ready(url, "nothing"),
            "JSON": first(plain),
            "binary": first(await infer(raw)),
            "binary reply": first(await infer(raw_reply)),
            "FP16": first(await infer(half)),
            "BYTES": [text.decode() if isinstance(text, bytes) else text for text in texts],
            "id": plain.id,
            "refused": refused,
        }


def main() -> None:
    """Ask the server that the command line names."""
    v1, v2 = (asyncio.run(ask(sys.argv[1])) for ask in (ask_v1, ask_v2))
    told = {key: {"v1": v1.pop(key), "v2": v2.pop(key)} for key in ("live", "ready", "missing model")}
    told |= {"v1": v1["by position"], "v1 by name": v1["by name"], "server ready": v2.pop("server ready")}
    print(json.dumps(told | {f"v2 {key}": value for key, value in v2.items()}))  # noqa: T201  # this is the answer


if __name__ == "__main__":
    main()
