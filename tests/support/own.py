"""LightningModules of somebody else's, each with something of its own, and data for them."""

import os
import signal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Points(pl.LightningDataModule):
    """Sixty points of a line to train on, and ten to validate and test with."""

    def __init__(self, batch_size: int = 10) -> None:
        super().__init__()
        self.batch_size = batch_size
        x = torch.linspace(-1, 1, 70).unsqueeze(1)
        self.points = TensorDataset(x[:60], 2 * x[:60] + 1), TensorDataset(x[60:], 2 * x[60:] + 1)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.points[0], self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.points[1], 5)

    test_dataloader = val_dataloader


class Line(pl.LightningModule):
    """Fits a line; logs ``val/mse``, ``val/fit``, better the higher, and ``test_mse``."""

    def __init__(self, lr: float = 0.1, stop_at: int | None = None, anything: object = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.line, self.lr, self.stop_at = nn.Linear(1, 1), lr, stop_at
        self.called: list[str] = []
        self.losses: list[float] = []

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        if self.trainer.global_step == self.stop_at and not self.trainer.ckpt_path:
            os.kill(os.getpid(), signal.SIGTERM)
        loss = self._loss(batch)
        self.losses.append(float(loss.detach()))
        return loss

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        loss = self._loss(batch)
        self.log_dict({"val/mse": loss, "val/fit": -loss})

    def test_step(self, batch: list[Tensor], index: int) -> None:
        self.log("test_mse", self._loss(batch))

    def _loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        return nn.functional.mse_loss(self.line(x), y)

    def configure_optimizers(self) -> object:
        return torch.optim.SGD(self.parameters(), lr=self.lr)

    def on_train_start(self) -> None:
        self.called.append("start")

    def on_train_epoch_end(self) -> None:
        self.called.append("epoch end")
        self.log("train/last", self.losses[-1])

    def on_train_end(self) -> None:
        print(f"called {len(self.called)} times, mean of the losses {sum(self.losses) / len(self.losses):.6f}")


class Untested(Line):
    test_step = pl.LightningModule.test_step


class Unvalidated(Line):
    validation_step = pl.LightningModule.validation_step


class ByHand(Line):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False


class Named(Line):
    course = "of study"


class Returns(Line):
    """Has a ``configure_optimizers`` that returns what is asked for."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def configure_optimizers(self) -> object:
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        return {
            "list": [optimizer],
            "dict": {"optimizer": optimizer},
            "pair": ([optimizer], []),
            "scheduler": {"optimizer": optimizer, "lr_scheduler": scheduler},
            "pair with scheduler": ([optimizer], [scheduler]),
            "two": [optimizer, optimizer],
            "none": None,
        }[self.what]


class Explodes(Line):
    def _loss(self, batch: list[Tensor]) -> Tensor:
        return super()._loss(batch) * (float("inf") if self.training and self.trainer.global_step == 7 else 1)


class Wraps(Line):
    """Trains a network that it is given."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def _loss(self, batch: list[Tensor]) -> Tensor:
        inputs, labels = batch
        return nn.functional.cross_entropy(self.model(inputs), labels)


class LogsItsLoss(Line):
    """Logs ``train/loss`` of every step, as most do, and other metrics not always, or not a number."""

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        loss = super().training_step(batch, index)
        self.log("train/loss", loss)
        if index == 0:
            self.log("train/early", loss, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        if self.trainer.sanity_checking:
            return
        super().validation_step(batch, index)
        self.log("val/auc", float("nan"))
        if self.current_epoch % 2 == 0:
            self.log("val/seldom", float(self.current_epoch))


class Late(Line):
    """Has its layers only when it is set up."""

    def __init__(self) -> None:
        super().__init__()
        del self.line

    def setup(self, stage: str) -> None:
        if not hasattr(self, "line"):  # it is set up for validation and test too
            self.line = nn.Linear(1, 1)


class SavesAnything(Line):
    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["own"] = {"tensor": torch.ones(1), "function": self.forward}


class Groups(Line):
    """Gives each group a rate, and leaves torch's default for the optimizer."""

    def configure_optimizers(self) -> object:
        return torch.optim.SGD([{"params": [self.line.weight], "lr": 0.2}, {"params": [self.line.bias], "lr": 0.1}])

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.trainer.global_step == 0:
            print("first rates", [group["lr"] for group in optimizer.param_groups])


class ByRank(Line):
    """Is better in one process and worse in the other, without any synchronisation."""

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        rank = self.global_rank
        self.log("val/mse", 1.0 + self.current_epoch * (2 * rank - 1), sync_dist=False)

    def on_train_end(self) -> None:
        print(f"rank {self.global_rank} ends at {self.trainer.optimizers[0].param_groups[0]['lr']:g}")
