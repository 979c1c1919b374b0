"""The sigmoid belief network: binary causes z, binary effects x, and a sum over 2^L states that can still be done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.backend import Array
from minilvm.distributions import Bernoulli, Categorical, Distribution, Independent
from minilvm.distributions.bernoulli import bit
from minilvm.distributions.parameters import Constraint
from minilvm.models.base import LatentVariableModel, check_bits
from minilvm.nn import linear


@dataclass(frozen=True, eq=False)
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
        """Return a network with normal parameters, of standard deviation `scale` for the weights and 1 for the rest."""
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
        return Independent(Bernoulli(logits=linear(z, self.weights, self.bias)), 1)

    def log_marginal(self, x: Array) -> Array:
        """log p(x) = log Σ_z p(x, z) over all 2^L states (N4), shape (N,); up to 2^16 and more, some at a time."""
        return np.logsumexp(np.stack([np.logsumexp(part, axis=0) for part in self._log_joint_table(x)]), axis=0)

    def posterior(self, x: Array) -> LawOfStates:
        """p(z | x) ∝ p(x, z), a weight for each of the 2^L states; batch shape (N,)."""
        return LawOfStates(np.concatenate(list(self._log_joint_table(x))).T)

    def _log_joint_table(self, x: Array) -> Iterator[Array]:
        """log p(x_n, z_s) for every state s, (2^L, N) by rows: the products z W + b are shared by all data."""
        check_bits(x, self.weights.shape[1])
        states = self.prior.enumerate_support()
        rows = max(1, _TILE // max(x.shape))
        for start in range(0, len(states), rows):
            z = states[start : start + rows]
            logits = linear(z, self.weights, self.bias)
            normaliser = np.special.softplus(logits).sum(axis=1) - self.prior.log_prob(z)
            yield logits @ x.T - normaliser[:, None]


_TILE = 2**20  # numbers in a tile of states by features, or by data: 8 MB of float64


@dataclass(frozen=True, init=False, eq=False)
class LawOfStates(Distribution):
    """Any law of L bits whatever, by the weight of each of the 2^L states: no independence is assumed.

    Parameters
    ----------
    logits
        log weights, normalised or not, of shape (…, 2^L), the states in lexicographic order.
    """

    states: Categorical
    validate_args: bool = tree.static(repr=False)

    def __init__(self, logits: Array, *, validate_args: bool = True) -> None:
        states = Categorical(logits=logits, validate_args=validate_args)
        if states.n_categories.bit_count() != 1:
            raise ValueError(f"logits has {states.n_categories} weights; expected 2^L, one for each state of L bits")
        self._set(states=states, validate_args=validate_args)

    @property
    def n_bits(self) -> int:
        """L."""
        return self.states.n_categories.bit_length() - 1

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The shape of the weights, less their last axis."""
        return self.states.batch_shape

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(L,)."""
        return (self.n_bits,)

    @property
    def support(self) -> Constraint:
        """0 and 1."""
        return bit

    def expand(self, batch_shape: int | tuple[int, ...]) -> LawOfStates:
        """Return the same law repeated to fill `batch_shape`."""
        return self._replace(states=self.states.expand(batch_shape))

    def log_prob(self, value: Array) -> Array:
        """Return the log weight of the state that the bits spell, the first bit counting most."""
        return self.states.log_prob((self._value(value) * self._places).sum(axis=-1))

    def sample(self, sample_shape: int | tuple[int, ...] = (), *, rng: Any) -> Array:
        """Return draws of bits, of shape `sample_shape + batch_shape + (L,)`."""
        return self._bits(self.states.sample(sample_shape, rng=rng))

    def enumerate_support(self) -> Array:
        """Return all states, of shape `(2^L,) + batch_shape + (L,)`."""
        return self._bits(self.states.enumerate_support())

    def _bits(self, state: Array) -> Array:
        """The binary digits of the number of a state."""
        return (state[..., None] // self._places % 2).astype(self.dtype)

    @property
    def _places(self) -> Array:
        """What each digit counts: … 4, 2, 1."""
        return 2 ** backend.namespace(self.states.parameter).arange(self.n_bits)[::-1]
