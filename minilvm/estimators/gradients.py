"""Differentiating an average through the distribution that is averaged over: ∇_φ E_{q(z; φ)}[r(z, φ)].

`expectation` is the one word for it. Each estimator is a surrogate: a quantity whose *value* is the Monte Carlo mean of
r and whose *gradient*, as autograd takes it, is the estimator's. What each claims and what it needs stands in
`contracts.CONTRACTS`; the reference and reparameterisation are here, the others in the files named after their ideas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import minilvm.numpy as np
from minilvm.backend import Array
from minilvm.distributions import Distribution
from minilvm.estimators.antithetic import arm, disarm
from minilvm.estimators.contracts import Integrand, check, evaluated
from minilvm.estimators.measure_valued import measure_valued
from minilvm.estimators.relaxed import GumbelSoftmax, Rebar, Relax, straight_through
from minilvm.estimators.score_function import score_function
from minilvm.estimators.weights import check_law, check_n_samples


def expectation(
    r: Integrand,
    q: Distribution,
    n_samples: int = 1,
    *,
    estimator: str | GumbelSoftmax | Rebar | Relax = "reparameterization",
    baseline: str | Array = "none",
    rng: Any = None,
) -> Array:
    """Return the mean of r(z) over draws z ~ q, with the gradient of the named estimator of ∇ E_q[r(z)].

    Parameters
    ----------
    r
        A function of z; of draws of shape (K,) + q.batch_shape + q.event_shape it gives (K,) + q.batch_shape, for any
        number K of draws (some estimators ask for more than `n_samples`).
    q
        The law of z, whose parameters may be traced.
    n_samples
        K, the number of draws. `"exact"` needs none.
    estimator
        `"reparameterization"` (N13): z = g(ε; φ), differentiate through z. Needs q.reparameterized and r smooth in z.
        `"score_function"` (N12), also REINFORCE: r ∇ log q + ∇ r. Needs nothing of r, and is noisy: see `baseline`.
        `"measure_valued"`: r at pairs of draws, where the density rises and where it falls. Normal, Bernoulli, Poisson,
        Exponential, and Gamma in its rate.
        `"arm"`, `"disarm"`, for bits: r at antithetic pairs of draws; K must be even.
        `"rebar"`, or `Rebar(temperature, eta)`, for bits and one-hot vectors: the score function, less what relaxed
        draws show of its noise. `Relax(surrogate)`: the same, with a control variate of your own.
        `"straight_through"`, and `"gumbel_softmax"` or `GumbelSoftmax(temperature)`, for the same: **biased**.
        `"exact"`: Σ_z q(z) r(z), where q can list its support. The reference.
    baseline
        For `"score_function"`: what to subtract from each r_k, which leaves the gradient unbiased and makes it quieter.
        `"leave_one_out"`: the mean of the others. `"optimal"`: the average of the others that makes the total variance
        least. Or numbers known before the draw, of shape q.batch_shape or (): `RunningMean().mean`, or what a network
        predicts of r from x, fitted to the value that is returned here.
    rng
        Seed or generator, or None for a seed from the operating system; `"exact"` draws nothing.

    Returns
    -------
    mean
        Shape q.batch_shape. Unbiased for E_q[r(z)]; its gradient is unbiased for ∇ E_q[r(z)], except where said. The
        derivatives of `"exact"`, `"reparameterization"` and `"score_function"` are unbiased at every order, those of
        the others at the first.

    Raises
    ------
    TypeError
        The estimator cannot serve q, or r; the message names those that can.

    Examples
    --------
    The slope in log-odds a of the probability of two equal bits, by three estimators and exactly:

    >>> import numpy
    >>> from minilvm.autograd import grad
    >>> from minilvm.distributions import Bernoulli, Independent
    >>> def equal(a, **how):
    ...     q = Independent(Bernoulli(logits=a), 1)
    ...     return expectation(lambda z: 1.0 - (z[..., 0] - z[..., 1]) ** 2, q, 1000, rng=0, **how)
    >>> a = numpy.array([0.5, -1.0])
    >>> for estimator in ("exact", "score_function", "disarm", "rebar"):
    ...     print(estimator, grad(equal)(a, estimator=estimator).round(2))
    exact [-0.11  0.05]
    score_function [-0.11  0.05]
    disarm [-0.11  0.05]
    rebar [-0.1   0.04]
    """
    check_law(q)
    check_n_samples(n_samples)
    if isinstance(estimator, str) and estimator not in _SURROGATES:
        known = ", ".join(f'"{name}"' for name in _SURROGATES)
        raise ValueError(f"estimator is {estimator!r}; expected {known}, or Relax(surrogate)")
    if not isinstance(estimator, str | GumbelSoftmax | Rebar | Relax):
        raise TypeError(f"estimator is {estimator!r}; expected a name, or Rebar(), Relax(surrogate) or GumbelSoftmax()")
    name = estimator if isinstance(estimator, str) else estimator.name
    check(name, q)
    surrogate: Callable[..., Array] = _SURROGATES[estimator] if isinstance(estimator, str) else estimator
    if isinstance(baseline, str) and baseline == "none":
        return surrogate(r, q, n_samples, rng)
    if name != "score_function":
        raise ValueError(f'baseline={baseline!r} goes with estimator="score_function", not {name!r}')
    return surrogate(r, q, n_samples, rng, baseline)


def exact(r: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
    """Return Σ_z q(z) r(z), in which a z that q never draws counts for nothing, be r infinite there."""
    del n_samples, rng
    z = q.enumerate_support()
    p = np.exp(q.log_prob(z))
    value = evaluated(r, z, p.shape)
    return (p * np.where((p == 0.0) & ~np.isfinite(value), 0.0, value)).sum(axis=0)


def reparameterization(r: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
    """Return (1/K) Σ_k r(g(ε_k; φ)), with ε free of φ (N13)."""
    z = q.rsample((n_samples,), rng=rng)
    return evaluated(r, z, (n_samples, *q.batch_shape), smooth=True).mean(axis=0)


_SURROGATES: Final[dict[str, Callable[..., Array]]] = {
    "reparameterization": reparameterization,
    "score_function": score_function,
    "measure_valued": measure_valued,
    "arm": arm,
    "disarm": disarm,
    "rebar": Rebar(),
    "straight_through": straight_through,
    "gumbel_softmax": GumbelSoftmax(),
    "exact": exact,
}
