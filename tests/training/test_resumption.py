import pytest

from lrdecay.schedules import Cosine, Exponential, MultiStep
from lrdecay.training.resumption import describe, is_schedule


class TestWhetherItIsTheSameSchedule:
    """As in a checkpoint, which has the fields that differ from their defaults, or the ``repr`` of version 0.1."""

    @pytest.mark.parametrize("schedule", [Cosine(warmup="5%"), MultiStep(milestones=[3, "50%"], momentum=[0.8, 0.9])])
    def test_it_is(self, schedule):
        assert is_schedule(describe(schedule), schedule)
        assert is_schedule(repr(schedule), schedule)

    @pytest.mark.parametrize("other", [Cosine(), Cosine(warmup="6%"), Exponential(warmup="5%")])
    def test_it_is_not(self, other):
        assert not is_schedule(describe(Cosine(warmup="5%")), other)
        assert not is_schedule(repr(Cosine(warmup="5%")), other)

    def test_a_field_that_is_added_later_with_a_default_changes_nothing(self):
        before = repr(Cosine(warmup="5%")).replace("k=1.0, ", "")
        assert "k=" not in before
        assert is_schedule(before, Cosine(warmup="5%"))
        assert not is_schedule(before, Cosine(warmup="5%", k=2))

    @pytest.mark.parametrize("text", ["Cosine(warmup=object at 0x7f)", "Cosine(warmup=f(1))", "3", "(", ""])
    def test_what_is_no_schedule(self, text):
        assert not is_schedule(text, Cosine())
