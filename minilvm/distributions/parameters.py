"""Parameters and values: read as arrays, checked, and the logarithms of probabilities that may be 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.rules import atomic, primitive, unbroadcast
from minilvm.tape import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Constraint:
    """A set of values: in words, and as a test of each element of an array.

    >>> positive.description, positive.check(numpy.array([1.0, -1.0]))
    ('positive', array([ True, False]))
    """

    description: str
    check: Callable[[Array], Array]


finite = Constraint("finite", np.isfinite)
positive = Constraint("positive", lambda x: x > 0)
not_negative = Constraint("finite and not negative", lambda x: np.isfinite(x) & (x >= 0))
positive_finite = Constraint("positive and finite", lambda x: np.isfinite(x) & (x > 0))
probability = Constraint("between 0 and 1", lambda x: (x >= 0) & (x <= 1))
within = Constraint("strictly between 0 and 1", lambda x: (x > 0) & (x < 1))


def as_parameters(*parameters: Any) -> tuple[Array, ...]:
    """Return the parameters as floating-point arrays of one library.

    What has no floating-point precision yet (a Python number, integers) takes that of the others; float64 if none has.

    >>> as_parameters(numpy.zeros(2, dtype="float32"), 1)
    (array([0., 0.], dtype=float32), array(1., dtype=float32))
    """
    if all(type(p) is Tensor or (type(p) is numpy.ndarray and p.dtype.kind == "f") for p in parameters):
        return parameters  # as what follows would, were a step of training not to wait for it
    xp = backend.namespace(*parameters)
    floating = [p.dtype for p in parameters if is_floating(p)]
    precision = numpy.result_type(*floating) if floating else numpy.dtype(float)
    return tuple(
        p if type(p) is Tensor else _as_array(p, xp, p.dtype if is_floating(p) else precision) for p in parameters
    )


@atomic
def _as_array(x: Any, xp: Any, dtype: Any) -> Array:
    return xp.asarray(x, dtype=dtype)


@atomic
def require(owner: str, name: str, x: Array, *constraints: Constraint) -> None:
    """Raise unless x meets the constraints.

    Raises
    ------
    ValueError
        An element does not: the message names the first, with its index. A test may stretch x over a batch of laws, or
        be of each row of x; the index is that of x itself, or of the row.
    """
    for constraint in constraints:
        ok = constraint.check(x)
        if not ok.all():
            index = numpy.argwhere(~backend.to_numpy(ok))[0]
            index = index[max(0, ok.ndim - x.ndim) :]
            index = index % numpy.array(x.shape[: len(index)], dtype=int)
            which = f"{name}[{', '.join(map(str, index))}]" if len(index) else name
            raise ValueError(
                f"{owner}: {name} must be {constraint.description}; {which} is {backend.to_numpy(x)[tuple(index)]}"
            )


def exactly_one(law: str, **choices: Any) -> str:
    """Return the name of the one choice that is not None.

    Raises
    ------
    ValueError
        None was given, or several were.
    """
    given = [name for name, choice in choices.items() if choice is not None]
    if len(given) != 1:
        raise ValueError(f"{law}: {' and '.join(given) or 'none'} given; expected exactly one of {', '.join(choices)}")
    return given[0]


def broadcast_parameters(law: str, **shapes: Shape) -> Shape:
    """Return the shape that parameters of these shapes broadcast to.

    Raises
    ------
    ValueError
        They do not.
    """
    shape = broadcast_shapes(*shapes.values())
    if shape is None:
        described = " and ".join(f"{name} of shape {shape}" for name, shape in shapes.items())
        raise ValueError(f"{law}: {described} do not broadcast")
    return shape


def is_floating(x: Any) -> bool:
    """Whether `x` is an array, or traced, of floating-point numbers."""
    return hasattr(x, "dtype") and x.dtype.kind == "f"


def as_shape(shape: int | Shape) -> Shape:
    """Return a shape as a tuple, from one, from a list, or from a number K that stands for (K,)."""
    if type(shape) is tuple:
        return shape
    return (int(shape),) if isinstance(shape, int | numpy.integer) else tuple(shape)


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape that these broadcast to; `numpy.broadcast_shapes` is slow to see that one holds the others."""
    if shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    longest = max(shapes, key=len)
    for shape in shapes:
        if longest[len(longest) - len(shape) :] != shape:
            return numpy.broadcast_shapes(*shapes)
    return longest


def broadcast_shapes(*shapes: Shape) -> Shape | None:
    """Return the shape that these broadcast to, or None."""
    try:
        return broadcast(*shapes)
    except ValueError:
        return None


def to_shape(g: Array, shape: Shape) -> Array:
    """Sum a cotangent over the axes along which an operand of `shape` was stretched."""
    return g if g.shape == shape else unbroadcast(g, shape)


def _unless_impossible(p: Array, log_q: Array) -> Array:
    """log q, but 0 where p = q = 0."""
    return np.where((p == 0) & (log_q == -numpy.inf), 0.0, log_q)


def _times_log_rule(g: Array, p: Array, log_q: Array) -> Array:
    product: Array = times_log(g, _unless_impossible(p, log_q))
    return to_shape(product, p.shape)


@primitive(p=_times_log_rule, log_q=lambda g, p, log_q: to_shape(g * p, log_q.shape))
def times_log(p: Array, log_q: Array) -> Array:
    """Return p · log q, with 0 · log 0 = 0: what cannot happen weighs nothing, however improbable it is."""
    return p * _unless_impossible(p, log_q)


def quotient(g: Array, p: Array) -> Array:
    """Return g / p, and 0 where both are: of a slope, 0/0 would spread NaN from an event that nobody asked about."""
    with numpy.errstate(divide="ignore", over="ignore"):  # the slope of log at 0 is ∞, and near it may be too great
        return g / numpy.where((g == 0) & (p == 0), 1.0, p)


@primitive(p=quotient)
def log_probability(p: Array) -> Array:
    """Return log p, where log 0 = −inf is an answer and no accident."""
    with numpy.errstate(divide="ignore"):
        return numpy.log(p)


@primitive(p=lambda g, p: -quotient(g, 1.0 - p))
def log_complement(p: Array) -> Array:
    """Return log(1 − p), to full precision for small p, and −inf at p = 1."""
    with numpy.errstate(divide="ignore"):
        return numpy.log1p(-p)
