"""The relaxed one-hot law, known as Concrete or Gumbel-softmax: a one-hot vector that can be differentiated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng
from minilvm.distributions.outcomes import ManyOutcomes
from minilvm.distributions.parameters import Constraint, Shape, broadcast, broadcast_parameters, finite, positive_finite
from minilvm.tape import stop_gradient

inside_simplex = Constraint(
    "positive numbers that sum to 1", lambda x: (x > 0).all(axis=-1) & (numpy.abs(x.sum(axis=-1) - 1.0) < 1e-5)
)


@dataclass(frozen=True, init=False, eq=False)
class RelaxedOneHotCategorical(ManyOutcomes):
    """The Concrete law: C logits a with Gumbel noise, divided by a temperature t, then softmax.

        x = softmax((a + G) / t),   G_c = −log E_c,   E_c ~ Exponential(1)
        log p(x) = log Γ(C) + (C − 1) log t + Σ_c (log softmax(a − t log x)_c − log x_c)

    for x_c > 0 with Σ_c x_c = 1, a density over the first C − 1 elements of x. As t → 0 a draw becomes a draw of
    OneHotCategorical(logits=a); at every t, its largest element is the c-th with just the probability softmax(a)_c.
    Reparameterised (N13). Draws have no element 0 in either precision: the least that an element can be is the smallest
    normal number. Moments and entropy have no closed form.

    Not a way to an ELBO by itself: where z is relaxed, log p(z) − log q(z) has to be that of *relaxed* laws, p and q
    both. With the divergence of two categorical laws in its place, as is usual under the name of Gumbel-softmax, the
    objective is no lower bound on log p(x), of the relaxed model or of the discrete one (arXiv:1611.00712, appendix C).

    Parameters
    ----------
    temperature
        t > 0, of a shape that broadcasts with that of `probs` less its last axis, to `batch_shape`.
    probs
        Weights, all positive, of shape (…, C), divided here by their sum; `event_shape` is (C,).
    logits
        Log weights a, in place of `probs` and better for learning: any finite numbers.
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        Not exactly one of `probs` and `logits` is given; a weight is NaN, infinite, negative or 0, of which no
        relaxation has a density; `temperature` is not positive; or the shapes do not broadcast.

    References
    ----------
    Maddison, Mnih and Teh, *The Concrete Distribution*, arXiv:1611.00712, eq. 10. Jang, Gu and Poole, arXiv:1611.01144.

    Examples
    --------
    >>> law = RelaxedOneHotCategorical(0.5, logits=[0.0, 1.0, 2.0])
    >>> law.log_prob([[0.1, 0.2, 0.7], [0.1, 0.7, 0.2]]).round(4)
    array([ 0.0268, -0.6879])
    >>> law.sample(2, rng=0).sum(axis=-1).round(4)
    array([1., 1.])
    """

    temperature: Array
    parameter: Array
    parameterization: str = tree.static()
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None, *, validate_args: bool = True) -> None:
        self._set_outcomes(probs, logits, validate_args=validate_args, temperature=temperature)
        broadcast_parameters(
            "RelaxedOneHotCategorical", temperature=self.temperature.shape, batch=self.parameter.shape[:-1]
        )
        self._require("temperature", self.temperature, positive_finite)
        self._require(self.parameterization, self.parameter, finite if probs is None else positive_finite)

    @property
    def batch_shape(self) -> Shape:
        """The shape that t and the parameter, less its last axis, broadcast to."""
        return broadcast(self.temperature.shape, self.parameter.shape[:-1])

    @property
    def event_shape(self) -> Shape:
        """(C,)."""
        return (self.n_categories,)

    @property
    def support(self) -> Constraint:
        """The inside of the simplex."""
        return inside_simplex

    def log_prob(self, value: Any) -> Array:
        """Return log Γ(C) + (C − 1) log t + Σ_c (log softmax(a − t log x)_c − log x_c), −inf outside the simplex."""
        x = self._value(value)
        inside = self.support.check(stop_gradient(x))
        C, t = self.n_categories, self.temperature
        log_x = np.log(np.where(inside[..., None], x, 1.0 / C))
        terms = np.log_softmax(self.logits - t[..., None] * log_x) - log_x
        return np.where(inside, math.lgamma(C) + (C - 1) * np.log(t) + np.sum(terms, axis=-1), -numpy.inf)

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws softmax((a + G) / t) with G Gumbel noise (N13), every element positive."""
        tiny = numpy.finfo(self.dtype).tiny
        noise = default_rng(rng, like=self.parameter).standard_exponential(self._shape(sample_shape), dtype=self.dtype)
        gumbel = -numpy.log(numpy.maximum(noise, tiny))
        return np.maximum(np.softmax((self.logits + gumbel) / self.temperature[..., None]), tiny)
