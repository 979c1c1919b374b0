"""Going through the data in a random order, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minilvm import backend
from minilvm.backend import Array


def minibatches(x: Array, batch_size: int, *, rng: Any) -> Iterator[Array]:
    """Yield index arrays that visit every datum of `x` once, in a random order; the last batch may be smaller."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1")
    order = backend.default_rng(rng, like=x).random(len(x)).argsort()
    for start in range(0, len(x), batch_size):
        yield order[start : start + batch_size]
