"""The binomial law: against fifty digits, SciPy, and its own sum; with no trials, and with billions."""

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
from minilvm.autograd import check_grads, grad
from minilvm.distributions import Bernoulli, Binomial
from minilvm.numpy import special
from tests.distributions import checks
from tests.distributions.helpers import FEW, real_arrays, reals

totals = st.one_of(st.integers(0, 40), st.floats(0, 9).map(lambda e: int(10.0**e)))
logits = reals(-800, 800)


def exact(x, n, a):
    """log C(n, x) − x log(1 + exp(−a)) − (n − x) log(1 + exp(a))."""
    with mpmath.workdps(50):
        x, n, a = mpmath.mpf(x), mpmath.mpf(n), mpmath.mpf(a)
        choose = mpmath.loggamma(n + 1) - mpmath.loggamma(x + 1) - mpmath.loggamma(n - x + 1)
        return float(choose - x * mpmath.log1p(mpmath.exp(-a)) - (n - x) * mpmath.log1p(mpmath.exp(a)))


def assert_log_prob(log_prob, x, n, a):
    """To √n units in the last place, however large the factorials."""
    assert_allclose(log_prob(x), exact(x, n, a), rtol=2e-14 + 1e-15 * numpy.sqrt(n), atol=1e-14)


@given(totals, st.one_of(reals(-20, 20), logits), st.floats(-8, 8), st.floats(0, 1))
def test_log_prob_keeps_its_digits(n, a, z, fraction):
    p = float(special.expit(a))
    near = numpy.clip(numpy.floor(n * p + z * numpy.sqrt(n * p)), 0.0, n)
    for x in (near, numpy.floor(fraction * n), 0.0, float(n)):
        assert_log_prob(Binomial(n, logits=a).log_prob, x, n, a)


def test_the_formula_as_it_reads_is_caught():
    n, x = 1e9, 5e8 + 1e4
    gammaln = scipy.special.gammaln

    def naive(x):
        return gammaln(n + 1.0) - gammaln(x + 1.0) - gammaln(n - x + 1.0) + n * numpy.log(0.5)

    with pytest.raises(AssertionError):
        assert_log_prob(naive, x, n, 0.0)


@given(st.integers(0, 1000), st.floats(0, 1), st.floats(-0.5, 1.5))
def test_it_is_scipys(n, p, fraction):
    law, theirs = Binomial(n, probs=p), scipy.stats.binom(n, p)
    x = float(numpy.clip(numpy.floor(fraction * n), 0, n))
    assert_allclose(law.log_prob(x), theirs.logpmf(x), rtol=1e-9, atol=1e-9)
    for value in (x, fraction * n, -1.0, n + 1.0):
        checks.assert_cdf(law, theirs, value, rtol=1e-9)
    assert_allclose([law.mean, law.variance], [theirs.mean(), theirs.var()], rtol=1e-12, atol=1e-15 * n)


@given(st.integers(0, 30), st.one_of(st.floats(0.01, 0.99), st.sampled_from([0.0, 1.0])), reals(-5, 5))
def test_probabilities_sum_to_one_and_have_the_moments(n, p, a):
    for law in (Binomial(n, probs=[p, 0.5]), Binomial(n, logits=[a, -a])):
        x = law.enumerate_support()
        assert_array_equal(x, numpy.stack([numpy.arange(n + 1.0)] * 2, axis=-1))
        checks.assert_sums(law, x)
        assert_allclose(law.log_prob(law.mode), law.log_prob(x).max(axis=0), rtol=1e-12, atol=1e-12)


def test_entropies_of_different_numbers_of_trials():
    together = Binomial([0, 1, 30], probs=0.3).entropy()
    assert_allclose(together, [Binomial(n, probs=0.3).entropy() for n in (0, 1, 30)], rtol=1e-14)


@given(reals(-50, 50))
def test_one_trial_is_a_bernoullis(a):
    one, bit = Binomial(logits=a), Bernoulli(logits=a)
    x = numpy.array([0.0, 1.0])
    assert_allclose(one.log_prob(x), bit.log_prob(x), rtol=1e-13, atol=1e-15)
    assert_allclose(one.entropy(), bit.entropy(), rtol=1e-12, atol=1e-15)
    assert_allclose(one.cdf(x), bit.cdf(x), rtol=1e-13)


def test_certain_and_impossible_outcomes():
    assert_array_equal(Binomial(0, probs=[0.0, 0.5, 1.0]).log_prob(0), [0.0, 0.0, 0.0])
    inf = numpy.inf
    certain = Binomial(2, probs=[[0.0], [1.0]])
    assert_array_equal(certain.log_prob([0, 1, 2]), [[0.0, -inf, -inf], [-inf, -inf, 0.0]])
    assert_array_equal(Binomial([0, 2], probs=[[0.0], [1.0]]).cdf(1), [[1.0, 1.0], [1.0, 0.0]])
    assert numpy.isnan(Binomial(3, probs=0.5).cdf(numpy.nan))
    assert_array_equal(Binomial(3, probs=[0.0, 0.5, 1.0]).mode, [0.0, 2.0, 3.0])


def test_an_impossible_event_spoils_no_other_gradient():
    p, x = numpy.array([0.0, 1.0, 0.0, 1.0, 0.5]), numpy.array([0.0, 2.0, 1.0, 1.0, 1.0])
    gradient = grad(lambda p: Binomial(2, probs=p).log_prob(x).sum())(p)
    assert_array_equal(gradient, [-2.0, 2.0, numpy.inf, -numpy.inf, 0.0])
    gradient = grad(lambda p: Binomial(2, probs=p).log_prob(x)[[0, 1, 4]].sum())(p)
    assert_array_equal(gradient, [-2.0, 2.0, 0.0, 0.0, 0.0])
    gradient = grad(lambda p: Binomial(2, probs=p).entropy()[4:].sum())(p)
    assert numpy.isfinite(gradient).all()


