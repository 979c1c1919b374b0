"""The Gumbel law: against SciPy, against mpmath in the tails, and where its exponentials overflow."""

from __future__ import annotations

import mpmath
import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm.autograd import check_grads, grad
from minilvm.distributions import Categorical, Gumbel
from minilvm.distributions.gumbel import standard_cdf, standard_draws, standard_log_density
from tests.distributions import checks
from tests.distributions.helpers import real_arrays, reals
from tests.statistics import assert_frequencies

locs, scales = reals(-1e3, 1e3), reals(-3, 3).map(lambda e: 10.0**e)
probabilities = st.one_of(st.floats(0, 1), reals(-300, 0).map(lambda e: 10.0**e))
theirs = scipy.stats.gumbel_r


@given(locs, scales, reals(-20, 1e4))
def test_log_prob_and_moments_are_scipys_far_into_the_tails(loc, scale, z):
    law = Gumbel(loc, scale)
    checks.assert_log_prob(law, theirs(loc, scale), loc + scale * z)
    checks.assert_moments(law, theirs(loc, scale))
    assert law.mode == loc


@given(reals(-700, 700))
def test_log_prob_is_right_to_the_last_digits(z):
    with mpmath.workdps(50):
        exact = -mpmath.mpf(z) - mpmath.exp(-mpmath.mpf(z))
    assert_allclose(standard_log_density(z), float(exact), rtol=1e-13)


@given(reals(-6.5, 700), probabilities)
def test_cdf_and_icdf_are_right_from_1e_minus_300_up(z, p):
    with mpmath.workdps(50):
        exact = float(mpmath.exp(-mpmath.exp(-mpmath.mpf(z))))
    assert_allclose(Gumbel(0.0, 1.0).cdf(z), exact, rtol=1e-12)
    if 0 < p < 1:
        with mpmath.workdps(50):
            exact = float(-mpmath.log(-mpmath.log(mpmath.mpf(p))))
        assert_allclose(Gumbel(0.0, 1.0).icdf(p), exact, rtol=1e-14, atol=1e-15)


def test_the_ends():
    law = Gumbel([1.0, 2.0], 3.0)
    assert_array_equal(law.icdf([0.0, 1.0]), [-numpy.inf, numpy.inf])
    assert_array_equal(law.cdf([-numpy.inf, numpy.inf]), [0.0, 1.0])
    with pytest.raises(ValueError, match=r"Gumbel: value must be between 0 and 1; value\[1\] is 1.5"):
        law.icdf([0.0, 1.5])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_where_the_exponential_overflows_nothing_is_spoiled(dtype):
    """log p = −exp(10⁴) has no other name than −inf; a gradient that nothing depends on is 0 all the same."""
    z = numpy.array([-1e4, -800.0, 0.0, 1e4], dtype)
    law = Gumbel(numpy.zeros(4, dtype), 1.0)
    assert_array_equal(law.log_prob(z), numpy.array([-numpy.inf, -numpy.inf, -1.0, -1e4], dtype))
    assert_allclose(law.cdf(z), [0.0, 0.0, numpy.exp(-1.0), 1.0], rtol=1e-6)
    possible = grad(lambda law: law.log_prob(z)[2:].sum())(law)
    assert_array_equal(possible.loc, [0.0, 0.0, 0.0, 1.0])
    gradient = grad(lambda z: law.log_prob(z).sum())(z)
    assert numpy.isfinite(gradient).all()
    assert (gradient[:2] > 1e37).all()
    assert_array_equal(grad(lambda z: law.cdf(z).sum())(z)[[0, 1, 3]], [0.0, 0.0, 0.0])
    weighted = grad(lambda z: np.logsumexp(law.log_prob(z)))
    assert_allclose(weighted(z), [0.0, 0.0, 0.0, 0.0], atol=1e-30)  # all the weight is at the mode
    assert numpy.isfinite(grad(lambda z: (weighted(z) ** 2).sum())(z)).all()


@given(reals(-10, 10), scales)
def test_density_integrates_to_one_and_has_the_moments(loc, scale):
    points = loc + scale * numpy.array([-6.0, -2.0, 2.0, 40.0, numpy.inf])
    checks.assert_integrates(Gumbel(loc, scale), points)


def test_it_is_differentiable():
    loc, scale = numpy.array([-2.0, 0.3, 1.0]), numpy.array([[0.5], [2.0]])
    x = loc + numpy.array([-1.0, 0.5, 2.0])
    checks.assert_differentiable(Gumbel(loc, scale), x, p=numpy.array([1e-2, 0.3, 0.8]))
    check_grads(standard_log_density, [numpy.array([-2.0, 3.0])])
    check_grads(standard_cdf, [numpy.array([-2.0, 3.0])])


def test_draws():
    loc, scale = numpy.array([-1.0, 4.0]), numpy.array([0.5, 2.0])
    checks.assert_samples(Gumbel(loc, scale), theirs(loc, scale).cdf)
    checks.assert_pathwise(Gumbel(-1.0, 2.0), theirs)
    checks.assert_gradient_of_expectation(
        Gumbel(-1.0, 2.0),
        lambda z: z**2,
        lambda law: (law.loc + numpy.euler_gamma * law.scale) ** 2 + (numpy.pi * law.scale) ** 2 / 6.0,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_wait_of_zero_is_drawn_as_infinity(dtype):
    class Zeros(numpy.random.Generator):
        def standard_exponential(self, size=None, dtype=float, method="zig", out=None):
            return numpy.zeros(size, dtype)

    draws = standard_draws((3,), numpy.dtype(dtype), rng=Zeros(numpy.random.PCG64(0)))
    assert draws.dtype == dtype
    assert_allclose(draws, -numpy.log(0.5 * numpy.finfo(dtype).epsneg), rtol=1e-6)  # as unlikely as a wait of 0


def test_the_greatest_of_noisy_logits_is_a_draw_of_their_category():
    logits = numpy.log([0.1, 0.6, 0.3])
    draws = numpy.argmax(logits + Gumbel(numpy.zeros(3), 1.0).sample(50_000, rng=0), axis=-1)
    assert_frequencies(numpy.bincount(draws), Categorical(logits=logits).probs)


@given(reals(-10, 10), reals(0.1, 10), reals(-4, 1e3))
def test_float32_stays_float32(loc, scale, z):
    checks.assert_precision(Gumbel(loc, scale), loc + scale * z, rtol=1e-4)


@given(real_arrays((3,)), real_arrays((2, 1), 0.5, 2.0), real_arrays((2, 3)))
def test_every_backend(xp, loc, scale, x):
    checks.assert_every_backend(xp, Gumbel(loc, scale), x)


@pytest.mark.parametrize(
    ("loc", "scale", "message"),
    [
        (0.0, [[1.0], [-1.0]], r"Gumbel: scale must be positive; scale\[1, 0\] is -1.0"),
        ([0.0, numpy.nan], 1.0, r"Gumbel: loc must be finite; loc\[1\] is nan"),
        ([0.0, 1.0], [1.0, 1.0, 1.0], r"Gumbel: loc of shape \(2,\) and scale of shape \(3,\) do not broadcast"),
    ],
)
def test_impossible_parameters_are_refused(loc, scale, message):
    with pytest.raises(ValueError, match=message):
        Gumbel(loc, scale)


def test_impossible_values_are_refused():
    with pytest.raises(ValueError, match=r"Gumbel: value must be finite; value\[0, 1\] is nan"):
        Gumbel(0.0, 1.0).log_prob([[0.0, numpy.nan]])
