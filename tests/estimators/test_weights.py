import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import grad
from minilvm.distributions import Bernoulli, Independent
from minilvm.estimators import elbo, log_weights, logmeanexp
from minilvm.models import SigmoidBeliefNetwork
from minilvm.testing import log_weight_arrays, sigmoid_belief_networks
from tests.testing.helpers import assert_allclose, assert_array_equal


@given(log_weight_arrays(limit=300.0))
def test_logmeanexp_is_the_log_of_the_mean(xp, log_w):
    top = log_w.max(axis=0)
    assert_allclose(logmeanexp(log_w), np.log(np.exp(log_w - top).mean(axis=0)) + top, rtol=1e-12, atol=1e-12)


@given(log_weight_arrays())
def test_logmeanexp_over_another_axis_is_that_of_the_transpose(xp, log_w):
    assert_allclose(logmeanexp(log_w, axis=1), logmeanexp(log_w.T), rtol=1e-12, atol=1e-12)


def test_logmeanexp_at_the_edges(xp):
    assert logmeanexp(xp.full((3, 1), -numpy.inf)) == -numpy.inf
    assert logmeanexp(xp.asarray([[1e4], [-numpy.inf]])) == 1e4 - numpy.log(2.0)
    assert_array_equal(grad(lambda w: logmeanexp(w).sum())(xp.full((3, 1), -numpy.inf)), 0.0)


@given(sigmoid_belief_networks(), st.integers(0, 2**32))
def test_log_weights_are_log_joint_less_log_q_at_the_same_draws(xp, model, seed):
    rng = backend.default_rng(seed)
    x = (rng.random((3, len(model.bias))) < 0.5).astype(float)
    q = Independent(Bernoulli(logits=rng.standard_normal((3, len(model.prior_logits)))), 1)
    z = q.sample((4,), rng=seed)
    expected = model.log_joint(x, z) - q.log_prob(z)
    assert_allclose(log_weights(model, q, x, 4, rng=seed), expected, rtol=1e-12)


def model_and_data():
    model = SigmoidBeliefNetwork.random(3, 4, rng=0)
    return model, (backend.default_rng(1).random((5, 4)) < 0.5).astype(float)


def test_one_law_serves_all_data_with_fresh_draws_for_each(xp):
    model, x = model_and_data()
    z = []

    class Listening:
        def log_joint(self, x, draws):
            z.append(draws)
            return model.log_joint(x, draws)

    assert log_weights(Listening(), model.prior, x, 20, rng=0).shape == (20, 5)
    assert z[0].shape == (20, 5, 3)
    assert (z[0][:, 0] != z[0][:, 1]).any()


def test_refusals(xp):
    model, x = model_and_data()
    with pytest.raises(ValueError, match="n_samples is 0"):
        log_weights(model, model.prior, x, 0, rng=0)
    with pytest.raises(ValueError, match=r"batch shape \(3,\); expected \(5,\)"):
        log_weights(model, model.prior.expand((3,)), x, 2, rng=0)

    class Broken:
        def log_joint(self, x, z):
            table = model.log_joint(x, z)
            table[1, 2] = numpy.nan
            return table

    with pytest.raises(ValueError, match=r"sample 1, datum \(2,\) is nan"):
        log_weights(Broken(), model.prior, x, 2, rng=0)

    class Infinite:
        def __init__(self, value):
            self.value = value

        def log_joint(self, x, z):
            return np.full(z.shape[:2], self.value)

    with pytest.raises(ValueError, match=r"sample 0, datum \(0,\) is inf"):
        log_weights(Infinite(numpy.inf), model.prior, x, 2, rng=0)
    assert (log_weights(Infinite(-numpy.inf), model.prior, x, 2, rng=0) == -numpy.inf).all()  # an impossible z may be

    class Summed:
        def log_joint(self, x, z):
            return model.log_joint(x, z)[..., None]

    with pytest.raises(ValueError, match=r"shape \(2, 5, 1\); expected \(K, N\) = \(2, 5\)"):
        log_weights(Summed(), model.prior, x, 2, rng=0)


def test_a_gradient_through_discrete_draws_is_refused_not_wrong(xp):
    """Pyro and NumPyro return a gradient here that lacks the score term, without a word."""
    model, x = model_and_data()

    def bound(logits):
        return elbo(log_weights(model, Independent(Bernoulli(logits=logits), 1), x, 2, rng=0)).sum()

    with pytest.raises(TypeError, match='estimator="score_function"'):
        grad(bound)(xp.zeros((5, 3)))
