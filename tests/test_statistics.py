"""The false-alarm rates are what they claim to be, computed and not simulated; and the checks have teeth."""

from __future__ import annotations

import itertools

import numpy
import pytest
import scipy.stats

from tests.statistics import (
    FALSE_ALARM_RATE,
    assert_drawn_from,
    assert_frequencies,
    assert_mean,
    assert_mean_at_most_one,
    assert_no_common_sign,
    binomial_p_value,
    kolmogorov_bound,
    kolmogorov_distance,
    log_wealth,
)


def test_the_declared_rate_is_at_most_one_in_a_million():
    assert FALSE_ALARM_RATE <= 1e-6


@pytest.mark.parametrize("n", [1, 10, 1000, 100_000])
@pytest.mark.parametrize("rate", [0.05, FALSE_ALARM_RATE])
def test_the_kolmogorov_bound_is_exceeded_no_more_often_than_declared(n, rate):
    exact = scipy.stats.kstwo.sf(kolmogorov_bound(n, rate), n)
    assert exact <= rate
    assert exact > 0.2 * rate or n < 1000  # and it is not much too careful


@pytest.mark.parametrize(("n", "p"), [(1, 0.5), (30, 0.5), (30, 0.1), (200, 0.01)])
@pytest.mark.parametrize("rate", [0.3, 0.05, 1e-3])
def test_the_binomial_test_rejects_no_more_often_than_declared(n, p, rate):
    rejected = [k for k in range(n + 1) if binomial_p_value(k, n, p) < rate]
    assert scipy.stats.binom.pmf(rejected, n, p).sum() <= rate


def test_the_kolmogorov_distance_looks_at_both_sides_of_each_step():
    assert kolmogorov_distance([0.5], scipy.stats.uniform.cdf) == 0.5
    assert kolmogorov_distance([1.0], scipy.stats.uniform.cdf) == 1.0
    assert kolmogorov_distance([0.0], scipy.stats.uniform.cdf) == 1.0


def test_each_check_rejects_what_is_wrong():
    draws = numpy.random.default_rng(0).standard_normal(50_000)
    assert_drawn_from(draws, scipy.stats.norm.cdf)
    with pytest.raises(AssertionError, match="distribution functions differ"):
        assert_drawn_from(draws + 0.05, scipy.stats.norm.cdf)
    for cut in (numpy.maximum(draws, -3.0), draws[draws < 3.0]):  # which moves 67 draws of 50,000
        with pytest.raises(AssertionError, match="no draw is in a tail"):
            assert_drawn_from(cut, scipy.stats.norm.cdf)
    assert_frequencies([5012, 4988], [0.5, 0.5])
    with pytest.raises(AssertionError, match="outcome 0"):
        assert_frequencies([5400, 4600], [0.5, 0.5])
    with pytest.raises(
        AssertionError, match=r"outcome . of probability . came"
    ):  # what has probability 0 must not happen once
        assert_frequencies([9999, 1], [1.0, 0.0])
    assert_no_common_sign(draws[::2], draws[1::2])
    with pytest.raises(AssertionError, match="agree in sign"):
        assert_no_common_sign(draws, draws)


@pytest.mark.parametrize("df", [2.1, 3.0, 30.0])
@pytest.mark.parametrize("rate", [0.05, 1e-3])
def test_the_test_of_a_mean_rejects_no_more_often_than_declared_however_heavy_the_tails(df, rate):
    """Were the rate exceeded, 400 tests would show it only with luck; the exact binomial test says with how much."""
    law = scipy.stats.t(df)
    rng = numpy.random.default_rng(0)
    rejected = sum(
        not holds(assert_mean, law.rvs(100, random_state=rng) + 1.0, 1.0, law.std(), rate) for _ in range(400)
    )
    assert scipy.stats.binomtest(rejected, 400, rate, alternative="greater").pvalue > FALSE_ALARM_RATE


def holds(check, *args):
    try:
        check(*args)
    except AssertionError:
        return False
    return True


def test_the_test_of_a_mean_rejects_another_mean():
    draws = numpy.random.default_rng(0).standard_normal(50_000)
    assert_mean(draws, 0.0, 1.0)
    for wrong in (0.05, -0.05):
        with pytest.raises(AssertionError, match="the mean is"):
            assert_mean(draws, wrong, 1.0)
    assert_mean(numpy.full(5, 0.3), 0.3, 0.0)  # what does not vary must be right to its digits
    with pytest.raises(AssertionError):
        assert_mean(numpy.full(5, 0.3), 0.3001, 0.0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("rate", [0.3, 0.05])
def test_a_fair_game_makes_nobody_rich_more_often_than_declared(p, rate):
    """Draws of 1/p with probability p and else 0, all 2^12 rows of them: the chance of ever owning 1/rate, exactly."""
    heads = numpy.array(list(itertools.product([0, 1], repeat=12)))
    probability = numpy.prod(numpy.where(heads, p, 1.0 - p), axis=1)
    rich = numpy.array([log_wealth(row / p) > -numpy.log(rate) for row in heads])
    assert probability[rich].sum() <= rate


def test_bets_see_a_mean_above_one():
    weights = numpy.random.default_rng(0).lognormal(-0.5, 1.0, 10_000)  # of mean 1
    assert_mean_at_most_one(weights)
    with pytest.raises(AssertionError, match="a bet on a mean above 1"):
        assert_mean_at_most_one(1.1 * weights)
