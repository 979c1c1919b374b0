"""Bits made to move: straight-through, Gumbel-softmax, and the two control variates that take the bias out again.

A bit is a threshold on a number that moves with its log-odds a: with u uniform and logit u = log u − log(1 − u),

    b = [x > 0],   x = a + logit u

Behind the threshold r has no slope. At the relaxed bit σ(x/λ) it has one, of another function. *Straight-through* and
*Gumbel-softmax* use that slope and are biased. REBAR and RELAX subtract it from the score function where it is noise,
given b, and add back its mean, and are unbiased whatever function c of x they use:

    ∇ E_q[r] = E[(r(b) − c(x̃)) ∇ log q(b) + ∇c(x) − ∇c(x̃)],   x̃ drawn given b, as x is, and as a function of a

Here x̃ and x are one number that has two slopes: x moves as a does, x̃ as a draw given b does; their law is the same.
One evaluation of c then serves both. (Couplings: Tucker et al., arXiv:1703.07370, appendix; Maddison, Mnih and Teh,
arXiv:1611.00712; Jang, Gu and Poole, arXiv:1611.01144.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import minilvm.numpy as np
from minilvm import tree
from minilvm.autograd import vjp
from minilvm.backend import Array, default_rng
from minilvm.distributions import Distribution
from minilvm.distributions.base import sum_rightmost
from minilvm.estimators.contracts import Integrand, base, bit_logits, differential, evaluated, finite, is_traced
from minilvm.numpy import special
from minilvm.tape import stop_gradient


def straight_through(r: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
    """Return the mean of r(b), differentiated as if b were its probability: ∂r/∂b ∂p/∂φ.

    Biased unless r is linear in every bit. (Bengio, Léonard and Courville, arXiv:1308.3432.)
    """
    b = q.sample((n_samples,), rng=rng)
    return evaluated(r, b + differential(base(q).probs), (n_samples, *q.batch_shape), smooth=True).mean(axis=0)


@dataclass(frozen=True)
class GumbelSoftmax:
    """The slope of r at relaxed bits σ(x/λ), with the value of r at the bits themselves.

    Biased: it is the gradient of the average of another function. That average is no estimate of E_q[r], nor, where r
    is log p(x, z) − log q(z), a bound on anything; so what is returned is the mean over bits. (arXiv:1611.00712.)
    """

    temperature: Array = 0.5
    name: str = tree.static(default="gumbel_softmax", init=False)

    def __call__(self, r: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
        """Return the mean of r."""
        generator = default_rng(rng, like=tree.leaves(q)[0])
        b = q.sample((n_samples,), rng=generator)
        value = evaluated(r, b, (n_samples, *q.batch_shape))
        if not is_traced(q):
            return value.mean(axis=0)
        x = stop_gradient(_given(q, b, generator)) + differential(bit_logits(q))
        relaxed = evaluated(r, special.expit(x / self.temperature), value.shape, smooth=True)
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
        parameters that can be called. A bit is 1 where x > 0.
    """

    surrogate: Any
    name: str = tree.static(default="relax", init=False)

    def __call__(self, r: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
        """Return the mean of r."""
        return _with_control(r, self.surrogate, q, n_samples, rng)


@dataclass(frozen=True)
class Rebar:
    """RELAX with c(x) = η r(σ(x/λ)): the relaxation is the control variate. Unbiased for every λ > 0 and η.

    (Tucker et al., arXiv:1703.07370, eq. 6.)
    """

    temperature: Array = 0.5
    eta: Array = 1.0
    name: str = tree.static(default="rebar", init=False)

    def __call__(self, r: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
        """Return the mean of r."""

        def c(x: Array) -> Array:
            shape = (n_samples, *q.batch_shape)
            return self.eta * evaluated(r, special.expit(x / self.temperature), shape, smooth=True)

        return _with_control(r, c, q, n_samples, rng)


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
    path = sum_rightmost(slope * (differential(bit_logits(q)) - differential(given)), len(q.event_shape))
    score = (stop_gradient(finite(value)) - control) * differential(q.log_prob(b))
    return (value + score + path).mean(axis=0)


def _given(q: Distribution, b: Array, rng: Any) -> Array:
    """A draw of x given b, as a function of a: s log(1 + v/(1 − v) (1 + exp(s a))), s = ±1 the sign that b gives x.

    Given b = 1, u is uniform on (1 − p, 1), u = 1 − p + v p, and a + logit u = log(1 + v / ((1 − v) (1 − p))), where
    1/(1 − p) = 1 + e^a; given b = 0 the mirror image.
    """
    a = bit_logits(q)
    v = np.maximum(rng.random(b.shape, dtype=b.dtype), np.finfo(b.dtype).tiny)
    sign = 2.0 * b - 1.0
    return sign * special.softplus(np.log(v) - np.log1p(-v) + special.softplus(sign * a))
