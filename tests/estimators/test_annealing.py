"""Annealing: both ends of the sandwich, against log p(x) in closed form, by enumeration and by quadrature."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import grad
from minilvm.distributions import Categorical
from minilvm.estimators import (
    HMC,
    Gibbs,
    annealed_log_weights,
    bidirectional_monte_carlo,
    exact_log_marginal,
    iwae,
    log_weights,
)
from minilvm.models import VAE, LinearGaussian, MixtureOfGaussians, SigmoidBeliefNetwork, diagonal_normal
from minilvm.nn import MLP
from minilvm.testing import linear_gaussians, sigmoid_belief_networks
from tests.statistics import FALSE_ALARM_RATE, assert_mean_at_most_one
from tests.testing.helpers import assert_allclose, assert_array_equal

seeds = st.integers(0, 2**32)
models = st.one_of(linear_gaussians(), sigmoid_belief_networks())


def stay(log_density, z, *, rng):
    return z


@settings(max_examples=20)
@given(models, seeds)
def test_one_step_is_importance_sampling_and_chains_that_stay_are_too(xp, model, seed):
    x, z = model.sample(3, rng=seed)
    expected = log_weights(model, model.prior, x, 4, rng=seed)
    assert_allclose(annealed_log_weights(model, model.prior, x, 4, n_steps=1, rng=seed), expected, rtol=1e-12)
    stayed = annealed_log_weights(model, model.prior, x, 4, n_steps=7, transition=stay, rng=seed)
    assert_allclose(stayed, expected, rtol=1e-12)
    back = annealed_log_weights(model, model.prior, x, 4, n_steps=7, posterior_draws=z, transition=stay, rng=seed)
    assert_allclose(back[2], (model.log_joint(x, z) - model.prior.log_prob(z)), rtol=1e-12)


@settings(max_examples=20)  # each walks two paths of many gradients
@given(models, seeds)
def test_from_the_posterior_all_weights_are_p_either_way(xp, model, seed):
    """q is the posterior, so the path is a point, and whatever moves, log w is log p(x)."""
    x, z = model.sample(2, rng=seed)
    q = model.posterior(x)
    for draws in (None, z):
        log_w = annealed_log_weights(model, q, x, 3, n_steps=4, posterior_draws=draws, rng=seed)
        assert_allclose(log_w, np.tile(model.log_marginal(x), (3, 1)), rtol=1e-9, atol=1e-9)


def test_up_the_path_or_down_it_each_state_is_weighed_by_the_step_that_leaves_it(xp):
    """The chain is told to go to 2 and then to 3, and log w is z: of those the sum is known."""

    class Linear:
        def log_joint(self, x, z):
            return z[..., 0] + q.log_prob(z)

    def on_to(*states):
        places = iter(states)
        return lambda log_density, z, rng: np.full_like(z, next(places))

    q, x = diagonal_normal(xp.zeros((1, 2))), xp.zeros((1, 1))
    steps = numpy.diff((numpy.arange(4) / 3) ** 4)
    up = annealed_log_weights(Linear(), q, x, 1, n_steps=3, transition=on_to(2.0, 3.0), rng=0)
    first = float(q.sample((1,), rng=0)[0, 0, 0])
    assert_allclose(up[0, 0], steps @ [first, 2.0, 3.0], rtol=1e-12)
    down = annealed_log_weights(
        Linear(), q, x, 1, n_steps=3, posterior_draws=xp.ones((1, 1)), transition=on_to(2.0, 3.0), rng=0
    )
    assert_allclose(down[0, 0], steps[::-1] @ [1.0, 2.0, 3.0], rtol=1e-12)


def test_the_law_at_each_step_is_between_q_and_the_posterior(xp):
    """What the transition is asked to leave alone, at one z: (1 − β) log q + β log p(x, z), rising or falling in β."""
    model = LinearGaussian.random(1, 2, rng=0)
    x, z = model.sample(1, rng=1)
    seen = []

    def watch(log_density, z, *, rng):
        seen.append(float(log_density(np.ones_like(z))[0, 0]))
        return z

    q = diagonal_normal(xp.asarray([[0.3, -0.2]]))
    one = xp.ones((1, 1, 1))
    low, high = float(q.log_prob(one)[0, 0]), float(model.log_joint(x, one)[0, 0])
    expected = [(1 - beta) * low + beta * high for beta in ((1 / 3) ** 4, (2 / 3) ** 4)]
    annealed_log_weights(model, q, x, 1, n_steps=3, transition=watch, rng=0)
    assert seen == pytest.approx(expected, rel=1e-12)
    annealed_log_weights(model, q, x, 1, n_steps=3, posterior_draws=z, transition=watch, rng=0)
    assert seen[2:] == pytest.approx(expected[::-1], rel=1e-12)


N = 2000


def problem(kind):
    """A model, one datum many times, a q that is not the posterior, and exact draws from the posterior."""
    if kind == "numbers":
        model = LinearGaussian.random(2, 3, noise=0.7, rng=3)
        x, _ = model.sample(1, rng=2)
        q = model.prior
    else:
        model = SigmoidBeliefNetwork.random(4, 6, rng=0)
        x, _ = model.sample(1, rng=1)
        q = model.prior
    x = np.repeat(x, N, axis=0)
    return model, q, x, model.posterior(x[:1]).sample((N,), rng=5)[:, 0]


def walked(kind, n_steps=3, **how):
    """w / p(x) of N chains forwards, and p(x) / w of N backwards: of mean 1, both."""
    model, q, x, z = problem(kind)
    log_p = model.log_marginal(x[:1])
    up = annealed_log_weights(model, q, x, 1, n_steps=n_steps, rng=0, **how)
    down = annealed_log_weights(model, q, x, 1, n_steps=n_steps, posterior_draws=z, rng=1, **how)
    return numpy.exp(up - log_p), numpy.exp(log_p - down)


def assert_weights_average_to_p(kind, **how):
    for ratio in walked(kind, **how):
        assert_mean_at_most_one(ratio)


@pytest.mark.parametrize("kind", ["numbers", "bits"])
def test_weights_average_to_p_and_their_inverses_backwards_to_one_over_p(kind):
    assert_weights_average_to_p(kind)


def always(log_density, z, *, rng):
    """HMC that accepts all it proposes."""
    higher = iter(range(0, 10**9, 10**6))
    return HMC(0.5, 0.5, n_leapfrog=3)(lambda z: log_density(z) + next(higher), z, rng=rng)


def greedy(log_density, z, *, rng):
    """Gibbs that takes the likelier bit."""

    class Half:
        def random(self, shape, dtype=float):
            return rng.random(shape) if isinstance(shape, int) else numpy.full(shape, 0.5)

    return Gibbs()(log_density, z, rng=Half())


@pytest.mark.parametrize(("kind", "fault"), [("numbers", always), ("bits", greedy)])
def test_transitions_that_move_the_law_are_caught_by_the_mean_weight(kind, fault):
    with pytest.raises(AssertionError, match="a bet on a mean above 1"):
        assert_weights_average_to_p(kind, n_steps=4, transition=fault)


def test_draws_that_are_not_from_the_posterior_are_caught():
    model, q, x, _ = problem("bits")
    log_p = model.log_marginal(x[:1])
    draws = q.expand((N,)).sample(rng=0)
    log_w = annealed_log_weights(model, q, x, 1, n_steps=2, posterior_draws=draws, rng=1)
    with pytest.raises(AssertionError, match="a bet on a mean above 1"):
        assert_mean_at_most_one(numpy.exp(log_p - log_w))


def test_the_certified_limits_enclose_log_p(xp):
    """Of 3 × 40 data at once, so each has its share of the false-alarm rate."""
    vae = VAE(MLP.create([2, 8, 10], rng=0), 2)
    network, linear = SigmoidBeliefNetwork.random(6, 8, rng=0), LinearGaussian.random(8, 12, rng=0)
    for model in (vae, network, linear):
        x, z = model.sample(40, rng=1)
        log_p = model.log_marginal(x) if model is linear else exact_log_marginal(model, x)
        sandwich = bidirectional_monte_carlo(model, model.prior, x, 3, n_steps=20, posterior_draws=z, rng=2)
        lower, upper = sandwich.limits(FALSE_ALARM_RATE / 120)
        assert (lower <= log_p).all()
        assert (log_p <= upper).all()
        loose = bidirectional_monte_carlo(model, model.prior, x, 3, n_steps=1, posterior_draws=z, rng=2)
        assert (sandwich.upper - sandwich.lower).mean() < 0.3 * (loose.upper - loose.lower).mean()


def test_a_sandwich_is_made_of_the_two_walks(xp):
    model = LinearGaussian.random(2, 3, rng=0)
    x, z = model.sample(4, rng=1)
    rng = backend.default_rng(0)
    up = annealed_log_weights(model, model.prior, x, 5, n_steps=3, rng=rng)
    down = annealed_log_weights(model, model.prior, x, 5, n_steps=3, posterior_draws=z, rng=rng)
    found = bidirectional_monte_carlo(model, model.prior, x, 5, n_steps=3, posterior_draws=z, rng=0)
    assert_array_equal(found.lower, iwae(up))
    assert_allclose(found.upper, -np.log(np.exp(-down).mean(axis=0)), rtol=1e-12)
    lower, upper = found.limits(0.1)
    assert_allclose(found.lower - lower, numpy.log(20.0), rtol=1e-12)
    assert_allclose(upper - found.upper, numpy.log(20.0), rtol=1e-12)


def test_draws_may_be_one_a_datum_or_one_a_chain(xp):
    model = LinearGaussian.random(2, 3, rng=0)
    x, z = model.sample(4, rng=1)
    shared, apart = (
        annealed_log_weights(model, model.prior, x, 5, n_steps=2, posterior_draws=draws, rng=0)
        for draws in (z, np.tile(z, (5, 1, 1)))
    )
    assert_array_equal(shared, apart)


def test_refusals(xp):
    model = LinearGaussian.random(2, 3, rng=0)
    x, z = model.sample(4, rng=1)
    with pytest.raises(ValueError, match="n_steps is 0; expected at least 1"):
        annealed_log_weights(model, model.prior, x, 2, n_steps=0, rng=0)
    with pytest.raises(ValueError, match="n_samples is 0"):
        annealed_log_weights(model, model.prior, x, 0, n_steps=1, rng=0)
    with pytest.raises(ValueError, match=r"shape \(3, 2\); expected \(4, 2\), one a datum, or \(5, 4, 2\)"):
        annealed_log_weights(model, model.prior, x, 5, n_steps=1, posterior_draws=z[:3], rng=0)
    with pytest.raises(TypeError, match="cannot be differentiated"):
        grad(lambda m: annealed_log_weights(m, m.prior, x, 2, n_steps=2, rng=0).sum())(model)
    mixture = MixtureOfGaussians(xp.ones(2) / 2, xp.zeros((2, 3)), np.stack([xp.eye(3)] * 2))
    with pytest.raises(TypeError, match="exact_log_marginal"):
        annealed_log_weights(mixture, Categorical(probs=xp.ones(2)), x, 2, n_steps=2, rng=0)
    for delta in (0.0, 1.5):
        with pytest.raises(ValueError, match="expected a probability"):
            bidirectional_monte_carlo(model, model.prior, x, 2, n_steps=1, posterior_draws=z, rng=0).limits(delta)
