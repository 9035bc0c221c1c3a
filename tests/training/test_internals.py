"""What of Lightning and torch is used beyond their public interface is still there.

These say what has changed, where a failing run would only show that something has.
"""

import inspect

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from lrdecay.training import internals
from lrdecay.training.loggers import _Appended


class Tiny(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Looks(pl.Callback):
    """Looks at a trainer in the middle of its second epoch."""

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 1:
            self.fetcher = internals.fetcher(trainer)
            self.checkpoint = trainer._checkpoint_connector.dump_checkpoint()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    looks, module = Looks(), Tiny()
    quiet = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", callbacks=[looks], default_root_dir=tmp_path_factory.mktemp("x"), **quiet
    )
    trainer.fit(module, torch.utils.data.DataLoader(torch.ones(3, 1)))
    return trainer, module, looks


def test_lightnings_fetcher_draws_from_loaders(trained):
    _, _, looks = trained
    assert {"fetched", "combined_loader"} <= set(dir(looks.fetcher))
    assert callable(looks.fetcher.__iter__)
    assert isinstance(looks.fetcher.combined_loader.iterables, torch.utils.data.DataLoader)


def test_lightnings_counters_are_where_they_were(trained):
    trainer, _, looks = trained
    assert internals.batches_of_open_epoch(looks.checkpoint) == 2
    internals.settle(looks.checkpoint, between_epochs=False)
    assert internals.batches_of_open_epoch(looks.checkpoint) == 1, "the batch that has begun will be done again"
    internals.settle(looks.checkpoint, between_epochs=True)
    assert internals.batches_of_open_epoch(looks.checkpoint) == 0
    epochs = looks.checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
    assert set(epochs.values()) == {1}
    internals.reopen(looks.checkpoint, 2)
    assert internals.batches_of_open_epoch(looks.checkpoint) == 2
    assert (epochs["ready"], epochs["completed"]) == (1, 0)
    assert isinstance(internals.resume_within_epoch(trainer), int)


def test_lightning_still_refuses_to_clip_what_could_unscale_itself():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], fused=True)
    assert internals.unscales_itself(optimizer)
    with pytest.raises(RuntimeError, match="does not allow for gradient clipping"):
        pl.plugins.precision.MixedPrecision("bf16-mixed", "cpu").clip_gradients(optimizer, 1.0)
    internals.allow_clipping(optimizer)
    pl.plugins.precision.MixedPrecision("bf16-mixed", "cpu").clip_gradients(optimizer, 1.0)


@pytest.mark.parametrize("name", ["_check_log_dir_exists", "_rewrite_with_new_header"])
def test_lightnings_writer_of_metrics_has_the_methods_that_ours_replaces(name):
    assert callable(getattr(ExperimentWriter, name))
    assert getattr(_Appended, name) is not getattr(ExperimentWriter, name)
    assert inspect.signature(getattr(_Appended, name)) == inspect.signature(getattr(ExperimentWriter, name))


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")
def test_onednns_linear_layer_is_torchs():
    assert internals.has_onednn_linear()
    images, weight, bias = torch.rand(3, 5), torch.rand(2, 5), torch.rand(2)
    for added in (bias, None):
        expected = torch.nn.functional.linear(images, weight, added)
        torch.testing.assert_close(internals.onednn_linear(images, weight, added), expected)
