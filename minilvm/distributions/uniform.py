"""The uniform law: any number of an interval, all alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

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
    probability,
)


@dataclass(frozen=True, init=False, eq=False)
class Uniform(Distribution):
    """The uniform law of a number between a and b.

        log p(x) = −log(b − a)        for a ≤ x ≤ b

    Both ends belong to it: a draw that is rounded to b is no impossible event. Reparameterised (N13): x = a + (b − a) u
    with u uniform on [0, 1). Mean (a + b) / 2, variance (b − a)² / 12, entropy log(b − a).

    Parameters
    ----------
    low
        Lower end a.
    high
        Upper end b > a. Its shape and that of `low` broadcast to `batch_shape`; `event_shape` is ().
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        A parameter is NaN or infinite, `high` is not above `low`, or the shapes do not broadcast.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), appendix B.

    Examples
    --------
    >>> law = Uniform(0.0, [2.0, 4.0])
    >>> law.log_prob(0.5).round(4), law.cdf(0.5)
    (array([-0.6931, -1.3863]), array([0.25 , 0.125]))
    """

    low: Array
    high: Array
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(self, low: Any, high: Any, *, validate_args: bool = True) -> None:
        low, high = as_parameters(low, high)
        broadcast_parameters("Uniform", low=low.shape, high=high.shape)
        self._set(low=low, high=high, validate_args=validate_args)
        self._require("low", low, finite)
        self._require("high", high, finite, Constraint("above low", lambda high: high > low))

    @property
    def batch_shape(self) -> Shape:
        """The shape that a and b broadcast to."""
        return broadcast(self.low.shape, self.high.shape)

    @property
    def support(self) -> Constraint:
        """Every number from a to b."""
        return Constraint("from low to high", lambda x: (x >= self.low) & (x <= self.high))

    @property
    def width(self) -> Array:
        """b − a, of shape `batch_shape`."""
        return self.high - self.low

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`, by broadcasting `low`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(low=np.broadcast_to(self.low, batch_shape))

    def log_prob(self, value: Any) -> Array:
        """Return −log(b − a) for a ≤ x ≤ b, and −inf elsewhere."""
        inside = self.support.check(self._value(value))
        return np.where(inside, -np.log(self.width), -np.inf)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value) = (x − a) / (b − a), between 0 and 1."""
        x, _ = as_parameters(value, self.low)
        return np.clip((x - self.low) / self.width, 0.0, 1.0)

    def icdf(self, value: Any) -> Array:
        """Return the quantile (1 − p) a + p b, at probability p = `value`: a at 0, b at 1.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        p, _ = as_parameters(value, self.low)
        self._require("value", p, probability)
        return (1.0 - p) * self.low + p * self.high

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws a + (b − a) u with u uniform on [0, 1) (N13)."""
        u = default_rng(rng, like=self.low).random(self._shape(sample_shape), dtype=self.dtype)
        return self.low + self.width * u

    @property
    def mean(self) -> Array:
        """(a + b) / 2, of shape `batch_shape`."""
        return 0.5 * (self.low + self.high)

    @property
    def variance(self) -> Array:
        """(b − a)² / 12."""
        return np.square(self.width) / 12.0

    @property
    def mode(self) -> Array:
        """The middle: every number from a to b is a mode."""
        return self.mean

    def entropy(self) -> Array:
        """Return log(b − a)."""
        return np.log(self.width)
