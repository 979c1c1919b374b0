"""Memory for time: forget what a function computed on the way, and compute it again when its gradient is wanted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy

from minilvm import tree
from minilvm.autograd.transforms import vjp
from minilvm.backend import Array
from minilvm.rules import primitive
from minilvm.tape import Tensor

__all__ = ["checkpoint"]


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return `f` with the same value and gradient, but one entry on the tape, which saves the arguments alone.

    The backward pass evaluates `f` once more. A chain of n steps, checkpointed in blocks of √n, needs the memory of
    2 √n steps and one evaluation more. (Griewank and Walther, *ACM Trans. Math. Software* 26, 2000.)

    Parameters
    ----------
    f
        A function of trees of arrays, with a tree of arrays for a value. Everything it is to be differentiated by must
        be an argument: a traced value that it takes from the scope around it is refused.

    Examples
    --------
    >>> from minilvm.autograd import grad
    >>> grad(checkpoint(lambda x: x * x * x))(2.0)
    np.float64(12.0)
    """

    @functools.wraps(f)
    def apply(*args: Any) -> Any:
        leaves = tree.leaves(args)
        traced = [i for i, leaf in enumerate(leaves) if type(leaf) is Tensor]
        if not traced:
            return f(*args)
        value: list[Any] = []

        def packed(*inputs: Array) -> Array:
            """The value of f as one vector, as a function of the traced leaves alone."""
            for i, leaf in zip(traced, inputs, strict=True):
                leaves[i] = leaf
            value[:] = [f(*tree.unflatten(args, leaves))]
            _check_closed(value[0], inputs)
            return numpy.concatenate([numpy.reshape(y, (-1,)) for y in tree.leaves(value[0])])

        again = _Again(packed)
        rule = lambda g, i, inputs: again(g, i, inputs)  # noqa: E731, PLW0108 (asks for its arguments by name)
        vector = primitive(packed, inputs=rule)(*[leaves[i] for i in traced])
        parts = iter(_split(vector, tree.leaves(value[0])))
        return tree.map(lambda _: next(parts), value[0])

    return apply


class _Again:
    """The pullback of a function evaluated anew: once for all its arguments, though each asks by itself."""

    def __init__(self, f: Callable[..., Array]) -> None:
        self.f = f
        self.g: Array = None
        self.cotangents: tuple[Array, ...] = ()

    def __call__(self, g: Array, i: int, inputs: tuple[Array, ...]) -> Array:
        if i == 0 or g is not self.g:
            self.g, self.cotangents = g, vjp(self.f, *inputs)[1](g)
        cotangent = self.cotangents[i]
        if i == len(inputs) - 1:
            self.g, self.cotangents = None, ()
        return cotangent


def _split(vector: Array, like: list[Array]) -> list[Array]:
    """Cut a vector into parts of the shapes, and of the precision, of these arrays."""
    parts, start = [], 0
    for y in like:
        part = vector[start : start + numpy.size(y)].reshape(numpy.shape(y))
        parts.append(part if part.dtype == y.dtype else part.astype(y.dtype))
        start += numpy.size(y)
    return parts


def _check_closed(value: Any, inputs: tuple[Array, ...]) -> None:
    youngest = max((x.tape.age for x in inputs if type(x) is Tensor), default=-1)
    if any(type(y) is Tensor and y.tape.age > youngest for y in tree.leaves(value)):
        raise TypeError(
            "a checkpointed function used a traced value that is not among its arguments; pass it as an argument, "
            "or its gradient would be lost"
        )
