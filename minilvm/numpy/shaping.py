"""Functions that move elements without changing them. Each is linear, so its rule is its transpose: move them back.

Indexing is the one that matters: `x[index]` reads, its transpose adds each cotangent into the place that was read, and
where a place was read twice it receives twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy

from minilvm.backend import Array, namespace
from minilvm.rules import constant, primitive, unbroadcast
from minilvm.tape import Tensor, stop_gradient

Shape = int | tuple[int, ...]


@primitive(x=lambda g, x_shape: g.reshape(x_shape))
def reshape(x: Array, shape: Shape) -> Array:
    """Return the elements of `x`, in order, in another shape."""
    return numpy.reshape(x, shape)


def ravel(x: Array) -> Array:
    """Return the elements of `x` in one row."""
    return reshape(x, (-1,))


def squeeze(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """Drop the axes of length 1 among `axis` (all such axes, if None)."""
    return reshape(x, numpy.squeeze(stop_gradient(x), axis=axis).shape)


def expand_dims(x: Array, axis: int | tuple[int, ...]) -> Array:
    """Insert axes of length 1 at the positions `axis` of the result."""
    return reshape(x, numpy.expand_dims(stop_gradient(x), axis).shape)


def _inverse(axes: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if axes is None else tuple(numpy.argsort([i % len(axes) for i in axes]).tolist())


@primitive(x=lambda g, axes: numpy.transpose(g, _inverse(axes)))
def transpose(x: Array, axes: Sequence[int] | None = None) -> Array:
    """Permute the axes; reverse them, if `axes` is None."""
    return numpy.transpose(x, axes)


@primitive(x=lambda g, axis1, axis2: numpy.swapaxes(g, axis1, axis2))
def swapaxes(x: Array, axis1: int, axis2: int) -> Array:
    """Exchange two axes."""
    return numpy.swapaxes(x, axis1, axis2)


@primitive(x=lambda g, source, destination: numpy.moveaxis(g, destination, source))
def moveaxis(x: Array, source: Shape, destination: Shape) -> Array:
    """Move axes from `source` to `destination`; the others keep their order."""
    return numpy.moveaxis(x, source, destination)


@primitive(x=lambda g, x_shape: unbroadcast(g, x_shape))
def broadcast_to(x: Array, shape: Shape) -> Array:
    """Stretch `x` to `shape` by NumPy's broadcasting rule."""
    return numpy.broadcast_to(x, shape)


