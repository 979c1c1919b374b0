"""The relaxed Bernoulli law: a bit that is not quite 0 or 1, so that it can be differentiated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array
from minilvm.distributions.logistic import draw_logistic, log_logistic
from minilvm.distributions.outcomes import TwoOutcomes
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    broadcast,
    positive_finite,
    probability,
    within,
)
from minilvm.numpy import special


@dataclass(frozen=True, init=False, eq=False)
class RelaxedBernoulli(TwoOutcomes):
    """The binary Concrete law: a logistic variable about the log-odds a, divided by a temperature t, then squashed.

        x = σ((a + L) / t),   L = logit(u),   u ~ Uniform(0, 1)
        log p(x) = log t + ℓ(t logit(x) − a) − ℓ(logit(x)),   ℓ(z) = log σ(z) + log σ(−z)

    for 0 < x < 1, where ℓ is the log density of the logistic law. As t → 0 a draw becomes one of Bernoulli(σ(a)); at
    every t, x > ½ with just that probability. Reparameterised: inverse distribution function (N13). Draws lie strictly
    between 0 and 1 in either precision: what is nearer to an end than can be said becomes the last number before it.
    The moments and the entropy have no closed form.

    Not a way to an ELBO by itself: where z is relaxed, log p(z) − log q(z) has to be that of *relaxed* laws, p and q
    both. With the divergence of two Bernoullis in its place, the objective is no lower bound on log p(x), of the
    relaxed model or of the discrete one (arXiv:1611.00712, appendix C).

    Parameters
    ----------
    temperature
        t > 0.
    probs
        Probability σ(a), strictly between 0 and 1. The two shapes broadcast to `batch_shape`; `event_shape` is ().
    logits
        Log-odds a, in place of `probs` and better for learning: any finite number.
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        Not exactly one of `probs` and `logits` is given, or one is NaN, infinite or no probability, or 0 or 1, of which
        no relaxation has a density; `temperature` is not positive; or the shapes do not broadcast.

    References
    ----------
    Maddison, Mnih and Teh, *The Concrete Distribution*, arXiv:1611.00712, appendix B. Jang, Gu and Poole,
    arXiv:1611.01144.

    Examples
    --------
    >>> law = RelaxedBernoulli(0.5, logits=[0.0, 2.0])
    >>> law.log_prob(0.9).round(4), law.cdf(0.5).round(4)
    (array([0.0408, 0.1319]), array([0.5   , 0.1192]))
    """

    temperature: Array
    parameter: Array
    parameterization: str = tree.static()
    validate_args: bool = tree.static(repr=False)

    reparameterized = True

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None, *, validate_args: bool = True) -> None:
        self._set_outcomes(probs, logits, validate_args=validate_args, temperature=temperature)
        self._require("temperature", self.temperature, positive_finite)
        if logits is None:
            self._require("probs", self.parameter, within)

    @property
    def batch_shape(self) -> Shape:
        """The shape that t and the parameter broadcast to."""
        return broadcast(self.temperature.shape, self.parameter.shape)

    @property
    def support(self) -> Constraint:
        """Strictly between 0 and 1."""
        return within

    def log_prob(self, value: Any) -> Array:
        """Return log t + ℓ(t logit(x) − a) − ℓ(logit(x)), and −inf for what is not between 0 and 1."""
        return self._supported(self._log_density, self._value(value), 0.5)

    def _log_density(self, x: Array) -> Array:
        z = special.logit(x)
        return np.log(self.temperature) + log_logistic(self.temperature * z - self.logits) - log_logistic(z)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value) = σ(t logit(value) − a); 0 up to 0, and 1 from 1 on."""
        x, _ = as_parameters(value, self.parameter)
        low, high = x <= 0, x >= 1
        z = special.logit(np.where(low | high, 0.5, x))
        inside = special.expit(self.temperature * z - self.logits)
        return np.where(low, 0.0, np.where(high, 1.0, inside))

    def icdf(self, value: Any) -> Array:
        """Return the quantile σ((a + logit(value)) / t): 0 at 0, 1 at 1.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        u, _ = as_parameters(value, self.parameter)
        self._require("value", u, probability)
        return special.expit((self.logits + special.logit(u)) / self.temperature)

    def rsample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws σ((a + L) / t) with L logistic noise (N13), strictly between 0 and 1."""
        a, limits = self.logits, numpy.finfo(self.dtype)
        noise = draw_logistic(self._shape(sample_shape), like=a, rng=rng)
        return np.clip(special.expit((a + noise) / self.temperature), limits.tiny, 1.0 - limits.epsneg)
