"""Planted truth: made-up numbers with a known difference, and how often intervals and verdicts are right."""

import math

import numpy as np
import pytest
from scipy import stats

from lrdecay.analysis.inference import (
    OfItems,
    Resampled,
    bootstrap,
    difference,
    estimate,
    holm,
    interval,
    proportion,
)

DRAWS = 1000


def within_chance(count: int, p: float = 0.95) -> bool:
    """Whether so many of the draws are what a rate of p gives, but for a chance of 1 in 10,000."""
    low, high = stats.binom.interval(0.9999, DRAWS, p)
    return low <= count <= high


class TestInterval:
    def test_is_students(self):
        values = np.array([0.1, 0.4, 0.2, 0.9])
        low, high = stats.t.interval(0.95, 3, loc=values.mean(), scale=stats.sem(values))
        mean, half = interval(values)
        assert (mean - half, mean + half) == pytest.approx((low, high))

    def test_one_run_has_none_and_missing_values_do_not_count(self):
        mean, half = interval(np.array([[1.0, 1.0, np.nan], [3.0, np.nan, np.nan]]))
        np.testing.assert_array_equal(mean, [2, 1, np.nan])
        assert half[0] > 0
        assert np.isnan(half[1:]).all()

    @pytest.mark.parametrize("n", [2, 3, 5, 20])
    @pytest.mark.parametrize("level", [0.95, 0.8])
    def test_covers_the_truth_at_its_rate(self, n, level):
        rng = np.random.default_rng(n)
        found = [estimate(rng.normal(0.7, 0.1, n), level) for _ in range(DRAWS)]
        assert within_chance(sum(one.low <= 0.7 <= one.high for one in found), level)

    def test_of_no_and_of_one_number(self):
        assert estimate([]).n == 0
        assert estimate([0.5, np.nan]).mean == 0.5
        assert math.isnan(estimate([0.5]).low)


class TestBootstrap:
    def test_covers_what_is_skewed_where_n_allows(self):
        rng = np.random.default_rng(1)
        ends = [bootstrap(rng.exponential(1, 40)) for _ in range(200)]
        covered = np.mean([low <= 1 <= high for low, high in ends])
        assert 0.88 <= covered <= 0.98

    def test_says_nothing_of_few(self):
        assert all(map(math.isnan, bootstrap(np.arange(19.0))))
        assert not any(map(math.isnan, bootstrap(np.arange(20.0))))

    def test_is_the_same_again(self):
        values = np.random.default_rng(2).normal(size=30)
        assert bootstrap(values) == bootstrap(values)


def drawn(rng, effect, seeds, others, noise=0.1, shared=1.0) -> tuple[dict[int, float], dict[int, float]]:
    """Two groups whose seeds have something in common."""
    of_seed = rng.normal(0, shared, 100)
    values = {seed: effect + of_seed[seed] + rng.normal(0, noise) for seed in seeds}
    baseline = {seed: of_seed[seed] + rng.normal(0, noise) for seed in others}
    return values, baseline


