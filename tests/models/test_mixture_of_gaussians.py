import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from minilvm.autograd import check_grads, grad
from minilvm.estimators import exact_log_marginal
from minilvm.inference import e_step, free_energy
from minilvm.models import MixtureOfGaussians
from minilvm.testing import gaussian_mixtures

seeds = st.integers(0, 2**32)


def points(model, seed, n=5):
    return 4.0 * numpy.random.default_rng(seed).standard_normal((n, model.means.shape[1]))


@given(gaussian_mixtures(), seeds)
def test_log_marginal_is_the_mixture_density(model, seed):
    x = points(model, seed)
    parameters = zip(model.weights, model.means, model.covariances, strict=True)
    densities = [numpy.log(w) + scipy.stats.multivariate_normal(m, S).logpdf(x) for w, m, S in parameters]
    expected = numpy.logaddexp.reduce(numpy.array(densities).reshape(len(model.weights), -1))
    numpy.testing.assert_allclose(model.log_marginal(x), expected, rtol=1e-9, atol=1e-9)
    numpy.testing.assert_allclose(exact_log_marginal(model, x), expected, rtol=1e-9, atol=1e-9)


@given(gaussian_mixtures(), seeds)
def test_log_joint_is_prior_and_likelihood(model, seed):
    x = points(model, seed)
    z = numpy.random.default_rng(seed).integers(0, len(model.weights), (3, len(x)))
    expected = model.prior.log_prob(z) + model.likelihood(z).log_prob(x)
    numpy.testing.assert_allclose(model.log_joint(x, z), expected, rtol=1e-9, atol=1e-9)


@given(gaussian_mixtures(), seeds)
def test_the_posterior_is_bayes_rule(model, seed):
    x = points(model, seed)
    z = model.posterior(x).enumerate_support()
    found = model.posterior(x).log_prob(z) + model.log_marginal(x)
    numpy.testing.assert_allclose(found, model.log_joint(x, z), rtol=1e-9, atol=1e-9)


@given(gaussian_mixtures(), seeds)
def test_fishers_identity(model, seed):
    """∇_θ log p(x) = ∇_θ F(q, θ) at the exact posterior held fixed: what makes the M-step's direction right."""
    x = points(model, seed)
    responsibilities, _ = e_step(model, x)
    of_log_p = grad(lambda means: MixtureOfGaussians(model.weights, means, model.covariances).log_marginal(x).sum())
    of_bound = grad(
        lambda means: free_energy(
            MixtureOfGaussians(model.weights, means, model.covariances), x, responsibilities
        ).sum()
    )
    numpy.testing.assert_allclose(of_bound(model.means), of_log_p(model.means), rtol=1e-8, atol=1e-8)


def test_derivatives_of_the_log_marginal():
    model = MixtureOfGaussians(
        numpy.array([0.3, 0.7]), numpy.array([[0.0, 1.0], [2.0, -1.0]]), numpy.array([[[1.0, 0.2], [0.2, 2.0]]] * 2)
    )
    x = points(model, 0)

    def log_p(means, scale):
        return MixtureOfGaussians(model.weights, means, model.covariances * scale).log_marginal(x)

    check_grads(log_p, [model.means, numpy.array(1.3)])


def test_initial_means_are_points_of_the_data_and_spread():
    rng = numpy.random.default_rng(0)
    centres = numpy.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    x = centres[rng.integers(0, 3, 90)] + rng.standard_normal((90, 2))
    means = MixtureOfGaussians.initialise(x, 3, rng=0).means
    assert all((x == mean).all(axis=1).any() for mean in means)
    nearest = numpy.square(means[:, None] - centres).sum(axis=2).argmin(axis=1)
    assert sorted(nearest) == [0, 1, 2]


def test_data_of_other_width_are_refused():
    model = MixtureOfGaussians(numpy.ones(1), numpy.zeros((1, 2)), numpy.eye(2)[None])
    with pytest.raises(ValueError, match=r"expected \(N, 2\) to match the model"):
        model.log_marginal(numpy.zeros((3, 4)))
