import dataclasses
import itertools

import mpmath
import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import check_grads, grad
from minilvm.distributions import MultivariateNormal, kl_divergence
from minilvm.estimators import log_weights
from minilvm.models import LinearGaussian
from minilvm.testing import linear_gaussians
from tests.testing.helpers import assert_allclose, assert_array_equal, host

seeds = st.integers(0, 2**32)


def points(model, seed, n=4):
    return 3.0 * backend.default_rng(seed).standard_normal((n, len(model.bias)))


def brute_force(model, x):
    """log N(x; b, W Wᵀ + Ψ), by the inverse and the determinant of a D × D matrix, in 50 digits."""
    with mpmath.workdps(50):
        W, b = mpmath.matrix(model.weights.tolist()), mpmath.matrix(model.bias.tolist())
        psi = numpy.broadcast_to(model.noise_variance, model.bias.shape).tolist()
        covariance = W * W.T + mpmath.diag(psi)
        inverse, log_det = covariance**-1, mpmath.log(mpmath.det(covariance))
        deviations = [mpmath.matrix(row.tolist()) - b for row in x]
        constant = len(psi) * mpmath.log(2 * mpmath.pi) + log_det
        return [float(-((d.T * inverse * d)[0] + constant) / 2) for d in deviations]


@given(linear_gaussians(), seeds)
def test_log_marginal_is_the_normal_density_with_covariance_wwt_and_noise(xp, model, seed):
    x = points(model, seed)
    assert_allclose(model.log_marginal(x), brute_force(host(model), host(x)), rtol=1e-12, atol=1e-12)


def textbook(model, x):
    """By Woodbury's identity: ‖Ψ^-½ (x − b)‖² − ‖u‖², a small number as the difference of two large ones."""
    V, r = model.weights / np.sqrt(model.noise_variance)[:, None], (x - model.bias) / np.sqrt(model.noise_variance)
    factor = np.linalg.cholesky(backend.namespace(V).eye(V.shape[1]) + V.T @ V)
    u = np.linalg.solve_triangular(factor, V.T @ r.T, lower=True)
    log_det = 2.0 * np.log(np.diagonal(factor)).sum() + np.log(model.noise_variance).sum()
    return -0.5 * (np.square(r).sum(axis=1) - np.square(u).sum(axis=0) + log_det + len(V) * np.log(2.0 * np.pi))


def test_small_noise_costs_no_digits_where_the_textbook_form_loses_half_of_them(xp):
    model = LinearGaussian.random(3, 10, noise=1e-4, rng=0)
    x, _ = model.sample(5, rng=1)
    expected = brute_force(host(model), host(x))
    assert_allclose(model.log_marginal(x), expected, rtol=1e-12)
    assert_allclose(textbook(model, x), expected, rtol=1e-6)
    assert not numpy.allclose(host(textbook(model, x)), expected, rtol=1e-10)


@given(linear_gaussians(), seeds)
def test_the_posterior_is_bayes_rule(xp, model, seed):
    """log p(z | x) + log p(x) = log p(x, z), at any z."""
    x = points(model, seed)
    z = backend.default_rng(seed).standard_normal((3, len(x), model.weights.shape[1]))
    found = model.posterior(x).log_prob(z) + model.log_marginal(x)
    assert_allclose(found, model.log_joint(x, z), rtol=1e-10, atol=1e-9)


@given(linear_gaussians(), seeds)
def test_log_joint_is_standard_normal_and_normal(xp, model, seed):
    x = points(model, seed)
    z = backend.default_rng(seed).standard_normal((3, len(x), model.weights.shape[1]))
    W, b, psi = vars(host(model)).values()
    expected = scipy.stats.norm.logpdf(host(z)).sum(axis=-1)
    expected += scipy.stats.norm.logpdf(host(x), host(z) @ W.T + b, numpy.sqrt(psi)).sum(axis=-1)
    assert_allclose(model.log_joint(x, z), expected, rtol=1e-11, atol=1e-11)


@given(linear_gaussians(), seeds)
def test_weights_are_constant_at_the_posterior(xp, model, seed):
    x = points(model, seed)
    log_w = log_weights(model, model.posterior(x), x, 3, rng=seed)
    assert_allclose(log_w, np.tile(model.log_marginal(x), (3, 1)), rtol=1e-9, atol=1e-9)


