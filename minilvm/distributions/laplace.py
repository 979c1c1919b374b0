"""The Laplace law: an exponential fall to either side, whose logarithm is a distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng
from minilvm.distributions.base import Distribution
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    broadcast,
    broadcast_parameters,
    finite,
    positive,
    probability,
)
from minilvm.rules import primitive


@dataclass(frozen=True, init=False, eq=False)
class Laplace(Distribution):
    """The Laplace (double exponential) law.

        log p(x) = −|x − μ| / b − log 2b

    Reparameterised (N13): x = μ + b (ε₁ − ε₂) with ε₁, ε₂ ~ Exponential(1). Mean and mode μ, variance 2 b², entropy
    1 + log 2b.

    Parameters
    ----------
    loc
        Mean μ.
    scale
        Mean distance b > 0 from μ. Its shape and that of `loc` broadcast to `batch_shape`; `event_shape` is ().
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        A parameter is NaN or infinite, `scale` is not positive, or the shapes do not broadcast.

    References
    ----------
    Kotz, Kozubowski and Podgórski, *The Laplace Distribution and Generalizations* (2001), ch. 2.

    Examples
    --------
    >>> law = Laplace(0.0, [1.0, 2.0])
    >>> law.log_prob(3.0).round(4), law.icdf(1e-300).round(2)
    (array([-3.6931, -2.8863]), array([ -690.08, -1380.16]))
    """

    loc: Array
    scale: Array
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(self, loc: Any, scale: Any, *, validate_args: bool = True) -> None:
        loc, scale = as_parameters(loc, scale)
        broadcast_parameters("Laplace", loc=loc.shape, scale=scale.shape)
        self._set(loc=loc, scale=scale, validate_args=validate_args)
        self._require("loc", loc, finite)
        self._require("scale", scale, finite, positive)

    @property
    def batch_shape(self) -> Shape:
        """The shape that μ and b broadcast to."""
        return broadcast(self.loc.shape, self.scale.shape)

    @property
    def support(self) -> Constraint:
        """Every finite number."""
        return finite

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`, by broadcasting `loc`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(loc=np.broadcast_to(self.loc, batch_shape))

    def log_prob(self, value: Any) -> Array:
        """Return −|x − μ| / b − log 2b."""
        return -np.abs(self._value(value) - self.loc) / self.scale - np.log(2.0 * self.scale)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value) = ½ exp(−|z|) for z = (x − μ) / b < 0, and 1 less that above."""
        x, _ = as_parameters(value, self.loc)
        return standard_cdf((x - self.loc) / self.scale)

    def icdf(self, value: Any) -> Array:
        """Return the quantile at probability p = `value`, μ + b log 2p below ½ and μ − b log 2(1 − p) above.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        p, _ = as_parameters(value, self.loc)
        self._require("value", p, probability)
        return self.loc + self.scale * standard_quantile(p)

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws μ + b (ε₁ − ε₂), the difference of two exponential waits (N13)."""
        shape = (2, *self._shape(sample_shape))
        first, second = default_rng(rng, like=self.loc).standard_exponential(shape, dtype=self.dtype)
        return self.loc + self.scale * (first - second)

    @property
    def mean(self) -> Array:
        """μ, of shape `batch_shape`."""
        return np.broadcast_to(self.loc, self.batch_shape)

    @property
    def variance(self) -> Array:
        """2 b²."""
        return np.square(self.stddev)

    @property
    def stddev(self) -> Array:
        """√2 b."""
        return np.broadcast_to(math.sqrt(2.0) * self.scale, self.batch_shape)

    @property
    def mode(self) -> Array:
        """μ."""
        return self.mean

    def entropy(self) -> Array:
        """Return 1 + log 2b."""
        return np.broadcast_to(1.0 + np.log(2.0 * self.scale), self.batch_shape)


@primitive(z=lambda g, z: g * 0.5 * np.exp(-np.abs(z)))
def standard_cdf(z: Array) -> Array:
    """Return P(Z ≤ z) for μ = 0 and b = 1, to full precision in the left tail."""
    tail = 0.5 * numpy.exp(-numpy.abs(z))
    return numpy.where(z < 0, tail, 1.0 - tail)


@primitive(p=lambda g, p: g / np.minimum(p, 1.0 - p))
def standard_quantile(p: Array) -> Array:
    """Return the z with P(Z ≤ z) = p for μ = 0 and b = 1; ∓inf at 0 and 1."""
    with numpy.errstate(divide="ignore"):
        log_tail = numpy.log(2.0 * numpy.minimum(p, 1.0 - p))
    return numpy.where(p < 0.5, log_tail, -log_tail)
