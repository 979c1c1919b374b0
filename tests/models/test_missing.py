"""Missing numbers: against SciPy's density of what is there, quadrature over what is not, and what EM does."""

from __future__ import annotations

import dataclasses

import numpy
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from minilvm.autograd import grad
from minilvm.backend import to_numpy
from minilvm.inference import e_step, em_pass, fit_em
from minilvm.models import MixtureOfGaussians
from minilvm.models.kernels import Kernel
from minilvm.models.missing import MarginalizedMixtureOfGaussians

TYPES = ("full", "tied", "diag", "spherical")
each_type = pytest.mark.parametrize("kind", TYPES)


def a_mixture(seed, kind, C=3, D=3):
    rng = numpy.random.default_rng(seed)
    root = rng.standard_normal((C, D, D))
    matrices = root @ numpy.swapaxes(root, 1, 2) + 0.3 * numpy.eye(D)
    covariances = {
        "full": matrices, "tied": matrices[0], "diag": rng.uniform(0.5, 2, (C, D)), "spherical": rng.uniform(0.5, 2, C),
    }[kind]  # fmt: skip
    return MarginalizedMixtureOfGaussians(
        rng.dirichlet(numpy.ones(C)), 2 * rng.standard_normal((C, D)), covariances, kind
    )


def with_holes(seed, N=60, D=3, share=0.3):
    rng = numpy.random.default_rng(seed)
    x = rng.standard_normal((N, D)) + 3.0 * rng.integers(0, 2, (N, 1))
    return numpy.where(rng.random((N, D)) < share, numpy.nan, x)


def matrix(model, c):
    D, S = model.means.shape[1], model.covariances
    return {
        "full": lambda: S[c],
        "tied": lambda: S,
        "diag": lambda: numpy.diag(S[c]),
        "spherical": lambda: S[c] * numpy.eye(D),
    }[model.covariance_type]()


@given(st.integers(0, 1000), st.sampled_from(TYPES))
def test_the_density_is_that_of_what_is_there(seed, kind):
    model, x = a_mixture(seed, kind), with_holes(seed, N=12)
    x[0] = numpy.nan
    for n, row in enumerate(model.component_log_joint(x)):
        o = ~numpy.isnan(x[n])
        for c in range(3):
            law = (
                scipy.stats.multivariate_normal(model.means[c, o], matrix(model, c)[numpy.ix_(o, o)])
                if o.any()
                else None
            )
            expected = numpy.log(model.weights[c]) + (law.logpdf(x[n, o]) if law else 0.0)
            assert_allclose(row[c], expected, rtol=1e-10, atol=1e-10)


@given(st.integers(0, 1000), st.sampled_from(TYPES))
def test_with_nothing_missing_it_is_the_mixture(seed, kind):
    model, x = a_mixture(seed, kind), with_holes(seed, share=0.0)
    whole = MixtureOfGaussians(*(getattr(model, f.name) for f in dataclasses.fields(model)))
    (ours, our_sums), (theirs, their_sums) = em_pass(model, x), em_pass(whole, x)
    assert_allclose(ours, theirs, rtol=1e-12)
    for name in ("counts", "first", "second"):
        theirs = getattr(their_sums.around(our_sums.centres), name)
        assert_allclose(getattr(our_sums, name), theirs, rtol=1e-8, atol=1e-8)


@each_type
def test_a_component_that_shrinks_in_one_step_keeps_its_digits(kind):
    """It starts ten million times wider than its cluster and far off; about the old mean there is no variance left."""
    x = 1e-6 * numpy.random.default_rng(0).standard_normal((200, 2))
    wide = {
        "full": 100.0 * numpy.eye(2)[None],
        "tied": 100.0 * numpy.eye(2),
        "diag": [[100.0] * 2],
        "spherical": [100.0],
    }
    start = MarginalizedMixtureOfGaussians(numpy.ones(1), numpy.array([[10.0, 0.0]]), numpy.asarray(wide[kind]), kind)
    _, statistics = em_pass(start, x)
    found = numpy.diagonal(matrix(start.m_step(statistics), 0))
    assert_allclose(found, numpy.full(2, x.var(axis=0).mean()) if kind == "spherical" else x.var(axis=0), rtol=1e-8)


