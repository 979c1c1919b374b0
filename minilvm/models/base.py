"""What a latent-variable model is: it says p(z) and p(x | z), and so log p(x, z)."""

from __future__ import annotations

import abc
from typing import Any

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.backend import Array
from minilvm.distributions import Categorical, Distribution
from minilvm.tape import stop_gradient


class LatentVariableModel(abc.ABC):
    """A joint law of an observed x and a latent z, p(x, z) = p(z) p(x | z) (N1).

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
        if x.ndim != 2:
            raise ValueError(f"x has shape {x.shape}; expected (N, D): x[None] makes a table of a single point")
        return self.prior.log_prob(z) + self.likelihood(z).log_prob(x)

    def sample(self, n_samples: int, *, rng: Any) -> tuple[Array, Array]:
        """Return `n_samples` independent draws (x, z) from p(x, z): first z from the prior, then x given z."""
        prior = self.prior
        generator = backend.default_rng(rng, like=tree.leaves(prior)[0])
        z = prior.sample((n_samples,), rng=generator)
        return self.likelihood(z).sample(rng=generator), z


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
        if not bool(((z >= 0) & (z < table.shape[1])).all()):
            raise ValueError(f"z has values outside 0 … {table.shape[1] - 1}, the {table.shape[1]} components")
        return table[backend.namespace(x).arange(len(x)), z]

    def log_marginal(self, x: Array) -> Array:
        """log p(x) = log Σ_c π_c p(x | c), shape (N,)."""
        return np.logsumexp(self.component_log_joint(x), axis=1)

    def posterior(self, x: Array) -> Categorical:
        """p(z | x): the responsibilities, which make the bound tight (N9)."""
        return Categorical(logits=self.component_log_joint(x))


class CollapsedComponentError(ValueError):
    """Components have lost their points, or closed in on too few of them: the M-step has no answer for them.

    Attributes
    ----------
    components
        Which.
    result
        What `fit_em` had found before, for a new start: an `EMResult` whose model is the last sound one.
    """

    def __init__(self, message: str, components: tuple[int, ...]) -> None:
        super().__init__(message, components)
        self.components = components
        self.result: Any = None

    def __str__(self) -> str:
        return str(self.args[0])


def check_data(x: Array, n_features: int | None = None, *, missing: bool = False) -> None:
    """Refuse data that are not a finite real table of shape (N, D), saying what was given and what was expected.

    With `missing`, NaN stands for a number that nobody saw, and passes.
    """
    shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", None)
    if shape is None or dtype is None:
        raise TypeError(f"x is {type(x).__name__}; expected an array of shape (N, D): numpy.asarray(x)")
    if dtype.kind not in "fiub" or (dtype.kind == "f" and dtype.itemsize not in {4, 8}):
        raise ValueError(f"x has dtype {dtype}; expected real numbers, of single or double precision")
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"x has shape {shape}; expected (N, D), at least one point of at least one feature")
    if n_features is not None and shape[1] != n_features:
        raise ValueError(f"x has shape {shape}; expected (N, {n_features}) to match the model")
    first, n_bad = (0, 0), 0
    for start in range(0, len(x), 2**16):  # the data may be larger than memory
        part = x[start : start + 2**16]
        bad = backend.to_numpy(np.isinf(part) if missing else ~np.isfinite(part))
        if bad.any():
            n, d = (int(i[0]) for i in bad.nonzero())
            first = first if n_bad else (start + n, d)
            n_bad += int(bad.sum())
    if n_bad:
        n, d = first
        raise ValueError(
            f"x[{n}, {d}] is {stop_gradient(x)[n, d].item()}; expected finite numbers: drop or impute {n_bad} of them"
        )


def check_bits(x: Array, n_features: int | None = None) -> None:
    """Refuse data that are not a table of zeros and ones: a Bernoulli has no other values."""
    check_data(x, n_features)
    bad = backend.to_numpy((x != 0) & (x != 1))
    if bad.any():
        n, d = (int(i[0]) for i in bad.nonzero())
        raise ValueError(
            f"x[{n}, {d}] is {stop_gradient(x)[n, d].item()}; expected 0 or 1: "
            "minilvm.data.binarize makes bits of grey levels"
        )


def check_n_components(n_components: int, x: Array) -> None:
    """Refuse a number of components that the data cannot determine."""
    if not 1 <= n_components <= len(x):
        raise ValueError(f"n_components is {n_components}; expected 1 to {len(x)}, the number of points in x")
