"""Annealed importance sampling: importance weights along a path from q to the posterior, which may be walked both ways.

    π_β(z) ∝ q(z)^(1−β) p(x, z)^β,   0 = β_0 < β_1 < … < β_T = 1
    log w = Σ_t (β_t − β_t−1) [log p(x, z_t) − log q(z_t)]

*Forward*, z_1 ~ q and each z_t+1 comes from z_t by a transition that leaves π_β_t alone. Then E[w] = p(x), as for any
importance weight: `iwae` of these is a lower bound (N17), `importance_sampling` an estimate with its certified limit
(N19), and for large T, at T times the cost, both are far better than those of q alone. *Backwards*, from an exact draw
z_T ~ p(z | x), by the same transitions in the opposite order, E[1/w] = 1/p(x): an upper bound. The two enclose
log p(x).

(Neal, arXiv:physics/9803008; Grosse, Ghahramani and Adams, arXiv:1511.02543.)
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.backend import Array
from minilvm.distributions import Distribution
from minilvm.estimators.transitions import LogDensity, Transition, transition_for
from minilvm.estimators.weights import (
    LogJoint,
    check_n_samples,
    check_support,
    check_weights,
    logmeanexp,
    per_datum,
    weigh,
)
from minilvm.tape import Tensor


def annealed_log_weights(
    model: LogJoint,
    q: Distribution,
    x: Array,
    n_samples: int,
    *,
    n_steps: int,
    posterior_draws: Array | None = None,
    transition: Transition | None = None,
    rng: Any,
) -> Array:
    """Return log w of K chains for each datum, shape (K, N), walked from draws of q, with E[w] = p(x).

    Or walked backwards, from draws of p(z | x): then E[1/w] = 1/p(x), and −logmeanexp(−log_w) is an upper bound.

    Parameters
    ----------
    model, q, x, n_samples
        As for `log_weights`. The chains of all data are moved together.
    n_steps
        T, the number of steps: β_t = (t / T)⁴, short ones first, where the law changes most. (Friel and Pettitt,
        *JRSS B* 70, 2008.) With one step these are `log_weights`; as T grows, they all tend to log p(x).
    posterior_draws
        To walk backwards: an exact draw of z for each datum, (N, …event), where all its chains start, or one for each
        chain, (K, N, …event). For (x, z) drawn from the model itself, `model.sample`, this z is one. For real data
        there is none, and with any other z the bound is void.
    transition
        If None, `HMC` with steps of 1 to 100 % of q's deviation where z is of numbers, `Gibbs` where it is of bits. One
        of your own must leave the law that it is given alone, and for the walk backwards be reversible: else the bounds
        are void, and nothing tells.
    rng
        Seed or generator.

    Raises
    ------
    ValueError
        `n_samples` or `n_steps` < 1; q does not suit the data or the model, as for `log_weights`; `posterior_draws`
        have another shape; or a weight is NaN or +inf.
    TypeError
        z is of neither kind; or something is being differentiated, which chains that reject cannot be.
    """
    q = per_datum(q, x)
    check_n_samples(n_samples)
    check_support(model, q, x, n_samples)
    if n_steps < 1:
        raise ValueError(f"n_steps is {n_steps}; expected at least 1")
    move = transition_for(q) if transition is None else transition
    generator = backend.default_rng(rng, like=tree.leaves(q)[0])
    betas = [(t / n_steps) ** 4 for t in range(n_steps + 1)]
    if posterior_draws is None:
        z = q.sample((n_samples,), rng=generator)
    else:
        z = _one_a_chain(posterior_draws, (n_samples, len(x), *q.event_shape))
        betas.reverse()

    log_w: Array = 0.0
    for here, there in itertools.pairwise(betas):
        if here != betas[0]:  # the first factor is of the draw itself, before any move
            z = move(_tempered(model, q, x, here), z, rng=generator)
        log_w = log_w + abs(there - here) * weigh(model, q, x, z)
    if type(log_w) is Tensor:
        raise TypeError("annealed weights cannot be differentiated: stop_gradient the parameters, or use log_weights")
    return check_weights(log_w)


def _one_a_chain(z: Array, shape: tuple[int, ...]) -> Array:
    if z.shape not in {shape, shape[1:]}:
        raise ValueError(f"posterior_draws have shape {z.shape}; expected {shape[1:]}, one a datum, or {shape}")
    return np.broadcast_to(z, shape)


def _tempered(model: LogJoint, q: Distribution, x: Array, beta: float) -> LogDensity:
    """log π_β, up to a constant."""
    return lambda z: (1.0 - beta) * q.log_prob(z) + beta * model.log_joint(x, z)


@dataclass(frozen=True, eq=False)
class Sandwich:
    """Bounds on log p(x) from both sides, in expectation; arrays have shape (N,)."""

    lower: Array  # log (1/K) Σ_k w_k, forward
    upper: Array  # −log (1/K) Σ_k 1/w_k, backwards

    def limits(self, delta: float = 0.05) -> tuple[Array, Array]:
        """Return numbers that have log p(x) between them with probability at least 1 − δ, by N19 on either side."""
        if not 0.0 < delta <= 1.0:
            raise ValueError(f"delta is {delta}; expected a probability in (0, 1]")
        return self.lower + math.log(delta / 2.0), self.upper - math.log(delta / 2.0)


def bidirectional_monte_carlo(
    model: LogJoint,
    q: Distribution,
    x: Array,
    n_samples: int,
    *,
    n_steps: int,
    posterior_draws: Array,
    transition: Transition | None = None,
    rng: Any,
) -> Sandwich:
    """Enclose log p(x) between annealed weights walked forwards and backwards.

    How far apart they are says how wrong either can be; it shrinks as T grows. Takes and raises what
    `annealed_log_weights` does. (Grosse, Ghahramani and Adams, arXiv:1511.02543.)
    """
    generator = backend.default_rng(rng, like=tree.leaves(q)[0])
    _one_a_chain(posterior_draws, (n_samples, len(x), *q.event_shape))  # refused before the walk, if they must be

    def walk(draws: Array | None) -> Array:
        return annealed_log_weights(
            model, q, x, n_samples, n_steps=n_steps, posterior_draws=draws, transition=transition, rng=generator
        )

    return Sandwich(lower=logmeanexp(walk(None)), upper=-logmeanexp(-walk(posterior_draws)))
