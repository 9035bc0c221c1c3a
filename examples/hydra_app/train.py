"""A Hydra application of somebody else's, with a module, data and configuration of its own, and lrdecay's schedules.

python train.py
python train.py schedule=wsd schedule.warmup=10%
python train.py -m schedule=constant,step,cosine,half optimizer=sgd seed=1,2

``schedule`` is the group that ``pip install lrdecay`` adds to every Hydra application; ``half`` is a schedule that this
application adds to it, and ``optimizer`` is a group of its own. No line here is about where lrdecay's files are.
"""

import hydra
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from sklearn.datasets import load_wine
from torch.utils.data import DataLoader, TensorDataset, random_split

from lrdecay.adapters.lightning import configured


class WineClassifier(pl.LightningModule):
    """Which of three growers a wine is from, by 13 of its properties."""

    def __init__(self, hidden: int, optimizer: DictConfig, schedule: DictConfig) -> None:
        super().__init__()
        self.network = torch.nn.Sequential(torch.nn.Linear(13, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 3))
        self.optimizer, self.schedule = optimizer, schedule

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        features, grower = batch
        return torch.nn.functional.cross_entropy(self.network(features), grower)

    def test_step(self, batch: list[torch.Tensor], index: int) -> None:
        features, grower = batch
        self.log("accuracy", (self.network(features).argmax(1) == grower).float().mean())

    def configure_optimizers(self) -> dict:
        optimizer = instantiate(self.optimizer, self.parameters())
        return configured(self, optimizer, instantiate(self.schedule))


def wines(seed: int) -> tuple[DataLoader, DataLoader]:
    """Batches to train on, and to test with."""
    features, growers = map(torch.as_tensor, load_wine(return_X_y=True))
    features = (features - features.mean(0)) / features.std(0)
    everything = TensorDataset(features.float(), growers)
    parts = random_split(everything, [0.7, 0.3], torch.Generator().manual_seed(seed))
    return DataLoader(parts[0], batch_size=16, shuffle=True), DataLoader(parts[1], batch_size=len(parts[1]))


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float:
    """Trains and tests; the accuracy, for sweepers that look for the best."""
    pl.seed_everything(config.seed, verbose=False)
    training, testing = wines(config.seed)
    module = WineClassifier(config.hidden, config.optimizer, config.schedule)
    trainer = pl.Trainer(
        max_epochs=config.epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, training)
    (metrics,) = trainer.test(module, testing, verbose=False)
    rate = trainer.optimizers[0].param_groups[0]["lr"]
    print(f"accuracy {metrics['accuracy']:.1%}, rate at the end {rate:.2g}")
    return metrics["accuracy"]


if __name__ == "__main__":
    main()
