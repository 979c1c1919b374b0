"""The categorical law: one of C labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng, namespace
from minilvm.distributions.outcomes import ManyOutcomes
from minilvm.distributions.parameters import Constraint, Shape, as_parameters, probability, times_log
from minilvm.tape import stop_gradient


@dataclass(frozen=True, init=False, eq=False)
class Categorical(ManyOutcomes):
    """The categorical law of one label in 0 … C − 1, the mixture's indicator z in N3.

        log p(z) = a_z − log Σ_c exp(a_c)                    from logits a
        log p(z) = log π_z,   π normalised to sum to 1       from probabilities π

    A probability of exactly 0 (a logit of −inf) scores exactly −inf, and sends no gradient elsewhere. Not
    reparameterised: use the score function (N12). Labels are names and have no mean, though `cdf` and `icdf` take them
    in their order; the mode is argmax π, the entropy −Σ_c π_c log π_c.

    Parameters
    ----------
    probs
        Weights π_c ≥ 0, of shape `batch_shape + (C,)`, divided here by their sum.
    logits
        Log weights, in place of `probs` and better for learning; −inf is allowed, though not for all of them.
    validate_args
        Whether to check parameters and values. Without it, labels that do not exist score −inf.

    Raises
    ------
    ValueError
        Not exactly one of `probs` and `logits` is given; a weight is negative, NaN or infinite, or all of a row are 0.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), §2.2.

    Examples
    --------
    >>> law = Categorical(probs=[1.0, 3.0, 0.0])
    >>> law.probs, law.log_prob([1, 2]).round(4)
    (array([0.25, 0.75, 0.  ]), array([-0.2877,    -inf]))
    """

    parameter: Array
    parameterization: str = tree.static()
    validate_args: bool = tree.static(repr=False)

    relaxation = "RelaxedOneHotCategorical"

    def __init__(self, probs: Any = None, logits: Any = None, *, validate_args: bool = True) -> None:
        self._set_outcomes(probs, logits, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        """The integers 0 … C − 1."""
        C = self.n_categories
        return Constraint(f"an integer from 0 to {C - 1}", lambda x: (x >= 0) & (x < C) & (np.floor(x) == x))

    def log_prob(self, value: Any) -> Array:
        """Return log π_z."""
        z = stop_gradient(self._value(value))
        return self._supported(lambda z: log_density(self.logits, z.astype(int)), z, 0.0)

    def cdf(self, value: Any) -> Array:
        """Return P(Z ≤ value), the sum of π_c over the labels c ≤ value."""
        z, _ = as_parameters(value, self.parameter)
        below = namespace(self.parameter).arange(self.n_categories) <= np.expand_dims(stop_gradient(z), -1)
        return np.where(np.isnan(z), numpy.nan, np.sum(np.where(below, self.probs, 0.0), axis=-1))

    def icdf(self, value: Any) -> Array:
        """Return the quantile: the first label c with π_0 + … + π_c ≥ value, an integer.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        u, _ = as_parameters(value, self.parameter)
        self._require("value", u, probability)
        cdf = np.cumsum(stop_gradient(self.probs), axis=-1)
        return (stop_gradient(u)[..., None] > cdf[..., :-1] / cdf[..., -1:]).sum(axis=-1)

    def sample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return labels, integers of shape `sample_shape + batch_shape`."""
        return draw_labels(stop_gradient(self.probs), self._shape(sample_shape), rng=rng)

    def enumerate_support(self) -> Array:
        """Return the labels 0 … C − 1, of shape `(C,) + batch_shape`."""
        labels = namespace(self.parameter).arange(self.n_categories)
        return np.broadcast_to(
            labels.reshape(-1, *(1 for _ in self.batch_shape)), (self.n_categories, *self.batch_shape)
        )

    @property
    def mean(self) -> NoReturn:
        """Labels have no mean."""
        raise TypeError("Categorical: labels have no mean; the mean of their one-hot vectors is probs")

    @property
    def variance(self) -> NoReturn:
        """Labels have no variance."""
        raise TypeError("Categorical: labels have no variance; that of their one-hot vectors is probs * (1 - probs)")

    @property
    def mode(self) -> Array:
        """The most probable label, argmax π."""
        return np.argmax(self.parameter, axis=-1)

    def entropy(self) -> Array:
        """Return −Σ_c π_c log π_c."""
        return -np.sum(times_log(self.probs, self.log_probs), axis=-1)


def draw_labels(probs: Array, shape: Shape, *, rng: Any) -> Array:
    """Return labels of this shape by inverting the distribution function, whose end may be a rounding error short of 1.

    The comparison is such that what has probability 0 is never drawn, neither the first label nor the last.
    """
    cdf = numpy.cumsum(probs, axis=-1)
    u = default_rng(rng, like=cdf).random(shape, dtype=cdf.dtype) * cdf[..., -1]
    if cdf.ndim == 1:  # of many draws of one law each is found by bisection
        return numpy.searchsorted(cdf[:-1], u, side="right")
    return (u[..., None] >= cdf[..., :-1]).sum(axis=-1)


def log_density(logits: Array, label: Array) -> Array:
    """Return a_z − log Σ_c exp(a_c), for labels whose shape broadcasts with that of the logits less its last axis."""
    *batch, C = logits.shape
    start = namespace(logits).arange(0, math.prod(logits.shape), C).reshape(batch)  # of each row among all the logits
    return np.ravel(logits)[start + label] - np.logsumexp(logits, axis=-1)
