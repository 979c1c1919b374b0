"""The Laplace law: against SciPy and mpmath, far into both tails, and at the cusp between them."""

from __future__ import annotations

import mpmath
import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minilvm.autograd import check_grads, grad
from minilvm.distributions import Laplace
from minilvm.distributions.laplace import standard_cdf, standard_quantile
from tests.distributions import checks
from tests.distributions.helpers import real_arrays, reals

locs, scales = reals(-1e3, 1e3), reals(-3, 3).map(lambda e: 10.0**e)
probabilities = st.one_of(st.floats(0, 1), reals(-300, 0).map(lambda e: 10.0**e))
theirs = scipy.stats.laplace


@given(locs, scales, reals(-1e4, 1e4))
def test_log_prob_is_right_far_into_the_tails(loc, scale, z):
    """SciPy's is the logarithm of a rounded density, and −inf from z = 745 on."""
    law, x = Laplace(loc, scale), loc + scale * z
    with mpmath.workdps(50):
        exact = -abs(mpmath.mpf(x) - mpmath.mpf(loc)) / mpmath.mpf(scale) - mpmath.log(2 * mpmath.mpf(scale))
    assert_allclose(law.log_prob(x), float(exact), rtol=1e-12, atol=1e-12)
    if abs(z) < 30:
        checks.assert_log_prob(law, theirs(loc, scale), x)


@given(locs, scales)
def test_moments_are_scipys(loc, scale):
    law = Laplace(loc, scale)
    checks.assert_moments(law, theirs(loc, scale))
    assert law.mode == loc


@given(reals(-690, 690), probabilities)
def test_cdf_and_icdf_are_scipys(z, p):
    checks.assert_cdf(Laplace(0.0, 1.0), theirs, z)
    checks.assert_icdf(Laplace(0.0, 1.0), theirs, p, atol=1e-15)


@given(locs, scales, st.floats(0, 1))
def test_cdf_and_icdf_of_other_laws_are_of_this_one_moved(loc, scale, p):
    assert_allclose(Laplace(loc, scale).icdf(p), loc + scale * standard_quantile(p), rtol=1e-14)
    assert_allclose(Laplace(loc, scale).cdf(loc + 2.0 * scale), standard_cdf(2.0), rtol=1e-9)


@pytest.mark.parametrize("p", [1e-300, 1e-20, 0.25, 0.5 - 1e-16, 0.5, 0.5 + 1e-16, 0.75, 1.0 - 1e-15])
def test_a_quantile_is_right_to_the_last_digits(p):
    with mpmath.workdps(50):
        exact = mpmath.log(2 * mpmath.mpf(p)) if p < 0.5 else -mpmath.log(2 - 2 * mpmath.mpf(p))
    assert_allclose(Laplace(0.0, 1.0).icdf(p), float(exact), rtol=1e-14, atol=1e-16)


def test_the_textbook_quantile_is_caught():
    """−sign(p − ½) log(1 − 2 |p − ½|) is −inf at p = 1e-300, where −690 is right."""
    with numpy.errstate(divide="ignore"), pytest.raises(AssertionError):
        assert_allclose(numpy.log(1.0 - 2.0 * abs(1e-300 - 0.5)), Laplace(0.0, 1.0).icdf(1e-300))


def test_the_ends():
    law = Laplace([1.0, 2.0], 3.0)
    assert_array_equal(law.icdf([0.0, 1.0]), [-numpy.inf, numpy.inf])
    assert_array_equal(law.cdf([-numpy.inf, numpy.inf]), [0.0, 1.0])
    assert_array_equal(law.icdf(0.5), law.loc)
    with pytest.raises(ValueError, match=r"Laplace: value must be between 0 and 1; value\[1\] is 1.5"):
        law.icdf([0.0, 1.5])


@given(reals(-10, 10), scales)
def test_density_integrates_to_one_and_has_the_moments(loc, scale):
    points = [-numpy.inf, loc - 30.0 * scale, loc, loc + 30.0 * scale, numpy.inf]
    checks.assert_integrates(Laplace(loc, scale), points)


def test_it_is_differentiable():
    loc, scale = numpy.array([-2.0, 0.3, 1.0]), numpy.array([[0.5], [2.0]])
    x = loc + numpy.array([-1.0, 0.5, 2.0])
    checks.assert_differentiable(Laplace(loc, scale), x, p=numpy.array([1e-2, 0.3, 0.8]))


def test_slopes_at_the_cusp_and_far_away():
    assert_allclose(grad(lambda x: Laplace(0.0, 2.0).cdf(x))(numpy.array(0.0)), 0.25, rtol=1e-15)
    assert_allclose(grad(lambda p: Laplace(0.0, 2.0).icdf(p))(numpy.array(0.5)), 4.0, rtol=1e-15)
    assert_allclose(grad(lambda p: Laplace(0.0, 2.0).icdf(p))(numpy.array(1e-300)), 2e300, rtol=1e-15)
    check_grads(standard_quantile, [numpy.array([0.2, 0.9])])
    check_grads(standard_cdf, [numpy.array([-3.0, 2.0])])


def test_draws():
    loc, scale = numpy.array([-1.0, 4.0]), numpy.array([0.5, 2.0])
    checks.assert_samples(Laplace(loc, scale), theirs(loc, scale).cdf)
    checks.assert_pathwise(Laplace(-1.0, 2.0), theirs)
    checks.assert_gradient_of_expectation(
        Laplace(-1.0, 2.0), lambda z: z**2, lambda law: law.loc**2 + 2.0 * law.scale**2
    )


@given(reals(-10, 10), reals(0.1, 10), reals(-1e3, 1e3))
def test_float32_stays_float32(loc, scale, z):
    checks.assert_precision(Laplace(loc, scale), loc + scale * z)


@given(real_arrays((3,)), real_arrays((2, 1), 0.5, 2.0), real_arrays((2, 3)))
def test_every_backend(xp, loc, scale, x):
    checks.assert_every_backend(xp, Laplace(loc, scale), x)


@pytest.mark.parametrize(
    ("loc", "scale", "message"),
    [
        (0.0, [[1.0], [-1.0]], r"Laplace: scale must be positive; scale\[1, 0\] is -1.0"),
        ([0.0, numpy.nan], 1.0, r"Laplace: loc must be finite; loc\[1\] is nan"),
        ([0.0, 1.0], [1.0, 1.0, 1.0], r"Laplace: loc of shape \(2,\) and scale of shape \(3,\) do not broadcast"),
    ],
)
def test_impossible_parameters_are_refused(loc, scale, message):
    with pytest.raises(ValueError, match=message):
        Laplace(loc, scale)


def test_impossible_values_are_refused():
    with pytest.raises(ValueError, match=r"Laplace: value must be finite; value\[0, 1\] is nan"):
        Laplace(0.0, 1.0).log_prob([[0.0, numpy.nan]])
