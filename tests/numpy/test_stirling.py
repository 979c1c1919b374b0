"""Densities at any size of the parameters, against mpmath; and what the textbook's formula makes of them."""

from __future__ import annotations

import mpmath
import numpy
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minilvm.autograd import check_grads, grad
from minilvm.backend import to_numpy
from minilvm.numpy.special import gammaln, xlog1py, xlogy
from minilvm.numpy.stirling import binet, digamma_step, log_beta_density, log_gamma_density
from tests.distributions.helpers import FEW, assert_dtype, assert_of, real_arrays

sizes = st.floats(-3, 7).map(lambda e: 10.0**e)
deviations = st.floats(-20, 20)


@pytest.fixture(autouse=True)
def _forty_digits():
    with mpmath.workdps(40):
        yield


def exact_log_gamma_density(a, x):
    a, x = mpmath.mpf(a), mpmath.mpf(x)
    return float((a - 1) * mpmath.log(x) - x - mpmath.loggamma(a))


def exact_log_beta_density(a, b, x):
    a, b, x = mpmath.mpf(a), mpmath.mpf(b), mpmath.mpf(x)
    log_beta = mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(a + b)
    return float((a - 1) * mpmath.log(x) + (b - 1) * mpmath.log(1 - x) - log_beta)


def assert_gamma(log_density, a, z):
    for x in (a + abs(z) * a**0.5, a * numpy.exp(z)):  # near the mean, and anywhere from it
        ours = log_density(numpy.array(a), numpy.array(x))
        assert_allclose(ours, exact_log_gamma_density(a, x), rtol=1e-13, atol=1e-12)


def assert_beta(log_density, a, b, z):
    x = float(scipy.special.expit(numpy.log(a / b) + z * (1 / a + 1 / b) ** 0.5))
    if 0 < x < 1:
        ours = log_density(numpy.array(a), numpy.array(b), numpy.array(x))
        assert_allclose(ours, exact_log_beta_density(a, b, x), rtol=1e-13, atol=1e-11)


@given(sizes, sizes, deviations)
def test_densities_at_any_size(a, b, z):
    assert_gamma(log_gamma_density, a, z)
    assert_beta(log_beta_density, a, b, z)


def test_the_textbooks_formulae_lose_their_digits_and_are_caught():
    with pytest.raises(AssertionError):
        assert_gamma(lambda a, x: (a - 1) * numpy.log(x) - x - gammaln(a), 1e6, 1.0)
    with pytest.raises(AssertionError):
        assert_beta(lambda a, b, x: xlogy(a - 1, x) + xlog1py(b - 1, -x) - scipy.special.betaln(a, b), 1e6, 2e6, 1.0)


def test_the_ends_of_the_support():
    a, x = numpy.array([0.5, 1.0, 2.0, 1e6]), numpy.zeros(4)
    assert_array_equal(log_gamma_density(a, x), [numpy.inf, 0.0, -numpy.inf, -numpy.inf])
    assert_array_equal(grad(lambda x: log_gamma_density(a, x)[1])(x), [0.0, -1.0, 0.0, 0.0])
    assert_allclose(log_beta_density(a, 3.0, x), [numpy.inf, numpy.log(3.0), -numpy.inf, -numpy.inf], rtol=1e-14)
    assert_allclose(log_beta_density(3.0, a, 1 - x), [numpy.inf, numpy.log(3.0), -numpy.inf, -numpy.inf], rtol=1e-14)
    assert_array_equal(grad(lambda x: log_beta_density(a, 3.0, x)[1])(x), [0.0, -2.0, 0.0, 0.0])


def test_an_event_that_nobody_asks_about_sends_no_nan():
    a, x = numpy.array([2.0, 0.5]), numpy.array([0.0, 0.7])
    for of_a, of_x in (
        grad(lambda a, x: log_gamma_density(a, x)[1], (0, 1))(a, x),
        grad(lambda a, x: log_beta_density(a, 2.0, x)[1], (0, 1))(a, x),
        grad(lambda a, x: log_beta_density(2.0, a, 1.0 - x)[1], (0, 1))(a, x),
    ):
        assert of_a[0] == of_x[0] == 0.0
        assert numpy.isfinite([*of_a, *of_x]).all()


