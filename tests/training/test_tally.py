import pytest
import torch
import torch.nn.functional as F

from lrdecay.metrics import deviation, means
from lrdecay.training.tally import Tally

CPU = torch.device("cpu")


def read(tally: Tally, reduce=lambda sums: sums) -> list[float]:
    return tally.read(reduce, CPU).tolist()


class TestTally:
    def test_means_over_images_not_over_batches(self):
        tally = Tally()
        logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 0])
        tally.add(logits[:4], labels[:4])
        tally.add(logits[4:], labels[4:])
        assert means(tally.read(lambda sums: sums, CPU), "val") == {
            "val/loss": pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6),
            "val/acc": (logits.argmax(dim=1) == labels).double().mean().item(),
        }

    def test_counts_every_batch_however_many(self):
        tally, many = Tally(), 2 * Tally.MOST + 1
        for _ in range(many):
            tally.add(torch.eye(4), torch.arange(4))
        loss, right, _, count = read(tally)
        assert (right, count) == (4 * many, 4 * many)
        assert loss == pytest.approx(many * F.cross_entropy(torch.eye(4), torch.arange(4), reduction="sum").item())

    def test_how_much_the_losses_of_batches_differ(self):
        tally, batches = Tally(), [(torch.randn(8, 4), torch.randint(4, (8,))) for _ in range(70)]
        for batch in batches:
            tally.add(*batch)
        losses = torch.stack([F.cross_entropy(*batch) for batch in batches])
        assert deviation(read(tally)) == pytest.approx(losses.std(correction=0).item(), rel=1e-4)

    def test_is_empty_after_a_reading(self):
        tally = Tally()
        tally.add(torch.eye(4), torch.arange(4))
        read(tally)
        assert read(tally) == [0, 0, 0, 0]

    def test_counts_over_processes(self):
        tally = Tally()
        tally.add(torch.eye(4), torch.arange(4))
        assert read(tally, lambda sums: 2 * sums)[1::2] == [8, 8]

    def test_a_process_whose_share_of_a_batch_is_empty_adds_nothing(self):
        tally = Tally()
        tally.add(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
        assert read(tally) == [0, 0, 0, 0]

    def test_counts_beyond_256_in_bfloat16(self):
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            tally = Tally()
            for _ in range(300):
                tally.add(torch.eye(2), torch.arange(2))
            assert read(tally)[1::2] == [600, 600]
        finally:
            torch.set_default_dtype(before)
