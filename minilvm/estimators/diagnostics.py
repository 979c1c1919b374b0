"""What weights say about themselves: how many they are worth, how heavy their tail is, and what the gap is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array, namespace
from minilvm.estimators.bounds import elbo, iwae
from minilvm.estimators.weights import check_samples, check_weights
from minilvm.tape import stop_gradient


def effective_sample_size(log_w: Array) -> Array:
    """Return (Σ_k w_k)² / Σ_k w_k², shape (N,): how many equal weights would estimate as well.

    Between 1 and K, and 0 where all weights are 0. A diagnosis from the draws at hand: it cannot see a part of the
    posterior that no draw has found. (Kong, 1992; docs/notes.md, chapter 3.)
    """
    check_samples(log_w)
    total = np.logsumexp(log_w, axis=0)
    return np.exp(2.0 * total - np.where(total == -np.inf, 0.0, np.logsumexp(2.0 * log_w, axis=0)))


def pareto_k(log_w: Array) -> Array:
    """Return k̂, shape (N,): the shape of the generalised Pareto law that fits the largest weights best.

        P(w > t + u | w > u) ≈ (1 + k t / σ)^(−1/k),   so that E[wᵐ] is finite for m < 1/k only

    The tail is the largest min(K / 5, 3 √K) weights, less those that tie with the next. k̂ < ½ suggests that the
    variance of N6 is finite; up to 0.7 its error bars can be used; above, K draws say little, however small the spread
    that they show. +inf where fewer than five weights are in the tail, as always for K ≤ 20; −inf where all of the tail
    is equal to rounding, as at the posterior. (Vehtari, Simpson, Gelman, Yao and Gabry, arXiv:1507.02646, algorithm 1.)
    """
    check_samples(log_w)
    columns = backend.to_numpy(check_weights(stop_gradient(log_w))).T
    return namespace(log_w).asarray(numpy.array([_tail_shape(column) for column in columns], dtype=log_w.dtype))


def _tail_shape(log_w: Any) -> float:
    K = len(log_w)
    n_tail = math.ceil(min(K / 5, 3 * math.sqrt(K)))
    log_w = numpy.sort(log_w).astype(float)
    if n_tail < 5 or log_w[-1] == -numpy.inf:
        return math.inf
    w = numpy.exp(log_w - log_w[-1])
    threshold = max(w[-n_tail - 1], numpy.finfo(float).tiny)
    if 1.0 - threshold <= 100 * K * numpy.finfo(float).eps:
        return -math.inf
    excess = w[w > threshold] - threshold
    return fit_generalised_pareto(excess)[0] if len(excess) >= 5 else math.inf


def fit_generalised_pareto(x: Any) -> tuple[float, float]:
    """Return the shape k and scale σ of a generalised Pareto law for positive x, in ascending order.

    With θ = −k/σ known, k(θ) = mean log(1 − θ x) is the best shape and l(θ) = n [log(−θ / k) − k − 1] its likelihood.
    θ̂ is the mean of θ under weights exp l(θ), over a grid that a prior suggests. k is then drawn towards ½ as by ten
    more data, which steadies it in small samples. (Zhang and Stephens, *Technometrics* 51, 2009; the last step,
    arXiv:1507.02646, appendix C.)
    """
    n = len(x)
    m = 30 + int(math.sqrt(n))
    quartile = x[int(n / 4 + 0.5) - 1]
    theta = 1.0 / x[-1] + (1.0 - numpy.sqrt(m / (numpy.arange(1, m + 1) - 0.5))) / (3.0 * quartile)
    k = numpy.log1p(-theta[:, None] * x).mean(axis=1)
    likelihood = n * (numpy.log(-theta / k) - k - 1.0)
    weight = numpy.exp(likelihood - numpy.logaddexp.reduce(likelihood))
    weight[weight < 10.0 * numpy.finfo(float).eps] = 0.0
    theta_hat = (theta @ weight) / weight.sum()
    shape = float(numpy.log1p(-theta_hat * x).mean())
    return (n * shape + 10.0 * 0.5) / (n + 10.0), -shape / float(theta_hat)


@dataclass(frozen=True, eq=False)
class GapLedger:
    """Where log p(x) − ELBO goes (N20): three terms that sum to it. Arrays have shape (N,), in nats."""

    log_p: Array  # log p(x)
    bound: Array  # the ELBO of the q at hand
    amortisation: Array  # L(q*) − L(q): what a better encoder would gain
    approximation: Array  # L_K(q*) − L(q*): of what a richer family would gain, as much as K draws can see
    sampling: Array  # log p(x) − L_K(q*): what they cannot

    @property
    def gap(self) -> Array:
        """log p(x) − ELBO."""
        return self.log_p - self.bound


def gap_ledger(log_p: Array, log_w_best: Array, log_w: Array) -> GapLedger:
    """Split log p(x) − L(q) into an amortisation, an approximation and a sampling gap (N20).

        log p(x) − L(q) = [L(q*) − L(q)] + [L_K(q*) − L(q*)] + [log p(x) − L_K(q*)]

    N20's approximation gap is the sum of the last two. L_K splits it (N17) into what K draws from q* show, here called
    the approximation, and what is left, the sampling gap, which vanishes as K grows. If log_p is exact and q* no worse
    than q, all three are at least 0 in expectation, and the approximation is in every draw; judge the others by the
    standard errors of what they are means of. Where log_p is an estimate, the sampling gap is only how far that is
    above L_K(q*). (Cremer, Li and Duvenaud, arXiv:1801.03558.)

    Parameters
    ----------
    log_p
        log p(x), shape (N,): exact (`exact_log_marginal`, `model.log_marginal`), or the best estimate there is.
    log_w_best
        `log_weights` under q*, the best member of the family for each datum (SVI of a `PerDatapointGuide` finds it,
        best begun at q), shape (K, N).
    log_w
        `log_weights` under q, shape (K', N).

    Raises
    ------
    ValueError
        The three are not of one number of data.
    """
    if not log_p.shape == log_w_best.shape[1:] == log_w.shape[1:]:
        raise ValueError(
            f"log_p has shape {log_p.shape}, log_w_best {log_w_best.shape} and log_w {log_w.shape}; expected (N,), "
            "(K, N) and (K', N)"
        )
    best, tighter, bound = elbo(log_w_best), iwae(log_w_best), elbo(log_w)
    return GapLedger(log_p, bound, best - bound, tighter - best, log_p - tighter)
