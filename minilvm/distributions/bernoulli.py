"""The Bernoulli law: one bit. With logits from a network it is the likelihood of every binary VAE."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng, namespace
from minilvm.distributions.base import sum_rightmost
from minilvm.distributions.outcomes import TwoOutcomes
from minilvm.distributions.parameters import (
    Constraint,
    Shape,
    as_parameters,
    broadcast,
    probability,
    times_log,
    to_shape,
)
from minilvm.numpy import special
from minilvm.rules import primitive
from minilvm.tape import stop_gradient

bit = Constraint("0 or 1", lambda x: (x == 0) | (x == 1))


@dataclass(frozen=True, init=False, eq=False)
class Bernoulli(TwoOutcomes):
    """The law of one bit, x = 1 with probability p and 0 otherwise.

        log p(x) = x log p + (1 − x) log(1 − p)        from a probability p
                 = x a − log(1 + exp(a))               from a logit a = log(p / (1 − p))

    A probability of exactly 0 or 1 scores exactly 0 and −inf, and sends no gradient elsewhere. Not reparameterised: use
    the score function (N12). Mean p, variance p (1 − p), mode 1 where p > ½, entropy −p log p − (1 − p) log(1 − p).

    Parameters
    ----------
    probs
        Probability p of a 1, between 0 and 1; its shape is `batch_shape`, and `event_shape` is ().
    logits
        Log-odds a, in place of `probs` and better for learning: any finite number, and no digit is lost near p = 1.
    validate_args
        Whether to check parameters and values. Without it `log_prob` is the formula above for any x, such as a grey
        level between 0 and 1; that is a usual objective, but no density.

    Raises
    ------
    ValueError
        Not exactly one of `probs` and `logits` is given, or one is NaN, infinite or no probability.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), §2.1. Kingma and Welling, arXiv:1312.6114, eq. 11.

    Examples
    --------
    >>> Bernoulli(probs=[0.0, 0.25, 1.0]).log_prob(1).round(4)
    array([   -inf, -1.3863,  0.    ])
    >>> Bernoulli(logits=-100.0).log_prob([0, 1])
    array([-3.72007598e-44, -1.00000000e+02])
    """

    parameter: Array
    parameterization: str = tree.static()
    validate_args: bool = tree.static(repr=False)

    relaxation = "RelaxedBernoulli"

    def __init__(self, probs: Any = None, logits: Any = None, *, validate_args: bool = True) -> None:
        self._set_outcomes(probs, logits, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        """0 and 1."""
        return bit

    def log_prob(self, value: Any) -> Array:
        """Return x log p + (1 − x) log(1 − p)."""
        x = self._value(value)
        if self.parameterization == "logits":
            return log_likelihood(x, self.parameter)
        return times_log(x, self._log_p) + times_log(1.0 - x, self._log_q)

    def _summed_log_prob(self, value: Any, n: int) -> Array:
        """Σ_d x_d a_d − log(1 + exp(a_d)), of whose terms no array is ever made: the likelihood of a binary image."""
        x = self._value(value)
        if n == 0 or self.parameterization != "logits" or x.shape[-1:] != self.parameter.shape[-1:]:
            return sum_rightmost(self.log_prob(x), n)
        return sum_rightmost(row_log_likelihood(x, self.parameter), n - 1)

    def cdf(self, value: Any) -> Array:
        """Return P(X ≤ value): 1 − p from 0 on, 1 from 1 on."""
        x, _ = as_parameters(value, self.parameter)
        step = np.clip(np.floor(x), -1.0, 1.0)
        return np.where(step < 0, 0.0, np.where(step > 0, 1.0, self._q + 0.0 * step))  # NaN remains NaN

    def icdf(self, value: Any) -> Array:
        """Return the quantile: 1 where value > 1 − p, else 0.

        Raises
        ------
        ValueError
            A probability is not between 0 and 1.
        """
        u, _ = as_parameters(value, self.parameter)
        self._require("value", u, probability)
        return np.greater(u, self._q).astype(self.dtype)

    def sample(self, sample_shape: int | Shape = (), *, rng: Any) -> Array:
        """Return draws, zeros and ones in the parameters' precision: u < p, for u uniform on [0, 1)."""
        p = stop_gradient(self.probs)
        u = default_rng(rng, like=p).random(self._shape(sample_shape), dtype=p.dtype)
        return (u < p).astype(p.dtype)

    def enumerate_support(self) -> Array:
        """Return 0 and 1, of shape `(2,) + batch_shape`."""
        bits = namespace(self.parameter).arange(2, dtype=self.dtype).reshape(2, *(1 for _ in self.batch_shape))
        return np.broadcast_to(bits, (2, *self.batch_shape))

    @property
    def mean(self) -> Array:
        """p."""
        return self.probs

    @property
    def variance(self) -> Array:
        """p (1 − p)."""
        return self.probs * self._q

    @property
    def mode(self) -> Array:
        """1 where p > ½, else 0."""
        return np.greater(self.probs, 0.5).astype(self.dtype)

    def entropy(self) -> Array:
        """Return −p log p − (1 − p) log(1 − p)."""
        log_p = self.log_prob(self.enumerate_support())
        return -np.sum(times_log(np.exp(log_p), log_p), axis=0)


# With σ(a) = 1 / (1 + exp(−a)) = ½ + ½ tanh(a/2):   ∂ log p/∂a = x − σ(a),   ∂ log p/∂x = a.
@primitive(
    x=lambda g, x, logits: to_shape(g * logits, x.shape),
    logits=lambda g, x, logits: to_shape(g * (x - 0.5 - 0.5 * np.tanh(0.5 * logits)), logits.shape),
)
def log_likelihood(x: Array, logits: Array) -> Array:
    """Return x a − log(1 + exp(a)), element by element; the logarithm is max(a, 0) + log(1 + exp(−|a|))."""
    top, tail = _halves(logits)
    return top + x * logits - tail


