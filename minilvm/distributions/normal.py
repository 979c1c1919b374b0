"""The normal law: one number, two parameters, and a draw that is a straight line in both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng, scipy_namespace
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
    to_shape,
)
from minilvm.numpy import special
from minilvm.rules import primitive

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True, init=False, eq=False)
class Normal(Distribution):
    """The normal (Gaussian) law N(μ, σ²).

        log p(x) = −½ ((x − μ) / σ)² − log σ − ½ log 2π

    Reparameterised (N13): x = μ + σ ε with ε ~ N(0, 1). Mean and mode μ, variance σ², entropy ½ log 2πe σ².
    `Independent(Normal(loc, scale), 1)` is the diagonal Gaussian of N1 and N14.

    Parameters
    ----------
    loc
        Mean μ.
    scale
        Standard deviation σ > 0. Its shape and that of `loc` broadcast to `batch_shape`; `event_shape` is ().
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        A parameter is NaN or infinite, `scale` is not positive, or the shapes do not broadcast.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), eq. 1.46. Kingma and Welling, arXiv:1312.6114, §2.4.

    Examples
    --------
    >>> law = Normal(0.0, [1.0, 2.0])
    >>> law.log_prob(0.0).round(4)
    array([-0.9189, -1.6121])
    >>> law.sample(3, rng=0).shape
    (3, 2)
    """

    loc: Array
    scale: Array
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(self, loc: Any, scale: Any, *, validate_args: bool = True) -> None:
        loc, scale = as_parameters(loc, scale)
        broadcast_parameters("Normal", loc=loc.shape, scale=scale.shape)
        self._set(loc=loc, scale=scale, validate_args=validate_args)
        self._require("loc", loc, finite)
        self._require("scale", scale, finite, positive)

    @property
    def batch_shape(self) -> Shape:
        """The shape that μ and σ broadcast to."""
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
        """Return −½ ((x − μ) / σ)² − log σ − ½ log 2π."""
        return log_density(self._value(value), self.loc, self.scale)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value) = Φ((value − μ) / σ)."""
        value, _ = as_parameters(value, self.loc)
        return special.ndtr((value - self.loc) / self.scale)

    def icdf(self, value: Any) -> Array:
        """Return the quantile μ + σ Φ⁻¹(value): −inf at 0, +inf at 1.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        value, _ = as_parameters(value, self.loc)
        self._require("value", value, probability)
        return self.loc + self.scale * standard_quantile(value)

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws μ + σ ε with ε ~ N(0, 1) (N13)."""
        epsilon = default_rng(rng, like=self.loc).standard_normal(self._shape(sample_shape), dtype=self.dtype)
        return self.loc + self.scale * epsilon

    @property
    def mean(self) -> Array:
        """μ, of shape `batch_shape`."""
        return np.broadcast_to(self.loc, self.batch_shape)

    @property
    def stddev(self) -> Array:
        """σ, of shape `batch_shape`."""
        return np.broadcast_to(self.scale, self.batch_shape)

    @property
    def variance(self) -> Array:
        """σ²."""
        return np.square(self.stddev)

    @property
    def mode(self) -> Array:
        """μ."""
        return self.mean

    def entropy(self) -> Array:
        """Return log σ + ½ log 2πe."""
        return np.log(self.stddev) + (0.5 + HALF_LOG_TWO_PI)


# With z = (x − μ) / σ:   ∂ log p/∂x = −z/σ,   ∂ log p/∂μ = z/σ,   ∂ log p/∂σ = (z² − 1)/σ.
@primitive(
    x=lambda g, x, loc, scale: to_shape(g * (loc - x) / np.square(scale), x.shape),
    loc=lambda g, x, loc, scale: to_shape(g * (x - loc) / np.square(scale), loc.shape),
    scale=lambda g, x, loc, scale: to_shape(g * (np.square((x - loc) / scale) - 1.0) / scale, scale.shape),
)
def log_density(x: Array, loc: Array, scale: Array) -> Array:
    """Return log N(x; μ, σ²), element by element."""
    return -0.5 * numpy.square((x - loc) / scale) - (numpy.log(scale) + HALF_LOG_TWO_PI)


@primitive(p=lambda g, y: g * np.exp(0.5 * np.square(y) + HALF_LOG_TWO_PI))
def standard_quantile(p: Array) -> Array:
    """Return Φ⁻¹(p), whose derivative is 1 / φ(Φ⁻¹(p))."""
    return scipy_namespace("special", p).ndtri(p)
