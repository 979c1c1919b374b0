"""Laws that every function of the namespace obeys, on every array library. The list of functions is cases.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest
from cases import CASES, CONSTANT, FROM_NOTHING, OPERATORS, ORACLE, Case, arrays, one
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import minilvm.numpy
from minilvm import backend, tree
from minilvm.autograd import Tensor, check_grads, grad, primitive, stop_gradient, vjp

FEW = settings(max_examples=max(5, settings.default.max_examples // 10))  # of each of a hundred functions

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_constant = pytest.mark.parametrize("name", CONSTANT)


def is_parameter(x: Any) -> bool:
    return hasattr(x, "dtype") and x.dtype.kind == "f"


def moved(xp: Any, arguments: Any, dtype: str = "float64") -> Any:
    """The arguments, with their arrays moved to a library, and the parameters in a precision."""

    def move(x: Any) -> Any:
        if not isinstance(x, numpy.ndarray):
            return x
        return xp.asarray(x.astype(dtype) if is_parameter(x) else x)

    return tree.map(move, arguments)


def of_parameters(case: Case, np: Any, arguments: Any) -> tuple[Callable[..., Any], list[Any]]:
    """The case as a function of its parameters alone, and these."""
    leaves = tree.leaves(arguments)
    places = [i for i, leaf in enumerate(leaves) if is_parameter(leaf)]

    def f(*parameters: Any) -> Any:
        supplied = dict(zip(places, parameters, strict=True))
        return case.f(np, *tree.unflatten(arguments, [supplied.get(i, leaf) for i, leaf in enumerate(leaves)]))

    return f, [leaves[i] for i in places]


def assert_same(found: Any, expected: Any) -> None:
    for a, b in zip(tree.leaves(found), tree.leaves(expected), strict=True):
        assert numpy.shape(a) == numpy.shape(b)
        assert_allclose(backend.to_numpy(a), backend.to_numpy(b), rtol=1e-12, atol=1e-12)


def assert_of(xp: Any, x: Any, dtype: str) -> None:
    """Every leaf belongs to the library (NumPy's scalars to NumPy), and has the dtype."""
    for leaf in tree.leaves(x):
        assert isinstance(leaf, xp.ndarray) or (xp is numpy and isinstance(leaf, numpy.generic))
        assert leaf.dtype == dtype


# The laws -------------------------------------------------------------------------------------------------------------


def check_value(case: Case, xp: Any, arguments: Any) -> None:
    """Plain in, plain out, NumPy's values; a Tensor in, a Tensor out, the same bits."""
    plain = case.f(minilvm.numpy, *moved(xp, arguments))
    assert_of(xp, plain, "float64")
    assert_same(plain, case.f(ORACLE, *arguments))
    f, parameters = of_parameters(case, minilvm.numpy, moved(xp, arguments))
    traced, _ = vjp(f, *parameters)
    assert_of(xp, traced, "float64")
    for a, b in zip(tree.leaves(plain), tree.leaves(traced), strict=True):
        assert backend.to_numpy(a).tobytes() == backend.to_numpy(b).tobytes()


def check_derivatives(case: Case, xp: Any, arguments: Any) -> None:
    check_grads(*of_parameters(case, minilvm.numpy, moved(xp, arguments)), order=2)


def check_dtype(case: Case, xp: Any, arguments: Any) -> None:
    f, parameters = of_parameters(case, minilvm.numpy, moved(xp, arguments, "float32"))
    y, pullback = vjp(f, *parameters)
    assert_of(xp, y, "float32" if case.keeps_dtype else "float64")
    assert_of(xp, pullback(tree.map(xp.ones_like, y)), "float32")


def check_by_numpys_name(case: Case, xp: Any, arguments: Any) -> None:
    f, parameters = of_parameters(case, numpy, moved(xp, arguments))
    ours, _ = of_parameters(case, minilvm.numpy, moved(xp, arguments))
    (found, pullback), (expected, expected_pullback) = vjp(f, *parameters), vjp(ours, *parameters)
    assert_same(found, expected)
    cotangent = tree.map(xp.ones_like, found)
    assert_same(pullback(cotangent), expected_pullback(cotangent))


def check_memory(case: Case, _: Any, arguments: Any) -> None:
    """Gradients may be written to: they are no view of one another, of an argument, or of the cotangent."""
    f, parameters = of_parameters(case, minilvm.numpy, arguments)
    y, pullback = vjp(f, *parameters)
    cotangent = tree.map(numpy.ones_like, y)
    gradients = pullback(cotangent)
    others = [*parameters, *tree.leaves(cotangent), *gradients]
    for g in filter(numpy.ndim, gradients):  # of shape () NumPy makes numbers, which cannot be written to
        assert g.flags.writeable
        assert sum(numpy.may_share_memory(g, other) for other in others) <= 1  # with itself; not if it is empty


class TestEveryFunction:
    @every_case
    @FEW
    @given(data=st.data())
    def test_computes_what_numpy_computes(self, case, xp, data):
        check_value(case, xp, data.draw(case.arguments))

    @every_case
    @FEW
    @given(data=st.data())
    def test_has_the_derivatives_of_its_difference_quotients_to_second_order(self, case, xp, data):
        check_derivatives(case, xp, data.draw(case.arguments))

    @every_case
    @FEW
    @given(data=st.data())
    def test_keeps_single_precision(self, case, xp, data):
        check_dtype(case, xp, data.draw(case.arguments))

    @pytest.mark.parametrize("case", [case for case in CASES if case.of_numpy], ids=lambda case: case.name)
    @FEW
    @given(data=st.data())
    def test_is_found_by_numpys_name(self, case, xp, data):
        check_by_numpys_name(case, xp, data.draw(case.arguments))

    @every_case
    @FEW
    @given(data=st.data())
    def test_gives_gradients_that_are_nobody_elses(self, case, data):
        check_memory(case, numpy, data.draw(case.arguments))


class TestEveryConstant:
    @every_constant
    @FEW
    @given(data=st.data())
    def test_computes_what_numpy_computes_and_is_never_traced(self, name, xp, data):
        f, arguments = CONSTANT[name]
        arguments = data.draw(arguments)
        expected = f(numpy, *arguments)
        case = Case(name, f, one())
        for np in (minilvm.numpy, numpy):
            assert_same(f(np, *moved(xp, arguments)), expected)
            g, parameters = of_parameters(case, np, moved(xp, arguments))
            results = []
            vjp(lambda *xs, g=g, results=results: results.append(g(*xs)) or 0.0, *parameters)
            assert not isinstance(results[0], Tensor)
            assert_same(results[0], expected)


class TestTheListIsComplete:
    def test_every_public_function_has_a_case_or_is_said_to_be_constant(self):
        accounted = {case.function for case in CASES} | CONSTANT.keys() | FROM_NOTHING
        for name in minilvm.numpy.__all__:
            thing = getattr(minilvm.numpy, name)
            if callable(thing) and not isinstance(thing, type) and name not in accounted:
                assert name in covered_elsewhere(), f"minilvm.numpy.{name} is not in tests/numpy/cases.py"

    def test_every_method_of_a_tensor_has_a_case(self):
        named = {word for case in OPERATORS for word in re.findall(r"\w+", case.name)} | CONSTANT.keys()
        attributes = {"index", "tape", "value", "dtype"}
        refused = {"item", "tolist"}
        assert {name for name in vars(Tensor) if not name.startswith("_")} <= named | attributes | refused

    def test_no_two_cases_have_one_name(self):
        assert len({case.name for case in CASES}) == len(CASES)


def covered_elsewhere() -> set[str]:
    """The functions of modules that have a test file of their own, which names them."""
    found: set[str] = set()
    for module in vars(minilvm.numpy).values():
        file = Path(__file__).with_name(f"test_{getattr(module, '__name__', '').rpartition('.')[2]}.py")
        if isinstance(module, ModuleType) and file.exists():
            found |= vars(module).keys() & set(re.findall(r"\w+", file.read_text(encoding="utf-8")))
    return found


# What the laws must catch ---------------------------------------------------------------------------------------------


@primitive(x=lambda g, y: g * y * 1.01)
def wrong_slope(x):
    return numpy.exp(x)


@primitive(x=lambda g, y: g * stop_gradient(y))
def wrong_curvature(x):
    return numpy.exp(x)


@primitive(x=lambda g, x: g * numpy.exp(x).astype("float64"))
def wrong_precision(x):
    return numpy.exp(x).astype("float64")


@primitive(x=lambda g, y: g * backend.to_numpy(y))
def wrong_library(x):
    return numpy.exp(x)


@primitive(x=lambda g, x: x)
def wrong_memory(x):
    return 0.5 * x * x


@pytest.mark.parametrize(
    ("twin", "law", "found"),
    [
        (wrong_slope, check_derivatives, "order 1"),
        (wrong_curvature, check_derivatives, "order 2"),
        (stop_gradient, check_derivatives, "order 1"),
        (lambda x: 2.0 * x, check_value, "Not equal"),
        (wrong_precision, check_dtype, "float32"),
        (numpy.sum, check_value, "assert"),
    ],
)
def test_broken_twins_are_caught(twin, law, found):
    case = Case("exp", lambda np, x: numpy.exp(x) if np is ORACLE else twin(x), one())
    with pytest.raises(AssertionError, match=found):
        law(case, numpy, (numpy.array([0.5, 1.5]),))


@given(x=arrays((2,)))
def test_a_step_over_to_numpy_is_caught_by_the_stand_in(x):
    with backend.using("strict_cupy"), pytest.raises(TypeError, match="Unsupported type"):
        check_derivatives(Case("exp", lambda _, x: wrong_library(x), one()), backend.namespace(), (x,))


def test_a_gradient_that_is_an_argument_is_caught():
    with pytest.raises(AssertionError):
        check_memory(Case("", lambda _, x: wrong_memory(x), one()), numpy, (numpy.array([0.5]),))


def test_gradients_of_equal_operands_are_distinct():
    a, b = grad(lambda a, b: numpy.sum((a + b) * (a + b)), argnums=(0, 1))(numpy.ones(3), numpy.ones(3))
    a += 1.0
    assert b.tolist() == [4.0, 4.0, 4.0]
