"""Affine layers and the networks made of them: y = x W + b, then a nonlinearity, then again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.backend import Array
from minilvm.nn.initialisers import glorot_uniform
from minilvm.rules import primitive


def _rows(x: Array) -> Array:
    """All leading axes as one: the layer treats samples and data alike, and one product is faster than many."""
    return x if x.ndim == 2 else x.reshape((-1, x.shape[-1]))


_LARGE = 2**16  # numbers: where products take so long that looking at the cotangent first costs nothing beside them


def _live(g: Array, other: Array) -> Array | None:
    """Which rows of a large cotangent are not 0, where at least a quarter are; None for all of them.

    The importance weights of most samples are 0, and so are their rows: nothing of them need be multiplied out.
    """
    if type(g) is not numpy.ndarray or type(other) is not numpy.ndarray or g.size < _LARGE:
        return None
    few = g[:, :: max(1, g.shape[1] // 4)]
    if 4 * numpy.count_nonzero(numpy.any(few, axis=1)) > 3 * len(g):
        return None
    bits = numpy.bitwise_or.reduce(g.view(f"u{g.itemsize}"), axis=1)  # three times as fast as numpy.any of the numbers
    live: Array = numpy.flatnonzero(bits << 1)  # but for the sign: −0 is 0
    return live if 4 * len(live) <= 3 * len(g) else None


def _back(g: Array, weight: Array) -> Array:
    """g Wᵀ, the cotangent of x."""
    rows = _rows(g)
    live = _live(rows, weight)
    if live is None:
        x = rows @ weight.T
    else:
        x = numpy.zeros_like(rows, shape=(len(rows), len(weight)))
        x[live] = rows[live] @ weight.T
    return x if g.ndim == 2 else x.reshape((*g.shape[:-1], len(weight)))


def _across(g: Array, x: Array) -> Array:
    """xᵀ g, the cotangent of W."""
    g, x = _rows(g), _rows(x)
    live = _live(g, x)
    return x.T @ g if live is None else x[live].T @ g[live]


def _total(g: Array) -> Array:
    """The sum of the rows, the cotangent of b: a product with ones is the fastest sum."""
    rows = _rows(g)
    return numpy.ones(len(rows), rows.dtype) @ rows if type(rows) is numpy.ndarray else rows.sum(axis=0)


@primitive(x=_back, weight=_across, bias=_total)
def linear(x: Array, weight: Array, bias: Array) -> Array:
    """Return x W + b for `x` (…, n_in), `weight` (n_in, n_out), `bias` (n_out,): shape (…, n_out)."""
    y = numpy.matmul(_rows(x), weight)
    y += bias
    return y if x.ndim == 2 else y.reshape((*x.shape[:-1], weight.shape[1]))


@dataclass(frozen=True, eq=False)
class Linear:
    """An affine layer, x ↦ x W + b, with `weight` (n_in, n_out) and `bias` (n_out,)."""

    weight: Array
    bias: Array

    @classmethod
    def create(cls, n_in: int, n_out: int, *, rng: Any, dtype: Any = "float64") -> Linear:
        """Return a layer with Glorot weights and zero biases."""
        return cls(glorot_uniform(n_in, n_out, rng=rng, dtype=dtype), np.zeros(n_out, dtype=dtype))

    def __call__(self, x: Array) -> Array:
        """Return x W + b, shape (…, n_out)."""
        if x.shape[-1] != self.weight.shape[0]:
            raise ValueError(f"x has shape {x.shape}; expected (…, {self.weight.shape[0]}) to match weight")
        return linear(x, self.weight, self.bias)


@dataclass(frozen=True, eq=False)
class MLP:
    """A multi-layer perceptron: affine layers with an activation between them, and none after the last.

    >>> import numpy
    >>> network = MLP.create([3, 8, 2], rng=0)
    >>> network(numpy.zeros((5, 3))).shape
    (5, 2)
    """

    layers: tuple[Linear, ...]
    activation: Callable[[Array], Array] = tree.static(default=np.tanh)

    @classmethod
    def create(
        cls,
        widths: list[int],
        *,
        rng: Any,
        activation: Callable[[Array], Array] = np.tanh,
        dtype: Any = "float64",
    ) -> MLP:
        """Return a network of the given widths, input and output included."""
        if len(widths) < 2:
            raise ValueError(f"widths is {widths}; expected at least two, of the input and the output")
        generator = backend.default_rng(rng)
        pairs = itertools.pairwise(widths)
        return cls(tuple(Linear.create(n_in, n_out, rng=generator, dtype=dtype) for n_in, n_out in pairs), activation)

    def __call__(self, x: Array) -> Array:
        """Return the network's output for `x` (…, n_in)."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)
