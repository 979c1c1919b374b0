"""What a latent-variable model is: it says p(z) and p(x | z), and so log p(x, z)."""

from __future__ import annotations

import abc

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.distributions import Categorical, Distribution


class LatentVariableModel(abc.ABC):
    """A joint law of an observed x and a latent z, p(x, z) = p(z) p(x | z).

    Shapes: x (N, D); z (K, N, …), or anything that broadcasts so; log densities (K, N). A model whose sum over z can be
    done also has `log_marginal(x)` and `posterior(x)`.
    """

    @property
    @abc.abstractmethod
    def prior(self) -> Distribution:
        """p(z), with batch shape ()."""

    @abc.abstractmethod
    def likelihood(self, z: Array) -> Distribution:
        """p(x | z), with the leading shape of `z` as its batch shape."""

    def log_joint(self, x: Array, z: Array) -> Array:
        """log p(x, z) = log p(z) + log p(x | z)."""
        return self.prior.log_prob(z) + self.likelihood(z).log_prob(x)


class Mixture(LatentVariableModel):
    """A model whose latent is the index of one of C components: the sum over z has C terms (N3).

    A mixture says `component_log_joint(x)`, the table log p(x_n, z = c) of shape (N, C); the rest follows.
    """

    weights: Array

    @property
    def prior(self) -> Categorical:
        """p(z) = Categorical(π)."""
        return Categorical(probs=self.weights)

    @abc.abstractmethod
    def component_log_joint(self, x: Array) -> Array:
        """log π_c + log p(x_n | z = c), of shape (N, C)."""

    def log_joint(self, x: Array, z: Array) -> Array:
        """log p(x_n, z_kn), read off the table for the component indices `z` (K, N), or (K, 1) for all data alike."""
        table = self.component_log_joint(x)
        return table[np.arange(len(x)), z]

    def log_marginal(self, x: Array) -> Array:
        """log p(x) = log Σ_c π_c p(x | c), shape (N,)."""
        return np.logsumexp(self.component_log_joint(x), axis=1)

    def posterior(self, x: Array) -> Categorical:
        """p(z | x): the responsibilities, which make the bound tight (N9)."""
        return Categorical(logits=self.component_log_joint(x))


def check_data(x: Array, n_features: int | None = None) -> None:
    """Refuse data that are not a finite real table of shape (N, D), saying what was given and what was expected."""
    shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", None)
    if shape is None or dtype is None:
        raise TypeError(f"x is {type(x).__name__}; expected an array of shape (N, D): numpy.asarray(x)")
    if dtype.kind not in "fiub":
        raise ValueError(f"x has dtype {dtype}; expected real numbers")
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"x has shape {shape}; expected (N, D), at least one point of at least one feature")
    if n_features is not None and shape[1] != n_features:
        raise ValueError(f"x has shape {shape}; expected (N, {n_features}) to match the model")
    bad = backend.to_numpy(~np.isfinite(x))
    if bad.any():
        n, d = (int(i[0]) for i in bad.nonzero())
        raise ValueError(f"x[{n}, {d}] is {x[n, d]}; expected finite numbers: drop or impute {int(bad.sum())} of them")


def check_n_components(n_components: int, x: Array) -> None:
    """Refuse a number of components that the data cannot determine."""
    if not 1 <= n_components <= len(x):
        raise ValueError(f"n_components is {n_components}; expected 1 to {len(x)}, the number of points in x")
