"""The usual template: Lightning, torchvision's transform, DataLoader, torchmetrics, metrics logged at every step.

python lightning_dataloader.py DATA.npz EPOCHS SEED FOLDER
"""

import json
import sys
import time

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchmetrics import Accuracy
from torchvision.transforms import ToTensor


class Images(Dataset):
    """As torchvision.datasets.MNIST: an image and its label, one at a time."""

    def __init__(self, images, labels):
        self.images, self.labels, self.transform = images, labels, ToTensor()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


class Network(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(5408, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip
        self.train_acc = Accuracy(task="multiclass", num_classes=10)
        self.val_acc = Accuracy(task="multiclass", num_classes=10)
        self.seconds, self.accuracies = [], []

    def training_step(self, batch, _):
        images, labels = batch
        logits = self.layers(images)
        loss = F.cross_entropy(logits, labels)
        self.train_acc(logits, labels)
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/acc", self.train_acc, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch, _):
        images, labels = batch
        logits = self.layers(images)
        self.val_acc(logits, labels)
        self.log("val/loss", F.cross_entropy(logits, labels), prog_bar=True)
        self.log("val/acc", self.val_acc, prog_bar=True)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-3, eps=1e-7)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.1)}

    def on_train_epoch_start(self):
        self.started = time.perf_counter()

    def on_train_epoch_end(self):
        self.seconds.append(time.perf_counter() - self.started)
        self.accuracies.append(self.trainer.callback_metrics["val/acc"].item())


data, epochs, seed = np.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
pl.seed_everything(seed)
train = DataLoader(Images(data["x_train"], data["y_train"]), batch_size=64, shuffle=True)
val = DataLoader(Images(data["x_val"], data["y_val"]), batch_size=256)
network = Network()
pl.Trainer(max_epochs=epochs, default_root_dir=sys.argv[4]).fit(network, train, val)
print(json.dumps({"seconds": network.seconds, "val_acc": network.accuracies}))
