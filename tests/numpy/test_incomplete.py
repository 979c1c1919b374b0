"""The incomplete gamma and beta functions: values as SciPy's, and the movement of their quantiles as mpmath's."""

from __future__ import annotations

import mpmath
import numpy
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from minilvm.autograd import check_grads, grad, hessian, vjp
from minilvm.backend import to_numpy
from minilvm.numpy import incomplete
from minilvm.numpy.incomplete import betainc, betaincinv, gammainc, gammaincinv, log_gamma_slope, log_odds_slope
from minilvm.rules import primitive
from tests.distributions.helpers import FEW, assert_dtype, assert_of, real_arrays

sizes = st.floats(-3, 6).map(lambda e: 10.0**e)
tails = st.tuples(st.booleans(), st.floats(-10, -0.3).map(lambda e: 10.0**e))  # which tail, and its probability
MANY = {"maxterms": 10**7}


@pytest.fixture(autouse=True)
def _sixty_digits():
    with mpmath.workdps(60):
        yield


# How fast a quantile moves: against the power series of F, differenced over sixty digits ------------------------------


def movement(F, a, density):
    h = mpmath.mpf(10) ** -25
    return float(-(F(a + h) - F(a - h)) / (2 * h) / density)


def exact_log_gamma_slope(a, t):
    a, t = mpmath.mpf(a), mpmath.mpf(t)
    x = mpmath.exp(t)

    def F(a):
        return mpmath.exp(a * t - x - mpmath.loggamma(a + 1)) * mpmath.hyp1f1(1, a + 1, x, **MANY)

    return movement(F, a, mpmath.exp(a * t - x - mpmath.loggamma(a)))


def exact_log_odds_slope(a, b, t):
    a, b, t = mpmath.mpf(a), mpmath.mpf(b), mpmath.mpf(t)
    x, rest = 1 / (1 + mpmath.exp(-t)), 1 / (1 + mpmath.exp(t))

    def density(a):
        log_beta = mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(a + b)
        return mpmath.exp(a * mpmath.log(x) + b * mpmath.log(rest) - log_beta)

    def F(a):  # less 1, where t > 0
        if t < 0:
            return density(a) / a * mpmath.hyp2f1(a + b, 1, a + 1, x, **MANY)
        return -density(a) / b * mpmath.hyp2f1(a + b, 1, b + 1, rest, **MANY)

    return movement(F, a, density(a))


def log_quantile(a, tail):
    upper, p = tail
    x = scipy.special.gammainccinv(a, p) if upper else scipy.special.gammaincinv(a, p)
    return float(numpy.log(x)) if x > 1e-300 else float((numpy.log(p) + scipy.special.gammaln(a + 1)) / a)


def log_odds_quantile(a, b, tail):
    (a, b), (upper, p) = ((b, a) if tail[0] else (a, b)), tail
    x, rest = scipy.special.betaincinv(a, b, p), scipy.special.betaincinv(b, a, 1 - p)
    t = float(numpy.log(max(x, 1e-300)) - numpy.log(max(rest, 1e-300)))
    return -t if upper else t


def assert_moves(a, b, tail, rtol=1e-8):
    t = log_quantile(a, tail)
    assert_allclose(log_gamma_slope(numpy.array(a), numpy.array(t)), exact_log_gamma_slope(a, t), rtol=rtol)
    t = log_odds_quantile(a, b, tail)
    ours = log_odds_slope(numpy.array(a), numpy.array(b), numpy.array(t))
    assert_allclose(ours, exact_log_odds_slope(a, b, t), rtol=rtol)


@given(sizes, sizes, tails)
def test_quantiles_move_as_they_should(a, b, tail):
    assert_moves(a, b, tail)


@pytest.mark.parametrize("a", [1e-3, 0.2, 1.0, 7.0, 1e6])
@pytest.mark.parametrize("b", [1e-3, 0.7, 1e6])
def test_quantiles_move_as_they_should_at_the_corners(a, b):
    for upper in (False, True):
        for p in (1e-10, 1e-3, 0.3, 0.5):
            assert_moves(a, b, (upper, p))