@each_type
def test_expected_moments_are_integrals_over_what_is_missing(kind):
    """One number missing, on a grid so fine and wide that the trapezium rule is exact to rounding."""
    model = a_mixture(3, kind)
    x = numpy.array([[0.5, numpy.nan, -1.0]])
    _, statistics = em_pass(model, x)
    statistics = statistics.around(model.means)
    grid = numpy.linspace(-40.0, 40.0, 20_001)
    filled = numpy.stack([numpy.full_like(grid, 0.5), grid, numpy.full_like(grid, -1.0)], axis=1)
    laws = [scipy.stats.multivariate_normal(model.means[c], matrix(model, c)) for c in range(3)]
    joint = numpy.stack([weight * law.pdf(filled) for weight, law in zip(model.weights, laws, strict=True)])
    q = joint / joint.sum()
    d = filled[None] - model.means[:, None]
    assert_allclose(statistics.counts, q.sum(axis=1), rtol=1e-10)
    assert_allclose(statistics.first, numpy.einsum("cn,cni->ci", q, d), rtol=1e-9, atol=1e-12)
    second = numpy.einsum("cn,cni,cnj->cij", q, d, d)
    squares = numpy.diagonal(second, axis1=1, axis2=2)
    expected = {"full": second, "tied": second.sum(axis=0), "diag": squares, "spherical": squares.sum(axis=1)}[kind]
    assert_allclose(statistics.second, expected, rtol=1e-9, atol=1e-12)


@given(st.integers(0, 1000), st.sampled_from(TYPES))
def test_em_never_falls(seed, kind):
    bounds = fit_em(a_mixture(seed, kind, C=2, D=2), with_holes(seed, N=20, D=2), max_iter=6).lower_bounds
    assert min(numpy.diff(bounds)) > -1e-9


def test_a_twin_that_fills_in_the_mean_is_caught():
    """Without the covariance of what is missing, variances shrink, and it ends far below the maximum."""

    class Careless(Kernel):
        def __init__(self, model):
            self.marginal, self.check = MarginalizedMixtureOfGaussians.kernel(model), model.check_data
            self.conditional = numpy.linalg.inv(numpy.linalg.inv(model.covariances)[:, 1:, 1:])

        def __call__(self, x):
            log_joint, sums = self.marginal(x)
            rows = numpy.isnan(x[:, 1])

            def without(r):
                statistics = sums(r)
                second = statistics.second.copy()
                second[:, 1:, 1:] -= r[:, rows].sum(axis=1)[:, None, None] * self.conditional
                return dataclasses.replace(statistics, second=second)

            return log_joint, without

    class Twin(MarginalizedMixtureOfGaussians):
        def kernel(self):
            return Careless(self)

    x = with_holes(0, N=400, share=0.0)
    x[::2, 1:] = numpy.nan
    model = a_mixture(1, "full", C=1)
    arguments = [getattr(model, f.name) for f in dataclasses.fields(model)]
    maximum = fit_em(model, x, max_iter=200).lower_bounds[-1]
    assert fit_em(Twin(*arguments), x, max_iter=200).lower_bounds[-1] < maximum - 10.0


@each_type
def test_the_gradient_at_the_end_is_nothing(kind):
    """EM ends where log p(x) is stationary, by our own autograd (Fisher's identity at the fixed point)."""
    x = with_holes(5, N=60, D=2)
    end = fit_em(a_mixture(2, kind, C=2, D=2), x, max_iter=2000, tol=1e-13).model

    def log_likelihood(means):
        return dataclasses.replace(end, means=means).log_marginal(x).sum()

    assert_allclose(grad(log_likelihood)(end.means), 0.0, atol=1e-3)


