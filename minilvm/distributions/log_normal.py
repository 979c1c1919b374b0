"""The log-normal law: a positive number whose logarithm is normal, as a product of many is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array
from minilvm.distributions.base import Distribution
from minilvm.distributions.normal import HALF_LOG_TWO_PI, Normal, log_density
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    broadcast,
    broadcast_parameters,
    finite,
    positive,
    positive_finite,
)
from minilvm.numpy import special


@dataclass(frozen=True, init=False, eq=False)
class LogNormal(Distribution):
    """The log-normal law of a number x > 0, of which log x ~ N(μ, σ²).

        log p(x) = −½ ((log x − μ) / σ)² − log σ − ½ log 2π − log x

    It is `Transformed(Normal(loc, scale), ExpTransform())`, where the last term is log |d log x / dx|; and has moments
    besides. Reparameterised (N13): x = exp(μ + σ ε) with ε ~ N(0, 1). Mean exp(μ + σ²/2), variance (exp(σ²) − 1) mean²,
    mode exp(μ − σ²), entropy μ + ½ log 2πe σ².

    Parameters
    ----------
    loc
        Mean μ of log x.
    scale
        Standard deviation σ > 0 of log x. Its shape and that of `loc` broadcast to `batch_shape`; `event_shape` is ().
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        A parameter is NaN or infinite, `scale` is not positive, or the shapes do not broadcast.

    References
    ----------
    Johnson, Kotz and Balakrishnan, *Continuous Univariate Distributions* 1 (1994), ch. 14.

    Examples
    --------
    >>> law = LogNormal(0.0, [0.5, 1.0])
    >>> law.log_prob(2.0).round(4), law.mean.round(4)
    (array([-1.8798, -1.8523]), array([1.1331, 1.6487]))
    """

    loc: Array
    scale: Array
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(self, loc: Any, scale: Any, *, validate_args: bool = True) -> None:
        loc, scale = as_parameters(loc, scale)
        broadcast_parameters("LogNormal", loc=loc.shape, scale=scale.shape)
        self._set(loc=loc, scale=scale, validate_args=validate_args)
        self._require("loc", loc, finite)
        self._require("scale", scale, finite, positive)

    @property
    def log_law(self) -> Normal:
        """The law of log x."""
        return Normal(self.loc, self.scale, validate_args=self.validate_args)

    @property
    def batch_shape(self) -> Shape:
        """The shape that μ and σ broadcast to."""
        return broadcast(self.loc.shape, self.scale.shape)

    @property
    def support(self) -> Constraint:
        """Every positive finite number."""
        return positive_finite

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`, by broadcasting `loc`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(loc=np.broadcast_to(self.loc, batch_shape))

    def log_prob(self, value: Any) -> Array:
        """Return log N(log x; μ, σ²) − log x, and −inf for x ≤ 0."""

        def of_positive(x: Array) -> Array:
            log_x = np.log(x)
            return log_density(log_x, self.loc, self.scale) - log_x

        return self._supported(of_positive, self._value(value), 1.0)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value) = Φ((log x − μ) / σ), and 0 for x ≤ 0."""
        x, _ = as_parameters(value, self.loc)
        below = np.less_equal(x, 0.0)
        z = (np.log(np.where(below, 1.0, x)) - self.loc) / self.scale
        return np.where(below, 0.0, special.ndtr(z))

    def icdf(self, value: Any) -> Array:
        """Return the quantile exp(μ + σ Φ⁻¹(value)): 0 at 0, +inf at 1.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        return np.exp(self.log_law.icdf(value))

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws exp(μ + σ ε) with ε ~ N(0, 1) (N13)."""
        return np.exp(self.log_law.rsample(sample_shape, rng=rng))

    @property
    def mean(self) -> Array:
        """exp(μ + σ²/2), of shape `batch_shape`."""
        return np.exp(self.loc + 0.5 * np.square(self.scale))

    @property
    def variance(self) -> Array:
        """(exp(σ²) − 1) exp(2 μ + σ²)."""
        return np.square(self.stddev)

    @property
    def stddev(self) -> Array:
        """√(1 − exp(−σ²)) exp(μ + σ²)."""
        variance = np.square(self.scale)
        return np.sqrt(-np.expm1(-variance)) * np.exp(self.loc + variance)

    @property
    def mode(self) -> Array:
        """exp(μ − σ²)."""
        return np.exp(self.loc - np.square(self.scale))

    def entropy(self) -> Array:
        """Return μ + log σ + ½ log 2πe."""
        return self.loc + np.log(self.scale) + (0.5 + HALF_LOG_TWO_PI)
