"""Where supports decide: KL(p ‖ q) = +inf wherever p can produce what q cannot, whatever their densities are.

One rule for all laws of a number with a density: their supports are intervals, and that of p must lie in that of q. It
is registered for every pair of laws, and so it answers for those that have no formula of their own.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Final

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array, namespace
from minilvm.distributions.base import Distribution
from minilvm.distributions.beta import Beta
from minilvm.distributions.exponential import Exponential
from minilvm.distributions.gamma import Gamma
from minilvm.distributions.gumbel import Gumbel
from minilvm.distributions.kl import Divergence, missing, register_kl
from minilvm.distributions.laplace import Laplace
from minilvm.distributions.log_normal import LogNormal
from minilvm.distributions.normal import Normal
from minilvm.distributions.parameters import broadcast
from minilvm.distributions.relaxed_bernoulli import RelaxedBernoulli
from minilvm.distributions.student_t import StudentT
from minilvm.distributions.uniform import Uniform
from minilvm.tape import stop_gradient

LINE, HALF_LINE, UNIT = (-math.inf, math.inf), (0.0, math.inf), (0.0, 1.0)
ENDS: Final[dict[type, tuple[float, float]]] = {
    Beta: UNIT,
    Exponential: HALF_LINE,
    Gamma: HALF_LINE,
    Gumbel: LINE,
    Laplace: LINE,
    LogNormal: HALF_LINE,
    Normal: LINE,
    RelaxedBernoulli: UNIT,
    StudentT: LINE,
}


def ends(law: Distribution) -> tuple[Any, Any] | None:
    """Return the ends of the law's support, or None where it is no interval."""
    if isinstance(law, Uniform):
        return stop_gradient(law.low), stop_gradient(law.high)
    return next((ENDS[kind] for kind in type(law).__mro__ if kind in ENDS), None)


def covered(p: Distribution, q: Distribution) -> Any:
    """Return whether all that p can produce q can, for each law of the batch; None where that is not known."""
    of_p, of_q = ends(p), ends(q)
    return None if of_p is None or of_q is None else (of_q[0] <= of_p[0]) & (of_p[1] <= of_q[1])


@register_kl(Distribution, Distribution)
def kl_by_supports(p: Distribution, q: Distribution) -> Array:
    """Return +inf if none of the laws p can do without an event that q lacks.

    Raises
    ------
    TypeError
        Some can, or it is not known: their divergence is finite, and has no closed form here.
    """
    inside = covered(p, q)
    if inside is None or np.any(inside):
        raise missing(p, q)
    return infinite(p, q)


def infinite(p: Distribution, q: Distribution) -> Array:
    """Return +inf for each law that the two batches make."""
    xp = namespace(*tree.leaves((p, q)))
    return xp.full(broadcast(p.batch_shape, q.batch_shape), math.inf, dtype=numpy.result_type(p.dtype, q.dtype))


def where_covered(divergence: Divergence) -> Divergence:
    """Let a formula stand where q can do all that p can, and make it +inf elsewhere, where its gradients are 0."""

    @functools.wraps(divergence)
    def guarded(p: Distribution, q: Distribution) -> Array:
        inside = covered(p, q)
        if inside is True:
            return divergence(p, q)
        if isinstance(p, Uniform):  # a formula meets only ends that it can take, those of ¼ and ¾ in place of others
            low, high = np.where(inside, p.low, 0.25), np.where(inside, p.high, 0.75)
            return np.where(inside, divergence(Uniform(low, high, validate_args=False), q), math.inf)
        return np.where(inside, divergence(p, q), math.inf)

    return guarded
