"""Kullback-Leibler divergences in closed form: a table of pairs of laws.

    KL(p ‖ q) = E_p[log p(z) − log q(z)] ≥ 0, and 0 only where p = q

It is the gap of the bound in N9 and the complexity term of N15. An event that p cannot produce contributes nothing; one
that p can produce and q cannot makes the divergence +inf. The formulas are in `divergences`, which fills the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from minilvm.backend import Array
from minilvm.distributions.base import Distribution

Divergence = Callable[[Any, Any], Array]
F = TypeVar("F", bound=Divergence)

TABLE: Final[dict[tuple[type, type], Divergence]] = {}


def register_kl(p: type, q: type) -> Callable[[F], F]:
    """Register the decorated function of two laws as KL(p ‖ q) for laws of these classes, and of their subclasses.

    Examples
    --------
    >>> import numpy
    >>> from minilvm.distributions import Normal
    >>> class Standard(Normal): ...
    >>> @register_kl(Standard, Standard)
    ... def kl_standard_standard(p, q):
    ...     return numpy.zeros(p.batch_shape)
    >>> kl_divergence(Standard(0.0, 1.0), Standard(0.0, 1.0)), TABLE.pop((Standard, Standard)).__name__
    (array(0.), 'kl_standard_standard')
    """

    def register(divergence: F) -> F:
        TABLE[p, q] = divergence
        return divergence

    return register


def kl_divergence(p: Distribution, q: Distribution) -> Array:
    """Return KL(p ‖ q) = E_p[log p(z) − log q(z)] in nats, of the shape that the two batch shapes broadcast to.

    The pair is looked up by class, then by base classes, those of `p` changing last. A pair that is not in the table is
    +inf where the support of `p` says so.

    Raises
    ------
    TypeError
        No closed form is registered for the pair.
    ValueError
        The events of `p` and `q` have different shapes.

    Examples
    --------
    >>> from minilvm.distributions import Normal
    >>> kl_divergence(Normal(1.0, 1.0), Normal([0.0, 1.0], 1.0))
    array([0.5, 0. ])
    """
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"KL(p ‖ q): events of p have shape {p.event_shape}, those of q {q.event_shape}; expected the same"
        )
    for kind_p in type(p).__mro__:
        for kind_q in type(q).__mro__:
            if (kind_p, kind_q) in TABLE:
                return TABLE[kind_p, kind_q](p, q)
    raise missing(p, q)


def missing(p: Distribution, q: Distribution) -> TypeError:
    """Return the error which says that the pair has no closed form, and what to do instead."""
    return TypeError(
        f"no closed form registered for KL({type(p).__name__} ‖ {type(q).__name__}). Estimate it by Monte Carlo, the "
        "mean of p.log_prob(z) - q.log_prob(z) over z = p.sample((K,), rng=rng); or add one, with @register_kl"
    )
