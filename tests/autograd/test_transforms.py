"""The transforms: each is the symbol it stands for, on trees, at any order, with errors that say what to do."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy
import pytest
from cases import arrays
from hypothesis import given
from numpy.testing import assert_allclose, assert_array_equal

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.autograd import Tensor, grad, hessian, hvp, jacobian, jvp, stop_gradient, value_and_grad, vjp


@dataclasses.dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any
    activation: Any = tree.static(default=np.tanh)

    def __call__(self, x):
        return self.activation(x @ self.weight + self.bias)


class Pair(NamedTuple):
    a: Any
    b: Any


def network(seed=0):
    rng = numpy.random.default_rng(seed)
    first, second = (Layer(rng.standard_normal((2, 2)), rng.standard_normal(2)) for _ in range(2))
    return {"layers": [first, second], "scale": numpy.array(0.5), "unused": None}


def output(net, x):
    for layer in net["layers"]:
        x = layer(x)
    return np.sum(net["scale"] * x**2)


def smooth(x):
    """A function of an array with a full Hessian."""
    return np.logsumexp(np.sin(x) * np.cumsum(x)) + np.prod(np.tanh(x))


class TestGrad:
    def test_is_the_gradient(self, xp):
        x = xp.asarray([1.0, 2.0])
        value, slope = value_and_grad(lambda x: np.sum(x**3))(x)
        assert isinstance(slope, xp.ndarray)
        assert (float(value), slope.tolist()) == (9.0, [3.0, 12.0])

    @pytest.mark.parametrize(
        ("argnums", "slopes"),
        [(0, 6.0), (1, 3.0), (-1, 3.0), ((0,), (6.0,)), ((1, 0), (3.0, 6.0)), ([0, 1], (6.0, 3.0))],
    )
    def test_argnums_choose_the_arguments(self, argnums, slopes):
        assert grad(lambda a, b: 3.0 * a * b / 1.0, argnums)(1.0, 2.0) == slopes

    def test_arguments_not_chosen_are_passed_along_as_they_are(self):
        def f(x, name, n, *, flag):
            assert (name, n, flag) == ("a name", 3, True)
            return x**n

        assert grad(f)(2.0, "a name", 3, flag=True) == 12.0

    def test_of_a_tree_is_a_tree(self, xp):
        net = tree.map(xp.asarray, network())
        slopes = grad(output)(net, xp.ones((3, 2)))
        assert tree.paths(slopes) == tree.paths(net)
        assert isinstance(slopes["layers"][0], Layer)
        assert slopes["layers"][0].activation is np.tanh
        assert slopes["unused"] is None
        for slope, leaf in zip(tree.leaves(slopes), tree.leaves(net), strict=True):
            assert slope.shape == leaf.shape

    def test_of_a_named_tuple_is_one(self):
        assert grad(lambda p: p.a * p.b)(Pair(2.0, 3.0)) == Pair(3.0, 2.0)

    def test_what_the_value_does_not_depend_on_has_gradient_zero(self, xp):
        slopes = grad(lambda p: np.sum(p["a"]))({"a": xp.ones(2), "b": xp.ones((2, 3)), "c": xp.ones((), "float32")})
        assert slopes["b"].tolist() == [[0.0] * 3] * 2
        assert (slopes["c"].dtype, slopes["c"].tolist()) == ("float32", 0.0)
        assert isinstance(slopes["b"], xp.ndarray)
        assert grad(lambda x: 3.0)(2.0) == 0.0
        assert grad(lambda x, y: stop_gradient(x) * y)(2.0, 3.0) == 0.0

    def test_aux_is_returned_beside_the_value(self):
        def f(x):
            return x * x, {"seen": x * 3.0, "name": "f"}

        (value, aux), slope = value_and_grad(f, has_aux=True)(2.0)
        assert (value, aux, slope) == (4.0, {"seen": 6.0, "name": "f"}, 4.0)
        assert grad(f, has_aux=True)(2.0) == (4.0, aux)

    def test_aux_of_an_inner_function_stays_differentiable(self):
        def f(x):
            slope, aux = grad(lambda y: (x * y * y, x * y), has_aux=True)(3.0)
            assert isinstance(aux, Tensor)
            return slope + aux

        assert grad(f)(2.0) == 6.0 + 3.0

    def test_a_python_number_gives_a_number(self):
        for f in (lambda x: x, lambda x: 1.0, lambda x: x * x, lambda x: np.where(True, x, 0.0)):
            value, slope = value_and_grad(f)(3.0)
            assert isinstance(slope, float)
            assert isinstance(value, float | numpy.ndarray)

    def test_follows_the_data_and_not_the_active_backend(self):
        with backend.using("strict_cupy"):
            slope = grad(lambda x: x[0] * x[1] + np.sum(x[x > 0.0]))(numpy.array([2.0, 3.0]))
            assert isinstance(slope, numpy.ndarray)
            assert isinstance(grad(lambda x: x**2)(3.0), float)

    def test_each_parameter_keeps_its_precision(self, xp):
        single, double = xp.ones(2, "float32"), xp.ones(2, "float64")
        slopes = grad(lambda a, b: np.sum(a * b), (0, 1))(single, double)
        assert [slope.dtype for slope in slopes] == ["float32", "float64"]

    def test_python_control_flow_just_works(self):
        def f(x, n):
            total = 0.0
            for i in range(n):
                total = total + x**i if i % 2 else total - x
            return total

        assert grad(f)(2.0, 4) == 1.0 + 3 * 4.0 - 2.0

    def test_gradients_are_nobody_elses(self):
        def f(a, b, c):
            s = a + b
            return np.sum(s * s) + np.sum(c) + a[0] + a[1] + np.sum(s[:1])

        x = numpy.ones(2)
        a, b, c = grad(f, (0, 1, 2))(x, x, x)
        a += 100.0
        b *= 0.0
        c -= 100.0
        assert (a.tolist(), b.tolist(), c.tolist()) == ([106.0, 105.0], [0.0, 0.0], [-99.0, -99.0])
        assert x.tolist() == [1.0, 1.0]

    def test_a_sum_of_parts_is_not_added_into_what_is_shared(self):
        def f(a, b):
            part = a[0] + a[1]
            return np.sum((a + b) * 3.0) + part

        a, b = grad(f, (0, 1))(numpy.ones(2), numpy.ones(2))
        assert (a.tolist(), b.tolist()) == ([4.0, 4.0], [3.0, 3.0])

    def test_the_value_and_the_gradient_may_be_the_input(self):
        x = numpy.array(2.0)
        value, slope = value_and_grad(lambda x: x)(x)
        slope += 1.0
        assert (value, slope, x) == (2.0, 2.0, 2.0)


class TestGradRefuses:
    @pytest.mark.parametrize(
        ("x", "what"),
        [(2, "int"), (numpy.arange(3), "int64"), (True, "bool"), (numpy.ones(2, bool), "bool"), (1j, "complex")],
    )
    def test_what_is_no_real_number(self, x, what):
        with pytest.raises(TypeError, match=rf"argument 1\['x'\]\[0\] is {what}.*floating-point.*static"):
            grad(lambda a, b: 0.0, 1)(1.0, {"x": [x]})

    def test_naming_the_leaf_that_is_not_among_others_that_are(self):
        with pytest.raises(TypeError, match=r"argument 1\['n'\]\[1\] is int"):
            grad(lambda a, b: 0.0, (0, 1))([1.0, 2.0], {"w": 1.0, "n": (2.0, 3, 4.0)})

    def test_a_value_with_a_shape(self):
        with pytest.raises(TypeError, match=r"shape \(2,\).*sum.*jacobian"):
            grad(lambda x: x)(numpy.ones(2))

    @pytest.mark.parametrize("value", [None, (1.0,), "x", 2, numpy.int64(2), True])
    def test_a_value_that_is_no_real_number(self, value):
        with pytest.raises(TypeError, match=r"grad is of functions"):
            grad(lambda x: value)(1.0)

    def test_argnums_that_name_no_argument(self):
        with pytest.raises(ValueError, match="argnums names argument 1, but 1 "):
            grad(lambda x: x, 1)(1.0)

    @pytest.mark.parametrize("argnums", [(0, 0), (0, -2)])
    def test_argnums_that_name_one_twice(self, argnums):
        with pytest.raises(ValueError, match="twice"):
            grad(lambda a, b: a * b, argnums)(1.0, 2.0)

    @pytest.mark.parametrize("result", [lambda x: x, lambda x: (x, x, x), lambda x: np.stack([x, x])])
    def test_aux_that_is_not_there(self, result):
        with pytest.raises(TypeError, match=r"\(value, aux\)"):
            grad(result, has_aux=True)(1.0)


class TestVjp:
    def test_the_pullback_may_be_called_again(self):
        y, pullback = vjp(lambda x: np.exp(x) * x, numpy.array([1.0, 2.0]))
        first, second = pullback(numpy.ones(2)), pullback(2.0 * numpy.ones(2))
        assert_array_equal(2.0 * first[0], second[0])
        assert_array_equal(y, numpy.exp([1.0, 2.0]) * [1.0, 2.0])

    def test_of_trees(self):
        def f(p, x):
            return {"double": 2.0 * p["a"], "both": (p["a"] * x, 1.0)}

        y, pullback = vjp(f, {"a": 3.0}, 5.0)
        assert y == {"double": 6.0, "both": (15.0, 1.0)}
        assert pullback({"double": 1.0, "both": (10.0, 0.0)}) == ({"a": 52.0}, 30.0)

    def test_a_cotangent_may_be_a_number(self):
        assert vjp(lambda x: x, 3.0)[1](1.0) == (1.0,)
        assert vjp(lambda x: np.maximum(x, 0.0), 3.0)[1](1) == (1.0,)

    def test_a_cotangent_is_not_given_out(self):
        v = numpy.ones(2)
        (x,) = vjp(lambda x: x, numpy.zeros(2))[1](v)
        x += 1.0
        assert v.tolist() == [1.0, 1.0]

    def test_a_cotangent_is_not_written_to(self):
        v = numpy.ones(2)
        (x,) = vjp(lambda x: (x, x[0], x[:1]), numpy.zeros(2))[1]((v, 1.0, numpy.ones(1)))
        assert (x.tolist(), v.tolist()) == ([3.0, 1.0], [1.0, 1.0])

    def test_a_value_returned_twice_has_both_cotangents(self):
        assert vjp(lambda x: (x, x), 1.0)[1]((2.0, 3.0)) == (5.0,)

    def test_a_cotangent_of_another_shape_is_refused(self):
        _, pullback = vjp(lambda x: x, numpy.ones(2))
        with pytest.raises(ValueError, match=r"shape \(3,\); expected \(2,\)"):
            pullback(numpy.ones(3))

    def test_a_cotangent_of_another_structure_is_refused(self):
        _, pullback = vjp(lambda x: {"a": x}, 1.0)
        with pytest.raises(ValueError, match="trees differ"):
            pullback({"b": 1.0})

    @given(x=arrays((3,)), u=arrays((3,)), v=arrays((3,)))
    def test_is_linear_in_the_cotangent(self, x, u, v):
        _, pullback = vjp(lambda x: np.cumsum(np.sin(x)) * x, x)
        assert_allclose(pullback(u + 2.0 * v)[0], pullback(u)[0] + 2.0 * pullback(v)[0], atol=1e-12)


class TestForward:
    @given(x=arrays((3,)), v=arrays((3,)), u=arrays((3,)))
    def test_jvp_is_the_transpose_of_vjp(self, x, v, u):
        def f(x):
            return np.softmax(x) * np.cumsum(x)

        y, tangent = jvp(f, (x,), (v,))
        assert_allclose(y, f(x))
        assert_allclose(numpy.sum(u * tangent), numpy.sum(vjp(f, x)[1](u)[0] * v), atol=1e-10)

    def test_jvp_of_trees(self, xp):
        p = {"a": xp.asarray([1.0, 2.0]), "b": xp.asarray(3.0)}
        y, tangent = jvp(lambda p, s: [np.sum(p["a"]) * p["b"], s * p["a"]], (p, 2.0), (p, 1.0))
        assert [float(y[0]), y[1].tolist()] == [9.0, [2.0, 4.0]]
        assert [float(tangent[0]), tangent[1].tolist()] == [18.0, [3.0, 6.0]]

    def test_jvp_is_differentiable(self):
        assert grad(lambda x: jvp(lambda y: y**3, (x,), (1.0,))[1])(2.0) == 12.0
        assert jvp(grad(lambda x: x**3), (2.0,), (1.0,)) == (12.0, 12.0)

    def test_jvp_needs_a_tangent_for_each_primal(self):
        with pytest.raises(ValueError, match="2 primals and 1 tangents"):
            jvp(lambda a, b: a, (1.0, 2.0), (1.0,))


class TestJacobian:
    def test_has_the_shape_of_the_value_then_of_the_argument(self, xp):
        x = xp.asarray(numpy.arange(6.0).reshape(2, 3))
        found = jacobian(lambda x: x[:, 1:] ** 2)(x)
        assert isinstance(found, xp.ndarray)
        assert found.shape == (2, 2, 2, 3)
        expected = numpy.zeros((2, 2, 2, 3))
        for i in range(2):
            for j in range(2):
                expected[i, j, i, j + 1] = 2.0 * (3 * i + j + 1)
        assert_array_equal(backend.to_numpy(found), expected)

    def test_of_a_number_is_the_gradient(self):
        assert jacobian(lambda x: x**3)(2.0) == 12.0
        assert_array_equal(jacobian(np.prod)(numpy.array([2.0, 3.0])), [3.0, 2.0])

    def test_argnums(self):
        f = lambda a, b: a * b**2  # noqa: E731 (shorter than a def, and differentiated below)
        assert (jacobian(f, 0)(2.0, 3.0), jacobian(f, 1)(2.0, 3.0), jacobian(f, -1)(2.0, 3.0)) == (9.0, 12.0, 12.0)

    def test_of_nothing_and_of_constants(self):
        assert jacobian(lambda x: x[:0])(numpy.ones(3)).shape == (0, 3)
        assert jacobian(lambda x: numpy.ones(2))(numpy.ones(3)).tolist() == [[0.0] * 3] * 2
        assert jacobian(lambda x: 1.0)(numpy.ones(3)).tolist() == [0.0] * 3

    def test_of_trees_is_a_tree_of_trees(self):
        found = jacobian(lambda p: {"y": p["a"] * p["b"], "z": (p["b"],)})({"a": numpy.array([2.0, 3.0]), "b": 5.0})
        assert_array_equal(found["y"]["a"], 5.0 * numpy.eye(2))
        assert_array_equal(found["y"]["b"], [2.0, 3.0])
        assert (found["z"][0]["a"].tolist(), found["z"][0]["b"]) == ([0.0, 0.0], 1.0)

    def test_is_differentiable(self):
        x = numpy.array([0.5, 1.5])
        assert_allclose(jacobian(jacobian(grad(lambda x: np.sum(x) ** 3)))(x), numpy.full((2, 2, 2), 6.0))


class TestHessian:
    @given(x=arrays((3,)), v=arrays((3,)))
    def test_is_symmetric_and_hvp_multiplies_by_it(self, x, v):
        h = hessian(smooth)(x)
        assert_allclose(h, h.T, atol=1e-9)
        assert_allclose(hvp(smooth, x, v), h @ v, atol=1e-8)

    def test_of_a_quadratic_form_is_its_matrix(self, xp):
        a = xp.asarray([[2.0, 1.0], [0.0, 4.0]])
        h = hessian(lambda x: x @ a @ x)(xp.asarray([0.3, 0.7]))
        assert_allclose(backend.to_numpy(h), backend.to_numpy(a + a.T))

    def test_of_a_network(self):
        net, x = network(), numpy.ones((3, 2))
        h = hessian(output)(net, x)
        direction = tree.map(numpy.ones_like, net)
        product = hvp(lambda net: output(net, x), net, direction)
        weights = h["layers"][0].weight
        found = sum(np.sum(block, axis=tuple(range(2, block.ndim))) for block in tree.leaves(weights))
        assert_allclose(found, product["layers"][0].weight, rtol=1e-9)

    def test_broken_twin_by_detached_first_derivative(self):
        """A gradient that forgets how it was made has a Hessian of zero, not the right one."""

        def detached(x):
            slope = grad(smooth)(stop_gradient(x))
            return np.sum(slope * x)

        x = numpy.array([0.5, 1.0])
        assert_array_equal(hessian(detached)(x), numpy.zeros((2, 2)))
        assert numpy.abs(hessian(smooth)(x)).max() > 0.1