@given(st.integers(2, 3), st.floats(0.3, 2.0), seeds)
def test_the_gaps_of_a_factorised_guide_are_those_of_the_notes(xp, n_latents, rho, seed):
    """Chapter 9: KL(q ‖ p) splits into what correlation costs and what an encoder that is off by (δ, ρ) costs."""
    model = LinearGaussian.random(n_latents, 4, rng=seed)
    x = points(model, seed, n=1)
    posterior = model.posterior(x)
    precision = posterior.precision_matrix[0]
    delta = backend.default_rng(seed).standard_normal(n_latents)
    best = 1.0 / np.diagonal(precision)
    approximation = 0.5 * (np.log(np.diagonal(precision)).sum() - np.linalg.slogdet(precision)[1])
    amortisation = 0.5 * (delta @ precision @ delta + n_latents * (rho - 1.0 - np.log(rho)))
    eye = xp.eye(n_latents)

    def gap(mean, variances):
        return kl_divergence(MultivariateNormal(mean, scale_tril=np.sqrt(variances) * eye), posterior)[0]

    assert_allclose(gap(posterior.mean, best), approximation, rtol=1e-9, atol=1e-9)
    assert_allclose(gap(posterior.mean + delta, rho * best), approximation + amortisation, rtol=1e-9, atol=1e-9)


def test_derivatives_of_the_log_marginal(xp):
    model = LinearGaussian.random(2, 3, rng=0)
    x = points(model, 1)
    check_grads(lambda m: m.log_marginal(x), [model])


def test_the_elbo_climbs_in_the_models_parameters_at_the_posterior_as_log_p_does(xp):
    """Fisher's identity: ∇ log p(x) = E_p(z|x)[∇ log p(x, z)]."""
    model = dataclasses.replace(LinearGaussian.random(1, 2, rng=0), noise_variance=xp.asarray(0.3))
    x = points(model, 1, n=2)
    q = model.posterior(x)
    exact = grad(lambda m: m.log_marginal(x).sum())(model)
    nodes, weights = map(xp.asarray, numpy.polynomial.hermite_e.hermegauss(10))
    z = q.mean + nodes[:, None, None] * q.scale_tril[..., 0]  # the integrand is quadratic in z: exact from two nodes on
    mean = weights / weights.sum()
    found = grad(lambda m: (mean @ m.log_joint(x, z)).sum())(model)
    for a, b in zip(vars(found).values(), vars(exact).values(), strict=True):
        assert_allclose(a, b, rtol=1e-9)


# Fitting --------------------------------------------------------------------------------------------------------------


def data(seed, n=60, n_features=5):
    rng = backend.default_rng(seed)
    scales = 0.3 + rng.random(n_features)
    return (
        rng.standard_normal((n, 2)) @ rng.standard_normal((2, n_features))
        + rng.standard_normal((n, n_features)) * scales
        + 5.0
    )


def slope(model, x):
    """The largest element of the gradient of the mean log p(x), ψ by its logarithm."""

    def objective(weights, bias, log_psi):
        return LinearGaussian(weights, bias, np.exp(log_psi)).log_marginal(x).mean()

    parts = grad(objective, (0, 1, 2))(model.weights, model.bias, np.log(model.noise_variance))
    return max(float(abs(part).max()) for part in parts)


@given(seeds, st.integers(1, 4))
def test_principal_components_are_stationary_and_beat_their_neighbours(xp, seed, n_latents):
    x = data(seed)
    model = LinearGaussian.principal_components(x, n_latents)
    assert slope(model, x) < 1e-9
    rng = backend.default_rng(seed)
    for _ in range(3):
        other = dataclasses.replace(model, weights=model.weights + 0.3 * rng.standard_normal(model.weights.shape))
        assert other.log_marginal(x).mean() < model.log_marginal(x).mean()


@given(seeds, st.booleans())
def test_em_never_falls(xp, seed, shared):
    x = data(seed)
    model = LinearGaussian.random(2, 5, rng=seed)
    if shared:
        model = dataclasses.replace(model, noise_variance=model.noise_variance[0])
    climbed = [model]
    for _ in range(8):
        climbed.append(climbed[-1].em_step(x))
    bounds = [float(m.log_marginal(x).sum()) for m in climbed]
    assert all(low <= high + 1e-9 * (1 + abs(high)) for low, high in itertools.pairwise(bounds))
    assert climbed[-1].noise_variance.shape == model.noise_variance.shape
    assert_allclose(climbed[1].bias, x.mean(axis=0), rtol=1e-12)  # where it is best for any W and ψ