def _halves(logits: Array) -> tuple[Array, Array]:
    """−max(a, 0), as ½ (−|a| − a) at a sixth of the time and in place, and log(1 + exp(−|a|))."""
    top = -numpy.abs(logits)
    tail = numpy.log1p(numpy.exp(top))
    top -= logits
    top *= 0.5
    return top, tail


@primitive(
    g=lambda h, x, logits: (h * (x - special.expit(logits))).sum(axis=-1),
    x=lambda h, g, x_shape: to_shape(h * g[..., None], x_shape),
    logits=lambda h, g, logits: to_shape(
        -h * g[..., None] * special.expit(logits) * special.expit(-logits), logits.shape
    ),
)
def _residuals(g: Array, x: Array, logits: Array) -> Array:
    """g (x − σ(a)), of the shape that x and the logits broadcast to; g has one number for each row."""
    if not _are_cut(x, logits) or type(g) is not numpy.ndarray:
        return g[..., None] * (x - 0.5 - 0.5 * numpy.tanh(0.5 * logits))
    signs, half = _signs(x, logits), 0.5 * g
    live = numpy.nonzero(g)
    if 4 * len(live[0]) > 3 * g.size:
        return _in_pieces(half, signs, logits)
    y = numpy.zeros_like(logits)  # where most rows have no importance weight, and g is 0
    y[live] = _in_pieces(half[live], signs[live], logits[live])
    return y


def _signs(x: Array, logits: Array) -> Array:
    """s = 2x − 1, of the logits' shape, though it is made once for all draws: x − σ(a) = ½ (s − tanh(a/2))."""
    return numpy.broadcast_to(x + x - 1.0, logits.shape)


def _in_pieces(half: Array, signs: Array, logits: Array) -> Array:
    y = numpy.empty_like(logits)
    for rows, _ in _pieces(logits, 0):
        part = y[rows]
        numpy.tanh(numpy.multiply(logits[rows], -0.5, out=part), out=part)
        part += signs[rows]
        part *= half[rows][..., None]
    return y


def _slope(g: Array, x: Array, logits: Array) -> Array:
    """Σ g (x − σ(a)) over all the rows that have a logit in common: many draws of one law, as a product."""
    if logits.ndim >= x.ndim or x.shape[-logits.ndim :] != logits.shape:
        return to_shape(_residuals(g, x, logits), logits.shape)
    g = g.reshape((-1, *logits.shape[:-1]))
    drawn = np.einsum("k...,k...d->...d", g, x.reshape((-1, *logits.shape)), optimize=False)
    return drawn - g.sum(axis=0)[..., None] * special.expit(logits)


# The same, summed over the last axis. An array of all the terms would not fit into a cache, and several are needed on
# the way: they are made for as many rows at a time as do fit, in place.
@primitive(
    x=lambda g, x, logits: to_shape(g[..., None] * logits, x.shape),
    logits=_slope,
)
def row_log_likelihood(x: Array, logits: Array) -> Array:
    """Return Σ_d x_d a_d − log(1 + exp(a_d)), over the last axis; along the others x and the logits broadcast."""
    if not _are_cut(x, logits):
        top, tail = _halves(logits)
        return (top + x * logits).sum(axis=-1) - tail.sum(axis=-1)
    signs, y = _signs(x, logits), numpy.empty_like(logits, shape=logits.shape[:-1])
    ones = numpy.ones_like(logits, shape=logits.shape[-1:])  # a product with ones is the fastest sum
    for rows, (tail, twice) in _pieces(logits, 2):
        a = logits[rows]
        numpy.abs(a, out=tail)
        numpy.multiply(signs[rows], a, out=twice)
        numpy.subtract(twice, tail, out=twice)  # 2 (x a − max(a, 0)): what cancels does so exactly
        numpy.log1p(numpy.exp(numpy.negative(tail, out=tail), out=tail), out=tail)
        y[rows] = twice @ (0.5 * ones) - tail @ ones
    return y


_PIECE = 2**15  # numbers: with their logits and terms they fit into a second-level cache


def _are_cut(x: Array, logits: Array) -> bool:
    """Whether to go through the logits a piece at a time: a GPU would rather have all at once, and few are."""
    if type(logits) is not numpy.ndarray or type(x) is not numpy.ndarray or x.dtype != logits.dtype:
        return False
    return logits.size > _PIECE and logits.ndim > 1 and bool(broadcast(x.shape, logits.shape) == logits.shape)


def _pieces(a: Array, n_buffers: int) -> Iterator[tuple[tuple[int | slice, ...], list[Array]]]:
    """Yield indices of parts of `a`, whole rows of it, and as many buffers of the shape of each part."""
    axis = next((i for i in range(a.ndim - 2) if math.prod(a.shape[i + 1 :]) <= _PIECE), a.ndim - 2)
    step = max(1, _PIECE // max(1, math.prod(a.shape[axis + 1 :])))
    buffers = [numpy.empty_like(a, shape=(min(step, a.shape[axis]), *a.shape[axis + 1 :])) for _ in range(n_buffers)]
    for outer in numpy.ndindex(a.shape[:axis]):
        for start in range(0, a.shape[axis], step):
            length = a.shape[axis] - start
            parts = buffers if length >= step else [buffer[:length] for buffer in buffers]
            yield (*outer, slice(start, start + step)), parts
