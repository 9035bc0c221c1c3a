import math

import pytest
import torch
import torch.nn.functional as F

from lrdecay.training.models import CNN, MLP, parameter_count


def test_the_articles_network_has_its_parameters():
    assert parameter_count(CNN()) == 693_962


def test_is_the_articles_function():
    """Pooling before bias and ReLU and the order of the flattened image change nothing but the order of weights."""
    model, images = CNN(filters=4, hidden=8), torch.rand(5, 1, 28, 28)
    torch.nn.init.normal_(model.conv.bias)
    pooled = F.max_pool2d(F.relu(F.conv2d(images, model.conv.weight, model.conv.bias)), 2)
    weight = model.dense.weight.reshape(8, 13, 13, 4).permute(0, 3, 1, 2).reshape(8, -1)
    expected = model.head(F.relu(F.linear(pooled.flatten(1), weight, model.dense.bias)))
    torch.testing.assert_close(model(images), expected)
    theirs = torch.autograd.grad(expected.square().sum(), list(model.parameters()))
    ours = torch.autograd.grad(model(images).square().sum(), list(model.parameters()))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_weights_are_glorot_uniform_and_biases_zero():
    model = CNN()
    for layer, fan_in, fan_out in ((model.conv, 9, 288), (model.dense, 5408, 128), (model.head, 128, 10)):
        limit = math.sqrt(6 / (fan_in + fan_out))
        weight = layer.weight.detach()
        assert 0.95 * limit < weight.abs().max() <= limit * (1 + 1e-6)
        assert weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.15)
        assert (layer.bias == 0).all()


def test_mlp():
    model = MLP(hidden=[16, 8], classes=3)
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, 3)
    assert parameter_count(model) == 784 * 16 + 16 + 16 * 8 + 8 + 8 * 3 + 3


@pytest.mark.parametrize("arguments", [{"filters": 0}, {"hidden": -1}, {"classes": 1.5}, {"image_size": 3}])
def test_refuses_impossible_sizes(arguments):
    with pytest.raises(ValueError, match=f"^{next(iter(arguments))}="):
        CNN(**arguments)
