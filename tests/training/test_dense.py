"""Dense layers computed by oneDNN: the same function to rounding, the same bits at every run."""

import pytest
import torch

from lrdecay.training.dense import Dense, compute_dense_layers
from lrdecay.training.internals import has_onednn_linear

CPU = torch.device("cpu")
needs_onednn = pytest.mark.skipif(not has_onednn_linear(), reason="this build of torch has no oneDNN")


def computed(layer: Dense, images: torch.Tensor, by: str) -> list[torch.Tensor]:
    """Output and all three gradients."""
    compute_dense_layers(layer, by, CPU, "32-true")
    images = images.clone().requires_grad_()
    layer.zero_grad()
    output = layer(images)
    (output * torch.linspace(-1, 1, output.shape[-1])).square().sum().backward()
    return [output.detach(), images.grad, *(parameter.grad.clone() for parameter in layer.parameters())]


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(64,), (1,), (4, 7), (2, 3, 5)])
def test_it_is_the_same_function(shape, bias):
    torch.manual_seed(0)
    layer, images = Dense(1024, 128, bias=bias), torch.randn(*shape, 1024)
    ours, theirs = computed(layer, images, "onednn"), computed(layer, images, "torch")
    assert len(ours) == len(theirs) == 3 + bias
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))
    for one, again in zip(ours, computed(layer, images, "onednn"), strict=True):
        assert torch.equal(one, again)


@needs_onednn
def test_the_first_layer_needs_no_gradient_of_its_input():
    layer = Dense(1024, 128)
    compute_dense_layers(layer, "onednn", CPU, None)
    layer(torch.rand(2, 1024)).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


@needs_onednn
def test_only_large_layers_gain():
    small, large = Dense(784, 128), Dense(5408, 128)
    compute_dense_layers(torch.nn.Sequential(small, large), "onednn", CPU, "32-true")
    assert (small.by_onednn, large.by_onednn) == (False, True)


@pytest.mark.parametrize(("device", "precision"), [("cuda", "32-true"), ("cpu", "bf16-mixed"), ("cpu", "64-true")])
def test_only_single_precision_on_a_cpu(device, precision):
    """Elsewhere it is torch that computes: a sweep begun by oneDNN can go on on a GPU."""
    layer = Dense(5408, 128)
    compute_dense_layers(layer, "onednn", torch.device(device), precision)
    assert not layer.by_onednn
