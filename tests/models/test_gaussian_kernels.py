"""Both forms of kernel, of every type, against the equation; and each digit that features lose is counted."""

import pickle

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilvm import backend
from minilvm.inference import em_pass
from minilvm.models import ConjugatePrior, MixtureOfGaussians, gaussian_kernels
from minilvm.models.feature_kernels import Features
from minilvm.models.kernels import GaussianKernel
from minilvm.models.whitened_kernels import Whitened
from minilvm.testing import gaussian_mixtures
from tests.models.gaussians import TYPES, matrices_of, of_type, scatters
from tests.testing.helpers import assert_allclose, host, moved

seeds = st.integers(0, 2**32)


@pytest.fixture(params=["features", "whitened"])
def form(request, monkeypatch):
    """Let every kernel be of one form."""
    features = request.param == "features"
    monkeypatch.setattr(gaussian_kernels, "MOST_AMPLIFICATION", numpy.inf if features else 0.0)
    return Features if features else Whitened


@given(gaussian_mixtures(), seeds)
def test_the_table_is_the_log_joint(xp, form, model, seed):
    x = 4.0 * backend.default_rng(seed).standard_normal((7, model.means.shape[1]))
    kernel = model.kernel()
    assert isinstance(kernel, form)
    assert_allclose(kernel.log_joint(x), host(model.component_log_joint(x)).T, rtol=1e-8, atol=1e-8)
    if kernel.ceiling is not None:
        table, _ = kernel(model.means)
        assert float(table.max()) == pytest.approx(0.0, abs=1e-8)  # of the densest component, at its mean


@given(gaussian_mixtures(), seeds)
def test_the_sums_are_the_moments(xp, form, model, seed):
    rng, (C, D) = numpy.random.default_rng(seed), model.means.shape
    x, r = 4.0 * rng.standard_normal((9, D)), rng.dirichlet(numpy.ones(C), 9)
    kernel = model.kernel()
    if xp is numpy:
        kernel = pickle.loads(pickle.dumps(kernel))  # noqa: S301 (as a worker has it)
    parts = [kernel(xp.asarray(x[rows]))[1](xp.asarray(r[rows].T.copy())) for rows in (slice(0, 4), slice(4, 9))]
    found = kernel.statistics(parts[0] + parts[1])
    centres = host(found.centres)
    assert_allclose(found.counts, r.sum(axis=0), rtol=1e-12)
    assert_allclose(found.first, numpy.einsum("nc,ncd->cd", r, x[:, None] - centres), rtol=1e-8, atol=1e-8)
    assert_allclose(found.second, of_type(scatters(x, r, centres), model.covariance_type), rtol=1e-8, atol=1e-8)


def two_clusters(sd, covariance_type, D=2, n=400):
    """Two clusters of deviation `sd` whose centres are at ±1, whose points are whose, and the mixture that they are."""
    first = numpy.arange(n) % 2 == 0
    x = numpy.random.default_rng(0).standard_normal((n, D)) * sd + numpy.where(first, 1.0, -1.0)[:, None]
    labels = numpy.stack([first, ~first], axis=1).astype(float)
    return x, labels, MixtureOfGaussians.from_responsibilities(x, labels, covariance_type=covariance_type)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_features_serve_wide_components_and_whitening_narrow_ones(covariance_type):
    chosen = [two_clusters(sd, covariance_type)[-1].kernel() for sd in (1e-1, 1e-2, 1e-3, 1e-7)]
    assert [isinstance(kernel, Features) for kernel in chosen] == [True, True, False, False]


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("sd", [1e-1, 1e-2])
def test_features_keep_ten_digits_where_they_serve(covariance_type, sd, monkeypatch):
    x, labels, model = two_clusters(sd, covariance_type)
    features = model.kernel()
    monkeypatch.setattr(gaussian_kernels, "MOST_AMPLIFICATION", 0.0)
    whitened = model.kernel()
    assert isinstance(features, Features)
    assert isinstance(whitened, Whitened)
    (_, sums), (_, careful_sums) = features(x), whitened(x)
    mine = labels.T == 1.0
    numpy.testing.assert_allclose(features.log_joint(x)[mine], whitened.log_joint(x)[mine], rtol=1e-10, atol=1e-10)
    found, expected = features.statistics(sums(labels.T)), whitened.statistics(careful_sums(labels.T))
    numpy.testing.assert_allclose(found.scatter, expected.scatter, rtol=1e-10, atol=1e-10 * abs(expected.scatter).max())
    assert features.again(found) is None


