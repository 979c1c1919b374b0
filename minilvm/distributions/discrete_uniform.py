"""The uniform law of integers: every one from low to high is as probable as another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng, namespace
from minilvm.distributions.base import Distribution
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    broadcast,
    broadcast_parameters,
    probability,
)
from minilvm.tape import stop_gradient

integer = Constraint("an integer", lambda x: np.isfinite(x) & (np.floor(x) == x))


@dataclass(frozen=True, init=False, eq=False)
class DiscreteUniform(Distribution):
    """The uniform law of the n = high − low + 1 integers from `low` to `high`, both ends included.

        log p(x) = −log n,     x ∈ {low, …, high}

    The law of naive Monte Carlo over labels (N5). Any other x scores −inf. Draws, quantiles and the mode are integers,
    as a `Categorical`'s are. There is nothing to differentiate: `low` and `high` are constants, and their gradient is
    0. Mean (low + high) / 2, variance (n² − 1) / 12, entropy log n; every value is a mode, and `mode` names the least.

    Parameters
    ----------
    low
        The least integer.
    high
        The greatest integer. The two shapes broadcast to `batch_shape`; `event_shape` is ().
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        A bound is no integer, `high` is less than `low`, or the shapes do not broadcast.

    References
    ----------
    Johnson, Kemp and Kotz, *Univariate Discrete Distributions*, 3rd ed. (2005), §6.10.1.

    Examples
    --------
    >>> law = DiscreteUniform(1, 6)
    >>> law.log_prob([1, 6]).round(4), law.cdf([0, 2, 6]).round(4), law.enumerate_support()
    (array([-1.7918, -1.7918]), array([0.    , 0.3333, 1.    ]), array([1, 2, 3, 4, 5, 6]))
    """

    low: Array
    high: Array
    validate_args: bool = tree.static(repr=False)

    def __init__(self, low: Any, high: Any, *, validate_args: bool = True) -> None:
        low, high = as_parameters(low, high)
        broadcast_parameters("DiscreteUniform", low=low.shape, high=high.shape)
        self._set(low=low, high=high, validate_args=validate_args)
        self._require("low", low, integer)
        self._require("high", high, integer)
        self._require("high", np.broadcast_to(high, self.batch_shape), Constraint("at least low", lambda x: x >= low))

    @property
    def _n(self) -> Array:
        """How many integers there are, of shape `batch_shape`."""
        return stop_gradient(self.high) - stop_gradient(self.low) + 1.0

    @property
    def batch_shape(self) -> Shape:
        """The shape that the bounds broadcast to."""
        return broadcast(self.low.shape, self.high.shape)

    @property
    def support(self) -> Constraint:
        """The integers from low to high."""
        low, high = stop_gradient(self.low), stop_gradient(self.high)
        return Constraint("an integer from low to high", lambda x: (x >= low) & (x <= high) & (np.floor(x) == x))

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`, by broadcasting `low`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(low=np.broadcast_to(self.low, batch_shape))

    def log_prob(self, value: Any) -> Array:
        """Return −log n, and −inf for what is no integer from low to high."""
        return np.where(self.support.check(self._value(value)), -np.log(self._n), -numpy.inf)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value) = (⌊value⌋ − low + 1) / n, between 0 and 1."""
        x, low = as_parameters(value, self.low)
        return np.clip((np.floor(x) - stop_gradient(low) + 1.0) / self._n, 0.0, 1.0)

    def icdf(self, value: Any) -> Array:
        """Return the quantile, the least integer x with (x − low + 1) / n ≥ value; low at 0.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        u, low = map(stop_gradient, as_parameters(value, self.low))
        self._require("value", u, probability)
        x = low + np.ceil(u * self._n) - 1.0
        x = x + (self.cdf(x) < u) - (self.cdf(x - 1.0) >= u)  # where rounding has taken the product over an integer
        return np.maximum(x, low).astype(int)

    def sample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return integers, of shape `sample_shape + batch_shape`.

        Of a batch of laws they are low + ⌊n u⌋, u uniform on [0, 1) in double precision: even to within n 2⁻⁵³.
        """
        low, shape = stop_gradient(self.low), self._shape(sample_shape)
        generator = default_rng(rng, like=low)
        if not self.batch_shape:
            return generator.integers(int(low), int(stop_gradient(self.high)), size=shape, endpoint=True)
        u = generator.random(shape)
        return (low + np.floor(u * self._n)).astype(int)

    def enumerate_support(self) -> Array:
        """Return the n integers in order, of shape `(n,) + batch_shape`.

        Raises
        ------
        ValueError
            The laws of the batch have different numbers of them.
        """
        n, low = self._n, stop_gradient(self.low)
        S = int(n.max()) if n.size else 0
        if (n != S).any():
            raise ValueError(f"DiscreteUniform: laws of {int(n.min())} to {S} values have no enumeration in common")
        steps = namespace(n).arange(S).reshape(S, *(1 for _ in self.batch_shape))
        return np.broadcast_to((low + steps).astype(int), (S, *self.batch_shape))

    @property
    def mean(self) -> Array:
        """(low + high) / 2, of shape `batch_shape`."""
        return 0.5 * (stop_gradient(self.low) + stop_gradient(self.high))

    @property
    def variance(self) -> Array:
        """(n² − 1) / 12."""
        n = self._n
        return (n - 1.0) * (n + 1.0) / 12.0

    @property
    def mode(self) -> Array:
        """The least value, `low`, for no other is more probable."""
        return np.broadcast_to(stop_gradient(self.low), self.batch_shape).astype(int)

    def entropy(self) -> Array:
        """Return log n."""
        return np.log(self._n)
