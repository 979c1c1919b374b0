"""The uniform law: against SciPy, at its very ends, and on both sides of them."""

from __future__ import annotations

import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minilvm.autograd import grad
from minilvm.distributions import Uniform
from tests.distributions import checks
from tests.distributions.helpers import Uniforms, real_arrays, reals

lows, widths = reals(-1e3, 1e3), reals(-3, 3).map(lambda e: 10.0**e)
probabilities = st.one_of(st.floats(0, 1), reals(-300, 0).map(lambda e: 10.0**e))


def theirs(low, high):
    return scipy.stats.uniform(low, high - low)


@given(lows, widths, st.floats(-2, 3), probabilities)
def test_it_is_scipys(low, width, u, p):
    high = low + width
    law, x = Uniform(low, high), low + width * u
    if low <= x <= high:
        checks.assert_log_prob(law, theirs(low, high), x)
    checks.assert_cdf(law, theirs(low, high), x)
    checks.assert_icdf(law, theirs(low, high), p, rtol=1e-12, atol=1e-15 * max(abs(low), abs(high)))
    checks.assert_moments(law, theirs(low, high))
    assert low <= law.mode <= high


def test_small_probabilities_keep_their_digits():
    assert_allclose(Uniform(0.0, 2.0).icdf(1e-300), 2e-300, rtol=1e-15)
    assert_allclose(Uniform(0.0, 2.0).cdf(1e-300), 5e-301, rtol=1e-15)


@given(lows, widths)
def test_the_ends_are_possible_and_no_quantile_is_beyond_them(low, width):
    high = low + width
    law = Uniform(low, high)
    assert_array_equal(law.icdf([0.0, 1.0]), [low, high])
    assert Uniform(-1000.0, 0.1).icdf(1.0) == 0.1  # which −1000 + (0.1 + 1000) is not
    assert_array_equal(law.log_prob([low, high]), -numpy.log([high - low] * 2))
    assert_array_equal(law.cdf([-numpy.inf, low, high, numpy.inf]), [0.0, 0.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"Uniform: value must be between 0 and 1; value\[1\] is 1.5"):
        law.icdf([0.0, 1.5])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(lows, widths)
def test_no_uniform_number_draws_the_impossible(dtype, low, width):
    low, high = numpy.array(low, dtype), numpy.array(low + width, dtype)
    if high > low:
        for greatest in (False, True):
            law = Uniform(low, high)
            assert numpy.isfinite(law.log_prob(law.sample(rng=Uniforms(greatest=greatest))))


@given(lows, widths)
def test_density_integrates_to_one_and_has_the_moments(low, width):
    checks.assert_integrates(Uniform(low, low + width), [low, low + width])


def test_numbers_beyond_the_ends_are_impossible():
    outside = [1.0 - 1e-6, 3.0 + 1e-6, -numpy.inf, numpy.inf, numpy.nan]
    checks.assert_impossible(lambda **options: Uniform(1.0, 3.0, **options), outside, inside=1.5)
    with pytest.raises(ValueError, match=r"Uniform: value must be from low to high; value\[1\] is 4.0"):
        Uniform(1.0, 3.0).log_prob([2.0, 4.0])
    with pytest.raises(ValueError, match=r"Uniform: value must be from low to high; value is 2.5"):
        Uniform(1.0, [3.0, 2.0]).log_prob(2.5)


def test_it_is_differentiable():
    law, x = Uniform(numpy.array([-1.0, 0.5]), numpy.array([[1.0], [3.0]])), numpy.array([0.1, 0.7])
    checks.assert_differentiable(law, x, p=x)
    assert_array_equal(grad(lambda x: law.log_prob(x).sum())(x), [0.0, 0.0])


def test_draws():
    low, high = numpy.array([-1.0, 4.0]), numpy.array([1.0, 4.5])
    checks.assert_samples(Uniform(low, high), theirs(low, high).cdf)
    checks.assert_pathwise(Uniform(-1.0, 2.0), theirs)
    checks.assert_gradient_of_expectation(
        Uniform(-1.0, 2.0), lambda z: z**2, lambda law: (law.low**2 + law.low * law.high + law.high**2) / 3.0
    )


@given(reals(-10, 10), st.floats(0.5, 10), st.floats(0.1, 0.9))
def test_float32_stays_float32(low, width, u):
    checks.assert_precision(Uniform(low, low + width), low + width * u)


@given(real_arrays((3,), -1.0, 0.0), real_arrays((2, 1), 0.5, 2.0), real_arrays((2, 3), 0.0, 0.5))
def test_every_backend(xp, low, high, x):
    checks.assert_every_backend(xp, Uniform(low, high), x)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.0, [1.0, 0.0], r"Uniform: high must be above low; high\[1\] is 0.0"),
        ([0.0, 2.0], 1.0, "Uniform: high must be above low; high is 1.0"),
        (0.0, [1.0, numpy.inf], r"Uniform: high must be finite; high\[1\] is inf"),
        (numpy.nan, 1.0, "Uniform: low must be finite; low is nan"),
        ([0.0, 1.0], [2.0, 3.0, 4.0], r"Uniform: low of shape \(2,\) and high of shape \(3,\) do not broadcast"),
    ],
)
def test_impossible_parameters_are_refused(low, high, message):
    with pytest.raises(ValueError, match=message):
        Uniform(low, high)