@pytest.mark.parametrize("name", ["N_NODES", "FAR"])
def test_too_few_nodes_or_too_short_a_tail_are_caught(name, monkeypatch):
    monkeypatch.setattr(incomplete, name, 12 if name == "N_NODES" else 12.0)
    incomplete._nodes.cache_clear()
    with pytest.raises(AssertionError):
        assert_moves(2.0, 3.0, (False, 0.1))
    incomplete._nodes.cache_clear()


def test_a_quantile_below_all_numbers_moves_too():
    """Far to the left P(a, x) is x^a / Γ(a + 1), so that ∂ log x/∂a = (ψ(a + 1) − log x) / a."""
    a, t = numpy.array([1e-3, 0.1]), numpy.array([-1e5, -1e3])
    assert_allclose(log_gamma_slope(a, t), (scipy.special.digamma(a + 1) - t) / a, rtol=1e-12)
    assert_allclose(log_odds_slope(a, 1.0, t), -t / a, rtol=1e-12)  # I_x(a, 1) = x^a


@given(sizes, sizes, st.floats(-30, 10))
def test_both_slopes_are_positive_and_the_one_is_the_limit_of_the_other(a, b, t):
    """More of a is more of x; and b x is nearly a gamma law's, where b is large."""
    a, b, t = map(numpy.array, (a, b, t))
    assert log_gamma_slope(a, t) > 0
    assert log_odds_slope(a, b, t) > 0
    assert_allclose(log_odds_slope(a, 1e15, t - numpy.log(1e15)), log_gamma_slope(a, t), rtol=1e-7)


def test_slopes_are_differentiable_along_the_quantile_and_say_that_they_are_not_again_in_the_parameter():
    a, b, t = numpy.array([0.5, 4.0]), numpy.array([2.0, 0.7]), numpy.array([[-1.0], [1.5]])
    check_grads(lambda t: log_gamma_slope(a, t), [t])
    check_grads(lambda t: log_odds_slope(a, b, t), [t])
    with pytest.raises(TypeError, match="log_gamma_slope has no derivative with respect to 'a'"):
        grad(lambda a: log_gamma_slope(a, t).sum())(a)
    with pytest.raises(TypeError, match="log_odds_slope has no derivative with respect to 'b'"):
        grad(lambda b: log_odds_slope(a, b, t).sum())(b)


# Distribution functions -----------------------------------------------------------------------------------------------

positive = real_arrays((3,), 0.25, 8.0)
column = real_arrays((2, 1), 0.25, 8.0)
inside = real_arrays((3,), 0.125, 0.875)


@given(positive, column, positive, inside)
def test_values_are_scipys(a, b, x, p):
    assert_allclose(gammainc(a, x), scipy.special.gammainc(a, x), rtol=1e-14)
    assert_allclose(gammaincinv(a, p), scipy.special.gammaincinv(a, p), rtol=1e-14)
    assert_allclose(betainc(a, b, p), scipy.special.betainc(a, b, p), rtol=1e-14)
    assert_allclose(betaincinv(a, b, p), scipy.special.betaincinv(a, b, p), rtol=1e-14)


@FEW
@given(positive, column, positive, inside)
def test_they_are_differentiable_in_all_arguments_and_twice_in_the_last(a, b, x, p):
    loose = {"rtol": 1e-5, "atol": 1e-5}
    for f, parameters, value in [
        (gammainc, [a], x),
        (gammaincinv, [a], p),
        (betainc, [a, b], p),
        (betaincinv, [a, b], p),
    ]:
        check_grads(f, [*parameters, value], order=1, **loose)
        check_grads(lambda value, f=f, parameters=parameters: f(*parameters, value), [value], **loose)


