"""What every estimator claims and needs, as a table, and what they share.

An estimator that is asked of a law it cannot serve does not fail by itself: it returns numbers of the right shape with
a wrong mean. So it is refused here, before a draw is made, and the refusal names those that are sound. Whether r is
smooth in z is seen only when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy

import minilvm.numpy as np
from minilvm import tree
from minilvm.backend import Array
from minilvm.distributions import (
    Bernoulli,
    Delta,
    DiscreteUniform,
    Distribution,
    Exponential,
    Gamma,
    Independent,
    MixtureSameFamily,
    Normal,
    OneHotCategorical,
    Poisson,
    Transformed,
    Uniform,
)
from minilvm.distributions.parameters import finite as real
from minilvm.rules import primitive
from minilvm.tape import Tensor, stop_gradient

Integrand = Callable[[Array], Array]
Direction = Literal["unbiased", "lower", "upper", "neither"]


@dataclass(frozen=True)
class Need:
    """Something that an estimator needs of q: in words, and as a test."""

    description: str
    met: Callable[[Any], bool]


@dataclass(frozen=True)
class Contract:
    """What an estimator says of itself.

    >>> CONTRACTS["rebar"].direction, CONTRACTS["rebar"].evaluations
    ('unbiased', '2')
    """

    estimates: str  # what its value is an estimate of,
    direction: Direction  # from which side, in expectation,
    gradient: Literal["unbiased", "biased"]  # and how its gradient stands to that of what is estimated
    needs: tuple[Need, ...] = ()  # of q
    smooth: bool = False  # whether r, or log p(x, z), must be differentiable in z
    by_log_q: bool = False  # whether it is log q that is differentiated, which sees no slope at a probability of 0
    evaluations: str = "1"  # of r for each draw; L and P are the numbers of latents and of parameters of each
    source: str = ""


def base(q: Any) -> Any:
    """Return the law of each element of q, if its elements are independent; else q itself."""
    while isinstance(q, Independent):
        q = q.base
    return q


def movable_logits(q: Any) -> Array:
    """Return the log-odds of the bits of q, or log π of its one-hot vectors; what is certain cannot be moved."""
    law = base(q)
    check_uncertain(law)
    return law.logits if isinstance(law, Bernoulli) else law.log_probs


def check_uncertain(q: Any) -> None:
    """Refuse probabilities, or rates, of exactly 0: log q does not know how they would grow."""
    law = base(q)
    if getattr(law, "parameterization", None) == "probs":
        p = stop_gradient(law.probs)
        certain = (p == 0.0) | (p == 1.0)
    elif isinstance(law, Poisson):
        certain = stop_gradient(law.rate) == 0.0
    else:
        return
    if bool(certain.any()):
        raise ValueError(
            "q has probabilities of exactly 0 or 1, whose logarithms cannot be moved; keep them between, as logits do"
            + (', or use "measure_valued"' if MEASURES.met(q) else "")
        )


def _moves(law: Any) -> bool:
    """Whether where the law has a density depends on something that is traced: its score then lacks a term."""
    law = base(law)
    if isinstance(law, Transformed):
        everywhere = [base(law.base).support is real, *(t.codomain is real for t in law.transforms)]
        pushed = (is_traced(t) and not all(everywhere[: i + 1]) for i, t in enumerate(law.transforms))
        return _moves(law.base) or any(pushed)
    if isinstance(law, MixtureSameFamily):
        return _moves(law.component_distribution)
    return isinstance(law, Uniform | DiscreteUniform | Delta) and is_traced(law)


def _can_list(q: Any) -> bool:
    return getattr(type(base(q)), "enumerate_support", None) not in {None, Distribution.enumerate_support}


LISTED: Final = Need("a q that can list its support", _can_list)
PATHS: Final = Need("a q whose draws are differentiable (q.reparameterized)", lambda q: q.reparameterized)
BITS: Final = Need("a q of independent bits", lambda q: isinstance(base(q), Bernoulli))
SOFT: Final = Need(
    "a q of independent bits or one-hot vectors", lambda q: isinstance(base(q), Bernoulli | OneHotCategorical)
)
STILL: Final = Need("a q whose support does not move with its parameters", lambda q: not _moves(q))
MEASURES: Final = Need(
    "a q of independent Normal, Bernoulli, Poisson, Exponential or Gamma elements",
    lambda q: isinstance(base(q), Normal | Bernoulli | Poisson | Exponential | Gamma),
)

_E, _L, _D = "E_q[r(z)]", "log p(x)", "E_p(x, z)[log q(z | x)]"
_W = "log p(x), from weights"  # in expectation over the draws that they are of

CONTRACTS: Final = {
    "exact": Contract(_E, "unbiased", "unbiased", (LISTED,), by_log_q=True, evaluations="all values of z"),
    "reparameterization": Contract(_E, "unbiased", "unbiased", (PATHS,), smooth=True, source="N13, arXiv:1312.6114"),
    "measure_valued": Contract(
        _E, "unbiased", "unbiased", (MEASURES,), evaluations="1 + 2 P L", source="arXiv:1906.10652, §6"
    ),
    "disarm": Contract(_E, "unbiased", "unbiased", (BITS,), source="arXiv:2006.10680, eq. 11"),
    "arm": Contract(_E, "unbiased", "unbiased", (BITS,), source="arXiv:1807.11143, eq. 5"),
    "rebar": Contract(
        _E, "unbiased", "unbiased", (SOFT,), smooth=True, evaluations="2", source="arXiv:1703.07370, eq. 6"
    ),
    "relax": Contract(_E, "unbiased", "unbiased", (SOFT,), evaluations="1", source="arXiv:1711.00123, eq. 8"),
    "score_function": Contract(_E, "unbiased", "unbiased", (STILL,), by_log_q=True, source="N12, Williams (1992)"),
    "straight_through": Contract(_E, "unbiased", "biased", (SOFT,), smooth=True, source="arXiv:1308.3432"),
    "gumbel_softmax": Contract(
        _E, "unbiased", "biased", (SOFT,), smooth=True, evaluations="2", source="arXiv:1611.00712, 1611.01144"
    ),
    "iwae": Contract(_L, "lower", "unbiased", (PATHS,), smooth=True, source="N17, arXiv:1509.00519"),
    "sticking_the_landing": Contract(_L, "lower", "unbiased", (PATHS, STILL), smooth=True, source="arXiv:1703.09194"),
    "dreg": Contract(
        _L, "lower", "unbiased", (PATHS, STILL), smooth=True, evaluations="2", source="arXiv:1810.04152, eq. 8"
    ),
    "vimco": Contract(_L, "lower", "unbiased", (STILL,), by_log_q=True, source="arXiv:1602.06725, eq. 10"),
    "reweighted_wake_sleep": Contract(_L, "lower", "biased", (STILL,), source="arXiv:1406.2751"),
    "sleep_phase": Contract(_D, "unbiased", "unbiased", (STILL,), evaluations="0", source="Hinton et al. (1995)"),
    "elbo": Contract(_W, "lower", "unbiased", (PATHS,), smooth=True, source="N7, Jordan et al. (1999)"),
    "renyi": Contract(_W, "lower", "unbiased", (PATHS,), smooth=True, source="arXiv:1602.02311, Theorem 2"),
    "tvo": Contract(_W, "lower", "unbiased", (PATHS,), smooth=True, source="arXiv:1907.00031"),
    "tvo_upper": Contract(_W, "neither", "unbiased", (PATHS,), smooth=True, source="arXiv:1907.00031"),
    "jackknife": Contract(_W, "neither", "unbiased", (PATHS,), smooth=True, source="Nowozin (2018)"),
    "cubo": Contract(_W, "neither", "unbiased", (PATHS,), smooth=True, source="arXiv:1611.00328"),
    "eubo": Contract(_W, "upper", "unbiased", source="N18"),  # in φ; θ moves the draws from p(z | x) too
}


def check(estimator: str, q: Any) -> None:
    """Refuse an estimator whose needs q does not meet, and name those whose needs it does."""
    contract = CONTRACTS[estimator]
    for need in contract.needs:
        if not need.met(q):
            raise TypeError(
                f"{estimator} needs {need.description}; q is {_spelt(q)}. "
                f"Unbiased for it: {', '.join(map(repr, sound_for(q, contract.estimates))) or 'none'}"
            )
    if contract.by_log_q and is_traced(q):
        check_uncertain(q)


def sound_for(q: Any, estimates: str = _E) -> list[str]:
    """Return the names of the estimators that are unbiased for this law.

    >>> sound_for(Independent(Normal([0.0, 0.0], 1.0), 1))
    ['reparameterization', 'measure_valued', 'score_function']
    """
    return [
        name
        for name, contract in CONTRACTS.items()
        if contract.estimates == estimates
        and contract.gradient == "unbiased"
        and all(need.met(q) for need in contract.needs)
    ]


def _spelt(q: Any) -> str:
    return f"Independent({_spelt(q.base)})" if isinstance(q, Independent) else type(q).__name__


def is_traced(q: Any) -> bool:
    """Whether a parameter of q is being differentiated with respect to; if not, a plain mean is all that is asked."""
    return any(type(leaf) is Tensor for leaf in tree.leaves(q))


def evaluated(r: Integrand, z: Array, shape: tuple[int, ...], *, smooth: bool = False) -> Array:
    """Return r(z), or refuse it where it is not one number a draw: broadcast against log q it would be a wrong answer.

    With `smooth`, r must be differentiable in z: of a rounded or compared z the slope is 0, and no answer either.
    """
    value = r(z)
    if numpy.shape(value) != shape:
        raise ValueError(f"r gave shape {numpy.shape(value)} for draws of shape {z.shape}; expected {shape}")
    if smooth and type(z) is Tensor and type(value) is not Tensor:
        raise TypeError(
            "r(z) is not differentiable in z: nothing of z arrives in it but by comparison, rounding or indexing. "
            'Use estimator="score_function", which needs values of r alone'
        )
    return value


def finite(value: Array) -> Array:
    """Return values of r, with 0 for those that are infinite, so that what they multiply is a number; see `moved`."""
    return np.where(np.isinf(value), 0.0, value)


def moved(mean: Array, slope: Array) -> Array:
    """Return a mean together with its slope, which is 0 in value; of an infinite mean there is none.

    To count infinite values for nothing would make −∞ better than any number below 0, and be a slope towards it.
    """
    return mean + np.where(np.isinf(mean), 0.0, slope)


@primitive(x=lambda g: g)
def differential(x: Array) -> Array:
    """Return dx: 0 in value, with the derivative of x; x − stop_gradient(x), but for infinities."""
    return numpy.zeros_like(x)
