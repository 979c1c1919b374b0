"""The tape: long, nested, closed when its function returns, and emptied as the backward pass walks it."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm.autograd import Tensor, check_grads, grad, primitive, stop_gradient, value_and_grad, vjp
from minilvm.tape import Tape


class TestLength:
    def test_two_hundred_thousand_operations_need_no_recursion(self):
        def f(x):
            for _ in range(100_000):
                x = x + 1e-6
                x = x * 1.0
            return x

        assert value_and_grad(f)(1.0) == pytest.approx((1.1, 1.0))

    def test_a_long_graph_is_released_without_recursion(self):
        y, pullback = vjp(lambda x: sum((x for _ in range(50_000)), start=0.0), 1.0)
        assert pullback(1.0) == (y,)
        del pullback
        gc.collect()

    def test_what_the_result_does_not_depend_on_costs_nothing(self):
        @primitive(x=lambda g: pytest.fail("this operation has no part in the result"))
        def unused(x):
            return x

        assert grad(lambda x: [unused(x), 2.0 * x][1])(1.0) == 2.0


class TestNesting:
    def test_perturbations_are_not_confused(self):
        assert grad(lambda x: x * grad(lambda y: x * y)(2.0))(1.0) == 2.0
        assert grad(lambda x: x * grad(lambda y: x + y)(1.0))(1.0) == 1.0

    def test_third_order(self):
        def third(f):
            return grad(grad(grad(f)))

        assert third(lambda x: x**5)(2.0) == 60 * 4.0
        assert third(np.tanh)(0.5) == pytest.approx(-2 / numpy.cosh(0.5) ** 4 * (1 - 2 * numpy.sinh(0.5) ** 2))

    def test_an_inner_function_may_close_over_an_outer_tensor(self):
        def f(x):
            return grad(lambda y: np.sum(x * y**3))(x)[0] * x[1]

        x = numpy.array([2.0, 3.0])
        assert_allclose(grad(f)(x), [9 * 2.0**2 * 3.0, 3 * 2.0**3])
        check_grads(f, [x], order=3)

    def test_operations_on_an_outer_tensor_inside_an_inner_trace(self):
        def f(x):
            return grad(lambda y: np.exp(x) * np.exp(y) + np.sin(x))(0.0)

        assert grad(f)(1.0) == pytest.approx(numpy.e)

    @pytest.mark.parametrize("order", [lambda x, y: (x, y), lambda x, y: (y, x)])
    def test_the_younger_tape_is_the_inner_one(self, order):
        def f(x):
            return grad(lambda y: np.multiply(*order(x * x, y * y)))(3.0)

        assert grad(f)(2.0) == 2 * 2.0 * 2 * 3.0

    def test_primitives_nest_as_ufuncs_do(self):
        def f(x):
            return grad(lambda y: np.sum(np.stack([x, y, x * y])) + np.sum(y * x))(2.0)

        assert grad(f)(1.0) == 2.0

    def test_threads_trace_by_themselves(self):
        found = []

        def work(k):
            found.append((k, float(grad(lambda x: sum((x * k for _ in range(500)), start=0.0))(1.0))))

        threads = [threading.Thread(target=work, args=(float(k),)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == [(k, 500.0 * k) for k in (0.0, 1.0, 2.0, 3.0)]


class TestStopGradient:
    def test_is_a_constant_at_every_order(self):
        def f(x):
            return stop_gradient(x) * x**2

        assert [grad(f)(3.0), grad(grad(f))(3.0), grad(grad(grad(f)))(3.0)] == [18.0, 6.0, 0.0]

    def test_strips_every_tape(self):
        def f(x):
            return grad(lambda y: stop_gradient(x) * y + stop_gradient(y) * x)(2.0)

        assert grad(f)(3.0) == 0.0

    def test_leaves_plain_values_alone(self):
        x = numpy.ones(2)
        assert stop_gradient(x) is x
        assert stop_gradient("a name") == "a name"


class TestLeaks:
    def test_a_tensor_does_not_outlive_its_function(self):
        kept = []
        grad(lambda x: [kept.append(x), x][1])(1.0)
        with pytest.raises(RuntimeError, match=r"after the function .* returned.*has_aux"):
            kept[0] + 1.0
        assert stop_gradient(kept[0]) == 1.0

    def test_nor_when_the_function_raised(self):
        kept = []

        def f(x):
            kept.append(x)
            raise KeyError

        with pytest.raises(KeyError):
            grad(f)(1.0)
        with pytest.raises(RuntimeError, match="returned"):
            np.exp(kept[0])

    def test_an_inner_tensor_does_not_reach_the_outer_function(self):
        def f(x):
            kept = []
            grad(lambda y: [kept.append(y), y * x][1])(1.0)
            return x * kept[0]

        with pytest.raises(RuntimeError, match="returned"):
            grad(f)(1.0)

    def test_a_pullback_over_an_outer_tensor_ends_with_the_outer_trace(self):
        kept = []
        grad(lambda x: [kept.append(vjp(lambda y: x * y, 2.0)[1]), x][1])(1.0)
        with pytest.raises(RuntimeError, match="returned"):
            kept[0](1.0)


class TestMemory:
    def test_saved_arrays_die_as_the_backward_pass_leaves_them(self):
        alive = []

        @primitive(x=lambda g: [alive.append([ref() is not None for ref in refs]), g][1])
        def probe(x):
            return x + 0.0

        @primitive(x=lambda g, y: g * y)
        def exponential(x):
            y = numpy.exp(x)
            refs.append(weakref.ref(y))
            return y

        refs: list[weakref.ref] = []
        grad(lambda x: np.sum(exponential(probe(exponential(probe(x))))))(numpy.ones(3))
        assert alive == [[True, False], [False, False]]

    def test_a_pullback_that_may_be_called_again_keeps_them(self):
        refs: list[weakref.ref] = []

        @primitive(x=lambda g, y: g * y)
        def exponential(x):
            y = numpy.exp(x)
            refs.append(weakref.ref(y))
            return y

        _, pullback = vjp(lambda x: np.sum(exponential(x)), numpy.ones(3))
        pullback(1.0)
        assert refs[0]() is not None
        del pullback
        assert refs[0]() is None

    def test_a_sum_keeps_only_a_shape(self):
        refs: list[weakref.ref] = []

        def f(x):
            y = x + 1.0
            refs.append(weakref.ref(y.value))
            return np.sum(y)

        _, _pullback = vjp(f, numpy.ones(3))
        assert refs[0]() is None


class TestBits:
    def test_the_same_inputs_give_the_same_bits(self):
        rng = numpy.random.default_rng(0)
        x, w = rng.standard_normal((50, 20)), rng.standard_normal((20, 20))

        def f(w, x):
            h = np.tanh(x @ w)
            return np.logsumexp(np.sum(h[numpy.arange(100) % 50] * h[::-1][numpy.arange(100) % 7], axis=1)) + np.var(h)

        first, second = grad(f, (0, 1))(w, x), grad(f, (0, 1))(w, x)
        for a, b in zip(first, second, strict=True):
            assert_array_equal(a, b, strict=True)


def test_a_tensor_is_a_value_on_a_tape():
    tape = Tape()
    x = Tensor(numpy.ones(2), tape, ())
    y = x * 2.0
    assert (x.index, y.index, len(tape.entries)) == (0, 1, 2)
    assert y.value.tolist() == [2.0, 2.0]
