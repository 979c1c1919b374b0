"""Differentiating an average through the distribution that is averaged over: ∇_φ E_{q(z; φ)}[r(z, φ)].

Each estimator is a surrogate: a quantity whose *value* is the Monte Carlo mean and whose *gradient*, as autograd takes
it, is the estimator's. All those here are unbiased for the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.distributions import Distribution
from minilvm.estimators.weights import check_n_samples
from minilvm.tape import stop_gradient

Integrand = Callable[[Array], Array]
Estimator = Literal["reparameterization", "score_function", "exact"]
Baseline = Literal["none", "leave_one_out"]


def expectation(
    r: Integrand,
    q: Distribution,
    n_samples: int = 1,
    *,
    estimator: Estimator = "reparameterization",
    baseline: Baseline = "none",
    rng: Any = None,
) -> Array:
    """Return the mean of r(z) over draws z ~ q, with the gradient of the named estimator of ∇ E_q[r(z)].

    Parameters
    ----------
    r
        A function of z; of draws of shape (K,) + q.batch_shape + q.event_shape it gives (K,) + q.batch_shape
        (of all S values of z, where the estimator is `"exact"`, with S in place of K).
    q
        The law of z, whose parameters may be traced.
    n_samples
        K, the number of draws. `"exact"` needs none.
    estimator
        `"reparameterization"` (N13): z = g(ε; φ), differentiate through z. Needs q.reparameterized and r smooth in z.
        `"score_function"` (N12), also REINFORCE: r ∇ log q + ∇ r. Needs nothing of r, and is noisy.
        `"exact"`: Σ_z q(z) r(z), where q can list its support. The reference.
    baseline
        For `"score_function"`: `"leave_one_out"` subtracts from each r_k the mean of the *others*, which is
        independent of z_k, so the gradient stays unbiased. (Kool, van Hoof and Welling, 2019.)
    rng
        Seed or generator, or None for a seed from the operating system; `"exact"` draws nothing.

    Returns
    -------
    mean
        Shape q.batch_shape. Unbiased for E_q[r(z)]; its gradient is unbiased for ∇ E_q[r(z)].
    """
    check_n_samples(n_samples)
    if baseline not in {"none", "leave_one_out"}:
        raise ValueError(f'baseline is {baseline!r}; expected "none" or "leave_one_out"')
    if baseline != "none" and estimator != "score_function":
        raise ValueError(f'baseline={baseline!r} goes with estimator="score_function", not {estimator!r}')
    if estimator == "exact":
        return _exact(r, q)
    if estimator == "reparameterization":
        return _reparameterization(r, q, n_samples, rng)
    if estimator == "score_function":
        return _score_function(r, q, n_samples, baseline, rng)
    raise ValueError(f'estimator is {estimator!r}; expected "reparameterization", "score_function" or "exact"')


def _exact(r: Integrand, q: Distribution) -> Array:
    """Σ_z q(z) r(z), in which a z that q never draws counts for nothing, be r infinite there."""
    z = q.enumerate_support()
    p = np.exp(q.log_prob(z))
    value = _values(r, z, p.shape)
    return (p * np.where((p == 0.0) & ~np.isfinite(value), 0.0, value)).sum(axis=0)


def _reparameterization(r: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
    """(1/K) Σ_k r(g(ε_k; φ)), with ε free of φ (N13)."""
    return _values(r, q.rsample((n_samples,), rng=rng), (n_samples, *q.batch_shape)).mean(axis=0)


def _score_function(r: Integrand, q: Distribution, n_samples: int, baseline: Baseline, rng: Any) -> Array:
    """(1/K) Σ_k [r(z_k) + (r(z_k) − b_k) (log q(z_k) − its value)]: the second term is 0, its gradient is not (N12)."""
    z = q.sample((n_samples,), rng=rng)
    log_q = q.log_prob(z)
    value = _values(r, z, log_q.shape)
    cost = stop_gradient(value)
    if baseline == "leave_one_out":
        if n_samples < 2:
            raise ValueError("a leave-one-out baseline needs n_samples of at least 2: there is no other sample")
        cost = cost - (cost.sum(axis=0) - cost) / (n_samples - 1)
    return (value + cost * (log_q - stop_gradient(log_q))).mean(axis=0)


def _values(r: Integrand, z: Array, shape: tuple[int, ...]) -> Array:
    """r(z), or a refusal where it is not one number a draw: broadcast against log q it would be a wrong answer."""
    value = r(z)
    if value.shape != shape:
        raise ValueError(f"r gave shape {value.shape} for draws of shape {z.shape}; expected {shape}")
    return value
