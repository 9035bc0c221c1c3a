import pytest
import torch

from lrdecay.durations import Horizon
from lrdecay.module import Tally, means, rate_factor
from lrdecay.schedules import Cosine

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


@pytest.mark.parametrize("step", [0, 1, 1023, 1024, 1025, 2999, 3000, 9999])
def test_the_function_for_lambda_lr_is_the_schedule(step):
    schedule, horizon = Cosine(warmup=100), Horizon(3000, 100)
    assert rate_factor(schedule, horizon)(step) == schedule.factor(step, horizon)


def test_the_scheduler_has_no_state_of_the_schedule_to_restore():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor(Cosine(), Horizon(10, 1)))
    assert scheduler.state_dict()["lr_lambdas"] == [None]
