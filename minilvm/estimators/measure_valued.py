"""Measure-valued gradients: the derivative of a density, split into two densities, where it rises and where it falls.

    ∂q(z; θ)/∂θ = c_θ (q⁺(z) − q⁻(z)),   so   ∂E_q[r]/∂θ = c_θ (E_{q⁺}[r] − E_{q⁻}[r])

Neither the score of q nor the slope of r is needed. The price is two evaluations of r for each parameter of each
element of z, the other elements staying as they are. Pairs are coupled where they can be, to have their noise in
common. (Pflug 1989; Heidergott, Vázquez-Abad and Volk-Makarewicz 2008; Mohamed et al., arXiv:1906.10652, §6.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, default_rng, namespace
from minilvm.distributions import Bernoulli, Distribution, Exponential, Gamma, Normal, Poisson
from minilvm.distributions.base import sum_rightmost
from minilvm.estimators.contracts import Integrand, base, differential, evaluated, finite, is_traced, moved
from minilvm.tape import Tensor, stop_gradient


@dataclass(frozen=True)
class WeakDerivative:
    """∂q/∂θ = c (q⁺ − q⁻) for one parameter of the elements: θ, traced; c; and draws from the two, shaped like z."""

    parameter: Array
    constant: Array
    plus: Array
    minus: Array


def measure_valued(r: Integrand, q: Distribution, n_samples: int, rng: Any) -> Array:
    """Return the mean of r, whose slope in each θ_l is c (r(z with z_l ~ q⁺) − r(z with z_l ~ q⁻)). Unbiased."""
    generator = default_rng(rng, like=tree.leaves(q)[0])
    z = q.sample((n_samples,), rng=generator)
    mean = evaluated(r, z, (n_samples, *q.batch_shape)).mean(axis=0)
    if not is_traced(q):
        return mean
    law = base(q)
    for weak in _DERIVATIVES[type(law)](law, z, generator):
        if type(weak.parameter) is Tensor:
            plus, minus = (_with_each_replaced(r, q, z, other) for other in (weak.plus, weak.minus))
            lost = np.isinf(plus) | np.isinf(minus)  # then E[r] is infinite, and has no slope
            rise = np.where(lost, 0.0, finite(plus) - finite(minus))
            mean = moved(mean, sum_rightmost(weak.constant * rise * differential(weak.parameter), len(q.event_shape)))
    return mean


def _with_each_replaced(r: Integrand, q: Distribution, z: Array, other: Array) -> Array:
    """Means of r, shape batch + event: at l, that of the draws in which element l, and no other, is that of `other`."""
    K, batch, L = len(z), q.batch_shape, math.prod(q.event_shape)
    chosen = namespace(z).eye(L, dtype=bool).reshape(L, *(1 for _ in (K, *batch)), L)
    replaced = np.where(chosen, other.reshape(K, *batch, L), z.reshape(K, *batch, L))
    r_k = stop_gradient(evaluated(r, replaced.reshape(L * K, *batch, *q.event_shape), (L * K, *batch)))
    return np.moveaxis(r_k.reshape(L, K, *batch).mean(axis=1), 0, -1).reshape((*batch, *q.event_shape))


def _of_normal(q: Normal, z: Array, rng: Any) -> Iterator[WeakDerivative]:
    """In μ: μ ± σ R, R of Rayleigh's law, c = 1/(σ √2π). In σ: μ + σ M, M of Maxwell's with a sign, less μ + σ M U.

    M has density m² φ(m), and M U, with U uniform, is standard normal again: q⁻ is q itself. c = 1/σ.
    """
    loc, scale = stop_gradient(q.loc), stop_gradient(q.scale)
    rayleigh = np.sqrt(2.0 * rng.standard_exponential(z.shape, dtype=z.dtype))
    yield WeakDerivative(
        q.loc, 1.0 / (scale * math.sqrt(2.0 * math.pi)), loc + scale * rayleigh, loc - scale * rayleigh
    )
    three = rng.standard_normal((*z.shape, 3), dtype=z.dtype)
    maxwell = np.sqrt(np.square(three).sum(axis=-1)) * np.where(three[..., 0] < 0.0, -1.0, 1.0).astype(z.dtype)
    uniform = rng.random(z.shape, dtype=z.dtype)
    yield WeakDerivative(q.scale, 1.0 / scale, loc + scale * maxwell, loc + scale * maxwell * uniform)


def _of_bernoulli(q: Bernoulli, z: Array, rng: Any) -> Iterator[WeakDerivative]:
    """In p: 1 less 0, c = 1. No noise but that of the other bits: the local expectation gradient (arXiv:1503.01494)."""
    del rng
    yield WeakDerivative(q.probs, 1.0, np.ones_like(z), np.zeros_like(z))


def _of_poisson(q: Poisson, z: Array, rng: Any) -> Iterator[WeakDerivative]:
    """In λ: one more, less none more, c = 1."""
    del rng
    yield WeakDerivative(q.rate, 1.0, z + 1.0, z)


def _of_exponential(q: Exponential, z: Array, rng: Any) -> Iterator[WeakDerivative]:
    """In λ: one wait less two, c = 1/λ; the first of the two is the one."""
    rate = stop_gradient(q.rate)
    yield WeakDerivative(q.rate, 1.0 / rate, z, z + rng.standard_exponential(z.shape, dtype=z.dtype) / rate)


def _of_gamma(q: Gamma, z: Array, rng: Any) -> Iterator[WeakDerivative]:
    """In β: the wait for α, less a wait more, c = α/β. In α no pair can be drawn."""
    if type(q.concentration) is Tensor:
        raise TypeError(
            'measure_valued has no pair for the concentration of Gamma: use "reparameterization", or stop_gradient it'
        )
    rate = stop_gradient(q.rate)
    more = z + rng.standard_exponential(z.shape, dtype=z.dtype) / rate
    yield WeakDerivative(q.rate, q.concentration / rate, z, more)


_DERIVATIVES: Final[dict[type, Callable[..., Iterator[WeakDerivative]]]] = {
    Normal: _of_normal,
    Bernoulli: _of_bernoulli,
    Poisson: _of_poisson,
    Exponential: _of_exponential,
    Gamma: _of_gamma,
}
