import numpy
import pytest

import minilvm.numpy as np
from minilvm.distributions import Bernoulli, Independent
from minilvm.estimators import elbo, expectation, iwae
from minilvm.testing import (
    AllTuples,
    all_tuples,
    assert_lower_bound,
    assert_unbiased,
    expected_bound,
    expected_estimate,
    gradient_moments,
)
from tests.testing.helpers import assert_allclose


def test_tuples_are_all_there_once():
    tuples = all_tuples(3, 4)
    assert tuples.shape == (4, 81)
    assert len({tuple(column) for column in tuples.T}) == 81


def test_expectation_of_a_mean_is_the_mean(xp):
    log_q, log_joint = xp.log(xp.asarray([0.2, 0.5, 0.3])), xp.asarray([0.1, -2.0, 1.0])
    exact = (np.exp(log_q) * (log_joint - log_q)).sum()
    for k in (1, 2, 3):
        assert_allclose(expected_bound(lambda w: w.mean(axis=0), log_joint, log_q, k), exact, rtol=1e-12)


def test_states_that_q_never_draws_count_for_nothing(xp):
    """A q without full cover: the ELBO is still a bound, and the estimate of p(x) is no longer unbiased (N6)."""
    log_joint = xp.log(xp.asarray([0.02, 0.001, 0.3]))
    log_q = xp.asarray([numpy.log(0.5), numpy.log(0.5), -numpy.inf])
    exact = 0.5 * (numpy.log(0.04) + numpy.log(0.002))
    assert_allclose(expected_bound(elbo, log_joint, log_q, 2), exact, rtol=1e-12)
    assert_lower_bound(iwae, log_joint, log_q, 2)
    with pytest.raises(AssertionError, match="above"):
        assert_lower_bound(lambda log_w: iwae(log_w) + 10.0, log_joint, log_q, 2)
    with pytest.raises(AssertionError, match="expected 1"):
        assert_unbiased(iwae, log_joint, log_q, 2)


def test_a_law_of_all_tuples_has_probability_one_and_the_mean_of_q(xp):
    q = Independent(Bernoulli(probs=xp.asarray([0.3, 0.9])), 1)
    law = AllTuples(q, 3)
    assert_allclose(law.probability.sum(), 1.0, rtol=1e-12)
    mean = expected_estimate(lambda law: law.sample((3,), rng=None).mean(axis=0)[..., 0], q, 3)
    assert_allclose(mean, 0.3, rtol=1e-12)


def test_refusals():
    with pytest.raises(ValueError, match="more than"):
        all_tuples(1000, 3)
    with pytest.raises(ValueError, match="expected \\(\\)"):
        AllTuples(Bernoulli(probs=numpy.array([0.3, 0.9])), 2)
    log_q = numpy.log([0.5, 0.5])
    with pytest.raises(ValueError, match="q sums to 2; expected 1"):
        expected_bound(elbo, log_q, log_q + numpy.log(2.0), 2)
    with pytest.raises(ValueError, match=r"shape \(\) for log_w \(2, 4\); expected \(4,\)"):
        expected_bound(lambda log_w: log_w.mean(), log_q, log_q, 2)


def test_all_tuples_of_two_are_not_draws_of_three():
    with pytest.raises(ValueError, match=r"\(3,\) was asked of all tuples of 2 draws"):
        AllTuples(Bernoulli(probs=0.3), 2).sample((3,), rng=0)


def test_moments_of_a_gradient_are_those_of_a_hand_count(xp):
    """One bit, K = 1, r = 5z: the slope is 5 (1 − p) with probability p, else 0; its mean 5 p (1 − p)."""
    p = 1.0 / (1.0 + numpy.exp(-0.4))
    mean, variance = gradient_moments(
        lambda q, a: expectation(lambda z: 5.0 * z, q, estimator="score_function", rng=0),
        lambda a: Bernoulli(logits=a["a"]),
        {"a": xp.asarray(0.4)},
        1,
    )
    assert_allclose(mean["a"], 5.0 * p * (1.0 - p), rtol=1e-12)
    assert_allclose(variance["a"], p * (5.0 * (1.0 - p)) ** 2 - (5.0 * p * (1.0 - p)) ** 2, rtol=1e-12)
