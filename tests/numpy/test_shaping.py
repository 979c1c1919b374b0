"""Moving elements: what is read twice gathers twice, and every rule is the transpose of its forward line."""

from __future__ import annotations

import numpy
import pytest
from cases import arrays, indexed, scattered
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import check_grads, grad, primitive, vjp


@primitive(x=lambda g, x, index: assigned(g, index, x.shape))
def forgetful(x, index):
    """A broken twin of `getitem`, whose rule assigns where it should add."""
    return x[index]


def assigned(g, index, shape):
    x = numpy.zeros(shape)
    x[index] = g
    return x


class TestIndexing:
    def test_repeated_places_accumulate(self, xp):
        index = xp.asarray([0, 2, 2, 2])
        weights = xp.asarray([1.0, 2.0, 3.0, 4.0])
        assert grad(lambda x: np.sum(x[index] * weights))(xp.ones(3)).tolist() == [1.0, 0.0, 9.0]

    def test_assigning_instead_is_caught(self):
        check_grads(lambda x: forgetful(x, numpy.array([0, 2])), [numpy.ones(3)], order=1)
        with pytest.raises(AssertionError, match="order 1"):
            check_grads(lambda x: forgetful(x, numpy.array([2, 2])), [numpy.ones(3)], order=1)

    @given(arguments=scattered())
    def test_scatter_add_is_the_transpose_of_getitem(self, arguments):
        g, index, shape = arguments
        x = numpy.random.default_rng(0).standard_normal(shape)
        assert_allclose(numpy.sum(x[index] * g), numpy.sum(x * np.scatter_add(g, index, shape)), atol=1e-12)

    @given(arguments=indexed())
    def test_counts_how_often_a_place_was_read(self, arguments):
        x, index = arguments
        y, pullback = vjp(lambda x: np.getitem(x, index), x)
        places = numpy.arange(x.size).reshape(x.shape)[index].ravel()
        assert_array_equal(pullback(numpy.ones_like(y))[0].ravel(), numpy.bincount(places, minlength=x.size))

    def test_by_a_condition_on_the_tensor_itself(self, xp):
        assert grad(lambda x: np.sum(x[x > 1.0] ** 2))(xp.asarray([1.0, 2.0, 3.0])).tolist() == [0.0, 4.0, 6.0]

    def test_by_its_own_argmax(self, xp):
        assert grad(lambda x: x[np.argmax(x)])(xp.asarray([1.0, 3.0, 2.0])).tolist() == [0.0, 1.0, 0.0]

    def test_by_an_index_from_the_host(self, xp):
        assert grad(lambda x: np.sum(x[numpy.array([1, 1])]))(xp.ones(2)).tolist() == [0.0, 2.0]

    def test_out_of_range_is_numpys_error(self):
        with pytest.raises(IndexError):
            grad(lambda x: x[3])(numpy.ones(3))

    def test_a_number_is_read_beside_another_use_of_it(self, xp):
        slope = grad(lambda x: np.sum(x[..., None] * xp.ones(3)) + x * x + np.sum(x[None]))(xp.asarray(2.0))
        assert float(slope) == 8.0

    def test_a_read_of_nothing(self):
        assert grad(lambda x: np.sum(x[2:2]))(numpy.ones(3)).tolist() == [0.0, 0.0, 0.0]


class TestOrder:
    def test_equal_elements_each_get_one_gradient(self):
        x = numpy.array([2.0, 1.0, 2.0, 1.0])
        y, pullback = vjp(np.sort, x)
        assert y.tolist() == [1.0, 1.0, 2.0, 2.0]
        assert sorted(pullback(numpy.array([1.0, 2.0, 3.0, 4.0]))[0].tolist()) == [1.0, 2.0, 3.0, 4.0]

    @given(x=arrays((4,), unique=True))
    def test_the_median_is_one_element(self, x):
        assert_array_equal(grad(lambda x: np.sort(x)[1])(x), (x == numpy.sort(x)[1]).astype(float))


class TestJoining:
    def test_of_thousands_gives_each_its_own(self):
        n = 3_000
        slope = grad(lambda x: np.sum(np.stack([x[i] for i in range(n)]) * numpy.arange(n)))(numpy.ones(n))
        assert_array_equal(slope, numpy.arange(n))

    def test_of_the_same_tensor_twice(self):
        assert grad(lambda x: np.sum(np.concatenate([x, x]) * numpy.arange(4.0)))(numpy.ones(2)).tolist() == [2.0, 4.0]

    def test_with_plain_arrays_and_numbers(self, xp):
        assert grad(lambda x: np.sum(np.concatenate([xp.zeros(1), x])))(xp.ones(2)).tolist() == [1.0, 1.0]
        assert float(grad(lambda x: np.sum(np.stack([1.0, x, numpy.float64(2.0)])))(xp.asarray(3.0))) == 1.0

    def test_sections_that_do_not_fit_are_numpys_error(self):
        with pytest.raises(ValueError, match="equal division"):
            np.split(numpy.ones(3), 2)


class TestArguments:
    def test_lists_stand_for_tuples(self):
        x = numpy.arange(4.0).reshape(2, 2)
        assert_array_equal(np.tile(x, [2, 1]), numpy.tile(x, [2, 1]))
        check_grads(lambda x: np.tile(x, [2, 1]), [x])
        check_grads(lambda x: np.roll(x, [1, 1], axis=[0, 1]), [x])
        check_grads(lambda x: np.transpose(x, [1, 0]), [x])

    def test_only_constant_padding_has_a_rule(self):
        with pytest.raises(ValueError, match="'reflect'"):
            grad(lambda x: np.sum(numpy.pad(x, 1, mode="reflect")))(numpy.ones(3))
        assert grad(lambda x: np.sum(numpy.pad(x, 1, mode="constant")))(numpy.ones(2)).tolist() == [1.0, 1.0]


def test_views_of_the_input_are_not_given_out():
    """Broadcasting makes views that NumPy marks read-only; a gradient is a copy."""
    slope = grad(np.sum)(numpy.ones((2, 3)))
    slope += 1.0
    assert slope.tolist() == [[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]


def test_round_trip_of_every_shape_change(xp):
    x = xp.asarray(numpy.arange(6.0).reshape(1, 2, 3))
    f = lambda x: np.moveaxis(np.expand_dims(np.squeeze(np.swapaxes(x, 1, 2)), 0), 2, 1)  # noqa: E731
    assert backend.to_numpy(vjp(f, x)[0]).tolist() == backend.to_numpy(x).tolist()
    check_grads(f, [x])
