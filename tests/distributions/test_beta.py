"""The beta law: against SciPy, mpmath where SciPy is doubtful, its own integral, and the movement of its draws."""

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
from minilvm.autograd import check_grads, grad, hessian
from minilvm.distributions import Beta
from minilvm.distributions.gamma import log_standard_gamma
from minilvm.distributions.implicit import implicit
from minilvm.numpy import special
from minilvm.numpy.incomplete import log_gamma_slope, log_odds_slope
from tests.distributions import checks
from tests.distributions.helpers import FEW, real_arrays, reals

sizes = reals(-3, 6).map(lambda e: 10.0**e)
probabilities = st.one_of(st.floats(1e-3, 0.999), reals(-12, -3).map(lambda e: 10.0**e))
theirs = scipy.stats.beta


class Exact:
    """The beta law in forty digits."""

    def __init__(self, alpha, beta):
        self.a, self.b = mpmath.mpf(float(alpha)), mpmath.mpf(float(beta))

    @property
    def log_beta(self):
        return mpmath.loggamma(self.a) + mpmath.loggamma(self.b) - mpmath.loggamma(self.a + self.b)

    def logpdf(self, x):
        with mpmath.workdps(40):
            x = mpmath.mpf(float(x))
            return float((self.a - 1) * mpmath.log(x) + (self.b - 1) * mpmath.log(1 - x) - self.log_beta)

    def entropy(self):
        with mpmath.workdps(40):
            a, b = self.a, self.b
            inner = (a - 1) * mpmath.psi(0, a) + (b - 1) * mpmath.psi(0, b) - (a + b - 2) * mpmath.psi(0, a + b)
            return float(self.log_beta - inner)

    def mean(self):
        return float(self.a / (self.a + self.b))

    def var(self):
        n = self.a + self.b
        return float(self.a * self.b / (n**2 * (n + 1)))

    def std(self):
        return self.var() ** 0.5


@given(sizes, sizes, reals(-30, 30))
def test_density_and_moments_are_mpmaths_at_any_size(alpha, beta, z):
    law = Beta(alpha, beta)
    x = float(scipy.special.expit(numpy.log(alpha / beta) + z * (1 / alpha + 1 / beta) ** 0.5))
    if 0 < x < 1:
        checks.assert_log_prob(law, Exact(alpha, beta), x, rtol=1e-12, atol=1e-11)
    checks.assert_moments(law, Exact(alpha, beta), rtol=1e-11, atol=1e-11)


@given(reals(-1, 3).map(lambda e: 10.0**e), reals(-1, 3).map(lambda e: 10.0**e), probabilities)
def test_cdf_and_icdf_are_scipys(alpha, beta, p):
    law = Beta(alpha, beta)
    x = theirs(alpha, beta).ppf(p)
    checks.assert_icdf(law, theirs(alpha, beta), p, rtol=1e-10)
    checks.assert_cdf(law, theirs(alpha, beta), x, rtol=1e-10)


def test_the_ends():
    law = Beta([0.5, 1.0, 3.0], 2.0)
    assert_allclose(law.log_prob(0.0), [numpy.inf, numpy.log(2.0), -numpy.inf], rtol=1e-14)
    assert_allclose(Beta(2.0, [0.5, 1.0, 3.0]).log_prob(1.0), [numpy.inf, numpy.log(2.0), -numpy.inf], rtol=1e-14)
    assert_array_equal(law.cdf([[0.0], [-1.0], [1.0], [2.0]]), [[0.0] * 3, [0.0] * 3, [1.0] * 3, [1.0] * 3])
    assert_array_equal(law.icdf([[0.0] * 3, [1.0] * 3]), [[0.0] * 3, [1.0] * 3])
    with pytest.raises(ValueError, match=r"Beta: value must be between 0 and 1; value\[1\] is -0.5"):
        law.icdf([0.5, -0.5, 0.0])


def test_modes():
    law = Beta([3.0, 3.0, 0.5, 0.2, 0.5, 1.0, 1.0], [2.0, 1.0, 2.0, 0.5, 0.2, 0.5, 1.0])
    assert_allclose(law.mode, [2 / 3, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0])


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 2.0), (1.0, 3.0), (30.0, 4.0)])
def test_density_integrates_to_one_and_has_the_moments(alpha, beta):
    points = theirs(alpha, beta).ppf([0.0, 0.01, 0.5, 0.99, 1.0])
    checks.assert_integrates(Beta(alpha, beta), points, rtol=1e-6)


def test_numbers_outside_are_impossible():
    outside = [-1e-30, -1.0, 1.5, -numpy.inf, numpy.inf, numpy.nan]
    for alpha in (0.5, 1.0, 1e6):
        checks.assert_impossible(lambda alpha=alpha, **options: Beta(alpha, 2.0, **options), outside, inside=0.25)
    with pytest.raises(ValueError, match=r"Beta: value must be between 0 and 1; value\[1\] is -1.0"):
        Beta(1.0, 1.0).log_prob([0.0, -1.0])


