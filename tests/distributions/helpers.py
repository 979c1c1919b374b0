"""Checks that the tests of several laws share. Each raises AssertionError, so that a broken twin can be shown to."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

import minilvm.numpy as np
from minilvm.autograd import vjp
from minilvm.backend import to_numpy

FEW = settings(max_examples=max(5, settings.default.max_examples // 10))  # of what takes long: second derivatives


def reals(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers that shrink towards the low end, or 0; never so small that their square is 0."""
    return st.floats(low, high).filter(lambda x: x == 0 or abs(x) > 1e-100)


def real_arrays(shape: Any, low: float = -3.0, high: float = 3.0) -> st.SearchStrategy[numpy.ndarray]:
    """Arrays of float32's numbers, though not of the least of them, of which the reciprocals overflow."""
    return arrays(float, shape, elements=st.floats(low, high, width=32, allow_subnormal=False))


def assert_same_to_second_order(
    fused: Callable[..., Any], composite: Callable[..., Any], args: Sequence[Any], **tolerance: float
) -> None:
    """Assert that two functions agree in value, gradient, and the gradient's gradient, in random directions."""
    tolerance = {"rtol": 1e-9, "atol": 1e-9, **tolerance}
    rng = numpy.random.default_rng(0)
    y = composite(*args)
    u = rng.standard_normal(numpy.shape(y))
    directions = [rng.standard_normal(numpy.shape(a)) for a in args]

    def first(f):
        return lambda *args: vjp(f, *args)[1](u)

    def second(f):
        def along(*args):
            return sum(np.sum(g * v) for g, v in zip(first(f)(*args), directions, strict=True))

        return lambda *args: vjp(along, *args)[1](numpy.float64(1.0))

    assert_allclose(fused(*args), y, **tolerance)
    for order, derivative in enumerate((first, second), start=1):
        for i, (ours, theirs) in enumerate(zip(derivative(fused)(*args), derivative(composite)(*args), strict=True)):
            assert_allclose(ours, theirs, **tolerance, err_msg=f"derivative of order {order} in argument {i}")


def double_exponential(points: Sequence[float], step: float = 1 / 16) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return nodes x and weights w, of shape (pieces, nodes), with which Σ w f(x) is the integral of f over all pieces.

    The trapezoid rule in t after x = a + (b − a) / (1 + exp(π sinh t)), or a ± s exp(½ π sinh t) for a piece without an
    end, where s is the width of the piece beside it. As good where f is infinite at an end, and for heavy tails.
    (Takahasi and Mori, *Publications of the Research Institute for Mathematical Sciences* 9 (1974), 721.)
    """
    t = step * numpy.arange(-round(6 / step), round(6 / step) + 1)
    u = numpy.pi * numpy.sinh(t)
    inner = 1.0 / (1.0 + numpy.exp(-u))
    inner_weights = numpy.pi * numpy.cosh(t) / (4.0 * numpy.cosh(0.5 * u) ** 2)
    outer = numpy.exp(0.5 * numpy.clip(u, -600.0, 86.0))
    outer_weights = numpy.where(u <= 86.0, 0.5 * numpy.pi * numpy.cosh(t) * outer, 0.0)
    nodes, weights = [], []
    for i, (a, b) in enumerate(itertools.pairwise(points)):
        if numpy.isfinite([a, b]).all():
            x, w = a + (b - a) * inner, (b - a) * inner_weights
        else:
            scale = points[2] - points[1] if i == 0 else points[i] - points[i - 1]
            x, w = (a + scale * outer if i else b - scale * outer), scale * outer_weights
        nodes.append(numpy.where((a < x) & (x < b), x, x[len(x) // 2]))
        weights.append(step * numpy.where((a < x) & (x < b), w, 0.0))
    return numpy.stack(nodes), numpy.stack(weights)


class Nodes(numpy.random.Generator):
    """A "generator" whose standard normal draws are Gauss-Hermite nodes: averages with `weights` are exact.

    For polynomials of degree up to 2n − 1 in each of the D numbers that are drawn at once, (n^D, D) nodes.
    """

    def __init__(self, n: int, D: int = 1) -> None:
        super().__init__(numpy.random.PCG64(0))
        x, w = numpy.polynomial.hermite_e.hermegauss(n)
        self.nodes = numpy.stack(numpy.meshgrid(*[x] * D), axis=-1).reshape(-1, D)
        self.weights = numpy.stack(numpy.meshgrid(*[w / w.sum()] * D), axis=-1).reshape(-1, D).prod(axis=-1)

    def standard_normal(self, size=None, dtype=float, out=None):
        return self.nodes.reshape(size).astype(dtype)


class Uniforms(numpy.random.Generator):
    """A "generator" whose uniform draws on [0, 1) are all the least of them, or all the greatest."""

    def __init__(self, *, greatest: bool) -> None:
        super().__init__(numpy.random.PCG64(0))
        self.greatest = greatest

    def random(self, size=None, dtype=float, out=None):
        return numpy.full(size, 1.0 - numpy.finfo(dtype).epsneg if self.greatest else 0.0, dtype=dtype)


def assert_of(xp: Any, x: Any) -> None:
    """Assert that `x` is an array of `xp` (or a number, as NumPy makes of arrays without axes)."""
    assert isinstance(x, type(xp.ones(1)) if xp is not numpy else numpy.ndarray | numpy.floating), type(x)


def assert_dtype(x: Any, dtype: str) -> None:
    assert to_numpy(x).dtype == dtype, to_numpy(x).dtype
