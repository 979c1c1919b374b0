"""The gamma law: a positive number, such as a rate, a precision or a wait for several things to happen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng
from minilvm.distributions.base import Distribution
from minilvm.distributions.implicit import implicit
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    broadcast,
    broadcast_parameters,
    finite,
    not_negative,
    positive,
    probability,
    quotient,
    to_shape,
)
from minilvm.numpy import special
from minilvm.numpy.incomplete import gammainc, gammaincinv, log_gamma_slope
from minilvm.numpy.stirling import HALF_LOG_TWO_PI, binet, log_gamma_kernel
from minilvm.rules import primitive
from minilvm.tape import stop_gradient


@dataclass(frozen=True, init=False, eq=False)
class Gamma(Distribution):
    """The gamma law of a number x ≥ 0.

        log p(x) = α log β + (α − 1) log x − β x − log Γ(α)

    At x = 0 the density is 0, β or ∞, as α is more than 1, 1 or less. Reparameterised (N13) implicitly: a draw moves
    with α by dx/dα = −(∂P(α, β x)/∂α) / p(x), here to about ten digits, once differentiable. Mean α/β, variance α/β²,
    mode (α − 1)/β, or 0 for α < 1; entropy α − log β + log Γ(α) + (1 − α) ψ(α).

    Parameters
    ----------
    concentration
        Shape α > 0.
    rate
        Rate β > 0, one over the scale. Its shape and that of `concentration` broadcast to `batch_shape`; `event_shape`
        is ().
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        A parameter is NaN, infinite or not positive, or the shapes do not broadcast.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), eq. 2.146. Figurnov, Mohamed and Mnih, arXiv:1805.08498.

    Examples
    --------
    >>> law = Gamma([1.0, 1e6], 2.0)
    >>> law.log_prob([3.0, 500_000.0]).round(4)
    array([-5.3069, -7.1335])
    >>> law.sample(3, rng=0).shape
    (3, 2)
    """

    concentration: Array
    rate: Array
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(self, concentration: Any, rate: Any, *, validate_args: bool = True) -> None:
        concentration, rate = as_parameters(concentration, rate)
        broadcast_parameters("Gamma", concentration=concentration.shape, rate=rate.shape)
        self._set(concentration=concentration, rate=rate, validate_args=validate_args)
        self._require("concentration", concentration, finite, positive)
        self._require("rate", rate, finite, positive)

    @property
    def batch_shape(self) -> Shape:
        """The shape that α and β broadcast to."""
        return broadcast(self.concentration.shape, self.rate.shape)

    @property
    def support(self) -> Constraint:
        """Every finite number from 0 on."""
        return not_negative

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`, by broadcasting `concentration`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(concentration=np.broadcast_to(self.concentration, batch_shape))

    def log_prob(self, value: Any) -> Array:
        """Return α log β + (α − 1) log x − β x − log Γ(α), and −inf for x < 0."""
        return self._supported(lambda x: log_density(x, self.concentration, self.rate), self._value(value), 1.0)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value) = P(α, β x), the regularised incomplete gamma function."""
        x, _ = as_parameters(value, self.rate)
        return gammainc(self.concentration, self.rate * np.maximum(x, 0.0))

    def icdf(self, value: Any) -> Array:
        """Return the quantile: 0 at 0, +inf at 1.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        p, _ = as_parameters(value, self.rate)
        self._require("value", p, probability)
        return gammaincinv(self.concentration, p) / self.rate

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws, differentiable in α implicitly and in β as z / β; never 0, which is for `tiny` to round to."""
        alpha, dtype = self.concentration, self.dtype
        z = default_rng(rng, like=alpha).standard_gamma(stop_gradient(alpha), self._shape(sample_shape), dtype=dtype)
        return np.maximum(implicit(z, (_slope,), alpha) / self.rate, numpy.finfo(dtype).tiny)

    @property
    def mean(self) -> Array:
        """α / β, of shape `batch_shape`."""
        return self.concentration / self.rate

    @property
    def variance(self) -> Array:
        """α / β²."""
        return self.concentration / np.square(self.rate)

    @property
    def mode(self) -> Array:
        """(α − 1) / β, or 0 for α < 1."""
        return np.maximum(self.concentration - 1.0, 0.0) / self.rate

    def entropy(self) -> Array:
        """Return α − log β + log Γ(α) + (1 − α) ψ(α)."""
        return standard_entropy(self.concentration) - np.log(self.rate)


# ∂ log p/∂x = (α − 1)/x − β,   ∂ log p/∂α = log βx − ψ(α),   ∂ log p/∂β = α/β − x.
@primitive(
    x=lambda g, x, alpha, rate: to_shape(quotient(g * (alpha - 1.0), x) - g * rate, x.shape),
    alpha=lambda g, x, alpha, rate: to_shape(
        special.xlogy(g, x) + g * (np.log(rate) - special.digamma(alpha)), alpha.shape
    ),
    rate=lambda g, x, alpha, rate: to_shape(g * (alpha / rate - x), rate.shape),
)
def log_density(x: Array, alpha: Array, rate: Array) -> Array:
    """Return α log β + (α − 1) log x − β x − log Γ(α), element by element; βx may be too small for a number."""
    with numpy.errstate(divide="ignore"):
        log_ratio = numpy.log(x) + (numpy.log(rate) - numpy.log(alpha))
    return log_gamma_kernel(alpha, rate * x, log_ratio) + numpy.log(rate)


def standard_entropy(alpha: Array) -> Array:
    """Return the entropy for β = 1, with Γ and ψ by Stirling's formula: their largest terms cancel."""
    remainder = binet(0, alpha) + (1.0 - alpha) * binet(1, alpha)
    return 0.5 * np.log(alpha) + (0.5 + HALF_LOG_TWO_PI) - 0.5 / alpha + remainder


def _slope(z: Array, alpha: Array) -> Array:
    """∂z/∂α = z ∂ log z/∂α, and 0 for a draw that has become 0."""
    return z * log_gamma_slope(alpha, numpy.log(numpy.maximum(z, numpy.finfo(z.dtype).tiny)))


def log_standard_gamma(alpha: Array, shape: Shape, rng: Any) -> Array:
    """Return the logarithms of draws for β = 1: constants, and finite even where the draw itself would be 0.

    With G ~ Gamma(α + 1) and U uniform, G U^(1/α) ~ Gamma(α), and −log U ~ Exponential(1); above 1 no draw is 0, and
    none of this is needed. (Marsaglia and Tsang, *ACM Transactions on Mathematical Software* 26 (2000), §6.)
    """
    alpha, generator = stop_gradient(alpha), default_rng(rng, like=alpha)
    if bool((alpha > 1.0).all()):
        return numpy.log(generator.standard_gamma(alpha, shape, dtype=alpha.dtype))
    above = generator.standard_gamma(alpha + 1.0, shape, dtype=alpha.dtype)
    return numpy.log(above) - generator.standard_exponential(shape, dtype=alpha.dtype) / alpha
