"""Functions that act on each element by itself: y_i = f(x_i). One line a function, its rule beside it.

A rule says what the chain rule multiplies `g = ∂L/∂y` by. It is named after the argument it is for, and asks by name
for the answer `y` or the arguments it needs (see `minilvm.rules.primitive`). Rules call NumPy by its own names: its
protocols find the way back to these very functions when an operand is traced, and so second derivatives come about.
"""

from __future__ import annotations

from typing import Any

import numpy

from minilvm.backend import Array
from minilvm.rules import constant, elementwise, primitive, unbroadcast
from minilvm.tape import Tensor, stop_gradient

add = elementwise(numpy.add, a=lambda g, _: g, b=lambda g, _: g)
subtract = elementwise(numpy.subtract, a=lambda g, _: g, b=lambda g, _: -g)
multiply = elementwise(numpy.multiply, a=lambda g, b: g * b, b=lambda g, a: g * a)
divide = elementwise(numpy.divide, a=lambda g, b: g / b, b=lambda g, y, b: -g * y / b)
maximum = elementwise(numpy.maximum, a=lambda g, a, b: g * _share(g, a, b), b=lambda g, a, b: g * _share(g, b, a))
minimum = elementwise(numpy.minimum, a=lambda g, a, b: g * _share(g, b, a), b=lambda g, a, b: g * _share(g, a, b))

negative = elementwise(numpy.negative, x=lambda g, _: -g)
positive = elementwise(numpy.positive, x=lambda g, _: g)
reciprocal = elementwise(numpy.reciprocal, x=lambda g, y: -g * y * y)
square = elementwise(numpy.square, x=lambda g, x: g * (x + x))
sqrt = elementwise(numpy.sqrt, x=lambda g, y: 0.5 * g / y)
absolute = elementwise(numpy.absolute, x=lambda g, x: g * numpy.sign(x))

exp = elementwise(numpy.exp, x=lambda g, y: g * y)
expm1 = elementwise(numpy.expm1, x=lambda g, y: g * (y + 1.0))
log = elementwise(numpy.log, x=lambda g, x: g / x)
log1p = elementwise(numpy.log1p, x=lambda g, x: g / (1.0 + x))
sin = elementwise(numpy.sin, x=lambda g, x: g * numpy.cos(x))
cos = elementwise(numpy.cos, x=lambda g, x: -g * numpy.sin(x))
tan = elementwise(numpy.tan, x=lambda g, y: g * (1.0 + y * y))
arctan = elementwise(numpy.arctan, x=lambda g, x: g / (1.0 + x * x))
sinh = elementwise(numpy.sinh, x=lambda g, x: g * numpy.cosh(x))
cosh = elementwise(numpy.cosh, x=lambda g, x: g * numpy.sinh(x))
tanh = elementwise(numpy.tanh, x=lambda g, y: g * (1.0 - y * y))
arctanh = elementwise(numpy.arctanh, x=lambda g, x: g / (1.0 - x * x))

abs = absolute
true_divide = divide

# Piecewise constant: the derivative is 0 wherever there is one, so the result is a constant.
sign = constant(numpy.sign)
floor = constant(numpy.floor)
ceil = constant(numpy.ceil)
rint = constant(numpy.rint)
floor_divide = constant(numpy.floor_divide)
greater = constant(numpy.greater)
greater_equal = constant(numpy.greater_equal)
less = constant(numpy.less)
less_equal = constant(numpy.less_equal)
equal = constant(numpy.equal)
not_equal = constant(numpy.not_equal)
logical_and = constant(numpy.logical_and)
logical_or = constant(numpy.logical_or)
logical_not = constant(numpy.logical_not)
isfinite = constant(numpy.isfinite)
isnan = constant(numpy.isnan)
isinf = constant(numpy.isinf)
signbit = constant(numpy.signbit)


def power(a: Array, b: Array) -> Array:
    """Return `a ** b`, by products where `b` is the number 2 or 3: the general power takes 100 times as long.

    The derivative with respect to `b` at `a = 0` is taken to be 0, its limit for b > 0.
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        return numpy.power(a, b)
    if type(b) is int or type(b) is float:
        return square(a) if b == 2 else a * a * a if b == 3 else _power_of_number(a, b)
    return _power(a, b)


@primitive(a=lambda g, a, b: g * (b * a ** (b - 1)) if b != 0 else g * 0.0)
def _power_of_number(a: Array, b: float) -> Array:
    return numpy.power(a, b)


_power = elementwise(
    numpy.power,
    a=lambda g, a, b: g * b * numpy.power(a, numpy.where(numpy.equal(b, 0), 1.0, b - 1.0)),
    b=lambda g, y, a: g * y * numpy.log(numpy.where(numpy.equal(a, 0), 1.0, a)),
)


def _share(g: Array, a: Array, b: Array) -> Array:
    """How much of max(a, b) is due to a: 1 where it is the larger, ½ at a tie, else 0; in the precision of g."""
    return 0.5 * numpy.add(numpy.greater(a, b), numpy.greater_equal(a, b), dtype=g.dtype)


@primitive(
    a=lambda g, condition, a_shape: unbroadcast(numpy.where(condition, g, 0.0), a_shape),
    b=lambda g, condition, b_shape: unbroadcast(numpy.where(condition, 0.0, g), b_shape),
)
def _where(condition: Array, a: Array, b: Array) -> Array:
    return numpy.where(condition, a, b)


def where(condition: Array, a: Array, b: Array) -> Array:
    """Return `a` where `condition` holds, else `b`. The branch not taken gets gradient 0, even where it is infinite.

    (But 0 · ∞ = NaN further back: guard the *argument* of a function that may blow up, as `logsumexp` does.)
    """
    return _where(stop_gradient(condition), a, b)


def clip(a: Array, a_min: Array = None, a_max: Array = None) -> Array:
    """Return min(max(a, a_min), a_max); a bound of None is no bound. At a bound itself half the gradient passes."""
    a = a if a_min is None else maximum(a, a_min)
    return a if a_max is None else minimum(a, a_max)


def astype(x: Array, dtype: Any) -> Array:
    """Return `x` in another precision; the cotangent comes back in the precision of `x`.

    Rounding to integers or to booleans is piecewise constant: that result is a constant.
    """
    dtype = numpy.dtype(dtype)
    return _astype(x, dtype, x.dtype) if dtype.kind == "f" else stop_gradient(x).astype(dtype)


@primitive(x=lambda g, source: g.astype(source))
def _astype(x: Array, dtype: Any, source: Any) -> Array:
    return x.astype(dtype)
