"""Importance weights, the one quantity that every estimator here is a function of: w = p(x, z) / q(z).

A model says log p(x, z), a guide says q(z), and `log_weights` joins them once. `log_w` has shape (K, N): K samples for
each of N data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from numbers import Integral
from typing import Any, Protocol

import numpy

import minilvm.numpy as np
from minilvm import backend, threads, tree
from minilvm.backend import Array, namespace
from minilvm.distributions import Categorical, Distribution
from minilvm.estimators.contracts import is_traced
from minilvm.rules import primitive, recorder
from minilvm.tape import Tensor


class LogJoint(Protocol):
    """Anything that can say log p(x, z)."""

    def log_joint(self, x: Array, z: Array) -> Array:
        """log p(x, z), of shape (K, N), for x of shape (N, …) and z of shape (K, N, …).

        Where it has many draws to weigh `log_weights` calls this from several threads at once.
        """


def logmeanexp(log_w: Array, axis: int = 0) -> Array:
    """Return log (1/K) Σ_k exp(log_w_k) over `axis`, without overflow; its slope is `normalised_weights`.

    >>> import numpy
    >>> float(logmeanexp(numpy.log([1.0, 3.0])))
    0.6931471805599453
    """
    check_samples(log_w, axis)
    return _log_total(log_w, axis) - math.log(log_w.shape[axis])


def normalised_weights(log_w: Array, axis: int = 0) -> Array:
    """Return w̃_k = w_k / Σ_j w_j over `axis`; 0 for what is too small to be seen in a sum of K, or where all w are 0.

    All of those together are less than a twentieth of the rounding of 1, and add nothing to Σ_k w̃_k f_k but time:
    denormal numbers in the products of the backward pass, and rows of them that would be left out if they were 0.
    """
    top = np.max(log_w, axis=axis, keepdims=True)
    w = np.exp(log_w - np.where(top == -np.inf, 0.0, top))
    total = w.sum(axis=axis, keepdims=True)
    share = w / np.where(total == 0.0, 1.0, total)
    return np.where(share < np.finfo(share.dtype).eps / max(1000, 20 * log_w.shape[axis]), 0.0, share)


@primitive(log_w=lambda g, log_w, axis: np.expand_dims(g, axis) * normalised_weights(log_w, axis))
def _log_total(log_w: Array, axis: int) -> Array:
    return np.logsumexp(log_w, axis=axis)


def logsumexp_of_others(log_w: Array) -> Array:
    """Return log Σ_{j ≠ k} w_j for each k, shape (K, N): what leaving one draw out leaves.

    log(Σ_j w_j − w_k) has no digits left where w_k is most of the sum; there, for the largest, the others are summed.

    >>> import numpy
    >>> logsumexp_of_others(numpy.array([[0.0], [100.0], [1.0]])).ravel().round(4)
    array([100.    ,   1.3133, 100.    ])
    """
    check_samples(log_w)
    number = namespace(log_w).arange(len(log_w)).reshape(-1, *(1 for _ in log_w.shape[1:]))
    largest = number == np.argmax(log_w, axis=0)
    total = np.logsumexp(log_w, axis=0)
    rest = np.logsumexp(np.where(largest, -np.inf, log_w), axis=0)
    share = np.exp(log_w - np.where(total == -np.inf, 0.0, total))
    return np.where(largest, rest, total + np.log1p(-np.where(largest, 0.0, share)))


def log_weights(model: LogJoint, q: Distribution, x: Array, n_samples: int, *, rng: Any) -> Array:
    """Return log w = log p(x, z) − log q(z) for `n_samples` draws z ~ q per datum (the weights of N6).

    The draws are reparameterised where q can be (N13), so that the gradient of a bound on `log_w` reaches the
    parameters of q through z. They are made and weighed some at a time, and where all of them are not done at once, in
    threads: beside the result, memory for some tiles is needed however large K is, but for what a gradient is taken
    of. That is kept until the backward pass, and made in the thread that asks.

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
        `n_samples` < 1; q has another number of laws than there are data, or draws of another shape than the model's z;
        q gives nothing to a z that p(x, z) gives something to, as far as `check_support` can see; log p(x, z) has
        another shape than (K, N); or a weight is NaN or +inf (the message names the sample and the datum).
    TypeError
        q is being differentiated and its draws are not differentiable: the gradient would lack the term
        r ∇ log q of N12, and be wrong. Or z is, and nothing of it arrives in log p(x, z). Of a part of log p(x, z) that
        z reaches by comparison or rounding alone, beside others that it reaches, the slope is 0 too, and nothing tells.
    """
    tiles = list(log_weight_tiles(model, q, x, n_samples, rng=rng))
    return tiles[0] if len(tiles) == 1 else np.concatenate(tiles)


_TILE = 2**20  # numbers of x that draws of z meet at once: 8 MB of float64, which the caches of a core take in passes
_AT_ONCE = 4  # tiles that threads work on, and hold
_WIDEST = 512  # a network's hidden layers may be wider than its data


def log_weight_tiles(model: LogJoint, q: Distribution, x: Array, n_samples: int, *, rng: Any) -> Iterator[Array]:
    """Yield the rows of `log_weights` some at a time, (K_1, N), (K_2, N), …: for K too large to hold.

    The draws are the same. Takes and raises the same.
    """
    q = per_datum(q, x)
    check_n_samples(n_samples)
    check_support(model, q, x, n_samples)
    draw = sampler(q)
    generator = backend.default_rng(rng, like=tree.leaves(q)[0])
    drawn = ((start, draw((rows,), rng=generator)) for start, rows in tiles(n_samples, x))

    def weighed(tile: tuple[int, Array]) -> Array:
        start, z = tile
        return check_weights(weigh(model, q, x, z), start)

    yield (first := weighed(next(drawn)))
    if len(first) < n_samples:
        alone = type(first) is not numpy.ndarray  # a tape, a recording and a GPU are used from one thread
        yield from map(weighed, drawn) if alone else threads.on_all_cores(weighed, drawn, at_most=_AT_ONCE)


def sampler(q: Distribution) -> Callable[..., Array]:
    """Return the method of q that draws: differentiably, where q can; it must be no variable where it cannot."""
    if q.reparameterized:
        return q.rsample
    if is_traced(q):
        raise TypeError(
            f"{type(q).__name__} draws are not differentiable, so the gradient with respect to its parameters would be "
            'wrong; use vimco (any bound), expectation(..., estimator="score_function") (N12), or stop_gradient them'
        )
    return q.sample


def weigh(model: LogJoint, q: Distribution, x: Array, z: Array) -> Array:
    """Return log w = log p(x, z) − log q(z), shape (K, N), at z of shape (K, N, …), wherever those are from."""
    return log_joint_of(model, x, z) - q.log_prob(z)


def log_joint_of(model: LogJoint, x: Array, z: Array) -> Array:
    """Return log p(x, z), or refuse it where it is not one number for each draw and datum, or no slope reaches z."""
    log_joint = model.log_joint(x, z)
    if log_joint.shape != (len(z), len(x)):
        raise ValueError(f"log_joint(x, z) has shape {log_joint.shape}; expected (K, N) = {(len(z), len(x))}")
    if type(z) is Tensor and type(log_joint) is not Tensor:
        raise TypeError(
            "log p(x, z) is not differentiable in z: nothing of z arrives in it but by comparison, rounding or "
            "indexing, and the slope along the path of z would be 0. Use vimco"
        )
    return log_joint


def tiles(n_rows: int, x: Array) -> Iterator[tuple[int, int]]:
    """Yield (start, length) of parts of `n_rows` draws per datum that are small enough to be held."""
    rows = max(1, _TILE // max(x.size, _WIDEST * len(x)))
    for start in range(0, n_rows, rows):
        yield start, min(rows, n_rows - start)


def per_datum(q: Distribution, x: Array) -> Distribution:
    """Return q with one law for each datum: itself, or a single law shared by all."""
    check_data(x)
    check_law(q)
    if q.batch_shape == (len(x),):
        return q
    if q.batch_shape == ():
        return q.expand((len(x),))
    raise ValueError(f"q has batch shape {q.batch_shape}; expected ({len(x)},) to match x of shape {x.shape}, or ()")


def check_data(x: Array) -> None:
    """Refuse what is no array of data, or holds none."""
    if not hasattr(x, "shape"):
        raise TypeError(f"x is {type(x).__name__}; expected an array of shape (N, …): numpy.asarray(x)")
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"x has shape {x.shape}; expected (N, …), at least one datum")


def check_law(q: Any) -> None:
    """Refuse what is no law."""
    if callable(q):
        raise TypeError(f"q is {type(q).__name__}, which is no law of z, but gives one: pass guide(x)")
    if not hasattr(q, "batch_shape"):
        raise TypeError(f"q is {type(q).__name__}; expected a law of z, such as those of minilvm.distributions")


def check_n_samples(n_samples: Any) -> None:
    """Refuse to estimate anything from no samples."""
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(f"n_samples is {n_samples!r}; expected an integer of at least 1")


def check_samples(log_w: Array, axis: int = 0) -> None:
    """Refuse to average no samples."""
    if log_w.ndim == 0 or log_w.shape[axis] == 0:
        raise ValueError(f"log_w has shape {log_w.shape}; expected (K, N), at least one sample")


def check_weights(log_w: Array, first: int = 0) -> Array:
    """Return `log_w`, or refuse it where a weight is NaN or +inf, naming one; not where it is traced or recorded.

    `first` is the number of the sample in the first row.
    """
    if type(log_w) is Tensor or recorder.get() is not None:
        return log_w
    bad = backend.to_numpy(np.isnan(log_w) | (log_w == np.inf))
    if bad.any():
        sample, datum = (int(i) for i in next(zip(*bad.nonzero(), strict=True)))
        raise ValueError(
            f"log weight of sample {first + sample}, datum {datum} is {float(log_w[sample, datum])}: "
            "log p(x, z) and log q(z) must be numbers or −inf there, and q must have a density"
        )
    return log_w


def check_support(model: LogJoint, q: Distribution, x: Array, n_samples: int) -> None:
    """Refuse a q that never draws some z with p(x, z) > 0: E_q[w] is then less than p(x), and no weight would tell.

    Such z are looked for among all labels of a categorical prior, and among as many draws as are asked for, up to 64,
    of any other; not where q is reparameterised and lives where the prior does, nor where parameters are traced.
    """
    prior = getattr(model, "prior", None)
    if prior is None:
        return
    if q.event_shape != prior.event_shape:
        raise ValueError(f"q has draws of shape {q.event_shape}; expected {prior.event_shape}, that of the model's z")
    if (q.reparameterized and q.support is prior.support) or is_traced(q) or is_traced(prior):
        return
    labelled = isinstance(prior, Categorical)
    z = prior.enumerate_support()[:, None] if labelled else prior.sample((min(n_samples, 64), 1), rng=0)
    inside = q.support.check(z)
    inside = np.broadcast_to(inside.reshape(*inside.shape[:2], -1).all(axis=2), (len(z), len(x)))
    drawn, possible = inside.copy(), inside.all(axis=1)  # of a z outside q has no density to ask for
    if bool(possible.any()):
        drawn[possible] = q.log_prob(z[possible]) > -np.inf
    if not bool(drawn.all()):
        missed = backend.to_numpy(~drawn & (model.log_joint(x, z) > -np.inf))
        if missed.any():
            value, datum = (int(i) for i in next(zip(*missed.nonzero(), strict=True)))
            label = str(backend.to_numpy(z)[value, 0].tolist())
            raise ValueError(
                f"q of datum {datum} never draws z = {label:.60}, where p(x, z) > 0, so its weights average to less "
                "than p(x): q needs a density wherever the posterior has one"
            )
