"""The loss that PyTorch lacks: cross entropy of probabilities."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class CrossEntropy(nn.Module):
    """The mean of -ln p over the rows, p being the probability that a row's right class was given.

    PyTorch's own takes what goes into the softmax; here the softmax belongs to the network, which answers with
    probabilities. Where the classes are words, exp of it is the perplexity.
    """

    def forward(self, probabilities: Tensor, classes: Tensor) -> Tensor:
        """(rows, classes), (rows,) class numbers → one number, finite even where a probability is rounded to zero."""
        smallest = torch.finfo(probabilities.dtype).tiny
        return functional.nll_loss(probabilities.clamp_min(smallest).log(), classes)
