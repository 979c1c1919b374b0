"""Divergences between normal laws: of a number, of a vector, of a vector with a covariance of low rank."""

from __future__ import annotations

import numpy

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.distributions.divergences.bregman import scale_divergence
from minilvm.distributions.kl import register_kl
from minilvm.distributions.log_normal import LogNormal
from minilvm.distributions.low_rank_multivariate_normal import LowRankMultivariateNormal
from minilvm.distributions.multivariate_normal import MultivariateNormal
from minilvm.distributions.normal import Normal
from minilvm.distributions.parameters import to_shape
from minilvm.rules import primitive

Vectors = MultivariateNormal | LowRankMultivariateNormal


@register_kl(Normal, Normal)
@register_kl(LogNormal, LogNormal)
def kl_normal_normal(p: Normal, q: Normal) -> Array:
    """Return ½ (r² + d² − 1) − log r, where r = σ_p/σ_q and d = (μ_p − μ_q)/σ_q; for q = N(0, 1) the KL of N15.

    The exponential, a bijection, changes no divergence: that of two log-normal laws is that of their logarithms'.

    (Kingma and Welling, arXiv:1312.6114, appendix B.)
    """
    return normal_divergence(p.loc, p.scale, q.loc, q.scale)


# ∂/∂μ_p = d/σ_q = −∂/∂μ_q,   ∂/∂σ_p = r/σ_q − 1/σ_p,   ∂/∂σ_q = (1 − r² − d²)/σ_q.
@primitive(
    m=lambda g, m, n, t: to_shape(g * (m - n) / np.square(t), m.shape),
    n=lambda g, m, n, t: to_shape(g * (n - m) / np.square(t), n.shape),
    s=lambda g, s, t: to_shape(g * (s / np.square(t) - 1.0 / s), s.shape),
    t=lambda g, m, s, n, t: to_shape(g * (1.0 - np.square(s / t) - np.square((m - n) / t)) / t, t.shape),
)
def normal_divergence(m: Array, s: Array, n: Array, t: Array) -> Array:
    """Return KL(N(m, s²) ‖ N(n, t²)), element by element: a term ≥ 0 for the deviations and one for the means."""
    return scale_divergence(s / t) + 0.5 * numpy.square((m - n) / t)


@register_kl(MultivariateNormal, MultivariateNormal)
def kl_multivariate_normal_multivariate_normal(p: MultivariateNormal, q: MultivariateNormal) -> Array:
    """Return ½ (‖R‖² − D + ‖L_q⁻¹ (μ_p − μ_q)‖²) − log |R|, where R = L_q⁻¹ L_p and ‖·‖ is of all elements.

    R is lower triangular: its diagonal makes D divergences of numbers, and what is below it only adds.
    """
    R = np.linalg.solve_triangular(q.scale_tril, np.tril(p.scale_tril), lower=True)
    on_the_diagonal = np.sum(scale_divergence(np.diagonal(R, axis1=-2, axis2=-1)), axis=-1)
    return on_the_diagonal + 0.5 * np.sum(np.square(np.tril(R, -1)), axis=(-2, -1)) + 0.5 * _between_means(p, q)


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def kl_low_rank(p: Vectors, q: Vectors) -> Array:
    """Return ½ (tr(Σ_q⁻¹ Σ_p) − D + (μ_p − μ_q)ᵀ Σ_q⁻¹ (μ_p − μ_q)) + ½ log |Σ_q| − ½ log |Σ_p|.

    With Σ_p = W Wᵀ + diag δ the trace is Σ_r w_rᵀ Σ_q⁻¹ w_r + Σ_d δ_d (Σ_q⁻¹)_dd: no (D, D) matrix where both are low.
    """
    W = p.cov_factor if isinstance(p, LowRankMultivariateNormal) else np.tril(p.scale_tril)
    missing_axes = max(0, len(q.batch_shape) + 2 - W.ndim)
    columns = np.moveaxis(np.reshape(W, (*(1 for _ in range(missing_axes)), *W.shape)), -1, 0)
    trace = np.sum(q.squared_distance(columns), axis=0)
    if isinstance(p, LowRankMultivariateNormal):
        trace = trace + np.sum(p.cov_diag * q.inverse_diagonal, axis=-1)
    return 0.5 * (trace - p.loc.shape[-1] + _between_means(p, q)) + q.half_log_det - p.half_log_det


def _between_means(p: Vectors, q: Vectors) -> Array:
    """(μ_p − μ_q)ᵀ Σ_q⁻¹ (μ_p − μ_q)."""
    return q.squared_distance(p.loc - q.loc)
