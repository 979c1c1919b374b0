"""The multivariate normal law against SciPy, quadrature, and one law at a time."""

from __future__ import annotations

import numpy
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm.autograd import check_grads, grad
from minilvm.backend import to_numpy
from minilvm.distributions import Independent, MultivariateNormal, Normal, kl_divergence
from minilvm.distributions.multivariate_normal import _pulled_back, squared_length, whitened
from minilvm.rules import primitive
from tests.distributions.helpers import Nodes, assert_dtype, assert_of, assert_same_to_second_order, real_arrays
from tests.statistics import assert_drawn_from, assert_no_common_sign


@st.composite
def factors(draw, batch=(), D=None):
    """Cholesky factors L, with diagonals from 0.1 to 10."""
    D = D or draw(st.integers(1, 4))
    below = numpy.tril(draw(real_arrays((*batch, D, D))), -1)
    return below + numpy.eye(D) * 10.0 ** draw(real_arrays((*batch, D, 1), -1.0, 1.0))


def covariance(L):
    return L @ numpy.swapaxes(L, -1, -2)


def composite(x, loc, sigma):
    """−½ (x − μ)ᵀ Σ⁻¹ (x − μ) − ½ log |2π Σ|, as it is written in books."""
    d = x - loc
    log_det = numpy.linalg.slogdet(2.0 * numpy.pi * sigma)[1]
    return -0.5 * (d[..., None, :] @ numpy.linalg.inv(sigma) @ d[..., None])[..., 0, 0] - 0.5 * log_det


@given(st.data())
def test_log_prob_is_scipys(data):
    L = data.draw(factors())
    assume(numpy.linalg.cond(L) < 1e4)  # beyond it SciPy takes L Lᵀ for singular, and leaves a dimension out
    D = len(L)
    loc, z = data.draw(real_arrays(D)), data.draw(real_arrays((5, D), -100.0, 100.0))
    x = loc + z @ L.T
    theirs = scipy.stats.multivariate_normal(loc, covariance(L), allow_singular=True)
    assert_allclose(MultivariateNormal(loc, scale_tril=L).log_prob(x), theirs.logpdf(x), rtol=1e-6, atol=1e-6)


@given(st.data())
def test_log_prob_is_exact_for_the_factor_that_was_given(data):
    """From x = μ + L z, however ill-conditioned L Lᵀ: −½ ‖z‖² − Σ log L_dd − ½ D log 2π."""
    L = data.draw(factors())
    D = len(L)
    z = data.draw(real_arrays((5, D), -100.0, 100.0))
    expected = scipy.stats.norm.logpdf(z).sum(axis=-1) - numpy.log(numpy.diag(L)).sum()
    assert_allclose(MultivariateNormal(numpy.zeros(D), scale_tril=L).log_prob(z @ L.T), expected, rtol=1e-6)


@given(st.data())
def test_three_ways_to_say_the_same(data):
    L = data.draw(factors((2,)))
    loc = data.draw(real_arrays((3, 1, L.shape[-1])))
    given_factor = MultivariateNormal(loc, scale_tril=L)
    for matrix in ("covariance_matrix", "precision_matrix"):
        law = MultivariateNormal(loc, **{matrix: getattr(given_factor, matrix)[0]}, validate_args=False)
        assert law.batch_shape == (3, 2)
        assert_allclose(law.scale_tril, L, rtol=1e-5, atol=1e-5)
    assert_allclose(given_factor.covariance_matrix, numpy.broadcast_to(covariance(L), (3, 2, *L.shape[1:])))


@given(factors(D=3), real_arrays(3))
def test_moments(L, loc):
    law, theirs = MultivariateNormal(loc, scale_tril=L), scipy.stats.multivariate_normal(loc, covariance(L))
    assert_array_equal([law.mean, law.mode], [loc, loc])
    assert_allclose(law.variance, numpy.diag(covariance(L)), rtol=1e-12)
    assert_allclose(law.entropy(), theirs.entropy(), rtol=1e-6, atol=1e-6)


