"""The binomial law: how many of n trials succeed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng, namespace, scipy_namespace
from minilvm.distributions.base import MOST_ELEMENTS
from minilvm.distributions.counts import count, deviance, stirling_remainder
from minilvm.distributions.outcomes import TwoOutcomes
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    broadcast,
    log_complement,
    log_probability,
    times_log,
    to_shape,
)
from minilvm.rules import primitive
from minilvm.tape import stop_gradient


@dataclass(frozen=True, init=False, eq=False)
class Binomial(TwoOutcomes):
    """The binomial law of the number x of successes in n independent trials, each with probability p.

        log p(x) = log C(n, x) + x log p + (n − x) log(1 − p),     x = 0, 1, …, n

    Computed as s(n) − s(x) − s(n − x) − d(x, n p) − d(n − x, n (1 − p)) (`counts`), so that no digit is lost to
    factorials: the relative error is of the order of √n units in the last place, 1e-12 at n = 1e9. Impossible counts
    score exactly −inf, as x > 0 does where p = 0, and send no gradient elsewhere. Not reparameterised: use the score
    function (N12). Mean n p, variance n p (1 − p), mode ⌊(n + 1) p⌋, at most n; the entropy is a sum of n + 1 terms.

    Parameters
    ----------
    total_count
        Number of trials n, 0 or more. A constant: its gradient is 0.
    probs
        Probability p of a success, between 0 and 1. The two shapes broadcast to `batch_shape`; `event_shape` is ().
    logits
        Log-odds log(p / (1 − p)), in place of `probs` and better for learning: any finite number.
    validate_args
        Whether to check parameters and values.

    Raises
    ------
    ValueError
        Not exactly one of `probs` and `logits` is given, or one is NaN, infinite or no probability; `total_count` is no
        whole number; or the shapes do not broadcast.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), eq. 2.9. Loader, *Fast and Accurate Computation of
    Binomial Probabilities* (2000).

    Examples
    --------
    >>> law = Binomial(4, probs=[0.5, 1.0])
    >>> law.log_prob([[2], [4]]).round(4)
    array([[-0.9808,    -inf],
           [-2.7726,  0.    ]])
    """

    total_count: Array
    parameter: Array
    parameterization: str = tree.static()
    validate_args: bool = tree.static(repr=False)

    def __init__(
        self, total_count: Any = 1, probs: Any = None, logits: Any = None, *, validate_args: bool = True
    ) -> None:
        self._set_outcomes(probs, logits, validate_args=validate_args, total_count=total_count)
        self._require("total_count", self.total_count, count)

    @property
    def _n(self) -> Array:
        return stop_gradient(self.total_count)

    @property
    def batch_shape(self) -> Shape:
        """The shape that n and the parameter broadcast to."""
        return broadcast(self.total_count.shape, self.parameter.shape)

    @property
    def support(self) -> Constraint:
        """0, 1, …, n."""
        n = self._n
        return Constraint("a whole number from 0 to total_count", lambda x: count.check(x) & (x <= n))

    def log_prob(self, value: Any) -> Array:
        """Return log C(n, x) + x log p + (n − x) log(1 − p), and −inf for what is no count up to n."""
        x = stop_gradient(self._value(value))
        return self._supported(lambda x: log_density(x, self._n, self._log_p, self._log_q), x, 0.0)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value) = I_{1−p}(n − ⌊value⌋, ⌊value⌋ + 1), the regularised incomplete beta function."""
        x, n = as_parameters(value, self._n)
        x = stop_gradient(np.floor(x))
        below, above = x < 0, x >= n
        outside = below | above
        inside = cumulative(np.where(outside, 0.0, x), np.where(outside, 1.0, n), self._q)
        return np.where(below, 0.0, np.where(above, 1.0, inside))

    def sample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return counts in the parameters' precision, of shape `sample_shape + batch_shape`."""
        n, p = self._n.astype(int), stop_gradient(self.probs)
        return default_rng(rng, like=p).binomial(n, p, self._shape(sample_shape)).astype(self.dtype)

    def enumerate_support(self) -> Array:
        """Return 0, 1, …, n, of shape `(n + 1,) + batch_shape`.

        Raises
        ------
        ValueError
            The laws of the batch have different n.
        """
        n, x = self._n, self.counts()
        if (n != len(x) - 1).any():
            raise ValueError(
                f"Binomial: total_count is {int(n.min())} to {int(n.max())}; expected one number to enumerate to"
            )
        return x

    @property
    def mean(self) -> Array:
        """n p, of shape `batch_shape`."""
        return self._n * self.probs

    @property
    def variance(self) -> Array:
        """n p (1 − p)."""
        return self._n * self.probs * self._q

    @property
    def mode(self) -> Array:
        """⌊(n + 1) p⌋, at most n; where (n + 1) p is a whole number, one less is as probable."""
        return np.minimum(np.floor((self._n + 1.0) * stop_gradient(self.probs)), self._n)

    def entropy(self) -> Array:
        """Return −Σ_x p(x) log p(x), a sum of n + 1 terms that are held all at once."""
        log_p = self._supported(lambda x: log_density(x, self._n, self._log_p, self._log_q), self.counts(), 0.0)
        return -np.sum(times_log(np.exp(log_p), log_p), axis=0)

    def counts(self) -> Array:
        """Return 0, 1, … up to the largest n for every law, though what is above its own n has no probability."""
        n = self._n
        S = 1 + int(n.max()) if n.size else 1
        if S * math.prod(self.batch_shape) > MOST_ELEMENTS:
            raise ValueError(f"Binomial: {S} counts for each law are too many to enumerate; use sample")
        counts = namespace(n).arange(S, dtype=n.dtype).reshape(S, *(1 for _ in self.batch_shape))
        return np.broadcast_to(counts, (S, *self.batch_shape))


# As a function of log p and log q, as if they were two:   ∂ log p(x)/∂ log p = x,   ∂ log p(x)/∂ log q = n − x.
@primitive(
    log_p=lambda g, x, log_p_shape: to_shape(g * x, log_p_shape),
    log_q=lambda g, x, n, log_q_shape: to_shape(g * (n - x), log_q_shape),
)
def log_density(x: Array, n: Array, log_p: Array, log_q: Array) -> Array:
    """Return log C(n, x) + x log p + (n − x) log q for p + q = 1, element by element."""
    log_n = numpy.log(numpy.maximum(n, 1.0))
    stirling = stirling_remainder(n) - stirling_remainder(x) - stirling_remainder(n - x)
    of_successes = deviance(x, n * numpy.exp(log_p), log_n + log_p)
    return stirling - of_successes - deviance(n - x, n * numpy.exp(log_q), log_n + log_q)


@primitive(q=lambda g, x, n, q: to_shape(g * n * np.exp(_one_trial_fewer(x, n, q)), q.shape))
def cumulative(x: Array, n: Array, q: Array) -> Array:
    """Return P(X ≤ x) for a count x < n, whose derivative in q = 1 − p is n P(x of n − 1 trials succeed)."""
    return scipy_namespace("special", x, q).betainc(n - x, x + 1.0, q)


def _one_trial_fewer(x: Array, n: Array, q: Array) -> Array:
    log_p_of_x: Array = log_density(x, n - 1.0, log_complement(q), log_probability(q))
    return log_p_of_x
