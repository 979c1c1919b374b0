import numpy
import pytest

from minilvm.distributions import Bernoulli, Independent
from minilvm.testing import AllTuples, all_tuples, expected_bound, expected_estimate


def test_tuples_are_all_there_once():
    tuples = all_tuples(3, 4)
    assert tuples.shape == (4, 81)
    assert len({tuple(column) for column in tuples.T}) == 81


def test_expectation_of_a_mean_is_the_mean():
    log_q, log_joint = numpy.log([0.2, 0.5, 0.3]), numpy.array([0.1, -2.0, 1.0])
    exact = (numpy.exp(log_q) * (log_joint - log_q)).sum()
    for k in (1, 2, 3):
        numpy.testing.assert_allclose(expected_bound(lambda w: w.mean(axis=0), log_joint, log_q, k), exact, rtol=1e-12)


def test_a_law_of_all_tuples_has_probability_one_and_the_mean_of_q():
    q = Independent(Bernoulli(probs=numpy.array([0.3, 0.9])), 1)
    law = AllTuples(q, 3)
    numpy.testing.assert_allclose(law.probability.sum(), 1.0, rtol=1e-12)
    mean = expected_estimate(lambda law: law.sample((3,), rng=None).mean(axis=0)[..., 0], q, 3)
    numpy.testing.assert_allclose(mean, 0.3, rtol=1e-12)


def test_refusals():
    with pytest.raises(ValueError, match="more than"):
        all_tuples(1000, 3)
    with pytest.raises(ValueError, match="expected \\(\\)"):
        AllTuples(Bernoulli(probs=numpy.array([0.3, 0.9])), 2)
