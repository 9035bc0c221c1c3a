"""Planted truth: whoever looks again with more seeds is misled no more often than whoever looks once."""

import numpy as np
import pytest
from scipy import stats
from support.records import at_rate, groups_of

from lrdecay.analysis.inference import difference
from lrdecay.analysis.looks import look, share, to_look
from lrdecay.analysis.tuning import choose, tune_apart, tune_by_all, with_other_seeds
from lrdecay.errors import ConfigError

LOOKS = [5, 10, 20, 40]


@pytest.mark.parametrize(
    ("settled", "used", "spent"),
    [(5, 5, 0.1), (9, 5, 0.1), (10, 10, 0.2), (20, 20, 0.3), (39, 20, 0.3), (40, 40, 0.4), (99, 40, 0.4)],
)
def test_counts_the_seeds_of_the_last_look(settled, used, spent):
    assert look(range(21, 21 + settled), LOOKS, 21) == range(21, 21 + used)
    assert share(used, LOOKS) == pytest.approx(spent)
    assert share(used, []) == 1.0


def test_a_seed_that_is_missing_ends_them():
    """Whoever leaves out seeds chooses among them."""
    assert look({*range(1, 40)} - {8}, LOOKS) == range(1, 6)
    with pytest.raises(ConfigError, match="seed 3 is not settled in every group; the first look takes seeds 1 to 5"):
        look({1, 2, 4, 5, 6, 7}, LOOKS)
    with pytest.raises(ConfigError, match="seed 21 is not settled"):
        look(range(1, 21), LOOKS, 21)


@pytest.mark.parametrize(
    ("seeds", "looks", "told"), [(7, LOOKS, 10), (40, LOOKS, 40), (41, LOOKS, 41), (7, [], 7), (None, LOOKS, None)]
)
def test_what_would_decide_is_asked_at_a_look(seeds, looks, told):
    assert to_look(seeds, looks) == told


def test_looking_again_and_again_misleads_no_more_often_than_once():
    rng = np.random.default_rng(0)
    draws, misled, unpaid = 1000, 0, 0
    for _ in range(draws):
        values, baseline = (dict(enumerate(rng.normal(0, 1, LOOKS[-1]))) for _ in range(2))
        p = {}
        for count in LOOKS:
            seeds = look(range(count), LOOKS, 0)
            p[share(count, LOOKS)] = difference(*({s: side[s] for s in seeds} for side in (values, baseline))).p
        misled += any(found < 0.05 * spent for spent, found in p.items())
        unpaid += any(found < 0.05 for found in p.values())
    assert misled <= stats.binom.ppf(0.9999, draws, 0.05)
    assert unpaid > 2 * misled


def is_better(groups):
    """Whether the second is said to be better than the first, by validation."""
    constant, cosine = (g.by_seed("val/acc", {}) for g in groups)
    found = difference(cosine, constant)
    return found.mean > 0 and found.p < 0.05


class TestSeedsThatChoose:
    def groups(self, judged=(1, 2, 3)):
        """At 0.3 the seeds that choose are lucky, at 0.1 the others are."""
        accuracies = {(0.1, True): 0.8, (0.1, False): 0.95, (0.3, True): 0.9, (0.3, False): 0.7}
        return groups_of(
            *[
                at_rate("cosine", lr, seed, accuracies[lr, seed > 100])
                for lr in (0.1, 0.3)
                for seed in (*judged, 101, 102)
            ]
        )

    def test_do_not_judge(self):
        groups = self.groups()
        best, notes = choose(groups, ["optimizer.lr"], [101, 102])
        (chosen,) = with_other_seeds(best, groups, [101, 102])
        assert chosen.tuned == {"optimizer.lr": 0.3}
        assert sorted(run.plan.config["seed"] for run in chosen.runs) == [1, 2, 3]
        assert chosen.final("test/acc").tolist() == [0.7, 0.7, 0.7]
        assert notes[0] == (
            "each group at its best optimizer.lr by val/acc; the 5 runs at other values, of which 0 did not complete, "
            "are left out; seeds 101, 102 chose, and do not judge"
        )

    def test_must_be_told_from_those_that_judge(self):
        with pytest.raises(ConfigError, match=r"^no runs of cosine \(lr=0.3\) with other seeds than the 2 that chose$"):
            tune_apart(self.groups(judged=()), ["optimizer.lr"], [101, 102])

    def test_must_be_those_of_every_group(self):
        """One that they have not run would be missing from the comparison."""
        runs = [at_rate("constant", lr, seed) for lr in (0.1, 0.3) for seed in (1, 2)]
        with pytest.raises(ConfigError, match=r"^constant: must have runs of seeds 101, 102, which it is tuned by$"):
            tune_apart(groups_of(*runs, *[run for g in self.groups() for run in g.runs]), ["optimizer.lr"], [101, 102])

    def test_a_group_tried_at_more_values_is_not_called_better_for_it(self):
        rng = np.random.default_rng(0)
        draws, misled, by_all = 400, 0, 0
        seeds, choosing = range(1, 13), range(1, 7)
        for _ in range(draws):
            tried = [("constant", 0.1), *[("cosine", 0.1 * count) for count in range(1, 9)]]
            groups = groups_of(
                *[at_rate(schedule, lr, seed, 0.9 + rng.normal(0, 0.01)) for schedule, lr in tried for seed in seeds]
            )
            apart, _ = tune_apart(groups, ["optimizer.lr"], choosing)
            together, _ = tune_by_all(groups, ["optimizer.lr"])
            misled += is_better(apart)
            by_all += is_better(together)
        assert misled <= stats.binom.ppf(0.9999, draws, 0.025)
        assert by_all > 2 * stats.binom.ppf(0.9999, draws, 0.025)

    def test_must_have_been_run(self):
        with pytest.raises(ConfigError, match=r"tuned over optimizer.lr: must have runs of seeds 7, 8"):
            choose(self.groups(), ["optimizer.lr"], [7, 8])

    def test_must_have_been_run_at_every_value(self):
        """A single lucky run would beat a mean of several."""
        one_less = [run for g in self.groups() for run in g.runs]
        one_less.remove(next(run for run in one_less if run.plan.config["seed"] == 102))
        with pytest.raises(ConfigError, match=r"^lr=0.1: seed 102 is not settled, and is one of those that choose"):
            choose(groups_of(*one_less), ["optimizer.lr"], [101, 102])
        _, notes = tune_by_all(groups_of(*one_less), ["optimizer.lr"])
        assert notes[1].startswith("the seeds that chose also judge (tuned_by keeps them apart): ")
        assert "cosine: chosen among values with 4 to 5 runs each, and one with few is easily the best by luck" in notes