def assert_normalised(log_prob, loc, L):
    """The trapezoid rule in the plane, on a grid along the columns of L: exact to rounding."""
    step = 0.5
    axis = step * numpy.arange(-25, 26)
    z = numpy.stack(numpy.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    x = loc + z @ L.T
    p = numpy.exp(log_prob(x)) * step**2 * numpy.linalg.det(L)
    assert_allclose(p.sum(), 1.0, rtol=1e-10)
    assert_allclose(p @ x, loc, atol=1e-10)
    assert_allclose((x - loc).T * p @ (x - loc), covariance(L), rtol=1e-10, atol=1e-10)


@given(factors(D=2), real_arrays(2))
def test_density_integrates_to_one_and_has_the_moments(L, loc):
    assert_normalised(MultivariateNormal(loc, scale_tril=L).log_prob, loc, L)


def test_the_transpose_of_the_factor_is_caught():
    loc, L = numpy.array([1.0, -1.0]), numpy.array([[2.0, 0.0], [1.5, 0.5]])
    with pytest.raises(AssertionError):
        assert_normalised(lambda x: composite(x, loc, L.T @ L), loc, L)


# Batches --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "loc", "scale"),
    [
        ((2,), (2,), (2, 2)),
        ((5, 2), (2,), (2, 2)),
        ((4, 5, 2), (5, 2), (2, 2)),  # K samples of N points, one covariance
        ((5, 1, 2), (3, 2), (3, 2, 2)),  # N points meet C components
        ((5, 1, 2), (2,), (3, 2, 2)),
        ((5, 1, 2), (3, 2), (2, 2)),
        ((4, 5, 2), (5, 2), (5, 2, 2)),  # a covariance for each point
        ((4, 5, 3, 2), (5, 1, 2), (3, 2, 2)),
        ((2,), (5, 1, 2), (5, 3, 2, 2)),
        ((1, 2), (2,), (3, 2, 2)),
    ],
)
def test_every_point_meets_its_own_law(value, loc, scale):
    rng = numpy.random.default_rng(0)
    x, mu = rng.standard_normal(value), rng.standard_normal(loc)
    L = numpy.tril(rng.standard_normal(scale), -1) + numpy.eye(2) * rng.uniform(0.5, 2.0, (*scale[:-1], 1))
    law = MultivariateNormal(mu, scale_tril=L)
    shape = numpy.broadcast_shapes(value[:-1], loc[:-1], scale[:-2])
    log_p, draws = law.log_prob(x), law.sample(3, rng=0)
    assert log_p.shape == shape
    assert draws.shape == (3, *law.batch_shape, 2)
    X, M, S = (numpy.broadcast_to(a, shape + a.shape[-n:]) for a, n in ((x, 1), (mu, 1), (covariance(L), 2)))
    assert_allclose(log_p, composite(X, M, S), rtol=1e-12)
    epsilon = numpy.random.default_rng(0).standard_normal(draws.shape)
    assert_allclose(draws, mu + numpy.einsum("...ij,...j->...i", L, epsilon), rtol=1e-12)
    check_grads(lambda law, x: law.log_prob(x), [law, x], order=1)


def test_a_shared_covariance_is_one_triangular_solve(monkeypatch):
    calls = []
    monkeypatch.setattr(
        scipy.linalg,
        "solve_triangular",
        lambda a, b, real=scipy.linalg.solve_triangular, **options: (calls.append(b.shape), real(a, b, **options))[1],
    )
    law = MultivariateNormal(numpy.zeros((100, 3)), scale_tril=numpy.eye(3))
    law.log_prob(numpy.zeros((7, 100, 3)))
    assert calls == [(3, 700)]
    calls.clear()
    law.expand((7, 100)).log_prob(numpy.zeros((7, 100, 3)))  # which repeats the mean alone
    assert calls == [(3, 700)]


# Derivatives ----------------------------------------------------------------------------------------------------------


@given(factors(D=3), real_arrays(3), real_arrays((4, 3)))
def test_log_prob_is_differentiable_in_parameters_and_value(L, loc, x):
    L = L + numpy.eye(3)
    check_grads(lambda law, x: law.log_prob(x), [MultivariateNormal(loc, scale_tril=L), x], rtol=1e-5)


def composite_whitening(x, loc, L):
    return np.matmul(np.linalg.inv(np.tril(L)), (x - loc)[..., None])[..., 0]


MEETINGS = pytest.mark.parametrize(
    ("x", "loc", "L"),
    [
        ((3,), (3,), (3, 3)),
        ((5, 3), (3,), (3, 3)),
        ((3,), (5, 3), (3, 3)),
        ((4, 5, 3), (5, 3), (3, 3)),
        ((5, 1, 3), (2, 3), (2, 3, 3)),
        ((4, 5, 3), (3,), (5, 3, 3)),
        ((3,), (5, 1, 3), (4, 1, 2, 3, 3)),
        ((4, 1, 3), (1, 3), (1, 3, 3)),
    ],
)


