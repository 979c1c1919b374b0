"""Bits and labels made to move: straight-through, Gumbel-softmax, and control variates that take the bias out again.

A bit is a threshold on a number that moves with its log-odds a, and a label (as a one-hot vector) the largest of C
numbers that move with a = log π; with u uniform, logit u = log u − log(1 − u) and g of Gumbel's law, −log(−log u):

    b = [x > 0],   x = a + logit u                    b = one-hot of argmax x,   x = a + g

Behind the threshold r has no slope. At σ(x/λ) or softmax(x/λ), the relaxed b, it has one, of another function.
*Straight-through* and *Gumbel-softmax* use such slopes and are biased. REBAR and RELAX subtract them from the score
function where they are noise, given b, and add back their mean: unbiased, whatever function c of x they use.

    ∇ E_q[r] = E[(r(b) − c(x̃)) ∇ log q(b) + ∇c(x) − ∇c(x̃)],   x̃ drawn given b, as x is, and as a function of a

Here x̃ and x are one number that has two slopes: x moves as a does, x̃ as a draw given b does; their law is the same.
One evaluation of c then serves both. (Tucker et al., arXiv:1703.07370, §3.1 and appendix; Maddison, Mnih and Teh,
arXiv:1611.00712; Jang, Gu and Poole, arXiv:1611.01144.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import vjp
from minilvm.backend import Array, default_rng
from minilvm.distributions import Bernoulli, Distribution
from minilvm.distributions.base import sum_rightmost
from minilvm.estimators.contracts import (
    Integrand,
    base,
    differential,
    evaluated,
    finite,
    is_traced,
    movable_logits,
    moved,
)
from minilvm.numpy import special
from minilvm.tape import stop_gradient


def straight_through(r: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
    """Return the mean of r(b), differentiated as if b were its probability: ∂r/∂b ∂p/∂φ.

    Biased unless r is linear in every bit, or one-hot vector, of b. (Bengio, Léonard and Courville, arXiv:1308.3432.)
    """
    b = q.sample((n_samples,), rng=rng)
    return evaluated(r, b + differential(base(q).probs), (n_samples, *q.batch_shape), smooth=True).mean(axis=0)


@dataclass(frozen=True)
class GumbelSoftmax:
    """The slope of r at relaxed draws, σ(x/λ) or softmax(x/λ), with the value of r at the draws themselves.

    Biased: it is the gradient of the average of another function. That average is no estimate of E_q[r], nor, where r
    is log p(x, z) − log q(z), a bound on anything; so what is returned is the mean over b. (arXiv:1611.00712.)
    """

    temperature: Array = 0.5
    name: str = tree.static(default="gumbel_softmax", init=False)

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def __call__(self, r: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
        """Return the mean of r."""
        generator = default_rng(rng, like=tree.leaves(q)[0])
        b = q.sample((n_samples,), rng=generator)
        value = evaluated(r, b, (n_samples, *q.batch_shape))
        if not is_traced(q):
            return value.mean(axis=0)
        x = stop_gradient(_given(q, b, generator)) + differential(movable_logits(q))
        relaxed = evaluated(r, _softened(q, x / self.temperature), value.shape, smooth=True)
        return (stop_gradient(value) + differential(relaxed)).mean(axis=0)


@dataclass(frozen=True)
class Relax:
    """The score function less a control variate c(x) of your own, which may be learned: nothing is asked of r.

    Unbiased for every c. To learn c, differentiate the squared gradient with respect to this object, which is a tree:
    `grad(lambda how: (grad(lambda phi: expectation(r, law(phi), estimator=how, rng=rng))(phi) ** 2).sum())(how)`, since
    the mean of the gradient does not depend on c and so its variance falls as its square does.
    (Grathwohl et al., arXiv:1711.00123, eq. 8.)

    Parameters
    ----------
    surrogate
        c, from x of shape (K,) + q.batch_shape + q.event_shape to (K,) + q.batch_shape: a function, or a tree of
        parameters that can be called. A bit is 1 where x > 0, a label where x is the largest.
    """

    surrogate: Any
    name: str = tree.static(default="relax", init=False)

    def __call__(self, r: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
        """Return the mean of r."""
        return _with_control(r, self.surrogate, q, n_samples, rng)


@dataclass(frozen=True)
class Rebar:
    """RELAX with c(x) = η r(σ(x/λ)), or softmax for σ: the relaxation is the control variate. Unbiased for all λ and η.

    (Tucker et al., arXiv:1703.07370, eq. 6.)
    """

    temperature: Array = 0.5
    eta: Array = 1.0
    name: str = tree.static(default="rebar", init=False)

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def __call__(self, r: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
        """Return the mean of r."""

        def c(x: Array) -> Array:
            shape = (n_samples, *q.batch_shape)
            return self.eta * evaluated(r, _softened(q, x / self.temperature), shape, smooth=True)

        return _with_control(r, c, q, n_samples, rng)


def _check_temperature(temperature: Array) -> None:
    if not 0.0 < float(stop_gradient(temperature)) < np.inf:
        raise ValueError(f"temperature is {temperature}; expected a finite number above 0")


def _with_control(r: Integrand, c: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
    """r + (r − c(x̃)) d log q + c′(x̃) (dx − dx̃): three terms of slope, and the value is r's."""
    generator = default_rng(rng, like=tree.leaves(q)[0])
    b = q.sample((n_samples,), rng=generator)
    value = evaluated(r, b, (n_samples, *q.batch_shape))
    if not is_traced(q):
        return value.mean(axis=0)
    given = _given(q, b, generator)
    control, pullback = vjp(c, stop_gradient(given))
    if control.shape != value.shape:
        raise ValueError(f"surrogate gave shape {control.shape} for x of shape {given.shape}; expected {value.shape}")
    (slope,) = pullback(np.ones_like(control))
    path = sum_rightmost(slope * (differential(movable_logits(q)) - differential(given)), len(q.event_shape))
    score = (stop_gradient(finite(value)) - control) * differential(q.log_prob(b))
    return moved(value.mean(axis=0), (score + path).mean(axis=0))


