"""check_grads must pass what is right, and must not pass what is wrong: each planted fault here is one it catches."""

from __future__ import annotations

import numpy
import pytest
from numpy.testing import assert_array_equal

import minilvm.numpy as np
from minilvm.autograd import check_grads, grad, primitive, stop_gradient


def cube_with(rule):
    return primitive(x=rule)(lambda x: x**3)


class TestPasses:
    def test_right_derivatives_to_any_order(self, xp):
        check_grads(lambda x: np.exp(np.sin(x)), [xp.asarray([0.3, -1.2])], order=4)

    def test_trees_in_and_out(self):
        p = {"a": numpy.ones(2), "b": (3.0, None)}
        check_grads(lambda p, s: {"y": p["a"] * s, "z": [p["b"][0] ** 2]}, [p, 2.0])

    def test_single_precision_and_integers_as_double(self):
        seen = []
        check_grads(lambda x: [seen.append(x.dtype), np.sin(x)][1], [numpy.ones(2, "float32")])
        check_grads(lambda x: x**3, [2])
        assert set(seen) == {numpy.dtype("float64")}

    def test_what_is_constant_or_empty(self):
        check_grads(lambda x: 3.0, [1.0])
        check_grads(lambda x: stop_gradient(x * 0.0) + 1.0, [1.0])
        check_grads(np.sin, [numpy.ones((0, 3))])

    def test_leaves_its_arguments_alone(self):
        x = numpy.array([1.0, 2.0])
        check_grads(np.exp, [x])
        assert_array_equal(x, [1.0, 2.0])


class TestCatches:
    @pytest.mark.parametrize(
        ("rule", "order"),
        [
            (lambda g, x: g * 3.0 * x, 1),
            (lambda g, x: -g * 3.0 * x**2, 1),
            (lambda g, x: g * 0.0, 1),
            (lambda g, x: g * (3.0 * x**2 + 1e-4), 1),
            (lambda g, x: g * numpy.nan, 1),
            (lambda g, x: stop_gradient(g) * 3.0 * x**2, 2),
            (lambda g, x: g * 3.0 * stop_gradient(x) ** 2, 2),
            (lambda g, x: g * 3.0 * stop_gradient(x) * x, 2),
            (lambda g, x: g * (6.0 * stop_gradient(x) * x - 3.0 * stop_gradient(x) ** 2), 3),
        ],
    )
    def test_a_wrong_rule_at_the_order_where_it_is_wrong(self, rule, order):
        f, x = cube_with(rule), [numpy.array([0.5, -1.5])]
        with pytest.raises(AssertionError, match=rf"derivative of order {order} .*rule gives"):
            check_grads(f, x, order=3)
        if order > 1:
            check_grads(f, x, order=order - 1)

    def test_a_rule_that_forgets_how_its_cotangent_was_made(self):
        with pytest.raises(AssertionError, match=r"order 2 with respect to the cotangent"):
            check_grads(cube_with(lambda g, x: stop_gradient(g) * 3.0 * x**2), [0.5])

    def test_one_wrong_element_among_many(self):
        mask = numpy.arange(50) == 17
        f = primitive(x=lambda g, x: g * np.where(mask, 1.01, 1.0))(lambda x: x + 0.0)
        with pytest.raises(AssertionError, match="order 1"):
            check_grads(f, [numpy.ones(50)])

    def test_a_gradient_to_the_wrong_operand(self):
        f = primitive(a=lambda g, a: g * a, b=lambda g, b: g * b)(lambda a, b: a * b)
        with pytest.raises(AssertionError, match="order 1"):
            check_grads(f, [numpy.array([2.0]), numpy.array([3.0])])

    @pytest.mark.parametrize("wrong", [lambda g: g[None], lambda g: g.sum(), lambda g: g[:, None] * numpy.ones(2)])
    def test_a_gradient_of_another_shape(self, wrong):
        f = primitive(x=wrong)(lambda x: x + 0.0)
        with pytest.raises(AssertionError, match=r"shape .* for an argument of shape \(1,\)"):
            check_grads(f, [numpy.array([2.0])], order=1)

    def test_a_dropped_gradient(self):
        with pytest.raises(AssertionError, match="order 1"):
            check_grads(lambda x: stop_gradient(x) * x, [2.0])

    def test_names_the_argument(self):
        f = primitive(a=lambda g: g * 1.0, b=lambda g: g * 9.0)(lambda a, b: a + b)
        with pytest.raises(AssertionError, match=r"\[1\]\['w'\]\[0\]"):
            check_grads(lambda a, p: f(a, p["w"][0]), [1.0, {"w": [2.0]}])

    def test_a_kink_next_to_the_point(self):
        with pytest.raises(AssertionError, match="order 1"):
            check_grads(abs, [1e-5])
        assert grad(abs)(1e-5) == 1.0


class TestDirections:
    def test_are_the_same_every_time(self):
        assert said() == said()

    def test_follow_the_seed(self):
        assert said(rng=1) != said(rng=2)
        assert said(rng=numpy.random.default_rng(1)) == said(rng=1)


def said(**options):
    with pytest.raises(AssertionError) as caught:
        check_grads(cube_with(lambda g, x: g), [numpy.array([0.5])], order=1, **options)
    return str(caught.value)
