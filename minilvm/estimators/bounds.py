"""Bounds on log p(x), each a line or two; each returns one number per datum, shape (N,).

They are functions of `log_w` of shape (K, N), or, where part of the average is done in closed form, of a model and a q.

Most are the logarithm of a power mean of the weights, and such means rise with their power, in every draw:

    min log w ≤ renyi(α > 1) ≤ elbo ≤ renyi(α < 1) ≤ iwae ≤ cubo ≤ max log w

What is bounded is an expectation. A single draw of a perfectly correct lower bound may lie above log p(x), and for a
good q does so about half the time; `minilvm.testing` holds the checks that are valid all the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.distributions import Distribution, kl_divergence
from minilvm.distributions.parameters import times_log
from minilvm.estimators.weights import (
    LogJoint,
    check_n_samples,
    check_samples,
    check_support,
    log_joint_of,
    logmeanexp,
    logsumexp_of_others,
    per_datum,
    sampler,
)
from minilvm.rules import primitive
from minilvm.tape import stop_gradient


class LikelihoodModel(LogJoint, Protocol):
    """A model that says p(z) and p(x | z) apart."""

    @property
    def prior(self) -> Distribution:
        """p(z)."""

    def likelihood(self, z: Array) -> Distribution:
        """p(x | z)."""


def elbo(log_w: Array) -> Array:
    """Return (1/K) Σ_k log w_k, unbiased for the ELBO E_q[log p(x, z) − log q(z)] (N7): a lower bound on log p(x).

    Tight at q(z) = p(z | x), where log w is constant in z; the gap is KL(q(z) ‖ p(z | x)) (N9). (Jordan et al. 1999.)
    """
    check_samples(log_w)
    return _mean(log_w)


@primitive(log_w=lambda g, log_w: np.where(np.equal(log_w, -np.inf), 0.0, g / len(log_w)))
def _mean(log_w: Array) -> Array:
    return log_w.mean(axis=0)  # a weight of 0 has no slope: of what is −inf, none is any use


def elbo_entropy_form(model: LogJoint, q: Distribution, x: Array, n_samples: int = 1, *, rng: Any) -> Array:
    """Return (1/K) Σ_k log p(x, z_k) + H(q), z_k ~ q (N8): the ELBO with the entropy in closed form. Lower bound."""
    q, z = _draws(model, q, x, n_samples, rng)
    return log_joint_of(model, x, z).mean(axis=0) + q.entropy()


def elbo_kl_form(model: LikelihoodModel, q: Distribution, x: Array, n_samples: int = 1, *, rng: Any) -> Array:
    """Return (1/K) Σ_k log p(x | z_k) − KL(q ‖ p(z)), z_k ~ q (N15): reconstruction less complexity. Lower bound.

    The form that trains a VAE: the divergence is exact, so only the reconstruction is sampled.
    (Kingma and Welling, arXiv:1312.6114, eq. 7.)
    """
    q, z = _draws(model, q, x, n_samples, rng)
    log_likelihood = model.likelihood(z).log_prob(x)
    if log_likelihood.shape != (n_samples, len(x)):
        raise ValueError(
            f"likelihood(z).log_prob(x) has shape {log_likelihood.shape}; expected (K, N) = {(n_samples, len(x))}"
        )
    return log_likelihood.mean(axis=0) - kl_divergence(q, model.prior)


def _draws(model: LogJoint, q: Distribution, x: Array, n_samples: int, rng: Any) -> tuple[Distribution, Array]:
    """Return q with a law for each datum, and `n_samples` draws of each, shape (K, N, …)."""
    q = per_datum(q, x)
    check_n_samples(n_samples)
    check_support(model, q, x, n_samples)
    return q, sampler(q)((n_samples,), rng=rng)


def iwae(log_w: Array) -> Array:
    """Return log (1/K) Σ_k w_k, unbiased for L_K (N17): a lower bound on log p(x) that rises with K.

    L_1 = ELBO ≤ L_K ≤ L_{K+1} ≤ log p(x). (Burda, Grosse and Salakhutdinov, arXiv:1509.00519, Theorem 1.)
    """
    return logmeanexp(log_w)


def renyi(log_w: Array, alpha: float) -> Array:
    """Return 1/(1 − α) · log (1/K) Σ_k w_k^(1−α) for α ≥ 0: a lower bound on log p(x) in expectation, for any K.

    α = 0 is `iwae`, α = 1 is `elbo`, and it falls as α grows, in every draw. At K = 1 it is the ELBO for every α; as K
    grows its mean tends to Rényi's bound L_α = 1/(1 − α) · log E_q[w^(1−α)] ≤ log p(x), from below for α < 1 and from
    above for α > 1. (Li and Turner, arXiv:1602.02311, Theorem 2.)

    Raises
    ------
    ValueError
        α < 0: there L_α ≥ log p(x), the estimate is no bound, and `cubo` is its name.
    """
    if not 0.0 <= alpha < np.inf:
        raise ValueError(
            f"alpha is {alpha}; expected a finite number of at least 0. Below 0 an upper bound is estimated, by no "
            "bound: cubo(log_w, n=1 - alpha)"
        )
    check_samples(log_w)
    if alpha == 1.0:
        return elbo(log_w)
    zero = log_w.min(axis=0) == -np.inf if alpha > 1.0 else log_w.max(axis=0) == -np.inf
    return _unless(zero, log_w, lambda log_w: _log_power_mean(log_w, 1.0 - alpha))


def _log_power_mean(log_w: Array, s: float) -> Array:
    """(1/s) log (1/K) Σ_k w_kˢ; near s = 0 about the end where s log w is largest: then 1/s costs no digits."""
    if abs(s) > 0.01:
        return logmeanexp(s * log_w) / s
    end = stop_gradient(log_w.max(axis=0) if s > 0.0 else log_w.min(axis=0))
    return end + np.log1p(np.expm1(s * (log_w - end)).mean(axis=0)) / s


TENTHS: Final = tuple(i / 10 for i in range(11))


def tvo(log_w: Array, betas: Sequence[float] = TENTHS) -> Array:
    """Return Σ_t (β_t+1 − β_t) E_β_t[log w]: the thermodynamic objective, a lower bound on log p(x) for any K.

        log p(x) = ∫ E_β[log w] dβ over [0, 1],   under π_β ∝ q(z)^(1−β) p(x, z)^β

    The integrand rises with β, so the left ends of the intervals give less. E_β is estimated by Σ_k w̃_k log w_k with
    w̃ ∝ w^β, which is biased, but along the same path: elbo ≤ tvo ≤ iwae ≤ tvo_upper in every draw; for betas (0, 1) it
    is the ELBO. (Masrani, Le and Wood, arXiv:1907.00031.)

    Parameters
    ----------
    log_w
        Shape (K, N).
    betas
        0 = β_0 < β_1 < … < β_T = 1. The paper makes the first intervals the shortest.

    Raises
    ------
    ValueError
        `betas` do not rise from 0 to 1.
    """
    return _along_path(log_w, betas, left=True)


def tvo_upper(log_w: Array, betas: Sequence[float] = TENTHS) -> Array:
    """Return Σ_t (β_t+1 − β_t) E_β_t+1[log w], the right ends of `tvo`: an upper bound as K → ∞, of K draws neither.

    With E_β taken exactly it is at least log p(x). Estimated from draws of q it is only at least `iwae`, in every draw;
    at K = 1 its mean is the ELBO.
    """
    return _along_path(log_w, betas, left=False)


def jackknife(log_w: Array) -> Array:
    """Return K log p̂_K − (K − 1) · mean of log p̂_K−1 over the K ways to leave a draw out: neither bound, less biased.

    The bias of `iwae` is −Var(w) / 2 K p(x)² + O(K⁻²), and this takes the first term away. It may be above log p(x) in
    expectation, is +inf where only one weight is above 0, and has more variance. (Nowozin, *Debiasing evidence
    approximations*, ICLR 2018.)

    Raises
    ------
    ValueError
        K < 2.
    """
    K = len(log_w)
    if K < 2:
        raise ValueError(f"log_w has shape {log_w.shape}; expected at least two samples: one has to be left out")

    def corrected(log_w: Array) -> Array:
        total, others = np.logsumexp(log_w, axis=0), logsumexp_of_others(log_w)
        return logmeanexp(log_w) + (K - 1) * ((total - others).mean(axis=0) + math.log1p(-1.0 / K))

    return _unless(log_w.max(axis=0) == -np.inf, log_w, corrected)


def eubo(log_w: Array) -> Array:
    """Return (1/K) Σ_k log w_k for z_k from the exact posterior (N18): unbiased for an upper bound on log p(x).

    The gap is KL(p(z | x) ‖ q). The same average as `elbo`; where z comes from makes the difference, and no weight can
    tell: `log_weights` draws from q, so of those this is the ELBO. Its slope is the bound's in the parameters of q;
    those of p move the draws too, of which it knows nothing.

    >>> from minilvm.estimators import weigh
    >>> from minilvm.models import SigmoidBeliefNetwork
    >>> model = SigmoidBeliefNetwork.random(n_latents=3, n_features=4, rng=0)
    >>> x, _ = model.sample(2, rng=1)
    >>> z = model.posterior(x).sample((1000,), rng=2)
    >>> (eubo(weigh(model, model.prior, x, z)) > model.log_marginal(x)).all()
    np.True_
    """
    check_samples(log_w)
    return _mean(log_w)


def cubo(log_w: Array, n: float = 2.0) -> Array:
    """Return (1/n) log (1/K) Σ_k w_kⁿ, the χ upper bound's estimate: biased low, and itself neither bound.

    CUBO_n = (1/n) log E_q[wⁿ] ≥ log p(x) for n ≥ 1 by Jensen, tight at q(z) = p(z | x) and at n = 1. Only its
    exponential is estimated without bias, E[exp(n cubo)] = E_q[wⁿ] ≥ p(x)ⁿ; the logarithm takes that away: at K = 1 the
    mean of `cubo` is the ELBO, for every n. A high value is evidence of a poor q, a low one of nothing.
    (Dieng, Tran, Ranganath, Paisley and Blei, arXiv:1611.00328.)

    Raises
    ------
    ValueError
        n < 1.
    """
    if not 1.0 <= n < np.inf:
        raise ValueError(f"n is {n}; expected a finite number of at least 1: below 1 it is renyi(log_w, alpha=1 - n)")
    return logmeanexp(n * log_w) / n


def _along_path(log_w: Array, betas: Sequence[float], *, left: bool) -> Array:
    """A Riemann sum of ∫ E_β[log w] dβ, from the left or the right ends of the intervals."""
    intervals = list(itertools.pairwise(map(float, betas)))
    if not intervals or betas[0] != 0.0 or betas[-1] != 1.0 or not all(low < high for low, high in intervals):
        raise ValueError(f"betas are {betas}; expected numbers that rise from 0 to 1")
    check_samples(log_w)

    def riemann_sum(log_w: Array) -> Array:
        return sum((high - low) * _tempered_mean(log_w, low if left else high) for low, high in intervals)

    return _unless(log_w.max(axis=0) == -np.inf, log_w, riemann_sum)


def _tempered_mean(log_w: Array, beta: float) -> Array:
    """Σ_k w̃_k log w_k with w̃ ∝ w^β, where for β > 0 a weight of 0 counts for nothing."""
    return times_log(np.softmax(beta * log_w, axis=0), log_w).sum(axis=0) if beta else elbo(log_w)


def _unless(zero: Array, log_w: Array, bound: Callable[[Array], Array]) -> Array:
    """The bound, but −inf, with gradient 0, for data of which p̂ is `zero`."""
    return np.where(zero, -np.inf, bound(np.where(zero, 0.0, log_w)))
