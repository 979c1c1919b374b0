"""Products: values as NumPy's, derivatives as difference quotients say; test_linalg.py has tests of both kinds."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from numpy.testing import assert_allclose

import minilvm.numpy as np
from minilvm.autograd import check_grads

SEEDS = st.integers(0, 2**32 - 1)


def normals(seed, *shapes):
    rng = numpy.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


@given(mutually_broadcastable_shapes(signature=numpy.matmul.signature, max_dims=2, min_side=0, max_side=3), SEEDS)
def test_matmul_is_numpys(shapes, seed):
    a, b = normals(seed, *shapes.input_shapes)
    assert_allclose(np.matmul(a, b), numpy.matmul(a, b), atol=1e-12)
    check_grads(np.matmul, [a, b])


def test_matmul_of_a_batch_and_one_matrix_holds_for_any_memory_order():
    a, b = normals(0, (4, 3, 2), (4, 5))
    assert_allclose(np.matmul(a.T, b), numpy.matmul(a.T, b))
    check_grads(lambda a, b: np.matmul(a.T, b), [a, b])


@pytest.mark.parametrize(
    "shapes", [((), ()), ((), (2, 3)), ((2, 3), ()), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)),
               ((5, 2, 3), (3,)), ((3,), (4, 3, 2)), ((2, 3), (4, 3, 2)), ((5, 2, 3), (4, 3, 2))],
    ids=str,
)  # fmt: skip
def test_dot_is_numpys(shapes):
    a, b = normals(0, *shapes)
    assert_allclose(np.dot(a, b), numpy.dot(a, b))
    check_grads(np.dot, [a, b])


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        (((2,), (3,)), 0),
        (((2, 3), (3, 4)), 1),
        (((2, 3, 4), (3, 4)), 2),
        (((2, 3, 4), (4, 3)), ((1, 2), (1, 0))),
        (((2, 3, 4), (5, 3)), (1, 1)),
        (((2, 3, 4), (5, 4)), ((-1,), (-1,))),
        (((2, 0), (0, 3)), 1),
    ],
)
def test_tensordot_is_numpys(shapes, axes):
    a, b = normals(0, *shapes)
    assert_allclose(np.tensordot(a, b, axes), numpy.tensordot(a, b, axes))
    check_grads(lambda a, b: np.tensordot(a, b, axes), [a, b])


def test_tensordot_says_which_axes_differ():
    with pytest.raises(ValueError, match=r"shape \(2, 3\) .* shape \(2, 3\)"):
        np.tensordot(*normals(0, (2, 3), (2, 3)), axes=1)
    with pytest.raises(IndexError):
        np.tensordot(*normals(0, (2, 3), (2, 3)), axes=((5,), (1,)))


def test_outer_is_numpys():
    a, b = normals(0, (3,), (2, 2))
    assert_allclose(np.outer(a, b), numpy.outer(a, b))
    check_grads(np.outer, [a, b])


@given(mutually_broadcastable_shapes(signature="(n),(n)->()", max_dims=2, max_side=3), SEEDS)
def test_vecdot_is_numpys(shapes, seed):
    a, b = normals(seed, *shapes.input_shapes)
    assert_allclose(np.vecdot(a, b), numpy.vecdot(a, b))
    check_grads(np.vecdot, [a, b])


def test_vecdot_takes_an_axis():
    a, b = normals(0, (3, 2), (3, 2))
    assert_allclose(np.vecdot(a, b, axis=0), numpy.vecdot(a, b, axis=0))


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("ij,jk", [(2, 3), (3, 4)]),
        ("ba", [(2, 3)]),
        ("ij->", [(2, 3)]),
        ("i , j -> ji", [(2,), (3,)]),
        (",i->i", [(), (3,)]),
        ("ij,j->j", [(2, 3), (3,)]),
        ("a,b,c->cba", [(2,), (3,), (4,)]),
        ("ab,bc,cd,da->", [(2, 3), (3, 4), (4, 5), (5, 2)]),
        ("ijk,ik->i", [(2, 3, 4), (2, 4)]),
        ("ii", [(3, 3)]),
        ("ii->i", [(3, 3)]),
        ("iji->j", [(3, 2, 3)]),
        ("iii->i", [(2, 2, 2)]),
        ("ijij->", [(2, 3, 2, 3)]),
        ("ii,ij->j", [(2, 2), (2, 3)]),
        ("...", [(2, 3)]),
        ("...i,...i", [(5, 3), (2, 1, 3)]),
        ("...ij,...jk->...ik", [(4, 2, 3), (3, 5)]),
        ("i...->...", [(2, 3)]),
        ("i...j,j->...i", [(2, 4, 5, 3), (3,)]),
        ("ij,ij->i", [(1, 3), (2, 3)]),
        ("i,i->", [(3,), (1,)]),
        ("ij,kj->ik", [(1, 3), (4, 3)]),
        ("ij->j", [(0, 3)]),
    ],
)
def test_einsum_is_numpys(subscripts, shapes):
    operands = normals(0, *shapes)
    assert_allclose(np.einsum(subscripts, *operands), numpy.einsum(subscripts, *operands), atol=1e-12)
    check_grads(lambda *operands: np.einsum(subscripts, *operands), operands)


@st.composite
def einsums(draw):
    """Subscripts of one to three operands over few letters, and their shapes; shrinks towards one short operand."""
    lengths = {c: draw(st.integers(1, 3)) for c in "abc"}
    inputs = draw(st.lists(st.text("abc", max_size=3), min_size=1, max_size=3))
    present = sorted(set("".join(inputs)))
    output = draw(st.permutations(draw(st.lists(st.sampled_from(present), unique=True)))) if present else []
    shapes = [tuple(lengths[c] for c in letters) for letters in inputs]
    return f"{','.join(inputs)}->{''.join(output)}", shapes


@given(einsums(), SEEDS, st.booleans())
def test_einsum_of_any_subscripts(einsum, seed, optimize):
    subscripts, shapes = einsum
    operands = normals(seed, *shapes)
    assert_allclose(
        np.einsum(subscripts, *operands, optimize=optimize), numpy.einsum(subscripts, *operands), atol=1e-12
    )
    check_grads(lambda *operands: np.einsum(subscripts, *operands, optimize=optimize), operands)


def test_einsum_of_one_array_many_times():
    (x,) = normals(0, (3, 3))
    check_grads(lambda x: np.einsum("ij,jk,ki->", x, x, x), [x])


@pytest.mark.parametrize(
    ("subscripts", "shapes", "message"),
    [
        ("ij,jk->ik", [(2, 3)], "1 operands"),
        ("ij->i", [(2, 3, 4)], r"\[3\] axes"),
        ("ijk...->i", [(2, 3)], r"\[2\] axes"),
        ("...i->i", [(2, 3)], "ellipsis are missing"),
        ("ii->i", [(2, 3)], "'i' names axes of length 2 and 3"),
    ],
)
def test_einsum_refuses_what_does_not_fit(subscripts, shapes, message):
    operands = normals(0, *shapes)
    with pytest.raises(ValueError, match=message):
        np.einsum(subscripts, *operands)
    with pytest.raises(ValueError):
        numpy.einsum(subscripts, *operands)
