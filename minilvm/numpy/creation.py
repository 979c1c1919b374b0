"""Arrays from nothing, on the active backend; and from lists that may hold traced values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy

from minilvm import backend
from minilvm.backend import Array
from minilvm.numpy.shaping import stack
from minilvm.rules import atomic, constant
from minilvm.tape import Tensor

Shape = int | tuple[int, ...]


def _module() -> Any:
    return backend.BACKENDS[backend.active()].module


def zeros(shape: Shape, dtype: Any = float) -> Array:
    """Return an array of zeros on the active backend."""
    return _module().zeros(shape, dtype=dtype)


def ones(shape: Shape, dtype: Any = float) -> Array:
    """Return an array of ones on the active backend."""
    return _module().ones(shape, dtype=dtype)


def full(shape: Shape, fill_value: float, dtype: Any = None) -> Array:
    """Return an array filled with one value, on the active backend."""
    return _module().full(shape, fill_value, dtype=dtype)


def eye(n: int, m: int | None = None, k: int = 0, dtype: Any = float) -> Array:
    """Return the matrix with ones on its k-th diagonal and zeros elsewhere, on the active backend."""
    return _module().eye(n, m, k, dtype=dtype)


def arange(*bounds: float, dtype: Any = None) -> Array:
    """Return evenly spaced numbers, `arange(stop)` or `arange(start, stop, step)`, on the active backend."""
    return _module().arange(*bounds, dtype=dtype)


def linspace(start: float, stop: float, num: int = 50, dtype: Any = None) -> Array:
    """Return `num` evenly spaced numbers from `start` to `stop`, both included, on the active backend."""
    return _module().linspace(start, stop, num, dtype=dtype)


def array(x: Any, dtype: Any = None) -> Array:
    """Return `x` as a new array of the active backend. Nested lists that hold Tensors are stacked where those are."""
    tensors = list(_tensors(x))
    return _assembled(x, backend.namespace(*tensors), dtype) if tensors else _array(x, dtype)


def asarray(x: Any, dtype: Any = None) -> Array:
    """Return `x` as an array of the active backend, itself where it is one already; like `array` for lists."""
    return array(x, dtype) if any(True for _ in _tensors(x)) else _asarray(x, dtype)


@atomic
def _array(x: Any, dtype: Any) -> Array:
    return _module().array(x, dtype=dtype)


_asarray = atomic(backend.asarray)


def _tensors(x: Any) -> Iterator[Tensor]:
    if isinstance(x, list | tuple):
        for part in x:
            yield from _tensors(part)
    elif type(x) is Tensor:
        yield x


def _assembled(x: Any, xp: Any, dtype: Any) -> Array:
    if isinstance(x, list | tuple):
        return stack([_assembled(part, xp, dtype) for part in x])
    if type(x) is Tensor:
        return x if dtype is None else x.astype(dtype)
    return xp.asarray(x, dtype=dtype)


zeros_like = constant(numpy.zeros_like)
ones_like = constant(numpy.ones_like)
full_like = constant(numpy.full_like)
