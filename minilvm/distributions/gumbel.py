"""The Gumbel law: the greatest of many, and the noise that turns argmax into a draw of a category."""

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
    log_probability,
    positive,
    probability,
)
from minilvm.rules import primitive


@dataclass(frozen=True, init=False, eq=False)
class Gumbel(Distribution):
    """The Gumbel (extreme value) law.

        log p(x) = −z − exp(−z) − log β,   z = (x − μ) / β

    The greatest of many numbers with an exponential tail has it nearly, and argmax_c (a_c + g_c) over standard Gumbel
    g_c is a draw of Categorical(logits=a). Reparameterised (N13): x = μ − β log ε with ε ~ Exponential(1). Mode μ, mean
    μ + γ β (γ = 0.5772…, Euler's constant), variance π² β² / 6, entropy log β + γ + 1.

    Parameters
    ----------
    loc
        Mode μ.
    scale
        β > 0. Its shape and that of `loc` broadcast to `batch_shape`; `event_shape` is ().
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        A parameter is NaN or infinite, `scale` is not positive, or the shapes do not broadcast.

    References
    ----------
    Maddison, Mnih and Teh, arXiv:1611.00712, §2.

    Examples
    --------
    >>> law = Gumbel(0.0, [1.0, 2.0])
    >>> law.log_prob(1.0).round(4), law.cdf(1.0).round(4)
    (array([-1.3679, -1.7997]), array([0.6922, 0.5452]))
    """

    loc: Array
    scale: Array
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(self, loc: Any, scale: Any, *, validate_args: bool = True) -> None:
        loc, scale = as_parameters(loc, scale)
        broadcast_parameters("Gumbel", loc=loc.shape, scale=scale.shape)
        self._set(loc=loc, scale=scale, validate_args=validate_args)
        self._require("loc", loc, finite)
        self._require("scale", scale, finite, positive)

    @property
    def batch_shape(self) -> Shape:
        """The shape that μ and β broadcast to."""
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
        """Return −z − exp(−z) − log β: −inf where exp(−z) overflows."""
        return standard_log_density((self._value(value) - self.loc) / self.scale) - np.log(self.scale)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value) = exp(−exp(−z))."""
        x, _ = as_parameters(value, self.loc)
        return standard_cdf((x - self.loc) / self.scale)

    def icdf(self, value: Any) -> Array:
        """Return the quantile μ − β log(−log p) at probability p = `value`: −inf at 0, +inf at 1.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        p, _ = as_parameters(value, self.loc)
        self._require("value", p, probability)
        return self.loc - self.scale * log_probability(-log_probability(p))

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws μ − β log ε with ε ~ Exponential(1) (N13)."""
        rng = default_rng(rng, like=self.loc)
        return self.loc + self.scale * standard_draws(self._shape(sample_shape), self.dtype, rng=rng)

    @property
    def mean(self) -> Array:
        """μ + γ β, of shape `batch_shape`."""
        return self.loc + numpy.euler_gamma * self.scale

    @property
    def variance(self) -> Array:
        """π² β² / 6."""
        return np.square(self.stddev)

    @property
    def stddev(self) -> Array:
        """π β / √6."""
        return np.broadcast_to(math.pi / math.sqrt(6.0) * self.scale, self.batch_shape)

    @property
    def mode(self) -> Array:
        """μ."""
        return np.broadcast_to(self.loc, self.batch_shape)

    def entropy(self) -> Array:
        """Return log β + γ + 1."""
        return np.broadcast_to(np.log(self.scale) + (numpy.euler_gamma + 1.0), self.batch_shape)


def _exp(x: Array) -> Array:
    """exp(x), or where it would overflow a number that is large enough: times a cotangent of 0, ∞ would be NaN."""
    return np.exp(np.minimum(x, 0.99 * math.log(numpy.finfo(x.dtype).max)))


@primitive(z=lambda g, z: g * (_exp(-z) - 1.0))
def standard_log_density(z: Array) -> Array:
    """Return log p(z) for μ = 0 and β = 1."""
    with numpy.errstate(over="ignore"):
        return -z - numpy.exp(-z)


@primitive(z=lambda g, z: g * np.exp(-z - _exp(-z)))
def standard_cdf(z: Array) -> Array:
    """Return P(Z ≤ z) for μ = 0 and β = 1."""
    with numpy.errstate(over="ignore"):
        return numpy.exp(-numpy.exp(-z))


def standard_draws(shape: Shape, dtype: numpy.dtype[Any], *, rng: Any) -> Array:
    """Return draws −log ε for μ = 0 and β = 1, from a generator of the library they are to be arrays of.

    A wait ε below the rounding of the generator's uniform numbers is as likely 0: it counts as that much.
    """
    epsilon = rng.standard_exponential(shape, dtype=dtype)
    return -numpy.log(numpy.maximum(epsilon, 0.5 * numpy.finfo(dtype).epsneg))
