"""New arrays go where the active backend is; lists that hold traced values, where those are."""

from __future__ import annotations

import numpy
import pytest

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import Tensor, grad, vjp


class TestFromNothing:
    @pytest.mark.parametrize(
        "make",
        [
            lambda np: np.zeros((2, 3)),
            lambda np: np.zeros(2, dtype="float32"),
            lambda np: np.ones((2, 3)),
            lambda np: np.full((2,), 1.5),
            lambda np: np.full((2,), 1.5, dtype="float32"),
            lambda np: np.eye(3),
            lambda np: np.eye(2, 3, 1, dtype="float32"),
            lambda np: np.arange(3),
            lambda np: np.arange(1.0, 3.0, 0.5),
            lambda np: np.arange(3, dtype="float32"),
            lambda np: np.linspace(0.0, 1.0, 5),
            lambda np: np.linspace(0.0, 1.0),
        ],
    )
    def test_is_numpys_on_the_active_backend(self, make, xp):
        found, expected = make(np), make(numpy)
        assert isinstance(found, xp.ndarray)
        assert found.dtype == expected.dtype
        assert backend.to_numpy(found).tolist() == expected.tolist()


class TestArray:
    def test_of_plain_lists_is_on_the_active_backend(self, xp):
        for make in (np.array, np.asarray):
            assert isinstance(make([[1.0], [2.0]]), xp.ndarray)
            assert make([1.0], dtype="float32").dtype == "float32"

    def test_stacks_numbers_and_traced_values(self, xp):
        found, pullback = vjp(lambda x: np.array([[1.0, 2.0], [x, x * x]]), xp.asarray(3.0))
        assert isinstance(found, xp.ndarray)
        assert found.tolist() == [[1.0, 2.0], [3.0, 9.0]]
        assert float(pullback(xp.ones((2, 2)))[0]) == 7.0

    def test_follows_the_traced_values_not_the_active_backend(self):
        with backend.using("strict_cupy"):
            slope = grad(lambda x: np.sum(np.array([[1.0, 2.0], [x[0], x[1]]])))(numpy.ones(2))
        assert slope.tolist() == [1.0, 1.0]

    def test_of_a_tensor_is_itself(self):
        def f(x):
            assert np.asarray(x) is x
            assert isinstance(np.array(x, dtype="float32"), Tensor)
            assert np.array(x, dtype="float32").dtype == "float32"
            return np.sum(x)

        grad(f)(numpy.ones(2))

    def test_copies_a_plain_array_and_asarray_does_not(self):
        x = numpy.ones(2)
        assert np.array(x) is not x
        assert np.asarray(x) is x

    def test_ragged_lists_are_numpys_error(self):
        with pytest.raises(ValueError, match="dimension"):
            grad(lambda x: np.sum(np.array([[x, x], [x]])))(1.0)
