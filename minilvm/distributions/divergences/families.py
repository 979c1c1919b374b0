"""Divergences within one family of laws of a number: sums of terms that are ≥ 0 each, wherever there are such."""

from __future__ import annotations

import numpy

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.distributions.divergences.bregman import excess, log_excess
from minilvm.distributions.divergences.supports import where_covered
from minilvm.distributions.exponential import Exponential
from minilvm.distributions.gumbel import Gumbel
from minilvm.distributions.kl import register_kl
from minilvm.distributions.laplace import Laplace
from minilvm.distributions.uniform import Uniform
from minilvm.numpy import special
from minilvm.rules import primitive


@register_kl(Exponential, Exponential)
def kl_exponential_exponential(p: Exponential, q: Exponential) -> Array:
    """Return t − 1 − log t, where t = λ_q/λ_p."""
    return excess(q.rate / p.rate)


@register_kl(Gumbel, Gumbel)
def kl_gumbel_gumbel(p: Gumbel, q: Gumbel) -> Array:
    """Return exp(−w) − 1 + w + B(r, 1), where r = β_p/β_q, w = (μ_p − μ_q)/β_q − log Γ(1 + r).

    B(r, 1) = log Γ(r) + γ (r − 1) is what log Γ leaves above its tangent at 1.
    """
    r = p.scale / q.scale
    w = (p.loc - q.loc) / q.scale - special.gammaln(1.0 + r)
    return log_excess(w) + special.gammaln(r) + numpy.euler_gamma * (r - 1.0)


@register_kl(Laplace, Laplace)
def kl_laplace_laplace(p: Laplace, q: Laplace) -> Array:
    """Return r (|d| + exp(−|d|) − 1) + r − 1 − log r, where r = b_p/b_q and d = (μ_p − μ_q)/b_p."""
    r = p.scale / q.scale
    return r * distance_excess((p.loc - q.loc) / p.scale) + excess(r)


def _distance_rule(g: Array, d: Array) -> Array:
    slope: Array = _distance_slope(d)
    return g * slope


@primitive(d=_distance_rule)
def distance_excess(d: Array) -> Array:
    """Return |d| + exp(−|d|) − 1, by how much the mean distance of a standard Laplace variable from d is above 1.

    It is smooth where |d| is not: twice differentiable at 0, where it is ½ d².
    """
    d = numpy.abs(d)
    return d + numpy.expm1(-d)


@primitive(d=lambda g, d: g * np.exp(-np.abs(d)))
def _distance_slope(d: Array) -> Array:
    return -numpy.sign(d) * numpy.expm1(-numpy.abs(d))


@register_kl(Uniform, Uniform)
@where_covered
def kl_uniform_uniform(p: Uniform, q: Uniform) -> Array:
    """Return log (b_q − a_q)/(b_p − a_p), or +inf where p is not within q."""
    return np.log(q.width / p.width)