def test_what_is_no_count_up_to_n_is_impossible():
    outside = [-1.0, 4.0, 0.5, -numpy.inf, numpy.inf, numpy.nan]
    checks.assert_impossible(lambda **options: Binomial(3, probs=0.3, **options), outside, inside=3.0)
    with pytest.raises(ValueError, match=r"value must be a whole number from 0 to total_count; value\[1\] is 4"):
        Binomial(3, probs=0.5).log_prob([0, 4])


# Derivatives ----------------------------------------------------------------------------------------------------------


@FEW
@given(real_arrays((2, 1), -3.0, 3.0), st.integers(0, 5))
def test_it_is_differentiable_in_its_probability(a, x):
    n = numpy.array([5.0, 8.0])
    for parameter, make in ((a, lambda a: Binomial(n, logits=a)), (special.expit(a), lambda p: Binomial(n, probs=p))):
        check_grads(lambda parameter, make=make: make(parameter).log_prob(x), [parameter])
        check_grads(lambda parameter, make=make: make(parameter).cdf(x), [parameter])
        check_grads(
            lambda parameter, make=make: [getattr(make(parameter), name) for name in ("mean", "variance", "logits")],
            [parameter],
        )
        check_grads(lambda parameter, make=make: make(parameter).entropy(), [parameter])


def test_where_the_distribution_function_is_flat_its_gradient_is_nothing():
    x = numpy.array([-1.0, 5.0, 7.0])
    assert_array_equal(grad(lambda a: np.sum(Binomial(5, logits=a).cdf(x)))(numpy.array(0.3)), 0.0)


def test_the_number_of_trials_is_a_constant():
    gradient = grad(lambda law: np.sum(law.log_prob(1) + law.mean + law.variance + law.cdf(1) + law.entropy()))(
        Binomial(4.0, logits=0.3)
    )
    assert gradient.total_count == 0.0
    assert gradient.logits != 0.0


# Draws ----------------------------------------------------------------------------------------------------------------


def test_draws_follow_the_law():
    n, p = numpy.array([0, 1, 5, 50, 7, 7]), numpy.array([0.3, 0.3, 0.7, 0.1, 0.0, 1.0])
    draws = Binomial(n, probs=p).sample(20_000, rng=0)
    for i in range(6):
        values = numpy.arange(n[i] + 1)
        checks.assert_counts_follow(draws[:, i], values, scipy.stats.binom.pmf(values, n[i], p[i]))
    both = (draws[:, 1] > 0) & (draws[:, 2] > 3)  # independent of one another
    checks.assert_counts_follow(both, [True], [0.3 * scipy.stats.binom.sf(3, 5, 0.7)])
    with pytest.raises(AssertionError, match="outcome"):
        checks.assert_counts_follow(draws[:, 2], numpy.arange(6), scipy.stats.binom.pmf(numpy.arange(6), 5, 0.68))


def test_trials_beyond_32_bits_are_drawn():
    assert_array_equal(Binomial([0.0, 2.0**31, 1e15], probs=1.0).sample(rng=0), [0.0, 2.0**31, 1e15])


# Precision, validation, backends --------------------------------------------------------------------------------------


def test_float32_and_every_backend(xp):
    x = numpy.array([0.0, 7.0, 33.0])
    for law in (
        Binomial(numpy.array([3.0, 9.0, 40.0]), probs=numpy.array([0.5, 0.9, 0.7])),
        Binomial(numpy.array([3.0, 9.0, 40.0]), logits=numpy.array([-2.0, 0.0, 3.0])),
    ):
        with pytest.raises(ValueError, match="Binomial: total_count is 3 to 40; expected one number to enumerate to"):
            law.enumerate_support()
        same = Binomial(numpy.full(3, 40.0), **{law.parameterization: law.parameter})
        checks.assert_precision(same, x)
        checks.assert_every_backend(xp, same, x)


def test_far_tails_in_float32():
    """exp(−100) is no number of single precision; its logarithm is."""
    law = Binomial(2, logits=numpy.array([-100.0, 100.0], "float32"))
    assert_allclose(law.log_prob([1, 1]), numpy.log(2.0) - 100.0, rtol=1e-6)
    gradient = grad(lambda law: law.log_prob([1, 1]).sum())(law)
    assert_array_equal(gradient.logits, [1.0, -1.0])


def test_what_cannot_be_enumerated_says_so():
    with pytest.raises(ValueError, match="1000000001 counts for each law are too many to enumerate; use sample"):
        Binomial(10**9, probs=0.5).enumerate_support()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "Binomial: none given; expected exactly one of probs, logits"),
        ({"probs": 0.5, "logits": 0.0}, "Binomial: probs and logits given"),
        ({"probs": [0.5, 1.5]}, r"Binomial: probs must be between 0 and 1; probs\[1\] is 1.5"),
        ({"logits": numpy.inf}, "Binomial: logits must be finite; logits is inf"),
        (
            {"probs": 0.5, "total_count": 2.5},
            "total_count must be a whole number, 0 or more; total_count is 2.5",
        ),
        ({"probs": 0.5, "total_count": [3, -1]}, r"total_count\[1\] is -1"),
        (
            {"probs": [0.5, 0.5], "total_count": [1, 2, 3]},
            r"probs of shape \(2,\) and total_count of shape \(3,\)",
        ),
    ],
)
def test_impossible_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        Binomial(**parameters)
