"""Markov transitions that leave a law alone: if z has density π before one, it has it after.

Both are reversible, π(z) T(z' | z) = π(z') T(z | z'), so each is its own way back. Chains are vectorised: z is
(K, N, …event), and log π, up to a constant, is a function of it that gives (K, N).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy

import minilvm.numpy as np
from minilvm.autograd import value_and_grad
from minilvm.backend import Array
from minilvm.distributions import Distribution
from minilvm.distributions.bernoulli import bit
from minilvm.distributions.parameters import finite

LogDensity = Callable[[Array], Array]


class Transition(Protocol):
    """One step of many Markov chains, which leaves π alone, and for a walk backwards is its own way back, as above."""

    def __call__(self, log_density: LogDensity, z: Array, *, rng: Any) -> Array:
        """The states after z."""


@dataclass(frozen=True)
class HMC:
    """Hamiltonian Monte Carlo, for z of any finite numbers and a smooth π.

    Give z a momentum p ~ N(0, I), follow the motion of a ball in the bowl −log π by leapfrog steps,

        p ← p + ½ ε ∇log π(z),   z ← z + ε p,   p ← p + ½ ε ∇log π(z),

    and accept where it ends with probability min(1, exp(−ΔH)), H = −log π(z) + ½ ‖p‖². (Neal, arXiv:1206.1901.)

    The step is drawn for each chain in each transition, ε log-uniform between `smallest` and `largest`. It knows
    nothing of the state, so the law is left alone; and no right one need be known, as steps of every size come along.

    Parameters
    ----------
    smallest, largest
        Limits of ε, positive: numbers, or arrays that broadcast against z, for coordinates of different sizes.
    n_leapfrog
        The number of leapfrog steps in a transition.

    Raises
    ------
    ValueError
        Not 0 < smallest ≤ largest < ∞, or no whole number of leapfrog steps, at least one.
    """

    smallest: Any = 0.01
    largest: Any = 1.0
    n_leapfrog: int = 10

    def __post_init__(self) -> None:
        ordered = np.greater(self.smallest, 0.0) & np.less_equal(self.smallest, self.largest)
        if not bool(np.all(ordered & np.isfinite(self.largest))):
            raise ValueError(
                f"steps are from {self.smallest} to {self.largest}; expected 0 < smallest <= largest < inf. By default "
                "they are q's deviation, which heavy tails have not: give transition=HMC(smallest, largest)"
            )
        if self.n_leapfrog < 1 or self.n_leapfrog % 1:
            raise ValueError(
                f"n_leapfrog is {self.n_leapfrog!r}; expected an integer, at least 1: with none the chain stands still"
            )

    def __call__(self, log_density: LogDensity, z: Array, *, rng: Any) -> Array:
        """Return the states after z (K, N, …)."""

        def total(z: Array) -> tuple[Array, Array]:
            log_p = log_density(z)
            return log_p.sum(), log_p

        landscape = value_and_grad(total, has_aux=True)
        K, N, *event = z.shape
        per_chain = (K, N, *(1 for _ in event))
        step = self.smallest * (self.largest / self.smallest) ** rng.random(per_chain, dtype=z.dtype)
        momentum = rng.standard_normal(z.shape, dtype=z.dtype)

        def energy(log_p: Array, momentum: Array) -> Array:
            return 0.5 * np.square(momentum).reshape(K, N, -1).sum(axis=2) - log_p

        with numpy.errstate(over="ignore", invalid="ignore"):  # a step too long flies off, and is not accepted
            (_, log_p), slope = landscape(z)
            before, end = energy(log_p, momentum), z
            for _ in range(self.n_leapfrog):
                momentum = momentum + 0.5 * step * slope
                end = end + step * momentum
                (_, log_p), slope = landscape(end)
                momentum = momentum + 0.5 * step * slope
            accepted = np.log1p(-rng.random((K, N), dtype=z.dtype)) <= before - energy(log_p, momentum)
        return np.where(accepted.reshape(per_chain), end, z)


@dataclass(frozen=True)
class Gibbs:
    """Gibbs sampling, for z of bits: draw each anew given the others, in a random order.

    π(z_l = 1 | the others) = sigmoid(log π(z with z_l = 1) − log π(z with z_l = 0)).

    One order serves all chains. A fixed one would leave π alone too, but would not be its own way back.
    (Geman and Geman, *IEEE PAMI* 6, 1984.)

    Raises
    ------
    ValueError
        z is not (K, N, L) zeros and ones: what else it may be would never be left.
    """

    def __call__(self, log_density: LogDensity, z: Array, *, rng: Any) -> Array:
        """Return the states after z (K, N, L)."""
        if z.ndim != 3 or not bool(bit.check(z).all()):
            raise ValueError(f"z has shape {z.shape}, or is not of bits; expected (K, N, L) zeros and ones. Or use HMC")
        z = z.copy()
        for place in map(int, rng.random(z.shape[2]).argsort()):
            z[:, :, place] = 1.0
            log_odds = log_density(z)
            z[:, :, place] = 0.0
            log_odds = log_odds - log_density(z)
            z[:, :, place] = rng.random(z.shape[:2], dtype=z.dtype) < np.special.expit(log_odds)
        return z


def transition_for(q: Distribution) -> Transition:
    """Return the transition that suits draws of q: HMC with steps of 1 to 100 % of its deviation, or Gibbs sampling.

    Raises
    ------
    TypeError
        They are neither numbers of any size nor bits.
    """
    if q.support is finite:
        return HMC(0.01 * q.stddev, q.stddev)
    if q.support is bit and len(q.event_shape) == 1:
        return Gibbs()
    raise TypeError(
        f"{type(q).__name__} draws are {q.support.description}, of shape {q.event_shape}; expected any finite numbers, "
        "which move by HMC, or vectors of bits, which move by Gibbs sampling. A label can be summed over: "
        "exact_log_marginal"
    )
