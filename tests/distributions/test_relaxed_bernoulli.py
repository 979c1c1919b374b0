"""The relaxed Bernoulli law: against fifty digits next to both ends, its quantiles, and the bound it does not give."""

from __future__ import annotations

import mpmath
import numpy
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm.autograd import grad
from minilvm.distributions import Bernoulli, RelaxedBernoulli, kl_divergence
from tests.distributions import checks
from tests.distributions.helpers import FEW, Uniforms, real_arrays, reals

temperatures, logits = st.floats(-2, 1).map(lambda e: 10.0**e), reals(-100, 100)
inside = st.one_of(st.floats(-300, -0.1).map(lambda e: 10.0**e), st.floats(-15.5, -0.5).map(lambda e: 1.0 - 10.0**e))


def exact(x, t, a):
    """log of t α x^(−t−1) (1 − x)^(−t−1) / (α x^(−t) + (1 − x)^(−t))², arXiv:1611.00712, eq. 26."""
    with mpmath.workdps(400):
        x, t, a = map(mpmath.mpf, (x, t, a))
        y = 1 - x
        bottom = mpmath.exp(a) * x**-t + y**-t
        return float(mpmath.log(t) + a - (t + 1) * mpmath.log(x * y) - 2 * mpmath.log(bottom))


def assert_log_prob(log_prob, x, t, a, rtol=1e-13):
    """To rounding of what is added, of which logit(x) and the density's own logarithm are."""
    scale = abs(scipy.special.logit(x)) + abs(a)
    assert_allclose(log_prob(RelaxedBernoulli(t, logits=a), x), exact(x, t, a), rtol=rtol, atol=rtol * (1 + scale))


@given(inside, temperatures, logits)
@example(1e-300, 1.0, 0.0)
@example(numpy.finfo(float).tiny, 0.01, -100.0)
@example(1.0 - 2.0**-53, 0.01, 100.0)
def test_log_prob_keeps_its_digits(x, t, a):
    assert_log_prob(RelaxedBernoulli.log_prob, x, t, a)


def test_the_density_before_its_logarithm_is_caught():
    def naive(law, x):
        t, alpha = law.temperature, numpy.exp(law.logits)
        with numpy.errstate(all="ignore"):
            bottom = (alpha * x**-t + (1.0 - x) ** -t) ** 2
            return numpy.log(t * alpha * x ** (-t - 1) * (1.0 - x) ** (-t - 1) / bottom)

    assert_log_prob(naive, 0.3, 0.5, 1.0)
    with pytest.raises(AssertionError):
        assert_log_prob(naive, 1e-200, 2.0, 1.0)


def theirs(t, a):
    """A logistic variable about a, over t, squashed: its law by the change of variables, from SciPy."""

    class Law:
        logistic = scipy.stats.logistic(a / t, 1.0 / t)

        def cdf(self, x):
            return self.logistic.cdf(scipy.special.logit(x))

        def ppf(self, p):
            return scipy.special.expit(self.logistic.ppf(p))

        def pdf(self, x):
            return self.logistic.pdf(scipy.special.logit(x)) / (x * (1.0 - x))

    return Law()


@given(inside, temperatures, reals(-20, 20), st.floats(0, 1))
def test_distribution_function_and_quantiles(x, t, a, p):
    law = RelaxedBernoulli(t, logits=a)
    assert_allclose(law.cdf(x), theirs(t, a).cdf(x), rtol=1e-11, atol=1e-300)
    checks.assert_icdf(law, theirs(t, a), p, rtol=1e-9, atol=1e-300)
    assert_allclose(law.cdf(0.5), Bernoulli(logits=-a).mean, rtol=1e-12)  # at every temperature


def test_at_the_ends():
    law = RelaxedBernoulli([0.5, 2.0], logits=1.0)
    assert_array_equal(law.cdf([[-1.0], [0.0], [1.0], [numpy.inf]]), [[0.0] * 2, [0.0] * 2, [1.0] * 2, [1.0] * 2])
    assert_array_equal(law.icdf([[0.0], [1.0]]), [[0.0] * 2, [1.0] * 2])
    assert numpy.isnan(law.cdf(numpy.nan)).all()
    with pytest.raises(ValueError, match=r"RelaxedBernoulli: value must be between 0 and 1; value is 1.5"):
        law.icdf(1.5)


def assert_density_is_the_slope(law, x):
    assert_allclose(numpy.exp(law.log_prob(x)), grad(lambda x: np.sum(law.cdf(x)))(x), rtol=1e-10)


@given(real_arrays((5,), 0.015625, 0.984375), temperatures, reals(-5, 5))
def test_density_is_the_slope_of_the_distribution_function(x, t, a):
    assert_density_is_the_slope(RelaxedBernoulli(t, logits=a), x)


def test_a_forgotten_temperature_is_caught():
    class Twin(RelaxedBernoulli):
        def _log_density(self, x):
            return super()._log_density(x) - np.log(self.temperature)

    with pytest.raises(AssertionError):
        assert_density_is_the_slope(Twin(0.5, logits=0.0), numpy.array([0.3]))


@given(st.floats(0.01, 0.99), temperatures)
def test_a_probability_says_the_same_as_its_logit(p, t):
    x = numpy.array([0.001, 0.4, 0.99])
    from_probs, from_logits = RelaxedBernoulli(t, probs=p), RelaxedBernoulli(t, logits=scipy.special.logit(p))
    assert_allclose(from_probs.log_prob(x), from_logits.log_prob(x), rtol=1e-9, atol=1e-9)


