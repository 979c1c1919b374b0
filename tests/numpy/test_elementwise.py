"""Where functions of one element have edges: ties, zeros, bounds, infinities. The smooth parts are in cases.py."""

from __future__ import annotations

import numpy
import pytest
from cases import arrays
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import check_grads, grad, jacobian, value_and_grad, vjp


def slopes(f, *args):
    """The gradient of Σ f at each argument."""
    return grad(lambda *xs: np.sum(f(*xs)), argnums=tuple(range(len(args))))(*args)


class TestTies:
    @pytest.mark.parametrize("f", [np.maximum, np.minimum])
    def test_equal_operands_share_the_gradient(self, f, xp):
        a, b = slopes(f, xp.asarray([1.0, 2.0, 3.0]), xp.asarray([1.0, 3.0, 2.0]))
        assert float(a[0]) == float(b[0]) == 0.5
        assert_array_equal(backend.to_numpy(a + b), [1.0, 1.0, 1.0])

    @pytest.mark.parametrize("f", [np.maximum, np.minimum])
    @given(x=arrays())
    def test_all_of_the_gradient_arrives(self, f, x):
        a, b = slopes(f, x, numpy.flip(x).copy())
        assert_array_equal(a + b, numpy.ones_like(x))

    def test_a_tie_with_a_number_broadcasts(self):
        assert slopes(lambda x: np.maximum(x, 0.0), numpy.array([-1.0, 0.0, 1.0]))[0].tolist() == [0.0, 0.5, 1.0]

    def test_clip_passes_half_at_a_bound_and_nothing_beyond(self, xp):
        (slope,) = slopes(lambda x: np.clip(x, -1.0, 1.0), xp.asarray([-2.0, -1.0, 0.0, 1.0, 2.0]))
        assert slope.tolist() == [0.0, 0.5, 1.0, 0.5, 0.0]

    def test_clip_without_bounds_is_the_identity(self):
        assert slopes(np.clip, numpy.array([3.0]))[0].tolist() == [1.0]

    def test_absolute_has_slope_zero_at_zero(self):
        assert slopes(abs, numpy.array([-2.0, 0.0, 2.0]))[0].tolist() == [-1.0, 0.0, 1.0]


class TestPower:
    @given(x=arrays())
    def test_small_integers_are_products(self, x):
        assert_array_equal(np.power(x, 2), x * x)
        assert_array_equal(vjp(lambda x: x**2, x)[0], x * x)
        assert_array_equal(vjp(lambda x: x**3, x)[0], x * x * x)

    @pytest.mark.parametrize(("exponent", "slope"), [(0, 0.0), (1, 1.0), (2, 0.0), (2.5, 0.0)])
    def test_at_zero(self, exponent, slope):
        assert grad(lambda x: x**exponent)(0.0) == slope
        assert slopes(np.power, numpy.zeros(1), numpy.full(1, float(exponent)))[0].tolist() == [slope]

    def test_the_exponent_has_slope_zero_at_base_zero(self):
        (slope,) = slopes(lambda b: np.power(numpy.zeros(3), b), numpy.array([0.5, 1.0, 2.0]))
        assert slope.tolist() == [0.0, 0.0, 0.0]

    def test_of_a_negative_base_by_an_integer(self):
        check_grads(lambda x: x**3 + x**-2 + x**4, [numpy.array([-1.5, 2.0])], order=3)

    def test_of_itself(self):
        assert_allclose(grad(lambda x: x**x)(2.0), 4.0 * (numpy.log(2.0) + 1.0))

    def test_a_numpy_number_counts_with_its_precision(self):
        x = numpy.ones(2, "float32")
        for exponent in (2, 2.0, 3, 0.5, numpy.float32(2.0), numpy.float64(2.0)):
            assert vjp(lambda x, n=exponent: x**n, x)[0].dtype == numpy.power(x, exponent).dtype

    def test_a_number_to_a_traced_power(self, xp):
        check_grads(lambda x: 2.0**x, [xp.asarray([0.5, -1.0])])


class TestWhere:
    def test_the_branch_not_taken_has_slope_zero_though_it_is_infinite(self):
        x = numpy.array([0.0, 4.0])
        with numpy.errstate(divide="ignore"):
            slope = grad(lambda x: np.sum(np.where(x > 0.0, np.log(np.where(x > 0.0, x, 1.0)), 0.0)))(x)
        assert slope.tolist() == [0.0, 0.25]

    def test_the_condition_is_a_constant(self):
        assert grad(lambda x: np.sum(np.where(x, x, 2.0 * x)))(numpy.array([0.0, 1.0])).tolist() == [2.0, 1.0]

    def test_is_differentiable_through_its_gradient(self, xp):
        mask = xp.asarray([True, False])
        check_grads(lambda a, b: np.where(mask, a * b, a**3), [xp.asarray([2.0, 3.0]), xp.asarray(1.5)], order=3)


class TestRounding:
    def test_to_integers_is_a_constant(self, xp):
        x = xp.asarray([1.25, 2.75])
        assert grad(lambda x: np.sum(x * x.astype("int64")))(x).tolist() == [1.0, 2.0]
        assert grad(lambda x: np.sum(x * np.floor(x)))(x).tolist() == [1.0, 2.0]

    def test_to_single_precision_keeps_the_gradient_in_double(self, xp):
        value, slope = value_and_grad(lambda x: np.sum(x.astype("float32") ** 2))(xp.asarray([1.5]))
        assert value.dtype == "float32"
        assert (slope.dtype, slope.tolist()) == ("float64", [3.0])


class TestPrecision:
    """Digits that a formula less careful would lose."""

    def test_near_zero(self):
        assert slopes(np.log1p, numpy.array([1e-20]))[0].tolist() == [1.0]
        assert slopes(np.expm1, numpy.array([1e-20]))[0].tolist() == [1.0]

    def test_where_they_saturate(self):
        assert slopes(np.tanh, numpy.array([-400.0, 400.0]))[0].tolist() == [0.0, 0.0]
        assert slopes(np.arctan, numpy.array([-1e8, 1e8]))[0].tolist() == [1e-16, 1e-16]


def test_one_element_does_not_depend_on_another():
    x = numpy.array([0.3, 0.7, 1.1])
    assert_array_equal(jacobian(np.sin)(x), numpy.diag(numpy.cos(x)))
