"""Bounds whose gradient is not simply that of their average: four ways to climb, each a few lines over `log_w`.

A bound on log p(x) is a function B of K log weights, and z_k ~ q(z; φ). With draws that are differentiable, autograd
takes the slope of `iwae(log_weights(...))` by itself; two of these make that slope quieter. Where draws are not
differentiable it would leave out a term, and be wrong; one of these puts it back, for any bound. The fourth climbs
another objective in φ, and beside it stands the one that needs no data. Their values and their slopes are what they
say; the slope of such a slope is not that of the bound's. Each of the four is
`f(model, q, x, n_samples, rng=)`, so `functools.partial(f, n_samples=5)` is an objective of `fit_svi`:

>>> import functools, numpy
>>> from minilvm.inference import Adam, fit_svi
>>> from minilvm.models import AmortizedGuide, SigmoidBeliefNetwork, factorised_bernoulli
>>> from minilvm.nn import MLP
>>> model = SigmoidBeliefNetwork.random(n_latents=4, n_features=6, rng=0)
>>> x, _ = model.sample(200, rng=1)
>>> guide = AmortizedGuide(MLP.create([6, 4], rng=2), factorised_bernoulli)
>>> objective = functools.partial(vimco, n_samples=5)
>>> result = fit_svi(model, guide, x, n_epochs=20, objective=objective, optimizer=Adam(0.01), rng=3)
>>> result.lower_bounds[0] < result.lower_bounds[-1] < float(result.model.log_marginal(x).mean())
True
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, namespace
from minilvm.distributions import Distribution
from minilvm.estimators.bounds import elbo, iwae
from minilvm.estimators.contracts import check, differential, finite, moved
from minilvm.estimators.weights import (
    LogJoint,
    check_n_samples,
    check_support,
    check_weights,
    log_joint_of,
    normalised_weights,
    per_datum,
)
from minilvm.tape import stop_gradient

Bound = Callable[[Array], Array]


def sticking_the_landing(model: LogJoint, q: Distribution, x: Array, n_samples: int = 1, *, rng: Any) -> Array:
    """Return the ELBO (N7), whose slope in φ is that along the path of z alone: (1/K) Σ_k ∂log w/∂z ∂z_k/∂φ.

    What it leaves out, −∇ log q at a fixed z, has mean 0. At q(z) = p(z | x) nothing is left, in any draw: the noise
    goes to 0 as the bound becomes tight. Lower bound; gradient unbiased. (Roeder, Wu and Duvenaud, arXiv:1703.09194.)

    Raises
    ------
    TypeError
        The draws of q are not differentiable, or its support moves with φ: what is left out has a mean then.
    """
    q = _checked("sticking_the_landing", model, q, x, n_samples)
    z = q.rsample((n_samples,), rng=rng)
    return elbo(_log_w(model, _frozen(q).log_prob(z), x, z))


def dreg(model: LogJoint, q: Distribution, x: Array, n_samples: int, *, rng: Any) -> Array:
    """Return IWAE (N17), whose slope in φ is Σ_k w̃_k² ∂log w/∂z ∂z_k/∂φ, and in θ as ever Σ_k w̃_k ∇_θ log w_k.

    The score term, reparameterised once more, turns w̃ into w̃². Its signal-to-noise ratio rises with K, where that of
    the plain gradient falls (docs/notes.md, 8.1). Lower bound; gradient unbiased for that of L_K.
    (Tucker, Lawson, Gu and Maddison, arXiv:1810.04152, eq. 8.)

    Raises
    ------
    TypeError
        The draws of q are not differentiable, or its support moves with φ: what is left out has a mean then.
    """
    q = _checked("dreg", model, q, x, n_samples)
    z = q.rsample((n_samples,), rng=rng)
    frozen, fixed = _frozen(q), stop_gradient(z)
    share = normalised_weights(stop_gradient(_log_w(_frozen(model), frozen.log_prob(fixed), x, fixed)))
    once_more = share.reshape(*share.shape, *(1 for _ in q.event_shape))  # w̃, which the bound multiplies by another
    z = fixed + once_more * differential(z)
    return iwae(_log_w(model, frozen.log_prob(z), x, z))


def vimco(model: LogJoint, q: Distribution, x: Array, n_samples: int, *, bound: Bound = iwae, rng: Any) -> Array:
    """Return B(log w), whose slope in φ is Σ_k (B − B₋ₖ) ∇ log q(z_k) + ∇B: for any q, discrete latents included.

    The first term is the score function (N12) of the tuple, without which the gradient of IWAE, Rényi's or any other
    bound is wrong wherever z does not move with φ. B₋ₖ is B with w_k replaced by the geometric mean of the others: free
    of z_k, so it takes noise away and no bias comes in; it takes the bound of K N tuples, K² N numbers. With
    `bound=elbo` this is the leave-one-out baseline. Of the kind of `bound`; gradient unbiased for that of E[B]. (Mnih
    and Rezende, arXiv:1602.06725, eq. 10.)

    Parameters
    ----------
    bound
        From log weights (K, N) to (N,), the same in whatever order the draws come: `iwae`, `elbo`, or such as
        `lambda log_w: renyi(log_w, alpha=0.5)`.

    Raises
    ------
    ValueError
        n_samples < 2: there are no others.
    """
    q = _checked("vimco", model, q, x, n_samples)
    if n_samples < 2:
        raise ValueError(f"n_samples is {n_samples}; expected at least 2: what a draw adds is seen against the others")
    z = q.sample((n_samples,), rng=rng)
    log_q = q.log_prob(z)
    log_w = _log_w(model, log_q, x, z)
    value = bound(log_w)
    signal = finite(stop_gradient(value)) - finite(_without_each(bound, stop_gradient(log_w)))
    return moved(value, (signal * differential(log_q)).sum(axis=0))


def reweighted_wake_sleep(model: LogJoint, q: Distribution, x: Array, n_samples: int, *, rng: Any) -> Array:
    """Return IWAE (N17), with its slope in θ; and in φ the slope Σ_k w̃_k ∇ log q(z_k) of another objective.

    That estimates −∇_φ KL(p(z | x) ‖ q) = E_{p(z|x)}[∇ log q(z)]: the divergence of N18, which q cannot make small by
    leaving out a mode; consistent as K grows, biased at any K, of mean 0 at K = 1. No score function and no path: q may
    be anything that has a density. Lower bound; gradient unbiased in θ and biased in φ. (Bornschein and Bengio,
    arXiv:1406.2751, the wake phases of θ and q; `sleep_phase` is the other.)
    """
    q = _checked("reweighted_wake_sleep", model, q, x, n_samples)
    z = q.sample((n_samples,), rng=rng)
    log_q = q.log_prob(z)
    log_w = _log_w(model, stop_gradient(log_q), x, z)
    share = normalised_weights(stop_gradient(log_w))
    return iwae(log_w) + (share * differential(log_q)).sum(axis=0)


def sleep_phase(model: Any, guide: Callable[[Array], Distribution], n_samples: int, *, rng: Any) -> Array:
    """Return log q(z_k | x_k), shape (K,), for dreams (x_k, z_k) ~ p(x, z): unbiased for E_p(x, z)[log q(z | x)].

    Its slope in φ is that of −E_p(x)[KL(p(z | x) ‖ q)], the gap of N18 averaged over what the model makes of x: no
    weights and no data, and so no bias at any K, but q is fitted where the model dreams and not where the data are. No
    bound on any log p(x), and no slope in θ. Gradient unbiased. (Hinton, Dayan, Frey and Neal, *Science* 268, 1995.)

    Parameters
    ----------
    model
        Has `sample(n_samples, rng=)`, which gives x (K, D) and z (K, …).
    guide
        From x to q(z | x), one law for each.

    Raises
    ------
    TypeError
        The support of q moves with φ: log q has a slope then that says nothing of where it is 0.

    Examples
    --------
    >>> from minilvm.autograd import grad
    >>> from minilvm.models import AmortizedGuide, SigmoidBeliefNetwork, factorised_bernoulli
    >>> from minilvm.nn import MLP
    >>> model = SigmoidBeliefNetwork.random(n_latents=4, n_features=6, rng=0)
    >>> guide = AmortizedGuide(MLP.create([6, 4], rng=1), factorised_bernoulli)
    >>> slope = grad(lambda guide: sleep_phase(model, guide, 100, rng=2).mean())(guide)
    >>> slope.network.layers[0].weight.shape
    (6, 4)
    """
    check_n_samples(n_samples)
    x, z = (stop_gradient(draws) for draws in model.sample(n_samples, rng=rng))
    q = per_datum(guide(x), x)
    check("sleep_phase", q)
    return q.log_prob(z)


def _checked(estimator: str, model: LogJoint, q: Distribution, x: Array, n_samples: int) -> Distribution:
    """Return q with one law for each datum, or refuse what the estimator cannot serve."""
    q = per_datum(q, x)
    check(estimator, q)
    check_n_samples(n_samples)
    check_support(model, q, x, n_samples)
    return q


def _frozen(parameters: Any) -> Any:
    """The same law, or model, as constants."""
    return tree.map(stop_gradient, parameters)


def _log_w(model: LogJoint, log_q: Array, x: Array, z: Array) -> Array:
    """Return log p(x, z) − log q(z) for given draws, shape (K, N)."""
    return check_weights(log_joint_of(model, x, z) - log_q)


def _without_each(bound: Bound, log_w: Array) -> Array:
    """B with w_k replaced by the geometric mean of the others, for each k: shape (K, N)."""
    K, N = log_w.shape
    zero = np.equal(log_w, -np.inf)
    known = np.where(zero, 0.0, log_w)
    others = np.where(zero.sum(axis=0) > zero, -np.inf, (known.sum(axis=0) - known) / (K - 1))
    each = namespace(log_w).eye(K, dtype=bool)[:, :, None]
    return bound(np.where(each, others, log_w[:, None]).reshape(K, K * N)).reshape(K, N)
