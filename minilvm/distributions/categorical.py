"""The categorical law: one of C labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, Self

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng, namespace
from minilvm.distributions.base import Distribution
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    exactly_one,
    log_probability,
    not_negative,
    times_log,
)
from minilvm.tape import stop_gradient

log_weight = Constraint("a number below +inf", lambda x: x < np.inf)  # −inf is the log of an exact zero
somewhere_positive = Constraint("positive somewhere in each row", lambda x: (x > 0).any(axis=-1))
somewhere_finite = Constraint("finite somewhere in each row", lambda x: (x > -np.inf).any(axis=-1))


@dataclass(frozen=True, init=False, eq=False)
class Categorical(Distribution):
    """The categorical law of one label in 0 … C − 1, the mixture's indicator z in N3.

        log p(z) = a_z − log Σ_c exp(a_c)                    from logits a
        log p(z) = log π_z,   π normalised to sum to 1       from probabilities π

    A probability of exactly 0 (a logit of −inf) scores exactly −inf, and sends no gradient elsewhere. Not
    reparameterised: use the score function (N12). Labels are names and have no mean; the mode is argmax π, the entropy
    −Σ_c π_c log π_c.

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

    def __init__(self, probs: Any = None, logits: Any = None, *, validate_args: bool = True) -> None:
        parameterization = exactly_one("Categorical", probs=probs, logits=logits)
        (parameter,) = as_parameters(probs if logits is None else logits)
        self._set(parameter=parameter, parameterization=parameterization, validate_args=validate_args)
        if parameter.ndim == 0:
            raise ValueError(f"Categorical: {parameterization} has shape (); expected (..., C) for C categories")
        if parameterization == "logits":
            self._require("logits", parameter, log_weight, somewhere_finite)
        else:
            self._require("probs", parameter, not_negative, somewhere_positive)
            self._set(parameter=parameter / np.sum(parameter, axis=-1, keepdims=True))

    @property
    def logits(self) -> Array:
        """Log weights as they were given, or log π."""
        return self.parameter if self.parameterization == "logits" else log_probability(self.parameter)

    @property
    def probs(self) -> Array:
        """The probabilities π, of shape `batch_shape + (C,)`."""
        return self.parameter if self.parameterization == "probs" else np.softmax(self.parameter)

    @property
    def log_probs(self) -> Array:
        """log π, normalised whatever the parameters are."""
        return np.log_softmax(self.logits)

    @property
    def batch_shape(self) -> Shape:
        """The shape of the parameter, less its last axis."""
        shape: Shape = self.parameter.shape[:-1]
        return shape

    @property
    def n_categories(self) -> int:
        """C."""
        return int(self.parameter.shape[-1])

    @property
    def support(self) -> Constraint:
        """The integers 0 … C − 1."""
        C = self.n_categories
        return Constraint(f"an integer from 0 to {C - 1}", lambda x: (x >= 0) & (x < C) & (np.floor(x) == x))

    def expand(self, batch_shape: Shape) -> Self:
        """Return the same law repeated to fill `batch_shape`."""
        self._check_expansion(batch_shape)
        return self._replace(parameter=np.broadcast_to(self.parameter, (*batch_shape, self.n_categories)))

    def log_prob(self, value: Any) -> Array:
        """Return log π_z."""
        value = stop_gradient(self._value(value))
        inside = self.support.check(value)
        xp = namespace(value)
        label = xp.where(inside, value, 0).astype(int)
        row = [xp.asarray(i) for i in numpy.ogrid[tuple(map(slice, self.batch_shape))]]
        log_p = self.log_probs[(*row, label)]
        return np.where(inside, log_p, -numpy.inf)

    def sample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return labels, integers of shape `sample_shape + batch_shape`, by inverting the distribution function."""
        cdf = np.cumsum(stop_gradient(self.probs), axis=-1)
        u = default_rng(rng, like=cdf).random(self._shape(sample_shape), dtype=cdf.dtype) * cdf[..., -1]
        return (u[..., None] >= cdf[..., :-1]).sum(axis=-1)

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
