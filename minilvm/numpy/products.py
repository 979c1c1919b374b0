"""Products: of matrices, of batches of matrices, and every other sum of products, `einsum`.

A rule here starts from the differential of the forward line and ends by reading ⟨ḡ, dy⟩ = ⟨ā, da⟩ off it: y = a b gives
dy = da b + a db, so ā = ḡ bᵀ and b̄ = aᵀ ḡ. The last two axes are the matrix, the others a batch.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

import numpy

from minilvm.backend import Array
from minilvm.rules import primitive, unbroadcast


def _t(a: Array) -> Array:
    """Transpose each matrix of a batch."""
    return numpy.swapaxes(a, -1, -2)


def _matmul_a(g: Array, b: Array, a_shape: tuple[int, ...]) -> Array:
    if b.ndim == 1:
        g, b = g[..., None], b[:, None]
    if len(a_shape) == 1:
        g = g[..., None, :]
    return unbroadcast(matmul(g, _t(b)), a_shape)


def _matmul_b(g: Array, a: Array, b_shape: tuple[int, ...]) -> Array:
    if len(b_shape) > 2:
        return unbroadcast(matmul(_t(a), g), b_shape) if a.ndim > 1 else a[:, None] * g[..., None, :]
    n = math.prod(a.shape[:-1])  # a matrix shared by the whole batch: one product with all of its rows
    return numpy.matmul(a.reshape(n, a.shape[-1]).T, g.reshape(n, math.prod(b_shape[1:]))).reshape(b_shape)


@primitive(a=_matmul_a, b=_matmul_b)
def matmul(a: Array, b: Array) -> Array:
    """Return the matrix product y_ij = Σ_k a_ik b_kj over the last two axes.

    Other axes broadcast. A vector is a row on the left, a column on the right, and leaves no axis behind.

    >>> matmul(numpy.ones((5, 2, 3)), numpy.ones((3, 4))).shape
    (5, 2, 4)
    """
    if getattr(a, "ndim", 0) > 2 and getattr(b, "ndim", 0) == 2:  # one large product, where NumPy makes many small ones
        return numpy.matmul(a.reshape(math.prod(a.shape[:-1]), a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[-1])
    return numpy.matmul(a, b)


def dot(a: Array, b: Array) -> Array:
    """Return Σ_k a[…, k] b[…, k, j]: the last axis of `a` against the second-last of `b`, and every pair of the others.

    Vectors and matrices multiply as in `matmul`, a scalar multiplies each element.
    """
    if 0 in (numpy.ndim(a), numpy.ndim(b)):
        return numpy.multiply(a, b)
    return matmul(a, b) if numpy.ndim(b) <= 2 else tensordot(a, b, (-1, -2))


def tensordot(a: Array, b: Array, axes: int | tuple[int | Sequence[int], int | Sequence[int]] = 2) -> Array:
    """Return the sum of a · b over pairs of axes: the last `axes` of `a` with the first of `b`, or those listed.

    >>> tensordot(numpy.ones((2, 3, 4)), numpy.ones((4, 3, 5)), ((1, 2), (1, 0))).shape
    (2, 5)
    """
    if isinstance(axes, int):
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    over_a, over_b = ([range(x.ndim)[i] for i in _listed(some)] for x, some in zip((a, b), axes, strict=True))
    free_a, free_b = ([i for i in range(x.ndim) if i not in over] for x, over in ((a, over_a), (b, over_b)))
    contracted = [a.shape[i] for i in over_a]
    if contracted != [b.shape[i] for i in over_b]:
        raise ValueError(
            f"a has shape {a.shape} and b has shape {b.shape}; expected axes {over_a} of a to be as long as "
            f"axes {over_b} of b"
        )
    shape_a, shape_b = tuple(a.shape[i] for i in free_a), tuple(b.shape[i] for i in free_b)
    rows = numpy.transpose(a, (*free_a, *over_a)).reshape(math.prod(shape_a), math.prod(contracted))
    columns = numpy.transpose(b, (*over_b, *free_b)).reshape(math.prod(contracted), math.prod(shape_b))
    return matmul(rows, columns).reshape(shape_a + shape_b)


def _listed(axes: int | Sequence[int]) -> Sequence[int]:
    return (axes,) if isinstance(axes, int) else axes


def outer(a: Array, b: Array) -> Array:
    """Return the matrix y_ij = a_i b_j of every product of an element of `a` with one of `b`."""
    return numpy.multiply(a.reshape(-1)[:, None], b.reshape(-1))


def vecdot(a: Array, b: Array, axis: int = -1) -> Array:
    """Return Σ_i a_i b_i along `axis`; other axes broadcast.

    >>> vecdot(numpy.array([[1.0, 2.0], [3.0, 4.0]]), numpy.array([10.0, 1.0]))
    array([12., 34.])
    """
    return einsum("...i,...i->...", numpy.moveaxis(a, axis, -1), numpy.moveaxis(b, axis, -1))


def einsum(subscripts: str, *operands: Array, optimize: Any = True) -> Array:
    """Return the sum of products that `subscripts` spell out, in Einstein's notation.

    A letter names an axis of each operand where it stands; letters that are not in the output are summed over.
    Without "->", the output is the letters that occur once, in alphabetical order. An ellipsis stands for any number
    of further axes, which broadcast. A letter twice in one operand takes its diagonal.

    Parameters
    ----------
    subscripts
        As in `numpy.einsum`: "ij,jk->ik". (NumPy's other spelling, with lists of numbers, is not taken.)
    operands
        Any number of arrays.
    optimize
        Whether to look for a good order of pairwise products, and leave those to BLAS; or the order itself.

    Raises
    ------
    ValueError
        `subscripts` do not fit the operands.

    Examples
    --------
    >>> a = numpy.array([[1.0, 2.0], [3.0, 4.0]])
    >>> einsum("ij,j->i", a, numpy.ones(2))
    array([3., 7.])
    >>> float(einsum("ii", a))
    5.0
    """
    inputs, output = _spelled_out(subscripts, [numpy.ndim(x) for x in operands])
    pairs = [_without_repeats(x, letters, subscripts) for x, letters in zip(operands, inputs, strict=True)]
    explicit = f"{','.join(letters for _, letters in pairs)}->{output}"
    return _einsum(explicit, optimize if len(operands) > 1 else False, *(x for x, _ in pairs))


def _spelled_out(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """The letters of each operand and of the output, an ellipsis replaced by letters not yet in use."""
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    inputs = left.split(",")
    named = [len(letters.replace("...", "")) for letters in inputs]
    if len(inputs) != len(ndims) or any(
        n > ndim or (n < ndim and "..." not in letters) for n, ndim, letters in zip(named, ndims, inputs, strict=True)
    ):
        raise ValueError(f"einsum of {subscripts!r} was given {len(ndims)} operands, with {ndims} axes")
    hidden = [ndim - n for n, ndim in zip(named, ndims, strict=True)]
    unused = [c for c in string.ascii_letters if c not in subscripts][: max(hidden)]
    if arrow and unused and "..." not in output:
        raise ValueError(f"einsum of {subscripts!r}: the axes of the ellipsis are missing from the output")
    if not arrow:
        output = "..." + "".join(sorted(c for c in set(left) - set(".,") if left.count(c) == 1))
    filled = [s.replace("...", "".join(unused[len(unused) - n :])) for s, n in zip(inputs, hidden, strict=True)]
    return filled, output.replace("...", "".join(unused))


def _without_repeats(x: Array, letters: str, subscripts: str) -> tuple[Array, str]:
    """Take the diagonal along each letter that occurs more than once: "iji" → "ji"."""
    for c in letters:
        while letters.count(c) > 1:
            i, j = letters.index(c), letters.rindex(c)
            if x.shape[i] != x.shape[j]:
                raise ValueError(f"einsum of {subscripts!r}: {c!r} names axes of length {x.shape[i]} and {x.shape[j]}")
            x, letters = numpy.diagonal(x, 0, i, j), letters[:i] + letters[i + 1 : j] + letters[j + 1 :] + c
    return x, letters


def _einsum_rule(g: Array, subscripts: str, optimize: Any, operands: tuple[Array, ...], i: int) -> Array:
    """The operand and the output change places: ∂/∂a of Σ g_ik a_ij b_jk is itself an einsum, "ik,jk->ij"."""
    left, _, output = subscripts.partition("->")
    inputs = left.split(",")
    mine, shape = inputs.pop(i), numpy.shape(operands[i])
    known = {*output, *"".join(inputs)}
    others = (*operands[:i], *operands[i + 1 :])
    found = "".join(c for c in mine if c in known)
    result = einsum(f"{','.join([output, *inputs])}->{found}", g, *others, optimize=optimize)
    # A letter that only this operand has was summed over: its cotangent is constant along it. Length 1 was stretched.
    result = result[tuple(slice(None) if c in known else None for c in mine)]
    stretched = tuple(axis for axis, n in enumerate(shape) if n == 1 and result.shape[axis] != 1)
    return numpy.broadcast_to(result.sum(axis=stretched, keepdims=True) if stretched else result, shape)


@primitive(operands=_einsum_rule)
def _einsum(subscripts: str, optimize: Any, *operands: Array) -> Array:
    return numpy.einsum(subscripts, *operands, optimize=optimize)
