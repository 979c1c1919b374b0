"""The beta law: a number between 0 and 1, such as a probability that is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng
from minilvm.distributions.base import Distribution
from minilvm.distributions.gamma import log_standard_gamma, standard_entropy
from minilvm.distributions.implicit import implicit
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
from minilvm.numpy import special
from minilvm.numpy.incomplete import betainc, betaincinv, log_odds_slope
from minilvm.numpy.stirling import log_beta_density


@dataclass(frozen=True, init=False, eq=False)
class Beta(Distribution):
    """The beta law of a number between 0 and 1.

        log p(x) = (α − 1) log x + (β − 1) log(1 − x) − log B(α, β),      B(α, β) = Γ(α) Γ(β) / Γ(α + β)

    At x = 0 the density is 0, β or ∞, as α is more than 1, 1 or less, and at x = 1 it is 0, α or ∞, as β is. Drawn as
    the ratio x = G / (G + H) of G ~ Gamma(α) to G + H, with H ~ Gamma(β), by their logarithms. Reparameterised (N13)
    implicitly: x moves by dx/dα = −(∂I_x(α, β)/∂α) / p(x), the average of what G and H would say given x, which is less
    noisy. Mean α/(α + β), variance α β / ((α + β)² (α + β + 1)); for α, β > 1 the mode is (α − 1)/(α + β − 2).

    Parameters
    ----------
    concentration1
        α > 0, which draws x towards 1.
    concentration0
        β > 0, which draws x towards 0. Its shape and that of `concentration1` broadcast to `batch_shape`; `event_shape`
        is ().
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        A parameter is NaN, infinite or not positive, or the shapes do not broadcast.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), eq. 2.13. Figurnov, Mohamed and Mnih, arXiv:1805.08498.

    Examples
    --------
    >>> law = Beta([2.0, 1e6], [2.0, 1e6])
    >>> law.log_prob(0.5).round(4), law.cdf(0.25).round(4)
    (array([0.4055, 7.0285]), array([0.1562, 0.    ]))
    """

    concentration1: Array
    concentration0: Array
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(self, concentration1: Any, concentration0: Any, *, validate_args: bool = True) -> None:
        concentration1, concentration0 = as_parameters(concentration1, concentration0)
        broadcast_parameters("Beta", concentration1=concentration1.shape, concentration0=concentration0.shape)
        self._set(concentration1=concentration1, concentration0=concentration0, validate_args=validate_args)
        self._require("concentration1", concentration1, finite, positive)
        self._require("concentration0", concentration0, finite, positive)

    @property
    def batch_shape(self) -> Shape:
        """The shape that α and β broadcast to."""
        return broadcast(self.concentration1.shape, self.concentration0.shape)

    @property
    def support(self) -> Constraint:
        """Every number from 0 to 1."""
        return probability

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`, by broadcasting `concentration1`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(concentration1=np.broadcast_to(self.concentration1, batch_shape))

    def log_prob(self, value: Any) -> Array:
        """Return (α − 1) log x + (β − 1) log(1 − x) − log B(α, β), and −inf outside of [0, 1]."""
        return self._supported(
            lambda x: log_beta_density(self.concentration1, self.concentration0, x), self._value(value), 0.5
        )

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value) = I_value(α, β), the regularised incomplete beta function."""
        x, _ = as_parameters(value, self.concentration1)
        return betainc(self.concentration1, self.concentration0, np.clip(x, 0.0, 1.0))

    def icdf(self, value: Any) -> Array:
        """Return the quantile: 0 at 0, 1 at 1.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        p, _ = as_parameters(value, self.concentration1)
        self._require("value", p, probability)
        return betaincinv(self.concentration1, self.concentration0, p)

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws, differentiable implicitly; never 0 or 1, which are for the numbers next to them to round to."""
        alpha, beta, shape = self.concentration1, self.concentration0, self._shape(sample_shape)
        rng = default_rng(rng, like=alpha)
        log_odds = log_standard_gamma(alpha, shape, rng) - log_standard_gamma(beta, shape, rng)
        x = special.expit(implicit(log_odds, (_slope1, _slope0), alpha, beta))
        limits = numpy.finfo(self.dtype)
        return np.clip(x, limits.tiny, 1.0 - limits.epsneg)

    @property
    def mean(self) -> Array:
        """α / (α + β), of shape `batch_shape`."""
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def variance(self) -> Array:
        """α β / ((α + β)² (α + β + 1))."""
        n = self.concentration1 + self.concentration0
        return self.mean * (self.concentration0 / n) / (n + 1.0)

    @property
    def mode(self) -> Array:
        """(α − 1) / (α + β − 2), with 0 for what is negative; where neither is above 1, the end of the greater."""
        a, b = (np.maximum(c - 1.0, 0.0) for c in (self.concentration1, self.concentration0))
        flat = np.equal(a + b, 0.0)
        end = np.greater_equal(self.concentration1, self.concentration0).astype(self.dtype)
        return np.where(flat, end, a / np.where(flat, 1.0, a + b))

    def entropy(self) -> Array:
        """Return log B(α, β) − (α − 1) ψ(α) − (β − 1) ψ(β) + (α + β − 2) ψ(α + β).

        Computed as H(G) + H(H) − H(G + H) − E log(G + H): of (G, H) and (x, G + H) each is a function of the other.
        """
        a, b = self.concentration1, self.concentration0
        return standard_entropy(a) + standard_entropy(b) - standard_entropy(a + b) - special.digamma(a + b)


def _slope1(log_odds: Array, alpha: Array, beta: Array) -> Array:
    return log_odds_slope(alpha, beta, log_odds)


def _slope0(log_odds: Array, alpha: Array, beta: Array) -> Array:
    return -log_odds_slope(beta, alpha, -log_odds)
