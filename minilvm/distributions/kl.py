"""Kullback-Leibler divergences in closed form: a table of pairs of laws.

    KL(p ‖ q) = E_p[log p(z) − log q(z)] ≥ 0, and 0 only where p = q

It is the gap of the bound in N9 and the complexity term of N15. An event that p cannot produce contributes nothing; one
that p can produce and q cannot makes the divergence +inf.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.distributions.base import Distribution, sum_rightmost
from minilvm.distributions.bernoulli import Bernoulli
from minilvm.distributions.categorical import Categorical
from minilvm.distributions.independent import Independent
from minilvm.distributions.multivariate_normal import MultivariateNormal, squared_length
from minilvm.distributions.normal import Normal
from minilvm.distributions.parameters import broadcast, times_log, to_shape
from minilvm.rules import primitive

Divergence = Callable[[Any, Any], Array]
F = TypeVar("F", bound=Divergence)

TABLE: Final[dict[tuple[type, type], Divergence]] = {}


def register_kl(p: type[Distribution], q: type[Distribution]) -> Callable[[F], F]:
    """Register the decorated function of two laws as KL(p ‖ q) for laws of these classes, and of their subclasses.

    Examples
    --------
    >>> class Standard(Normal): ...
    >>> @register_kl(Standard, Standard)
    ... def kl_standard_standard(p, q):
    ...     return numpy.zeros(p.batch_shape)
    >>> kl_divergence(Standard(0.0, 1.0), Standard(0.0, 1.0)), TABLE.pop((Standard, Standard)).__name__
    (array(0.), 'kl_standard_standard')
    """

    def register(divergence: F) -> F:
        TABLE[p, q] = divergence
        return divergence

    return register


def kl_divergence(p: Distribution, q: Distribution) -> Array:
    """Return KL(p ‖ q) = E_p[log p(z) − log q(z)] in nats, of the shape that the two batch shapes broadcast to.

    The pair is looked up by class, then by base classes, those of `p` changing last.

    Raises
    ------
    TypeError
        No closed form is registered for the pair.
    ValueError
        The events of `p` and `q` have different shapes.

    Examples
    --------
    >>> kl_divergence(Normal(1.0, 1.0), Normal([0.0, 1.0], 1.0))
    array([0.5, 0. ])
    """
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"KL(p ‖ q): events of p have shape {p.event_shape}, those of q {q.event_shape}; expected the same"
        )
    for kind_p in type(p).__mro__:
        for kind_q in type(q).__mro__:
            if (kind_p, kind_q) in TABLE:
                return TABLE[kind_p, kind_q](p, q)
    raise TypeError(
        f"no closed form registered for KL({type(p).__name__} ‖ {type(q).__name__}). Estimate it by Monte Carlo, the "
        "mean of p.log_prob(z) - q.log_prob(z) over z = p.sample((K,), rng=rng); or add one, with @register_kl"
    )


@register_kl(Normal, Normal)
def kl_normal_normal(p: Normal, q: Normal) -> Array:
    """Return ½ (r² + d² − 1) − log r, where r = σ_p/σ_q and d = (μ_p − μ_q)/σ_q; for q = N(0, 1) the KL of N15.

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
    """Return KL(N(m, s²) ‖ N(n, t²)), element by element."""
    r = s / t
    return 0.5 * (numpy.square(r) + numpy.square((m - n) / t) - 1.0) - numpy.log(r)


@register_kl(MultivariateNormal, MultivariateNormal)
def kl_multivariate_normal_multivariate_normal(p: MultivariateNormal, q: MultivariateNormal) -> Array:
    """Return ½ (‖L_q⁻¹ L_p‖² + ‖L_q⁻¹ (μ_p − μ_q)‖² − D) + ½ log |Σ_q| − ½ log |Σ_p|, with ‖·‖ of all elements."""
    ratio = np.linalg.solve_triangular(q.scale_tril, np.tril(p.scale_tril), lower=True)
    trace = np.sum(np.square(ratio), axis=(-2, -1))
    distance = squared_length(q.whiten(p.loc))
    return 0.5 * (trace + distance - p.loc.shape[-1]) + q.half_log_det - p.half_log_det


@register_kl(Bernoulli, Bernoulli)
def kl_bernoulli_bernoulli(p: Bernoulli, q: Bernoulli) -> Array:
    """Return Σ_x p(x) (log p(x) − log q(x)) over x ∈ {0, 1}."""
    p = p.expand(broadcast(p.batch_shape, q.batch_shape))
    x = p.enumerate_support()
    return np.sum(_terms(p.log_prob(x), q.log_prob(x)), axis=0)


@register_kl(Categorical, Categorical)
def kl_categorical_categorical(p: Categorical, q: Categorical) -> Array:
    """Return Σ_c p_c (log p_c − log q_c)."""
    if p.n_categories != q.n_categories:
        raise ValueError(f"KL(p ‖ q): p has {p.n_categories} categories and q has {q.n_categories}; expected the same")
    return np.sum(_terms(p.log_probs, q.log_probs), axis=-1)


@register_kl(Independent, Independent)
def kl_independent_independent(p: Independent, q: Independent) -> Array:
    """Return Σ_l KL(p_l ‖ q_l) over the elements of the event."""
    n = p.reinterpreted_batch_ndims
    if n != q.reinterpreted_batch_ndims:
        raise TypeError(
            f"KL(p ‖ q): p reads {n} batch axes of its base as the event and q {q.reinterpreted_batch_ndims}; "
            "expected the same number"
        )
    return sum_rightmost(kl_divergence(p.base, q.base), n)


def _terms(log_p: Array, log_q: Array) -> Array:
    p = np.exp(log_p)
    return times_log(p, log_p) - times_log(p, log_q)
