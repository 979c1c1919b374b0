"""Divergences between laws of what can be counted: sums over what can happen."""

from __future__ import annotations

import itertools
import math
from typing import Any, Final

import numpy

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.distributions.base import Distribution, unchecked
from minilvm.distributions.bernoulli import Bernoulli
from minilvm.distributions.binomial import Binomial
from minilvm.distributions.categorical import Categorical
from minilvm.distributions.discrete_uniform import DiscreteUniform
from minilvm.distributions.divergences.bregman import excess, log_excess
from minilvm.distributions.kl import register_kl
from minilvm.distributions.one_hot_categorical import OneHotCategorical
from minilvm.distributions.parameters import broadcast, times_log, to_shape
from minilvm.distributions.poisson import Poisson
from minilvm.rules import primitive

# The same outcomes for both -------------------------------------------------------------------------------------------


# ∂/∂log p = p (log p − log q),   ∂/∂log q = q − p.
@primitive(
    log_p=lambda g, log_p, log_q: to_shape(g * surprise(log_p, log_q), log_p.shape),
    log_q=lambda g, log_p, log_q: to_shape(g * (np.exp(log_q) - np.exp(log_p)), log_q.shape),
)
def relative_entropy(log_p: Array, log_q: Array) -> Array:
    """Return p log p/q − p + q ≥ 0, which summed over all outcomes is the divergence, for Σ p = Σ q.

    With l = log p − log q it is p (exp(−l) − 1 + l), in that form where l is small and in the first where it is not.
    What p cannot do weighs q, and what only q cannot do +inf.
    """
    possible = log_p > -numpy.inf
    difference = numpy.where(possible, log_p, 0.0) - numpy.where(possible, log_q, 0.0)
    near = possible & (numpy.abs(difference) < 1.0)
    p = numpy.exp(log_p)
    small = p * log_excess(numpy.where(near, difference, 0.0))
    return numpy.where(near, small, surprise(log_p, log_q) + (numpy.exp(log_q) - p))


def surprise(log_p: Array, log_q: Array) -> Array:
    """Return p (log p − log q): 0 for what p cannot do, and +inf for what it can and q cannot, however seldom."""
    p = np.exp(log_p)
    lost = (log_p > -numpy.inf) & (log_q == -numpy.inf)  # where p itself may be a 0 of rounding
    return np.where(lost, math.inf, times_log(p, log_p) - times_log(p, log_q))


@register_kl(Bernoulli, Bernoulli)
def kl_bernoulli_bernoulli(p: Bernoulli, q: Bernoulli) -> Array:
    """Return Σ_x p(x) log p(x)/q(x) over x ∈ {0, 1}."""
    x = p.expand(broadcast(p.batch_shape, q.batch_shape)).enumerate_support()
    return np.sum(relative_entropy(p.log_prob(x), q.log_prob(x)), axis=0)


@register_kl(Categorical, Categorical)
@register_kl(OneHotCategorical, OneHotCategorical)
def kl_categorical_categorical(p: Any, q: Any) -> Array:
    """Return Σ_c p_c log p_c/q_c."""
    if p.n_categories != q.n_categories:
        raise ValueError(f"KL(p ‖ q): p has {p.n_categories} categories and q has {q.n_categories}; expected the same")
    return np.sum(relative_entropy(p.log_probs, q.log_probs), axis=-1)


@register_kl(Poisson, Poisson)
def kl_poisson_poisson(p: Poisson, q: Poisson) -> Array:
    """Return λ_p (t − 1 − log t), where t = λ_q/λ_p; λ_q where λ_p is 0."""
    some = p.rate > 0
    return np.where(some, p.rate * excess(np.where(some, q.rate, 1.0) / np.where(some, p.rate, 1.0)), q.rate)


# Other outcomes for p than for q --------------------------------------------------------------------------------------


def kl_by_enumeration(p: Any, q: Distribution) -> Array:
    """Return Σ_x p(x) (log p(x) − log q(x)) over the numbers x that p can produce."""
    p = unchecked(p.expand(broadcast(p.batch_shape, q.batch_shape)))
    x = (p.counts() if isinstance(p, Binomial) else p.enumerate_support()).astype(p.dtype)
    log_p = p.log_prob(x)
    log_q = np.where(q.support.check(x), unchecked(q).log_prob(x), -math.inf)
    return np.sum(surprise(log_p, log_q), axis=0)


def kl_binomial_binomial(p: Binomial, q: Binomial) -> Array:
    """Return n Σ_x p(x) log p(x)/q(x) over one trial's x ∈ {0, 1}; a sum over all counts where p and q differ in n."""
    if not np.all(p.total_count == q.total_count):
        return kl_by_enumeration(p, q)
    one_trial = (Bernoulli(**{law.parameterization: law.parameter}, validate_args=False) for law in (p, q))
    return -times_log(p.total_count, -kl_bernoulli_bernoulli(*one_trial))


def kl_discrete_uniform_discrete_uniform(p: DiscreteUniform, q: DiscreteUniform) -> Array:
    """Return log n_q/n_p, or +inf where p is not within q."""
    inside = q.support.check(p.low) & q.support.check(p.high)
    return np.where(inside, q.entropy() - p.entropy(), math.inf)


def kl_poisson_finite(p: Poisson, q: Distribution) -> Array:
    """Return +inf, for a count without bound; or −log q(0), where the rate is 0 and so is the count."""
    return np.where(p.rate > 0, math.inf, -unchecked(q).log_prob(0.0 * p.rate))


FINITE: Final[tuple[type, ...]] = (Bernoulli, Binomial, DiscreteUniform)

for kinds in itertools.product(FINITE, (*FINITE, Poisson)):
    if kinds != (Bernoulli, Bernoulli):
        register_kl(*kinds)(kl_by_enumeration)
register_kl(Binomial, Binomial)(kl_binomial_binomial)
register_kl(DiscreteUniform, DiscreteUniform)(kl_discrete_uniform_discrete_uniform)
for kind in FINITE:
    register_kl(Poisson, kind)(kl_poisson_finite)
