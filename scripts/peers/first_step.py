"""A callback that tells when the first training step is done."""

import sys
import time

from pytorch_lightning import Callback


class Clock(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 1:
            print(f"first step at {time.time()}", file=sys.stderr)
