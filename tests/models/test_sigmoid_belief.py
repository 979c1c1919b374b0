import tracemalloc

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.autograd import check_grads
from minilvm.estimators import exact_log_marginal, log_weights
from minilvm.models import SigmoidBeliefNetwork
from minilvm.models.sigmoid_belief import LawOfStates
from minilvm.testing import sigmoid_belief_networks
from tests.statistics import assert_frequencies
from tests.testing.helpers import assert_allclose, assert_array_equal, host


def bits(model, seed, n=4):
    return (backend.default_rng(seed).random((n, len(model.bias))) < 0.5).astype(float)


@given(sigmoid_belief_networks(), st.integers(0, 2**32))
def test_the_shared_table_is_the_enumeration_of_the_joint(xp, model, seed):
    """`log_marginal` shares z W + b between the data; `exact_log_marginal` knows nothing but log p(x, z)."""
    x = bits(model, seed)
    assert_allclose(model.log_marginal(x), exact_log_marginal(model, x), rtol=1e-12, atol=1e-13)


@given(sigmoid_belief_networks(), st.integers(0, 2**32))
def test_the_posterior_is_bayes_rule(xp, model, seed):
    x = bits(model, seed)
    posterior = model.posterior(x)
    z = posterior.enumerate_support()
    assert_array_equal(z[:, 0], model.prior.enumerate_support())
    found = posterior.log_prob(z) + model.log_marginal(x)
    assert_allclose(found, model.log_joint(x, z), rtol=1e-10, atol=1e-10)


@given(sigmoid_belief_networks(), st.integers(0, 2**32))
def test_draws_from_the_posterior_weigh_what_the_data_weigh(xp, model, seed):
    """w = p(x, z) / p(z | x) = p(x) in every draw, and each draw is a state of bits."""
    x = bits(model, seed)
    log_w = log_weights(model, model.posterior(x), x, 5, rng=seed)
    assert_allclose(log_w, np.tile(model.log_marginal(x), (5, 1)), rtol=1e-10, atol=1e-10)
    shared = model.posterior(x[:1]).expand((4,))
    assert shared.sample((3,), rng=seed).shape == (3, 4, len(model.prior_logits))


def test_posterior_draws_have_the_posteriors_frequencies(xp):
    model = SigmoidBeliefNetwork.random(2, 3, rng=0)
    posterior = model.posterior(bits(model, 1, n=1))
    z = posterior.sample((20_000,), rng=0)[:, 0]
    counts = [int((z == state).all(axis=1).sum()) for state in model.prior.enumerate_support()]
    assert_frequencies(counts, host(np.exp(posterior.log_prob(posterior.enumerate_support()))[:, 0]))


def test_sampling_draws_causes_from_the_prior_and_effects_from_their_causes(xp):
    model = SigmoidBeliefNetwork(xp.asarray([0.3]), xp.asarray([[60.0, -60.0]]), xp.asarray([-30.0, 30.0]))
    x, z = model.sample(2000, rng=0)
    assert_array_equal(x, np.concatenate([z, 1.0 - z], axis=1))
    assert_frequencies([int(z.sum()), int(2000 - z.sum())], [1 / (1 + numpy.exp(-0.3)), 1 / (1 + numpy.exp(0.3))])


def test_derivatives_of_the_log_marginal(xp):
    model = SigmoidBeliefNetwork.random(3, 4, rng=0)
    x = bits(model, 0)
    check_grads(lambda m: m.log_marginal(x), [model])


def test_one_datum_must_be_a_table_of_one_row():
    model = SigmoidBeliefNetwork.random(3, 4, rng=0)
    with pytest.raises(ValueError, match=r"expected \(N, D\)"):
        model.log_marginal(numpy.ones(4))


def test_a_random_network_is_its_seed_and_scale(xp):
    one, again, other = (SigmoidBeliefNetwork.random(3, 4, rng=seed) for seed in (0, 0, 1))
    tree.map(assert_array_equal, one, again)
    assert all((a != b).all() for a, b in zip(tree.leaves(one), tree.leaves(other), strict=True))
    wide = SigmoidBeliefNetwork.random(3, 4, scale=8.0, rng=0)
    assert_array_equal(wide.weights, 4.0 * one.weights)  # the default is 2
    assert_array_equal(wide.bias, one.bias)


def test_the_posterior_lives_where_the_network_does(xp):
    model = SigmoidBeliefNetwork.random(3, 4, rng=0)
    with backend.using("numpy"):  # compute follows the data, whichever backend new arrays go to
        x, _ = model.sample(5, rng=0)
        assert isinstance(model.posterior(x).enumerate_support(), xp.ndarray)
        assert log_weights(model, model.posterior(x), x, 2, rng=0).shape == (2, 5)


def test_many_states_are_summed_a_few_at_a_time(xp, monkeypatch):
    model = SigmoidBeliefNetwork.random(10, 50, rng=0)
    x = bits(model, 1, n=3)
    whole, posterior = model.log_marginal(x), model.posterior(x)
    monkeypatch.setattr("minilvm.models.sigmoid_belief._TILE", 50 * 100)  # a hundred of 1024 states
    assert_allclose(model.log_marginal(x), whole, rtol=1e-13)
    z = posterior.sample(3, rng=0)
    assert_allclose(model.posterior(x).log_prob(z), posterior.log_prob(z), rtol=1e-13)
    z = model.prior.enumerate_support()
    assert_allclose(whole, np.logsumexp(model.log_joint(x, z[:, None]), axis=0), rtol=1e-12)


def test_memory_is_that_of_a_tile_and_not_of_all_states():
    model = SigmoidBeliefNetwork.random(12, 2000, rng=0)
    x = bits(model, 1, n=2)
    tracemalloc.start()
    try:
        model.log_marginal(x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 35e6 < 2**12 * 2000 * 8  # a tile is 8 MB, and its softplus takes three more


def test_improbable_effects_keep_their_logarithm_where_log_of_sigmoid_has_none(xp):
    """Each state makes one of the two effects with probability e⁻⁹⁰⁰, and p(x) is that."""
    model = SigmoidBeliefNetwork(xp.asarray([0.3]), xp.asarray([[1800.0, -1800.0]]), xp.asarray([-900.0, 900.0]))
    assert_allclose(model.log_marginal(xp.ones((1, 2))), -900.0, rtol=1e-15)
    with numpy.errstate(divide="ignore"):
        assert np.log(np.special.expit(model.bias))[0] == -numpy.inf


@pytest.mark.parametrize("n", [3, 6])
def test_weights_that_are_not_those_of_all_states_are_refused(n):
    with pytest.raises(ValueError, match=rf"logits has {n} weights; expected 2\^L"):
        LawOfStates(numpy.zeros(n))
