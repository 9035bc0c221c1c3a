"""Dense layers that can be computed by oneDNN instead of torch's own way, MKL."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lrdecay.config.resolvers import SINGLE
from lrdecay.errors import ConfigError
from lrdecay.training import internals


class Dense(nn.Linear):
    """A linear layer whose three products, one forward and two backward, can be computed by oneDNN.

    Sums are rounded in another order then: results differ by some 1e-7 of their size, and are the same at every run.
    """

    by_onednn = False

    def forward(self, input: Tensor) -> Tensor:
        if self.by_onednn:
            output: Tensor = _ByOneDNN.apply(input, self.weight, self.bias)
            return output
        return F.linear(input, self.weight, self.bias)


class _ByOneDNN(torch.autograd.Function):
    """``input @ weight.T + bias``, and its gradients."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.biased = bias is not None
        return internals.onednn_linear(input, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        rows = gradient.flatten(end_dim=-2)
        of_input = internals.onednn_linear(gradient, weight.t(), None) if ctx.needs_input_grad[0] else None
        of_weight = internals.onednn_linear(rows.t(), input.flatten(end_dim=-2).t(), None)
        return of_input, of_weight, rows.sum(dim=0) if ctx.biased else None


def compute_dense_layers(model: nn.Module, by: str, device: torch.device, precision: object) -> None:
    """Lets the dense layers of our models be computed by ``torch`` or, on a CPU in float32, by ``onednn``.

    Elsewhere torch computes them whatever is asked for, so that runs begun on a CPU can be continued on a GPU.

    Raises:
        ConfigError: oneDNN cannot compute them here.
    """
    asked = by == "onednn" and device.type == "cpu" and str(precision) in SINGLE
    layers = [layer for layer in model.modules() if isinstance(layer, Dense)]
    if asked and layers and not internals.has_onednn_linear():
        raise ConfigError("process.dense=onednn: must be torch, since this build of torch has no oneDNN")
    for layer in layers:
        layer.by_onednn = asked and layer.weight.numel() >= SMALLEST


SMALLEST = 2**17
"""Weights of a layer; with fewer, what a call costs is more than what its products gain."""