class TestDifference:
    @pytest.mark.parametrize(
        ("seeds", "others", "paired"),
        [
            (range(5), range(5), True),
            (range(5), range(3, 10), True),  # two in common
            (range(4), range(50, 57), False),  # none in common
            (range(5), range(4, 9), False),  # one in common
        ],
    )
    @pytest.mark.parametrize("effect", [0.0, 0.4])
    def test_covers_the_truth_at_its_rate(self, seeds, others, paired, effect):
        rng = np.random.default_rng(len(others))
        found = [difference(*drawn(rng, effect, seeds, others)) for _ in range(DRAWS)]
        assert all(one.paired is paired for one in found)
        covered = sum(one.low <= effect <= one.high for one in found)
        # Welch's approximation of the degrees of freedom, and one seed in common that it does not know of.
        assert within_chance(covered) if paired else 0.93 * DRAWS <= covered <= 0.985 * DRAWS

    def test_without_a_difference_one_in_twenty_is_called_one(self):
        rng = np.random.default_rng(5)
        p = np.array([difference(*drawn(rng, 0, range(5), range(5))).p for _ in range(DRAWS)])
        assert within_chance(int((p < 0.05).sum()), 0.05)

    def test_pairs_find_what_samples_do_not(self):
        rng = np.random.default_rng(6)
        values, baseline = drawn(rng, 0.4, range(8), range(8))
        assert difference(values, baseline).p < 0.01
        assert stats.ttest_ind(list(values.values()), list(baseline.values())).pvalue > 0.05

    def test_is_that_of_scipy(self):
        values, baseline = {1: 0.3, 2: 0.5, 3: 0.1}, {3: 0.2, 1: 0.1, 2: 0.2, 9: 7.0}
        found = difference(values, baseline)
        test = stats.ttest_rel([0.3, 0.5, 0.1], [0.1, 0.2, 0.2])
        assert (found.n, found.p) == (3, pytest.approx(test.pvalue))
        assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval()))

    def test_one_seed_has_no_interval_and_no_test(self):
        found = difference({1: 0.9}, {1: 0.8})
        assert found.mean == pytest.approx(0.1)
        assert all(map(math.isnan, (found.low, found.high, found.p)))
        assert difference({1: 0.9}, {}).n == 0
        assert math.isnan(difference({1: 0.9, 2: 0.8}, {3: 0.8}).p)

    def test_differences_without_a_spread_are_no_proof(self):
        same = difference({1: 0.5, 2: 0.7}, {1: 0.5, 2: 0.7})
        assert (same.mean, same.p) == (0, 1)
        shifted = difference(dict.fromkeys(range(5), 4.0), dict.fromkeys(range(5), 7.0))
        assert (shifted.mean, shifted.p) == (-3, 2 / 2**5)
        assert math.isnan(shifted.low)

    def test_dust_of_rounding_is_no_spread(self):
        one_image_each = difference({1: 9801 / 10000, 2: 9713 / 10000}, {1: 9800 / 10000, 2: 9712 / 10000})
        assert one_image_each.p == 0.5
        assert math.isnan(one_image_each.low)

    def test_samples_of_which_one_has_no_spread_are_not_tested(self):
        assert math.isnan(difference({1: 0.5, 2: 0.7}, {3: 0.5, 4: 0.5}).p)

    def test_what_is_not_finite_is_missing(self):
        assert difference({1: 0.5, 2: math.nan, 3: 0.7}, {1: 0.4, 3: math.inf}).n == 1


class TestHolm:
    def test_is_that_of_the_paper(self):
        np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])

    def test_what_was_not_tested_does_not_count(self):
        np.testing.assert_allclose(holm([0.03, math.nan, 0.02]), [0.04, math.nan, 0.04])
        assert holm([]).size == 0

    def test_keeps_the_rate_of_false_alarms_over_all_tests(self):
        rng = np.random.default_rng(7)
        alarms = 0
        for _ in range(DRAWS):
            baseline = {seed: rng.normal() for seed in range(5)}
            groups = [{seed: rng.normal() for seed in range(5)} for _ in range(6)]
            alarms += (holm([difference(values, baseline).p for values in groups]) < 0.05).any()
        assert alarms <= stats.binom.ppf(0.9999, DRAWS, 0.05)


def test_a_proportion_is_that_of_clopper_and_pearson():
    for count, n in [(0, 5), (2, 5), (5, 5), (1, 100)]:
        ends = stats.binomtest(count, n).proportion_ci()
        found = proportion(count, n)
        assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    assert math.isnan(proportion(0, 0).mean)


