"""Two modules of somebody else's, trained under lrdecay's schedules: a regression, and an autoencoder.

Nothing here knows of lrdecay. Called in this folder, where ``conf/experiment`` says what is compared:

lrdecay train --config-dir conf experiment=diabetes schedule=cosine
lrdecay train --config-dir conf -m experiment=diabetes schedule=constant,cosine,linear 'seed=range(1,6)'
lrdecay train --config-dir conf -m experiment=autoencoder schedule=constant,cosine seed=1,2,3
"""

from typing import Any

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split
from torchmetrics import MeanSquaredError, R2Score


class Diabetes(pl.LightningDataModule):
    """How far the disease has progressed after a year, of 442 patients, by ten of their properties."""

    def __init__(self, batch_size: int = 32, split_seed: int = 0) -> None:
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage: str) -> None:
        features, progression = map(torch.as_tensor, load_diabetes(return_X_y=True, scaled=False))
        features = (features - features.mean(0)) / features.std(0)
        whole = TensorDataset(features.float(), progression.float() / 100)
        generator = torch.Generator().manual_seed(self.hparams.split_seed)
        self.train, self.val, self.test = random_split(whole, [0.6, 0.2, 0.2], generator)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, self.hparams.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.val, len(self.val))

    def test_dataloader(self) -> DataLoader:
        return DataLoader(self.test, len(self.test))


class Regression(pl.LightningModule):
    """A small network with an optimizer of its own; it logs the root of the mean square error, and R²."""

    def __init__(self, hidden: int = 32, lr: float = 0.05) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = nn.Sequential(nn.Linear(10, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        self.error, self.explained = MeanSquaredError(squared=False), R2Score()

    def forward(self, features: Tensor) -> Tensor:
        return self.network(features).squeeze(1)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        features, progression = batch
        loss = nn.functional.mse_loss(self(features), progression)
        self.log("train_rmse", loss.detach().sqrt(), on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        self._measure(batch, "val")

    def test_step(self, batch: list[Tensor], index: int) -> None:
        self._measure(batch, "test")

    def _measure(self, batch: list[Tensor], split: str) -> None:
        features, progression = batch
        predicted = self(features)
        for name, metric in (("rmse", self.error), ("r2", self.explained)):
            metric(predicted, progression)
            self.log(f"{split}_{name}", metric)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)


class Autoencoder(pl.LightningModule):
    """Squeezes the images of digits through a few numbers; it is trained by whichever optimizer is chosen."""

    def __init__(self, latent: int = 8) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, latent))
        self.decoder = nn.Sequential(nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, 784), nn.Sigmoid())

    def training_step(self, batch: Any, index: int) -> Tensor:
        return self._loss(batch)

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val/loss", self._loss(batch))

    def test_step(self, batch: Any, index: int) -> None:
        self.log("test/loss", self._loss(batch))

    def _loss(self, batch: Any) -> Tensor:
        images, _ = batch
        return nn.functional.mse_loss(self.decoder(self.encoder(images)), images.flatten(1))
