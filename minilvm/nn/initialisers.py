"""Where weights start: small enough that signals neither die nor explode on their way through the layers."""

from __future__ import annotations

import math
from typing import Any

from minilvm import backend
from minilvm.backend import Array


def glorot_uniform(n_in: int, n_out: int, *, rng: Any, dtype: Any = "float64") -> Array:
    """Return weights of shape (n_in, n_out), uniform on ±√(6 / (n_in + n_out)).

    The variance 2 / (n_in + n_out) is a compromise between keeping the variance of the signals on the way forward
    (1 / n_in) and of the gradients on the way back (1 / n_out). (Glorot and Bengio, AISTATS 2010, eq. 16.)
    """
    limit = math.sqrt(6.0 / (n_in + n_out))
    uniform = backend.default_rng(rng).random((n_in, n_out), dtype=dtype)
    uniform -= 0.5
    uniform *= 2.0 * limit
    return uniform