class TestNewData:
    """Planted truth: two learners that are equally good over all data, judged on small test sets."""

    @pytest.mark.parametrize(("seeds", "items"), [(3, 200), (5, 100), (20, 359)])
    def test_of_a_test_set_that_all_share(self, seeds, items):
        rng = np.random.default_rng(seeds)
        wrong = {"items": 0, "seeds alone": 0}
        for _ in range(DRAWS):
            # How likely each item is to be right differs between the learners, and has the same distribution.
            likely = rng.beta(1.5, 0.5, (2, 1, items)) + rng.normal(0, 0.02, (2, seeds, 1))
            right = (rng.random((2, seeds, items)) < likely).astype(np.float32)
            sides = [dict(enumerate(side.mean(axis=1).tolist())) for side in right]
            of_items = OfItems(*(dict(enumerate(side)) for side in right))
            with_items = difference(*sides, sampling=of_items)
            assert with_items.new_data
            wrong["items"] += with_items.p < 0.05
            wrong["seeds alone"] += difference(*sides).p < 0.05
        assert 0.01 * DRAWS <= wrong["items"] <= stats.binom.ppf(0.9999, DRAWS, 0.05)
        assert wrong["seeds alone"] > 1.5 * wrong["items"]

    @pytest.mark.parametrize("seeds", [5, 20])
    def test_of_one_pool_that_each_seed_splits_anew(self, seeds):
        rng = np.random.default_rng(seeds)
        pool, test = 150, 30
        wrong = {"corrected": 0, "as if independent": 0}
        for _ in range(DRAWS):
            classes = rng.integers(0, 2, pool)
            inputs = rng.normal(0, 1, (pool, 8)) + 0.35 * (2 * classes[:, None] - 1)
            accuracies: tuple[dict, dict] = {}, {}
            for seed in range(seeds):
                rows = rng.permutation(pool)
                train, held_out = rows[:-test], rows[-test:]
                for side, columns in zip(accuracies, (slice(0, 4), slice(4, 8)), strict=True):
                    x, y = inputs[train, columns], classes[train]
                    towards = x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0)
                    said = (inputs[held_out, columns] - x.mean(axis=0)) @ towards > 0
                    side[seed] = float((said == classes[held_out]).mean())
            wrong["corrected"] += difference(*accuracies, sampling=Resampled(test / (pool - test))).p < 0.05
            wrong["as if independent"] += difference(*accuracies).p < 0.05
        assert 0.01 * DRAWS <= wrong["corrected"] <= stats.binom.ppf(0.9999, DRAWS, 0.05)
        assert wrong["as if independent"] > 2 * wrong["corrected"]

    @pytest.mark.parametrize("seeds", [3, 5, 10])
    def test_holds_at_the_levels_of_looks_too(self, seeds):
        rng = np.random.default_rng(seeds)
        draws, level, missed = 4000, 0.997, 0
        for _ in range(draws):
            right = (rng.random((2, seeds, 100)) < rng.beta(1.5, 0.5, (2, 1, 100))).astype(np.float32)
            sides = [dict(enumerate(side.mean(axis=1).tolist())) for side in right]
            found = difference(*sides, level, OfItems(*(dict(enumerate(side)) for side in right)))
            missed += not found.low < 0 < found.high
        assert missed <= stats.binom.ppf(0.9999, draws, 1.5 * (1 - level))

    def test_finds_a_difference_that_is_there(self):
        rng = np.random.default_rng(0)
        right = (rng.random((2, 10, 500)) < np.array([0.9, 0.8])[:, None, None]).astype(np.float32)
        sides = [dict(enumerate(side.mean(axis=1).tolist())) for side in right]
        found = difference(*sides, sampling=OfItems(*(dict(enumerate(side)) for side in right)))
        assert found.p < 1e-6
        assert found.low < 0.1 < found.high

    @pytest.mark.parametrize(("of_seed", "of_item"), [(0.3, 0.5), (0.0, 0.5), (0.3, 0.0)])
    def test_knows_what_more_seeds_would_make_smaller(self, of_seed, of_item):
        """Planted parts of seeds, of items and of both, of variances 0.09, 0.25 and 1 where they are there."""
        rng = np.random.default_rng(0)
        seeds, items, times = 40, 60, 300
        parts = []
        for _ in range(times):
            table = (
                rng.normal(0, of_seed, (seeds, 1)) + rng.normal(0, of_item, items) + rng.normal(0, 1, (seeds, items))
            )
            sides = dict(enumerate(table.mean(axis=1).tolist())), dict.fromkeys(range(seeds), 0.0)
            of_items = OfItems(dict(enumerate(table)), dict.fromkeys(range(seeds), np.zeros(items)))
            found = difference(*sides, sampling=of_items)
            parts.append((found.of_seeds, found.of_data))
        found_of_seeds, found_of_data = np.mean(parts, axis=0)
        assert found_of_seeds == pytest.approx(of_seed**2 + 1 / items, rel=0.1)  # no part is below 0
        assert found_of_data == pytest.approx(of_item**2 / items, rel=0.05, abs=0.0001)

    def test_one_part_that_seems_to_be_none_leaves_the_others(self):
        """Rows alike beyond chance: their mean square is below that of the rest."""
        table = np.array([[1.0, 0.0, 3.0, 2.0], [0.0, 1.0, 3.0, 2.0], [1.0, 0.0, 2.0, 3.0]])
        sides = dict(enumerate(table.mean(axis=1).tolist())), {0: 0.001, 1: 0.0, 2: 0.0}
        of_items = OfItems(dict(enumerate(table)), {0: np.full(4, 0.001), 1: np.zeros(4), 2: np.zeros(4)})
        found = difference(*sides, sampling=of_items)
        of_columns = 3 * table.mean(axis=0).var(ddof=1)
        assert found.of_seeds / 3 + found.of_data == pytest.approx(of_columns / 12, rel=0.01)

    def test_items_that_do_not_differ_leave_the_seeds_alone(self):
        """As where losses differ by less than the half precision that items are kept in."""
        sides = {1: 0.1, 2: 0.2, 3: 0.3}, {1: 0.1 + 1e-8, 2: 0.2 + 3e-8, 3: 0.3 + 2e-8}
        items = dict.fromkeys((1, 2, 3), np.zeros(4))
        found, alone = difference(*sides, sampling=OfItems(items, items)), difference(*sides)
        assert (found.low, found.high, found.p) == pytest.approx((alone.low, alone.high, alone.p))
        assert found.of_seeds == alone.of_seeds > 0  # from which the number of seeds is told that would decide it

    def test_items_that_only_differ_by_chance_leave_the_seeds_alone(self):
        """Neither seeds nor items have a part of their own in what differs."""
        sides = {1: 0.1, 2: 0.2, 3: 0.3}, {1: 0.1 + 1e-8, 2: 0.2 + 3e-8, 3: 0.3 + 2e-8}
        rest = dict(zip((1, 2, 3), np.array([[1.0, -1, 0], [-1, 0, 1], [0, 1, -1]]), strict=True))
        found = difference(*sides, sampling=OfItems(rest, dict.fromkeys((1, 2, 3), np.zeros(3))))
        assert found.of_seeds == difference(*sides).of_seeds > 0

    def test_needs_the_items_of_every_pair_and_three_of_them(self):
        sides = {1: 0.9, 2: 0.8, 3: 0.85}, {1: 0.7, 2: 0.75, 3: 0.8}
        items = {seed: np.array([1.0, 0.0, 1.0]) for seed in (1, 2, 3)}
        without = difference(*sides)
        assert difference(*sides, sampling=OfItems({1: items[1]}, items)) == without
        two = [{seed: side[seed] for seed in (1, 2)} for side in sides]
        assert not difference(*two, sampling=OfItems(items, items)).new_data

    def test_data_that_were_generated_anew_need_no_correction(self):
        sides = {1: 0.9, 2: 0.8, 3: 0.85}, {1: 0.7, 2: 0.75, 3: 0.8}
        plain, generated = difference(*sides), difference(*sides, sampling=Resampled(0.0))
        assert (generated.low, generated.p, generated.new_data) == (pytest.approx(plain.low), plain.p, True)
