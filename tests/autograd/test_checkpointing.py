"""A checkpointed function is the function, to any order, and remembers nothing but its arguments."""

import weakref

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import check_grads, checkpoint, grad, hessian, value_and_grad


def several(parameters, x):
    """Trees in, a tree out, one argument used twice."""
    hidden = np.tanh(np.matmul(x, parameters["w"]) + parameters["b"])
    return {"sum": np.sum(hidden), "parts": [hidden, np.exp(x) * x]}


@given(st.integers(0, 2**32))
def test_values_and_gradients_are_those_of_the_function(seed):
    rng = numpy.random.default_rng(seed)
    parameters = {"w": rng.standard_normal((3, 2)), "b": rng.standard_normal(2)}
    x = rng.standard_normal((4, 3))

    def loss(f):
        return lambda p, x: sum(np.sum(np.square(leaf)) for leaf in tree.leaves(f(p, x)))

    plain = value_and_grad(loss(several), (0, 1))(parameters, x)
    again = value_and_grad(loss(checkpoint(several)), (0, 1))(parameters, x)
    tree.map(lambda a, b: numpy.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), plain, again)


def test_derivatives_to_third_order():
    check_grads(checkpoint(lambda a, b: np.sin(a) * b), [numpy.array([0.3, -1.0]), numpy.array([2.0, 0.5])], order=3)
    x = numpy.array([0.3, -1.0])
    numpy.testing.assert_allclose(
        hessian(checkpoint(lambda x: np.sum(x**3) * x[0]))(x), hessian(lambda x: np.sum(x**3) * x[0])(x)
    )


def test_only_traced_arguments_need_a_gradient():
    x = numpy.array([1.0, 2.0])
    scaled = checkpoint(lambda x, n, scale: x * n * scale)
    numpy.testing.assert_array_equal(grad(lambda x: np.sum(scaled(x, 3, numpy.array([1.0, 2.0]))))(x), [3.0, 6.0])
    numpy.testing.assert_array_equal(scaled(x, 3, 1.0), 3.0 * x)


def test_each_result_keeps_its_precision():
    seen = []

    def loss(x):
        low, high = checkpoint(lambda x: (x.astype("float32"), x * 2.0))(x)
        seen.extend([low.dtype, high.dtype])
        return np.sum(low.astype("float64") + high)

    numpy.testing.assert_allclose(grad(loss)(numpy.ones(2)), 3.0)
    assert seen == [numpy.float32, numpy.float64]


def test_what_was_computed_on_the_way_is_forgotten_and_without_a_checkpoint_is_not():
    def alive_after(wrap):
        found = []

        def block(x):
            hidden = np.exp(x)
            found.append(weakref.ref(hidden.value if hasattr(hidden, "value") else hidden))
            return hidden * hidden

        def loss(x):
            y = wrap(block)(x)
            found.append(found[0]() is not None)
            return np.sum(y)

        grad(loss)(numpy.ones(1000))
        return found[1]

    assert alive_after(lambda f: f)
    assert not alive_after(checkpoint)


def test_the_function_is_evaluated_once_more_however_many_arguments_it_has():
    calls = []

    def counted(a, b, c):
        calls.append(None)
        return a * b * c

    grad(lambda *abc: np.sum(checkpoint(counted)(*abc)), (0, 1, 2))(*numpy.ones((3, 4)))
    assert len(calls) == 2


def test_a_traced_value_from_outside_is_refused_not_lost():
    with pytest.raises(TypeError, match="not among its arguments"):
        grad(lambda a: np.sum(checkpoint(lambda b: a * b)(a)))(numpy.ones(2))
