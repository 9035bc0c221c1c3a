"""Callbacks that tests name on a command line."""

import pytorch_lightning as pl


class Notices(pl.Callback):
    """Wants to be called within a step, so that Lightning takes its own way through it."""

    steps = 0

    def on_before_optimizer_step(self, *arguments):
        self.steps += 1
