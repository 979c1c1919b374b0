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


@primitive(
    x=lambda g, weight: (
        g @ weight.T if g.ndim == 2 else (_rows(g) @ weight.T).reshape((*g.shape[:-1], weight.shape[0]))
    ),
    weight=lambda g, x: _rows(x).T @ _rows(g),
    bias=lambda g: _rows(g).sum(axis=0),
)
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