def random_meeting(x, loc, L):
    rng = numpy.random.default_rng(0)
    factor = numpy.tril(rng.standard_normal(L), -1) + numpy.eye(3) * rng.uniform(0.5, 2.0, (*L[:-1], 1))
    return [rng.standard_normal(x), rng.standard_normal(loc), factor]


@MEETINGS
def test_whitening_is_the_composite_to_second_order(x, loc, L):
    args = random_meeting(x, loc, L)
    assert_same_to_second_order(whitened, composite_whitening, args)
    assert_same_to_second_order(squared_length, lambda z: (z * z).sum(axis=-1), args[:1])


@MEETINGS
@pytest.mark.parametrize("wrong", ["loc", "L"])
def test_a_wrong_rule_is_caught(x, loc, L, wrong):
    def without_the_transpose(g, y, L):
        return -np.tril(np.linalg.solve_triangular(L, np.matmul(g[..., None], y[..., None, :]), lower=True))

    rules = {"loc": lambda g, loc_shape, L: _pulled_back(g, L, loc_shape), "L": without_the_transpose}
    twin = primitive(**{wrong: rules[wrong]})(composite_whitening)
    args = random_meeting(x, loc, L)
    i = ["x", "loc", "L"].index(wrong)

    def of_one(f):
        return lambda a: f(*args[:i], a, *args[i + 1 :])

    with pytest.raises((AssertionError, ValueError)):
        assert_same_to_second_order(of_one(twin), of_one(composite_whitening), [args[i]])


def test_nothing_is_written_into_what_was_given():
    """The solver overwrites, and must have something of its own to overwrite, even where the mean is 0."""
    x, loc, L = random_meeting((5, 3), (3,), (3, 3))
    copies = [a.copy() for a in (x, loc, L)]
    for point in (x, x[0], numpy.asfortranarray(x), x[::2]):
        whitened(point, loc, L)
        whitened(point, numpy.zeros(3), L)
    for now, before in zip((x, loc, L), copies, strict=True):
        assert_array_equal(now, before)


@pytest.mark.parametrize("matrix", ["covariance_matrix", "precision_matrix"])
def test_other_parameterisations_are_differentiable(matrix):
    rng = numpy.random.default_rng(0)
    a, loc, x = rng.standard_normal((2, 3, 3)), rng.standard_normal(3), rng.standard_normal((4, 1, 3))

    def log_prob(a, loc, x):
        law = MultivariateNormal(loc, **{matrix: np.matmul(a, np.swapaxes(a, -1, -2)) + np.eye(3)})
        return law.log_prob(x), law.precision_matrix, law.covariance_matrix

    check_grads(log_prob, [a, loc, x])
    law = MultivariateNormal(loc, **{matrix: a[0] @ a[0].T + numpy.eye(3)})
    check_grads(lambda law: (law.entropy(), law.variance, law.mean, law.rsample(2, rng=0)), [law])


def assert_exact_gradient(rsample):
    """E[(aᵀz)² b·z] = aᵀΣa b·μ + (a·μ)² b·μ + 2 a·μ aᵀΣb, with nodes that make the average exact."""
    a, b = numpy.array([1.0, -2.0]), numpy.array([0.5, 1.0])
    nodes = Nodes(3, D=2)
    law = MultivariateNormal(numpy.array([0.3, -0.8]), scale_tril=numpy.array([[1.2, 0.0], [0.7, 0.4]]))

    def by_draws(law):
        z = rsample(law, nodes)
        return np.sum(nodes.weights * np.matmul(z, a) ** 2 * np.matmul(z, b))

    def exact(law):
        S, m = law.covariance_matrix, law.loc
        am, bm = np.sum(a * m), np.sum(b * m)
        return np.matmul(np.matmul(a, S), a) * bm + am**2 * bm + 2.0 * am * np.matmul(np.matmul(a, S), b)

    ours, truth = grad(by_draws)(law), grad(exact)(law)
    assert_allclose(ours.loc, truth.loc, rtol=1e-12)
    assert_allclose(ours.scale_tril, truth.scale_tril, rtol=1e-12, atol=1e-12)


def test_gradient_through_draws_is_the_gradient_of_the_expectation():
    assert_exact_gradient(lambda law, nodes: law.rsample(9, rng=nodes))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda law, nodes: law.loc + np.matmul(nodes.standard_normal((9, 2)), law.scale_tril),  # L transposed
        lambda law, nodes: law.loc + law.sample(9, rng=nodes) - law.mean,  # L is forgotten
    ],
)
def test_a_wrong_gradient_through_draws_is_caught(wrong):
    with pytest.raises(AssertionError):
        assert_exact_gradient(wrong)