@FEW
@given(real_arrays((3,), 0.5, 12.0), real_arrays((2, 1), 0.5, 12.0), real_arrays((2, 3), 0.125, 0.875))
def test_it_is_differentiable(alpha, beta, x):
    law = Beta(alpha, beta)
    checks.assert_differentiable(law, x)
    check_grads(lambda law, p: law.icdf(p), [law, x], order=1, rtol=1e-5)


def test_float32_stays_float32_and_loses_little():
    for alpha, beta in (0.1, 0.3), (1.0, 1.0), (7.0, 3.0), (1e3, 1e2):
        checks.assert_precision(Beta(alpha, beta), alpha / (alpha + beta), rtol=1e-4, atol=1e-4)


@FEW
@given(real_arrays((3,), 0.5, 12.0), real_arrays((2, 1), 0.5, 12.0), real_arrays((2, 3), 0.125, 0.875))
def test_every_backend(xp, alpha, beta, x):
    checks.assert_every_backend(xp, Beta(alpha, beta), x)


# Draws ----------------------------------------------------------------------------------------------------------------


def second_moment(law):
    n = law.concentration1 + law.concentration0
    return law.concentration1 * (law.concentration1 + 1.0) / (n * (n + 1.0))


def test_draws():
    alpha, beta = numpy.array([0.2, 1.0, 40.0]), numpy.array([0.4, 3.0, 30.0])
    checks.assert_samples(Beta(alpha, beta), lambda x: theirs(alpha, beta).cdf(numpy.where(x > 1 - 1e-7, 1.0, x)))
    for alpha, beta in (0.3, 0.4), (1.0, 5.0), (300.0, 100.0):
        checks.assert_pathwise(Beta(alpha, beta), theirs)
    law = Beta(numpy.array(3.0), numpy.array(2.0))
    checks.assert_gradient_of_expectation(law, np.square, second_moment)


class OfTwoGammas(Beta):
    """Draws that move as the two gamma draws do that they were made of: right on average, and noisier."""

    def rsample(self, sample_shape=(), *, rng):
        a, b, shape = self.concentration1, self.concentration0, self._shape(sample_shape)
        rng = numpy.random.default_rng(rng)
        slopes = (lambda log_g, c: log_gamma_slope(c, log_g),)
        log_G, log_H = (implicit(log_standard_gamma(c, shape, rng), slopes, c) for c in (a, b))
        return special.expit(log_G - log_H)


def test_draws_that_know_more_than_their_value_move_otherwise_and_right_on_average():
    parameters = numpy.array(3.0), numpy.array(2.0)
    checks.assert_gradient_of_expectation(OfTwoGammas(*parameters), np.square, second_moment)
    with pytest.raises(AssertionError):
        checks.assert_pathwise(OfTwoGammas(*parameters), theirs)


@pytest.mark.parametrize(("alpha", "beta"), [(3.0, 2.0), (1.0, 5.0), (20.0, 7.0)])
def test_a_draw_moves_as_two_gamma_draws_do_on_average_given_the_draw(alpha, beta):
    """With x = G / S, S is Gamma(α + β) and knows nothing of x: averaging over it leaves less noise."""
    s, weights = scipy.special.roots_genlaguerre(100, alpha + beta - 1.0)
    x = numpy.array([0.01, 0.3, 0.6, 0.99])
    of_gammas = log_gamma_slope(alpha, numpy.log(x) + numpy.log(s)[:, None])
    assert_allclose((weights / weights.sum()) @ of_gammas, log_odds_slope(alpha, beta, special.logit(x)), rtol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_next_to_an_end_are_no_end(dtype):
    law = Beta(numpy.array([1e-3, 1.0, 1e-3], dtype), numpy.array([1.0, 1e-3, 1e-3], dtype))
    x = law.sample(1000, rng=0)
    gradient = grad(lambda law: law.rsample(1000, rng=0).sum())(law)
    assert ((x > 0) & (x < 1)).all()
    assert numpy.isfinite(law.log_prob(x)).all()
    assert numpy.isfinite([gradient.concentration1, gradient.concentration0]).all()


def test_a_second_derivative_of_a_draw_is_an_error():
    with pytest.raises(TypeError, match="implicit reparameterisation has no second derivative"):
        hessian(lambda alpha: Beta(alpha, 1.0).rsample(rng=0).sum())(numpy.array([2.0]))


@pytest.mark.parametrize(
    ("alpha", "beta", "message"),
    [
        ([1.0, 0.0], 1.0, r"Beta: concentration1 must be positive; concentration1\[1\] is 0.0"),
        (1.0, [[1.0], [-2.0]], r"Beta: concentration0 must be positive; concentration0\[1, 0\] is -2.0"),
        (numpy.inf, 1.0, "Beta: concentration1 must be finite; concentration1 is inf"),
        (
            numpy.ones(2),
            numpy.ones(3),
            r"concentration1 of shape \(2,\) and concentration0 of shape \(3,\) do not broad",
        ),
    ],
)
def test_impossible_parameters_are_refused(alpha, beta, message):
    with pytest.raises(ValueError, match=message):
        Beta(alpha, beta)
