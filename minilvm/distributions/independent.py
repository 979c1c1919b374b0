"""Independent: read the last axes of a batch of laws as one event, whose density is a product."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy

from minilvm import tree
from minilvm.backend import Array, namespace
from minilvm.distributions.base import MOST_ELEMENTS, Distribution, sum_rightmost
from minilvm.distributions.parameters import Constraint, Shape


@dataclass(frozen=True, init=False, eq=False)
class Independent(Distribution):
    """Independent draws from a batch of laws, seen as one event.

        log p(x) = Σ_l log p_l(x_l)

    over the last axes of the base's batch. `Independent(Normal(loc, scale), 1)` is a Gaussian with diagonal covariance,
    `Independent(Bernoulli(logits=a), 1)` a vector of independent bits. Support, reparameterisation and moments are the
    base's, and the entropy is the sum of the base's.

    Parameters
    ----------
    base
        The law of each element.
    reinterpreted_batch_ndims
        How many of the base's last batch axes become event axes, before those it has already.
    validate_args
        Whether to check the shape of values; the base checks their elements.

    Raises
    ------
    ValueError
        The base has fewer batch axes than that.

    References
    ----------
    Dillon et al., *TensorFlow Distributions*, arXiv:1711.10604, §3.3.

    Examples
    --------
    >>> from minilvm.distributions import Normal
    >>> law = Independent(Normal(numpy.zeros((100, 5)), 1.0), 1)
    >>> law.batch_shape, law.event_shape, law.log_prob(numpy.zeros(5)).shape
    ((100,), (5,), (100,))
    """

    base: Distribution
    reinterpreted_batch_ndims: int = tree.static()
    validate_args: bool = tree.static(repr=False)

    def __init__(self, base: Distribution, reinterpreted_batch_ndims: int, *, validate_args: bool = True) -> None:
        if not 0 <= reinterpreted_batch_ndims <= len(base.batch_shape):
            raise ValueError(
                f"Independent: {type(base).__name__} has batch_shape {base.batch_shape}, too few axes to read the last "
                f"{reinterpreted_batch_ndims} as an event; base.expand adds some"
            )
        self._set(base=base, reinterpreted_batch_ndims=reinterpreted_batch_ndims, validate_args=validate_args)

    @property
    def batch_shape(self) -> Shape:
        """The base's, less its last axes."""
        return self._split[0]

    @property
    def event_shape(self) -> Shape:
        """The last axes of the base's batch, then the base's event."""
        return self._split[1] + self.base.event_shape

    @property
    def _split(self) -> tuple[Shape, Shape]:
        """The base's batch axes: those that remain, and those that are the event's."""
        shape = self.base.batch_shape
        n = len(shape) - self.reinterpreted_batch_ndims
        return shape[:n], shape[n:]

    @property
    def support(self) -> Constraint:
        """The base's."""
        return self.base.support

    @property
    def reparameterized(self) -> bool:  # type: ignore[override]  # a constant of every other class
        """Whether the base is."""
        return self.base.reparameterized

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(base=self.base.expand(batch_shape + self._split[1]))

    def log_prob(self, value: Any) -> Array:
        """Return Σ_l log p_l(x_l)."""
        if self.validate_args:
            self._check_shape(numpy.shape(value))
        return self.base._summed_log_prob(value, self.reinterpreted_batch_ndims)  # noqa: SLF001  (one law asks another)

    def sample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws of the base, as constants."""
        return self.base.sample(sample_shape, rng=rng)

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws of the base, differentiable in its parameters (N13)."""
        return self.base.rsample(sample_shape, rng=rng)

    def enumerate_support(self) -> Array:
        """Return all S^L events of L elements, in lexicographic order, of shape `(S^L,) + batch_shape + event_shape`.

        Raises
        ------
        ValueError
            There are too many to hold.
        """
        values = self.base.enumerate_support()
        batch, event = self._split
        S, L = len(values), math.prod(event)
        if S**L * math.prod(values.shape[1:]) > MOST_ELEMENTS:
            raise ValueError(f"Independent: {S}^{L} values for each law are too many to enumerate; use sample")
        xp = namespace(values)
        digits = xp.arange(S**L)[:, None] // S ** xp.arange(L)[::-1] % S  # of 0 … S^L − 1, written in base S
        digits = digits.reshape(S**L, *(1 for _ in batch), *event, *(1 for _ in self.base.event_shape))
        return xp.take_along_axis(values, xp.broadcast_to(digits, (S**L, *values.shape[1:])), axis=0)

    @property
    def mean(self) -> Array:
        """The base's."""
        return self.base.mean

    @property
    def variance(self) -> Array:
        """The base's."""
        return self.base.variance

    @property
    def stddev(self) -> Array:
        """The base's."""
        return self.base.stddev

    @property
    def mode(self) -> Array:
        """The base's."""
        return self.base.mode

    def entropy(self) -> Array:
        """Return Σ_l H(p_l)."""
        return self._sum(self.base.entropy())

    def _sum(self, x: Array) -> Array:
        return sum_rightmost(x, self.reinterpreted_batch_ndims)
