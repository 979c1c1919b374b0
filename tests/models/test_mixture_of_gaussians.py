import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from minilvm import backend, tree
from minilvm.autograd import check_grads, grad
from minilvm.estimators import exact_log_marginal
from minilvm.inference import e_step, free_energy
from minilvm.models import MixtureOfGaussians
from minilvm.models.mixture_of_gaussians import GaussianStatistics
from minilvm.testing import gaussian_mixtures
from tests.models.gaussians import matrices_of, scatters
from tests.testing.helpers import assert_allclose, assert_array_equal, host

seeds = st.integers(0, 2**32)


def points(model, seed, n=5):
    return 4.0 * backend.default_rng(seed).standard_normal((n, model.means.shape[1]))


@given(gaussian_mixtures(), seeds)
def test_log_marginal_is_the_mixture_density(xp, model, seed):
    x = points(model, seed)
    parameters = zip(host(model.weights), host(model.means), matrices_of(model), strict=True)
    densities = [numpy.log(w) + scipy.stats.multivariate_normal(m, S).logpdf(host(x)) for w, m, S in parameters]
    expected = numpy.logaddexp.reduce(numpy.array(densities).reshape(len(model.weights), -1))
    assert_allclose(model.log_marginal(x), expected, rtol=1e-9, atol=1e-9)
    assert_allclose(exact_log_marginal(model, x), expected, rtol=1e-9, atol=1e-9)


@given(gaussian_mixtures(), seeds)
def test_log_joint_is_prior_and_likelihood(xp, model, seed):
    x = points(model, seed)
    z = backend.default_rng(seed).integers(0, len(model.weights), (3, len(x)))
    expected = model.prior.log_prob(z) + model.likelihood(z).log_prob(x)
    assert_allclose(model.log_joint(x, z), expected, rtol=1e-9, atol=1e-9)


def test_the_log_joint_is_computed_where_the_data_are(xp):
    model = MixtureOfGaussians(xp.ones(2) / 2, xp.zeros((2, 1)), xp.ones((2, 1, 1)))
    for there, active in [(model, "numpy"), (host(model), xp.__name__)]:
        with backend.using(active):  # compute follows the data, whichever backend new arrays go to
            x, z = there.sample(3, rng=0)
            assert backend.namespace(there.log_joint(x, z[None])) is backend.namespace(there.means)


@given(gaussian_mixtures(), seeds)
def test_the_posterior_is_bayes_rule(xp, model, seed):
    x = points(model, seed)
    z = model.posterior(x).enumerate_support()
    found = model.posterior(x).log_prob(z) + model.log_marginal(x)
    assert_allclose(found, model.log_joint(x, z), rtol=1e-9, atol=1e-9)


@given(gaussian_mixtures(), seeds)
def test_fishers_identity(xp, model, seed):
    """∇_θ log p(x) = ∇_θ F(q, θ) at the exact posterior held fixed: what makes the M-step's direction right."""
    x = points(model, seed)
    responsibilities, _ = e_step(model, x)
    of_log_p = grad(lambda model: model.log_marginal(x).sum())(model)
    of_bound = grad(lambda model: free_energy(model, x, responsibilities).sum())(model)
    for found, expected in zip(tree.leaves(of_bound), tree.leaves(of_log_p), strict=True):
        assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


def test_derivatives_of_the_log_marginal(xp):
    model = MixtureOfGaussians(
        xp.asarray([0.3, 0.7]), xp.asarray([[0.0, 1.0], [2.0, -1.0]]), xp.asarray([[[1.0, 0.2], [0.2, 2.0]]] * 2)
    )
    x = points(model, 0)

    def log_p(means, scale):
        return MixtureOfGaussians(model.weights, means, model.covariances * scale).log_marginal(x)

    check_grads(log_p, [model.means, xp.asarray(1.3)])


def test_weights_are_normalised_as_the_prior_normalises_them(xp):
    model = MixtureOfGaussians(xp.asarray([1.0, 3.0]), xp.zeros((2, 1)), xp.ones((2, 1, 1)))
    assert_allclose(model.log_marginal(xp.zeros((1, 1))), scipy.stats.norm.logpdf(0.0))


def test_initial_means_are_points_of_the_data_and_spread(xp):
    rng = numpy.random.default_rng(0)
    centres = numpy.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    x = centres[rng.integers(0, 3, 90)] + rng.standard_normal((90, 2))
    means = host(MixtureOfGaussians.initialise(xp.asarray(x), 3, rng=0).means)
    assert all((x == mean).all(axis=1).any() for mean in means)
    nearest = numpy.square(means[:, None] - centres).sum(axis=2).argmin(axis=1)
    assert sorted(nearest) == [0, 1, 2]


