"""Parameter groups: rates, weight decay and the like that some of a model's parameters have for themselves."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lrdecay.adapters.rules import name_of
from lrdecay.errors import is_number, require

MakeOptimizer = Callable[..., Optimizer]
"""Parameters, or groups of them, and settings in place of its own to an optimizer."""
ALLOWED = "a list of mappings such as {match: bias, lr: 0.1, weight_decay: 0}, or null"


def parameter_groups(model: nn.Module, rules: Sequence[Mapping[str, Any]], make: MakeOptimizer) -> list[dict[str, Any]]:
    """The model's parameters as groups for an optimizer: those that no rule matches, then one group for each rule.

    Args:
        model: whose parameters they are.
        rules: each with ``match``, a regular expression that is searched for in the names of parameters; the first
            that is found counts. Its ``lr`` is a ratio of the optimizer's own rate; everything else is a setting of the
            optimizer for this group.
        make: makes the optimizer, and refuses settings that cannot be.

    Raises:
        BadValue: a rule is invalid, matches no parameter, or has a setting that the optimizer does not have.
    """
    require(isinstance(rules, list | tuple), "groups", rules, ALLOWED)
    patterns = [_pattern(index, rule) for index, rule in enumerate(rules)]
    members: list[list[nn.Parameter]] = [[] for _ in range(len(rules) + 1)]
    for name, parameter in model.named_parameters():
        found = next((index for index, pattern in enumerate(patterns) if pattern.search(name)), -1)
        members[found + 1].append(parameter)
    groups: list[dict[str, Any]] = [{"params": members[0]}]
    for index, (rule, parameters) in enumerate(zip(rules, members[1:], strict=True)):
        names = ", ".join(name for name, _ in model.named_parameters())
        allowed = f"found in a parameter's name that no rule before matches: {names}"
        require(bool(parameters), f"groups[{index}].match", rule["match"], allowed)
        groups.append({"params": parameters, "name": name_of(rule), **_settings(index, rule, make)})
    return groups


def _pattern(index: int, rule: Any) -> re.Pattern[str]:
    fits = isinstance(rule, Mapping) and isinstance(rule.get("match"), str) and len(rule) > 1
    allowed = "a mapping with a match and a setting, such as {match: bias, weight_decay: 0}"
    require(fits, f"groups[{index}]", rule, allowed)
    try:
        return re.compile(rule["match"])
    except re.error as error:
        require(False, f"groups[{index}].match", rule["match"], f"a regular expression ({error})")
        raise


def _settings(index: int, rule: Mapping[str, Any], make: MakeOptimizer) -> dict[str, Any]:
    settings = {key: value for key, value in rule.items() if key != "match"}
    one = [nn.Parameter(torch.zeros(1))]
    known = make(one).defaults
    for key in settings:
        allowed = f"match or one of {', '.join(sorted(known))}"
        require(key in known, f"groups[{index}]", key, allowed)
    if "lr" in settings:
        ratio = settings["lr"]
        allowed = "a number above 0, a ratio of optimizer.lr"
        require(is_number(ratio) and ratio > 0, f"groups[{index}].lr", ratio, allowed)
        settings["lr"] = known["lr"] * ratio
    try:
        make(one, **settings)  # refuses what the optimizer would not look at in a group
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{key}: {value}" for key, value in settings.items())
        require(False, f"groups[{index}]", f"{{{given}}}", f"settings that the optimizer takes ({error})")
    return settings


def own_rules(model: nn.Module, make: MakeOptimizer) -> list[dict[str, Any]]:
    """The rules of a model that says itself which of its parameters are not to decay by weight.

    It does so by ``no_weight_decay``: a regular expression, or a method that gives their names, as timm's models have.
    """
    said = getattr(model, "no_weight_decay", None)
    if callable(said):
        listed = said()
        names = [re.escape(name) for name, _ in model.named_parameters() if name in listed]
        said = f"^({'|'.join(names)})$" if names else None
    decays = isinstance(said, str) and make([nn.Parameter(torch.zeros(1))]).defaults.get("weight_decay")
    return [{"match": said, "weight_decay": 0.0}] if decays else []


def rates_apart(optimizer: Optimizer) -> dict[str, int]:
    """The groups of `parameter_groups` that have a rate of their own: their indices, by the name to log it under."""
    own = optimizer.param_groups[0]["lr"]
    groups = enumerate(optimizer.param_groups)
    return {f"lr/{group['name']}": index for index, group in groups if "name" in group and group["lr"] != own}
