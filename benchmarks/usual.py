"""The usual endpoints around two models: FastAPI, pydantic, one run a request; `python -m benchmarks.usual PORT`."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
classifier = onnxruntime.InferenceSession(Path("models/binary_classifier/2/model.onnx"), options)
reader = onnxruntime.InferenceSession(Path("models/digits/1/model.onnx"), options)
app = FastAPI()


class Points(BaseModel):
    """Rows of numbers."""

    instances: list[list[float]]


class Side(BaseModel):
    """The answer to a row."""

    probability: float
    label: str


class Sides(BaseModel):
    """The answers, row by row."""

    predictions: list[Side]


@app.post("/v1/models/binary_classifier:predict")
def classify(request: Points) -> Sides:
    """Say on which side each point lies."""
    (probabilities,) = classifier.run(None, {"features": np.array(request.instances, np.float32)})
    labels = ("negative", "positive")
    return Sides(
        predictions=[
            Side(probability=probability, label=labels[probability > 0.5])  # noqa: PLR2004  # evens
            for (probability,) in probabilities.tolist()
        ]
    )


class Images(BaseModel):
    """Rows of pixels."""

    instances: list[list[list[float]]]


class Digit(BaseModel):
    """The answer to an image."""

    probability: dict[str, float]
    label: str


class Digits(BaseModel):
    """The answers, image by image."""

    predictions: list[Digit]


@app.post("/v1/models/digits:predict")
def read(request: Images) -> Digits:
    """Say which digit is on each image."""
    (probabilities,) = reader.run(None, {"image": np.array(request.instances, np.float32)})
    return Digits(
        predictions=[
            Digit(probability={str(digit): one for digit, one in enumerate(row.tolist())}, label=str(row.argmax()))
            for row in probabilities
        ]
    )


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), http="httptools", loop="uvloop", access_log=False, log_level="warning")
