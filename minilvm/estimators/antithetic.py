"""Antithetic pairs of bits: the slope in each log-odds a from what r gives at a draw and at its mirror image.

One uniform number u makes two bits that are as unlike as their probabilities allow, and each is a draw from q:

    b = [u < p],   b̃ = [1 − u < p],   p = σ(a)

Their difference in r, times a weight that knows u, is an unbiased slope: no r ∇ log q, and nothing asked of r.
"""

from __future__ import annotations

from typing import Any

import minilvm.numpy as np
from minilvm.backend import Array, default_rng
from minilvm.distributions import Distribution
from minilvm.distributions.base import sum_rightmost
from minilvm.estimators.contracts import Integrand, differential, evaluated, finite, is_traced, movable_logits, moved
from minilvm.numpy import special
from minilvm.tape import stop_gradient


def arm(r: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
    """Return the mean of r, whose slope in a_l is that of augment-REINFORCE-merge: (r(b) − r(b̃)) (½ − u_l).

    Unbiased. (Yin and Zhou, arXiv:1807.11143, eq. 5.)
    """
    return _paired(r, q, n_samples, rng, averaged=False)


def disarm(r: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
    """Return the mean of r, whose slope in a_l is ½ (r(b) − r(b̃)) (b_l − b̃_l) σ(|a_l|): ARM, averaged over u given b.

    Unbiased, and never noisier than ARM: what is averaged out of it is noise. (Dong, Mnih and Tucker,
    arXiv:2006.10680, eq. 11; Yin et al., arXiv:2006.08418, call it U2G.)
    """
    return _paired(r, q, n_samples, rng, averaged=True)


def _paired(r: Integrand, q: Distribution, n_samples: int, rng: Any, *, averaged: bool) -> Array:
    """Draw K/2 pairs; the slope is the mean over pairs of (r(b) − r(b̃)) times a weight."""
    n_pairs, odd = divmod(n_samples, 2)
    if odd:
        raise ValueError(f"n_samples is {n_samples}; expected an even number: draws come in antithetic pairs")
    logits = movable_logits(q)
    p = special.expit(stop_gradient(logits))
    u = default_rng(rng, like=p).random((n_pairs, *q.batch_shape, *q.event_shape), dtype=p.dtype)
    b, mirrored = (u < p).astype(p.dtype), (1.0 - u < p).astype(p.dtype)
    value = evaluated(r, np.concatenate([b, mirrored]), (n_samples, *q.batch_shape))
    if not is_traced(q):
        return value.mean(axis=0)
    r_k = stop_gradient(finite(value))
    difference = (r_k[:n_pairs] - r_k[n_pairs:]).reshape(n_pairs, *q.batch_shape, *(1 for _ in q.event_shape))
    weight = 0.5 * (b - mirrored) * np.maximum(p, 1.0 - p) if averaged else 0.5 - u
    slope = (difference * weight).mean(axis=0)
    return moved(value.mean(axis=0), sum_rightmost(slope * differential(logits), len(q.event_shape)))
