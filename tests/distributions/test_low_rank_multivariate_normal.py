"""The low-rank normal law against the one with a full covariance, and against mpmath where noise is faint."""

from __future__ import annotations

import mpmath
import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm.autograd import check_grads
from minilvm.distributions import LowRankMultivariateNormal, MultivariateNormal
from tests.distributions import checks
from tests.distributions.helpers import FEW, real_arrays
from tests.statistics import assert_drawn_from, assert_no_common_sign


@st.composite
def laws(draw, batch=(), D=3, R=2):
    factor = draw(real_arrays((*batch, D, R)))
    return LowRankMultivariateNormal(
        draw(real_arrays((*batch, D))), factor, numpy.exp(draw(real_arrays((*batch, D), -1.5, 1.5)))
    )


def full(law):
    return MultivariateNormal(law.loc, law.covariance_matrix)


@given(laws((2,)), real_arrays((5, 1, 3), -100.0, 100.0))
def test_it_is_the_law_with_that_covariance(law, x):
    theirs = full(law)
    W = law.cov_factor
    assert_allclose(
        law.covariance_matrix, W @ numpy.swapaxes(W, 1, 2) + law.cov_diag[..., None] * numpy.eye(3), rtol=1e-14
    )
    assert_allclose(law.log_prob(x), theirs.log_prob(x), rtol=1e-10, atol=1e-10)
    assert_allclose(law.entropy(), theirs.entropy(), rtol=1e-10, atol=1e-10)
    assert_allclose(law.variance, theirs.variance, rtol=1e-12)
    assert_array_equal([law.mean, law.mode], [law.loc, law.loc])
    assert_allclose(law.precision_matrix, theirs.precision_matrix, rtol=1e-7, atol=1e-9)
    assert_allclose(law.inverse_diagonal, numpy.diagonal(theirs.precision_matrix, axis1=1, axis2=2), rtol=1e-7)
    assert_allclose(law.scale_tril, theirs.scale_tril)


@pytest.mark.parametrize(
    ("x", "loc", "factor", "diagonal"),
    [
        ((3,), (3,), (3, 1), (3,)),
        ((4, 5, 3), (5, 3), (3, 2), (3,)),
        ((5, 1, 3), (2, 3), (2, 3, 4), (3,)),
        ((3,), (5, 1, 3), (3, 2), (2, 3)),
        ((4, 3), (3,), (3, 0), (3,)),  # no common factor at all
    ],
)
def test_every_point_meets_its_own_law(x, loc, factor, diagonal):
    rng = numpy.random.default_rng(0)
    law = LowRankMultivariateNormal(
        rng.standard_normal(loc), rng.standard_normal(factor), rng.uniform(0.5, 2.0, diagonal)
    )
    x = rng.standard_normal(x)
    assert law.batch_shape == numpy.broadcast_shapes(loc[:-1], factor[:-2], diagonal[:-1])
    assert_allclose(law.log_prob(x), full(law).log_prob(x), rtol=1e-12)
    assert law.sample(4, rng=0).shape == (4, *law.batch_shape, 3)


def assert_accurate(squared_distance):
    """To 12 digits where the factors explain all but 1e-10 of the variance, against 50 digits of mpmath."""
    rng = numpy.random.default_rng(0)
    W, delta = rng.standard_normal((6, 2)), numpy.full(6, 1e-8)
    d = W @ rng.standard_normal(2) + numpy.sqrt(delta) * rng.standard_normal(6)
    with mpmath.workdps(50):
        m = mpmath.matrix(W.tolist())
        sigma = m * m.T + mpmath.diag([mpmath.mpf(float(v)) for v in delta])
        x = mpmath.matrix(d.tolist())
        exact = float((x.T * mpmath.lu_solve(sigma, x))[0])
    assert_allclose(squared_distance(LowRankMultivariateNormal(numpy.zeros(6), W, delta), d), exact, rtol=1e-11)


def test_faint_noise_costs_no_digits():
    assert_accurate(LowRankMultivariateNormal.squared_distance)


def test_the_cancellation_in_woodburys_identity_is_caught():
    def woodbury(law, d):
        A, L = law._standard
        u = d / numpy.sqrt(law.cov_diag)
        return u @ u - (numpy.linalg.solve(L, A.T @ u) ** 2).sum()

    with pytest.raises(AssertionError):
        assert_accurate(woodbury)