@pytest.mark.parametrize("covariance_type", TYPES)
def test_digits_that_a_component_loses_by_shrinking_in_one_step_are_made_good(xp, form, covariance_type, monkeypatch):
    """It starts a million times wider than its cluster and far off; about the old mean there is no variance left."""
    x, _, truth = two_clusters(1e-8, covariance_type)
    wide = {"full": [[[0.3, 0.0], [0.0, 0.3]]] * 2, "tied": [[0.3, 0.0], [0.0, 0.3]]}
    wide |= {"diag": [[0.3, 0.3]] * 2, "spherical": [0.3] * 2}
    covariances = numpy.asarray(wide[covariance_type])
    start = moved(MixtureOfGaussians(truth.weights, 50.0 * truth.means, covariances, covariance_type))
    assert isinstance(start.kernel(), form)
    _, statistics = em_pass(start, xp.asarray(x))
    assert_allclose(start.m_step(statistics).covariances, truth.covariances, rtol=1e-7, atol=1e-7 * 1e-16)
    monkeypatch.setattr(GaussianKernel, "again", lambda *_: None)  # nobody looks
    _, statistics = em_pass(start, xp.asarray(x))
    with pytest.raises(ValueError, match="has collapsed"):
        start.m_step(statistics)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_single_precision_data_keep_their_variances(xp, form, covariance_type):
    """Mean 1000, deviation 0.01: a variance of 1e-4 beside a mean square of 1e6, which single precision cannot hold."""
    x = xp.asarray((1000.0 + 0.01 * numpy.random.default_rng(0).standard_normal((5000, 2))).astype("float32"))
    start = MixtureOfGaussians.initialise(x, 1, rng=0, covariance_type=covariance_type)
    _, statistics = em_pass(start, x)
    assert statistics.second.dtype == numpy.float64
    variances = host(x).astype(float).var(axis=0)
    expected = numpy.full(2, variances.mean()) if covariance_type == "spherical" else variances
    found = numpy.diagonal(matrices_of(start.m_step(statistics)), axis1=1, axis2=2)[0]
    numpy.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_so_are_those_of_a_direction_that_is_no_axis(xp, form, covariance_type):
    """Every variance stays wide; what the first feature leaves unexplained of the second is far narrower."""
    rng = numpy.random.default_rng(0)
    u = rng.standard_normal(2000)
    x = numpy.stack([u, u + 1e-5 * rng.standard_normal(2000)], axis=1)
    wide = 900.0 * (numpy.eye(2) if covariance_type == "tied" else numpy.eye(2)[None])
    start = moved(MixtureOfGaussians(numpy.ones(1), numpy.array([[30.0, 0.0]]), wide, covariance_type))
    _, statistics = em_pass(start, xp.asarray(x))
    rotated = x @ numpy.array([[1.0, -1.0], [0.0, 1.0]])  # of the same determinant, and the narrow direction an axis
    expected = numpy.linalg.det(numpy.cov(rotated.T, bias=True))
    found = numpy.linalg.det(matrices_of(start.m_step(statistics))[0])
    numpy.testing.assert_allclose(found, expected, rtol=1e-4)  # 1e-16 / 1e-10 of it is rounding


def test_a_direction_that_the_m_step_will_widen_need_not_be_made_good(form):
    """With `reg_covar`, or a prior, digits lost beside it are not missed, and no pass is made twice for them."""
    u = numpy.random.default_rng(0).standard_normal(500)
    x = numpy.stack([u, u], axis=1)
    prior = ConjugatePrior(numpy.zeros(2), 1.0, 4.0, numpy.eye(2))
    for arguments in ({"reg_covar": 0.01}, {"parameter_prior": prior}):
        model = MixtureOfGaussians(numpy.ones(1), numpy.zeros((1, 2)), numpy.eye(2)[None], **arguments)
        _, statistics = em_pass(model, x)
        assert model.kernel().again(statistics) is None
    model = MixtureOfGaussians(numpy.ones(1), numpy.zeros((1, 2)), numpy.eye(2)[None])
    assert model.kernel().again(statistics) is not None
