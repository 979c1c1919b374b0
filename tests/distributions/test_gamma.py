"""The gamma law: against SciPy, mpmath where SciPy is doubtful, its own integral, and the movement of its draws."""

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
from minilvm.distributions import Gamma
from minilvm.distributions.gamma import log_standard_gamma
from minilvm.tape import stop_gradient
from tests.distributions import checks
from tests.distributions.helpers import FEW, assert_dtype, real_arrays, reals
from tests.statistics import assert_drawn_from

sizes = reals(-3, 6).map(lambda e: 10.0**e)
rates = reals(-3, 3).map(lambda e: 10.0**e)
probabilities = st.one_of(st.floats(1e-3, 0.999), reals(-300, -3).map(lambda e: 10.0**e))


def theirs(alpha, beta):
    return scipy.stats.gamma(alpha, scale=1.0 / beta)


class Exact:
    """The gamma law in forty digits."""

    def __init__(self, alpha, beta):
        self.alpha, self.beta = mpmath.mpf(float(alpha)), mpmath.mpf(float(beta))

    def logpdf(self, x):
        with mpmath.workdps(40):
            a, b, x = self.alpha, self.beta, mpmath.mpf(float(x))
            return float(a * mpmath.log(b) + (a - 1) * mpmath.log(x) - b * x - mpmath.loggamma(a))

    def entropy(self):
        with mpmath.workdps(40):
            a = self.alpha
            return float(a - mpmath.log(self.beta) + mpmath.loggamma(a) + (1 - a) * mpmath.psi(0, a))

    def mean(self):
        return float(self.alpha / self.beta)

    def var(self):
        return float(self.alpha / self.beta**2)

    def std(self):
        return float(mpmath.sqrt(self.alpha) / self.beta)


