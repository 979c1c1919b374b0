"""Rules: what a function must be told to be differentiable, and what it refuses."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose

import minilvm.numpy as np
from minilvm.autograd import check_grads, grad, primitive
from minilvm.rules import constant, unbroadcast


class TestPrimitive:
    def test_given_plain_arrays_is_the_function_itself(self):
        @primitive(x=lambda g: pytest.fail("nothing is traced"))
        def double(x):
            """Twice."""
            return 2.0 * x

        assert double(3.0) == 6.0
        assert (double.__name__, double.__doc__) == ("double", "Twice.")

    def test_a_rule_may_ask_for_the_answer_arguments_options_and_shapes(self):
        asked = []

        @primitive(x=lambda g, y, x, b_shape, b, scale, y_shape: [asked.append((y, b_shape, scale, y_shape)), g * b][1])
        def f(x, b, scale=2.0):
            return x * b * scale / scale

        assert grad(lambda x: np.sum(f(x, numpy.full(3, 4.0))))(numpy.ones(3)).tolist() == [4.0, 4.0, 4.0]
        ((y, b_shape, scale, y_shape),) = asked
        assert (y.tolist(), b_shape, scale, y_shape) == ([4.0, 4.0, 4.0], (3,), 2.0, (3,))

    def test_a_variadic_argument_has_one_rule(self):
        @primitive(xs=lambda g, i, xs, weights: g * weights[i] * xs[i])
        def half_squares(weights, *xs):
            return sum(w * x * x / 2.0 for w, x in zip(weights, xs, strict=True))

        assert grad(lambda a, b: half_squares((1.0, 10.0), a, b), (0, 1))(2.0, 3.0) == (2.0, 30.0)
        check_grads(lambda a, b: half_squares((1.0, 10.0), a, b), [2.0, 3.0], order=3)

    def test_an_argument_without_a_rule_is_named(self):
        @primitive(x=lambda g, scale: g * scale)
        def scaled(x, scale):
            return x * scale

        assert grad(scaled)(1.0, 3.0) == 3.0
        with pytest.raises(TypeError, match=r"scaled .*'scale'.*stop_gradient.*primitive"):
            grad(scaled, 1)(1.0, 3.0)

    def test_a_traced_keyword_is_refused_and_named(self):
        with pytest.raises(TypeError, match="sum takes traced arguments by position"):
            grad(lambda x: np.sum(x=x))(numpy.ones(2))

    def test_a_rule_for_no_argument_is_refused_where_it_is_written(self):
        with pytest.raises(TypeError, match="f has no argument z"):

            @primitive(z=lambda g: g)
            def f(x):
                return x

    def test_a_rule_that_asks_for_nothing_there_is_refused_where_it_is_written(self):
        with pytest.raises(TypeError, match="rule for x of f asks for z"):

            @primitive(x=lambda g, z: g * z)
            def f(x):
                return x

    @pytest.mark.parametrize("name", ["y", "i"])
    def test_an_argument_by_the_name_of_the_answer_is_refused(self, name):
        with pytest.raises(TypeError, match=f"an argument {name}"):
            primitive(x=lambda g: g)(eval(f"lambda x, {name}: x"))  # noqa: S307

    def test_a_rule_may_be_left_out_where_nothing_is_traced(self):
        @primitive
        def opaque(x):
            return x

        assert opaque(1.0) == 1.0
        with pytest.raises(TypeError, match="opaque has no derivative"):
            grad(opaque)(1.0)


class TestConstant:
    def test_takes_traced_values_by_position_and_by_name(self):
        step = constant(lambda x, edge=0.0: numpy.heaviside(x, edge))
        assert grad(lambda x: x * step(x) + x * step(1.0, edge=x) + step(x, edge=x))(2.0) == 2.0
        assert grad(lambda x: np.sum(x * numpy.argsort(a=x)))(numpy.array([5.0, 3.0])).tolist() == [1.0, 0.0]


class TestUnbroadcast:
    @given(shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3))
    def test_is_the_adjoint_of_broadcasting(self, shapes):
        shape, full = shapes.input_shapes[0], shapes.result_shape
        rng = numpy.random.default_rng(0)
        x, g = rng.standard_normal(shape), rng.standard_normal(full)
        back = unbroadcast(g, shape)
        assert back.shape == shape
        assert_allclose(numpy.sum(numpy.broadcast_to(x, full) * g), numpy.sum(x * back), atol=1e-12)
