import itertools
import tracemalloc

import numpy
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minilvm.numpy as np
from minilvm import backend
from minilvm.estimators import (
    exact_log_marginal,
    importance_sampling,
    log_weight_tiles,
    log_weights,
    naive_monte_carlo,
)
from minilvm.models import LinearGaussian, SigmoidBeliefNetwork
from minilvm.testing import assert_unbiased, log_tables, log_weight_arrays, sigmoid_belief_networks
from tests.testing.helpers import assert_allclose, host, moved


def brute_force(model, x):
    """log Σ_z Π_l p(z_l) Π_d p(x_d | z) with Python's own loops and products."""

    def bernoulli(value, logit):
        p = 1.0 / (1.0 + numpy.exp(-logit))
        return p if value else 1.0 - p

    total = 0.0
    for z in itertools.product([0.0, 1.0], repeat=len(model.prior_logits)):
        logits = numpy.array(z) @ model.weights + model.bias
        factors = [bernoulli(v, a) for v, a in zip(z, model.prior_logits, strict=True)]
        factors += [bernoulli(v, a) for v, a in zip(x, logits, strict=True)]
        total += numpy.prod(factors)
    return numpy.log(total)


@given(sigmoid_belief_networks(), st.integers(0, 2**32))
def test_exact_log_marginal_is_the_sum_over_all_latents(xp, model, seed):
    x = (backend.default_rng(seed).random((3, len(model.bias))) < 0.5).astype(float)
    expected = [brute_force(host(model), row) for row in host(x)]
    assert_allclose(exact_log_marginal(model, x), expected, rtol=1e-12, atol=1e-13)
    assert_allclose(model.log_marginal(x), expected, rtol=1e-12, atol=1e-13)


def test_probabilities_of_all_observations_sum_to_one(xp):
    model = SigmoidBeliefNetwork.random(4, 5, rng=0)
    x = xp.asarray(list(itertools.product([0.0, 1.0], repeat=5)))
    assert_allclose(np.exp(exact_log_marginal(model, x)).sum(), 1.0, rtol=1e-12)


def in_tiles_of(n_rows, x, monkeypatch):
    monkeypatch.setattr("minilvm.estimators.weights._WIDEST", 1)
    monkeypatch.setattr("minilvm.estimators.weights._TILE", n_rows * x.size)
    monkeypatch.setattr("minilvm.threads.n_cores", lambda: 1)  # in order


def test_enumeration_in_tiles_is_enumeration(xp, monkeypatch):
    model = SigmoidBeliefNetwork.random(6, 5, rng=0)
    x = (backend.default_rng(1).random((7, 5)) < 0.5).astype(float)
    whole = exact_log_marginal(model, x)
    in_tiles_of(3, x, monkeypatch)
    assert_allclose(exact_log_marginal(model, x), whole, rtol=1e-13)


@given(log_tables(), st.integers(1, 4))
def test_the_mean_weight_is_unbiased_for_p(xp, tables, n_samples):
    assert_unbiased(lambda log_w: importance_sampling(log_w).log_p, *tables, n_samples, rtol=1e-9)


def test_a_biased_estimate_is_caught():
    tables = numpy.log([0.02, 0.3]), numpy.log([0.5, 0.5])
    with pytest.raises(AssertionError, match="expected 1"):
        assert_unbiased(lambda log_w: log_w.mean(axis=0), *tables, 2)


def test_naive_monte_carlo_is_importance_sampling_from_the_uniform_law(xp):
    """Over all 2^L states drawn once each its mean is exact: |Z| (1/K) Σ p(x, z) with K = |Z|."""
    model = SigmoidBeliefNetwork.random(3, 4, rng=0)
    x = xp.asarray([[1.0, 0.0, 0.0, 1.0]])

    class EveryState:
        def integers(self, low, high, size):
            assert (low, high, size) == (0, 8, (8, 1))
            return xp.arange(8)[:, None]

    from minilvm.estimators import marginal

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marginal.backend, "default_rng", lambda *_, **__: EveryState())
        estimate = naive_monte_carlo(model, x, 8, rng=0)
    assert_allclose(estimate.log_p, exact_log_marginal(model, x), rtol=1e-12)


