"""Student's law: a bell with heavy tails, for data with outliers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng
from minilvm.distributions.base import Distribution
from minilvm.distributions.gamma import log_standard_gamma
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
    to_shape,
)
from minilvm.numpy.incomplete import betainc, betaincinv, log_odds_slope
from minilvm.numpy.stirling import HALF_LOG_TWO_PI, binet, digamma_step
from minilvm.rules import primitive
from minilvm.tape import stop_gradient

# By how much a draw may be stretched, in logarithms, so that its square is finite still.
LOG_LARGEST = {numpy.dtype(kind): 0.5 * math.log(float(numpy.finfo(kind).max)) - 4.0 for kind in ("float32", "float64")}


@dataclass(frozen=True, init=False, eq=False)
class StudentT(Distribution):
    """Student's law with ν degrees of freedom: Cauchy's for ν = 1, and for ν → ∞ the normal.

        log p(x) = log Γ((ν + 1)/2) − log Γ(ν/2) − ½ log πν − log σ − ½ (ν + 1) log(1 + z²/ν),      z = (x − μ)/σ

    A normal law whose precision is drawn from Gamma(ν/2, ν/2): z = ε √(ν / 2G), with ε ~ N(0, 1) and G ~ Gamma(ν/2).
    Reparameterised (N13): x = μ + σ z, where z moves with ν implicitly. Mode μ, which is the mean too for ν > 1 (else
    it has none, NaN); variance σ² ν/(ν − 2) for ν > 2, ∞ for 1 < ν ≤ 2, else NaN.

    Parameters
    ----------
    df
        Degrees of freedom ν > 0.
    loc
        Location μ.
    scale
        Scale σ > 0. The three shapes broadcast to `batch_shape`; `event_shape` is ().
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        A parameter is NaN or infinite, `df` or `scale` is not positive, or the shapes do not broadcast.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), eq. 2.159. Figurnov, Mohamed and Mnih, arXiv:1805.08498.

    Examples
    --------
    >>> StudentT([1.0, 3.0, 1e9]).log_prob(10.0).round(4)
    array([ -5.7599,  -8.0731, -50.9189])
    """

    df: Array
    loc: Array
    scale: Array
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, *, validate_args: bool = True) -> None:
        df, loc, scale = as_parameters(df, loc, scale)
        broadcast_parameters("StudentT", df=df.shape, loc=loc.shape, scale=scale.shape)
        self._set(df=df, loc=loc, scale=scale, validate_args=validate_args)
        self._require("df", df, finite, positive)
        self._require("loc", loc, finite)
        self._require("scale", scale, finite, positive)

    @property
    def batch_shape(self) -> Shape:
        """The shape that ν, μ and σ broadcast to."""
        return broadcast(self.df.shape, self.loc.shape, self.scale.shape)

    @property
    def support(self) -> Constraint:
        """Every finite number."""
        return finite

    def expand(self, batch_shape: int | Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`, by broadcasting `df`."""
        batch_shape = self._check_expansion(batch_shape)
        return self._replace(df=np.broadcast_to(self.df, batch_shape))

    def log_prob(self, value: Any) -> Array:
        """Return log Γ((ν + 1)/2) − log Γ(ν/2) − ½ log πν − log σ − ½ (ν + 1) log(1 + z²/ν)."""
        z = (self._value(value) - self.loc) / self.scale
        return log_standard_density(self.df, z) - np.log(self.scale)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value), in terms of the incomplete beta function."""
        x, _ = as_parameters(value, self.loc)
        return standard_cdf(self.df, (x - self.loc) / self.scale)

    def icdf(self, value: Any) -> Array:
        """Return the quantile: −inf at 0, +inf at 1.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        p, _ = as_parameters(value, self.loc)
        self._require("value", p, probability)
        return self.loc + self.scale * standard_quantile(self.df, p)

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws μ + σ z, with z ~ StudentT(ν) differentiable in ν implicitly (N13).

        A draw of which the square would be infinite (ν ≪ 1) is cut off there.
        """
        shape, dtype = self._shape(sample_shape), self.dtype
        rng = default_rng(rng, like=self.df)
        epsilon = rng.standard_normal(shape, dtype=dtype)
        half = 0.5 * stop_gradient(self.df)
        log_stretch = 0.5 * (numpy.log(half) - log_standard_gamma(half, shape, rng))
        z = epsilon * numpy.exp(numpy.minimum(log_stretch, LOG_LARGEST[dtype]))
        return self.loc + self.scale * implicit(z, (_slope,), self.df)

    @property
    def mean(self) -> Array:
        """μ, of shape `batch_shape`; NaN for ν ≤ 1."""
        return np.where(np.greater(self.df, 1.0), np.broadcast_to(self.loc, self.batch_shape), numpy.nan)

    @property
    def variance(self) -> Array:
        """σ² ν/(ν − 2); ∞ for 1 < ν ≤ 2, NaN for ν ≤ 1."""
        known = np.greater(self.df, 2.0)
        df = np.where(known, self.df, 3.0)
        ratio = np.where(np.greater(self.df, 1.0), np.where(known, df / (df - 2.0), numpy.inf), numpy.nan)
        return np.broadcast_to(np.square(self.scale) * ratio, self.batch_shape)

    @property
    def mode(self) -> Array:
        """μ."""
        return np.broadcast_to(self.loc, self.batch_shape)

    def entropy(self) -> Array:
        """Return log σ + ½ log πν + log Γ(ν/2) − log Γ((ν + 1)/2) + ½ (ν + 1) (ψ((ν + 1)/2) − ψ(ν/2))."""
        expected = 0.5 * (self.df + 1.0) * digamma_step(0.5 * self.df, 0.5)  # ½ (ν + 1) E log(1 + z²/ν)
        return np.broadcast_to(np.log(self.scale) - _log_normaliser(self.df) + expected, self.batch_shape)


def log_standard_density(df: Array, z: Array) -> Array:
    """Return log p(z) for μ = 0 and σ = 1."""
    return _log_normaliser(df) - 0.5 * (df + 1.0) * _log1p_square(z / np.sqrt(df))


def _log_normaliser(df: Array) -> Array:
    """log Γ((ν + 1)/2) − log Γ(ν/2) − ½ log πν, by Stirling's formula: it tends to −½ log 2π."""
    half = 0.5 * df
    return half * np.log1p(0.5 / half) - (0.5 + HALF_LOG_TWO_PI) + binet(0, half + 0.5) - binet(0, half)