def test_a_step_above_the_diagonal_changes_nothing():
    """The gradient of a tree of parameters has room above L's diagonal; nothing may come or go there."""
    L = numpy.array([[1.2, 0.0], [0.7, 0.4]])
    law = MultivariateNormal(numpy.zeros(2), scale_tril=L)
    spoiled = MultivariateNormal(numpy.zeros(2), scale_tril=numpy.where(L == 0, 9.0, L), validate_args=False)
    for f in (
        lambda law: law.sample(3, rng=0),
        lambda law: law.log_prob([1.0, 2.0]),
        lambda law: law.covariance_matrix,
        lambda law: law.precision_matrix,
        lambda law: law.variance,
        lambda law: law.entropy(),
        lambda law: kl_divergence(law, MultivariateNormal(numpy.ones(2), scale_tril=2.0 * I)),
        lambda law: kl_divergence(MultivariateNormal(numpy.ones(2), scale_tril=2.0 * I), law),
    ):
        assert_array_equal(f(law), f(spoiled))
        assert grad(lambda law, f=f: f(law).sum())(law).scale_tril[0, 1] == 0.0


# Draws ----------------------------------------------------------------------------------------------------------------

LOC = numpy.array([[1.0, -2.0], [0.0, 3.0]])
L = numpy.array([[[2.0, 0.0], [1.5, 0.5]], [[0.3, 0.0], [-0.2, 1.0]]])
DIRECTIONS = numpy.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])


