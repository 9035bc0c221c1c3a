"""A plain PyTorch loop over tensors in memory.

python plain_torch.py DATA.npz EPOCHS SEED
"""

import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"
data, epochs, seed = np.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
x_train, x_val = (torch.from_numpy(data[key]).unsqueeze(1).float().to(device) / 255 for key in ("x_train", "x_val"))
y_train, y_val = (torch.from_numpy(data[key]).to(device) for key in ("y_train", "y_val"))
torch.manual_seed(seed)
model = nn.Sequential(
    nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(5408, 128), nn.ReLU(), nn.Linear(128, 10)
).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)
seconds, accuracies = [], []
for _ in range(epochs):
    start = time.perf_counter()
    total = torch.zeros((), device=device)
    for rows in torch.randperm(len(y_train), device=device).split(64):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x_train[rows]), y_train[rows])
        loss.backward()
        optimizer.step()
        total += loss.detach()
    with torch.no_grad():
        right = sum(
            (model(images).argmax(1) == labels).sum()
            for images, labels in zip(x_val.split(256), y_val.split(256), strict=True)
        )
    accuracies.append(float(right) / len(y_val))
    seconds.append(time.perf_counter() - start)
print(json.dumps({"seconds": seconds, "val_acc": accuracies}))
