"""The numbers that divergences are made of: never negative, and right to the last digits near their zero."""

from __future__ import annotations

import mpmath
import numpy
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minilvm.autograd import check_grads
from minilvm.distributions.divergences.bregman import excess, log_excess, scale_divergence, shape_excess

small = st.floats(-40, -0.5).map(lambda e: 10.0**e)


def exactly(f, x):
    with mpmath.workdps(60):
        return float(f(mpmath.mpf(float(x))))


def assert_is_excess(f):
    """To 1e-9 of itself wherever t is at least 1e-7 from 1."""
    for t in [1e-300, 1e-5, 0.5, 0.99, 1.0 - 1e-7, 1.0, 1.0 + 1e-7, 1.01, 2.0, 1e5, 1e300]:
        assert_allclose(f(t), exactly(lambda t: t - 1 - mpmath.log(t), t), rtol=1e-8)


def test_excess_of_a_ratio():
    assert_is_excess(excess)
    assert excess(0.0) == numpy.inf


def test_another_order_of_its_terms_is_caught():
    with pytest.raises(AssertionError):
        assert_is_excess(lambda t: t - (1.0 + numpy.log(t)))


@given(st.floats(-700, 700))
def test_excess_of_a_logarithm(w):
    assert_allclose(log_excess(w), exactly(lambda w: mpmath.expm1(-w) + w, w), rtol=1e-8, atol=1e-24)


@given(st.floats(-7, 300).map(lambda e: 1.0 + 10.0**e), st.booleans())
def test_divergence_of_a_scale(r, inverted):
    r = 1.0 / r if inverted else r
    with numpy.errstate(over="ignore"):
        assert_allclose(
            scale_divergence(r), exactly(lambda r: (r * r - 1) / 2 - mpmath.log(r), r), rtol=1e-8, atol=1e-24
        )


def shape_excess_of(x, y):
    F = lambda x: mpmath.loggamma(x) - x * mpmath.log(x) + x  # noqa: E731
    slope = lambda x: mpmath.digamma(x) - mpmath.log(x)  # noqa: E731
    with mpmath.workdps(60):
        x, y = mpmath.mpf(x), mpmath.mpf(y)
        return float(F(x) - F(y) - slope(y) * (x - y))


@pytest.mark.parametrize("y", [1e-5, 0.1, 1.0, 5.0, 9.9, 11.0, 1e3, 1e8])
@pytest.mark.parametrize(
    "ratio", [1e-3, 0.5, 0.99, 1.0 - 1e-5, 1.0 - 1e-7, 1.0 + 1e-7, 1.0 + 2e-4, 1.0 + 2e-3, 2.0, 1e3]
)
def test_excess_of_a_shape(y, ratio):
    x = y * ratio
    assert_allclose(shape_excess(x, y), shape_excess_of(x, y), rtol=1e-8)


def test_a_textbooks_excess_of_a_shape_is_caught():
    def textbook(x, y):
        return scipy.special.gammaln(x) - scipy.special.gammaln(y) - scipy.special.digamma(y) * (x - y)

    x, y = 1e8 * (1.0 + 1e-7), 1e8
    gap = x * (y / x - 1.0 - numpy.log(y / x))  # between log Γ and F
    with pytest.raises(AssertionError):
        assert_allclose(textbook(x, y) - gap, shape_excess_of(x, y), rtol=1e-1)


@given(small, st.sampled_from([-1.0, 1.0]))
def test_none_is_negative(step, sign):
    assert excess(1.0 + sign * step) >= 0
    assert log_excess(sign * step) >= 0
    assert scale_divergence(1.0 + sign * step) >= 0


def test_derivatives():
    x = numpy.array([0.3, 1.0, 2.5])
    for f in (excess, log_excess, scale_divergence):
        check_grads(f, [x])
    check_grads(shape_excess, [x, numpy.array([[0.3001], [12.0]])])
