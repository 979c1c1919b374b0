"""The log-normal law: against SciPy, its own integral, and the normal law of the logarithm."""

from __future__ import annotations

import mpmath
import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minilvm.autograd import grad
from minilvm.distributions import LogNormal, Normal
from tests.distributions import checks
from tests.distributions.helpers import real_arrays, reals

locs, scales = reals(-20, 20), reals(-2, 0.5).map(lambda e: 10.0**e)
probabilities = st.one_of(st.floats(0, 1), reals(-300, 0).map(lambda e: 10.0**e))


def theirs(loc, scale):
    return scipy.stats.lognorm(scale, scale=numpy.exp(loc))


@given(locs, scales, reals(-38, 38))
def test_it_is_scipys_far_into_the_tails(loc, scale, z):
    law, x = LogNormal(loc, scale), numpy.exp(loc + scale * z)
    checks.assert_log_prob(law, theirs(loc, scale), x, rtol=1e-9, atol=1e-9)  # the logarithm of a rounded exponential
    checks.assert_cdf(law, theirs(loc, scale), x, rtol=1e-9)
    checks.assert_moments(law, theirs(loc, scale), rtol=1e-10, atol=1e-12)


def test_a_small_variance_keeps_its_digits():
    """exp(σ²) − 1 would lose all of them."""
    assert_allclose(LogNormal(0.0, 1e-8).variance, 1e-16, rtol=1e-12)
    assert_allclose(LogNormal(0.0, 1e-5).stddev, 1e-5 * (1.0 + 0.75e-10), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_deviation_that_is_not_great_does_not_overflow(dtype):
    """exp(σ²) − 1 would, for a σ² of 900."""
    law = LogNormal(numpy.array(-900.0, dtype), numpy.array(30.0, dtype))
    assert_array_equal([law.stddev, law.variance], 1.0)
    assert_allclose(grad(lambda law: law.stddev)(law).scale, 60.0)


@given(locs, scales, probabilities)
def test_quantiles_are_scipys(loc, scale, p):
    checks.assert_icdf(LogNormal(loc, scale), theirs(loc, scale), p, rtol=1e-11)


@given(locs, scales, reals(-300, 300))
def test_log_prob_is_right_to_the_last_digits(loc, scale, exponent):
    """From 1e-300 to 1e300."""
    x = 10.0**exponent
    with mpmath.workdps(50):
        log_x, mu, sigma = mpmath.log(mpmath.mpf(x)), mpmath.mpf(loc), mpmath.mpf(scale)
        exact = -(((log_x - mu) / sigma) ** 2) / 2 - mpmath.log(sigma) - mpmath.log(2 * mpmath.pi) / 2 - log_x
    assert_allclose(LogNormal(loc, scale).log_prob(x), float(exact), rtol=1e-11, atol=1e-9)


@given(locs, scales, reals(-5, 5))
def test_its_logarithm_is_normal(loc, scale, z):
    x = numpy.exp(loc + scale * z)
    law, log_law = LogNormal(loc, scale), Normal(loc, scale)
    assert_allclose(law.log_prob(x), log_law.log_prob(numpy.log(x)) - numpy.log(x), rtol=1e-14, atol=1e-14)
    assert_allclose(law.entropy(), log_law.entropy() + loc, rtol=1e-14, atol=1e-14)  # H(x) = H(log x) + E log x
    assert_array_equal(law.sample(3, rng=0), numpy.exp(log_law.sample(3, rng=0)))


@given(locs, scales)
def test_the_mode_is_where_the_density_is_greatest(loc, scale):
    law = LogNormal(loc, scale)
    beside = law.mode * numpy.array([1.0 - 1e-3, 1.0, 1.0 + 1e-3])
    assert law.log_prob(beside).argmax() == 1


def test_the_ends():
    law = LogNormal([1.0, 2.0], 3.0)
    assert_array_equal(law.icdf([0.0, 1.0]), [0.0, numpy.inf])
    assert_array_equal(law.cdf([0.0, numpy.inf]), [0.0, 1.0])
    assert_array_equal(law.cdf([-1.0, -numpy.inf]), [0.0, 0.0])


@given(reals(-3, 3), st.floats(0.05, 1.5))
def test_density_integrates_to_one_and_has_the_moments(loc, scale):
    points = [0.0, *numpy.exp(loc + scale * numpy.array([-8, -4, -2, 0, 2, 4, 8, 12])), numpy.inf]
    checks.assert_integrates(LogNormal(loc, scale), points)


def test_numbers_up_to_zero_are_impossible():
    outside = [0.0, -1e-30, -1.0, -numpy.inf, numpy.inf, numpy.nan]
    checks.assert_impossible(lambda **options: LogNormal(0.5, 2.0, **options), outside, inside=0.3)
    with pytest.raises(ValueError, match=r"LogNormal: value must be positive and finite; value\[1\] is 0.0"):
        LogNormal(0.0, 1.0).log_prob([1.0, 0.0])


def test_it_is_differentiable():
    loc, scale = numpy.array([-1.0, 0.3, 1.0]), numpy.array([[0.5], [0.9]])
    x = numpy.exp(loc + numpy.array([-1.0, 0.5, 2.0]))
    checks.assert_differentiable(LogNormal(loc, scale), x, p=numpy.array([0.1, 0.3, 0.8]))


def test_draws():
    loc, scale = numpy.array([-1.0, 4.0]), numpy.array([0.5, 2.0])
    checks.assert_samples(LogNormal(loc, scale), theirs(loc, scale).cdf)
    checks.assert_pathwise(LogNormal(-1.0, 0.5), theirs)
    checks.assert_gradient_of_expectation(LogNormal(-1.0, 0.5), lambda z: z, lambda law: law.mean)


@given(reals(-3, 3), st.floats(0.1, 2.0), reals(-5, 5))
def test_float32_stays_float32(loc, scale, z):
    checks.assert_precision(LogNormal(loc, scale), numpy.exp(loc + scale * z), rtol=1e-4, atol=1e-4)


@given(real_arrays((3,)), real_arrays((2, 1), 0.5, 2.0), real_arrays((2, 3), 0.125, 3.0))
def test_every_backend(xp, loc, scale, x):
    checks.assert_every_backend(xp, LogNormal(loc, scale), x)


@pytest.mark.parametrize(
    ("loc", "scale", "message"),
    [
        (0.0, [[1.0], [-1.0]], r"LogNormal: scale must be positive; scale\[1, 0\] is -1.0"),
        ([0.0, numpy.nan], 1.0, r"LogNormal: loc must be finite; loc\[1\] is nan"),
        ([0.0, 1.0], [1.0, 1.0, 1.0], r"LogNormal: loc of shape \(2,\) and scale of shape \(3,\) do not broadcast"),
    ],
)
def test_impossible_parameters_are_refused(loc, scale, message):
    with pytest.raises(ValueError, match=message):
        LogNormal(loc, scale)
