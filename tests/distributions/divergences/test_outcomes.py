"""Divergences between laws of outcomes: what cannot happen, what is nearly certain, and the sum they are."""

from __future__ import annotations

import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from minilvm.autograd import grad
from minilvm.distributions import Bernoulli, Binomial, Categorical, Poisson, kl_divergence


def test_what_p_can_produce_and_q_cannot_is_infinite_and_the_reverse_is_not():
    ends, middle = Bernoulli(probs=[0.0, 1.0, 0.5]), Bernoulli(probs=0.5)
    assert_allclose(kl_divergence(ends, middle), [numpy.log(2.0), numpy.log(2.0), 0.0])
    assert_array_equal(kl_divergence(middle, ends), [numpy.inf, numpy.inf, 0.0])
    assert_array_equal(kl_divergence(ends, ends), [0.0, 0.0, 0.0])
    for some, all_ in [
        (Categorical(probs=[0.5, 0.5, 0.0]), Categorical(probs=[1.0, 1.0, 1.0])),
        (Categorical(logits=[0.0, 0.0, -numpy.inf]), Categorical(logits=[0.0, 0.0, 0.0])),
    ]:
        assert_allclose(kl_divergence(some, all_), numpy.log(1.5))
        assert kl_divergence(all_, some) == numpy.inf
        assert kl_divergence(some, some) == 0.0
        assert all(numpy.isfinite(grad(kl_divergence, argnums=i)(some, all_).parameter).all() for i in (0, 1))


def test_what_is_too_improbable_for_a_number_is_possible_all_the_same():
    """exp(−800) is 0 by rounding, and not by the law."""
    assert kl_divergence(Categorical(logits=[0.0, -800.0]), Categorical(probs=[1.0, 0.0])) == numpy.inf
    assert kl_divergence(Binomial(2, 1e-200), Binomial(1, 0.5)) == numpy.inf
    assert kl_divergence(Categorical(logits=[0.0, -800.0]), Categorical(logits=[0.0, -900.0])) == 0.0


def test_trials_add_up():
    n, p, q = numpy.array([0.0, 1.0, 50.0]), numpy.array([0.5, 0.3, 0.9]), numpy.array([0.0, 0.1, 0.8])
    one = kl_divergence(Bernoulli(p), Bernoulli(q))
    assert_allclose(kl_divergence(Binomial(n, p), Binomial(n, q)), [0.0, one[1], 50.0 * one[2]], rtol=1e-14)
    assert_allclose(kl_divergence(Binomial(10**6, 0.3), Binomial(10**6, 0.3)), 0.0)
    assert_allclose(kl_divergence(Binomial(1, p), Bernoulli(q)), one, rtol=1e-12)


def test_a_rate_of_zero_is_a_count_of_zero():
    assert_allclose(
        kl_divergence(Poisson([0.0, 2.0]), Poisson([[3.0], [0.0]])), [[3.0, 0.1890698], [0.0, numpy.inf]], rtol=1e-5
    )
    assert_allclose(kl_divergence(Poisson([0.0, 1e-9]), Bernoulli(0.25)), [-numpy.log(0.75), numpy.inf])


def test_far_into_both_tails():
    """log-odds a and b far to the left: p log p/q = exp(a) (a − b), and the rest exp(b) − exp(a)."""
    a, b = -100.0, -101.0
    expected = numpy.exp(a) * (a - b) + numpy.exp(b) - numpy.exp(a)
    assert_allclose(kl_divergence(Bernoulli(logits=a), Bernoulli(logits=b)), expected, rtol=1e-12)
    assert_allclose(kl_divergence(Bernoulli(logits=-1e4), Bernoulli(logits=0.0)), numpy.log(2.0), rtol=1e-12)
    assert_allclose(kl_divergence(Bernoulli(logits=0.0), Bernoulli(logits=-1e4)), 5e3 - numpy.log(2.0), rtol=1e-12)


def test_the_categories_must_be_as_many():
    with pytest.raises(ValueError, match="p has 2 categories and q has 3"):
        kl_divergence(*(Categorical(logits=numpy.zeros(n)) for n in (2, 3)))
