"""Estimates of p(x) itself: exact where the sum can be done, and two ways of sampling it where it cannot (N4–N6)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.distributions import Distribution
from minilvm.estimators.weights import LogJoint, check_n_samples, check_weights, log_weights, logmeanexp


class EnumerableModel(LogJoint, Protocol):
    """A model whose latent takes finitely many values, which its prior can list."""

    @property
    def prior(self) -> Distribution:
        """p(z), which has `enumerate_support`."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """An estimate of p(x) by the mean of K weights, held as its logarithm. Arrays have shape (N,).

    p̂ = (1/K) Σ_k w_k is unbiased for p(x); log p̂ is a lower bound in expectation (N17), not in every draw.
    """

    log_p: Array
    standard_error: Array  # of p̂, relative to p̂; which is that of log p̂, to first order. NaN for K = 1 or p̂ = 0
    n_samples: int

    def lower_limit(self, delta: float = 0.05) -> Array:
        """Return log p̂ − log(1/δ), which is at most log p(x) with probability at least 1 − δ, for any K and q (N19)."""
        if not 0.0 < delta <= 1.0:
            raise ValueError(f"delta is {delta}; expected a probability in (0, 1]")
        return self.log_p + math.log(delta)


def exact_log_marginal(model: EnumerableModel, x: Array) -> Array:
    """Return log p(x) = log Σ_z p(x, z) by enumeration of z (N4), shape (N,), in tiles of bounded memory.

    Raises
    ------
    NotImplementedError
        The prior cannot list its support.
    """
    tiles = [np.logsumexp(model.log_joint(x, z), axis=0) for z in _support_tiles(model.prior, x)]
    return np.logsumexp(np.stack(tiles), axis=0)


def naive_monte_carlo(
    model: EnumerableModel, x: Array, n_samples: int, *, rng: Any, proposal: str = "uniform"
) -> Estimate:
    """Estimate p(x) with latents that know nothing of x: |Z| (1/K) Σ_k p(x, z_k), z_k uniform over Z (N5).

    With `proposal="prior"`, z_k ~ p(z) and the weights are p(x | z_k); the latent need not be enumerable then.
    Unbiased, with a variance that makes it useless unless most z explain x.
    """
    if proposal == "prior":
        return importance_sampling(log_weights(model, model.prior, x, n_samples, rng=rng))
    if proposal != "uniform":
        raise ValueError(f'proposal is {proposal!r}; expected "uniform" or "prior"')
    check_n_samples(n_samples)
    support = model.prior.enumerate_support()
    choice = backend.default_rng(rng, like=x).integers(0, len(support), size=(n_samples, len(x)))
    return importance_sampling(check_weights(model.log_joint(x, support[choice]) + math.log(len(support))))


def importance_sampling(log_w: Array) -> Estimate:
    """Estimate p(x) by the mean weight, (1/K) Σ_k w_k with z_k ~ q (N6), from `log_weights` of shape (K, N).

    Unbiased for any q that covers the posterior; its variance is p(x)² · χ²(posterior ‖ q) / K.
    """
    n_samples = len(log_w)
    log_p = logmeanexp(log_w)
    with numpy.errstate(invalid="ignore"):  # no weight above 0: an error relative to 0 is NaN
        relative = np.exp(log_w - log_p)
    spread = np.std(relative, axis=0, ddof=1) if n_samples > 1 else np.full_like(log_p, np.nan)
    return Estimate(log_p, spread / math.sqrt(n_samples), n_samples)


_TILE = 2**22  # elements of x-by-z broadcasts held at once: 32 MB of float64


def _support_tiles(prior: Distribution, x: Array) -> Iterator[Array]:
    """All values of z, of shape (S, 1, …) to broadcast against the data, a bounded number at a time."""
    support = prior.enumerate_support()
    rows = max(1, _TILE // max(1, x.size))
    for start in range(0, len(support), rows):
        yield support[start : start + rows, None]
