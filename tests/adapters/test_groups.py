import pytest
import torch
from torch import nn

from lrdecay.adapters.groups import own_rules, parameter_groups, rates_apart
from lrdecay.adapters.rules import ratios
from lrdecay.errors import BadValue
from lrdecay.training.models import CNN
from lrdecay.training.sequence_models import Transformer

NOT_INSTALLED = "the oracles extra is not installed"


def adamw(parameters, **settings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, **{"lr": 0.01, "weight_decay": 0.1} | settings)


def test_first_match_counts_and_the_rest_come_first():
    model = CNN(filters=2, hidden=3)
    rules = [{"match": "^head", "lr": 0.1}, {"match": "bias", "weight_decay": 0.0}]
    optimizer = adamw(parameter_groups(model, rules, adamw))
    rest, head, biases = optimizer.param_groups
    assert {id(p) for p in rest["params"]} == {id(model.conv.weight), id(model.dense.weight)}
    assert {id(p) for p in head["params"]} == {id(p) for p in model.head.parameters()}
    assert {id(p) for p in biases["params"]} == {id(model.conv.bias), id(model.dense.bias)}
    assert (rest["lr"], head["lr"], biases["lr"]) == (0.01, pytest.approx(0.001), 0.01)
    assert (rest["weight_decay"], head["weight_decay"], biases["weight_decay"]) == (0.1, 0.1, 0.0)
    assert rates_apart(optimizer) == {"lr/head": 1}
    assert ratios(rules) == {"head": 0.1}


def test_norms_and_biases_of_a_transformer_have_no_weight_decay():
    model = Transformer()
    optimizer = adamw(parameter_groups(model, own_rules(model, adamw), adamw))
    decayed, spared = optimizer.param_groups
    assert all(parameter.ndim == 2 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in spared["params"])
    assert spared["weight_decay"] == 0
    assert own_rules(model, torch.optim.SGD) == []  # nothing decays there
    assert own_rules(nn.Linear(1, 1), adamw) == []


def test_a_model_of_timm_names_what_does_not_decay():
    timm = pytest.importorskip("timm", reason=NOT_INSTALLED)
    model = timm.create_model("vit_tiny_patch16_224", depth=1)
    optimizer = adamw(parameter_groups(model, own_rules(model, adamw), adamw))
    _, spared = optimizer.param_groups
    assert {id(p) for p in spared["params"]} == {id(model.pos_embed), id(model.cls_token)}
    model.no_weight_decay = lambda: {"dist_token"}  # which some of its models do not have
    assert own_rules(model, adamw) == []


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([{"match": "(", "lr": 1}], r"^groups\[0\].match=\(: must be a regular expression"),
        ([{"match": "nothing", "lr": 1}], r"^groups\[0\].match=nothing: must be found in a parameter's name"),
        ([{"match": "bias", "lr": 1}, {"match": "conv.bias", "lr": 1}], r"^groups\[1\].match=conv.bias"),
        ([{"match": "bias"}], r"^groups\[0\]=.*must be a mapping with a match and a setting"),
        ([{"lr": 1}], r"^groups\[0\]="),
        (["bias"], r"^groups\[0\]=bias"),
        ({"match": "bias", "lr": 1}, r"^groups=.*must be a list of mappings"),
        ([{"match": "bias", "lr": -1}], r"^groups\[0\].lr=-1: must be a number above 0"),
        ([{"match": "bias", "lr": "x"}], r"^groups\[0\].lr=x: must be a number above 0"),
        ([{"match": "bias", "decay": 1}], r"^groups\[0\]=decay: must be match or one of .*weight_decay"),
        ([{"match": "bias", "weight_decay": -1}], r"^groups\[0\]=\{weight_decay: -1\}: must be .*Invalid weight_decay"),
        ([{"match": "bias", "weight_decay": "x"}], r"^groups\[0\]=\{weight_decay: x\}: must be settings that"),
    ],
)
def test_refuses_rules_that_are_none(rules, message):
    with pytest.raises(BadValue, match=message):
        adamw(parameter_groups(CNN(filters=2, hidden=3), rules, adamw))
