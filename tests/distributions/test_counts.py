"""What Stirling leaves of a factorial, and how far a count is from its mean: against fifty digits."""

from __future__ import annotations

import mpmath
import numpy
import pytest
import scipy.special
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minilvm.distributions.counts import count, deviance, stirling_remainder
from tests.distributions.helpers import assert_dtype

magnitudes = st.floats(0, 15).map(lambda e: float(numpy.floor(10.0**e)))
counts = st.one_of(st.integers(0, 40).map(float), magnitudes)


def exact_remainder(x):
    with mpmath.workdps(400):
        x = mpmath.mpf(x)
        return float(mpmath.loggamma(x + 1) - (x * mpmath.log(x) if x else 0) + x)


def exact_deviance(x, m):
    with mpmath.workdps(50):
        x, m = mpmath.mpf(x), mpmath.mpf(m)
        return float((x * mpmath.log(x / m) if x else 0) - x + m)


def assert_remainder(s, x):
    assert_allclose(s(numpy.array(x)), exact_remainder(x), rtol=1e-14)


@given(counts)
@example(15.0)
@example(16.0)
@example(1e300)
def test_what_stirling_leaves(x):
    assert_remainder(stirling_remainder, x)


def test_a_difference_of_logarithms_is_caught():
    with pytest.raises(AssertionError):
        assert_remainder(lambda x: scipy.special.gammaln(x + 1.0) - x * numpy.log(x) + x, 1e6)


def assert_deviance(d, x, m):
    """To the precision of x and m themselves: one unit in the last place of m moves d by |x − m| such units."""
    x, m = numpy.float64(x), numpy.float64(m)
    expected = exact_deviance(x, m)
    atol = 4e-16 * abs(x - m)
    assert_allclose(d(x, m, numpy.log(m)), expected, rtol=1e-14, atol=atol)


@given(counts, st.floats(-6, 15), st.floats(-8, 8))
def test_distance_of_a_count_from_its_mean(x, e, z):
    assert_deviance(deviance, x, 10.0**e)
    if x:
        assert_deviance(deviance, x, x * 2.0**z)
        assert_deviance(deviance, x, x + z * numpy.sqrt(x) if x > 100 else x)


def test_a_deviance_written_as_it_reads_is_caught():
    with pytest.raises(AssertionError):
        assert_deviance(lambda x, m, log_m: x * (numpy.log(x) - log_m) - x + m, 1e9 + 3e4, 1e9)


def test_the_ends():
    assert_array_equal(
        deviance(numpy.array([0.0, 0.0, 2.0]), numpy.array([0.0, 3.0, 0.0]), -numpy.inf), [0, 3, numpy.inf]
    )
    underflowed = deviance(numpy.array(1.0), numpy.array(0.0), numpy.array(-800.0))
    assert_allclose(underflowed, 799.0)
    assert_array_equal(stirling_remainder(numpy.array([0.0, 1.0])), [0.0, 1.0])


def test_float32_stays_float32():
    x = numpy.array([0.0, 3.0, 100.0], "float32")
    assert_dtype(stirling_remainder(x), "float32")
    assert_dtype(deviance(x, x + 1, numpy.log(x + 1)), "float32")
    assert_allclose(stirling_remainder(x), stirling_remainder(x.astype(float)), rtol=1e-6)


def test_what_is_a_count():
    x = numpy.array([0.0, 3.0, 1e300, -1.0, 0.5, numpy.inf, numpy.nan])
    assert_array_equal(count.check(x), [True, True, True, False, False, False, False])
