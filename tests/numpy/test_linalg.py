"""Solvers and factorisations: values as NumPy's and SciPy's, derivatives as difference quotients say."""

from __future__ import annotations

import itertools

import numpy
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import check_grads, grad, value_and_grad, vjp

SEEDS = st.integers(0, 2**32 - 1)
MATRICES = [(3, 3), (1, 1), (2, 3, 3), (2, 1, 4, 4)]
SYSTEMS = [  # shapes of a and b in a y = b
    ((3, 3), (3,)),
    ((3, 3), (3, 2)),
    ((3, 3), (5, 3, 2)),
    ((2, 3, 3), (3,)),
    ((2, 3, 3), (3, 2)),
    ((2, 3, 3), (2, 3, 2)),
    ((2, 3, 3), (4, 2, 3, 1)),
    ((2, 1, 3, 3), (1, 4, 3, 2)),
    ((5, 3, 3), (1, 3, 2)),
]
SYSTEM_IDS = [f"{a}-{b}" for a, b in SYSTEMS]


def normals(seed, *shapes):
    rng = numpy.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def diagonally_dominant(seed, *shapes):
    a, *rest = normals(seed, *shapes)
    return [a + 4.0 * numpy.eye(a.shape[-1]), *rest]


def transposed(a):
    return np.swapaxes(a, -1, -2)


def symmetric(a):
    return 0.5 * (a + transposed(a))


def positive_definite(a):
    return np.matmul(a, transposed(a)) + numpy.eye(a.shape[-1])


# Systems of equations


@pytest.mark.parametrize("shapes", SYSTEMS, ids=SYSTEM_IDS)
def test_solve_is_numpys(shapes):
    a, b = diagonally_dominant(0, *shapes)
    assert_allclose(np.linalg.solve(a, b), numpy.linalg.solve(a, b), atol=1e-12)
    check_grads(np.linalg.solve, [a, b])


@pytest.mark.parametrize("shapes", SYSTEMS, ids=SYSTEM_IDS)
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("trans", [0, 1])
def test_solve_triangular_reads_one_triangle(shapes, lower, trans):
    a, b = diagonally_dominant(1, *shapes)
    triangle = numpy.tril(a) if lower else numpy.triu(a)
    expected = numpy.linalg.solve(transposed(triangle) if trans else triangle, b)
    other = numpy.triu(numpy.full_like(a, numpy.nan), 1)
    unread = triangle + (other if lower else transposed(other))
    assert_allclose(np.linalg.solve_triangular(unread, b, trans=trans, lower=lower), expected, atol=1e-12)
    check_grads(lambda a, b: np.linalg.solve_triangular(a, b, trans=trans, lower=lower), [a, b])


@pytest.mark.parametrize(("batch", "k"), [(2, 2), (9, 2), (9, 700), (0, 700)], ids=["few", "many", "large", "none"])
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("trans", [0, 1])
def test_solve_triangular_of_few_large_and_of_many_small_systems(batch, k, lower, trans):
    a, b = diagonally_dominant(2, (batch, 4, 4), (batch, 4, k))
    y = np.linalg.solve_triangular(a, b, trans=trans, lower=lower)
    assert y.shape == b.shape
    for i in range(batch):
        assert_allclose(y[i], scipy.linalg.solve_triangular(a[i], b[i], trans=trans, lower=lower), atol=1e-12)


@pytest.mark.parametrize("batch", [(), (2,), (9,)])
def test_solve_triangular_of_a_singular_system_says_so(batch):
    a = numpy.broadcast_to(numpy.diag([1.0, 2.0, 0.0, 1.0]), (*batch, 4, 4))
    with pytest.raises(numpy.linalg.LinAlgError, match="ingular"):
        np.linalg.solve_triangular(a, numpy.ones(4), lower=True)


@pytest.mark.parametrize("batch", [(), (2,), (9,)])
def test_solve_triangular_of_two_precisions_gives_the_greater(batch):
    a, b = diagonally_dominant(0, (*batch, 4, 4), (*batch, 4, 1))
    for mixed in [(a.astype("float32"), b), (a, b.astype("float32"))]:
        assert np.linalg.solve_triangular(*mixed, lower=True).dtype == "float64"


def test_solve_triangular_refuses_an_unknown_transpose():
    with pytest.raises(ValueError, match="trans is 'T'"):
        np.linalg.solve_triangular(np.eye(2), np.ones(2), trans="T")


def test_a_factor_shared_by_many_right_hand_sides_is_never_repeated_for_each():
    a, b = diagonally_dominant(0, (1, 50, 50), (2000, 1, 50, 1))  # repeated, it would be 40 MB
    _, pullback = vjp(lambda a, b: np.linalg.solve_triangular(a, b, lower=True), a, b)
    import tracemalloc

    tracemalloc.start()
    pullback(b)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6


# Functions of one matrix