@each_type
def test_no_optimiser_ends_higher_than_em(kind):
    """From where EM ends and from where it started, by BFGS on the log-likelihood by SciPy alone."""
    x = with_holes(3, N=40, D=2)
    x[1], x[2:4, 0], x[4:6, 1] = numpy.nan, numpy.nan, numpy.nan
    start = a_mixture(4, kind, C=2, D=2)
    end = fit_em(start, x, max_iter=5000, tol=1e-13).model

    def model_at(theta):
        weight, means, scales = 1.0 / (1.0 + numpy.exp(-theta[0])), theta[1:5].reshape(2, 2), theta[5:]
        if kind in {"full", "tied"}:
            factors = numpy.zeros((len(scales) // 3, 2, 2))
            factors[:, 0, 0], factors[:, 1, 0], factors[:, 1, 1] = numpy.exp(scales[::3]), scales[1::3], scales[2::3]
            covariances = factors @ factors.swapaxes(1, 2)
            covariances = covariances[0] if kind == "tied" else covariances
        else:
            covariances = numpy.exp(scales).reshape(start.covariances.shape)
        return MarginalizedMixtureOfGaussians(numpy.array([weight, 1 - weight]), means, covariances, kind)

    def theta_of(model):
        if kind in {"full", "tied"}:
            L = numpy.linalg.cholesky(model.covariances).reshape(-1, 2, 2)
            scales = numpy.stack([numpy.log(L[:, 0, 0]), L[:, 1, 0], L[:, 1, 1]], axis=1).ravel()
        else:
            scales = numpy.log(model.covariances).ravel()
        return numpy.concatenate([[numpy.log(model.weights[0] / model.weights[1])], model.means.ravel(), scales])

    def minus_log_likelihood(theta):
        model = model_at(theta)
        total = 0.0
        for row in x:
            o = ~numpy.isnan(row)
            if o.any():
                laws = (
                    scipy.stats.multivariate_normal(model.means[c, o], matrix(model, c)[numpy.ix_(o, o)])
                    for c in range(2)
                )
                total += numpy.log(sum(w * law.pdf(row[o]) for w, law in zip(model.weights, laws, strict=True)))
        return -total

    numpy.testing.assert_allclose(model_at(theta_of(end)).covariances, end.covariances, rtol=1e-6, atol=1e-9)
    em_end = minus_log_likelihood(theta_of(end))
    from_the_end = scipy.optimize.minimize(minus_log_likelihood, theta_of(end), method="BFGS", options={"maxiter": 20})
    assert from_the_end.fun > em_end - 1e-4
    assert em_end < minus_log_likelihood(theta_of(start)) - 1.0


@each_type
def test_statistics_are_what_a_pass_sums(kind):
    model, x = a_mixture(0, kind), with_holes(0, N=9000)
    q, _ = e_step(model, x)
    _, expected = em_pass(model, x)
    found = model.statistics(x, q)
    for name in ("counts", "first", "second"):
        assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-9)


@each_type
def test_a_component_far_from_everything_keeps_a_share_that_has_a_logarithm(kind):
    model = a_mixture(0, kind)
    far = dataclasses.replace(model, means=model.means + numpy.array([[0.0], [0.0], [1e4]]))
    _, statistics = em_pass(far, with_holes(0, share=0.1))
    assert 0.0 < statistics.counts[2] < 1e-100


def test_what_is_infinite_is_refused_and_what_is_empty_says_nothing():
    model = a_mixture(0, "full")
    with pytest.raises(ValueError, match=r"x\[0, 0\] is inf"):
        model.component_log_joint(numpy.array([[numpy.inf, 0.0, numpy.nan]]))
    _, log_p = e_step(model, numpy.full((2, 3), numpy.nan))
    assert_allclose(log_p, 0.0, atol=1e-15)


@each_type
def test_every_backend(xp, kind):
    model, x = a_mixture(0, kind), with_holes(0)
    moved = MarginalizedMixtureOfGaussians(
        xp.asarray(model.weights), xp.asarray(model.means), xp.asarray(model.covariances), kind
    )
    (ours, our_sums), (theirs, their_sums) = em_pass(moved, xp.asarray(x)), em_pass(model, x)
    assert_allclose(ours, theirs, rtol=1e-12)
    assert_allclose(to_numpy(our_sums.second), their_sums.second, rtol=1e-10)
