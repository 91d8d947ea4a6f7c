"""The usual endpoint around a model: FastAPI, pydantic, one run a request. Run as `python -m benchmarks.usual PORT`."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(Path("models/binary_classifier/2/model.onnx"), options)
app = FastAPI()


class Request(BaseModel):
    """Rows of numbers."""

    instances: list[list[float]]


class Prediction(BaseModel):
    """The answer to a row."""

    probability: float
    label: str


class Reply(BaseModel):
    """The answers, row by row."""

    predictions: list[Prediction]


@app.post("/v1/models/binary_classifier:predict")
def predict(request: Request) -> Reply:
    """Predict."""
    (probabilities,) = session.run(None, {"features": np.array(request.instances, np.float32)})
    labels = ("negative", "positive")
    return Reply(
        predictions=[
            Prediction(probability=probability, label=labels[probability > 0.5])  # noqa: PLR2004  # evens
            for (probability,) in probabilities.tolist()
        ]
    )


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), http="httptools", loop="uvloop", access_log=False, log_level="warning")
