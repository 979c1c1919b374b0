"""Divergences within one family of laws of a number: sums of terms that are ≥ 0 each, wherever there are such."""

from __future__ import annotations

import numpy

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.distributions.beta import Beta
from minilvm.distributions.dirichlet import Dirichlet
from minilvm.distributions.divergences.bregman import excess, log_excess, shape_excess
from minilvm.distributions.divergences.supports import where_covered
from minilvm.distributions.exponential import Exponential
from minilvm.distributions.gamma import Gamma
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


@register_kl(Gamma, Gamma)
def kl_gamma_gamma(p: Gamma, q: Gamma) -> Array:
    """Return α_q (t − 1 − log t) + B_F(α_q, α_p), where t is the mean of p over that of q (`shape_excess` for B_F).

    The first term is for the means, the second for the shapes of laws whose means are the same.
    """
    return q.concentration * excess(p.mean / q.mean) + shape_excess(q.concentration, p.concentration)


@register_kl(Exponential, Gamma)
@register_kl(Gamma, Exponential)
def kl_as_gammas(p: Exponential | Gamma, q: Exponential | Gamma) -> Array:
    """Return the divergence of gamma laws, of which the exponential is that with α = 1."""
    return kl_gamma_gamma(_as_gamma(p), _as_gamma(q))


def _as_gamma(law: Exponential | Gamma) -> Gamma:
    return law if isinstance(law, Gamma) else Gamma(np.ones_like(law.rate), law.rate, validate_args=False)


@register_kl(Dirichlet, Dirichlet)
def kl_dirichlet_dirichlet(p: Dirichlet, q: Dirichlet) -> Array:
    """Return Σ_k β_k (t_k − 1 − log t_k) + Σ_k B_F(β_k, α_k) − B_F(Σ β, Σ α), where t is the mean of p over that of q.

    α are the concentrations of p and β those of q: the divergence of K independent gamma laws, of which these are the
    directions, less that of their sums.
    """
    return _dirichlet_divergence(p.concentration, q.concentration)


@register_kl(Beta, Beta)
def kl_beta_beta(p: Beta, q: Beta) -> Array:
    """Return that of two Dirichlet laws of two weights."""
    a, b = (
        np.stack([np.broadcast_to(c, law.batch_shape) for c in (law.concentration1, law.concentration0)], axis=-1)
        for law in (p, q)
    )
    return _dirichlet_divergence(a, b)


def _dirichlet_divergence(a: Array, b: Array) -> Array:
    A, B = (np.sum(c, axis=-1, keepdims=True) for c in (a, b))
    each = b * excess((a / A) / (b / B)) + shape_excess(b, a)
    return np.sum(each, axis=-1) - np.squeeze(shape_excess(B, A), -1)


@register_kl(Gumbel, Gumbel)
def kl_gumbel_gumbel(p: Gumbel, q: Gumbel) -> Array:
    """Return exp(−w) − 1 + w + B(r, 1), where r = β_p/β_q, w = (μ_p − μ_q)/β_q − log Γ(1 + r) and B is log Γ's."""
    r = p.scale / q.scale
    w = (p.loc - q.loc) / q.scale - special.gammaln(1.0 + r)
    return log_excess(w) + r * excess(1.0 / r) + shape_excess(r, np.ones_like(r))


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
