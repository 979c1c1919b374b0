"""The Bernoulli law from a probability and from a logit: against SciPy, its own formula, and at the very ends."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy
import pytest
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm.autograd import check_grads, grad, vjp
from minilvm.backend import to_numpy
from minilvm.distributions import Bernoulli, Independent, bernoulli
from minilvm.distributions.bernoulli import log_likelihood, row_log_likelihood
from minilvm.numpy import special
from minilvm.rules import primitive
from tests.distributions.helpers import (
    Uniforms,
    assert_dtype,
    assert_of,
    assert_same_to_second_order,
    real_arrays,
    reals,
)
from tests.statistics import assert_frequencies

probabilities = st.one_of(st.floats(0, 1), st.floats(-300, 0).map(lambda e: 10.0**e), st.sampled_from([0.0, 1.0]))
logits = reals(-1e4, 1e4)


def composite(x, a):
    """x log σ(a) + (1 − x) log(1 − σ(a))."""
    return x * special.log_expit(a) + (1.0 - x) * special.log_expit(-a)


@given(probabilities, st.integers(0, 1))
@example(0.0, 1)
@example(1.0, 0)
@example(1e-300, 0)
def test_log_prob_from_a_probability_is_scipys(p, x):
    assert_allclose(Bernoulli(probs=p).log_prob(x), scipy.stats.bernoulli.logpmf(x, p), rtol=1e-14)


@given(logits, st.integers(0, 1))
@example(800.0, 1)
@example(-800.0, 0)
def test_log_prob_from_a_logit_is_right_to_the_last_digits(a, x):
    with mpmath.workdps(50):
        exact = -mpmath.log1p(mpmath.exp(-mpmath.mpf(a) if x else mpmath.mpf(a)))
    assert_allclose(Bernoulli(logits=a).log_prob(x), float(exact), rtol=1e-14, atol=1e-300)


def test_the_naive_logarithm_of_a_sigmoid_is_caught():
    """log σ(a) is 0 at a = 40, and its digits are gone long before."""
    with pytest.raises(AssertionError):
        assert_allclose(numpy.log(special.expit(numpy.array(30.0))), Bernoulli(logits=30.0).log_prob(1), rtol=1e-14)


@given(st.one_of(probabilities.map(lambda p: Bernoulli(probs=p)), logits.map(lambda a: Bernoulli(logits=a))))
def test_moments_and_total_probability(law):
    p = numpy.exp(law.log_prob(law.enumerate_support()))
    assert_allclose(p.sum(axis=0), 1.0, rtol=1e-14)
    assert_allclose(law.mean, p[1], rtol=1e-12, atol=1e-300)
    assert_allclose(law.variance, p.prod(axis=0), rtol=1e-12, atol=1e-300)
    assert_allclose(law.entropy(), scipy.stats.entropy(p), rtol=1e-12, atol=1e-15)
    assert p[int(law.mode)] >= p.max() - 1e-15


def test_of_two_modes_the_less_is_named():
    assert_array_equal(Bernoulli(probs=[0.5, 0.51]).mode, [0.0, 1.0])


@given(probabilities, st.floats(0, 1))
def test_distribution_function_and_quantiles_are_scipys(p, u):
    law, theirs = Bernoulli(probs=p), scipy.stats.bernoulli(p)
    x = numpy.array([-numpy.inf, -1.0, -0.1, 0.0, 0.5, 1.0, 2.0, numpy.inf])
    assert_allclose(law.cdf(x), theirs.cdf(x), rtol=1e-14)
    x = law.icdf(u)
    assert law.cdf(x) >= u
    assert x == 0 or law.cdf(0) < u
    assert numpy.isnan(law.cdf(numpy.nan))
    with pytest.raises(ValueError, match=r"Bernoulli: value must be between 0 and 1; value is 1.5"):
        law.icdf(1.5)


def test_distribution_function_keeps_its_digits():
    assert_allclose(Bernoulli(logits=[100.0, -100.0]).cdf(0), [numpy.exp(-100.0), 1.0], rtol=1e-14)


def test_entropy_keeps_its_digits():
    """At a = 50 it is (1 + a) exp(−a) to 20 digits; softplus(a) − a σ(a) would give 0."""
    assert_allclose(Bernoulli(logits=[50.0, -50.0]).entropy(), 51.0 * numpy.exp(-50.0), rtol=1e-13)
    assert_allclose(Bernoulli(probs=1e-20).entropy(), 1e-20 * (1.0 - numpy.log(1e-20)), rtol=1e-13)


@given(probabilities)
def test_a_logit_says_the_same_as_its_probability(p):
    law = Bernoulli(probs=p)
    assert_allclose(special.expit(law.logits), p, rtol=1e-12, atol=1e-300)
    if 0 < p < 1:
        again = Bernoulli(logits=law.logits)
        assert_allclose(again.log_prob([0, 1]), law.log_prob([0, 1]), rtol=1e-10, atol=1e-15)


# Derivatives ----------------------------------------------------------------------------------------------------------


@given(real_arrays((4, 3), 0.0, 1.0), real_arrays((3,), -30.0, 30.0))
def test_fused_likelihood_is_the_composite_to_second_order(x, a):
    assert_same_to_second_order(log_likelihood, composite, [x, a])
    assert_same_to_second_order(log_likelihood, composite, [x[0], numpy.stack([a, -a])])


def test_a_wrong_rule_is_caught():
    twin = primitive(a=lambda g, x, a: g * (x - special.expit(-a)))(composite)
    x, a = numpy.array([0.0, 1.0]), numpy.array([1.0, 3.0])
    with pytest.raises(AssertionError, match="order 1"):
        assert_same_to_second_order(lambda a: twin(x, a), lambda a: composite(x, a), [a])


@given(real_arrays((2, 3), 0.0, 1.0), real_arrays((3,), -8.0, 8.0))
def test_log_prob_is_differentiable_in_parameters_and_value(x, a):
    for law in (Bernoulli(logits=a, validate_args=False), Bernoulli(probs=0.5 + 0.05 * a, validate_args=False)):
        check_grads(lambda law, x: law.log_prob(x), [law, x])


def test_the_rest_is_differentiable_too():
    for law in (Bernoulli(logits=[0.0, -2.0]), Bernoulli(probs=[0.5, 0.2])):
        check_grads(lambda law: (law.entropy(), law.mean, law.variance, law.logits, law.probs), [law])
        check_grads(lambda law: law.cdf([[-0.5], [0.5], [1.5]]), [law])


def test_an_impossible_event_spoils_no_other_gradient():
    p = numpy.array([0.0, 1.0, 0.0, 1.0, 0.5])
    x = numpy.array([0.0, 1.0, 1.0, 0.0, 1.0])
    assert_array_equal(Bernoulli(probs=p).log_prob(x), [0.0, 0.0, -numpy.inf, -numpy.inf, numpy.log(0.5)])
    gradient = grad(lambda p: Bernoulli(probs=p).log_prob(x).sum())(p)
    assert_array_equal(gradient, [-1.0, 1.0, numpy.inf, -numpy.inf, 2.0])
    possible = numpy.array([0, 1, 4])
    gradient = grad(lambda p: Bernoulli(probs=p).log_prob(x)[possible].sum())(p)
    assert_array_equal(gradient, [-1.0, 1.0, 0.0, 0.0, 2.0])
    assert_array_equal(grad(lambda p: Bernoulli(probs=p).entropy()[4:].sum())(p), numpy.zeros(5))


# Draws ----------------------------------------------------------------------------------------------------------------

P = numpy.array([0.0, 0.02, 0.5, 0.9, 1.0])


def assert_draws_follow_the_law(draws):
    n = len(draws)
    for i, p in enumerate(P):
        ones = numpy.count_nonzero(draws[:, i])
        assert_frequencies([n - ones, ones], [1.0 - p, p])
    for i, j in itertools.combinations(range(5), 2):  # independent of one another
        both = numpy.count_nonzero(draws[:, i] * draws[:, j])
        assert_frequencies([n - both, both], [1.0 - P[i] * P[j], P[i] * P[j]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_follow_the_law(dtype):
    assert_draws_follow_the_law(Bernoulli(probs=P.astype(dtype)).sample(50_000, rng=0))
    draws = Bernoulli(logits=special.logit(P[1:-1]).astype(dtype)).sample(50_000, rng=1)
    assert_draws_follow_the_law(numpy.pad(draws, ((0, 0), (1, 1)), constant_values=[0, 1]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("greatest", [False, True])
def test_no_uniform_number_draws_the_impossible(dtype, greatest):
    ends = numpy.array([0.0, 1.0], dtype=dtype)
    assert_array_equal(Bernoulli(probs=ends).sample(rng=Uniforms(greatest=greatest)), ends)


@pytest.mark.parametrize("wrong", ["0 for 1", "one u for a batch", "p a little large"])
def test_wrong_draws_are_caught(wrong):
    rng = numpy.random.default_rng(0)
    u = rng.random((50_000, 1 if wrong == "one u for a batch" else 5))
    draws = {"0 for 1": u >= P, "one u for a batch": u < P, "p a little large": u < P**0.95}[wrong]
    with pytest.raises(AssertionError):
        assert_draws_follow_the_law(draws)


# Precision, validation, backends --------------------------------------------------------------------------------------


@given(reals(-200, 200), st.integers(0, 1))
def test_float32_stays_float32(a, x):
    law = Bernoulli(logits=numpy.array([a], dtype="float32"))
    assert_allclose(law.log_prob(x), composite(x, law.logits.astype(float)), rtol=1e-6, atol=1e-38)
    for x_of_any_kind in (x, [x], numpy.array([x], "uint8"), numpy.array([x], bool), numpy.array([x], "float32")):
        assert_dtype(law.log_prob(x_of_any_kind), "float32")
    for result in (law.probs, law.entropy(), law.variance, law.mode, law.sample(rng=0), law.enumerate_support()):
        assert_dtype(result, "float32")
    for result in (law.cdf(x), law.icdf(0.5)):
        assert_dtype(result, "float32")
    assert_dtype(grad(lambda law: law.log_prob(x).sum())(law).logits, "float32")
    impossible = Bernoulli(probs=numpy.array([1 - x], dtype="float32")).log_prob(x)
    assert_dtype(impossible, "float32")
    assert impossible == -numpy.inf


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "Bernoulli: none given; expected exactly one of probs, logits"),
        ({"probs": 0.5, "logits": 0.0}, "Bernoulli: probs and logits given"),
        ({"probs": [0.5, 1.5]}, r"Bernoulli: probs must be between 0 and 1; probs\[1\] is 1.5"),
        ({"probs": [[numpy.nan]]}, r"Bernoulli: probs must be between 0 and 1; probs\[0, 0\] is nan"),
        ({"logits": [0.0, numpy.inf]}, r"Bernoulli: logits must be finite; logits\[1\] is inf"),
    ],
)
def test_impossible_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        Bernoulli(**parameters)


def test_impossible_values_are_refused():
    law = Bernoulli(logits=[0.0, 1.0])
    with pytest.raises(ValueError, match=r"Bernoulli: value must be 0 or 1; value\[1\] is 0.5"):
        law.log_prob([1.0, 0.5])
    with pytest.raises(ValueError, match=r"Bernoulli: value must be 0 or 1; value\[0\] is nan"):
        law.log_prob([numpy.nan, 0.5])


def test_grey_levels_are_scored_by_the_formula_when_asked_to():
    law = Bernoulli(logits=[0.5, -1.0], validate_args=False)
    assert_allclose(law.log_prob([0.25, 0.75]), composite(numpy.array([0.25, 0.75]), law.logits), rtol=1e-14)


@given(st.data())
def test_every_backend(xp, data):
    a = data.draw(real_arrays((2, 3)))
    x = data.draw(st.sampled_from([0.0, 1.0]))
    for law in (Bernoulli(logits=xp.asarray(a)), Bernoulli(probs=xp.asarray(special.expit(a)))):
        value = law.log_prob(xp.full((2, 3), x))
        assert_of(xp, value)
        assert_allclose(to_numpy(value), composite(x, a), rtol=1e-12)
        assert_allclose(to_numpy(law.log_prob(law.enumerate_support()))[int(x)], composite(x, a), rtol=1e-12)
        assert_allclose(to_numpy(law.cdf(xp.asarray(0.5))), special.expit(-a), rtol=1e-12)
        assert_array_equal(to_numpy(law.icdf(xp.asarray(0.3))), to_numpy(law.cdf(xp.asarray(0.0))) < 0.3)
        assert to_numpy(law.sample(4, rng=0)).shape == (4, 2, 3)
        gradient = grad(lambda law: law.log_prob(x).sum())(law)
        slope = (
            1.0
            if law.parameterization == "logits"
            else a.size and np.exp(-special.log_expit(a) - special.log_expit(-a))
        )
        assert_allclose(to_numpy(gradient.parameter), (x - special.expit(a)) * slope, rtol=1e-10, atol=1e-12)
        assert to_numpy(law.entropy()).shape == to_numpy(law.mode).shape == (2, 3)


# Whole rows at once ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [1, 7, 2**14])
@pytest.mark.parametrize(
    ("of_x", "of_logits"),
    [((5,), (5,)), ((3, 5), (3, 5)), ((3, 5), (4, 3, 5)), ((4, 3, 5), (3, 5)), ((4, 3, 5), (5,)), ((3, 0), (2, 3, 0))],
)
def test_rows_in_pieces_are_the_sum_of_their_elements_to_second_order(monkeypatch, piece, of_x, of_logits):
    monkeypatch.setattr(bernoulli, "_PIECE", piece)
    rng = numpy.random.default_rng(0)
    x, a = (rng.random(of_x) < 0.5).astype(float), 3.0 * rng.standard_normal(of_logits)
    assert_same_to_second_order(row_log_likelihood, lambda x, a: np.sum(composite(x, a), axis=-1), [x, a])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_rows_without_weight_are_left_out_and_nothing_changes(share):
    rng = numpy.random.default_rng(0)
    x, a = (rng.random((50, 4)) < 0.5).astype(float), rng.standard_normal((2, 50, 4))
    g = rng.standard_normal((2, 50)) * (rng.random((2, 50)) < share)
    slope = vjp(lambda a: row_log_likelihood(x, a), a)[1](g)[0]
    assert_allclose(slope, g[..., None] * (x - special.expit(a)), rtol=1e-12, atol=1e-15)
    check_grads(lambda g, a: vjp(lambda a: row_log_likelihood(x, a), a)[1](g)[0], [g, a], order=1)


def test_rows_keep_the_digits_that_their_elements_have():
    """x a and −max(a, 0) cancel exactly where the bit is as it should be, in single precision too."""
    for dtype in (numpy.float64, numpy.float32):
        a = numpy.array([[1e4, -1e4, 50.0, -50.0, 8.0, -8.0]] * 3, dtype=dtype)
        x = numpy.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0], dtype=dtype)
        found = row_log_likelihood(numpy.broadcast_to(x, a.shape), a)
        assert found.dtype == dtype
        assert_allclose(found, 2.0 * -math.log1p(math.exp(-8.0)), rtol=4.0 * numpy.finfo(dtype).eps)


def test_an_event_of_bits_is_scored_by_rows_whatever_computes(xp):
    rng = numpy.random.default_rng(0)
    a, x = rng.standard_normal((2, 3, 4)), (rng.random((3, 4)) < 0.5).astype(float)
    for n in (1, 2):
        shape = (2, 3, 4)[: 3 - n]
        value = x if n == 1 else numpy.broadcast_to(x, (2, 3, 4))
        found = Independent(Bernoulli(logits=xp.asarray(a)), n).log_prob(xp.asarray(value))
        expected = scipy.stats.bernoulli.logpmf(x, 1.0 / (1.0 + numpy.exp(-a))).reshape(*shape, -1).sum(axis=-1)
        assert_allclose(to_numpy(found), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="must be 0 or 1"):
        Independent(Bernoulli(logits=xp.asarray(a)), 1).log_prob(xp.asarray(0.5 * x))
    a, x, g = xp.asarray(a), xp.asarray(x), xp.asarray(rng.standard_normal((2, 3)))
    slope = grad(lambda a: (g * Independent(Bernoulli(logits=a), 1).log_prob(x)).sum())(a)
    assert_allclose(to_numpy(slope), to_numpy(g[..., None] * (x - special.expit(a))), rtol=1e-12)
