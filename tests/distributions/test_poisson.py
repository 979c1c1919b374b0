"""The Poisson law: against fifty digits, SciPy, and its own sum; at rate 0 and at rates of billions."""

from __future__ import annotations

import mpmath
import numpy
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm.autograd import check_grads, grad
from minilvm.distributions import Poisson
from tests.distributions import checks
from tests.distributions.helpers import FEW, real_arrays, reals

rates = reals(-6, 9).map(lambda e: 10.0**e)


def exact(x, rate):
    with mpmath.workdps(50):
        x, rate = mpmath.mpf(x), mpmath.mpf(rate)
        return float(x * mpmath.log(rate) - rate - mpmath.loggamma(x + 1))


def assert_log_prob(log_prob, x, rate):
    """To √λ units in the last place, however large the factorials."""
    assert_allclose(log_prob(x), exact(x, rate), rtol=2e-14 + 1e-15 * numpy.sqrt(max(rate, x)))


@given(rates, st.floats(-8, 8), st.floats(-300, 9).map(lambda e: 10.0**e))
def test_log_prob_keeps_its_digits(rate, z, far):
    for x in (max(0.0, numpy.floor(rate + z * numpy.sqrt(rate))), numpy.floor(far)):
        assert_log_prob(Poisson(rate).log_prob, x, rate)


def test_the_formula_as_it_reads_is_caught():
    rate, x = 1e9, 1e9 + 1e4
    with pytest.raises(AssertionError):
        assert_log_prob(lambda x: x * numpy.log(rate) - rate - scipy.special.gammaln(x + 1.0), x, rate)


@given(st.floats(-6, 4).map(lambda e: 10.0**e), reals(-3, 1e3))
def test_cdf_is_scipys(rate, x):
    law, theirs = Poisson(rate), scipy.stats.poisson(rate)
    checks.assert_cdf(law, theirs, x, rtol=1e-10)
    checks.assert_cdf(law, theirs, rate, rtol=1e-10)


def test_cdf_at_the_ends():
    law = Poisson([0.0, 2.0])
    assert_array_equal(law.cdf([[-numpy.inf], [-0.5], [numpy.inf]]), [[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    assert_allclose(law.cdf([0.5, 0.5]), [1.0, numpy.exp(-2.0)])
    assert numpy.isnan(law.cdf(numpy.nan)).all()


@given(real_arrays((3,), 0.0, 30.0))
def test_probabilities_sum_to_one_and_have_the_moments(rate):
    law = Poisson(rate)
    checks.assert_sums(law, numpy.arange(200.0)[:, None])
    mode = law.mode
    assert (law.log_prob(mode) >= law.log_prob(mode + 1)).all()
    assert (law.log_prob(mode) >= law.log_prob(numpy.maximum(mode - 1, 0)) - 1e-12).all()


def test_at_rate_zero_nothing_happens_and_no_other_gradient_is_spoilt():
    rate = numpy.array([0.0, 0.0, 3.0])
    x = numpy.array([0.0, 2.0, 1.0])
    assert_array_equal(Poisson(rate).log_prob(x)[:2], [0.0, -numpy.inf])
    gradient = grad(lambda rate: Poisson(rate).log_prob(x).sum())(rate)
    assert_array_equal(gradient, [-1.0, numpy.inf, 1.0 / 3.0 - 1.0])
    gradient = grad(lambda rate: Poisson(rate).log_prob(x)[::2].sum())(rate)
    assert_array_equal(gradient, [-1.0, 0.0, 1.0 / 3.0 - 1.0])


def test_what_is_no_count_is_impossible():
    outside = [-1.0, 0.5, -numpy.inf, numpy.inf, numpy.nan]
    checks.assert_impossible(lambda **options: Poisson(2.0, **options), outside, inside=3.0)
    with pytest.raises(ValueError, match=r"Poisson: value must be a whole number, 0 or more; value\[1\] is 0.5"):
        Poisson(1.0).log_prob([0, 0.5])


@FEW
@given(real_arrays((3,), 0.5, 30.0), st.integers(0, 40))
def test_it_is_differentiable(rate, x):
    check_grads(lambda law: (law.log_prob(x), law.mean, law.variance, law.stddev), [Poisson(rate)])
    check_grads(lambda law: law.cdf(numpy.array([[-1.0], [x]])), [Poisson(rate)])


def test_gradient_of_the_cdf_is_minus_the_probability():
    rate = numpy.array([0.0, 1.0, 50.0])
    gradient = grad(lambda rate: np.sum(Poisson(rate).cdf([0.0, 2.0, 60.0])))(rate)
    assert_allclose(gradient, -scipy.stats.poisson.pmf([0.0, 2.0, 60.0], rate), rtol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 0.7, 8.0, 12.0])
def test_draws_follow_the_law(rate):
    draws = Poisson(numpy.array([rate, 5.0])).sample(20_000, rng=0)
    values = numpy.arange(60)
    checks.assert_counts_follow(draws[:, 0], values, scipy.stats.poisson.pmf(values, rate))
    pairs = 2 * (draws[:, 0] > rate) + (draws[:, 1] > 5.0)  # independent of one another
    above = numpy.array([scipy.stats.poisson.sf(rate, rate), scipy.stats.poisson.sf(5.0, 5.0)])
    expected = numpy.outer([1 - above[0], above[0]], [1 - above[1], above[1]])
    checks.assert_counts_follow(pairs, range(4), expected)
    with pytest.raises(AssertionError, match="outcome"):
        checks.assert_counts_follow(draws[:, 0], values, scipy.stats.poisson.pmf(values, rate * 1.1 + 1e-2))


def test_float32_and_every_backend(xp):
    law, x = Poisson(numpy.array([0.5, 3.0, 40.0])), numpy.array([0.0, 7.0, 33.0])
    checks.assert_precision(law, x)
    checks.assert_every_backend(xp, law, x)


@pytest.mark.parametrize("rate", [-1.0, numpy.nan, numpy.inf])
def test_impossible_parameters_are_refused(rate):
    with pytest.raises(ValueError, match=rf"Poisson: rate must be finite and not negative; rate\[1\] is {rate}"):
        Poisson([1.0, rate])