def test_what_is_not_within_is_impossible():
    outside = [0.0, 1.0, -0.5, 1.5, -numpy.inf, numpy.inf, numpy.nan]
    checks.assert_impossible(lambda **options: RelaxedBernoulli(0.5, logits=1.0, **options), outside, inside=0.3)
    with pytest.raises(ValueError, match=r"value must be strictly between 0 and 1; value\[1\] is 1.0"):
        RelaxedBernoulli(0.5, logits=1.0).log_prob([0.5, 1.0])


@FEW
@given(real_arrays((2, 3), 0.0625, 0.9375), real_arrays((2, 1), 0.25, 2.0), real_arrays((3,)))
def test_it_is_differentiable(x, t, a):
    checks.assert_differentiable(RelaxedBernoulli(t, logits=a), x, p=x)
    checks.assert_differentiable(RelaxedBernoulli(t, probs=scipy.special.expit(a)), x)


# Draws ----------------------------------------------------------------------------------------------------------------


def test_draws_follow_the_law_and_move_with_its_parameters():
    t, a = numpy.array([0.4, 1.0, 3.0]), numpy.array([-1.0, 0.5, 2.0])
    law = RelaxedBernoulli(t, logits=a)
    checks.assert_samples(law, law.cdf)  # which is SciPy's, above
    with pytest.raises(AssertionError):
        checks.assert_samples(RelaxedBernoulli(1.1 * t, logits=a), law.cdf)
    for i in range(3):
        checks.assert_pathwise(RelaxedBernoulli(t[i], logits=a[i]), theirs)


def test_draws_that_do_not_move_are_caught():
    class Twin(RelaxedBernoulli):
        def rsample(self, sample_shape=(), *, rng):
            return RelaxedBernoulli.rsample(self._replace(temperature=1.0 * np.sign(self.temperature)), rng=rng)

    with pytest.raises(AssertionError):
        checks.assert_pathwise(Twin(numpy.array(1.0), logits=numpy.array(0.5)), theirs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("greatest", [False, True])
@pytest.mark.parametrize("t", [1e-3, 1.0])
def test_no_uniform_number_draws_an_end(dtype, greatest, t):
    """Where the density is not finite, nor a gradient."""
    a = numpy.array([-1e4, -20.0, 0.0, 20.0, 1e4], dtype)
    law = RelaxedBernoulli(numpy.array(t, dtype), logits=a)
    for rng in (Uniforms(greatest=greatest), 0):
        x = law.sample(100, rng=rng)
        assert x.dtype == dtype
        assert ((x > 0) & (x < 1)).all()
        assert numpy.isfinite(law.log_prob(x)).all()
        gradient = grad(lambda law, rng=rng: np.sum(law.log_prob(law.rsample(100, rng=rng))))(law)
        assert numpy.isfinite(gradient.temperature)
        assert numpy.isfinite(gradient.logits).all()


# What it does not give ------------------------------------------------------------------------------------------------


def test_with_the_divergence_of_two_bernoullis_it_is_no_bound():
    """An effect that is seen when z is half on: neither of a bit, nor of a nearly discrete z, is that likely."""

    def log_likelihood(z):
        return -50.0 * (z - 0.5) ** 2

    def expectation(law, f):
        u = (numpy.arange(20_000) + 0.5) / 20_000  # the mean over quantiles
        return f(law.icdf(u)).mean()

    prior, q = RelaxedBernoulli(0.1, logits=0.0), RelaxedBernoulli(3.0, logits=0.0)
    log_p_discrete = float(log_likelihood(1.0))  # z = 0 and z = 1 are alike
    log_p_relaxed = numpy.log(expectation(prior, lambda z: numpy.exp(log_likelihood(z))))
    fit = expectation(q, log_likelihood)
    mixed = fit - kl_divergence(Bernoulli(logits=0.0), Bernoulli(logits=0.0))
    assert mixed > log_p_relaxed > log_p_discrete
    elbo = fit + expectation(q, lambda z: prior.log_prob(z) - q.log_prob(z))  # of relaxed laws, both
    assert elbo < log_p_relaxed


# Precision, validation, backends --------------------------------------------------------------------------------------


def test_float32_and_every_backend(xp):
    x = numpy.array([1e-30, 0.4, 0.97])
    for law in (
        RelaxedBernoulli(numpy.array(0.5), logits=numpy.array([-2.0, 0.0, 3.0])),
        RelaxedBernoulli(numpy.array([0.5, 1.0, 2.0]), probs=numpy.array(0.25)),
    ):
        checks.assert_precision(law, x)
        checks.assert_every_backend(xp, law, x)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "RelaxedBernoulli: none given; expected exactly one of probs, logits"),
        ({"probs": [0.5, 1.0]}, r"RelaxedBernoulli: probs must be strictly between 0 and 1; probs\[1\] is 1.0"),
        ({"logits": numpy.nan}, "RelaxedBernoulli: logits must be finite; logits is nan"),
        ({"logits": 0.0, "temperature": 0.0}, "temperature must be positive and finite; temperature is 0.0"),
        ({"logits": [0.0] * 2, "temperature": [1.0] * 3}, r"logits of shape \(2,\) and temperature of shape \(3,\) do"),
    ],
)
def test_impossible_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        RelaxedBernoulli(**{"temperature": 1.0, **parameters})