@primitive(x=lambda g, axis: numpy.flip(g, axis))
def flip(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """Reverse the order along `axis` (along every axis, if None)."""
    return numpy.flip(x, axis)


def _negated(shift: int | Sequence[int]) -> int | tuple[int, ...]:
    return tuple(-s for s in shift) if isinstance(shift, Sequence) else -shift


@primitive(x=lambda g, shift, axis: numpy.roll(g, _negated(shift), axis))
def roll(x: Array, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Array:
    """Shift elements along `axis`; what leaves at one end enters at the other."""
    return numpy.roll(x, shift, axis)


def _slab(axis: int, start: int, length: int, ndim: int) -> tuple[slice, ...]:
    return tuple(slice(start, start + length) if i == axis % ndim else slice(None) for i in range(ndim))


@primitive(arrays=lambda g, i, axis, ends: g[_slab(axis, ends[i], ends[i + 1] - ends[i], g.ndim)])
def _concatenate(axis: int, ends: list[int], *arrays: Array) -> Array:
    return numpy.concatenate(arrays, axis=axis)


def concatenate(arrays: Sequence[Array], axis: int | None = 0) -> Array:
    """Join arrays along an axis that they have (all their elements in one row, if None)."""
    if axis is None:
        arrays, axis = [ravel(a) for a in arrays], 0
    return _concatenate(axis, [0, *itertools.accumulate(numpy.shape(a)[axis] for a in arrays)], *arrays)


def stack(arrays: Sequence[Array], axis: int = 0) -> Array:
    """Join arrays along a new axis."""
    xp = namespace(*arrays)
    return concatenate([expand_dims(xp.asarray(a) if numpy.isscalar(a) else a, axis) for a in arrays], axis=axis)


def split(x: Array, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """Cut `x` along `axis` into equal sections, or at the given indices."""
    pieces = numpy.split(numpy.empty(numpy.shape(x)[axis]), indices_or_sections)
    starts = [0, *numpy.cumsum([len(piece) for piece in pieces])]
    return [x[_slab(axis, int(s), len(piece), x.ndim)] for s, piece in zip(starts, pieces, strict=False)]


def getitem(x: Array, index: Any) -> Array:
    """Return `x[index]`, for any index that NumPy takes: slices, integers, integer arrays, boolean masks, None, …."""
    if type(x) is not Tensor:
        return x[index]
    return Tensor(x.value[index], x.tape, ((_add_part, ~x.index, (index, x.value.shape)),))


def _add_part(g: Array, saved: tuple[Any, tuple[int, ...]], total: Array | None, own: bool) -> Array:
    """Add the cotangent of one part to that of the whole: into one buffer, however many parts are read one by one."""
    index, shape = saved
    if type(g) is Tensor or type(total) is Tensor or not shape:  # of shape () NumPy makes numbers, which are no buffers
        part = scatter_add(g, index, shape)
        return part if total is None else total + part
    if total is None:
        return scatter_add(g, index, shape)
    total = total if own else total.copy()
    if _is_basic(index):
        total[index] += g
    else:
        namespace(g).add.at(total, index, g)
    return total


@primitive(g=lambda h, index: h[index])
def scatter_add(g: Array, index: Any, shape: tuple[int, ...]) -> Array:
    """Return zeros of `shape` with `g` added at `index`, repeated places accumulating: the transpose of `getitem`."""
    total = namespace(g).zeros(shape, dtype=g.dtype)
    if _is_basic(index):
        total[index] = g
    else:
        namespace(g).add.at(total, index, g)
    return total


_add_part.__name__ = "getitem"


def _is_basic(index: Any) -> bool:
    """Whether an index is made of slices and single integers alone, and so can name no place twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, slice | int | numpy.integer) for part in parts)


def take(x: Array, indices: Array, axis: int | None = None) -> Array:
    """Return the slices of `x` at `indices` along `axis` (elements of the flattened `x`, if None)."""
    x, axis = (ravel(x), 0) if axis is None else (x, axis)
    return x[(slice(None),) * (axis % x.ndim) + (indices,)]


def take_along_axis(x: Array, indices: Array, axis: int | None = -1) -> Array:
    """Return, for every position of `indices`, the element of `x` at that index along `axis` (of the row, if None)."""
    x, axis = (ravel(x), 0) if axis is None else (x, axis)
    grid = numpy.ogrid[tuple(slice(n) for n in x.shape)]
    xp = namespace(x)
    places = [indices if i == axis % x.ndim else xp.asarray(coordinate) for i, coordinate in enumerate(grid)]
    return x[tuple(places)]


def sort(x: Array, axis: int | None = -1) -> Array:
    """Return `x` in ascending order along `axis`; each cotangent goes back to where its element stood."""
    return take_along_axis(x, argsort(x, axis=axis), axis)


def tile(x: Array, reps: int | Sequence[int]) -> Array:
    """Return `x` repeated as a block `reps` times along each axis."""
    reps = tuple(reps) if isinstance(reps, Sequence) else (reps,)
    ndim = max(len(reps), x.ndim)
    counts = (1,) * (ndim - len(reps)) + reps
    lengths = (1,) * (ndim - x.ndim) + x.shape
    blocks = [n for pair in zip(counts, lengths, strict=True) for n in pair]
    interleaved = reshape(x, tuple(n for length in lengths for n in (1, length)))
    return reshape(broadcast_to(interleaved, tuple(blocks)), tuple(c * n for c, n in zip(counts, lengths, strict=True)))


def repeat(x: Array, repeats: Any, axis: int | None = None) -> Array:
    """Return each element (or slice along `axis`) of `x` `repeats` times in place."""
    x, axis = (ravel(x), 0) if axis is None else (x, axis)
    xp = namespace(x)
    return take(x, xp.repeat(xp.arange(x.shape[axis]), repeats), axis=axis)


def _unpad(g: Array, shape: tuple[int, ...], pad_width: tuple[tuple[int, int], ...]) -> Array:
    return g[tuple(slice(before, before + n) for n, (before, _) in zip(shape, pad_width, strict=True))]


@primitive(x=lambda g, x_shape, pad_width: _unpad(g, x_shape, pad_width))
def _pad(x: Array, pad_width: tuple[tuple[int, int], ...], constant_values: float) -> Array:
    return numpy.pad(x, pad_width, constant_values=constant_values)


def pad(x: Array, pad_width: Any, mode: str = "constant", constant_values: float = 0.0) -> Array:
    """Return `x` with `pad_width` constants added before and after each axis; widths broadcast to (ndim, 2)."""
    if mode != "constant":
        raise ValueError(f"mode is {mode!r}; only 'constant' has a rule: build the others by indexing and concatenate")
    widths = tuple((int(before), int(after)) for before, after in numpy.broadcast_to(pad_width, (x.ndim, 2)))
    return _pad(x, widths, constant_values)


@primitive(x=lambda g, k, x_shape: unbroadcast(numpy.tril(g, k), x_shape))
def tril(x: Array, k: int = 0) -> Array:
    """Return `x` with the elements above its k-th diagonal set to 0."""
    return numpy.tril(x, k)


@primitive(x=lambda g, k, x_shape: unbroadcast(numpy.triu(g, k), x_shape))
def triu(x: Array, k: int = 0) -> Array:
    """Return `x` with the elements below its k-th diagonal set to 0."""
    return numpy.triu(x, k)


def diagonal(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """Return the elements x[…, i, i + offset], the diagonal last."""
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    n, m = x.shape[-2:]
    row = numpy.arange(n)[max(-offset, 0) : max(min(n, m - offset), 0)]
    xp = namespace(x)
    return x[..., xp.asarray(row), xp.asarray(row + offset)]


def trace(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """Return the sum of a diagonal."""
    return diagonal(x, offset, axis1, axis2).sum(axis=-1)


def diag(x: Array, k: int = 0) -> Array:
    """Return the k-th diagonal of a matrix, or the square matrix with the vector `x` there and 0 elsewhere."""
    if x.ndim == 2:
        return diagonal(x, k)
    n = x.shape[0] + abs(k)
    row = numpy.arange(x.shape[0]) + max(-k, 0)
    xp = namespace(x)
    return scatter_add(x, (xp.asarray(row), xp.asarray(row + k)), (n, n))


argsort = constant(numpy.argsort)
shape = constant(numpy.shape)
ndim = constant(numpy.ndim)
size = constant(numpy.size)
