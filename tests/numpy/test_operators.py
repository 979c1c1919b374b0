"""A Tensor behaves as NumPy's array: with operands of any kind on either side, and by NumPy's own names.

What it cannot do, it refuses by name, and says what to do instead.
"""

from __future__ import annotations

import operator

import numpy
import pytest
from numpy.testing import assert_allclose

import minilvm.numpy as np
from minilvm import backend
from minilvm.autograd import Tensor, grad, jacobian, stop_gradient, vjp
from minilvm.rules import HANDLERS

ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.matmul]
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


def traced(f, x=2.0):
    """Run `f` on a traced value; what it returns is of no interest."""
    grad(lambda x: [f(x), 0.0][1])(x)


class TestOperands:
    @pytest.mark.parametrize("op", ARITHMETIC)
    def test_a_plain_array_may_stand_on_either_side(self, op, xp):
        a, b = xp.asarray([[1.0, 2.0], [3.0, 4.0]]), xp.asarray([[0.5, 1.5], [2.5, 0.25]])
        left, right = grad(lambda a, b: np.sum(op(a, b)), argnums=(0, 1))(a, b)
        assert_allclose(backend.to_numpy(grad(lambda a: np.sum(op(a, b)))(a)), backend.to_numpy(left))
        assert_allclose(backend.to_numpy(grad(lambda b: np.sum(op(a, b)))(b)), backend.to_numpy(right))

    @pytest.mark.parametrize("op", ARITHMETIC[:-1])
    @pytest.mark.parametrize("number", [3, 3.0, numpy.float64(3.0), numpy.int64(3), numpy.array(3.0)])
    def test_a_number_may_stand_on_either_side(self, op, number):
        assert grad(lambda x: op(x, number))(2.0) == pytest.approx(grad(op, argnums=0)(2.0, 3.0))
        assert grad(lambda x: op(number, x))(2.0) == pytest.approx(grad(op, argnums=1)(3.0, 2.0))

    def test_a_list_is_an_array(self):
        assert grad(lambda x: np.sum([1.0, 2.0] * x))(numpy.ones(2)).tolist() == [1.0, 2.0]

    @pytest.mark.parametrize("op", COMPARISONS)
    def test_comparisons_are_plain(self, op, xp):
        a, b = xp.asarray([1.0, 2.0, 3.0]), xp.asarray([3.0, 2.0, 1.0])
        found = []
        traced(lambda x: found.extend([op(x, b), op(b, x), op(x, 2.0), op(2.0, x)]), a)
        assert not any(isinstance(y, Tensor) for y in found)
        assert [y.tolist() for y in found] == [y.tolist() for y in (op(a, b), op(b, a), op(a, 2.0), op(2.0, a))]

    def test_steers_pythons_own_control_flow(self):
        def f(x):
            while x < 100.0:
                x = x * x
            return x if x > 0.0 else -x

        assert grad(f)(3.0) == 8 * 3.0**7
        assert grad(lambda x: x or -x)(0.0) == -1.0

    def test_in_place_addition_rebinds(self):
        x = numpy.ones(2)

        def f(x):
            before = x
            x += 1.0
            x *= x
            return np.sum(x * before)

        assert grad(f)(x).tolist() == [8.0, 8.0]
        assert x.tolist() == [1.0, 1.0]

    def test_iterates_unpacks_and_counts(self, xp):
        def f(x):
            a, b = x
            assert len(x) == 2
            return a * b + sum(x)

        assert grad(f)(xp.asarray([3.0, 5.0])).tolist() == [6.0, 4.0]
        with pytest.raises(TypeError):
            traced(list)

    def test_knows_its_shape(self):
        def f(x):
            assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((2, 3), 2, 6, "float32", 2)
            assert x.T.shape == x.mT.shape == x.transpose().shape == (3, 2)
            assert x.reshape(3, 2).shape == x.reshape((3, 2)).shape == x.reshape(3, -1).shape == (3, 2)
            assert repr(x).startswith("Tensor(array(")

        traced(f, numpy.ones((2, 3), "float32"))


class TestNumPysNames:
    def test_every_function_that_has_a_rule_is_found_by_numpys_name(self):
        for name in ("exp", "sum", "where", "concatenate", "matmul", "transpose", "sort", "multiply", "max"):
            assert HANDLERS[getattr(numpy, name)] is getattr(np, name)
        assert HANDLERS[numpy.linalg.cholesky] is np.linalg.cholesky

    def test_a_function_that_only_knows_numpy_is_differentiable(self):
        def f(x):
            return numpy.sum(numpy.exp(-numpy.square(x - numpy.mean(x, axis=0))) / numpy.sqrt(2.0 * numpy.pi))

        def ours(x):
            return np.sum(np.exp(-np.square(x - np.mean(x, axis=0))) / np.sqrt(2.0 * np.pi))

        x = numpy.arange(6.0).reshape(3, 2)
        assert_allclose(jacobian(grad(f))(x), jacobian(grad(ours))(x))

    def test_numpys_numbers_and_arrays_on_the_left(self):
        assert grad(lambda x: numpy.float64(3.0) * x)(2.0) == 3.0
        assert grad(lambda x: (numpy.ones((2, 2)) @ x).sum())(numpy.ones(2)).tolist() == [2.0, 2.0]