def assert_draws_follow_the_law(draws):
    for i in range(2):
        for a in DIRECTIONS:  # every projection of a normal vector is normal
            deviation = (draws[:, i] - LOC[i]) @ a
            assert_drawn_from(deviation / numpy.sqrt(a @ covariance(L[i]) @ a), scipy.stats.norm.cdf)
        z = numpy.linalg.solve(L[i], (draws[:, i] - LOC[i]).T)
        assert_drawn_from((z**2).sum(axis=0), scipy.stats.chi2(2).cdf)
    assert_no_common_sign(draws[:, 0, 0] - LOC[0, 0], draws[:, 1, 0] - LOC[1, 0])
    assert_no_common_sign(draws[1:, 0, 0] - LOC[0, 0], draws[:-1, 0, 0] - LOC[0, 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_follow_the_law(dtype):
    assert_draws_follow_the_law(MultivariateNormal(LOC.astype(dtype), scale_tril=L.astype(dtype)).sample(50_000, rng=0))


@pytest.mark.parametrize("wrong", ["L transposed", "one ε for a batch", "correlation forgotten"])
def test_wrong_draws_are_caught(wrong):
    epsilon = numpy.random.default_rng(0).standard_normal((50_000, 2, 2))
    if wrong == "one ε for a batch":
        epsilon = epsilon[:, :1]
    factor = {"L transposed": numpy.swapaxes(L, -1, -2), "correlation forgotten": L * numpy.eye(2)}.get(wrong, L)
    with pytest.raises(AssertionError):
        assert_draws_follow_the_law(LOC + numpy.einsum("...ij,...j->...i", factor, epsilon))


# Precision, validation, backends --------------------------------------------------------------------------------------


def test_float32_stays_float32():
    loc, sigma = numpy.zeros(2, "float32"), numpy.array([[4.0, 2.0], [2.0, 2.0]], "float32")
    for matrix in ("covariance_matrix", "precision_matrix"):
        law = MultivariateNormal(loc, **{matrix: sigma})
        for result in (law.log_prob([1, 2]), law.sample(rng=0), law.entropy(), law.variance, law.covariance_matrix):
            assert_dtype(result, "float32")
        assert_dtype(grad(lambda law: law.log_prob(law.rsample(3, rng=0)).sum())(law).scale_tril, "float32")


I = numpy.eye(2)


@pytest.mark.parametrize(
    ("loc", "parameters", "message"),
    [
        ([0.0, 0.0], {}, "MultivariateNormal: none given; expected exactly one of covariance_matrix, precision_ma"),
        ([0.0, 0.0], {"scale_tril": I, "covariance_matrix": I}, "covariance_matrix and scale_tril given"),
        (0.0, {"scale_tril": I}, r"loc has shape \(\) and scale_tril has \(2, 2\); expected \(…, D\) and \(…, D, D\)"),
        ([0.0, 0.0, 0.0], {"scale_tril": I}, r"loc has shape \(3,\) and scale_tril has \(2, 2\)"),
        (numpy.zeros((3, 2)), {"scale_tril": numpy.stack([I, I])}, "do not broadcast"),
        ([0.0, numpy.nan], {"scale_tril": I}, r"loc must be finite; loc\[1\] is nan"),
        (
            [0.0, 0.0],
            {"scale_tril": [[1.0, 0.0], [0.0, numpy.inf]]},
            r"scale_tril must be finite; scale_tril\[1, 1\] is inf",
        ),
        ([0.0, 0.0], {"scale_tril": I + 1.0}, r"must be lower triangular; scale_tril\[0, 1\] is 1.0"),
        ([0.0, 0.0], {"scale_tril": [I, -I]}, r"the diagonal of scale_tril must be positive; .*\[1, 0\] is -1.0"),
        ([0.0, 0.0], {"covariance_matrix": [[2.0, 1.0], [0.0, 2.0]]}, r"must be symmetric; covariance_matrix\[0, 1\]"),
        ([0.0, 0.0], {"covariance_matrix": [[2.0, 1.0], [1.0 + 1e-6, 2.0]]}, "covariance_matrix must be symmetric"),
        ([0.0, 0.0], {"covariance_matrix": [I, I - 1.0]}, "must be positive definite; its smallest eigenvalue is -1.0"),
        ([0.0, 0.0], {"precision_matrix": -I}, "precision_matrix must be positive definite; its smallest eigen"),
    ],
)
def test_impossible_parameters_are_refused(loc, parameters, message):
    with pytest.raises(ValueError, match=message):
        MultivariateNormal(loc, **parameters)


def test_the_matrices_are_in_the_order_of_torch():
    matrices = [numpy.diag([4.0, 9.0]), numpy.diag([1 / 4, 1 / 9]), numpy.diag([2.0, 3.0])]
    for i, matrix in enumerate(matrices):
        law = MultivariateNormal(numpy.zeros(2), *[None] * i, matrix)
        assert_allclose(law.scale_tril, matrices[2], rtol=1e-15)


def test_impossible_values_are_refused():
    law = MultivariateNormal(numpy.zeros((3, 2)), scale_tril=I)
    with pytest.raises(ValueError, match=r"value must be finite; value\[1, 0\] is inf"):
        law.log_prob([[0.0, 0.0], [numpy.inf, 0.0], [0.0, 0.0]])
    for shape in [(), (2, 2), (3, 1), (3,), (4, 2)]:
        with pytest.raises(ValueError, match=r"value has shape .*; expected one that ends in event_shape \(2,\) after"):
            law.log_prob(numpy.zeros(shape))


@given(st.data())
def test_every_backend(xp, data):
    factor, loc = data.draw(factors((3,), D=2)), data.draw(real_arrays((3, 2)))
    x = data.draw(real_arrays((5, 1, 2)))
    law = MultivariateNormal(xp.asarray(loc), scale_tril=xp.asarray(factor))
    value = law.log_prob(xp.asarray(x))
    assert_of(xp, value)
    theirs = MultivariateNormal(loc, scale_tril=factor)
    assert_allclose(to_numpy(value), theirs.log_prob(x), rtol=1e-9)
    again = MultivariateNormal(xp.asarray(loc), covariance_matrix=law.covariance_matrix)
    assert_allclose(to_numpy(again.precision_matrix), theirs.precision_matrix, rtol=1e-6, atol=1e-6)
    assert to_numpy(law.sample(4, rng=0)).shape == (4, 3, 2)
    gradient = grad(lambda law: law.log_prob(law.rsample(5, rng=0)).sum())(law)  # −Σ log L_dd and ½ ‖ε‖²
    assert_allclose(to_numpy(gradient.loc), 0.0, atol=1e-9)
    diagonal = numpy.diagonal(factor, axis1=-2, axis2=-1)
    assert_allclose(numpy.diagonal(to_numpy(gradient.scale_tril), axis1=-2, axis2=-1), -5.0 / diagonal, rtol=1e-9)


@given(real_arrays((3,)), real_arrays((3,), -1.0, 1.0), real_arrays((4, 3)))
def test_a_diagonal_covariance_is_independent_elements(loc, log_scale, x):
    scale = numpy.exp(log_scale)
    vector, elements = (
        MultivariateNormal(loc, scale_tril=numpy.diag(scale)),
        Independent(Normal(loc, scale), 1),
    )
    assert_allclose(vector.log_prob(x), elements.log_prob(x), rtol=1e-12)
    assert_allclose(vector.entropy(), elements.entropy(), rtol=1e-12, atol=1e-12)
    assert_allclose(vector.sample(3, rng=0), elements.sample(3, rng=0), rtol=1e-12)
