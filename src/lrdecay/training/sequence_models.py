"""Networks for signals, batch × channels × length, and for texts, batch × length."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lrdecay.errors import require
from lrdecay.training.dense import Dense
from lrdecay.training.models import glorot_uniform, require_part, require_sizes


class Conv1d(nn.Module):
    """Three convolutions of stride 2 with ReLU, and a dense layer: the CNN that MNIST-1D's article tries.

    Weights are Glorot-uniform and biases zero. With the defaults it has 5,210 parameters.

    Args:
        filters: filters of each convolution; the first spans 5 numbers, the others 3.
        classes: number of classes.
        length: of the signals, at least 8.
        channels: of the signals.

    Raises:
        BadValue: a size is not an integer, or too small.
    """

    def __init__(self, filters: int = 25, classes: int = 10, length: int = 40, channels: int = 1) -> None:
        super().__init__()
        require_sizes(filters=filters, classes=classes, length=length, channels=channels)
        require(length >= 8, "length", length, "an integer, at least 8")
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, filters, kernel, stride=2, padding=1)
            for before, kernel in ((channels, 5), (filters, 3), (filters, 3))
        )
        left = (length - 3) // 2 + 1
        left = (left - 1) // 2 + 1
        left = (left - 1) // 2 + 1
        self.head = Dense(filters * left, classes)
        glorot_uniform(self)

    def forward(self, signals: Tensor) -> Tensor:
        x = signals
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
        logits: Tensor = self.head(x.flatten(start_dim=1))
        return logits


class Transformer(nn.Module):
    """A decoder: characters, batch × length, to logits of the next one at each place, batch × length × classes.

    Learned positions; in each layer causal self-attention and a dense layer four times as wide with GELU, each of what
    a layer norm gives and added to what there was (pre-norm, as GPT-2); a layer norm before the head. Weights are drawn
    from N(0, 0.02²), those that add to the residual stream from N(0, 0.02²/(2·layers)); biases are zero.

    Args:
        layers: how many.
        width: of the residual stream, a multiple of ``heads``.
        heads: of the attention.
        classes: different characters.
        length: characters of a window.
        dropout: fraction of the values that is dropped in training where something is added to the residual stream.

    Raises:
        BadValue: a size is not an integer of at least 1; the width is no multiple of the heads; dropout not in [0, 1).
    """

    no_weight_decay = r"norm|bias"
    """Parameters that decay by weight would not regularise but bias, as a regular expression of their names."""

    def __init__(
        self,
        layers: int = 2,
        width: int = 64,
        heads: int = 4,
        classes: int = 65,
        length: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_part("dropout", dropout)
        require_sizes(layers=layers, width=width, heads=heads, classes=classes, length=length)
        require(width % heads == 0, "width", width, f"a multiple of heads={heads}")
        self.dropout = dropout
        self.characters = nn.Embedding(classes, width)
        self.positions = nn.Parameter(torch.empty(length, width))
        self.layers = nn.ModuleList(Layer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = Dense(width, classes, bias=False)
        self._initialise()

    def forward(self, codes: Tensor) -> Tensor:
        x = self.characters(codes) + self.positions[: codes.shape[1]]
        if self.dropout:
            x = F.dropout(x, self.dropout, self.training)
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" not in name:
                adds = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * len(self.layers)) if adds else 0.02)


class Layer(nn.Module):
    """One layer of a `Transformer`."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention, self.norm_dense = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = Dense(width, 3 * width)
        self.out = Dense(width, width)
        self.up, self.down = Dense(width, 4 * width), Dense(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._dropped(self.out(self._attention(self.norm_attention(x))))
        return x + self._dropped(self.down(F.gelu(self.up(self.norm_dense(x)))))

    def _attention(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = self.queries_keys_values(x).view(batch, length, 3, self.heads, width // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return mixed.transpose(1, 2).reshape(batch, length, width)

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x
