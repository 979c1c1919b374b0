"""The standard logistic law, of what is squashed in a relaxed bit and rounded in a discretised level."""

from __future__ import annotations

from typing import Any

import numpy

from minilvm.backend import Array, default_rng
from minilvm.distributions.parameters import Shape
from minilvm.numpy import special


def log_logistic(z: Array) -> Array:
    """Return log σ(z) + log σ(−z)."""
    return special.log_expit(z) + special.log_expit(-z)


def draw_logistic(shape: Shape, *, like: Array, rng: Any) -> Array:
    """Return draws log u − log(1 − u), u uniform on [0, 1), in the precision of `like`; finite though u be 0."""
    u = default_rng(rng, like=like).random(shape, dtype=like.dtype)
    u = numpy.maximum(u, numpy.finfo(like.dtype).epsneg)
    return numpy.log(u) - numpy.log1p(-u)