class TestRefusals:
    @pytest.mark.parametrize(
        ("call", "named"),
        [
            (numpy.cbrt, "numpy.cbrt"),
            (numpy.median, "numpy.median"),
            (numpy.fft.fft, "numpy.fft.fft"),
            (numpy.linalg.pinv, "numpy.linalg.pinv"),
            (numpy.add.reduce, "numpy.add.reduce"),
            (numpy.add.accumulate, "numpy.add.accumulate"),
            (lambda x: numpy.multiply.outer(x, x), "numpy.multiply.outer"),
            (lambda x: numpy.add.at(x, 0, 1.0), "numpy.add.at"),
            (lambda x: numpy.exp(x, out=numpy.ones(2)), "numpy.exp with out"),
            (lambda x: numpy.exp(x, where=numpy.ones(2, bool)), "numpy.exp with where"),
            (lambda x: numpy.add(x, x, dtype="float32"), "numpy.add with dtype"),
        ],
    )
    def test_a_function_without_a_rule_is_named(self, call, named):
        with pytest.raises(TypeError, match=rf"{named} .*minilvm\.numpy.*primitive.*stop_gradient"):
            traced(call, numpy.ones(2))

    def test_an_option_without_a_rule_is_named(self):
        for call in (lambda x: numpy.sum(x, dtype="float32"), lambda x: numpy.mean(x, where=True)):
            with pytest.raises(TypeError, match=r"dtype|where"):
                traced(call, numpy.ones(2))

    def test_adding_to_a_plain_array_in_place(self):
        def f(x):
            total = numpy.zeros(2)
            total += x
            return np.sum(total)

        with pytest.raises(TypeError, match=r"numpy\.add with out"):
            grad(f)(numpy.ones(2))

    @pytest.mark.parametrize("index", [0, slice(None), ..., numpy.array([True, False])])
    def test_assignment_in_place(self, index):
        with pytest.raises(TypeError, match=r"in place.*where.*concatenate.*stack.*scatter_add"):
            traced(lambda x: operator.setitem(x, index, 1.0), numpy.ones(2))

    def test_assignment_into_a_plain_array(self):
        def f(x):
            table = numpy.zeros(2)
            table[0] = x
            return np.sum(table)

        with pytest.raises(ValueError, match="setting an array element") as caught:
            grad(f)(1.0)
        assert "lose its gradient" in str(caught.value.__cause__)

    @pytest.mark.parametrize(
        "convert",
        [
            float,
            int,
            complex,
            numpy.asarray,
            numpy.array,
            lambda x: numpy.asarray([x, x]),
            lambda x: x.item(),
            lambda x: x.tolist(),
            lambda x: numpy.zeros(3)[x],
            backend.to_numpy,
        ],
    )
    def test_becoming_a_plain_number_or_array(self, convert, xp):
        with pytest.raises(TypeError, match=r"lose its gradient.*stop_gradient.*has_aux"):
            traced(convert, xp.asarray(2.0))

    def test_being_a_key(self):
        with pytest.raises(TypeError, match="unhashable"):
            traced(hash)

    @pytest.mark.parametrize(
        "call",
        [
            lambda a, b: a + b,
            np.multiply,
            lambda a, b: a @ b,
            lambda a, b: np.where(a > 0.0, a, b),
            lambda a, b: np.concatenate([a, b]),
            lambda a, b: np.stack([a, b]),
        ],
    )
    def test_arrays_of_two_libraries(self, call):
        with backend.using("strict_cupy"):
            there = backend.asarray([1.0, 2.0])
        here = numpy.array([1.0, 2.0])
        with pytest.raises(TypeError, match=r"numpy and strict_cupy .*backend\.asarray"):
            grad(lambda x: np.sum(call(x, here)))(there)
        with pytest.raises(TypeError, match=r"numpy and strict_cupy .*backend\.asarray"):
            grad(lambda x: np.sum(call(there, x)))(here)

    def test_a_constant_of_two_libraries_is_refused_too(self):
        with backend.using("strict_cupy"), pytest.raises(TypeError):
            vjp(lambda x: stop_gradient(x) + numpy.ones(2), backend.asarray([1.0, 2.0]))
