"""Divergences across families: the expectations in the tables."""

from __future__ import annotations

import mpmath
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minilvm.distributions import Beta, Exponential, Gamma, LogNormal, Normal, Uniform
from minilvm.distributions.divergences.across import LOG_LAPLACE, MEAN_LOG
from tests.distributions.quadrature import expectation

positive = st.floats(0.3, 3.0)


@pytest.mark.parametrize("kind", MEAN_LOG, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_mean_of_the_logarithm(kind, data):
    p = data.draw(LAWS[kind])
    assert_allclose(MEAN_LOG[kind](p), expectation(p, lambda x, _: numpy.log(x)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", LOG_LAPLACE, ids=lambda kind: kind.__name__)
@given(data=st.data(), s=positive)
def test_logarithm_of_the_laplace_transform(kind, data, s):
    p = data.draw(LAWS[kind])
    transform = expectation(p, lambda x, _: numpy.exp(-s * x))
    assert_allclose(LOG_LAPLACE[kind](p, numpy.array(s)), numpy.log(transform), rtol=1e-9, atol=1e-9)


LAWS = {
    Beta: st.builds(Beta, positive, st.floats(1.0, 3.0)),
    Gamma: st.builds(Gamma, positive, positive),
    Exponential: st.builds(Exponential, positive),
    LogNormal: st.builds(LogNormal, st.floats(-1.0, 1.0), positive),
    Normal: st.builds(Normal, st.floats(-1.0, 1.0), positive),
    Uniform: st.builds(lambda low, width: Uniform(low, low + width), st.floats(0.0, 3.0), positive),
}


def assert_accurate(mean_log):
    """For an interval as narrow as 1e-9 of its distance from 0, against 50 digits."""
    a, b = 3.0, 3.0 + 2.0**-30
    with mpmath.workdps(50):
        exact = float((b * mpmath.log(b) - a * mpmath.log(a)) / (mpmath.mpf(b) - mpmath.mpf(a)) - 1)
    assert_allclose(mean_log(Uniform(a, b)), exact, rtol=1e-15)


def test_a_narrow_interval_costs_no_digits():
    assert_accurate(MEAN_LOG[Uniform])


def test_the_cancellation_in_a_textbooks_formula_is_caught():
    def textbook(p):
        return (p.high * numpy.log(p.high) - p.low * numpy.log(p.low)) / (p.high - p.low) - 1.0

    with pytest.raises(AssertionError):
        assert_accurate(textbook)
