"""A module of Lightning under its other name."""

import lightning.pytorch as pl


class Module(pl.LightningModule):
    """Does nothing."""