@pytest.mark.parametrize("shape", MATRICES, ids=str)
def test_cholesky_is_numpys(shape):
    (x,) = normals(0, shape)
    a = positive_definite(x)
    assert_allclose(np.linalg.cholesky(a), numpy.linalg.cholesky(a))
    check_grads(lambda x: np.linalg.cholesky(positive_definite(x)), [x])
    check_grads(lambda a: np.linalg.cholesky(symmetric(a)), [a])


@given(st.integers(1, 6), st.floats(-3, 3), SEEDS)
def test_cholesky_of_any_scale(n, log_scale, seed):
    (x,) = normals(seed, (n, n))
    scale = numpy.exp(log_scale)
    a = scale * positive_definite(x)
    _, pullback = vjp(np.linalg.cholesky, a)
    (g,) = normals(seed + 1, (n, n))
    # The factor is homogeneous of degree ½, so ⟨ā, a⟩ = ½ ⟨ḡ, y⟩.
    assert_allclose(numpy.sum(pullback(g)[0] * a), 0.5 * numpy.sum(g * numpy.linalg.cholesky(a)), rtol=1e-8, atol=1e-8)


def symmetric_functions():
    return [
        ("cholesky", np.linalg.cholesky),
        ("eigvalsh", np.linalg.eigvalsh),
        ("eigenvectors", lambda a: np.linalg.eigh(a).eigenvectors ** 2),
    ]


@pytest.mark.parametrize(("name", "f"), symmetric_functions())
def test_functions_of_symmetric_matrices_read_the_lower_triangle_and_have_symmetric_gradients(name, f):
    (x,) = normals(0, (4, 4))
    a = positive_definite(x)
    y, pullback = vjp(f, a)
    assert_allclose(f(numpy.tril(a)), y)
    (a_bar,) = pullback(normals(1, y.shape)[0])
    assert_array_equal(a_bar, a_bar.T)


def test_cholesky_refuses_an_indefinite_matrix():
    with pytest.raises(numpy.linalg.LinAlgError):
        np.linalg.cholesky(numpy.array([[1.0, 2.0], [2.0, 1.0]]))


@pytest.mark.parametrize("shape", MATRICES, ids=str)
def test_inverse_and_determinants_are_numpys(shape):
    (a,) = normals(3, shape)
    assert_allclose(np.linalg.inv(a), numpy.linalg.inv(a))
    assert_allclose(np.linalg.det(a), numpy.linalg.det(a))
    for ours, theirs in zip(np.linalg.slogdet(a), numpy.linalg.slogdet(a), strict=True):
        assert_allclose(ours, theirs)
    check_grads(np.linalg.det, [a])
    check_grads(lambda a: np.linalg.slogdet(a).logabsdet, [a])
    check_grads(np.linalg.inv, diagonally_dominant(0, shape))


def test_slogdet_of_negative_and_singular_matrices():
    sign, logabsdet = np.linalg.slogdet(numpy.diag([-2.0, 1.0]))
    assert sign == -1.0
    assert_allclose(logabsdet, numpy.log(2.0))
    sign, logabsdet = np.linalg.slogdet(numpy.zeros((2, 2)))
    assert (sign, logabsdet) == (0.0, -numpy.inf)
    assert_allclose(grad(lambda a: np.linalg.slogdet(a).sign * a.sum())(numpy.diag([-2.0, 1.0])), -numpy.ones((2, 2)))


@pytest.mark.parametrize("shape", MATRICES, ids=str)
def test_eigh_is_numpys(shape):
    (x,) = normals(1, shape)
    a = symmetric(x)
    (w, v), expected = np.linalg.eigh(a), numpy.linalg.eigh(a)
    assert_array_equal(w, expected.eigenvalues)
    assert_array_equal(v, expected.eigenvectors)
    assert_allclose(np.linalg.eigvalsh(a), numpy.linalg.eigvalsh(a))

    def without_signs(x):
        w, v = np.linalg.eigh(symmetric(x))
        return w, v**2, np.matmul(v * np.exp(w)[..., None, :], transposed(v))

    check_grads(without_signs, [x])
    check_grads(lambda x: np.linalg.eigvalsh(symmetric(x)), [x])


def test_equal_eigenvalues_have_gradients_and_their_eigenvectors_have_none():
    a = numpy.diag([2.0, 1.0, 1.0])
    assert_allclose(grad(lambda a: np.exp(np.linalg.eigvalsh(a)).sum())(a), numpy.diag(numpy.exp([2.0, 1.0, 1.0])))
    assert_allclose(
        grad(lambda a: np.exp(np.linalg.eigh(a).eigenvalues).sum())(a), numpy.diag(numpy.exp(numpy.diag(a)))
    )
    weights = normals(0, (3, 3))[0]
    assert numpy.isnan(grad(lambda a: (weights * np.linalg.eigh(a).eigenvectors).sum())(a)).any()


# Norms


