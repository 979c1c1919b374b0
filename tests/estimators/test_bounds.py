"""Bounds, by the ladder: exact expectations over all tuples of draws, and order in every single draw."""

import itertools

import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import grad
from minilvm.distributions import Categorical
from minilvm.estimators import elbo, elbo_entropy_form, elbo_kl_form, eubo, iwae, log_weights
from minilvm.models import VAE, diagonal_normal
from minilvm.nn import MLP, Linear
from minilvm.testing import (
    assert_lower_bound,
    assert_per_draw_order,
    assert_unbiased,
    expected_bound,
    gaussian_mixtures,
    log_tables,
    log_weight_arrays,
    sigmoid_belief_networks,
)
from tests.statistics import FALSE_ALARM_RATE
from tests.testing.helpers import assert_allclose, moved

K = st.integers(1, 4)


@given(log_tables(), K)
@pytest.mark.parametrize("bound", [elbo, iwae])
def test_lower_bounds_lie_below_log_p_in_expectation(xp, bound, tables, n_samples):
    assert_lower_bound(bound, *tables, n_samples)


def self_normalised(log_w):
    """The IWAE "loss" Σ w̃ log w: right gradient, wrong number. It estimates an upper quantity."""
    return (np.softmax(log_w, axis=0) * log_w).sum(axis=0)


def wrong_sign(log_w):
    return -elbo(log_w)


def sum_for_mean(log_w):
    return np.logsumexp(log_w, axis=0)


def largest(log_w):
    return log_w.max(axis=0)


@pytest.mark.parametrize("fault", [self_normalised, wrong_sign, sum_for_mean, largest])
def test_bounds_that_are_not_are_caught(xp, fault):
    log_joint, log_q = moved(numpy.log([[0.02, 0.001, 0.3], [0.2, 0.5, 0.3]]))
    with pytest.raises(AssertionError, match="is above log p"):
        assert_lower_bound(fault, log_joint, log_q, 5)


@given(log_tables(max_states=3))
def test_iwae_rises_with_k_from_the_elbo_towards_log_p(xp, tables):
    log_joint, log_q = tables
    slack = 1e-10 * (1 + abs(log_joint).max() + abs(log_q).max())
    rungs = [expected_bound(iwae, log_joint, log_q, k) for k in (1, 2, 3, 4, 5)]
    assert abs(rungs[0] - expected_bound(elbo, log_joint, log_q, 3)) <= slack
    assert all(low <= high + slack for low, high in itertools.pairwise(rungs))
    assert rungs[-1] <= np.logsumexp(log_joint) + slack


@given(log_tables(), K)
def test_the_exponential_of_iwae_is_unbiased_for_p(xp, tables, n_samples):
    """So it is no other number between the ELBO and log p(x), which all the laws above would let pass."""
    assert_unbiased(iwae, *tables, n_samples, rtol=1e-9)


@given(log_tables(), K)
def test_both_are_tight_at_the_posterior_in_every_draw(xp, tables, n_samples):
    log_joint, _ = tables
    posterior = log_joint - np.logsumexp(log_joint)
    for bound in (elbo, iwae):
        gap = np.logsumexp(log_joint) - expected_bound(bound, log_joint, posterior, n_samples)
        assert abs(gap) <= 1e-10 * (1 + abs(log_joint).max())


@given(log_tables())
def test_the_gap_of_the_elbo_is_the_kl_to_the_posterior_and_of_the_eubo_the_kl_back(xp, tables):
    log_joint, log_q = tables
    log_p = np.logsumexp(log_joint)
    log_posterior = log_joint - log_p
    slack = 1e-10 * (1 + abs(log_joint).max() + abs(log_q).max())
    kl = (np.exp(log_q) * (log_q - log_posterior)).sum()
    assert abs(log_p - expected_bound(elbo, log_joint, log_q, 1) - kl) <= slack
    upper = (np.exp(log_posterior) * eubo((log_joint - log_q)[None])).sum()
    kl_back = (np.exp(log_posterior) * (log_posterior - log_q)).sum()
    assert abs(upper - log_p - kl_back) <= slack
    assert upper >= log_p - slack


@given(log_weight_arrays())
def test_order_in_every_draw(xp, log_w):
    assert_per_draw_order(log_w)