@given(sizes, rates, reals(-30, 30))
def test_density_and_moments_are_mpmaths_at_any_size(alpha, beta, z):
    law = Gamma(alpha, beta)
    checks.assert_log_prob(
        law, Exact(alpha, beta), max(1e-3, abs(alpha + z * alpha**0.5)) / beta, rtol=1e-12, atol=1e-11
    )
    checks.assert_moments(law, Exact(alpha, beta), atol=1e-11)
    assert_allclose(law.mode, max(0.0, (alpha - 1.0) / beta), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_product_too_small_for_a_number_is_no_zero(dtype):
    """A draw next to 0 where the mean is far from it: βx underflows, and neither log βx nor a gradient does."""
    alpha, beta = numpy.array([0.01, 3.0], dtype), numpy.array(1e-12, dtype)
    x = numpy.finfo(dtype).tiny
    law = Gamma(alpha, beta)
    assert_allclose(law.log_prob(x), [Exact(a, beta).logpdf(x) for a in alpha], rtol=1e-6)
    gradient = grad(lambda law: law.log_prob(x).sum())(law)
    assert_allclose(gradient.rate, alpha.astype(float).sum() / beta.astype(float), rtol=1e-6)
    log_mean = [float(mpmath.log(float(beta) * mpmath.mpf(float(x))) - mpmath.psi(0, float(a))) for a in alpha]
    assert_allclose(gradient.concentration, log_mean, rtol=1e-6)


@given(sizes, rates, probabilities)
def test_cdf_and_icdf_are_scipys(alpha, beta, p):
    law = Gamma(alpha, beta)
    checks.assert_icdf(law, theirs(alpha, beta), p, rtol=1e-12)
    checks.assert_cdf(law, theirs(alpha, beta), theirs(alpha, beta).ppf(p), rtol=1e-10)


def test_the_ends():
    law = Gamma([0.5, 1.0, 3.0], 2.0)
    assert_array_equal(law.log_prob(0.0), [numpy.inf, numpy.log(2.0), -numpy.inf])
    assert_array_equal(law.cdf([[0.0] * 3, [-1.0] * 3, [numpy.inf] * 3]), [[0.0] * 3, [0.0] * 3, [1.0] * 3])
    assert_array_equal(law.icdf([[0.0] * 3, [1.0] * 3]), [[0.0] * 3, [numpy.inf] * 3])
    with pytest.raises(ValueError, match=r"Gamma: value must be between 0 and 1; value\[1\] is -0.5"):
        law.icdf([0.5, -0.5, 0.0])


@pytest.mark.parametrize("alpha", [0.5, 1.0, 30.0])
def test_density_integrates_to_one_and_has_the_moments(alpha):
    points = scipy.stats.gamma(alpha, scale=0.5).ppf([0.0, 0.01, 0.5, 0.99])
    checks.assert_integrates(Gamma(alpha, 2.0), [*points, numpy.inf])


def test_negative_numbers_are_impossible():
    outside = [-1e-30, -1.0, -numpy.inf, numpy.inf, numpy.nan]
    for alpha in (0.5, 1.0, 3.0, 1e6):
        checks.assert_impossible(lambda alpha=alpha, **options: Gamma(alpha, 2.0, **options), outside, inside=1.5)
    with pytest.raises(ValueError, match=r"Gamma: value must be finite and not negative; value\[1\] is -1.0"):
        Gamma(1.0, 1.0).log_prob([0.0, -1.0])


@FEW
@given(real_arrays((3,), 0.5, 12.0), real_arrays((2, 1), 0.5, 2.0), real_arrays((2, 3), 0.5, 3.0))
def test_it_is_differentiable(alpha, beta, x):
    law = Gamma(alpha, beta)
    checks.assert_differentiable(law, x)
    check_grads(lambda law, p: law.icdf(p), [law, x / 4.0], order=1, rtol=1e-5)
    check_grads(law.icdf, [x / 4.0], rtol=1e-5)


def test_float32_stays_float32_and_loses_little():
    for alpha in (0.1, 1.0, 7.0, 1e3):
        checks.assert_precision(Gamma(alpha, 2.0), 0.5 * alpha, rtol=3e-5, atol=3e-5)


@FEW
@given(real_arrays((3,), 0.5, 12.0), real_arrays((2, 1), 0.5, 2.0), real_arrays((2, 3), 0.5, 3.0))
def test_every_backend(xp, alpha, beta, x):
    checks.assert_every_backend(xp, Gamma(alpha, beta), x)


# Draws ----------------------------------------------------------------------------------------------------------------


def test_draws():
    alpha, beta = numpy.array([0.2, 1.0, 40.0]), numpy.array([1.0, 0.1, 3.0])
    checks.assert_samples(Gamma(alpha, beta), theirs(alpha, beta).cdf)
    for alpha in (0.05, 1.0, 4.0, 500.0):
        checks.assert_pathwise(Gamma(alpha, 2.0), theirs)
    law = Gamma(numpy.array(3.0), numpy.array(2.0))
    second_moment = lambda law: law.concentration * (law.concentration + 1.0) / law.rate**2  # noqa: E731
    checks.assert_gradient_of_expectation(law, np.square, second_moment)
    mean_log = lambda law: np.special.digamma(law.concentration) - np.log(law.rate)  # noqa: E731
    checks.assert_gradient_of_expectation(law, np.log, mean_log)


class Explicit(Gamma):
    """Draws of the right law that move as ∂z/∂α = z/α: right for their mean, and for nothing else."""

    def rsample(self, sample_shape=(), *, rng):
        z = stop_gradient(super().rsample(sample_shape, rng=rng))
        return z * (self.concentration / stop_gradient(self.concentration))


def test_the_least_draws_move_as_they_should():
    """P(α, z) → z^α / Γ(α + 1) as z → 0, and where that stays the same ∂ log z/∂α is (ψ(α + 1) − log z) / α."""
    law = Gamma(numpy.full(1000, 0.05), 1.0)
    log_z = numpy.log(law.sample(rng=0))
    slope = grad(lambda law: np.sum(np.log(law.rsample(rng=0))))(law).concentration
    least = (log_z < -40.0) & (log_z > -700.0)
    assert_allclose(slope[least], (scipy.special.digamma(1.05) - log_z[least]) / 0.05, rtol=1e-9)


def test_draws_that_move_otherwise_are_caught():
    law = Explicit(numpy.array(3.0), numpy.array(2.0))
    with pytest.raises(AssertionError):
        checks.assert_pathwise(law, theirs)
    with pytest.raises(AssertionError):
        checks.assert_gradient_of_expectation(
            law, np.square, lambda law: law.concentration * (law.concentration + 1.0) / law.rate**2
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_too_small_for_a_number_are_the_least_number_and_no_zero(dtype):
    law = Gamma(numpy.array([1e-3, 0.02], dtype), numpy.array(1e3, dtype))
    z, gradient = (
        f(law) for f in (lambda law: law.sample(1000, rng=0), grad(lambda law: law.rsample(1000, rng=0).sum()))
    )
    assert (z >= numpy.finfo(dtype).tiny).all()
    assert numpy.isfinite(law.log_prob(z)).all()
    assert numpy.isfinite([gradient.concentration.sum(), gradient.rate]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logarithms_of_draws_know_what_the_draws_no_longer_do(dtype):
    """For a small α, log z is nearly −ε/α, with ε ~ Exponential(1): P(z ≤ t) is exp(α t) / Γ(α + 1)."""
    alpha = numpy.array(1e-4, dtype)
    log_z = log_standard_gamma(alpha, (50_000,), 0)
    assert_dtype(log_z, dtype)
    assert_drawn_from(log_z.astype(float), lambda t: numpy.exp(1e-4 * numpy.minimum(t, 0.0)))
    for alpha in (0.3, 1.0, 25.0):
        draws = numpy.exp(log_standard_gamma(numpy.array(alpha, dtype), (50_000,), 0).astype(float))
        assert_drawn_from(draws, scipy.stats.gamma(alpha).cdf)


def test_a_second_derivative_of_a_draw_is_no_wrong_number_but_an_error():
    with pytest.raises(TypeError, match="implicit reparameterisation has no second derivative"):
        hessian(lambda alpha: Gamma(alpha, 1.0).rsample(rng=0).sum())(numpy.array([2.0]))
    beta = numpy.array([2.0])
    z = Gamma(3.0, beta).sample(rng=0)
    assert_allclose(hessian(lambda beta: Gamma(3.0, beta).rsample(rng=0).sum())(beta), [2 * z / beta**2], rtol=1e-12)


@pytest.mark.parametrize(
    ("alpha", "beta", "message"),
    [
        ([1.0, 0.0], 1.0, r"Gamma: concentration must be positive; concentration\[1\] is 0.0"),
        (1.0, [[1.0], [-2.0]], r"Gamma: rate must be positive; rate\[1, 0\] is -2.0"),
        (numpy.inf, 1.0, "Gamma: concentration must be finite; concentration is inf"),
        (
            [1.0, 2.0],
            [1.0, 2.0, 3.0],
            r"Gamma: concentration of shape \(2,\) and rate of shape \(3,\) do not broadcast",
        ),
    ],
)
def test_impossible_parameters_are_refused(alpha, beta, message):
    with pytest.raises(ValueError, match=message):
        Gamma(alpha, beta)