@pytest.mark.parametrize("z", [-1, 2])
def test_a_component_that_does_not_exist_is_refused(xp, z):
    model = MixtureOfGaussians(xp.ones(2) / 2, xp.zeros((2, 1)), xp.ones((2, 1, 1)))
    with pytest.raises(ValueError, match="outside 0 … 1"):
        model.log_joint(xp.zeros((3, 1)), xp.full((1, 3), z))


def test_data_of_other_width_are_refused():
    model = MixtureOfGaussians(numpy.ones(1), numpy.zeros((1, 2)), numpy.eye(2)[None])
    with pytest.raises(ValueError, match=r"expected \(N, 2\) to match the model"):
        model.log_marginal(numpy.zeros((3, 4)))


@given(gaussian_mixtures(), seeds)
def test_one_m_step_is_the_weighted_mean_and_covariance(xp, model, seed):
    """Of one step: at the end of EM even a covariance about the old mean is right, since by then the mean rests."""
    x = points(model, seed, n=20)
    responsibilities = numpy.random.default_rng(seed).dirichlet(numpy.ones(len(model.weights)), len(x))
    fitted = model.m_step(model.statistics(x, xp.asarray(responsibilities)))
    x, counts = host(x), responsibilities.sum(axis=0)
    assert_allclose(fitted.weights, responsibilities.mean(axis=0), rtol=1e-12)
    means = responsibilities.T @ x / counts[:, None]
    assert_allclose(fitted.means, means, rtol=1e-9, atol=1e-9)
    matrices = scatters(x, responsibilities, means) / counts[:, None, None]
    assert_allclose(fitted.covariances, averaged(matrices, model.covariance_type, counts), rtol=1e-8, atol=1e-9)


def averaged(matrices, covariance_type, counts):
    """Covariance matrices, made into what the type has instead."""
    variances = numpy.diagonal(matrices, axis1=1, axis2=2)
    return {
        "full": matrices,
        "tied": numpy.einsum("c,cij->ij", counts, matrices) / counts.sum(),
        "diag": variances,
        "spherical": variances.mean(axis=1),
    }[covariance_type]


@pytest.mark.parametrize("seed", range(20))
def test_initial_means_lie_in_different_clusters_and_care_for_no_unit(xp, seed):
    centres = numpy.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    rng = numpy.random.default_rng(seed)
    x = centres[rng.permutation(numpy.arange(80) % 4)] + 1e-7 * rng.standard_normal((80, 2))
    means = MixtureOfGaussians.initialise(xp.asarray(x), 4, rng=seed).means
    assert len(set(map(tuple, means.round().tolist()))) == 4
    units = numpy.array([2.0**20, 2.0**-20])
    again = MixtureOfGaussians.initialise(xp.asarray(x * units), 4, rng=seed).means
    assert_array_equal(again, host(means) * units)


@pytest.mark.parametrize("ulps", [-8, 0, 8])
def test_a_variance_that_is_the_rounding_of_zero_has_collapsed_whatever_its_sign(xp, ulps):
    """In one dimension any variance above 0 is definite; one below has no root, and no warning is due to that."""
    start = MixtureOfGaussians(xp.ones(1), xp.zeros((1, 1)), xp.ones((1, 1, 1)))
    second = xp.asarray([[[3.0 * (1.0 + ulps * numpy.finfo(float).eps)]]])  # of three points at 1: E[x²] − μ² = 0
    with pytest.raises(ValueError, match="component 0 has collapsed"):
        start.m_step(GaussianStatistics(xp.asarray([3.0]), xp.asarray([[3.0]]), second, xp.zeros((1, 1))))


@pytest.mark.parametrize("kind", ["diag", "spherical"])
def test_variances_need_no_features_that_are_independent(kind):
    x = numpy.random.default_rng(0).standard_normal((20, 2))
    start = MixtureOfGaussians.initialise(numpy.c_[x, x[:, 0]], 2, rng=0, covariance_type=kind)
    assert start.is_valid()
    with pytest.raises(ValueError, match="linearly dependent"):
        MixtureOfGaussians.initialise(numpy.c_[x, x[:, 0]], 2, rng=0)


def test_one_variance_for_all_features_may_have_a_constant_among_them():
    x = numpy.c_[numpy.random.default_rng(0).standard_normal((20, 2)), numpy.ones(20)]
    assert MixtureOfGaussians.initialise(x, 3, rng=0, covariance_type="spherical").is_valid()
    for kind in ("diag", "full", "tied"):
        with pytest.raises(ValueError, match=r"x\[:, 2\] is constant"):
            MixtureOfGaussians.initialise(x, 3, rng=0, covariance_type=kind)
    with pytest.raises(ValueError, match="covariance_type is 'ful'; expected one of"):
        MixtureOfGaussians.initialise(x, 3, rng=0, covariance_type="ful")