@FEW
@given(real_arrays((3,), 0.25, 20.0), real_arrays((2, 1), 0.25, 20.0), real_arrays((3,), 0.125, 0.875))
def test_they_are_differentiable_to_second_order(a, b, x):
    check_grads(log_gamma_density, [a, b], rtol=1e-5)
    check_grads(log_beta_density, [a, b, x], rtol=1e-5)
    check_grads(lambda a: binet(0, a), [a], rtol=1e-5)
    check_grads(digamma_step, [a, b], rtol=1e-5)


def test_they_are_the_binomial_and_the_poisson_law_too():
    k = numpy.arange(6.0)
    assert_allclose(log_gamma_density(k + 1, 2.5), scipy.stats.poisson.logpmf(k, 2.5), rtol=1e-13)
    log_p = log_beta_density(k + 1, 5 - k + 1, 0.3) - numpy.log(6.0)
    assert_allclose(log_p, scipy.stats.binom.logpmf(k, 5, 0.3), rtol=1e-13)


# Binet's function -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(4))
def test_binet_and_its_derivatives(n):
    def mu(a):
        return mpmath.loggamma(a) - (a - 0.5) * mpmath.log(a) + a - mpmath.log(2 * mpmath.pi) / 2

    for a in [1e-2, 0.5, 1.0, 3.0, 9.99, 10.0, 11.0, 30.0, 1e3, 1e6]:
        with mpmath.workdps(80):
            assert_allclose(binet(n, numpy.array(a)), float(mpmath.diff(mu, mpmath.mpf(a), n)), rtol=1e-12)


@given(sizes, sizes)
def test_steps_of_digamma(a, b):
    exact = float(mpmath.psi(0, mpmath.mpf(a) + mpmath.mpf(b)) - mpmath.psi(0, a))
    assert_allclose(digamma_step(numpy.array(a), numpy.array(b)), exact, rtol=1e-12 + 1e-15 * max(1.0, a / b))


def test_small_steps_of_digamma_keep_digits_that_a_difference_loses():
    a, b = numpy.array(1e6), numpy.array(1e-3)
    exact = float(mpmath.psi(0, mpmath.mpf(1e6) + mpmath.mpf(1e-3)) - mpmath.psi(0, 1e6))
    assert_allclose(digamma_step(a, b), exact, rtol=1e-14)
    with pytest.raises(AssertionError):
        assert_allclose(scipy.special.digamma(a + b) - scipy.special.digamma(a), exact, rtol=1e-8)


# Precision and backends -----------------------------------------------------------------------------------------------


def test_float32_stays_float32():
    a, x = numpy.array([0.5, 30.0], "float32"), numpy.array([0.25, 0.5], "float32")
    for f in (log_gamma_density, digamma_step, lambda a, x: log_beta_density(a, a, x), lambda a, _: binet(2, a)):
        assert_dtype(f(a, x), "float32")
        assert_dtype(grad(lambda a, f=f: f(a, x).sum())(a), "float32")
        assert_allclose(f(a, x), f(a.astype(float), x.astype(float)), rtol=1e-5, atol=1e-5)


def test_every_library_agrees(xp):
    a, b, x = numpy.array([0.5, 30.0]), numpy.array(2.0), numpy.array([0.25, 0.5])
    there = [xp.asarray(value) for value in (a, b, x)]
    ours, theirs = (grad(lambda *args: log_beta_density(*args).sum(), (0, 1, 2))(*args) for args in (there, (a, b, x)))
    for mine, expected in zip(ours, theirs, strict=True):
        assert_of(xp, mine)
        assert_allclose(to_numpy(mine), expected, rtol=1e-12)
    assert_allclose(to_numpy(log_gamma_density(there[0], there[2])), log_gamma_density(a, x), rtol=1e-12)
