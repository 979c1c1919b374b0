"""What is true of bounds, as checks that cannot be passed by luck nor failed by it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import minilvm.numpy as np
from minilvm import backend
from minilvm.backend import Array
from minilvm.estimators import elbo, iwae
from minilvm.testing.oracles import expected_bound


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
