"""Guides say q(z). Two ways to have one q for each datum: a table of parameters, or one network that writes the table.

per datum:  q_i(z) = law(φ_i)            N10   N rows to learn; nothing shared; nothing for new data
amortised:  q(z | x) = law(network(x))   N14   one network to learn; new data for free; the gap N20 in exchange
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array
from minilvm.distributions import Bernoulli, Distribution, Independent, Normal

Law = Callable[[Array], Distribution]


def diagonal_normal(parameters: Array) -> Independent:
    """N(μ, diag σ²) from rows [μ, log σ] of shape (N, 2L)."""
    n_latents, odd = divmod(parameters.shape[-1], 2)
    if odd:
        raise ValueError(f"parameters have shape {parameters.shape}; expected (N, 2L), L means and L log deviations")
    return Independent(Normal(parameters[..., :n_latents], np.exp(parameters[..., n_latents:])), 1)


def factorised_bernoulli(parameters: Array) -> Independent:
    """Π_l Bernoulli(z_l; sigmoid(a_l)) from rows of logits a of shape (N, L)."""
    return Independent(Bernoulli(logits=parameters), 1)


@dataclass(frozen=True, eq=False)
class PerDatapointGuide:
    """One row of variational parameters for each datum (N10): stochastic variational inference.

    Parameters
    ----------
    table
        φ, of shape (N, …): rows that `law` takes.
    law
        From rows to a distribution: `diagonal_normal`, `factorised_bernoulli`, or another such function.
    """

    table: Array
    law: Law = tree.static(default=diagonal_normal)

    def __call__(self, x: Array, index: Array | None = None) -> Distribution:
        """Return q for the data `x`, which are rows `index` of the training data (all of them, if None)."""
        rows = self.table if index is None else self.table[index]
        if len(rows) != len(x):
            raise ValueError(f"x has {len(x)} data and the guide {len(rows)} rows for them; expected as many")
        return self.law(rows)


@dataclass(frozen=True, eq=False)
class AmortizedGuide:
    """One network for all data (N14): the encoder q(z | x).

    (Kingma and Welling, arXiv:1312.6114.)

    Parameters
    ----------
    network
        A map from x (N, D) to rows that `law` takes: a tree of parameters that can be called.
    law
        From rows to a distribution: `diagonal_normal`, `factorised_bernoulli`, or another such function.
    """

    network: Callable[[Array], Array]
    law: Law = tree.static(default=diagonal_normal)

    def __call__(self, x: Array, index: Array | None = None) -> Distribution:
        """Return q(z | x); which rows `x` are makes no difference."""
        del index
        return self.law(self.network(x))