# Draws and derivatives ------------------------------------------------------------------------------------------------

LAW = LowRankMultivariateNormal(
    numpy.array([1.0, -2.0, 0.5]), numpy.array([[1.0], [-0.5], [2.0]]), numpy.array([0.25, 1.0, 2.0])
)


def assert_draws_follow_the_law(draws, law=LAW):
    z = full(law).whiten(draws.astype(float))
    for i, j in [(0, 1), (0, 2), (1, 2)]:
        assert_no_common_sign(z[:, i], z[:, j])
    for i in range(3):
        assert_drawn_from(z[:, i], scipy.stats.norm.cdf)
        assert_no_common_sign(z[1:, i], z[:-1, i])
    assert_drawn_from((z**2).sum(axis=-1), scipy.stats.chi2(3).cdf)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_follow_the_law(dtype):
    law = LowRankMultivariateNormal(*(a.astype(dtype) for a in (LAW.loc, LAW.cov_factor, LAW.cov_diag)))
    assert_draws_follow_the_law(law.sample(50_000, rng=0))
    assert_array_equal(law.rsample(3, rng=0), law.sample(3, rng=0))


@pytest.mark.parametrize("wrong", ["variance for deviation", "factors forgotten", "one factor for all draws"])
def test_wrong_draws_are_caught(wrong):
    rng = numpy.random.default_rng(0)
    f = rng.standard_normal((1 if wrong == "one factor for all draws" else 50_000, 1))
    f = 0.0 * f if wrong == "factors forgotten" else f
    noise = LAW.cov_diag ** (1.0 if wrong == "variance for deviation" else 0.5)
    with pytest.raises(AssertionError):
        assert_draws_follow_the_law(LAW.loc + f @ LAW.cov_factor.T + noise * rng.standard_normal((50_000, 3)))


def test_gradient_through_draws_is_the_gradient_of_the_expectation():
    """E[(a·z)²] = aᵀ Σ a + (a·μ)²."""
    a = numpy.array([1.0, -2.0, 0.5])

    def exact(law):
        return np.matmul(np.matmul(a, law.covariance_matrix), a) + np.sum(a * law.loc) ** 2

    checks.assert_gradient_of_expectation(LAW, lambda z: np.matmul(z, a) ** 2, exact)


@FEW
@given(laws((2,)), real_arrays((4, 1, 3)))
def test_it_is_differentiable(law, x):
    checks.assert_differentiable(law, x)
    check_grads(lambda law: (law.covariance_matrix, law.precision_matrix), [law], rtol=1e-4)


# Precision, backends, validation --------------------------------------------------------------------------------------


@given(laws((2,)), real_arrays((4, 1, 3)))
def test_float32_stays_float32(law, x):
    checks.assert_precision(law, x, rtol=1e-3, atol=1e-3)


@FEW
@given(laws((2,)), real_arrays((4, 1, 3)))
def test_every_backend(xp, law, x):
    checks.assert_every_backend(xp, law, x, rtol=1e-8)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loc": 0.0}, r"loc has shape \(\), cov_factor \(3, 1\) and cov_diag \(3,\); expected \(…, D\), \(…, D"),
        ({"cov_factor": numpy.ones((2, 1))}, r"loc has shape \(3,\), cov_factor \(2, 1\)"),
        ({"cov_diag": numpy.ones((3, 1))}, r"cov_diag \(3, 1\); expected"),
        ({"loc": numpy.zeros((2, 3)), "cov_diag": numpy.ones((4, 3))}, "do not broadcast"),
        ({"loc": [0.0, numpy.nan, 0.0]}, r"loc must be finite; loc\[1\] is nan"),
        ({"cov_factor": [[0.0], [numpy.inf], [0.0]]}, r"cov_factor must be finite; cov_factor\[1, 0\] is inf"),
        ({"cov_diag": [1.0, 0.0, 1.0]}, r"cov_diag must be positive; cov_diag\[1\] is 0.0"),
    ],
)
def test_impossible_parameters_are_refused(changed, message):
    parameters = {"loc": LAW.loc, "cov_factor": LAW.cov_factor, "cov_diag": LAW.cov_diag, **changed}
    with pytest.raises(ValueError, match=message):
        LowRankMultivariateNormal(**parameters)
