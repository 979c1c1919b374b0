"""Data in shards: parts whose bounds depend on the data and the model, and not on who sums them."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy

from minilvm.backend import Array, namespace

Data: TypeAlias = Any  # an array (N, D), or an iterable of chunks (n, D), or of pairs (chunk, weights)
Address: TypeAlias = tuple[str, numpy.dtype[Any], int, tuple[int, ...]]  # in a file: its name, dtype, offset, shape

MOST_SHARDS: Final = 64  # whose sums are kept until all are added


@dataclass(frozen=True, eq=False)
class Shard:
    """Points (n, D), their weights or None, and the index of the first. Of what is mapped, only the address is sent."""

    x: Array
    weight: Array | None
    start: int
    addresses: tuple[Address | None, Address | None] = (None, None)

    def __reduce__(self) -> tuple[Any, ...]:
        sent = [array if address is None else None for array, address in zip(self._arrays, self.addresses, strict=True)]
        return _arrived, (*sent, self.start, self.addresses)

    @property
    def _arrays(self) -> tuple[Array, Array | None]:
        return self.x, self.weight


def _arrived(x: Array, weight: Array | None, start: int, addresses: tuple[Address | None, Address | None]) -> Shard:
    x, weight = (
        array if address is None else numpy.memmap(address[0], address[1], "r", *address[2:])
        for array, address in zip((x, weight), addresses, strict=True)
    )
    return Shard(x, weight, start, addresses)


def shards(x: Array, weight: Array | None, least: int) -> list[Shard]:
    """Return an array in shards of about `least` points or more, in a number that most counts of cores divide."""
    n_shards = math.ceil(len(x) / least)
    n_shards = min(n_shards if n_shards <= 4 else 8 * math.ceil(n_shards / 8), MOST_SHARDS)
    found = []
    for rows in slices(len(x), math.ceil(len(x) / n_shards)):
        addresses = _address(x, rows), _address(weight, rows)
        found.append(Shard(x[rows], None if weight is None else weight[rows], rows.start, addresses))
    return found


def _address(x: Any, rows: slice) -> Address | None:
    """Where the rows of a memory map are in its file; None for other arrays, and for views of a map."""
    base: Any = getattr(x, "base", None)
    if type(x) is numpy.memmap and isinstance(base, mmap.mmap) and x.flags.c_contiguous:
        return str(x.filename), x.dtype, x.offset + rows.start * x.strides[0], x[rows].shape
    return None


def stream(x: Iterable[Any], check: Callable[[Array], None]) -> Iterator[Shard]:
    """Yield the chunks of data that come in chunks, each a shard.

    Raises
    ------
    TypeError
        They could be read only once.
    ValueError
        A chunk is not what `check` lets pass, or its weights are not one number for each point, at least 0.
    """
    if iter(x) is x:
        raise TypeError(
            f"x is a {type(x).__name__}, which can be read once; EM reads the data at each step: give a list of "
            "chunks, or an object whose __iter__ begins again"
        )
    start = 0
    for chunk in x:
        points, weight = chunk if isinstance(chunk, tuple) else (chunk, None)
        check(points)
        if weight is not None:
            weight = namespace(points).asarray(weight)
            check_weight(weight, points)
        yield Shard(points, weight, start)
        start += len(points)


def check_weight(weight: Array, x: Array) -> None:
    """Refuse weights that are not one number for each point, finite and at least 0."""
    if weight.shape != (len(x),):
        raise ValueError(f"sample_weight has shape {weight.shape}; expected ({len(x)},) to match x")
    if not bool((numpy.isfinite(weight) & (weight >= 0)).all()):
        raise ValueError("sample_weight must be finite and at least 0")


def slices(n: int, size: int) -> Iterator[slice]:
    """Return slices of `size` that make up range(n); the last may be shorter."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
