"""The Concrete law: against its density in fifty digits, the two-fold case, and what is known of its draws."""

from __future__ import annotations

import itertools

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
from minilvm.distributions import RelaxedBernoulli, RelaxedOneHotCategorical
from tests.distributions import checks
from tests.distributions.helpers import FEW, real_arrays, reals
from tests.statistics import assert_drawn_from, assert_no_common_sign

temperatures = st.floats(-2, 1).map(lambda e: 10.0**e)


def on_the_simplex(z):
    return scipy.special.softmax(z, axis=-1)


def exact(x, t, a):
    """log of (C − 1)! t^(C − 1) Π_k α_k x_k^(−t − 1) / (Σ_i α_i x_i^(−t))^C, arXiv:1611.00712, eq. 10."""
    with mpmath.workdps(100):
        x, a, t = [mpmath.mpf(float(v)) for v in x], [mpmath.mpf(float(v)) for v in a], mpmath.mpf(t)
        C = len(x)
        top = sum(ac - (t + 1) * mpmath.log(xc) for xc, ac in zip(x, a, strict=True))
        bottom = sum(mpmath.exp(ac - t * mpmath.log(xc)) for xc, ac in zip(x, a, strict=True))
        return float(mpmath.loggamma(C) + (C - 1) * mpmath.log(t) + top - C * mpmath.log(bottom))


def assert_log_prob(log_prob, x, t, a):
    rtol = 1e-13
    scale = numpy.abs(numpy.log(x)).sum() + numpy.abs(a).sum()
    assert_allclose(
        log_prob(RelaxedOneHotCategorical(t, logits=a), x), exact(x, t, a), rtol=rtol, atol=rtol * (1 + scale)
    )


@given(real_arrays((4,), -100.0, 100.0), temperatures, real_arrays((4,), -50.0, 50.0))
def test_log_prob_keeps_its_digits(z, t, a):
    assert_log_prob(RelaxedOneHotCategorical.log_prob, on_the_simplex(z), t, a)


def test_next_to_a_corner_the_density_before_its_logarithm_is_caught():
    def naive(law, x):
        t, alpha = law.temperature, numpy.exp(law.logits)
        with numpy.errstate(all="ignore"):
            return numpy.log(2.0 * t**2 * numpy.prod(alpha * x ** (-t - 1)) / numpy.sum(alpha * x**-t) ** 3)

    a = numpy.array([0.0, 1.0, 2.0])
    assert_log_prob(naive, numpy.array([0.2, 0.3, 0.5]), 0.5, a)
    corner = numpy.array([1.0, 1e-250, 1e-300])
    assert_log_prob(RelaxedOneHotCategorical.log_prob, corner, 0.5, a)
    with pytest.raises(AssertionError):
        assert_log_prob(naive, corner, 0.5, a)


@given(reals(-8, 8), temperatures, real_arrays((2,)))
def test_of_two_outcomes_it_is_the_relaxed_bernoulli(z, t, a):
    x = scipy.special.expit([-z, z])
    both = RelaxedOneHotCategorical(t, logits=a)
    assert_allclose(both.log_prob(x), RelaxedBernoulli(t, logits=a[1] - a[0]).log_prob(x[1]), rtol=1e-9, atol=1e-9)


def assert_integrates(log_prob):
    """Over the triangle, in the coordinates z of x = softmax(z_1, z_2, 0), where the trapezoid rule is exact enough."""
    z = numpy.arange(-45.0, 45.0, 0.25)
    x = on_the_simplex(numpy.stack([*numpy.meshgrid(z, z), numpy.zeros((len(z), len(z)))], axis=-1))
    total = numpy.sum(numpy.exp(log_prob(x)) * x.prod(axis=-1)) * 0.25**2
    assert_allclose(total, 1.0, rtol=1e-6)


