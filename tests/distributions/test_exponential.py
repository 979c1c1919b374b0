"""The exponential law: against SciPy, its own integral, and the movement of its draws."""

from __future__ import annotations

import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minilvm.distributions import Exponential
from tests.distributions import checks
from tests.distributions.helpers import real_arrays, reals

rates = reals(-6, 6).map(lambda e: 10.0**e)
probabilities = st.one_of(st.floats(0, 1), reals(-300, 0).map(lambda e: 10.0**e))


def theirs(rate):
    return scipy.stats.expon(scale=1.0 / rate)


@given(rates, reals(0, 1e4), probabilities)
def test_it_is_scipys_far_into_the_tail(rate, z, p):
    law = Exponential(rate)
    checks.assert_log_prob(law, theirs(rate), z / rate)
    checks.assert_cdf(law, theirs(rate), z / rate)
    checks.assert_icdf(law, theirs(rate), p)
    checks.assert_moments(law, theirs(rate))
    assert law.mode == 0.0


def test_the_ends():
    law = Exponential([1.0, 2.0])
    assert_array_equal(law.log_prob(0.0), numpy.log([1.0, 2.0]))
    assert_array_equal(
        law.cdf([[0.0], [-1.0], [-numpy.inf], [numpy.inf]]), [[0.0] * 2, [0.0] * 2, [0.0] * 2, [1.0] * 2]
    )
    assert_array_equal(law.icdf([[0.0], [1.0]]), [[0.0] * 2, [numpy.inf] * 2])
    assert_allclose(law.cdf(1e-300), [1e-300, 2e-300], rtol=1e-15)
    with pytest.raises(ValueError, match=r"Exponential: value must be between 0 and 1; value\[1\] is -0.5"):
        law.icdf([0.5, -0.5])


@given(rates)
def test_density_integrates_to_one_and_has_the_moments(rate):
    checks.assert_integrates(Exponential(rate), [0.0, 1.0 / rate, 50.0 / rate, numpy.inf])


def test_negative_numbers_are_impossible():
    outside = [-1e-30, -1.0, -numpy.inf, numpy.inf, numpy.nan]
    checks.assert_impossible(lambda **options: Exponential(2.0, **options), outside, inside=0.0)
    with pytest.raises(ValueError, match=r"Exponential: value must be finite and not negative; value\[1\] is -1.0"):
        Exponential(1.0).log_prob([0.0, -1.0])


def test_it_is_differentiable():
    rate, x = numpy.array([0.5, 1.0, 2.0]), numpy.array([[0.5, 2.0, 1.0], [3.0, 0.1, 0.7]])
    checks.assert_differentiable(Exponential(rate), x, p=x / 4.0)


def test_draws():
    rate = numpy.array([0.1, 3.0])
    checks.assert_samples(Exponential(rate), theirs(rate).cdf)
    checks.assert_pathwise(Exponential(3.0), theirs)
    checks.assert_gradient_of_expectation(Exponential(3.0), lambda z: z**2, lambda law: 2.0 / law.rate**2)


@given(rates.filter(lambda rate: 1e-2 < rate < 1e2), reals(0, 1e3))
def test_float32_stays_float32(rate, z):
    checks.assert_precision(Exponential(rate), z / rate)


@given(real_arrays((3,), 0.5, 2.0), real_arrays((2, 3), 0.0, 3.0))
def test_every_backend(xp, rate, x):
    checks.assert_every_backend(xp, Exponential(rate), x)


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        ([1.0, 0.0], r"Exponential: rate must be positive; rate\[1\] is 0.0"),
        (numpy.inf, "Exponential: rate must be finite; rate is inf"),
        (numpy.nan, "Exponential: rate must be finite; rate is nan"),
    ],
)
def test_impossible_parameters_are_refused(rate, message):
    with pytest.raises(ValueError, match=message):
        Exponential(rate)
