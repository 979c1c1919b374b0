"""The exponential law: the wait for what happens at a constant rate."""

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
    finite,
    log_complement,
    not_negative,
    positive,
    probability,
)


@dataclass(frozen=True, init=False, eq=False)
class Exponential(Distribution):
    """The exponential law of a number x ≥ 0.

        log p(x) = log λ − λ x

    Reparameterised (N13): x = ε / λ with ε ~ Exponential(1). Mean and deviation 1/λ, mode 0, entropy 1 − log λ.

    Parameters
    ----------
    rate
        Rate λ > 0, one over the mean; its shape is `batch_shape`, and `event_shape` is ().
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        `rate` is NaN, infinite or not positive.

    References
    ----------
    Devroye, *Non-Uniform Random Variate Generation* (1986), §I.2.

    Examples
    --------
    >>> law = Exponential([1.0, 4.0])
    >>> law.log_prob(0.5).round(4), law.cdf(0.5).round(4)
    (array([-0.5   , -0.6137]), array([0.3935, 0.8647]))
    """

    rate: Array
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(self, rate: Any, *, validate_args: bool = True) -> None:
        (rate,) = as_parameters(rate)
        self._set(rate=rate, validate_args=validate_args)
        self._require("rate", rate, finite, positive)

    @property
    def batch_shape(self) -> Shape:
        """The shape of λ."""
        shape: Shape = self.rate.shape
        return shape

    @property
    def support(self) -> Constraint:
        """Every finite number from 0 on."""
        return not_negative

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(rate=np.broadcast_to(self.rate, batch_shape))

    def log_prob(self, value: Any) -> Array:
        """Return log λ − λ x, and −inf for x < 0."""
        return self._supported(lambda x: np.log(self.rate) - self.rate * x, self._value(value), 0.0)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value) = 1 − exp(−λ x), to full precision near 0."""
        x, _ = as_parameters(value, self.rate)
        return -np.expm1(-self.rate * np.maximum(x, 0.0))

    def icdf(self, value: Any) -> Array:
        """Return the quantile −log(1 − value) / λ: 0 at 0, +inf at 1.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        p, _ = as_parameters(value, self.rate)
        self._require("value", p, probability)
        return -log_complement(p) / self.rate

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws ε / λ with ε ~ Exponential(1) (N13)."""
        epsilon = default_rng(rng, like=self.rate).standard_exponential(self._shape(sample_shape), dtype=self.dtype)
        return epsilon / self.rate

    @property
    def mean(self) -> Array:
        """1 / λ, of shape `batch_shape`."""
        return 1.0 / self.rate

    @property
    def variance(self) -> Array:
        """1 / λ²."""
        return np.square(self.stddev)

    @property
    def stddev(self) -> Array:
        """1 / λ."""
        return self.mean

    @property
    def mode(self) -> Array:
        """0."""
        return np.zeros_like(self.rate)

    def entropy(self) -> Array:
        """Return 1 − log λ."""
        return 1.0 - np.log(self.rate)
