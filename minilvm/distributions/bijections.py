"""Bijections: smooth maps of one number with a smooth inverse, by which `Transformed` makes one law of another.

    y = t(x),   x = t⁻¹(y),   log |dy/dx|

Each acts on every element of an array by itself. The logarithm of the slope is in the form that neither overflows nor
loses its digits, at |x| = 10⁴ too. Where rounding would make an end of the codomain of y (tanh(20) is 1 to the last
bit), the number next to it is taken: no draw may be impossible by its own law.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    broadcast,
    broadcast_parameters,
    finite,
    log_probability,
    positive_finite,
    require,
)
from minilvm.numpy import special
from minilvm.tape import Tensor

not_zero = Constraint("other than 0", lambda x: x != 0)
unit_interval = Constraint("above 0 and below 1", lambda x: (x > 0) & (x < 1))
symmetric_interval = Constraint("above -1 and below 1", lambda x: (x > -1) & (x < 1))


class Bijection(abc.ABC):
    """A smooth map y = t(x) of one number, with a smooth inverse."""

    @property
    def domain(self) -> Constraint:
        """The numbers x that it maps."""
        return finite

    @property
    def codomain(self) -> Constraint:
        """The numbers y that it maps them to."""
        return finite

    @property
    def interior(self) -> float:
        """Some number of the codomain."""
        return 0.0

    @property
    def shape(self) -> Shape:
        """The shape of its parameters, with which that of x broadcasts."""
        return ()

    @abc.abstractmethod
    def __call__(self, x: Any) -> Array:
        """Return y = t(x)."""

    @abc.abstractmethod
    def inverse(self, y: Any) -> Array:
        """Return x = t⁻¹(y)."""

    @abc.abstractmethod
    def log_abs_det_jacobian(self, x: Any, y: Any) -> Array:
        """Return log |dy/dx| of each element, for y = t(x)."""

    @property
    def inv(self) -> Bijection:
        """The inverse as a bijection of its own."""
        return Inverse(self)

    def turned(self, p: Array) -> Array:
        """Return P(t(X) ≤ t(x)) where P(X ≤ x) = p: the same, as t increases."""
        return p


@dataclass(frozen=True, eq=False)
class Inverse(Bijection):
    """The inverse of a bijection, whose slope is one over its slope.

    >>> ExpTransform().inv(1.0), ExpTransform().inv.inv
    (np.float64(0.0), ExpTransform())
    """

    bijection: Bijection

    @property
    def domain(self) -> Constraint:
        """The other's codomain."""
        return self.bijection.codomain

    @property
    def codomain(self) -> Constraint:
        """The other's domain, every finite number."""
        return self.bijection.domain

    @property
    def shape(self) -> Shape:
        """The other's."""
        return self.bijection.shape

    def __call__(self, x: Any) -> Array:
        """Return t⁻¹(x)."""
        return self.bijection.inverse(x)

    def inverse(self, y: Any) -> Array:
        """Return t(y)."""
        return self.bijection(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Array:
        """Return −log |dx/dy|."""
        return -self.bijection.log_abs_det_jacobian(y, x)

    @property
    def inv(self) -> Bijection:
        """The other."""
        return self.bijection

    def turned(self, p: Array) -> Array:
        """Return p or 1 − p, as the other does."""
        return self.bijection.turned(p)


@dataclass(frozen=True, init=False, eq=False)
class AffineTransform(Bijection):
    """The straight line y = a + b x, with log |dy/dx| = log |b|.

    Parameters
    ----------
    loc
        a.
    scale
        b, positive or negative. Its shape and that of `loc` broadcast, and with that of x.

    Raises
    ------
    ValueError
        A parameter is NaN or infinite, `scale` is 0, or the shapes do not broadcast.

    Examples
    --------
    >>> line = AffineTransform(1.0, [2.0, -4.0])
    >>> line(3.0), line.inv(line(3.0))
    (array([  7., -11.]), array([3., 3.]))
    """

    loc: Array
    scale: Array

    def __init__(self, loc: Any, scale: Any) -> None:
        loc, scale = as_parameters(loc, scale)
        broadcast_parameters("AffineTransform", loc=loc.shape, scale=scale.shape)
        vars(self).update(loc=loc, scale=scale)
        if type(loc) is not Tensor and type(scale) is not Tensor:
            require("AffineTransform", "loc", loc, finite)
            require("AffineTransform", "scale", scale, finite, not_zero)

    @property
    def shape(self) -> Shape:
        """The shape that a and b broadcast to."""
        return broadcast(self.loc.shape, self.scale.shape)

    def __call__(self, x: Any) -> Array:
        """Return a + b x."""
        return self.loc + self.scale * x

    def inverse(self, y: Any) -> Array:
        """Return (y − a) / b."""
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Array:
        """Return log |b|, once for each element."""
        return np.broadcast_to(np.log(np.abs(self.scale)), broadcast(np.shape(x), np.shape(y)))

    def turned(self, p: Array) -> Array:
        """Return p, or 1 − p where b is negative."""
        return np.where(self.scale > 0, p, 1.0 - p)


@dataclass(frozen=True, eq=False)
class ExpTransform(Bijection):
    """The exponential, y = exp(x) > 0, with log |dy/dx| = x.

    >>> ExpTransform()(numpy.array([0.0, 1.0])).round(4)
    array([1.    , 2.7183])
    """

    codomain = positive_finite
    interior = 1.0

    def __call__(self, x: Any) -> Array:
        """Return exp(x)."""
        return np.exp(x)

    def inverse(self, y: Any) -> Array:
        """Return log(y), −inf at 0."""
        return log_probability(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Array:
        """Return x."""
        del y
        return x


@dataclass(frozen=True, eq=False)
class SigmoidTransform(Bijection):
    """The logistic sigmoid, y = 1 / (1 + exp(−x)) between 0 and 1; log |dy/dx| = x − 2 softplus(x).

    >>> SigmoidTransform()(numpy.array([0.0, 1e4]))
    array([0.5, 1. ])
    """

    codomain = unit_interval
    interior = 0.5

    def __call__(self, x: Any) -> Array:
        """Return 1 / (1 + exp(−x)), the least normal number at least, and at most the greatest below 1."""
        y = special.expit(x)
        rounding = numpy.finfo(y.dtype)
        return np.clip(y, rounding.tiny, 1.0 - rounding.epsneg)

    def inverse(self, y: Any) -> Array:
        """Return log(y / (1 − y))."""
        return special.logit(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Array:
        """Return log y + log(1 − y), as a function of x."""
        del y
        return x - 2.0 * special.softplus(x)


@dataclass(frozen=True, eq=False)
class SoftplusTransform(Bijection):
    """The softplus, y = log(1 + exp(x)) > 0, which is x itself far to the right; log |dy/dx| = −softplus(−x).

    >>> SoftplusTransform()(numpy.array([-1e4, 0.0, 1e4])).round(4)
    array([0.000e+00, 6.931e-01, 1.000e+04])
    """

    codomain = positive_finite
    interior = 1.0

    def __call__(self, x: Any) -> Array:
        """Return log(1 + exp(x))."""
        return special.softplus(x)

    def inverse(self, y: Any) -> Array:
        """Return log(exp(y) − 1) = y + log(1 − exp(−y))."""
        return y + log_probability(-np.expm1(-y))

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Array:
        """Return log 1 / (1 + exp(−x))."""
        del y
        return -special.softplus(-x)


@dataclass(frozen=True, eq=False)
class TanhTransform(Bijection):
    """The hyperbolic tangent, y = tanh(x) between −1 and 1; log |dy/dx| = 2 (log 2 − x − softplus(−2x)).

    >>> TanhTransform().log_abs_det_jacobian(numpy.array([0.0, 1e4]), None).round(4)
    array([     0.    , -19998.6137])
    """

    codomain = symmetric_interval

    def __call__(self, x: Any) -> Array:
        """Return tanh(x), no nearer to −1 and 1 than the numbers next to them."""
        y = np.tanh(x)
        greatest = 1.0 - numpy.finfo(y.dtype).epsneg
        return np.clip(y, -greatest, greatest)

    def inverse(self, y: Any) -> Array:
        """Return artanh(y)."""
        return np.arctanh(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Array:
        """Return log(1 − tanh²(x))."""
        del y
        return 2.0 * (math.log(2.0) - x - special.softplus(-2.0 * x))
