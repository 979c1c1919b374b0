"""The Poisson law: how often what happens at a constant rate has happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng, scipy_namespace
from minilvm.distributions.base import Distribution
from minilvm.distributions.counts import count, deviance, stirling_remainder
from minilvm.distributions.parameters import Constraint, Shape, as_parameters, log_probability, not_negative, to_shape
from minilvm.rules import primitive
from minilvm.tape import stop_gradient


@dataclass(frozen=True, init=False, eq=False)
class Poisson(Distribution):
    """The Poisson law of a count x ≥ 0.

        log p(x) = x log λ − λ − log x!

    Computed as −s(x) − d(x, λ) (`counts`), so that no digit is lost to factorials: the relative error is of the order
    of √λ units in the last place, 1e-12 at λ = 1e9, where the difference of logarithms has 1e-6. What is no count
    scores −inf; with rate 0 every count but 0 does. Not reparameterised: use the score function (N12). Mean and
    variance λ, mode ⌊λ⌋; the entropy has no closed form.

    Parameters
    ----------
    rate
        Rate λ ≥ 0; its shape is `batch_shape`, and `event_shape` is ().
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        `rate` is NaN, infinite or negative.

    References
    ----------
    Johnson, Kemp and Kotz, *Univariate Discrete Distributions*, 3rd ed. (2005), ch. 4. Loader, *Fast and Accurate
    Computation of Binomial Probabilities* (2000).

    Examples
    --------
    >>> Poisson([0.0, 2.5, 1e9]).log_prob([3, 3, 1e9]).round(4)
    array([    -inf,  -1.5429, -11.2806])
    """

    rate: Array
    validate_args: bool = tree.static(repr=False)

    def __init__(self, rate: Any, *, validate_args: bool = True) -> None:
        (rate,) = as_parameters(rate)
        self._set(rate=rate, validate_args=validate_args)
        self._require("rate", rate, not_negative)

    @property
    def batch_shape(self) -> Shape:
        """The shape of λ."""
        shape: Shape = self.rate.shape
        return shape

    @property
    def support(self) -> Constraint:
        """The whole numbers from 0 on."""
        return count

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(rate=np.broadcast_to(self.rate, batch_shape))

    def log_prob(self, value: Any) -> Array:
        """Return x log λ − λ − log x!, and −inf for what is no count."""
        x = stop_gradient(self._value(value))
        return self._supported(lambda x: log_density(x, log_probability(self.rate), self.rate), x, 0.0)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value) = Q(⌊value⌋ + 1, λ), the regularised incomplete gamma function; 0 below 0."""
        x, rate = as_parameters(value, self.rate)
        x = stop_gradient(np.floor(x))
        return np.where(x < 0, 0.0, cumulative(np.maximum(x, 0.0), rate))

    def sample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return counts in the parameters' precision, of shape `sample_shape + batch_shape`."""
        rate = stop_gradient(self.rate)
        return default_rng(rng, like=rate).poisson(rate, self._shape(sample_shape)).astype(rate.dtype)

    @property
    def mean(self) -> Array:
        """λ."""
        return self.rate

    @property
    def variance(self) -> Array:
        """λ."""
        return self.rate

    @property
    def mode(self) -> Array:
        """⌊λ⌋; where λ is a whole number, λ − 1 is as probable."""
        return np.floor(self.rate)


# As a function of log λ and λ, as if they were two:   ∂ log p/∂ log λ = x,   ∂ log p/∂λ = −1.
@primitive(
    log_rate=lambda g, x, log_rate_shape: to_shape(g * x, log_rate_shape),
    rate=lambda g, rate_shape: to_shape(-g, rate_shape),
)
def log_density(x: Array, log_rate: Array, rate: Array) -> Array:
    """Return x log λ − λ − log x!, element by element."""
    return 0.0 - stirling_remainder(x) - deviance(x, rate, log_rate)


@primitive(
    rate=lambda g, x, rate: to_shape(-g * np.exp(log_density(x, log_probability(rate), rate)), rate.shape),
)
def cumulative(x: Array, rate: Array) -> Array:
    """Return P(X ≤ x) for a count x, whose derivative is −p(x)."""
    return scipy_namespace("special", x, rate).gammaincc(x + 1.0, rate)
