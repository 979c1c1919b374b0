"""What is true of bounds, as checks that cannot be passed by luck nor failed by it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy

import minilvm.numpy as np
from minilvm import backend, tree
from minilvm.autograd import grad
from minilvm.backend import Array
from minilvm.distributions import Distribution
from minilvm.estimators import elbo, iwae
from minilvm.testing.oracles import Draws, expected_bound, expected_estimate


def assert_lower_bound(
    bound: Callable[[Array], Array], log_joint: Array, log_q: Array, n_samples: int, *, rtol: float = 1e-10
) -> None:
    """Assert that E[bound(log_w)] ≤ log p(x), by enumeration of all K-tuples of draws.

    Parameters
    ----------
    bound
        A function of `log_w` (K, N) that returns (N,).
    log_joint, log_q
        log p(x, z) and log q(z) for each state z, shape (S,).
    n_samples
        K.
    rtol
        Rounding allowed, relative to the largest logarithm at hand.

    Raises
    ------
    AssertionError
        It is above; the message says by how many nats.
    """
    expected, log_p = float(expected_bound(bound, log_joint, log_q, n_samples)), float(np.logsumexp(log_joint))
    finite = log_q[log_q > -np.inf]
    slack = rtol * max(1.0, abs(log_p), float(np.max(np.absolute(finite))))
    if not expected <= log_p + slack:
        raise AssertionError(
            f"E[bound] = {expected!r} is above log p(x) = {log_p!r} by {expected - log_p:.3g} nats at K = {n_samples}"
        )


def assert_unbiased(
    estimate: Callable[[Array], Array], log_joint: Array, log_q: Array, n_samples: int, *, rtol: float = 1e-10
) -> None:
    """Assert that E[exp(estimate(log_w))] = p(x), by enumeration of all K-tuples of draws (N6).

    `estimate` returns the logarithm of an estimate of p(x), one for each of N columns of `log_w` (K, N).
    """
    log_p = float(np.logsumexp(log_joint))
    ratio = float(expected_bound(lambda log_w: np.exp(estimate(log_w) - log_p), log_joint, log_q, n_samples))
    if not abs(ratio - 1.0) <= rtol:
        raise AssertionError(f"E[p̂(x)] / p(x) = {ratio!r} at K = {n_samples}; expected 1")


def assert_unbiased_gradient(
    estimate: Callable[[Any, Any], Array],
    exact: Callable[[Any], Array],
    law: Callable[[Any], Distribution],
    parameters: Any,
    draws: Draws,
    *,
    rtol: float = 1e-9,
) -> None:
    """Assert that E[∇ estimate] = ∇ exact, by enumeration of all K-tuples of draws, or of all nodes of a rule.

    Parameters
    ----------
    estimate
        `estimate(q, parameters)` draws from q and returns one value a batch element, such as
        `expectation(lambda z: r(z, parameters), q, K, estimator="score_function", rng=0)`.
    exact
        The function of the parameters that is estimated; its gradient is what the estimate's must be on average.
    law
        From parameters to q, a single law.
    parameters
        A tree of arrays: where to differentiate.
    draws
        K, for estimators that draw z ~ q K times and no more; or the `Quadrature` that `estimate` draws with.
    rtol
        Error allowed, relative to the largest element of the exact gradient or 1.

    Raises
    ------
    AssertionError
        The expected gradient is another; the message names the parameter, both numbers, and their ratio, which gives
        some faults away: (K − 1) / K is that of a baseline which contains its own draw.

    Examples
    --------
    >>> import numpy
    >>> from minilvm.distributions import Bernoulli
    >>> from minilvm.estimators import expectation
    >>> def bit(a):
    ...     return Bernoulli(logits=a)
    >>> def exact(a):
    ...     return expectation(numpy.exp, bit(a), estimator="exact")
    >>> def loo(q, a):
    ...     return expectation(numpy.exp, q, 3, estimator="score_function", baseline="leave_one_out", rng=0)
    >>> assert_unbiased_gradient(loo, exact, bit, 0.3, 3)
    >>> assert_unbiased_gradient(lambda q, a: 0.5 * loo(q, a), exact, bit, 0.3, 3)
    Traceback (most recent call last):
        ...
    AssertionError: E[∇ estimate] is 0.210... in the parameter, and ∇ exact is 0.420...: a ratio of 0.5
    """
    found = grad(lambda phi: expected_estimate(lambda q: estimate(q, phi), law(phi), draws))(parameters)
    expected = grad(exact)(parameters)
    scale = max(1.0, *(float(np.max(np.absolute(leaf))) for leaf in tree.leaves(expected)))
    for name, f, e in zip(tree.paths(parameters), tree.leaves(found), tree.leaves(expected), strict=True):
        error = backend.to_numpy(np.absolute(f - e))
        if not bool((error <= rtol * scale).all()):
            worst = numpy.unravel_index(int(error.argmax()), error.shape)
            ours, theirs = (float(backend.to_numpy(leaf)[worst]) for leaf in (f, e))
            ratio = f": a ratio of {ours / theirs:.6g}" if theirs else ""
            where = f"parameter{name}{list(map(int, worst)) or ''}" if name or worst else "the parameter"
            raise AssertionError(f"E[∇ estimate] is {ours!r} in {where}, and ∇ exact is {theirs!r}{ratio}")


def assert_per_draw_order(log_w: Array, *, rtol: float = 1e-12) -> None:
    """Assert the order of the bounds in every draw, for any finite log weights (K, N), whatever their law.

        mean log w ≤ mean of IWAE over the leave-one-out subsets ≤ log mean w ≤ Σ w̃ log w ≤ max log w.

    The second ≤ is the step of Theorem 1 of arXiv:1509.00519, from K − 1 samples to K, before any expectation.
    (docs/notes.md, 10.2.)
    """
    n_samples = len(log_w)
    chain = [("elbo", elbo(log_w))]
    if n_samples > 1:
        subsets = [iwae(np.concatenate([log_w[:k], log_w[k + 1 :]])) for k in range(n_samples)]
        chain.append(("leave-one-out iwae", np.stack(subsets).mean(axis=0)))
    chain.append(("iwae", iwae(log_w)))
    chain.append(("self-normalised mean", (np.softmax(log_w, axis=0) * log_w).sum(axis=0)))
    chain.append(("max", log_w.max(axis=0)))
    slack = rtol * max(1.0, float(np.max(np.absolute(log_w))))
    for (low_name, low), (high_name, high) in itertools.pairwise(chain):
        worst = float(backend.to_numpy(low - high).max())
        if not worst <= slack:
            raise AssertionError(f"{low_name} is above {high_name} by {worst:.3g} nats")