def _folded(t: Array) -> Array:
    """t where |t| ≤ 1, else 1/t: of this r, t / (1 + t²) = r / (1 + r²), and nothing overflows."""
    far = numpy.abs(t) > 1.0
    return numpy.where(far, 1.0 / numpy.where(far, t, 1.0), t)


def _log1p_square_rule(g: Array, t: Array) -> Array:
    r = _folded(t)
    return 2.0 * g * r / (1.0 + r * r)


@primitive(t=_log1p_square_rule)
def _log1p_square(t: Array) -> Array:
    """log(1 + t²)."""
    return numpy.log1p(numpy.square(_folded(t))) + 2.0 * numpy.log(numpy.maximum(numpy.abs(t), 1.0))


def _slope(z: Array, df: Array) -> Array:
    """∂z/∂ν. As z²/ν is the odds of a Beta(½, ν/2), log |z| = ½ (log ν + log odds)."""
    log_odds = 2.0 * numpy.log(numpy.maximum(numpy.abs(z), numpy.finfo(z.dtype).tiny)) - numpy.log(df)
    return z * (0.5 / df - 0.25 * log_odds_slope(0.5 * df, 0.5, -log_odds))


@primitive(
    df=lambda g, df, z: to_shape(-g * np.exp(log_standard_density(df, z)) * _slope(z, df), df.shape),
    z=lambda g, df, z: to_shape(g * np.exp(log_standard_density(df, z)), z.shape),
)
def standard_cdf(df: Array, z: Array) -> Array:
    """Return P(Z ≤ z) for μ = 0 and σ = 1: z²/(ν + z²) ~ Beta(½, ν/2), of which the end is used that z is near."""
    t = z / numpy.sqrt(df)
    inner, outer = numpy.square(_folded(t)), numpy.exp(-_log1p_square(t))
    centre = numpy.abs(t) <= 1.0
    inside = betainc(0.5, 0.5 * df, numpy.where(centre, inner / (1.0 + inner), 0.5))
    outside = betainc(0.5 * df, 0.5, outer)
    tail = 0.5 * numpy.where(centre & (inside < 0.5), 1.0 - inside, outside)
    return numpy.where(z < 0, tail, 1.0 - tail)


@primitive(
    df=lambda g, y, df: to_shape(g * _slope(y, df), df.shape),
    p=lambda g, y, df, p: to_shape(g * np.exp(-log_standard_density(df, y)), p.shape),
)
def standard_quantile(df: Array, p: Array) -> Array:
    """Return the z for which `standard_cdf` is p."""
    tail = numpy.minimum(p, 1.0 - p)
    outer = betaincinv(0.5 * df, 0.5, 2.0 * tail)
    inner = numpy.where(tail > 0.25, betaincinv(0.5, 0.5 * df, 1.0 - 2.0 * tail), 1.0 - outer)
    with numpy.errstate(divide="ignore"):  # at p = 0 and 1 the quantile is infinite
        return numpy.sign(p - 0.5) * numpy.sqrt(df * (inner / outer))