def test_em_ends_where_the_gradient_is_zero(xp):
    x = data(0)
    fitted = LinearGaussian.factor_analysis(x, 2, tol=1e-8)
    assert slope(start_of(x), x) > 0.1
    assert slope(fitted, x) < 1e-3
    assert fitted.log_marginal(x).mean() > LinearGaussian.principal_components(x, 2).log_marginal(x).mean()


def start_of(x):
    return LinearGaussian.factor_analysis(x, 2, max_iter=0)


def forgets_the_noise(self, x):
    return dataclasses.replace(EM_STEP(self, x), noise_variance=self.noise_variance)


def forgets_the_covariance(self, x):
    """Takes the posterior for its mean: the noise that is left is too small."""
    m, centred = self.posterior(x).mean, x - x.mean(axis=0)
    weights = numpy.linalg.solve(m.T @ m, m.T @ centred).T
    return LinearGaussian(weights, x.mean(axis=0), numpy.square(centred - m @ weights.T).mean(axis=0))


EM_STEP = LinearGaussian.em_step


def test_an_m_step_that_forgets_the_noise_is_monotone_and_caught_by_stationarity(monkeypatch):
    monkeypatch.setattr(LinearGaussian, "em_step", forgets_the_noise)
    x = data(0)
    fitted = LinearGaussian.factor_analysis(x, 2)
    assert fitted.em_step(x).log_marginal(x).sum() >= fitted.log_marginal(x).sum() - 1e-9
    assert slope(fitted, x) > 0.1


def test_an_m_step_that_forgets_the_posteriors_covariance_is_caught_by_monotonicity():
    x = data(0)
    models = [start_of(x)]
    for _ in range(3):
        models.append(forgets_the_covariance(models[-1], x))
    assert min(numpy.diff([m.log_marginal(x).sum() for m in models])) < -1.0


def test_a_fit_stops_when_it_gains_little_and_when_told(xp):
    x = data(0)
    loose, once = LinearGaussian.factor_analysis(x, 2, tol=1e-3), start_of(x).em_step(x)
    assert_array_equal(LinearGaussian.factor_analysis(x, 2, max_iter=1).weights, once.weights)
    gain = loose.em_step(x).log_marginal(x).mean() - loose.log_marginal(x).mean()
    assert 0 < gain < 1e-3


def test_single_precision_stays_single(xp):
    x = data(0).astype("float32")
    model = LinearGaussian.factor_analysis(x, 2, max_iter=3)
    assert all(leaf.dtype == numpy.float32 for leaf in vars(model).values())
    assert model.log_marginal(x).dtype == numpy.float32
    assert model.posterior(x).sample(rng=0).dtype == numpy.float32


def test_the_model_lives_where_its_weights_do(xp):
    model = LinearGaussian.random(2, 3, rng=0)
    with backend.using("numpy"):  # compute follows the data, whichever backend new arrays go to
        x, z = model.sample(4, rng=0)
        assert all(isinstance(a, xp.ndarray) for a in (x, z, model.log_marginal(x), model.em_step(x).weights))


def test_refusals():
    x = data(0)
    for n_latents in (0, 5):
        with pytest.raises(ValueError, match=f"n_latents is {n_latents}; expected 1 to 4"):
            LinearGaussian.principal_components(host(x), n_latents)
    flat = numpy.random.default_rng(0).standard_normal((30, 1)) * numpy.ones(3)
    with pytest.raises(ValueError, match="no variance beyond 1 dimensions"):
        LinearGaussian.principal_components(flat, 1)
    with pytest.raises(ValueError, match=r"expected \(N, 5\) to match the model"):
        LinearGaussian.random(2, 5, rng=0).log_marginal(numpy.zeros((3, 4)))
    with pytest.raises(ValueError, match="x\\[0, 0\\] is nan"):
        LinearGaussian.random(1, 1, rng=0).em_step(numpy.array([[numpy.nan]]))
