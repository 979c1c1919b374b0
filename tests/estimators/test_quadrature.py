"""Quadrature against closed forms, and against a rule of another kind."""

import itertools

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.autograd import grad
from minilvm.distributions import Independent, Normal
from minilvm.estimators import exact_log_marginal
from minilvm.estimators.quadrature import log_integral, quadrature
from minilvm.models import VAE, LinearGaussian
from minilvm.nn import MLP
from minilvm.testing import linear_gaussians
from tests.testing.helpers import assert_allclose, host

seeds = st.integers(0, 2**32)
FEW = settings(max_examples=max(5, settings.default.max_examples // 5))  # of sums over tens of thousands of points


@FEW
@given(linear_gaussians(), seeds)
def test_the_linear_gaussian_integral_is_its_closed_form(xp, model, seed):
    x = 3.0 * backend.default_rng(seed).standard_normal((2, len(model.bias)))
    assert_allclose(exact_log_marginal(model, x), model.log_marginal(x), rtol=1e-12, atol=1e-12)


def gauss_hermite(model, x, n):
    """log p(x) by Gauss's rule with n nodes a dimension, at the prior (docs/notes.md, 10.3)."""
    nodes, weights = numpy.polynomial.hermite_e.hermegauss(n)
    n_latents = model.prior.event_shape[0]
    z = numpy.array(list(itertools.product(nodes, repeat=n_latents)))
    log_weights = numpy.log(list(itertools.product(weights / weights.sum(), repeat=n_latents))).sum(axis=1)
    return numpy.logaddexp.reduce(model.likelihood(z[:, None]).log_prob(x) + log_weights[:, None])


@pytest.mark.parametrize("n_latents", [1, 2])
@FEW
@given(seeds)
def test_the_integral_of_a_small_vae_is_that_of_gauss(xp, n_latents, seed):
    rng = numpy.random.default_rng(seed)
    network = MLP.create([n_latents, 5, 4], rng=backend.default_rng(seed))
    x = (rng.random((2, 4)) < 0.5).astype(float)
    expected = gauss_hermite(VAE(host(network), n_latents), x, {1: 240, 2: 180}[n_latents])
    assert_allclose(exact_log_marginal(VAE(network, n_latents), xp.asarray(x)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n_latents", [1, 2])
def test_a_small_vae_gives_all_images_one_in_total(xp, n_latents):
    model = VAE(MLP.create([n_latents, 5, 4], rng=0), n_latents)
    x = xp.asarray(list(itertools.product([0.0, 1.0], repeat=4)))
    assert_allclose(np.exp(exact_log_marginal(model, x)).sum(), 1.0, rtol=1e-12)


@pytest.mark.parametrize("noise", [1e-1, 1e-3, 1e-6])
def test_little_noise_and_far_data_are_found_where_a_rule_at_the_prior_errs(xp, noise):
    model = LinearGaussian(xp.ones((1, 1)), xp.zeros(1), xp.asarray([noise**2]))
    x = xp.asarray([[0.7], [30.0], [-1e3]])
    assert_allclose(exact_log_marginal(model, x), model.log_marginal(x), rtol=1e-12)
    error = abs(gauss_hermite(host(model), host(x[:1]), 128) - host(model.log_marginal(x[:1])))
    assert error > 0.14


@pytest.mark.parametrize("noise", [1e-1, 1e-2, 1e-3])
def test_a_ridge_may_be_narrow_in_any_direction(xp, noise):
    """x knows the difference of two latents and nothing of their sum: along the axes no grid is fine enough."""
    model = LinearGaussian(xp.ones((3, 1)) * xp.asarray([3.0, -3.0]), xp.zeros(3), xp.asarray(noise**2))
    x = xp.asarray([[0.0, 0.0, 0.0], [-7.0, 2.0, 5.0]])  # the first: along a diagonal of the grid
    assert_allclose(exact_log_marginal(model, x), model.log_marginal(x), rtol=1e-11)


def test_two_peaks_are_both_counted(xp):
    prior = Normal(xp.asarray(0.0), 1.0)

    def log_f(z):
        return np.logsumexp(np.stack([Normal(m, 0.01).log_prob(z) for m in (-2.0, 3.0)]), axis=0)

    assert_allclose(log_integral(log_f, prior), numpy.log(2.0), rtol=1e-12)


@given(st.floats(-50, 50), st.floats(1e-3, 1e3), st.sampled_from([(), (1,), (2,)]))
def test_the_points_integrate_moments_of_the_law_they_were_laid_for(xp, mean, deviation, event_shape):
    law = Independent(Normal(xp.full(event_shape, mean), deviation), len(event_shape))
    z, log_volume = quadrature(law.log_prob, Independent(Normal(xp.zeros(event_shape), 1.0), len(event_shape)))
    weight = np.exp(law.log_prob(z) + log_volume).reshape(-1, *(1 for _ in event_shape))
    assert_allclose((weight * z).sum(axis=0), law.mean, rtol=1e-11, atol=1e-11 * deviation)
    assert_allclose((weight * (z - law.mean) ** 2).sum(axis=0), law.variance, rtol=1e-10)


def test_the_integral_is_differentiated(xp):
    model = LinearGaussian.random(2, 3, rng=0)
    x, _ = model.sample(2, rng=1)
    found = grad(lambda m: exact_log_marginal(m, x).sum())(model)
    exact = grad(lambda m: m.log_marginal(x).sum())(model)
    for a, b in zip(vars(found).values(), vars(exact).values(), strict=True):
        assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_single_precision_stays_single(xp):
    double = VAE(MLP.create([2, 5, 4], rng=0), 2)
    single = tree.map(lambda leaf: leaf.astype("float32"), double)
    log_p = exact_log_marginal(single, xp.ones((2, 4), "float32"))
    assert log_p.dtype == numpy.float32
    assert_allclose(log_p, exact_log_marginal(double, xp.ones((2, 4))), rtol=1e-5)


def test_what_cannot_be_integrated_is_refused(xp):
    standard = Normal(xp.asarray(0.0), 1.0)
    with pytest.raises(ValueError, match="does not fall off"):
        log_integral(lambda z: -np.log1p(z**2), standard)  # Cauchy's tails: e⁻⁴⁰ is 5e8 deviations away
    with pytest.raises(ValueError, match="not settled"):
        log_integral(lambda z: standard.log_prob(z) + np.log(1.0 + (z > 0.3)), standard)
    with pytest.raises(ValueError, match="log f is nan"):
        log_integral(lambda z: z * numpy.nan, standard)
    with pytest.raises(ValueError, match="log f is -inf"):
        log_integral(lambda z: np.full_like(z, -numpy.inf), standard)
    model = LinearGaussian.random(3, 4, rng=0)
    with pytest.raises(ValueError, match=r"z has shape \(3,\): no integral over more than two"):
        exact_log_marginal(model, xp.ones((1, 4)))