@pytest.mark.parametrize("t", [0.5, 1.0, 2.0])
def test_density_integrates_to_one(t):
    law = RelaxedOneHotCategorical(t, logits=[0.5, -1.0, 1.0])
    assert_integrates(law.log_prob)
    with pytest.raises(AssertionError):
        assert_integrates(lambda x: law.log_prob(x) - numpy.log(2.0))  # the (C − 1)! forgotten


@given(real_arrays((3,)), temperatures)
def test_weights_say_the_same_as_their_logarithms(a, t):
    x = [0.2, 0.3, 0.5]
    from_probs, from_logits = RelaxedOneHotCategorical(t, probs=numpy.exp(a)), RelaxedOneHotCategorical(t, logits=a)
    assert_allclose(from_probs.log_prob(x), from_logits.log_prob(x), rtol=1e-10, atol=1e-10)
    assert_allclose(RelaxedOneHotCategorical(t, logits=a + 5.0).log_prob(x), from_logits.log_prob(x), atol=1e-10)


def test_what_is_not_within_the_simplex_is_impossible():
    outside = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [1.5, -0.25, -0.25], [numpy.nan, 0.5, 0.5], [numpy.inf, 0.5, 0.5]]

    def make(**options):
        return RelaxedOneHotCategorical(0.5, logits=[0.0, 1.0, 2.0], **options)

    checks.assert_impossible(make, outside, inside=[0.2, 0.3, 0.5])
    with pytest.raises(ValueError, match=r"value must be positive numbers that sum to 1; value\[1\] is \[1. 0. 0.\]"):
        make().log_prob([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])


@FEW
@given(real_arrays((4, 2, 3), -2.0, 2.0), real_arrays((2,), 0.25, 2.0), real_arrays((2, 3), -2.0, 2.0))
def test_it_is_differentiable(z, t, a):
    """In the value too, in coordinates that keep to the simplex."""

    def log_prob(law, z):
        return law.log_prob(np.softmax(z))

    check_grads(log_prob, [RelaxedOneHotCategorical(t, logits=a), z])
    check_grads(log_prob, [RelaxedOneHotCategorical(t, probs=numpy.exp(a)), z])
    check_grads(lambda law: law.rsample(2, rng=0), [RelaxedOneHotCategorical(t, logits=a)], rtol=1e-5, atol=1e-5)


# Draws ----------------------------------------------------------------------------------------------------------------

A = numpy.array([[0.5, -1.0, 1.0], [0.0, 2.0, 2.0]])
T = numpy.array([0.5, 1.5])


