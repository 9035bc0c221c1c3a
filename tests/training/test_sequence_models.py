import pytest
import torch
import torch.nn.functional as F

from lrdecay.errors import BadValue
from lrdecay.training.models import parameter_count
from lrdecay.training.sequence_models import Conv1d, Transformer


def test_conv1d():
    model = Conv1d()
    assert parameter_count(model) == 5_210
    assert model(torch.rand(3, 1, 40)).shape == (3, 10)
    assert Conv1d(filters=4, classes=2, length=9, channels=2)(torch.rand(3, 2, 9)).shape == (3, 2)


def test_transformer_sees_no_character_to_come():
    torch.manual_seed(0)
    model = Transformer()
    assert parameter_count(model) == 112_512
    codes = torch.randint(0, 65, (2, 64))
    changed = codes.clone()
    changed[:, 40:] = (changed[:, 40:] + 1) % 65
    one, other = model(codes), model(changed)
    assert one.shape == (2, 64, 65)
    torch.testing.assert_close(one[:, :40], other[:, :40])
    assert (one[:, 40:] - other[:, 40:]).abs().max() > 1e-3


def test_transformer_begins_near_chance_and_learns():
    torch.manual_seed(0)
    model, codes = Transformer(classes=11, length=16), torch.arange(17).remainder(11).expand(8, 17)

    def loss() -> torch.Tensor:
        return F.cross_entropy(model(codes[:, :-1]).flatten(0, 1), codes[:, 1:].flatten())

    assert loss().item() == pytest.approx(torch.tensor(11.0).log().item(), abs=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.1


def test_dropout_is_for_training_only():
    model, codes = Transformer(dropout=0.5), torch.randint(0, 65, (2, 64))
    assert not torch.equal(model(codes), model(codes))
    model.eval()
    assert torch.equal(model(codes), model(codes))


@pytest.mark.parametrize(
    ("make", "settings", "key"),
    [
        (Conv1d, {"filters": 0}, "filters"), (Conv1d, {"length": 7}, "length"), (Conv1d, {"classes": 1.5}, "classes"),
        (Transformer, {"width": 65}, "width"), (Transformer, {"heads": 0}, "heads"),
        (Transformer, {"dropout": 1.0}, "dropout"), (Transformer, {"layers": 0}, "layers"),
    ],
)  # fmt: skip
def test_refuse_sizes(make, settings, key):
    with pytest.raises(BadValue, match=f"^{key}="):
        make(**settings)
