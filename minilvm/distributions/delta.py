"""The point mass: a law that is certain, so that a point estimate can stand where a guide is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array
from minilvm.distributions.base import Distribution, sum_rightmost
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    broadcast,
    broadcast_shapes,
    finite,
    probability,
)


@dataclass(frozen=True, init=False, eq=False)
class Delta(Distribution):
    """The point mass at v: x is v, always.

        log p(x) = c for x = v,   −inf elsewhere        (c = 0 for a probability)

    As a guide q(z) = δ(z − v) it makes of the ELBO (N8) the log joint at v, and of its maximum the MAP estimate.
    Reparameterised (N13): x = v. Mean and mode v, variance 0, entropy −c.

    Parameters
    ----------
    v
        The point.
    log_density
        c, where the mass stands for a value of a density; of shape `batch_shape`, or one that broadcasts to it.
    event_dim
        How many of the last axes of `v` make one event: `v` has shape `batch_shape + event_shape`.
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        A parameter is NaN or infinite, `v` has fewer axes than `event_dim`, or `log_density` does not fit.

    References
    ----------
    Bingham et al., *Pyro*, arXiv:1810.09538: the law by this name there.

    Examples
    --------
    >>> law = Delta([1.0, 2.0], event_dim=1)
    >>> law.event_shape, law.sample(3, rng=0).shape
    ((2,), (3, 2))
    >>> Delta([1.0, 2.0], validate_args=False).log_prob(2.0)
    array([-inf,   0.])
    """

    v: Array
    log_density: Array
    event_dim: int = tree.static()
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(self, v: Any, log_density: Any = 0.0, event_dim: int = 0, *, validate_args: bool = True) -> None:
        v, log_density = as_parameters(v, log_density)
        n = v.ndim - event_dim
        if not 0 <= n <= v.ndim or broadcast_shapes(v.shape[:n], log_density.shape) != v.shape[:n]:
            raise ValueError(
                f"Delta: v has shape {v.shape} and log_density {log_density.shape}; expected v of shape batch_shape + "
                f"event_shape with {event_dim} event axes, and a log_density that broadcasts to batch_shape"
            )
        self._set(v=v, log_density=log_density, event_dim=event_dim, validate_args=validate_args)
        self._require("v", v, finite)
        self._require("log_density", log_density, finite)

    @property
    def batch_shape(self) -> Shape:
        """The shape of v, less the event's axes."""
        shape: Shape = self.v.shape[: self.v.ndim - self.event_dim]
        return shape

    @property
    def event_shape(self) -> Shape:
        """The last `event_dim` axes of v."""
        shape: Shape = self.v.shape[self.v.ndim - self.event_dim :]
        return shape

    @property
    def support(self) -> Constraint:
        """v."""
        return Constraint("v", lambda x: np.equal(x, self.v))

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(v=np.broadcast_to(self.v, batch_shape + self.event_shape))

    def log_prob(self, value: Any) -> Array:
        """Return c where every element of the event is that of v, and −inf elsewhere."""
        here = self.support.check(self._value(value))
        return sum_rightmost(np.where(here, np.zeros_like(self.v), -np.inf), self.event_dim) + self.log_density

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value): 0 before v, and 1 from there on; for `event_dim` = 0."""
        if self.event_dim:
            return super().cdf(value)
        x, v = as_parameters(value, self.v)
        return np.where(np.isnan(x), np.nan, np.greater_equal(x, v).astype(self.dtype))

    def icdf(self, value: Any) -> Array:
        """Return v, whatever the probability; for `event_dim` = 0.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        if self.event_dim:
            return super().icdf(value)
        p, _ = as_parameters(value, self.v)
        self._require("value", p, probability)
        return np.broadcast_to(self.v, broadcast(p.shape, self.v.shape))

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return v, again and again (N13); no random number is drawn."""
        del rng
        return np.broadcast_to(self.v, self._shape(sample_shape))

    def enumerate_support(self) -> Array:
        """Return v, of shape `(1,) + batch_shape + event_shape`."""
        return np.expand_dims(self.v, 0)

    @property
    def mean(self) -> Array:
        """v."""
        return self.v

    @property
    def variance(self) -> Array:
        """0."""
        return np.zeros_like(self.v)

    @property
    def mode(self) -> Array:
        """v."""
        return self.v

    def entropy(self) -> Array:
        """Return −c."""
        return -np.broadcast_to(self.log_density, self.batch_shape)
