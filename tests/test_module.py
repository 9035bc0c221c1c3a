import torch

from lrdecay.module import Tally, means

CPU = torch.device("cpu")


class TestTally:
    def test_means_over_images_not_over_batches(self):
        tally = Tally()
        tally.add(torch.tensor(1.0), torch.eye(4), torch.arange(4))
        tally.add(torch.tensor(4.0), torch.eye(2), torch.tensor([0, 0]))
        assert means(tally.read(lambda sums: sums, CPU), "val") == {"val/loss": 2.0, "val/acc": 5 / 6}

    def test_is_empty_after_a_reading(self):
        tally = Tally()
        tally.add(torch.tensor(1.0), torch.eye(4), torch.arange(4))
        tally.read(lambda sums: sums, CPU)
        assert tally.read(lambda sums: sums, CPU).tolist() == [0, 0, 0]

    def test_counts_over_processes(self):
        tally = Tally()
        tally.add(torch.tensor(1.0), torch.eye(4), torch.arange(4))
        assert tally.read(lambda sums: 2 * sums, CPU).tolist() == [8, 8, 8]

    def test_counts_beyond_256_in_bfloat16(self):
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            tally = Tally()
            for _ in range(300):
                tally.add(torch.tensor(1.0), torch.eye(2), torch.arange(2))
            assert tally.read(lambda sums: sums, CPU).tolist() == [600, 600, 600]
        finally:
            torch.set_default_dtype(before)
