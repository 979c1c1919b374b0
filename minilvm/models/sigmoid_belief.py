"""The sigmoid belief network: binary causes z, binary effects x, and a sum over 2^L states that can still be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.distributions import Bernoulli, Categorical, Independent
from minilvm.models.base import LatentVariableModel


@dataclass(frozen=True)
class SigmoidBeliefNetwork(LatentVariableModel):
    """z_l ~ Bernoulli(sigmoid(a_l)),  x_d | z ~ Bernoulli(sigmoid(z W + b)_d).

    (Neal, *Artificial Intelligence* 56, 1992.)

    The effects are independent given the causes, the causes are not independent given the effects: two causes explain
    each other away. So the posterior is not a product, and no factorised q makes the bound tight.

    Parameters
    ----------
    prior_logits
        a, shape (L,).
    weights
        W, shape (L, D).
    bias
        b, shape (D,).
    """

    prior_logits: Array
    weights: Array
    bias: Array

    @classmethod
    def random(cls, n_latents: int, n_features: int, *, scale: float = 2.0, rng: Any) -> SigmoidBeliefNetwork:
        """Return a network with normal parameters: weights of deviation `scale`, prior logits and biases of 1."""
        generator = backend.default_rng(rng)
        return cls(
            generator.standard_normal(n_latents),
            scale * generator.standard_normal((n_latents, n_features)),
            generator.standard_normal(n_features),
        )

    @property
    def prior(self) -> Independent:
        """p(z) = Π_l Bernoulli(z_l; sigmoid(a_l))."""
        return Independent(Bernoulli(logits=self.prior_logits), 1)

    def likelihood(self, z: Array) -> Independent:
        """p(x | z) = Π_d Bernoulli(x_d; sigmoid(z W + b)_d)."""
        return Independent(Bernoulli(logits=z @ self.weights + self.bias), 1)

    def log_marginal(self, x: Array) -> Array:
        """log p(x) = log Σ_z p(x, z) over all 2^L states (N4), shape (N,)."""
        return np.logsumexp(self._log_joint_table(x), axis=0)

    def posterior(self, x: Array) -> Categorical:
        """p(z | x) as a law of the state's row in `prior.enumerate_support()`, with batch shape (N,)."""
        return Categorical(logits=self._log_joint_table(x).T)

    def _log_joint_table(self, x: Array) -> Array:
        """log p(x_n, z_s) for every state s, shape (2^L, N): the products z W + b are shared by all data."""
        z = self.prior.enumerate_support()
        logits = z @ self.weights + self.bias
        normaliser = np.special.softplus(logits).sum(axis=1) - self.prior.log_prob(z)
        return logits @ x.T - normaliser[:, None]