def assert_draws_follow_the_law(draws):
    """The logarithm of a quotient is logistic, (a_i − a_j + L) / t; the largest is the c-th with softmax(a)_c."""
    for k in range(2):
        for i, j in itertools.combinations(range(3), 2):
            quotient = T[k] * numpy.log(draws[:, k, i] / draws[:, k, j]) - (A[k, i] - A[k, j])
            assert_drawn_from(quotient, scipy.stats.logistic.cdf)
        checks.assert_counts_follow(draws[:, k].argmax(axis=-1), range(3), on_the_simplex(A[k]))
    sign = numpy.log(draws[..., 0] / draws[..., 1]) - (A[:, 0] - A[:, 1]) / T
    assert_no_common_sign(sign[:, 0], sign[:, 1])
    assert_no_common_sign(sign[1:], sign[:-1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_follow_the_law(dtype):
    law = RelaxedOneHotCategorical(T.astype(dtype), logits=A.astype(dtype))
    draws = law.sample(50_000, rng=0)
    assert draws.dtype == dtype
    assert_draws_follow_the_law(draws.astype(float))


@pytest.mark.parametrize("wrong", ["normal noise", "one noise for a batch", "noise not divided by t"])
def test_wrong_draws_are_caught(wrong):
    rng = numpy.random.default_rng(0)
    noise = rng.gumbel(size=(50_000, 2, 3))
    z = {
        "normal noise": (A + rng.standard_normal(noise.shape)) / T[:, None],
        "one noise for a batch": (A + noise[:, :1]) / T[:, None],
        "noise not divided by t": A / T[:, None] + noise,
    }[wrong]
    with pytest.raises(AssertionError):
        assert_draws_follow_the_law(on_the_simplex(z))


def test_gradient_through_draws_is_the_gradient_of_the_expectation():
    """E[log x_0 − log x_1] = (a_0 − a_1) / t."""
    law = RelaxedOneHotCategorical(numpy.array(0.7), logits=A[0])

    def quotient(x):
        return np.log(x[..., 0]) - np.log(x[..., 1])

    def expectation(law):
        return (law.logits[0] - law.logits[1]) / law.temperature

    checks.assert_gradient_of_expectation(law, quotient, expectation)
    with pytest.raises(AssertionError):
        checks.assert_gradient_of_expectation(law, quotient, lambda law: law.temperature * expectation(law))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("t", [1e-3, 1.0])
def test_no_draw_touches_a_face(dtype, t):
    """Where the density is not finite, nor a gradient; not even from noise of 0, of which the logarithm is infinite."""

    class Still(numpy.random.Generator):
        def standard_exponential(self, size=None, dtype=float, method="zig", out=None):
            return numpy.zeros(size, dtype)

    a = numpy.array([[0.0, 100.0, -100.0], [0.0, 0.0, 0.0]], dtype)
    law = RelaxedOneHotCategorical(numpy.array(t, dtype), logits=a)
    for rng in (0, Still(numpy.random.PCG64(0))):
        x = law.sample(100, rng=rng)
        assert x.dtype == dtype
        assert (x > 0).all()
        assert_allclose(x.sum(axis=-1), 1.0, rtol=1e-6)
        assert numpy.isfinite(law.log_prob(x)).all()
        gradient = grad(lambda law, rng=rng: np.sum(law.log_prob(law.rsample(100, rng=rng))))(law)
        assert numpy.isfinite(gradient.temperature)
        assert numpy.isfinite(gradient.logits).all()


# Precision, validation, backends --------------------------------------------------------------------------------------


def test_float32_and_every_backend(xp):
    x = numpy.array([[0.2, 0.3, 0.5], [1e-20, 0.25, 0.75]])
    for law in (
        RelaxedOneHotCategorical(numpy.array(0.5), logits=numpy.array([-2.0, 0.0, 3.0])),
        RelaxedOneHotCategorical(numpy.array([0.5, 2.0]), probs=numpy.array([1.0, 2.0, 3.0])),
    ):
        checks.assert_precision(law, x)
        checks.assert_every_backend(xp, law, x)


def test_draws_of_many_categories_are_on_the_simplex_in_float32():
    law = RelaxedOneHotCategorical(1.0, logits=numpy.zeros(10_000, "float32"))
    assert numpy.isfinite(law.log_prob(law.sample(10, rng=0))).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "RelaxedOneHotCategorical: none given; expected exactly one of probs, logits"),
        ({"logits": 0.0}, r"logits has shape \(\); expected \(..., C\) for C categories"),
        ({"probs": [0.5, 0.0]}, r"RelaxedOneHotCategorical: probs must be positive and finite; probs\[1\] is 0.0"),
        ({"logits": [0.0, -numpy.inf]}, r"RelaxedOneHotCategorical: logits must be finite; logits\[1\] is -inf"),
        ({"logits": [0.0, 1.0], "temperature": -1.0}, "temperature must be positive and finite; temperature is -1.0"),
        ({"logits": numpy.zeros((2, 3)), "temperature": [1.0] * 3}, r"temperature of shape \(3,\) and batch of shape"),
    ],
)
def test_impossible_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        RelaxedOneHotCategorical(**{"temperature": 1.0, **parameters})


def test_one_category_is_certain():
    law = RelaxedOneHotCategorical(0.5, logits=[3.0])
    assert_array_equal(law.sample(rng=0), [1.0])
    assert_allclose(law.log_prob([1.0]), 0.0, atol=1e-15)
