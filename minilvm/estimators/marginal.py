"""Estimates of p(x) itself: exact where the sum can be done, and two ways of sampling it where it cannot (N4–N6)."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.distributions import Distribution
from minilvm.distributions.parameters import finite
from minilvm.estimators.contracts import LISTED
from minilvm.estimators.quadrature import is_integrable, log_integral
from minilvm.estimators.weights import (
    LogJoint,
    check_data,
    check_n_samples,
    check_weights,
    log_weight_tiles,
    logmeanexp,
    tiles,
)


class ModelWithPrior(LogJoint, Protocol):
    """A model that can also say p(z)."""

    @property
    def prior(self) -> Distribution:
        """p(z)."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """An estimate of p(x) by the mean of K weights, held as its logarithm. Arrays have shape (N,).

    p̂ = (1/K) Σ_k w_k is unbiased for p(x); log p̂ is a lower bound in expectation (N17), not in every draw. The sum of
    two estimates is the estimate from the draws of both.
    """

    log_p: Array
    spread: Array  # Σ_k (w_k / p̂ − 1)²; 0 for p̂ = 0
    n_samples: int

    @property
    def standard_error(self) -> Array:
        """The standard error of p̂ relative to p̂, which is that of log p̂, to first order; NaN for K = 1 or p̂ = 0."""
        K = self.n_samples
        known = (self.log_p > -np.inf) & (K > 1)
        return np.sqrt(np.where(known, self.spread, np.nan) / max(1, K * (K - 1)))

    def lower_limit(self, delta: float = 0.05) -> Array:
        """Return log p̂ − log(1/δ), which is at most log p(x) with probability at least 1 − δ, for any K and q (N19)."""
        if not 0.0 < delta <= 1.0:
            raise ValueError(f"delta is {delta}; expected a probability in (0, 1]")
        return self.log_p + math.log(delta)

    def __add__(self, other: Estimate) -> Estimate:
        K = self.n_samples + other.n_samples
        share, rest = self.n_samples / K, other.n_samples / K
        log_p = np.logsumexp(np.stack([self.log_p + math.log(share), other.log_p + math.log(rest)]), axis=0)
        of_self, of_other = _relative(self.log_p, log_p), _relative(other.log_p, log_p)
        within = self.spread * np.square(of_self) + other.spread * np.square(of_other)
        return Estimate(log_p, within + K * share * rest * np.square(of_self - of_other), K)


def _relative(log_w: Array, log_p: Array) -> Array:
    """w / p, and 0 where p is 0."""
    return np.exp(log_w - np.where(log_p == -np.inf, 0.0, log_p))


def exact_log_marginal(model: ModelWithPrior, x: Array) -> Array:
    """Return log p(x), shape (N,): log Σ_z p(x, z) by enumeration (N4), or log ∫ p(x, z) dz by quadrature.

    The one where the prior can list its support, the other where z is one or two real numbers; in tiles of bounded
    memory.

    Raises
    ------
    ValueError
        z is of more than two real numbers; there are too many values to list; or the integral does not settle.
    NotImplementedError
        The prior is neither.
    """
    check_data(x)
    prior = model.prior
    if prior.support is not finite:
        support = prior.enumerate_support()
        return np.logsumexp(np.stack([np.logsumexp(part, axis=0) for part in _log_joint(model, x, support)]), axis=0)
    if not is_integrable(prior):
        raise ValueError(
            f"z has shape {prior.event_shape}: no integral over more than two dimensions can be done exactly. Bound "
            "it from below: iwae(log_weights(model, q, x, K, rng=rng))"
        )
    return np.stack([_integral(model, x[n : n + 1]) for n in range(len(x))])


def _integral(model: ModelWithPrior, x: Array) -> Array:
    """log ∫ p(x, z) dz for a single datum, (1, …): each has a grid of its own."""
    return log_integral(lambda z: np.concatenate(list(_log_joint(model, x, z)))[:, 0], model.prior)


def _log_joint(model: ModelWithPrior, x: Array, z: Array) -> Iterator[Array]:
    """log p(x_n, z_s) for values z (S, …) that all data meet, (S, N) by rows, in tiles."""
    for start, rows in tiles(len(z), x):
        yield model.log_joint(x, z[start : start + rows, None])


def naive_monte_carlo(
    model: ModelWithPrior, x: Array, n_samples: int, *, rng: Any, proposal: str = "uniform"
) -> Estimate:
    """Estimate p(x) with latents that know nothing of x: |Z| (1/K) Σ_k p(x, z_k), z_k uniform over Z (N5).

    With `proposal="prior"`, z_k ~ p(z) and the weights are p(x | z_k); the latent need not be enumerable then.
    Unbiased, with a variance that makes it useless unless most z explain x.

    Raises
    ------
    TypeError
        z is to be uniform, and the prior cannot list its support.
    ValueError
        `n_samples` < 1, `proposal` is neither, there are no data, or a weight is NaN or +inf.
    """
    if proposal == "prior":
        return importance_sampling(log_weight_tiles(model, model.prior, x, n_samples, rng=rng))
    if proposal != "uniform":
        raise ValueError(f'proposal is {proposal!r}; expected "uniform" or "prior"')
    check_data(x)
    check_n_samples(n_samples)
    return importance_sampling(_uniform_weights(model, x, n_samples, rng))


def _uniform_weights(model: ModelWithPrior, x: Array, n_samples: int, rng: Any) -> Iterator[Array]:
    """log(|Z| p(x, z_k)) for z_k uniform over Z, in tiles."""
    if not LISTED.met(model.prior):
        raise TypeError(
            f"a prior that is {type(model.prior).__name__} cannot list its support, over which z is to be uniform; "
            'use proposal="prior"'
        )
    support, generator = model.prior.enumerate_support(), backend.default_rng(rng, like=x)
    for start, rows in tiles(n_samples, x):
        choice = generator.integers(0, len(support), size=(rows, len(x)))
        yield check_weights(model.log_joint(x, support[choice]) + math.log(len(support)), start)


def importance_sampling(log_w: Array | Iterable[Array]) -> Estimate:
    """Estimate p(x) by the mean weight, (1/K) Σ_k w_k with z_k ~ q (N6), from `log_weights` of shape (K, N).

    Or from their rows in parts, `log_weight_tiles`, which are summed up one by one and never held together.
    Unbiased for any q that covers the posterior; its variance is p(x)² · χ²(posterior ‖ q) / K.

    Raises
    ------
    ValueError
        There are no weights, or one is NaN or +inf.
    """
    parts = map(_mean_weight, [log_w] if hasattr(log_w, "shape") else log_w)
    first = next(parts, None)
    if first is None:
        raise ValueError("there are no weights; expected log_w of shape (K, N), or parts of it, at least one")
    return functools.reduce(operator.add, parts, first)


def _mean_weight(log_w: Array) -> Estimate:
    log_p = logmeanexp(check_weights(log_w))
    return Estimate(log_p, np.square(_relative(log_w, log_p) - (log_p > -np.inf)).sum(axis=0), len(log_w))
