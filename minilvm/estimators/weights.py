"""Importance weights, the one quantity that every estimator here is a function of: w = p(x, z) / q(z).

A model says log p(x, z), a guide says q(z), and `log_weights` joins them once. `log_w` has shape (K, N): K samples for
each of N data.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.backend import Array
from minilvm.distributions import Distribution
from minilvm.tape import Tensor, stop_gradient


class LogJoint(Protocol):
    """Anything that can say log p(x, z)."""

    def log_joint(self, x: Array, z: Array) -> Array:
        """log p(x, z), of shape (K, N), for x of shape (N, …) and z of shape (K, N, …)."""


def logmeanexp(log_w: Array, axis: int = 0) -> Array:
    """Return log (1/K) Σ_k exp(log_w_k) over `axis`, without overflow.

    >>> import numpy
    >>> float(logmeanexp(numpy.log([1.0, 3.0])))
    0.6931471805599453
    """
    return np.logsumexp(log_w, axis=axis) - math.log(log_w.shape[axis])


def log_weights(model: LogJoint, q: Distribution, x: Array, n_samples: int, *, rng: Any) -> Array:
    """Return log w = log p(x, z) − log q(z) for `n_samples` draws z ~ q per datum (the weights of N6).

    The draws are reparameterised where q can be (N13), so that the gradient of a bound on `log_w` reaches the
    parameters of q through z.

    Parameters
    ----------
    model
        Has `log_joint(x, z)`.
    q
        A law of z, with batch shape (N,), one for each datum, or (), one for all (then still drawn anew for each).
    x
        The data, of shape (N, …).
    n_samples
        K, the number of draws per datum.
    rng
        Seed or generator.

    Returns
    -------
    log_w
        Shape (K, N). exp(log_w) is unbiased for p(x), so its mean over K is too, whatever q, provided q(z) > 0
        wherever p(x, z) > 0.

    Raises
    ------
    ValueError
        `n_samples` < 1, q has another number of laws than there are data, log p(x, z) has another shape than (K, N),
        or a weight is NaN or +inf (the message names the sample and the datum).
    TypeError
        q is being differentiated and its draws are not differentiable: the gradient would lack the term
        r ∇ log q of N12, and be wrong.
    """
    q = per_datum(q, x)
    check_n_samples(n_samples)
    if not q.reparameterized and any(type(leaf) is Tensor for leaf in tree.leaves(q)):
        raise TypeError(
            f"{type(q).__name__} draws are not differentiable, so the gradient with respect to its parameters would be "
            'wrong; use expectation(..., estimator="score_function") (N12), or stop_gradient its parameters'
        )
    draw = q.rsample if q.reparameterized else q.sample
    z = draw((n_samples,), rng=rng)
    log_joint = model.log_joint(x, z)
    if log_joint.shape != (n_samples, len(x)):
        raise ValueError(f"log_joint(x, z) has shape {log_joint.shape}; expected (K, N) = {(n_samples, len(x))}")
    return check_weights(log_joint - q.log_prob(z))


def per_datum(q: Distribution, x: Array) -> Distribution:
    """Return q with one law for each datum: itself, or a single law shared by all."""
    if q.batch_shape == (len(x),):
        return q
    if q.batch_shape == ():
        return q.expand((len(x),))
    raise ValueError(f"q has batch shape {q.batch_shape}; expected ({len(x)},) to match x of shape {x.shape}, or ()")


def check_n_samples(n_samples: int) -> None:
    """Refuse to estimate anything from no samples."""
    if n_samples < 1:
        raise ValueError(f"n_samples is {n_samples}; expected at least 1")


def check_weights(log_w: Array) -> Array:
    """Return `log_w`, or refuse it where a weight is NaN or +inf, naming the first; traced weights are let through."""
    if type(log_w) is Tensor:
        return log_w
    bad = backend.to_numpy(np.isnan(log_w) | (log_w == np.inf))
    if bad.any():
        place = tuple(int(i) for i in next(zip(*bad.nonzero(), strict=True)))
        raise ValueError(
            f"log weight of sample {place[0]}, datum {place[1:]} is {float(stop_gradient(log_w)[place])}: "
            "log p(x, z) and log q(z) must be numbers or −inf there, and q must have a density"
        )
    return log_w