def test_naive_monte_carlo_from_the_prior_weighs_by_the_likelihood(xp):
    model = SigmoidBeliefNetwork.random(3, 4, rng=0)
    x = xp.asarray([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    estimate = naive_monte_carlo(model, x, 50, rng=7, proposal="prior")
    z = model.prior.expand((2,)).sample((50,), rng=7)
    likelihood = np.exp(model.likelihood(z).log_prob(x))
    assert_allclose(np.exp(estimate.log_p), likelihood.mean(axis=0), rtol=1e-12)
    relative = likelihood.std(axis=0, ddof=1) / numpy.sqrt(50) / likelihood.mean(axis=0)
    assert_allclose(estimate.standard_error, relative, rtol=1e-9)


@given(log_tables(max_states=3), st.integers(1, 4), st.sampled_from([0.01, 0.1, 0.5]))
@example((numpy.array([0.0, -700.0]), numpy.log([0.11, 0.89])), 1, 0.1)  # one weight in nine is 9: all of log δ is due
def test_the_lower_limit_is_above_log_p_no_more_often_than_it_says(xp, tables, n_samples, delta):
    """Markov's inequality (N19), as the exact probability over all tuples of draws."""
    from minilvm.testing import expected_bound

    log_joint, log_q = moved(tables)
    log_p = np.logsumexp(log_joint)

    def too_high(log_w):
        return (importance_sampling(log_w).lower_limit(delta) > log_p).astype(float)

    assert expected_bound(too_high, log_joint, log_q, n_samples) <= delta + 1e-12


def test_all_weights_zero_is_minus_infinity_without_a_warning_or_a_claim_to_certainty(xp):
    estimate = importance_sampling(xp.full((4, 2), -numpy.inf))
    assert (estimate.log_p == -numpy.inf).all()
    assert np.isnan(estimate.standard_error).all()


def test_one_weight_says_nothing_of_its_error(xp):
    assert np.isnan(importance_sampling(xp.zeros((1, 2))).standard_error).all()


@given(log_weight_arrays(limit=700.0), st.data())
def test_the_sum_of_two_estimates_is_that_from_the_draws_of_both(xp, log_w, data):
    impossible = data.draw(hnp.arrays(bool, log_w.shape))
    log_w = np.where(xp.asarray(impossible), -numpy.inf, log_w)
    cut = data.draw(st.integers(1, max(1, len(log_w) - 1)))
    whole, parts = importance_sampling(log_w), importance_sampling(iter([log_w[:cut], log_w[cut:]][: len(log_w)]))
    assert whole.n_samples == parts.n_samples == len(log_w)
    assert_allclose(parts.log_p, whole.log_p, rtol=1e-12, atol=1e-12)
    assert_allclose(parts.standard_error, whole.standard_error, rtol=1e-8, atol=1e-12)


def test_the_standard_error_is_that_of_the_mean_weight(xp):
    w = backend.default_rng(0).random((7, 3))
    expected = w.std(axis=0, ddof=1) / numpy.sqrt(7) / w.mean(axis=0)
    assert_allclose(importance_sampling(np.log(w) - 900.0).standard_error, expected, rtol=1e-12)


def test_weights_that_are_all_the_same_have_no_error_however_they_are_summed(xp):
    """E[w²] − E[w]² would leave the square root of the rounding error."""
    log_w = xp.full((6, 1), -3.21)
    for parts in ([log_w], [log_w[:2], log_w[2:]], list(log_w[:, None])):
        assert importance_sampling(parts).standard_error <= 1e-15


@pytest.mark.parametrize("proposal", ["uniform", "prior"])
def test_the_draws_of_naive_monte_carlo_do_not_depend_on_the_tiles(xp, monkeypatch, proposal):
    model = SigmoidBeliefNetwork.random(5, 4, rng=0)
    x = xp.ones((3, 4))
    whole = naive_monte_carlo(model, x, 20, rng=0, proposal=proposal)
    in_tiles_of(3, x, monkeypatch)
    parts = naive_monte_carlo(model, x, 20, rng=0, proposal=proposal)
    assert_allclose(parts.log_p, whole.log_p, rtol=1e-12)
    assert_allclose(parts.standard_error, whole.standard_error, rtol=1e-10)


def test_memory_is_that_of_some_tiles_at_any_k(monkeypatch):
    """The weights of 20 000 draws for 5 data, of which none are kept."""
    monkeypatch.setattr("minilvm.threads.n_cores", lambda: 2)
    model = LinearGaussian.random(2, 600, rng=0)
    x, _ = model.sample(5, rng=1)
    tracemalloc.start()
    try:
        estimate = importance_sampling(log_weight_tiles(model, model.posterior(x), x, 20_000, rng=0))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    numpy.testing.assert_allclose(estimate.log_p, model.log_marginal(x), rtol=1e-10)
    assert peak < 100e6 < 20_000 * x.nbytes


@pytest.mark.parametrize("proposal", ["uniform", "prior"])
def test_every_datum_has_draws_of_its_own(xp, proposal):
    model = SigmoidBeliefNetwork.random(6, 4, rng=0)
    log_p = naive_monte_carlo(model, xp.ones((20, 4)), 3, rng=0, proposal=proposal).log_p
    assert len(set(log_p.tolist())) > 10


@pytest.mark.parametrize("bad", [numpy.nan, numpy.inf])
def test_a_weight_that_is_none_is_named(xp, bad):
    log_w = xp.zeros((3, 2))
    log_w[2, 1] = bad
    with pytest.raises(ValueError, match=f"sample 2, datum 1 is {bad}"):
        importance_sampling(log_w)


def test_refusals():
    with pytest.raises(ValueError, match=r"log_w has shape \(0, 3\); expected \(K, N\), at least one sample"):
        importance_sampling(numpy.zeros((0, 3)))
    with pytest.raises(ValueError, match="there are no weights"):
        importance_sampling([])
    model = SigmoidBeliefNetwork.random(2, 3, rng=0)
    x = numpy.ones((1, 3))
    with pytest.raises(TypeError, match=r'cannot list its support.*use proposal="prior"'):
        naive_monte_carlo(LinearGaussian(numpy.ones((3, 1)), numpy.zeros(3), numpy.array(1.0)), x, 2, rng=0)
    with pytest.raises(ValueError, match="n_samples is 0"):
        naive_monte_carlo(model, x, 0, rng=0)
    for estimate in (exact_log_marginal, lambda model, x: naive_monte_carlo(model, x, 1, rng=0)):
        with pytest.raises(ValueError, match=r"x has shape \(0, 3\); expected \(N, …\), at least one datum"):
            estimate(model, x[:0])
        with pytest.raises(TypeError, match="x is list; expected an array"):
            estimate(model, x.tolist())
    with pytest.raises(ValueError, match='"uniform" or "prior"'):
        naive_monte_carlo(model, x, 1, rng=0, proposal="posterior")
    with pytest.raises(ValueError, match="expected a probability"):
        importance_sampling(log_weights(model, model.prior, x, 2, rng=0)).lower_limit(0.0)
