"""Classes that a configuration names by another name than version 0.1 did."""

from typing import Any

RENAMED = {
    "lrdecay.adapter.TorchSchedule": "lrdecay.adapters.torch.TorchSchedule",
    "lrdecay.callbacks.Hyperparameters": "lrdecay.training.callbacks.Hyperparameters",
    "lrdecay.callbacks.ProgressBar": "lrdecay.training.callbacks.ProgressBar",
    "lrdecay.checkpoints.Checkpoints": "lrdecay.training.checkpoints.Checkpoints",
    "lrdecay.loggers.CSVLogger": "lrdecay.training.loggers.CSVLogger",
    "lrdecay.models.CNN": "lrdecay.training.models.CNN",
    "lrdecay.models.MLP": "lrdecay.training.models.MLP",
    "lrdecay.scales.Greedy": "lrdecay.schedules.Greedy",
    "lrdecay.scales.Plateau": "lrdecay.schedules.Plateau",
    "pytorch_lightning.loggers.MLFlowLogger": "lrdecay.training.loggers.MLFlowLogger",
    "pytorch_lightning.loggers.WandbLogger": "lrdecay.training.loggers.WandbLogger",
}
"""Old name to new name. A name is part of a run's identity, so this is applied wherever one is read."""


def renamed(value: Any) -> Any:
    """The same values with the present names of classes: a configuration, a list, a name."""
    if isinstance(value, dict):
        return {key: renamed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item) for item in value]
    return RENAMED.get(value, value) if isinstance(value, str) else value