def _softened(q: Distribution, x: Array) -> Array:
    return special.expit(x) if isinstance(base(q), Bernoulli) else np.softmax(x, axis=-1)


def _given(q: Distribution, b: Array, rng: Any) -> Array:
    """A draw of x given b, as a function of a."""
    return (_given_bit if isinstance(base(q), Bernoulli) else _given_label)(movable_logits(q), b, rng)


def _given_bit(a: Array, b: Array, rng: Any) -> Array:
    """s log(1 + v/(1 − v) (1 + exp(s a))), with v uniform and s = ±1 the sign that b gives x.

    Given b = 1, u is uniform on (1 − p, 1), u = 1 − p + v p, and a + logit u = log(1 + v / ((1 − v) (1 − p))), where
    1/(1 − p) = 1 + e^a; given b = 0 the mirror image.
    """
    v = np.maximum(rng.random(b.shape, dtype=b.dtype), np.finfo(b.dtype).tiny)
    sign = 2.0 * b - 1.0
    return sign * special.softplus(np.log(v) - np.log1p(-v) + special.softplus(sign * a))


def _given_label(a: Array, b: Array, rng: Any) -> Array:
    """The largest of C Gumbel numbers at log π is of Gumbel's law at 0, and the others are as they were, but below it.

    Below t, Gumbel's law at a is that of −log(exp(−t) + exp(−a − g)). (Maddison, Tarlow and Minka, arXiv:1411.0030.)
    """
    g = -np.log(np.maximum(rng.standard_exponential(b.shape, dtype=b.dtype), np.finfo(b.dtype).tiny))
    largest = (b * g).sum(axis=-1, keepdims=True)
    return np.where(b == 1.0, largest, a + g - special.softplus(a + g - largest))
