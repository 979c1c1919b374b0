"""Divergences from one family to another: KL(p ‖ q) = −H(p) − E_p[log q(x)].

What log q asks of p is a few expectations, a mean or that of log x; with those in tables, a formula serves every p.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.distributions.beta import Beta
from minilvm.distributions.divergences.supports import where_covered
from minilvm.distributions.exponential import Exponential
from minilvm.distributions.gamma import Gamma
from minilvm.distributions.gumbel import Gumbel
from minilvm.distributions.kl import register_kl
from minilvm.distributions.laplace import Laplace
from minilvm.distributions.log_normal import LogNormal
from minilvm.distributions.normal import HALF_LOG_TWO_PI, Normal
from minilvm.distributions.uniform import Uniform
from minilvm.numpy import special
from minilvm.numpy.stirling import digamma_step

Expectation = Callable[..., Array]


def mean_log_of_uniform(p: Uniform) -> Array:
    """Return E[log x] = log m + ((1 + t) log(1 + t) − (1 − t) log(1 − t)) / 2t − 1, for 0 ≤ a < b.

    m is the middle and t = (b − a)/(b + a): a narrow interval costs no digits, as (b log b − a log a)/(b − a) does.
    """
    t = p.width / (p.low + p.high)
    return np.log(p.mean) + 0.5 * (special.xlog1py(1.0 + t, t) - special.xlog1py(1.0 - t, -t)) / t - 1.0


MEAN_LOG: Final[dict[type, Expectation]] = {
    Beta: lambda p: -digamma_step(p.concentration1, p.concentration0),
    Exponential: lambda p: -np.log(p.rate) - numpy.euler_gamma,
    Gamma: lambda p: special.digamma(p.concentration) - np.log(p.rate),
    LogNormal: lambda p: p.loc,
    Uniform: mean_log_of_uniform,
}


def log_laplace_of_uniform(p: Uniform, s: Array) -> Array:
    """Return log E[exp(−s x)] = −s a + log((1 − exp(−s w)) / s w), where w = b − a, for s > 0."""
    return np.log(-np.expm1(-s * p.width) / (s * p.width)) - s * p.low


LOG_LAPLACE: Final[dict[type, Expectation]] = {
    Exponential: lambda p, s: -np.log1p(s / p.rate),
    Gamma: lambda p, s: -p.concentration * np.log1p(s / p.rate),
    Normal: lambda p, s: 0.5 * np.square(s * p.scale) - s * p.loc,
    Uniform: log_laplace_of_uniform,
}


def kl_to_normal(p: Any, q: Normal) -> Array:
    """Return −H(p) + log σ + ½ log 2π + ½ (Var_p[x] + (E_p[x] − μ)²) / σ²."""
    squares = p.variance / np.square(q.scale) + np.square((p.mean - q.loc) / q.scale)
    return np.log(q.scale) + HALF_LOG_TWO_PI + 0.5 * squares - p.entropy()


def kl_to_exponential(p: Any, q: Exponential) -> Array:
    """Return −H(p) − log λ + λ E_p[x]."""
    return q.rate * p.mean - np.log(q.rate) - p.entropy()


def kl_to_gamma(p: Any, q: Gamma) -> Array:
    """Return −H(p) + log Γ(α) − α log β − (α − 1) E_p[log x] + β E_p[x]."""
    log_normaliser = special.gammaln(q.concentration) - q.concentration * np.log(q.rate)
    return log_normaliser - (q.concentration - 1.0) * MEAN_LOG[type(p)](p) + q.rate * p.mean - p.entropy()


@register_kl(Uniform, Beta)
@where_covered
def kl_uniform_beta(p: Uniform, q: Beta) -> Array:
    """Return −H(p) + log B(α, β) − (α − 1) E_p[log x] − (β − 1) E_p[log(1 − x)]."""
    mirrored = Uniform(1.0 - p.high, 1.0 - p.low, validate_args=False)
    of_x, of_the_rest = mean_log_of_uniform(p), mean_log_of_uniform(mirrored)
    a, b = q.concentration1, q.concentration0
    return special.betaln(a, b) - (a - 1.0) * of_x - (b - 1.0) * of_the_rest - p.entropy()


@register_kl(Beta, Uniform)
@where_covered
def kl_beta_uniform(p: Beta, q: Uniform) -> Array:
    """Return −H(p) + log(b − a), or +inf where q is not from 0 to 1 at least."""
    return np.log(q.width) - p.entropy()


def kl_to_gumbel(p: Any, q: Gumbel) -> Array:
    """Return −H(p) + log β + (E_p[x] − μ)/β + E_p[exp(−(x − μ)/β)]."""
    s = 1.0 / q.scale
    return np.log(q.scale) + s * (p.mean - q.loc) + np.exp(s * q.loc + LOG_LAPLACE[type(p)](p, s)) - p.entropy()


@register_kl(Normal, Laplace)
def kl_normal_laplace(p: Normal, q: Laplace) -> Array:
    """Return −H(p) + log 2b + E_p|x − m| / b, where E_p|x − m| = 2σ φ(δ) + σ δ erf(δ/√2) and δ = (μ − m)/σ."""
    delta = (p.loc - q.loc) / p.scale
    distance = 2.0 * np.exp(-0.5 * np.square(delta) - HALF_LOG_TWO_PI) + delta * special.erf(math.sqrt(0.5) * delta)
    return np.log(2.0 * q.scale) + p.scale * distance / q.scale - p.entropy()


WITH_MOMENTS: Final[tuple[type, ...]] = (Beta, Exponential, Gamma, Gumbel, Laplace, LogNormal, Uniform)
POSITIVE: Final[tuple[type, ...]] = (Beta, LogNormal, Uniform)

for kind in WITH_MOMENTS:
    register_kl(kind, Normal)(kl_to_normal)
for kind in POSITIVE:
    register_kl(kind, Exponential)(where_covered(kl_to_exponential))
    register_kl(kind, Gamma)(where_covered(kl_to_gamma))
for kind in LOG_LAPLACE:
    register_kl(kind, Gumbel)(kl_to_gumbel)