@pytest.mark.parametrize(
    ("shape", "ord", "axis"),
    [
        *itertools.product([(3,), (1,)], [None, 1, 2, numpy.inf], [None, 0]),
        *itertools.product([(2, 3, 4)], [None, 1, 2, numpy.inf], [0, -1]),
        *itertools.product([(2, 3, 4)], [None, "fro"], [(0, 1), (2, 0)]),
        ((2, 3), "fro", None),
        ((2, 3, 4), None, None),
    ],
)
@pytest.mark.parametrize("keepdims", [False, True])
def test_norm_is_numpys(shape, ord, axis, keepdims):  # noqa: A002
    (x,) = normals(0, shape)
    assert_allclose(np.linalg.norm(x, ord, axis, keepdims), numpy.linalg.norm(x, ord, axis, keepdims))
    check_grads(lambda x: np.linalg.norm(x, ord, axis, keepdims), [x])


@pytest.mark.parametrize("axis", [None, 1])
def test_norm_of_zero_has_gradient_zero(axis):
    x = numpy.array([[0.0, 0.0], [3.0, 4.0]])[: 1 if axis is None else 2]
    gradient = grad(lambda x: np.linalg.norm(x, axis=axis).sum())
    assert_allclose(gradient(x), numpy.array([[0.0, 0.0], [0.6, 0.8]])[: len(x)])
    assert numpy.isfinite(grad(lambda x: (gradient(x) * x).sum())(x)).all()


@pytest.mark.parametrize(
    ("shape", "ord", "axis"), [((2, 2), 1, None), ((2, 2), 2, (0, 1)), ((2,), 3, None), ((2, 2, 2), 2, None)]
)
def test_norm_refuses_the_others(shape, ord, axis):  # noqa: A002
    with pytest.raises(ValueError, match="expected ord None"):
        np.linalg.norm(numpy.ones(shape), ord, axis)


# All of them

FUNCTIONS = {
    "matmul": lambda xp, a: xp.matmul(a, a),
    "dot": lambda xp, a: xp.dot(a, a[0]),
    "tensordot": lambda xp, a: xp.tensordot(a, a, 2),
    "outer": lambda xp, a: xp.outer(a[0], a[1]),
    "vecdot": lambda xp, a: xp.vecdot(a, a),
    "einsum": lambda xp, a: xp.einsum("ij,jk,ik->", a, a, a),
    "cholesky": lambda xp, a: xp.linalg.cholesky(a),
    "solve": lambda xp, a: xp.linalg.solve(a, a[0]),
    "inv": lambda xp, a: xp.linalg.inv(a),
    "det": lambda xp, a: xp.linalg.det(a),
    "slogdet": lambda xp, a: xp.linalg.slogdet(a).logabsdet,
    "eigh": lambda xp, a: xp.linalg.eigh(a).eigenvalues,
    "eigvalsh": lambda xp, a: xp.linalg.eigvalsh(a),
    "norm": lambda xp, a: xp.linalg.norm(a, axis=0),
}


@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_numpys_own_function_of_a_traced_argument_is_ours(f):
    a = positive_definite(normals(0, (3, 3))[0])
    ours = value_and_grad(lambda a: f(np, a).sum())(a)
    theirs = value_and_grad(lambda a: f(numpy, a).sum())(a)
    assert ours[0] == theirs[0]
    assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_float32_stays_float32(f):
    a = positive_definite(normals(0, (3, 3))[0])
    y, pullback = vjp(lambda a: f(np, a), a.astype(numpy.float32))
    assert y.dtype == numpy.float32
    (a_bar,) = pullback(numpy.ones_like(y))
    assert a_bar.dtype == numpy.float32
    expected, exact_pullback = vjp(lambda a: f(np, a), a)
    assert_allclose(y, expected, rtol=1e-3, atol=1e-4)
    assert_allclose(a_bar, exact_pullback(numpy.ones_like(expected))[0], rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_every_library_agrees(f, xp):
    a = positive_definite(normals(0, (3, 3))[0])
    value, gradient = value_and_grad(lambda a: f(np, a).sum())(a)
    theirs, gradient_of_theirs = value_and_grad(lambda a: f(np, a).sum())(xp.asarray(a))
    assert isinstance(gradient_of_theirs, xp.ndarray)
    assert_allclose(backend.to_numpy(theirs), value)
    assert_allclose(backend.to_numpy(gradient_of_theirs), gradient)


@pytest.mark.parametrize("shapes", SYSTEMS, ids=SYSTEM_IDS)
def test_every_library_solves(shapes, xp):
    a, b = diagonally_dominant(0, *shapes)
    for f in (np.linalg.solve, lambda a, b: np.linalg.solve_triangular(a, b, lower=True)):
        y, pullback = vjp(f, a, b)
        y_of_theirs, pullback_of_theirs = vjp(f, xp.asarray(a), xp.asarray(b))
        assert_allclose(backend.to_numpy(y_of_theirs), y)
        for theirs, ours in zip(pullback_of_theirs(y_of_theirs), pullback(y), strict=True):
            assert isinstance(theirs, xp.ndarray)
            assert_allclose(backend.to_numpy(theirs), ours, atol=1e-12)
