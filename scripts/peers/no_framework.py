"""This project's own network, batches and optimizer in a bare loop: what remains of a step without the framework.

python no_framework.py DATA.npz EPOCHS SEED
"""

import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

from lrdecay.data.batches import Batches
from lrdecay.machine import multiplies_faster_by_onednn
from lrdecay.training.dense import compute_dense_layers
from lrdecay.training.models import CNN
from lrdecay.training.process import prepare_process

prepare_process(tune=True, threads=None)
data, epochs, seed = np.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
split = torch.from_numpy(data["x_train"]).unsqueeze(1), torch.from_numpy(data["y_train"])
torch.manual_seed(seed)
model = CNN()
compute_dense_layers(model, "onednn" if multiplies_faster_by_onednn() else "torch", torch.device("cpu"), "32-true")
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)
seconds, parts = [], []
for number in range(epochs):
    start = clock = time.perf_counter()
    spent = np.zeros(4)
    for images, labels in Batches(split, 64, seed=number):
        times = [time.perf_counter()]
        loss = F.cross_entropy(model(images), labels)
        times.append(time.perf_counter())
        optimizer.zero_grad()
        loss.backward()
        times.append(time.perf_counter())
        optimizer.step()
        times.append(time.perf_counter())
        spent += np.diff([clock, *times])
        clock = times[-1]
    seconds.append(time.perf_counter() - start)
    parts.append(spent)
names = ("data", "forward", "backward", "optimizer")
print(json.dumps({"seconds": seconds, "parts": dict(zip(names, np.array(parts).T.tolist(), strict=True))}))
