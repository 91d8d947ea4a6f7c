"""The classifier as a runtime of MLServer's; `mlserver start benchmarks/rivals/mlserver`."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.rivals.model import Classifier, label


class Inference(MLModel):
    """The model that MLServer loads and calls."""

    async def load(self) -> bool:
        """Load the model."""
        self._classifier = Classifier()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The answers to the rows of a request."""
        probabilities = self._classifier.probabilities(NumpyCodec.decode_input(payload.inputs[0]))
        labels = [label(probability) for probability in probabilities[:, 0].tolist()]
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                NumpyCodec.encode_output("probability", probabilities),
                StringCodec.encode_output("label", labels),
            ],
        )
