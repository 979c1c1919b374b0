"""Reductions at their edges: ties, zeros, −inf, nothing to reduce; and the identities of the log-space ones."""

from __future__ import annotations

import math

import numpy
import pytest
from cases import along, arrays, reduced
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import check_grads, grad, hessian, value_and_grad, vjp

INF = numpy.inf


class TestExtremes:
    @pytest.mark.parametrize(("f", "x"), [(np.max, [1.0, 3.0, 3.0]), (np.min, [5.0, 3.0, 3.0])])
    def test_ties_share_the_gradient(self, f, x, xp):
        assert grad(f)(xp.asarray(x)).tolist() == [0.0, 0.5, 0.5]

    @pytest.mark.parametrize("f", [np.max, np.min])
    @given(arguments=reduced(min_side=1))
    def test_all_of_the_gradient_arrives(self, f, arguments):
        x, axis, keepdims = arguments
        y, pullback = vjp(lambda x: f(x, axis=axis, keepdims=keepdims), numpy.round(x))
        assert_allclose(pullback(numpy.ones_like(y))[0].sum(), numpy.size(y))

    def test_infinities_are_extremes_too(self):
        assert grad(np.max)(numpy.array([-INF, INF, 0.0])).tolist() == [0.0, 1.0, 0.0]


class TestProduct:
    @pytest.mark.parametrize(
        ("x", "slope"),
        [([2.0, 3.0, 4.0], [12.0, 8.0, 6.0]), ([0.0, 3.0, 4.0], [12.0, 0.0, 0.0]), ([0.0, 0.0, 4.0], [0.0, 0.0, 0.0])],
    )
    def test_with_zeros(self, x, slope, xp):
        assert grad(np.prod)(xp.asarray(x)).tolist() == slope

    def test_with_zeros_to_third_order(self):
        check_grads(lambda x: np.prod(x, axis=0), [numpy.array([[0.0, 1.0], [0.0, 2.0], [3.0, 0.0]])], order=3)

    @given(x=arrays((2, 3)))
    def test_by_division_would_be_wrong_at_zeros_alone(self, x):
        assert_allclose(grad(np.prod)(x), np.prod(x) / x, rtol=1e-12)


class TestSums:
    def test_of_nothing(self):
        x = numpy.ones((0, 3))
        assert value_and_grad(np.sum)(x)[0] == 0.0
        assert value_and_grad(np.prod)(x)[0] == 1.0
        assert np.mean(x, axis=1).shape == np.var(x, axis=1).shape == (0,)
        assert vjp(lambda x: np.mean(x, axis=1), x)[1](numpy.ones(0))[0].shape == (0, 3)

    def test_deviations_keep_their_digits_far_from_zero(self):
        x = 1e9 + numpy.array([0.0, 1.0, 2.0])
        assert np.var(x) == pytest.approx(2 / 3, rel=1e-12)
        assert_allclose(grad(np.var)(x), numpy.array([-2.0, 0.0, 2.0]) / 3.0, rtol=1e-12, atol=1e-15)

    def test_of_integers_and_truths_are_averaged_as_numbers(self):
        assert np.mean(numpy.array([True, False])) == 0.5
        assert np.mean(numpy.array([1, 2])) == 1.5

    def test_an_axis_that_is_not_there_is_an_error(self):
        for f in (np.sum, np.mean, np.var, np.max, np.logsumexp):
            with pytest.raises(numpy.exceptions.AxisError):
                grad(lambda x, f=f: np.sum(f(x, axis=2)))(numpy.ones((2, 2)))


class TestLogSpace:
    @given(arguments=along(min_side=1), shift=st.integers(-10_000, 10_000))
    def test_a_shift_passes_through(self, arguments, shift):
        x, axis = arguments
        assert_allclose(np.logsumexp(x + shift, axis=axis), np.logsumexp(x, axis=axis) + shift, rtol=1e-12, atol=1e-12)
        assert_allclose(np.softmax(x + shift, axis=axis), np.softmax(x, axis=axis), rtol=1e-9)

    @given(arguments=along(min_side=1))
    def test_lies_between_the_largest_and_that_plus_log_n(self, arguments):
        x, axis = arguments
        excess = np.logsumexp(x, axis=axis) - np.max(x, axis=axis)
        assert numpy.all((excess >= 0.0) & (excess <= math.log(x.shape[axis]) + 1e-12))

    @given(x=arrays((2, 3)))
    def test_its_gradient_is_softmax(self, x):
        assert_allclose(grad(lambda x: np.sum(np.logsumexp(x, axis=-1)))(x), np.softmax(x), rtol=1e-12)
        assert_allclose(np.sum(np.softmax(x), axis=-1), 1.0)

    def test_of_nothing_but_minus_infinity(self, xp):
        x = xp.asarray([[-INF, -INF], [0.0, -INF]])
        y, pullback = vjp(lambda x: np.logsumexp(x, axis=1), x)
        assert y.tolist() == [-INF, 0.0]
        assert pullback(xp.ones(2))[0].tolist() == [[0.0, 0.0], [1.0, 0.0]]
        assert np.logsumexp(x, axis=(0, 1), keepdims=True).tolist() == [[0.0]]

    def test_of_nothing_but_minus_infinity_to_second_order(self):
        assert_array_equal(hessian(np.logsumexp)(numpy.full(2, -INF)), numpy.zeros((2, 2)))

    @pytest.mark.parametrize("top", [-1e4, 1e4, -1e300, 1e300])
    def test_does_not_overflow(self, top):
        value, slope = value_and_grad(np.logsumexp)(numpy.array([top, top]))
        assert value == top + math.log(2.0)
        assert slope.tolist() == np.softmax(numpy.array([top, top])).tolist() == [0.5, 0.5]

    def test_infinity_wins(self):
        assert np.logsumexp(numpy.array([INF, 0.0])) == INF

    def test_the_plain_formula_is_a_twin_that_breaks(self):
        with numpy.errstate(all="ignore"):
            assert numpy.isnan(grad(lambda x: np.log(np.sum(np.exp(x))))(numpy.full(2, -INF))).all()
            assert np.log(np.sum(np.exp(numpy.array([1e4])))) == INF


def test_a_running_sum_of_a_matrix_goes_row_by_row(xp):
    x = xp.asarray([[1.0, 2.0], [3.0, 4.0]])
    y, pullback = vjp(np.cumsum, x)
    assert y.tolist() == [1.0, 3.0, 6.0, 10.0]
    assert backend.to_numpy(pullback(xp.ones(4))[0]).tolist() == [[4.0, 3.0], [2.0, 1.0]]