def test_a_wrong_derivative_in_the_parameter_is_caught():
    @primitive(a=lambda g, a, x: 1.001 * incomplete._gammainc_rule(g, a, x))
    def twin(a, x):
        return gammainc(a, x)

    with pytest.raises(AssertionError, match="order 1"):
        check_grads(lambda a: twin(a, numpy.array([0.5, 1.5])), [numpy.array([1.0, 2.0])], order=1)


def test_second_derivatives_in_the_parameter_say_what_is_missing():
    with pytest.raises(TypeError, match="log_gamma_slope has no derivative with respect to 'a'"):
        hessian(lambda a: gammainc(a, numpy.array(2.0)))(numpy.array(1.0))
    with pytest.raises(TypeError, match="log_odds_slope has no derivative with respect to 'b'"):
        hessian(lambda b: betaincinv(numpy.array(2.0), b, numpy.array(0.3)))(numpy.array(1.0))


@pytest.mark.parametrize("a", [0.5, 1.0, 3.0])
def test_the_ends(a):
    """Nothing moves there; and F rises as the density says."""
    a, zero, one = numpy.array(a), numpy.array(0.0), numpy.array(1.0)
    assert_array_equal(vjp(lambda a: gammainc(a, zero), a)[1](one), [0.0])
    assert_array_equal(vjp(lambda a: gammaincinv(a, zero), a)[1](one), [0.0])
    for end in (zero, one):
        assert_array_equal(vjp(lambda a, b, end=end: betainc(a, b, end), a, one)[1](one), [0.0, 0.0])
        assert_allclose(vjp(lambda a, b, end=end: betaincinv(a, b, end), a, one)[1](one), [0.0, 0.0], atol=1e-300)
    assert_allclose(vjp(lambda x: gammainc(a, x), zero)[1](one), [{0.5: numpy.inf, 1.0: 1.0, 3.0: 0.0}[float(a)]])


# Precision and backends -----------------------------------------------------------------------------------------------

CALLS = [
    (gammainc, ([0.5, 30.0], [0.4, 28.0])),
    (gammaincinv, ([0.5, 30.0], [0.4, 0.7])),
    (betainc, ([0.5, 30.0], [3.0, 2.0], [0.4, 0.9])),
    (betaincinv, ([0.5, 30.0], [3.0, 2.0], [0.4, 0.7])),
]


@pytest.mark.parametrize(("f", "args"), CALLS)
def test_float32_stays_float32(f, args):
    args = [numpy.array(arg, "float32") for arg in args]
    y, pullback = vjp(f, *args)
    exact, exact_pullback = vjp(f, *(arg.astype(float) for arg in args))
    assert_dtype(y, "float32")
    assert_allclose(y, exact, rtol=1e-5)
    for ours, theirs in zip(pullback(numpy.ones_like(y)), exact_pullback(numpy.ones_like(exact)), strict=True):
        assert_dtype(ours, "float32")
        assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize(("f", "args"), CALLS)
def test_every_library_agrees(f, args, xp):
    args = [numpy.array(arg) for arg in args]
    y, pullback = vjp(f, *args)
    of_theirs, pullback_of_theirs = vjp(f, *map(xp.asarray, args))
    assert_allclose(to_numpy(of_theirs), y, rtol=1e-12)
    for ours, theirs in zip(pullback(y), pullback_of_theirs(xp.asarray(y)), strict=True):
        assert_of(xp, theirs)
        assert_allclose(to_numpy(theirs), ours, rtol=1e-10)


@pytest.mark.parametrize("n", [1, 40, 5_000, 40_000])
def test_any_number_is_worked_on_a_cacheful_at_a_time(n):
    a, t = numpy.linspace(0.1, 9.0, n), numpy.linspace(-3.0, 3.0, n)
    assert_allclose(log_gamma_slope(a, t)[-1], log_gamma_slope(a[-1:], t[-1:])[0], rtol=1e-13)
