"""The Dirichlet law: weights that sum to 1, such as the proportions of a mixture that are not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, namespace
from minilvm.distributions.base import Distribution
from minilvm.distributions.gamma import log_standard_gamma, standard_entropy
from minilvm.distributions.implicit import implicit
from minilvm.distributions.parameters import Constraint, Shape, as_parameters, finite, positive
from minilvm.numpy import special
from minilvm.numpy.incomplete import log_odds_slope
from minilvm.numpy.stirling import HALF_LOG_TWO_PI, binet

simplex = Constraint(
    "numbers from 0 on that sum to 1", lambda x: (x >= 0).all(axis=-1) & (numpy.abs(x.sum(axis=-1) - 1.0) < 1e-5)
)


@dataclass(frozen=True, init=False, eq=False)
class Dirichlet(Distribution):
    """The Dirichlet law of K weights x_k ≥ 0 that sum to 1.

        log p(x) = Σ_k (α_k − 1) log x_k + log Γ(Σ_k α_k) − Σ_k log Γ(α_k)

    It is the density of all weights but one, whichever that is. Drawn as x_k = G_k / Σ_j G_j of G_k ~ Gamma(α_k), by
    their logarithms. Reparameterised (N13) implicitly: of G_k, given x, the average is used, which is that of the beta
    law of x_k alone, and less noisy. With n = Σ_k α_k the mean is α_k / n, the variance α_k (n − α_k) / (n² (n + 1)).

    Parameters
    ----------
    concentration
        α_k > 0, of shape `batch_shape + (K,)`; `event_shape` is (K,).
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        `concentration` is NaN, infinite or not positive, or has no axis.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), eq. 2.38. Figurnov, Mohamed and Mnih, arXiv:1805.08498.
    Jankowiak and Obermeyer, arXiv:1806.01851, §5.

    Examples
    --------
    >>> law = Dirichlet([1.0, 1.0, 2.0])
    >>> law.mean, law.log_prob([0.25, 0.25, 0.5]).round(4)
    (array([0.25, 0.25, 0.5 ]), np.float64(1.0986))
    """

    concentration: Array
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(self, concentration: Any, *, validate_args: bool = True) -> None:
        (concentration,) = as_parameters(concentration)
        self._set(concentration=concentration, validate_args=validate_args)
        if concentration.ndim == 0:
            raise ValueError("Dirichlet: concentration has shape (); expected (..., K) for K weights")
        self._require("concentration", concentration, finite, positive)

    @property
    def batch_shape(self) -> Shape:
        """The shape of α, less its last axis."""
        shape: Shape = self.concentration.shape[:-1]
        return shape

    @property
    def event_shape(self) -> Shape:
        """(K,)."""
        shape: Shape = self.concentration.shape[-1:]
        return shape

    @property
    def support(self) -> Constraint:
        """The simplex: weights that sum to 1, up to 1e-5."""
        return simplex

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(concentration=np.broadcast_to(self.concentration, batch_shape + self.event_shape))

    def log_prob(self, value: Any) -> Array:
        """Return Σ_k (α_k − 1) log x_k + log Γ(Σ_k α_k) − Σ_k log Γ(α_k), and −inf for what are no weights."""
        x = self._value(value)
        inside = self.support.check(x)
        x = np.where(np.expand_dims(inside, -1), x, 1.0 / x.shape[-1])
        a, n = self.concentration, self._total
        terms = special.xlogy(a - 1.0, x * n / a) - 0.5 * np.log(a) - HALF_LOG_TWO_PI - binet(0, a)
        rest = (a.shape[-1] - 0.5) * np.log(n) + HALF_LOG_TWO_PI + binet(0, n)
        return np.where(inside, np.sum(terms, axis=-1) + np.squeeze(rest, -1), -numpy.inf)

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws, differentiable implicitly; no weight is 0, which is for the least number to round to."""
        a = self.concentration
        log_g = log_standard_gamma(a, self._shape(sample_shape), rng)
        return np.maximum(np.softmax(implicit(log_g, (_slope,), a)), numpy.finfo(self.dtype).tiny)

    @property
    def _total(self) -> Array:
        """N = Σ_k α_k, of shape `batch_shape + (1,)`."""
        return np.sum(self.concentration, axis=-1, keepdims=True)

    @property
    def mean(self) -> Array:
        """α_k / n, of shape `batch_shape + (K,)`."""
        return self.concentration / self._total

    @property
    def variance(self) -> Array:
        """α_k (n − α_k) / (n² (n + 1)), of each weight."""
        return self.mean * (others(self.concentration) / self._total) / (self._total + 1.0)

    @property
    def mode(self) -> Array:
        """(α_k − 1) / Σ_j (α_j − 1), with 0 for what is negative; where no α is above 1, the corner of the greatest."""
        excess = np.maximum(self.concentration - 1.0, 0.0)
        total = np.sum(excess, axis=-1, keepdims=True)
        flat = np.equal(total, 0.0)
        greatest = np.expand_dims(np.argmax(self.concentration, axis=-1), -1)
        corner = np.equal(namespace(excess).arange(excess.shape[-1]), greatest).astype(self.dtype)
        return np.where(flat, corner, excess / np.where(flat, 1.0, total))

    def entropy(self) -> Array:
        """Return Σ_k log Γ(α_k) − log Γ(n) + (n − K) ψ(n) − Σ_k (α_k − 1) ψ(α_k).

        Computed as Σ_k H(G_k) − H(Σ_k G_k) − (K − 1) E log Σ_k G_k: of G and (x, Σ_k G_k) each is a function of the
        other.
        """
        n, K = np.squeeze(self._total, -1), self.concentration.shape[-1]
        separate = np.sum(standard_entropy(self.concentration), axis=-1)
        return separate - standard_entropy(n) - (K - 1.0) * special.digamma(n)


def others(a: Array) -> Array:
    """Return Σ_{j ≠ k} a_j for each k, summed and not subtracted: what is small beside a_k keeps its digits."""
    nothing = np.zeros_like(a[..., :1])
    before = np.concatenate([nothing, np.cumsum(a[..., :-1], axis=-1)], axis=-1)
    after = np.concatenate([np.flip(np.cumsum(np.flip(a[..., 1:], -1), axis=-1), -1), nothing], axis=-1)
    return before + after


def _slope(log_g: Array, a: Array) -> Array:
    """∂ log G_k/∂α_k, averaged given x: the movement of the log-odds of x_k, which is Beta(α_k, n − α_k)."""
    log_x = numpy.minimum(np.log_softmax(log_g), -numpy.finfo(log_g.dtype).tiny)
    rest = others(a)
    rest = numpy.where(rest > 0, rest, 1.0)  # where there is no other weight, and x_k = 1 does not move
    return log_odds_slope(a, rest, log_x - numpy.log(-numpy.expm1(log_x)))
