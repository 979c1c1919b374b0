"""Divergences between laws that are made of laws."""

from __future__ import annotations

from typing import Any

import numpy

from minilvm import backend, tree
from minilvm.backend import Array
from minilvm.distributions.base import sum_rightmost
from minilvm.distributions.independent import Independent
from minilvm.distributions.kl import kl_divergence, missing, register_kl
from minilvm.distributions.transformed import Transformed
from minilvm.tape import stop_gradient


@register_kl(Independent, Independent)
def kl_independent_independent(p: Independent, q: Independent) -> Array:
    """Return Σ_l KL(p_l ‖ q_l) over the elements of the event."""
    n = p.reinterpreted_batch_ndims
    if n != q.reinterpreted_batch_ndims:
        raise TypeError(
            f"KL(p ‖ q): p reads {n} batch axes of its base as the event and q {q.reinterpreted_batch_ndims}; "
            "expected the same number"
        )
    return sum_rightmost(kl_divergence(p.base, q.base), n)


@register_kl(Transformed, Transformed)
def kl_transformed_transformed(p: Transformed, q: Transformed) -> Array:
    """Return KL(base of p ‖ base of q), which the same bijections for both leave as it is.

    Raises
    ------
    TypeError
        Their bijections differ.
    """
    if not _same(p.transforms, q.transforms):
        raise missing(p, q)
    return kl_divergence(p.base, q.base)


def _same(a: Any, b: Any) -> bool:
    """Whether two trees have the same structure and the same numbers."""
    try:
        equal = tree.map(lambda x, y: numpy.array_equal(_on_host(x), _on_host(y)), a, b)
    except ValueError:
        return False
    return all(tree.leaves(equal))


def _on_host(x: Array) -> Array:
    return backend.to_numpy(stop_gradient(x))
