"""Expectations without sampling: average an estimator over every tuple of draws there is, each with its probability.

An estimator of K draws z_1 … z_K ~ q is a function of a tuple. Where z takes S values there are S^K tuples, of
probability Π_k q(z_k), and the estimator's expectation is a finite sum. Its bias is then a number, exact to rounding:
no sample size, no tolerance for luck, no seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import jacobian
from minilvm.backend import Array, namespace
from minilvm.distributions import Constraint, Distribution
from minilvm.tape import stop_gradient
from minilvm.testing.quadrature import Quadrature

MAX_TUPLES = 2**20


def all_tuples(n_states: int, n_samples: int) -> Array:
    """Return every K-tuple of states, one a column: integers of shape (K, S^K).

    >>> all_tuples(2, 2)
    array([[0, 0, 1, 1],
           [0, 1, 0, 1]])
    """
    if n_states**n_samples > MAX_TUPLES:
        raise ValueError(
            f"{n_states} states and {n_samples} samples make {n_states**n_samples} tuples, more than {MAX_TUPLES}"
        )
    return numpy.array(list(itertools.product(range(n_states), repeat=n_samples))).T


def expected_bound(bound: Callable[[Array], Array], log_joint: Array, log_q: Array, n_samples: int) -> Array:
    """Return E[bound(log_w)] over all K-tuples of draws from q, for one datum.

    Parameters
    ----------
    bound
        A function of `log_w` (K, N) that returns (N,), such as `elbo` or `iwae`.
    log_joint, log_q
        log p(x, z) and log q(z) for each of the S states, shape (S,); q sums to one.
    n_samples
        K. There are S^K tuples.

    Raises
    ------
    ValueError
        q does not sum to one, there are too many tuples, or `bound` does not return (N,).
    """
    total = float(np.exp(stop_gradient(log_q)).sum())
    if not abs(total - 1.0) <= 1e-5:
        raise ValueError(f"q sums to {total:.6g}; expected 1: subtract logsumexp(log_q)")
    drawn = stop_gradient(log_q) > -np.inf  # a state that q never draws is in no tuple
    log_q, log_w = log_q[drawn], log_joint[drawn] - log_q[drawn]
    tuples = namespace(log_q).asarray(all_tuples(len(log_q), n_samples))
    probability = np.exp(log_q[tuples].sum(axis=0))
    value = bound(log_w[tuples])
    if value.shape != probability.shape:
        raise ValueError(f"bound gave shape {value.shape} for log_w {tuples.shape}; expected {probability.shape}")
    return (probability * value).sum()


@dataclass(frozen=True, init=False, eq=False)
class AllTuples:
    """A law whose K draws are all K-tuples of draws from `q` at once, as a batch: S^K of them.

    It stands in for `q` in an estimator that draws for itself, such as `expectation`: the estimator returns one value a
    tuple, and the sum of these, each times the tuple's `probability`, is its expectation, and differentiates to the
    expectation of its gradient.
    """

    q: Distribution
    draws: Array = tree.static(repr=False)
    probability: Array = tree.static(repr=False)

    reparameterized = False

    def __init__(self, q: Distribution, n_samples: int) -> None:
        if q.batch_shape != ():
            raise ValueError(f"q has batch shape {q.batch_shape}; expected (), a single law")
        support = q.enumerate_support()
        tuples = namespace(support).asarray(all_tuples(len(support), n_samples))
        probability = np.exp(stop_gradient(q.log_prob(support))[tuples].sum(axis=0))
        vars(self).update(q=q, draws=support[tuples], probability=probability)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """One law for each tuple."""
        shape: tuple[int, ...] = self.probability.shape
        return shape

    @property
    def event_shape(self) -> tuple[int, ...]:
        """That of q."""
        return self.q.event_shape

    @property
    def support(self) -> Constraint:
        """That of q."""
        return self.q.support

    def sample(self, sample_shape: tuple[int, ...], *, rng: Any) -> Array:
        """Return every tuple, shape (K, S^K) + event shape; `rng` has no say."""
        del rng
        if sample_shape != self.draws.shape[:1]:
            raise ValueError(f"sample shape {sample_shape} was asked of all tuples of {self.draws.shape[0]} draws")
        return self.draws

    def log_prob(self, z: Array) -> Array:
        """log q(z), of each draw."""
        return self.q.log_prob(z)


Draws = int | Quadrature


def expected_estimate(estimator: Callable[[Any], Array], q: Distribution, draws: Draws) -> Array:
    """Return E[estimator], with the gradient E[∇ estimator], over all K-tuples of draws from q or all nodes of a rule.

    Parameters
    ----------
    estimator
        `estimator(law)` draws from the law that it is given, and returns one value a batch element. With a
        `Quadrature` it must be the generator that the estimator draws with.
    q
        A single law. For all tuples it must list its support.
    draws
        K, for all tuples of K draws; or a `Quadrature`, for estimators that draw more than z.
    """
    law, probability = _all_at_once(q, draws)
    return (probability * estimator(law)).sum()


def _all_at_once(q: Distribution, draws: Draws) -> tuple[Any, Array]:
    """A law whose draws are all there are, as a batch, and the probability of each."""
    if isinstance(draws, Quadrature):
        draws.rewind()
        return q.expand(draws.probability.shape), draws.probability
    tuples = AllTuples(q, draws)
    return tuples, tuples.probability


def gradient_moments(
    estimate: Callable[[Any, Any], Array], law: Callable[[Any], Distribution], parameters: Any, draws: Draws
) -> tuple[Any, Any]:
    """Return the mean and the variance of the gradient of an estimate, exactly: trees like `parameters`.

    Parameters
    ----------
    estimate
        `estimate(q, parameters)` draws from q and returns one value a batch element.
    law
        From parameters to q, a single law.
    parameters
        A tree of arrays: where to differentiate.
    draws
        As for `expected_estimate`.
    """
    probability = _all_at_once(law(parameters), draws)[1]

    def values(parameters: Any) -> Array:
        return estimate(_all_at_once(law(parameters), draws)[0], parameters)

    gradients = jacobian(values)(parameters)
    mean = tree.map(lambda g: np.tensordot(probability, g, 1), gradients)
    return mean, tree.map(lambda g, m: np.tensordot(probability, np.square(g - m), 1), gradients, mean)
