"""The mixture of Bernoullis: z ~ Categorical(π), x_d | z = c ~ Bernoulli(p_cd). The binary cousin of N3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.backend import Array
from minilvm.distributions import Bernoulli, Independent
from minilvm.models.base import CollapsedComponentError, Mixture, check_bits, check_n_components


@dataclass(frozen=True, eq=False)
class BernoulliStatistics:
    """What the M-step needs to know of the data; statistics of parts of the data add up."""

    counts: Array  # (C,)    N_c = Σ_n γ_nc
    sums: Array  #   (C, D)  Σ_n γ_nc x_n

    def __add__(self, other: BernoulliStatistics) -> BernoulliStatistics:
        return BernoulliStatistics(self.counts + other.counts, self.sums + other.sums)


@dataclass(frozen=True, eq=False)
class BernoulliMixture(Mixture):
    """A mixture of C products of D Bernoullis.

    (Bishop, *Pattern Recognition and Machine Learning*, §9.3.3.)

    Parameters
    ----------
    weights
        π, shape (C,).
    probs
        p, shape (C, D), each between 0 and 1, and strictly so if there is a pseudocount.
    pseudocount
        a: EM adds a log p_cd + a log(1 − p_cd) to what it maximises, the logarithm of a Beta(1 + a, 1 + a) prior, so
        that a pixel never seen lit does not make a test image impossible. 0 is maximum likelihood.
    """

    weights: Array
    probs: Array
    pseudocount: float = tree.static(default=1.0)

    @classmethod
    def initialise(cls, x: Array, n_components: int, *, rng: Any, pseudocount: float = 1.0) -> BernoulliMixture:
        """Return a mixture to start EM from: equal weights, and p_c = ¼ + ¼ x̄ + ¼ x_n, another n for each c."""
        check_bits(x)
        check_n_components(n_components, x)
        if not 0.0 <= pseudocount < np.inf:
            raise ValueError(f"pseudocount is {pseudocount}; expected a number of at least 0")
        order = backend.default_rng(rng, like=x).random(len(x)).argsort()
        probs = 0.25 + 0.25 * x.mean(axis=0) + 0.25 * x[order[:n_components]]
        return cls(np.full_like(probs, 1.0 / n_components, shape=(n_components,)), probs, pseudocount)

    def likelihood(self, z: Array) -> Independent:
        """p(x | z) = Π_d Bernoulli(x_d; p_zd)."""
        return Independent(Bernoulli(probs=self.probs[z]), 1)

    def is_valid(self) -> bool:
        """Whether the weights and probabilities are."""
        margin = 0.0 if self.pseudocount == 0.0 else np.finfo(self.probs.dtype).tiny  # a prior knows nothing certain
        of_bits = (self.probs >= margin) & (1.0 - self.probs >= margin)
        return bool((self.weights > 0).all() & of_bits.all())

    def component_log_joint(self, x: Array) -> Array:
        """log π_c + Σ_d [x_nd log p_cd + (1 − x_nd) log(1 − p_cd)], of shape (N, C)."""
        check_bits(x, self.probs.shape[1])
        never, always = self.probs == 0.0, self.probs == 1.0  # there 0 · log 0 = 0, and what cannot be has log 0 = −inf
        log_p = np.log(np.where(never, 1.0, self.probs))
        log_not_p = np.log1p(-np.where(always, 0.0, self.probs))
        log_joint = self.prior.logits + log_not_p.sum(axis=1) + x @ (log_p - log_not_p).T
        if not bool(never.any() or always.any()):
            return log_joint
        return np.where(x @ never.T + (1.0 - x) @ always.T > 0, -np.inf, log_joint)

    def log_parameter_prior(self) -> Array:
        """a Σ_cd [log p_cd + log(1 − p_cd)], up to a constant."""
        if self.pseudocount == 0.0:
            return np.zeros_like(self.probs).sum()
        return self.pseudocount * (np.log(self.probs) + np.log1p(-self.probs)).sum()

    def statistics(self, x: Array, responsibilities: Array) -> BernoulliStatistics:
        """Sum the data, each point shared among the components by its `responsibilities` (N, C)."""
        return BernoulliStatistics(responsibilities.sum(axis=0), responsibilities.T @ x)

    def m_step(self, statistics: BernoulliStatistics) -> BernoulliMixture:
        """Return the maximiser of the expected log joint and log prior: p_cd = (Σ_n γ_nc x_nd + a) / (N_c + 2a).

        Raises
        ------
        CollapsedComponentError
            A component has lost all its points, and no pseudocount says what its probabilities are then.
        """
        a = self.pseudocount
        if a == 0.0 and bool((statistics.counts == 0.0).any()):
            components = tuple(int(c) for c in backend.to_numpy(statistics.counts == 0.0).nonzero()[0])
            raise CollapsedComponentError(
                f"component {components[0]} has lost all its points: use fewer components, a "
                "pseudocount above 0, or start from another rng",
                components,
            )
        probs = (statistics.sums + a) / (statistics.counts[:, None] + 2.0 * a)
        top = 1.0 if a == 0.0 else 1.0 - np.finfo(probs.dtype).epsneg  # rounding could pass 1, or reach it
        return BernoulliMixture(statistics.counts / statistics.counts.sum(), np.minimum(probs, top), a)
