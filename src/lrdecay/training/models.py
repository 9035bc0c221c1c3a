"""Networks for small images, batch × channels × height × width, to logits, batch × classes.

Weights are Glorot-uniform and biases zero, as in Keras.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from lrdecay.errors import is_integer, is_number, require
from lrdecay.training.dense import Dense


class CNN(nn.Module):
    """The article's network: 3×3 convolution without padding, ReLU, 2×2 max pooling, dense, ReLU, dense.

    With the defaults on 28×28 images it has 693,962 parameters. Pooling comes before bias and ReLU, which is the same
    function (both are monotone) on a quarter of the values, and the image is flattened in the order height,
    width, channel, as in Keras, which in `channels_last` costs no copy.

    Args:
        filters: filters of the convolution.
        hidden: units of the dense layer.
        classes: number of classes.
        image_size: height and width of the images, in pixels: one number, or both.
        channels: of the images.
        dropout: fraction of the hidden units that is dropped in training.

    Raises:
        BadValue: a size is not an integer of at least 1; images smaller than 4 pixels; dropout not in [0, 1).
    """

    def __init__(
        self,
        filters: int = 32,
        hidden: int = 128,
        classes: int = 10,
        image_size: int | Sequence[int] = 28,
        channels: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_part("dropout", dropout)
        require_sizes(filters=filters, hidden=hidden, classes=classes, channels=channels)
        height, width = ((side - 2) // 2 for side in _sides(image_size, at_least=4))
        self.conv = nn.Conv2d(channels, filters, kernel_size=3)
        self.dense = Dense(height * width * filters, hidden)
        self.head = Dense(hidden, classes)
        self.dropout = dropout
        glorot_uniform(self)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        x = F.conv2d(images.contiguous(memory_format=torch.channels_last), self.conv.weight)
        bias = cast(Tensor, self.conv.bias).to(x.dtype).view(1, -1, 1, 1)
        x = F.max_pool2d(x, kernel_size=2).add_(bias).relu_()
        x = x.permute(0, 2, 3, 1).flatten(start_dim=1)
        x = F.relu(self.dense(x))
        logits: Tensor = self.head(F.dropout(x, self.dropout, self.training) if self.dropout else x)
        return logits


class MLP(nn.Module):
    """Dense layers with ReLU on the flattened image.

    Args:
        hidden: units of each hidden layer.
        classes: number of classes.
        image_size: height and width of the images, in pixels: one number, or both.
        channels: of the images.
        dropout: fraction of the units of each hidden layer that is dropped in training.

    Raises:
        BadValue: a size is not an integer of at least 1; dropout not in [0, 1).
    """

    def __init__(
        self,
        hidden: Sequence[int] = (128, 64),
        classes: int = 10,
        image_size: int | Sequence[int] = 28,
        channels: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_part("dropout", dropout)
        for units in hidden:
            require_sizes(hidden=units)
        require_sizes(classes=classes, channels=channels)
        layers: list[nn.Module] = [nn.Flatten()]
        width = channels * math.prod(_sides(image_size, at_least=1))
        for units in hidden:
            layers += [Dense(width, units), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
            width = units
        self.layers = nn.Sequential(*layers, Dense(width, classes))
        glorot_uniform(self)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


def parameter_count(model: nn.Module) -> int:
    """Number of trained parameters."""
    known = (p for p in model.parameters() if not isinstance(p, UninitializedParameter))  # of lazy layers
    return sum(p.numel() for p in known if p.requires_grad)


def require_sizes(**sizes: int) -> None:
    """Raises `BadValue` for a size that is not an integer of at least 1."""
    for key, value in sizes.items():
        require(is_integer(value) and value >= 1, key, value, "an integer, at least 1")


def _sides(image_size: int | Sequence[int], at_least: int) -> tuple[int, int]:
    """Height and width."""
    sides: Any = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
    fits = len(sides) == 2 and all(is_integer(side) and side >= at_least for side in sides)
    allowed = f"an integer, at least {at_least}, or two of them, height and width"
    require(fits, "image_size", image_size, allowed)
    return int(sides[0]), int(sides[1])


def require_part(key: str, value: float) -> None:
    """Raises `BadValue` for a fraction that is not in [0, 1)."""
    require(is_number(value) and 0 <= value < 1, key, value, "a number in [0, 1)")


def glorot_uniform(model: nn.Module) -> None:
    """Draws weights as Keras does by default, and sets biases to 0."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
