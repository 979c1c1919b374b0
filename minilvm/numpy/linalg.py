"""Linear algebra: systems, factorisations and determinants, with their adjoints.

As for products, a rule is read off the differential of the forward line; the last two axes are the matrix, the others a
batch. A function of a *symmetric* matrix (`cholesky`, `eigh`, `eigvalsh`) reads one triangle and takes the other for
granted. Its gradient is symmetric: ½ (ā + āᵀ), which is exact for every symmetric change of `a`.

(Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation" (2008), section
2; for the Cholesky factor Murray, arXiv:1602.07527.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy

from minilvm.backend import Array, namespace, scipy_namespace
from minilvm.numpy.products import _t, matmul
from minilvm.numpy.reductions import Axis, _spread
from minilvm.rules import primitive, unbroadcast
from minilvm.tape import Tensor, stop_gradient

# Systems of equations -------------------------------------------------------------------------------------------------


def _with_columns(f: Callable[[Array, Array], Array], a: Array, b: Array) -> Array:
    """Call `f(a, b)` with `b` a matrix of columns, which a vector becomes, and axes of `b` in front of those of `a`.

    One factorisation then serves all of them, and the gradient with respect to `a` is one product.
    """
    if b.ndim == 1:
        return f(a, b[:, None])[..., 0]
    if b.ndim <= a.ndim:
        return f(a, b)
    lead = b.shape[: b.ndim - a.ndim]
    front, back = tuple(range(len(lead))), tuple(range(-len(lead), 0))
    columns = numpy.moveaxis(b, front, back).reshape(*b.shape[len(lead) : -1], b.shape[-1] * math.prod(lead))
    y = f(a, columns)
    return numpy.moveaxis(y.reshape(*y.shape[:-1], b.shape[-1], *lead), back, front)


def _aligned(a: Array, b: Array) -> tuple[Array, Array]:
    """Give `a` and `b` the same batch axes (CuPy's solvers do not broadcast)."""
    batch = numpy.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return numpy.broadcast_to(a, batch + a.shape[-2:]), numpy.broadcast_to(b, batch + b.shape[-2:])


def _solve_a(g: Array, y: Array, a: Array) -> Array:
    return unbroadcast(-matmul(_solve(_t(a), g), _t(y)), a.shape)


def _solve_b(g: Array, a: Array, b_shape: tuple[int, ...]) -> Array:
    return unbroadcast(_solve(_t(a), g), b_shape)


@primitive(a=_solve_a, b=_solve_b)
def _solve(a: Array, b: Array) -> Array:
    return numpy.linalg.solve(*_aligned(a, b))


def solve(a: Array, b: Array) -> Array:
    """Return the solution y of a y = b.

    Parameters
    ----------
    a
        Square matrices, (…, n, n).
    b
        One vector (n,), or matrices (…, n, k); batch axes broadcast.

    Raises
    ------
    numpy.linalg.LinAlgError
        A matrix is singular (CuPy returns infinities or NaN instead).

    Notes
    -----
    b̄ = a⁻ᵀ ḡ and ā = −b̄ yᵀ.
    """
    return _with_columns(_solve, a, b)


def _triangle(a: Array, lower: bool) -> Array:
    return numpy.tril(a) if lower else numpy.triu(a)


def _solve_triangular_a(g: Array, y: Array, a: Array, trans: int, lower: bool) -> Array:
    b_bar = _solve_triangular(a, g, 1 - trans, lower)
    a_bar = -matmul(y, _t(b_bar)) if trans else -matmul(b_bar, _t(y))
    return unbroadcast(_triangle(a_bar, lower), a.shape)


def _solve_triangular_b(g: Array, a: Array, b_shape: tuple[int, ...], trans: int, lower: bool) -> Array:
    return unbroadcast(_solve_triangular(a, g, 1 - trans, lower), b_shape)


@primitive(a=_solve_triangular_a, b=_solve_triangular_b)
def _solve_triangular(a: Array, b: Array, trans: int, lower: bool) -> Array:
    def one(a: Array, b: Array) -> Array:
        return scipy.solve_triangular(a, b, trans=trans, lower=lower, check_finite=False)

    scipy = scipy_namespace("linalg", a, b)
    if a.ndim == b.ndim == 2:
        return one(a, b)
    a, b = _aligned(a, b)
    batch, n, size = a.shape[:-2], a.shape[-1], math.prod(a.shape[:-2])
    if size and (size <= n or n * n * b.shape[-1] > 10_000):
        return numpy.stack([one(a[i], b[i]) for i in numpy.ndindex(*batch)]).reshape(b.shape)
    return _substituted(_t(a), b, not lower) if trans else _substituted(a, b, lower)


def _substituted(a: Array, b: Array, lower: bool) -> Array:
    """Solve many small systems at once, column by column of `a`: LAPACK would be called for each of them."""
    diagonal = numpy.diagonal(a, axis1=-2, axis2=-1)[..., None]
    if type(a) is numpy.ndarray and not diagonal.all():
        raise numpy.linalg.LinAlgError("Singular matrix")
    y, n = b.astype(numpy.result_type(a.dtype, b.dtype)), a.shape[-1]
    for j in range(n) if lower else reversed(range(n)):
        rest = slice(j + 1, n) if lower else slice(0, j)
        y[..., j, :] /= diagonal[..., j, :]
        y[..., rest, :] -= a[..., rest, j, None] * y[..., j, None, :]
    return y


def solve_triangular(a: Array, b: Array, trans: int = 0, lower: bool = False) -> Array:
    """Return the solution y of a y = b for a triangular `a`; of aᵀ y = b, with trans=1.

    Parameters
    ----------
    a
        Square matrices, (…, n, n), of which only the lower triangle is read if `lower`, else only the upper.
    b
        One vector (n,), or matrices (…, n, k); batch axes broadcast.
    trans
        0, or 1 for the transpose.

    Raises
    ------
    numpy.linalg.LinAlgError
        A diagonal element is 0 (CuPy returns infinities or NaN instead).

    Examples
    --------
    >>> L = numpy.array([[2.0, 0.0], [1.0, 1.0]])
    >>> solve_triangular(L, numpy.array([2.0, 3.0]), lower=True)
    array([1., 2.])
    """
    if trans not in (0, 1):
        raise ValueError(f"trans is {trans!r}; expected 0, for a y = b, or 1, for aᵀ y = b")
    return _with_columns(lambda a, b: _solve_triangular(a, b, trans, lower), a, b)


# Functions of one matrix ----------------------------------------------------------------------------------------------


def _symmetric(a: Array) -> Array:
    return 0.5 * (a + _t(a))


def _cholesky_rule(g: Array, y: Array) -> Array:
    """Symmetrise y⁻ᵀ Φ(yᵀ ḡ) y⁻¹, where Φ keeps the lower triangle and halves its diagonal (Murray, section 3)."""
    p = matmul(_t(y), g)
    phi = 0.5 * (numpy.tril(p) + numpy.tril(p, -1))
    left = solve_triangular(y, phi, trans=1, lower=True)
    return _symmetric(_t(solve_triangular(y, _t(left), trans=1, lower=True)))


@primitive(a=_cholesky_rule)
def cholesky(a: Array) -> Array:
    """Return the lower triangular y with positive diagonal for which y yᵀ = a.

    `a` is symmetric and positive definite, (…, n, n); only its lower triangle is read. The gradient is symmetric.

    Raises
    ------
    numpy.linalg.LinAlgError
        `a` is not positive definite (CuPy returns NaN instead).

    Examples
    --------
    >>> cholesky(numpy.array([[4.0, 2.0], [2.0, 2.0]]))
    array([[2., 0.],
           [1., 1.]])
    """
    return numpy.linalg.cholesky(a)


@primitive(a=lambda g, y: -matmul(_t(y), matmul(g, _t(y))))
def inv(a: Array) -> Array:
    """Return a⁻¹, for matrices (…, n, n); `solve` is cheaper and more accurate where a⁻¹ b is what is wanted.

    Raises
    ------
    numpy.linalg.LinAlgError
        A matrix is singular (CuPy returns infinities or NaN instead).
    """
    return numpy.linalg.inv(a)


@primitive(a=lambda g, y, a: (g * y)[..., None, None] * _t(inv(a)))
def det(a: Array) -> Array:
    """Return the determinant |a| of matrices (…, n, n). Its gradient is |a| a⁻ᵀ, and so `a` has to be invertible."""
    return numpy.linalg.det(a)


class SlogdetResult(NamedTuple):
    """The sign of a determinant, and the logarithm of its magnitude."""

    sign: Array
    logabsdet: Array


@primitive(a=lambda g, a: g[..., None, None] * _t(inv(a)))
def _logabsdet(a: Array, known: Array) -> Array:
    return known


def slogdet(a: Array) -> SlogdetResult:
    """Return the sign of the determinant of `a` and log | |a| |: (−1, 0 or 1; −∞ for a singular matrix).

    The sign is constant, and the gradient of the logarithm is a⁻ᵀ. For a covariance matrix
    `2 * sum(log(diagonal(cholesky(a))))` is the same number, and the Cholesky factor is needed anyway.

    >>> sign, logabsdet = slogdet(numpy.diag(numpy.array([-1.0, 1.0])))
    >>> float(sign), float(logabsdet)
    (-1.0, 0.0)
    """
    sign, logabsdet = numpy.linalg.slogdet(stop_gradient(a))
    return SlogdetResult(sign, _logabsdet(a, logabsdet))


class EighResult(NamedTuple):
    """Eigenvalues in ascending order, and the eigenvectors, in columns."""

    eigenvalues: Array
    eigenvectors: Array


def _eigh_rule(g: Array, y: Array) -> Array:
    """Symmetrise v (diag(λ̄) + f ∘ vᵀ v̄) vᵀ, where f_ij = 1 / (λ_j − λ_i), and 0 on the diagonal."""
    (w, v), (w_bar, v_bar) = _unpacked(y), _unpacked(g)
    turn = matmul(_t(v), v_bar)
    gap = w[..., None, :] - w[..., :, None]
    same = numpy.equal(gap, 0.0)
    itself = namespace(w).eye(w.shape[-1], dtype=bool)
    undefined = same & ~itself & numpy.not_equal(turn, 0.0)
    off_diagonal = numpy.where(same, 0.0, turn / numpy.where(same, 1.0, gap))
    inner = numpy.where(undefined, numpy.nan, off_diagonal) + w_bar[..., None] * itself
    return _symmetric(matmul(v, matmul(inner, _t(v))))


def _unpacked(y: Array) -> tuple[Array, Array]:
    return y[..., 0, :], y[..., 1:, :]


@primitive(a=_eigh_rule)
def _eigh(a: Array) -> Array:
    """Eigenvalues in the first row and eigenvectors in those below: a primitive has one answer."""
    values, vectors = numpy.linalg.eigh(a)
    return numpy.concatenate([values[..., None, :], vectors], axis=-2)


def eigh(a: Array) -> EighResult:
    """Return the eigenvalues λ, (…, n), and eigenvectors v, (…, n, n), of symmetric matrices: a = v diag(λ) vᵀ.

    Eigenvalues ascend, eigenvectors are the columns, each up to its sign; only the lower triangle of `a` is read, and
    the gradient is symmetric. Where two eigenvalues are equal, their eigenvectors are any basis of a plane: a gradient
    that comes by way of them is NaN, and one that comes by way of the eigenvalues alone is right. Where two are close,
    the gradient of their eigenvectors is as large, and as inexact, as one over their gap.

    >>> eigh(numpy.array([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    array([1., 2.])
    """
    return EighResult(*_unpacked(_eigh(a)))


def eigvalsh(a: Array) -> Array:
    """Return the eigenvalues of symmetric matrices, in ascending order; see `eigh`. Their gradient is v diag(λ̄) vᵀ."""
    return eigh(a).eigenvalues if type(a) is Tensor else numpy.linalg.eigvalsh(a)


# Norms ----------------------------------------------------------------------------------------------------------------


def _euclidean_rule(g: Array, y: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    """ḡ x / ‖x‖, and 0 where x is 0: there every direction leads up, and 0 is the middle of their slopes."""
    return x * _spread(g / numpy.where(numpy.equal(y, 0.0), 1.0, y), x.shape, axis, keepdims)


@primitive(x=_euclidean_rule)
def _euclidean(x: Array, axis: Axis, keepdims: bool) -> Array:
    return numpy.sqrt(numpy.sum(numpy.square(x), axis=axis, keepdims=keepdims))


def norm(x: Array, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return a norm of the vectors along `axis`, or of the matrices in a pair of axes.

    Parameters
    ----------
    x
        An array.
    ord
        None: √Σ x², of all elements if `axis` is None. For vectors also 2 (the same), 1 (Σ |x|) and inf (max |x|); for
        matrices "fro" (√Σ x²).
    axis
        The axis of the vectors, or the two of the matrices; None for the vector or matrix that `x` is.
    keepdims
        Whether the axes remain, with length 1.

    Raises
    ------
    ValueError
        Another norm was asked for.

    Examples
    --------
    >>> float(norm(numpy.array([3.0, -4.0])))
    5.0
    """
    vectors = isinstance(axis, int) or (axis is None and x.ndim == 1)
    matrices = len(axis) == 2 if isinstance(axis, tuple) else axis is None and x.ndim == 2
    if ord is None or (vectors and ord == 2) or (matrices and ord == "fro"):
        return _euclidean(x, axis, keepdims)
    if vectors and ord in (1, math.inf):
        return (numpy.sum if ord == 1 else numpy.max)(numpy.abs(x), axis=axis, keepdims=keepdims)
    raise ValueError(
        f"norm was given ord={ord!r}, axis={axis!r} and an array with {x.ndim} axes; "
        "expected ord None, 1, 2 or inf for one axis, None or 'fro' for two"
    )