def test_order_catches_weights_averaged_over_the_data(xp, monkeypatch):
    monkeypatch.setattr("minilvm.testing.laws.iwae", lambda log_w: np.logsumexp(log_w, axis=1)[:1] - np.log(2.0))
    with pytest.raises(AssertionError, match="is above"):
        assert_per_draw_order(xp.asarray([[0.0, 5.0], [-1.0, -3.0]]))


@given(gaussian_mixtures(), st.integers(0, 2**32))
def test_elbo_and_iwae_of_a_mixture_at_its_posterior_are_log_p(xp, model, seed):
    rng = backend.default_rng(seed)
    x = 3.0 * rng.standard_normal((4, model.means.shape[1]))
    log_w = log_weights(model, model.posterior(x), x, 3, rng=rng)
    assert_allclose(elbo(log_w), model.log_marginal(x), rtol=1e-9, atol=1e-9)
    assert_allclose(iwae(log_w), model.log_marginal(x), rtol=1e-9, atol=1e-9)


@given(sigmoid_belief_networks(), st.integers(0, 2**32))
def test_a_bound_on_a_network_with_its_own_prior_for_a_guide(xp, model, seed):
    x = (backend.default_rng(seed).random((1, len(model.bias))) < 0.5).astype(float)
    z = model.prior.enumerate_support()
    log_joint, log_q = model.log_joint(x, z[:, None])[:, 0], model.prior.log_prob(z)
    assert_lower_bound(iwae, log_joint, log_q, 2)


def small_vae():
    rng = backend.default_rng(0)
    return VAE(MLP.create([2, 5, 4], rng=rng), 2), (rng.random((3, 4)) < 0.5).astype(float)


def test_the_three_forms_of_the_elbo_agree_in_expectation(xp):
    """N7, N8 and N15 are three averages with one mean: by their standard errors, at the suite's false-alarm rate."""
    model, x = small_vae()
    rows = backend.default_rng(1).standard_normal((3, 4))
    q = diagonal_normal(rows)
    n = 40_000
    log_w = log_weights(model, q, x, n, rng=2)
    forms = [elbo(log_w), elbo_entropy_form(model, q, x, n, rng=3), elbo_kl_form(model, q, x, n, rng=4)]
    z = q.sample((n,), rng=5)
    pieces = [log_w, model.log_joint(x, z), model.likelihood(z).log_prob(x)]
    n_comparisons = 3 * len(x)
    furthest = scipy.stats.norm.isf(FALSE_ALARM_RATE / n_comparisons / 2.0)
    for i, j in [(0, 1), (0, 2), (1, 2)]:
        error = np.sqrt((pieces[i].var(axis=0) + pieces[j].var(axis=0)) / n)
        assert (abs(forms[i] - forms[j]) < furthest * error).all()


def test_forms_refuse_a_guide_that_cannot_be_differentiated():
    model, x = small_vae()
    with pytest.raises(TypeError, match="score"):
        elbo_entropy_form(model, Categorical(probs=numpy.ones(3) / 3), x, rng=0)


def flat_vae():
    return VAE(MLP((Linear(np.zeros((2, 4)), np.zeros(4)),)), 2)  # a decoder that ignores z


def test_the_kl_form_has_no_variance_where_the_decoder_ignores_z(xp):
    model, (_, x) = flat_vae(), small_vae()
    values = elbo_kl_form(model, model.prior, x, 3, rng=0)
    assert_allclose(values, 4 * numpy.log(0.5), rtol=1e-14)


def test_what_is_in_closed_form_is_differentiated(xp):
    """Where the decoder ignores z, all the slope is that of −KL, or that of the entropy and of E[log p(z)], drawn."""
    model, (_, x) = flat_vae(), small_vae()
    rows = backend.default_rng(0).standard_normal((3, 4))
    mean, deviation = rows[:, :2], np.exp(rows[:, 2:])

    def slope(form):
        return grad(lambda rows: form(model, diagonal_normal(rows), x, 5, rng=0).sum())(rows)

    in_kl = np.concatenate([-mean, 1.0 - deviation**2], axis=1)
    z = diagonal_normal(rows).sample((5,), rng=0)
    in_entropy = np.concatenate([-z.mean(axis=0), 1.0 - (z * (z - mean)).mean(axis=0)], axis=1)
    assert_allclose(slope(elbo_kl_form), in_kl, rtol=1e-10)
    assert_allclose(slope(elbo_entropy_form), in_entropy, rtol=1e-10)
