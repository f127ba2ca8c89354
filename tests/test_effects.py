"""Effects against closed forms, published tables and other libraries: one source of error, two, and
what a test finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from adapters_xitt.analysis.effects import Effect, Stratum, Uncertainty, effect
from adapters_xitt.analysis.statistics import ItemStatistics, f1, share

RANDOM = np.random.default_rng(3)

# Fisher and Yates, Statistical Tables, table VI1: the 5 % points of the Behrens-Fisher variable for
# degrees of freedom n1 and n2, at angles of 0, 15 ... 90 degrees; tan of the angle is the ratio of
# the two standard errors.
TABLE = {
    (6, 6): (2.447, 2.440, 2.435, 2.435, 2.435, 2.440, 2.447),
    (6, 8): (2.306, 2.310, 2.331, 2.364, 2.398, 2.430, 2.447),
    (6, 12): (2.179, 2.193, 2.239, 2.301, 2.367, 2.423, 2.447),
    (6, 24): (2.064, 2.088, 2.156, 2.247, 2.342, 2.418, 2.447),
    (6, np.inf): (1.960, 1.993, 2.082, 2.201, 2.322, 2.413, 2.447),
}


@pytest.mark.parametrize("freedoms", TABLE)
def test_half_widths_are_those_of_the_published_table(freedoms: tuple[float, float]) -> None:
    for step, published in enumerate(TABLE[freedoms]):
        angle = np.radians(15 * step)
        both = Uncertainty(np.sin(angle), freedoms[0], np.cos(angle), freedoms[1])
        assert both.half_width() == pytest.approx(published, abs=0.0016)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_without_items_it_is_the_paired_t_test(seeds: int) -> None:
    first, second = RANDOM.normal(60, 2, seeds), RANDOM.normal(59, 2, seeds)
    ours = effect(first - second, [])
    other = stats.ttest_rel(first, second)
    assert ours.p_value == pytest.approx(other.pvalue, rel=1e-9)
    interval = other.confidence_interval(0.95)
    assert ours.interval() == pytest.approx((interval.low, interval.high), rel=1e-6)
    bounded, *_ = ttost_paired(first, second, -3.0, 3.0)
    assert ours.p_beyond(3.0) == pytest.approx(bounded, rel=1e-6)


def test_items_that_all_seeds_share_are_a_source_of_chance_of_their_own() -> None:
    """The variance is that of a two-way layout without replication: mean squares of seeds and items
    less that of their interaction (Cornfield and Tukey 1956)."""
    seeds, items = 4, 300
    table = (
        RANDOM.normal(0, 3, (seeds, 1))
        + RANDOM.normal(0, 40, (1, items))
        + RANDOM.normal(0, 20, (seeds, items))
    )
    ours = effect(table.mean(axis=1), [Stratum(table / items)])
    of_seeds, of_items = table.mean(axis=1), table.mean(axis=0)
    left = table - of_seeds[:, None] - of_items + table.mean()
    square = (left**2).sum() / ((seeds - 1) * (items - 1))
    variance = (items * of_seeds.var(ddof=1) + seeds * of_items.var(ddof=1) - square) / (
        seeds * items
    )
    assert ours.uncertainty is not None
    assert ours.uncertainty.error**2 == pytest.approx(variance, rel=1e-9)


def test_strata_add_up_and_a_stratum_of_languages_has_their_degrees_of_freedom() -> None:
    one, two = (RANDOM.normal(0, 1, (3, 50)) + RANDOM.normal(0, 9, (1, 50)) for _ in range(2))
    by_seed = RANDOM.normal(0, 1, 3)
    errors = [
        effect(by_seed, [Stratum(part) for part in parts]).uncertainty
        for parts in ((one,), (two,), (one, two))
    ]
    squares = [each.item_error**2 for each in errors if each]
    assert squares[2] == pytest.approx(squares[0] + squares[1])
    languages = RANDOM.normal(0, 1, (3, 5)) + RANDOM.normal(0, 9, (1, 5))
    sampled = effect(by_seed, [Stratum(languages)]).uncertainty
    assert sampled is not None and sampled.item_freedom == pytest.approx(4)


def test_one_seed_has_no_interval_and_a_row_minus_itself_none_that_is_wide() -> None:
    assert effect(np.array([1.0]), []).interval() is None
    nothing = effect(np.zeros(3), [Stratum(np.zeros((3, 10)))])
    assert nothing.interval() == (0.0, 0.0) and nothing.p_value == 1.0


def test_seeds_that_agree_to_the_bit_are_not_taken_to_agree_always() -> None:
    """Two seeds, each better in one other item of a hundred: no proof of anything."""
    parts = np.zeros((2, 100))
    parts[0, 3] = parts[1, 70] = 1.0
    agreeing = effect(parts.mean(axis=1) * 100, [Stratum(parts)])
    assert agreeing.p_value is not None and agreeing.p_value > 0.2


def test_what_could_have_been_found_is_found_in_eight_of_ten_runs() -> None:
    """Drawn anew: with a true difference of that size the test rejects as often as it says."""
    seeds, spread, draws = 5, 2.0, 4000
    errors = RANDOM.normal(0, spread, (draws, seeds))
    known = Uncertainty(spread / np.sqrt(seeds), seeds - 1, 0.0, np.inf)
    true = known.detectable()
    found = [
        Effect(float(sample.mean()), sample, None).difference
        / (sample.std(ddof=1) / np.sqrt(seeds))
        > stats.t.isf(0.025, seeds - 1)
        for sample in errors + true
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_influences_are_deviations_of_a_mean_and_the_jackknife_of_an_f1() -> None:
    right = RANDOM.integers(0, 2, 40).astype(float)
    accuracy = ItemStatistics(tuple(map(str, range(40))), np.stack([right, right**0], 1), share)
    assert accuracy.influences() == pytest.approx(100 * (right - right.mean()))
    counts = RANDOM.integers(1, 6, (40, 2)).astype(float)
    counts[:, 1] += counts[:, 0]
    spans = ItemStatistics(accuracy.ids, counts, f1)
    pseudo = []
    for item in range(40):
        rest = np.delete(counts, item, axis=0).sum(0)
        pseudo.append(40 * spans.total - 39 * 200 * rest[0] / rest[1])
    assert spans.influences() == pytest.approx(np.array(pseudo) - np.mean(pseudo))
